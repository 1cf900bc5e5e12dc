/** The ports that the README and the programs name. */
import { tmpdir } from "node:os";

/**
 * Runs a test that needs these ports, alone on this machine, or where it has a
 * network of its own, alone there: a suite that runs beside this one waits until
 * it is done. The lock ends with the process, too.
 */
export async function withFixedPorts(
  body: () => Promise<void>,
): Promise<void> {
  using lock = await Deno.open(
    `${tmpdir()}/blackbelt-networking-tests${network()}.lock`,
    { read: true, write: true, create: true },
  );
  await lock.lock(true);
  await body();
}

/** What tells networks of Linux apart; nothing elsewhere. */
function network(): string {
  try {
    return Deno.readLinkSync("/proc/self/ns/net").replaceAll(/\D/g, "");
  } catch {
    return "";
  }
}
