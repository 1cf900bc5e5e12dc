/**
 * Publishes from a clean copy: linked packages inside the package's own folder
 * would be published with it. `--dry-run` keeps the links, by absolute path, so
 * that it passes where JSR cannot be reached; without it, there are none.
 */
import { copyPackage, LINKS } from "./pack.ts";

const copy = await Deno.makeTempDir({ prefix: "publish-" });
try {
  const links = Deno.args.includes("--dry-run") ? LINKS : undefined;
  await copyPackage(copy, links);
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["publish", "--allow-dirty", ...Deno.args],
    cwd: copy,
  }).spawn().status;
  Deno.exitCode = code;
} finally {
  await Deno.remove(copy, { recursive: true });
}
