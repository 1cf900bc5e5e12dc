/** Comments, strings, arrows, words, and what is left, one character each. */
const TOKEN =
  /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|=>|[\w$]+(?:\.[\w$]+)*|\S/g;
const OPENING = new Set(["{", "(", "[", "<"]);
const CLOSING = new Set(["}", ")", "]", ">"]);

/** An interface as it stands in the source. */
interface Declaration {
  /** Tokens of each type that it extends. */
  readonly parents: string[][];
  /** Its members, and the documentation of each. */
  readonly members: Map<string, string>;
}

/**
 * The defaults that the `@default` tags of an interface give, those of the
 * interfaces that it extends included; a member that is declared anew has the
 * tag of its new declaration, or none. The interfaces that it extends may be
 * generic, stand in other files, and be wrapped in `Omit`, `Pick`, `Partial`,
 * `Required` or `Readonly`. Those of a namespace, as `Deno.ListenOptions`, are
 * left out.
 *
 * @param url File in which the interface is declared, or from which it is
 * imported.
 * @throws {Error} If an interface is not found, or if a tag is not a literal in
 * braces.
 */
export async function defaultTags(
  url: URL | string,
  interfaceName: string,
): Promise<Record<string, unknown>> {
  const tags: Record<string, unknown> = {};
  for (const [name, docs] of await membersOf(new URL(url), interfaceName)) {
    const found = [...docs.matchAll(/@default\b(.*?)(?:\*\/|\n)/g)];
    if (found.length > 1) {
      throw new Error(`Cannot read defaults: "${name}" has more than one`);
    }
    if (found.length === 1) tags[name] = readLiteral(name, found[0][1].trim());
  }
  return tags;
}

async function membersOf(
  url: URL,
  interfaceName: string,
): Promise<Map<string, string>> {
  const source = await (await fetch(url)).text();
  const header = new RegExp(
    `^(?:export )?(?:declare )?interface ${interfaceName}\\b`,
    "m",
  ).exec(source);
  if (header === null) {
    const [from, name] = findImport(url, source, interfaceName);
    return membersOf(from, name);
  }
  const { parents, members } = parseInterface(
    source.slice(header.index + header[0].length),
  );
  const all = new Map<string, string>();
  for (const parent of parents) {
    for (const [name, docs] of await parentMembers(url, parent)) {
      all.set(name, docs);
    }
  }
  for (const [name, docs] of members) all.set(name, docs);
  return all;
}

async function parentMembers(
  url: URL,
  tokens: string[],
): Promise<Iterable<[string, string]>> {
  const [name] = tokens;
  if (name.includes(".")) return [];
  if (!/^(Omit|Pick|Partial|Required|Readonly)$/.test(name)) {
    return membersOf(url, name);
  }
  const members = [...await parentMembers(url, tokens.slice(2))];
  const keys: string[] = [];
  let depth = 0;
  for (const token of tokens) {
    if (OPENING.has(token)) depth++;
    if (CLOSING.has(token)) depth--;
    if (depth === 1 && token.startsWith('"')) keys.push(JSON.parse(token));
  }
  if (name === "Omit") return members.filter(([key]) => !keys.includes(key));
  if (name === "Pick") return members.filter(([key]) => keys.includes(key));
  return members;
}

/**
 * Where a type that is not declared in a file comes from, and its name there.
 */
function findImport(url: URL, source: string, name: string): [URL, string] {
  for (
    const [, list, from] of source.matchAll(
      /^(?:import|export)\b[^{};]*\{([^}]*)\}\s*from\s*"([^"]+)"/gm,
    )
  ) {
    for (const item of list.split(",")) {
      const [original, local = original] = item.trim()
        .replace(/^type\s+/, "").split(/\s+as\s+/);
      if (local === name) {
        return [
          new URL(
            /^\.{0,2}\//.test(from) ? from : import.meta.resolve(from),
            url,
          ),
          original,
        ];
      }
    }
  }
  throw new Error(`Cannot read defaults: no interface ${name} in ${url}`);
}

/** Reads an interface from behind its name. */
function parseInterface(source: string): Declaration {
  const parents: string[][] = [];
  const members = new Map<string, string>();
  let depth = 0;
  let docs = "";
  let inBody = false;
  let atStart = false;
  for (const [token] of source.matchAll(TOKEN)) {
    if (token.startsWith("/*") || token.startsWith("//")) {
      if (token.startsWith("/**")) docs = token;
      continue;
    }
    if (inBody && depth === 1 && atStart) {
      if (token === "readonly") continue;
      if (/^["\w$]/.test(token)) {
        members.set(token.replaceAll('"', ""), docs);
      }
      docs = "";
      atStart = false;
    } else if (!inBody && depth === 0 && token === "{") {
      inBody = atStart = true;
    } else if (!inBody && depth === 0 && /^(extends|,)$/.test(token)) {
      parents.push([]);
    } else if (!inBody && parents.length > 0) {
      parents[parents.length - 1].push(token);
    }
    if (OPENING.has(token)) depth++;
    if (CLOSING.has(token)) depth--;
    if (inBody && depth === 0) return { parents, members };
    if (inBody && depth === 1 && token === ";") atStart = true;
  }
  throw new Error("Cannot read defaults: the interface has no end");
}

function readLiteral(name: string, tag: string): unknown {
  const text = /^\{(.+)\}$/.exec(tag)?.[1] ?? "";
  if (text === "Infinity") return Infinity;
  if (text === "undefined") return undefined;
  try {
    return JSON.parse(
      /^[\d_.-]+$/.test(text) ? text.replaceAll("_", "") : text,
    );
  } catch {
    throw new Error(
      `Cannot read defaults: the tag of "${name}" is no literal in braces`,
    );
  }
}
