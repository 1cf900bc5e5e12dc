/**
 * Publishes from a clean copy: linked packages inside the package's own folder
 * would be published with it. `--dry-run` keeps the links, by absolute path, so
 * that it passes where JSR cannot be reached; without it, there are none.
 */
import config from "../deno.json" with { type: "json" };

const root = new URL("../", import.meta.url).pathname;

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyFolder(`${from}/${name}`, `${to}/${name}`);
    else await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

/**
 * Copies what `publish.include` names: files, folders, and all modules of the
 * top level.
 */
async function copyPackage(to: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(root)) {
    const included = config.publish.include.includes(name) ||
      config.publish.include.includes("*.ts") && name.endsWith(".ts");
    if (!included) continue;
    if (isDirectory) await copyFolder(`${root}${name}`, `${to}/${name}`);
    else await Deno.copyFile(`${root}${name}`, `${to}/${name}`);
  }
}

const copy = await Deno.makeTempDir({ prefix: "publish-" });
try {
  await copyPackage(copy);
  const links = Deno.args.includes("--dry-run")
    ? config.links.map((link) => `${root}${link}`)
    : undefined;
  await Deno.writeTextFile(
    `${copy}/deno.json`,
    JSON.stringify({ ...config, links }, null, 2) + "\n",
  );
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["publish", "--allow-dirty", ...Deno.args],
    cwd: copy,
  }).spawn().status;
  Deno.exitCode = code;
} finally {
  await Deno.remove(copy, { recursive: true });
}
