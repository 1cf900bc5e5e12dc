/** The ports that the README and the programs name. */
import { tmpdir } from "node:os";

/**
 * Runs a test that needs these ports, alone on this machine: a suite that runs
 * beside this one waits until it is done. The lock ends with the process, too.
 */
export async function withFixedPorts(
  body: () => Promise<void>,
): Promise<void> {
  using lock = await Deno.open(
    `${tmpdir()}/blackbelt-networking-tests.lock`,
    { read: true, write: true, create: true },
  );
  await lock.lock(true);
  await body();
}
