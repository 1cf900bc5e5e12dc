/**
 * Copies the package, as it is published, out of a checkout:
 *
 *     deno task pack DIR
 *
 * Beside it, `DIR/install.json` is a configuration with the links by absolute
 * path, for `deno run --config` and `deno install --config`: from there, both work
 * where JSR cannot be reached.
 */
import config from "../deno.json" with { type: "json" };

const ROOT = new URL("../", import.meta.url).pathname;

/** The links of the checkout, by absolute path. */
export const LINKS = config.links.map((link) => `${ROOT}${link}`);

/** Whether `publish.exclude` names it. */
function isTest(name: string): boolean {
  return name.endsWith("_test.ts");
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isTest(name)) continue;
    if (isDirectory) await copyFolder(`${from}/${name}`, `${to}/${name}`);
    else await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await Deno.writeTextFile(path, JSON.stringify(value, null, 2) + "\n");
}

/**
 * Copies what `publish.include` names: files, folders, and all modules of the
 * top level. The copy's `deno.json` has these links.
 */
export async function copyPackage(to: string, links?: string[]): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(ROOT)) {
    const included = config.publish.include.includes(name) ||
      config.publish.include.includes("*.ts") && name.endsWith(".ts");
    if (!included || isTest(name)) continue;
    if (isDirectory) await copyFolder(`${ROOT}${name}`, `${to}/${name}`);
    else await Deno.copyFile(`${ROOT}${name}`, `${to}/${name}`);
  }
  await writeJson(`${to}/deno.json`, { ...config, links });
}

if (import.meta.main) {
  const [to] = Deno.args;
  if (to === undefined) {
    console.error(
      "pack: expected the folder to write to, as in: deno task pack DIR",
    );
    Deno.exit(2);
  }
  await Deno.mkdir(to, { recursive: true });
  await copyPackage(to);
  const { imports } = config;
  await writeJson(`${to}/install.json`, { imports, links: LINKS, lock: false });
}
