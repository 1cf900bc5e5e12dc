/** What runs as a page or an example says. */
const ROOT = new URL("../", import.meta.url);

/** How an example is run, and what it prints. */
export interface Example {
  readonly permissions: readonly string[];
  readonly output: string;
}

/** Those that load nothing from a registry. */
export const EXAMPLES: Readonly<Record<string, Example>> = {
  "broadcast.ts": {
    permissions: ["--allow-net=127.0.0.1"],
    output: "grace got hello from ada\nedsger got hello from ada\n",
  },
  "pipes.ts": {
    permissions: ["--allow-run", "--allow-read"],
    output: '{ shouted: "HELLO" }\n',
  },
};

/** Those that run another library over a connection. */
export const ADAPTER_EXAMPLES: Readonly<Record<string, Example>> = {
  "vscode_jsonrpc.ts": {
    permissions: ["--allow-net=127.0.0.1", "--allow-env=XDG_RUNTIME_DIR"],
    output: 'server: busy\n{ contents: "documentation of file:///mod.ts" }\n',
  },
  "mcp.ts": {
    permissions: ["--allow-net=127.0.0.1"],
    output: '[ "add" ]\n[ { type: "text", text: "3" } ]\n',
  },
  "capnweb.ts": {
    permissions: ["--allow-net=127.0.0.1"],
    output: "hello ada\ngreeted\n",
  },
};

/** The README. */
export const README = Deno.readTextFileSync(new URL("README.md", ROOT));

/** The blocks of a page in a language; of the README, if no page is given. */
export function blocks(language: string, page: string = README): string[] {
  const pattern = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm");
  return [...page.matchAll(pattern)].map(([, text]) => text);
}

/** Makes the files that the README's code reads, by the README's commands. */
export async function makeFiles(directory: string): Promise<void> {
  const commands = blocks("sh").find((block) => block.startsWith("openssl"));
  const { success, stderr } = await new Deno.Command("sh", {
    args: ["-e", "-c", commands!],
    cwd: directory,
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** What a block of code prints, as its comments say. */
export function outputOf(block: string): string {
  return [...block.matchAll(/console\.log\(.*\/\/ (.*)$/gm)]
    .map(([, output]) => `${output}\n`).join("");
}
