/**
 * What the platform must allow before anything is opened, told at once, and
 * given up when it is not needed any more.
 *
 * @module
 */
import { resolve } from "node:path";
import type { Address } from "../connection/connection.ts";
import { addressText } from "../tools/address.ts";
import { isAbstract } from "./endpoint.ts";

/** A permission, as narrow as it can be granted. */
export type PermissionNeed =
  /** To listen on a host and port or connect to it, or `unix:` and a path. */
  | { readonly name: "net"; readonly host: string }
  /** To read or write a file. */
  | { readonly name: "read" | "write"; readonly path: string }
  /** To read a variable of the environment. */
  | { readonly name: "env"; readonly variable: string };

/** All that a program can be granted. */
const ALL_NAMES = [
  "net",
  "read",
  "write",
  "run",
  "env",
  "sys",
  "ffi",
  "import",
] as const;

/** Names of this machine that are not the same to the platform. */
const LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"];

/**
 * The permissions for connecting to an address or listening on it. A Unix
 * socket needs three kinds; its server makes a directory and a file beside it, at
 * the same path with `.d` and with `.lock`.
 *
 * @param address Where to connect to or to listen, with a full path.
 * @param action What is done there.
 */
export function permissionsFor(
  address: Address,
  action: "connect to" | "listen on" = "connect to",
): PermissionNeed[] {
  if (address.transport === "tcp") {
    // A permission is for an IPv6 address in all its zones.
    const hostname = address.hostname.replace(/%[^\]]*/, "");
    return [{ name: "net", host: addressText({ ...address, hostname }) }];
  }
  const { path } = address;
  if (action === "connect to" || isAbstract(path)) {
    return [
      { name: "read", path },
      { name: "write", path },
      { name: "net", host: `unix:${path}` },
    ];
  }
  const { early } = filesBeside(path);
  return [...permissionsForFiles(path), { name: "net", host: `unix:${early}` }];
}

/** Short, as the platform bounds the length of a socket's path. */
export const EARLY_NAME = "s";

/**
 * The files that a server makes beside the Unix socket at an absolute path: a
 * directory that its owner alone may enter, the socket there, before it gets its
 * name, and a lock shared by the servers that live.
 */
export function filesBeside(
  path: string,
): Record<"directory" | "early" | "lock", string> {
  const directory = `${path}.d`;
  return {
    directory,
    early: `${directory}/${EARLY_NAME}`,
    lock: `${path}.lock`,
  };
}

/**
 * The permissions for making and removing the files of a Unix socket.
 */
export function permissionsForFiles(path: string): PermissionNeed[] {
  const { directory, lock } = filesBeside(path);
  return (["read", "write"] as const).flatMap((name) =>
    [path, directory, lock].map((path) => ({ name, path }))
  );
}

/**
 * Those permissions that are not granted. Asking does not prompt.
 *
 * @throws {URIError} If a host cannot be one.
 */
export function missingPermissions(
  needed: readonly PermissionNeed[],
): PermissionNeed[] {
  return needed.filter((need) => stateOf(need) !== "granted");
}

function stateOf(need: PermissionNeed): Deno.PermissionState {
  return Deno.permissions.querySync(need).state;
}

/** What a permission is for: a host, a path or a variable. */
function scopeOf(need: PermissionNeed): string {
  return need.name === "net"
    ? need.host
    : need.name === "env"
    ? need.variable
    : need.path;
}

/** What to grant, by the names of the permissions. */
function scopesOf(missing: readonly PermissionNeed[]): [string, string[]][] {
  return [...Map.groupBy(missing, ({ name }) => name)].map(
    ([name, needs]) => [name, [...new Set(needs.map(scopeOf))]],
  );
}

/**
 * The narrowest flags that grant the permissions, for a shell: one for each
 * kind.
 */
export function flagsFor(missing: readonly PermissionNeed[]): string {
  return scopesOf(missing).map(([name, scopes]) => {
    const flag = `--allow-${name}`;
    // To a flag, a comma ends a scope.
    return scopes.some((scope) => scope.includes(","))
      ? flag
      : `${flag}=${shellWord(scopes.join(","))}`;
  }).join(" ");
}

