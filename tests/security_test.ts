/** What SECURITY.md says that is tested is tested. */
import { assert } from "@std/assert";

const ROOT = new URL("../", import.meta.url);

/** The sources without line breaks in what a formatter may break. */
function textOf(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT)).replaceAll(/\s+/g, " ");
}

Deno.test("every test and benchmark that SECURITY.md names exists", () => {
  const promises = textOf("SECURITY.md").split("## What is promised")[1];
  let path = "";
  let names = 0;
  for (const [, file, name] of promises.matchAll(/`([\w/]+\.ts)`|"([^"]+)"/g)) {
    if (file !== undefined) {
      path = file;
      assert(/(test|bench)\(/i.test(textOf(path)), path);
      continue;
    }
    names++;
    assert(textOf(path).includes(name), `${path} has no test "${name}"`);
  }
  assert(names > 50);
});
