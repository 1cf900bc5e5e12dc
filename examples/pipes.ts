/**
 * The same frames over a child process's pipes:
 * `deno run --allow-run --allow-read examples/pipes.ts`.
 */
import { fromDuplex, fromStreams } from "../mod.ts";

if (Deno.args[0] === "child") {
  // Standard input and output are a stream of bytes like any other.
  await using parent = fromDuplex({
    read: (space) => Deno.stdin.read(space),
    write: (bytes) => Deno.stdout.write(bytes),
    close() {},
  });
  for await (const message of parent) {
    await parent.send({ shouted: String(message).toUpperCase() });
  }
} else {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", import.meta.filename!, "child"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const connection = fromStreams({
    readable: child.stdout,
    writable: child.stdin,
  });
  console.log(await connection.request("hello"));
  await connection.close();
  await child.status;
}
