/**
 * A lexer for our own source, as `deno fmt` leaves it: enough of TypeScript to
 * count lines of code and to see where functions begin and end.
 */

/** A word, a literal, a piece of a template, an arrow, or one character. */
export interface Token {
  readonly text: string;
  /** Its first line, from 1 on. */
  readonly line: number;
}

/** A function, method or arrow function with its body. */
export interface SourceFunction {
  /** Empty for an arrow function. */
  readonly name: string;
  readonly line: number;
  /** Lines of code from its parameters to the end of its body. */
  readonly lines: number;
}

const BLANK = /(?:\s|\/\/[^\n]*|\/\*[^]*?\*\/)+/y;
const LITERAL_OR_WORD = /[\w$#@]+|"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'/y;
const REGULAR_EXPRESSION =
  /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
const SIGN = /=>|[^]/y;
/** From behind a "`" or a placeholder to the next of them. */
const TEMPLATE = /(?:\\[^]|\$(?!\{)|[^\\`$])*(?:`|\$\{)/y;
/** How that ends behind which a "/" divides. */
const VALUE = /[\w$)\]}"'`]$/;
const OPERATORS = new Set(
  "return typeof case in of void delete throw await yield".split(" "),
);
/** What has parentheses and a block, and is no function. */
const STATEMENTS = new Set("if for while switch catch await with".split(" "));
const CLOSING: Record<string, string> = {
  "(": ")",
  "[": "]",
  "{": "}",
  "<": ">",
};

/** The tokens of a source; comments are left out. */
export function tokensOf(source: string): Token[] {
  const tokens: Token[] = [];
  /** For each open brace, whether it is a placeholder of a template. */
  const braces: boolean[] = [];
  let index = 0;
  let line = 1;

  function take(pattern: RegExp): string {
    pattern.lastIndex = index;
    const text = pattern.exec(source)?.[0] ?? "";
    index += text.length;
    return text;
  }

  function takeToken(): string {
    const last = tokens.at(-1)?.text ?? "";
    const divides = VALUE.test(last) && !OPERATORS.has(last);
    const text = take(LITERAL_OR_WORD) ||
      (divides ? "" : take(REGULAR_EXPRESSION)) || take(SIGN);
    const isTemplate = text === "`" || text === "}" && braces.pop();
    return isTemplate ? text + take(TEMPLATE) : text;
  }

  while (true) {
    line += take(BLANK).split("\n").length - 1;
    if (index >= source.length) return tokens;
    const text = takeToken();
    tokens.push({ text, line });
    if (text === "{" || text.endsWith("${")) braces.push(text !== "{");
    line += text.split("\n").length - 1;
  }
}

/** How many lines have a token, or a part of a template that is not blank. */
export function codeLines(tokens: readonly Token[]): number {
  const lines = new Set<number>();
  for (const { text, line } of tokens) {
    for (const [offset, part] of text.split("\n").entries()) {
      if (part.trim() !== "") lines.add(line + offset);
    }
  }
  return lines.size;
}

/** All functions that have a body, those inside of others included. */
export function functionsOf(tokens: readonly Token[]): SourceFunction[] {
  const found: SourceFunction[] = [];
  for (const [index, { text, line }] of tokens.entries()) {
    if (text !== "(") continue;
    const name = nameBefore(tokens, index);
    if (STATEMENTS.has(name)) continue;
    const end = endOfFunction(tokens, index);
    if (end === undefined) continue;
    const lines = codeLines(tokens.slice(index, end + 1));
    found.push({ name, line, lines });
  }
  return found;
}

/** The word in front of parentheses, and of type parameters between. */
function nameBefore(tokens: readonly Token[], index: number): string {
  let at = index - 1;
  if (tokens[at]?.text === ">") {
    for (let depth = 0; at >= 0; at--) {
      if (tokens[at].text === ">") depth++;
      if (tokens[at].text === "<" && --depth === 0) break;
    }
    at--;
  }
  const { text = "" } = tokens[at] ?? {};
  return /^[\w$#]+$/.test(text) && !OPERATORS.has(text) ? text : "";
}

/** The last token of the function whose parameters begin at `index`, if any. */
function endOfFunction(
  tokens: readonly Token[],
  index: number,
): number | undefined {
  let at = endOfGroup(tokens, index) + 1;
  if (tokens[at]?.text === ":") at = endOfType(tokens, at + 1);
  if (tokens[at]?.text === "{") return endOfGroup(tokens, at);
  if (tokens[at]?.text !== "=>") return undefined;
  for (at++; at < tokens.length; at++) {
    if (/^[;,)\]}]/.test(tokens[at].text)) return at - 1;
    const isBody = tokens[at].text === "{" && tokens[at - 1].text === "=>";
    // A function type that is the result of a function, in front of its body.
    if (tokens[at].text === "{" && VALUE.test(tokens[at - 1].text)) {
      return undefined;
    }
    if (/^[([{]$|\$\{$/.test(tokens[at].text)) at = endOfGroup(tokens, at);
    if (isBody) return at;
  }
  return undefined;
}

/** The token behind the result type that begins at `index`. */
function endOfType(tokens: readonly Token[], index: number): number {
  let at = index;
  for (; at < tokens.length; at++) {
    const { text } = tokens[at];
    if (/^(?:[;,)\]}=]|=>)/.test(text)) return at;
    // A brace behind a whole type begins the body.
    if (text === "{" && /[\w\])}>"'`]$/.test(tokens[at - 1].text)) return at;
    if (/^[([{<]$/.test(text)) at = endOfGroup(tokens, at);
    // The arrow of a function type, as that of a result that is a function.
    if (text === "(" && tokens[at + 1]?.text === "=>") at++;
  }
  return at;
}

/** The token that closes the bracket at `index`. */
function endOfGroup(tokens: readonly Token[], index: number): number {
  const open = tokens[index].text.at(-1)!;
  for (let at = index, depth = 0; at < tokens.length; at++) {
    const { text } = tokens[at];
    if (text.endsWith(open) && !/^["'/]/.test(text)) depth++;
    if (text[0] === CLOSING[open] && --depth === 0) {
      // A piece of a template between two placeholders closes and opens.
      if (!text.endsWith("${")) return at;
      depth++;
    }
  }
  return tokens.length - 1;
}
