import { assertEquals } from "@std/assert";
import { FILE_LINES, FUNCTION_LINES, measure, type Size } from "./size.ts";
import { codeLines, functionsOf, tokensOf } from "./source.ts";

/** What is still too large; only what shrinks below the limit leaves it. */
const LARGE_FILES: string[] = [];
const LONG_FUNCTIONS: string[] = [];

const { files, functions } = measure(new URL("../", import.meta.url));

function namesOver(sizes: Size[], limit: number): string[] {
  return sizes.filter(({ lines }) => lines > limit)
    .map(({ name }) => name).sort();
}

Deno.test("no published file has more than 300 lines of code, but for those on the list", () => {
  assertEquals(namesOver(files, FILE_LINES), LARGE_FILES);
});

Deno.test("no published function has more than 60 lines of code, but for those on the list", () => {
  assertEquals(namesOver(functions, FUNCTION_LINES), LONG_FUNCTIONS);
});

Deno.test("codeLines() counts lines with something other than comments", () => {
  const source = `
/** A comment with "quotes", \`ticks\` and { braces }. */
const text = "// no comment"; // a comment
const pattern = /[/"]\\/\\*/;

const template = \`one /* no comment */
\${/* a comment */ \`\${text}\`}

// a line of the template\`;
const ratio = text.length / 2; /* a comment
of two lines */ const more = 1 / ratio;
`;
  assertEquals(codeLines(tokensOf(source)), 7);
});

Deno.test("functionsOf() finds functions with their bodies", () => {
  const source = `
interface Hooks {
  hook?: (text: string) => void;
}
function one<T>(
  value: { a: T },
): { a: T } {
  return value;
}
class Some extends Array<number> {
  static async #two({ a = 1 } = {}): Promise<{ a: number }> {
    if (a > 1) {
      for (const b of [a]) console.log(\`\${b} {\`);
    }
    return { a };
  }
  get three(): () => void {
    return () => {
      // Nothing.
    };
  }
}
const four = (a: number): number =>
  a +
  1;
`;
  const names = functionsOf(tokensOf(source)).filter(({ lines }) => lines > 1)
    .map(({ name, line, lines }) => [name, line, lines]);
  assertEquals(names, [
    ["one", 5, 5],
    ["#two", 11, 6],
    ["three", 17, 4],
    ["", 18, 2],
    ["", 23, 3],
  ]);
});
