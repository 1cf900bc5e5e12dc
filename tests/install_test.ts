/**
 * The programs as they are installed: from a copy of the package, in place of JSR.
 */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type Running, start } from "./process.ts";
import project from "../deno.json" with { type: "json" };

const ROOT = new URL("../", import.meta.url);

async function succeed(running: Running): Promise<string> {
  await using process = running;
  const [{ code }, stderr] = await Promise.all([
    process.status,
    process.stderr(),
  ]);
  assertEquals(code, 0, stderr);
  return await process.stdout();
}

Deno.test("a packed copy of the package is run and installed like one of JSR", async () => {
  const folder = await Deno.makeTempDir();
  const copy = `${folder}/package`;
  const options = { cwd: folder, env: { NO_COLOR: "1" } };
  await succeed(start(Deno.execPath(), ["task", "-q", "pack", copy], {
    ...options,
    cwd: ROOT,
  }));
  await assertRejects(
    () => Deno.stat(`${copy}/cli/client_test.ts`),
    Deno.errors.NotFound,
  );
  const config = ["--config", `${copy}/install.json`];
  for (const program of ["server", "client"]) {
    await succeed(start(Deno.execPath(), [
      ...["install", "-g", "--root", folder, "-n", `bb-${program}`],
      ...[...config, "--allow-net=127.0.0.1", `${copy}/${program}.ts`],
    ], options));
  }
  const bin = `${folder}/bin`;
  await using server = start(`${bin}/bb-server`, [
    ...["--hostname=127.0.0.1", "--port=0", "--log=text"],
  ], options);
  const [, port] = await server.line(/^Listening on 127\.0\.0\.1:(\d+)$/);
  const args = ["--hostname=127.0.0.1", `--port=${port}`, '{"message":1}'];
  const reply = '{"status":"success","echo":1}\n';
  assertEquals(await succeed(start(`${bin}/bb-client`, args, options)), reply);
  const run = ["run", ...config, "--allow-net=127.0.0.1", `${copy}/client.ts`];
  assertEquals(
    await succeed(start(Deno.execPath(), [...run, ...args], options)),
    reply,
  );
  const version = await succeed(
    start(`${bin}/bb-server`, ["--version"], options),
  );
  assertMatch(version, new RegExp(` ${project.version}\n$`));
  // An installed command is given more permissions by installing it again.
  await using refused = start(`${bin}/bb-client`, ["--port=1"], options);
  assertMatch(await refused.stderr(), /missing permission; run: deno run /);
  server.kill();
  assertEquals((await server.status).code, 0);
  await Deno.remove(folder, { recursive: true });
});
