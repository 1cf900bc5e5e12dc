/**
 * Prints what users can see of the package: the texts of errors, help and logs,
 * as they stand in the source, with "…" for what is filled in.
 *
 *     deno task messages [FOLDER]
 */
import { publishedFiles } from "./size.ts";
import { tokensOf } from "./source.ts";

/** A text in the source. */
export interface Message {
  readonly path: string;
  readonly line: number;
  readonly text: string;
}

/** Two words at least: anything else is a name. */
const WORDS = /[a-z]{2,},? [a-z]/i;

/** The texts of a source, those of templates with "…" in place of values. */
export function* textsOf(
  source: string,
): Generator<{ line: number; text: string }> {
  /** Templates that have begun, the innermost last. */
  const open: { line: number; text: string }[] = [];
  for (const { text, line } of tokensOf(source)) {
    if (/^"[^]*"$/.test(text)) yield { line, text: text.slice(1, -1) };
    const begins = text.startsWith("`");
    const goesOn = /^\}[^]*(?:`|\$\{)$/.test(text);
    if (!begins && !goesOn) continue;
    const { line: first, text: before } = goesOn
      ? open.pop() ?? { line, text: "" }
      : { line, text: "" };
    const whole = before + text.replace(/^[`}]/, "").replace(/`$|\$\{$/, "");
    if (text.endsWith("${")) open.push({ line: first, text: `${whole}…` });
    else yield { line: first, text: whole };
  }
}

/** What users can see of the files in a folder of the checkout. */
export function* userMessages(root: URL, folder = ""): Generator<Message> {
  for (const path of publishedFiles(root)) {
    if (!path.startsWith(folder)) continue;
    const source = Deno.readTextFileSync(new URL(path, root));
    for (const { line, text } of textsOf(source)) {
      if (WORDS.test(text)) yield { path, line, text };
    }
  }
}

if (import.meta.main) {
  const [folder] = Deno.args;
  const messages = userMessages(new URL("../", import.meta.url), folder);
  for (const { path, line, text } of messages) {
    console.log(`${path}:${line}: ${text.replaceAll("\n", "\n  ")}`);
  }
}