/** An argument of a command line, quoted where a shell needs it. */
function shellWord(text: string): string {
  return /^[\w./:@%+,=-]+$/.test(text)
    ? text
    : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The same as a part of `deno.json`, where paths are relative to the file. */
function configFor(missing: readonly PermissionNeed[]): string {
  const absolute = missing.map((need) =>
    "path" in need ? { ...need, path: resolve(need.path) } : need
  );
  return JSON.stringify({
    permissions: { default: Object.fromEntries(scopesOf(absolute)) },
  });
}

/** Why what looks as if it were granted is missing. */
function* notesFor(missing: readonly PermissionNeed[]): Generator<string> {
  for (const need of missing) {
    if (stateOf(need) === "denied") {
      yield `${scopeOf(need)} is denied by --deny-${need.name} or at a prompt`;
    }
    if (need.name !== "net") continue;
    const [, host, port] = /^(.+):(\d+)$/.exec(need.host) ?? [];
    if (!LOOPBACK_HOSTS.includes(host)) continue;
    for (const other of LOOPBACK_HOSTS) {
      const granted = `${other}:${port}`;
      if (stateOf({ name: "net", host: granted }) !== "granted") continue;
      yield `${granted} is granted, but is another name to Deno`;
    }
  }
}

/**
 * Has the platform ask a person, where it would, up to the first refusal; not
 * if one is denied, which cannot be granted.
 */
function ask(missing: readonly PermissionNeed[]): void {
  const mayAsk = Deno.stdin.isTerminal() && Deno.stderr.isTerminal() &&
    missing.every((need) => stateOf(need) !== "denied");
  if (!mayAsk) return;
  missing.every((need) =>
    Deno.permissions.requestSync(need).state === "granted"
  );
}

/** What to do about missing permissions. */
function remedyFor(
  needed: readonly PermissionNeed[],
  missing: readonly PermissionNeed[],
  command: readonly string[],
): string {
  if (command.length > 0) {
    const words = command.map(shellWord).join(" ");
    return `run: deno run ${flagsFor(needed)} ${words}`;
  }
  const which = missing.length === 1 ? "it" : "them";
  return `run with ${flagsFor(missing)}, or grant ${which} in deno.json: ${
    configFor(missing)
  } and run with -P`;
}

/**
 * Requires all permissions at once. Where Deno would ask a person at a
 * terminal, it asks.
 *
 * @param action What they are for, as in "listen on".
 * @param address Where it is done.
 * @param needed The permissions, of any kind.
 * @param command The module and the arguments of a program, whose error then
 * gives the whole command line to run instead.
 * @throws {Deno.errors.NotCapable} If any are missing: with the flags, and the
 * part of `deno.json`, that grant all of those.
 * @throws {URIError} If the host cannot be one.
 */
export function requirePermissions(
  action: string,
  address: Address,
  needed: readonly PermissionNeed[],
  command: readonly string[] = [],
): void {
  ask(missingPermissions(needed));
  const missing = missingPermissions(needed);
  if (missing.length === 0) return;
  const what = missing.length === 1 ? "permission" : "permissions";
  const notes = [...notesFor(missing)].map((note) => `; ${note}`).join("");
  throw new Deno.errors.NotCapable(
    `Cannot ${action} ${addressText(address)}: missing ${what}; ${
      remedyFor(needed, missing, command)
    }${notes}`,
  );
}

/** What closing needs of what is open, for each. */
const KEPT = new Set<readonly PermissionNeed[]>();

/**
 * Has {@linkcode dropPermissions} keep what is needed to close something. The
 * function that comes back is for when it is closed.
 */
export function keepPermissions(needs: readonly PermissionNeed[]): () => void {
  KEPT.add(needs);
  return () => KEPT.delete(needs);
}

/**
 * Gives up the permissions of the whole process. What is open stays open, and a
 * server still accepts connections, but nothing else can be opened, read or
 * run. A client cannot connect again.
 *
 * A server on a Unix socket keeps the permissions to read and to write that it
 * needs to remove the socket's file, if they were granted for single files. Other
 * files that were granted with them stay, too, as Deno does not tell which these
 * are. A permission for all files cannot be narrowed, and is given up.
 *
 * At a terminal, Deno asks before it refuses what was given up, and the whole
 * process waits for the answer: run with `--no-prompt`.
 *
 * ```ts
 * import { dropPermissions, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * const server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * dropPermissions();
 * const { state } = await Deno.permissions.query({ name: "net" });
 * assertEquals(state, "prompt");
 * await server.shutdown();
 * ```
 */
export function dropPermissions(): void {
  const kept = [...KEPT].flat();
  for (const name of ALL_NAMES) {
    const needs = kept.filter((need) => need.name === name);
    const isWhole = stateOf({ name } as PermissionNeed) === "granted";
    const isKept = needs.length > 0 && !isWhole &&
      missingPermissions(needs).length === 0;
    // Without a host, a path or anything of the kind, all that is granted goes.
    if (!isKept) Deno.permissions.revokeSync({ name });
  }
}
