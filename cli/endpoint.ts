/**
 * Where a program listens or connects to: from its options, in words, and
 * whether it is allowed to.
 *
 * @module
 */
import type { Address } from "../mod.ts";
import { Failure, type Given, UsageError } from "./program.ts";

/**
 * Where to listen or to connect to, from `--hostname`, `--port` and `--unix`.
 */
export function endpointOf(
  given: Given,
  leastPort: number,
  defaults: { hostname: string; port: number },
): Address {
  given.exclude("unix", "hostname", "port");
  const path = given.text("unix");
  if (path !== undefined) {
    // Deno grants Unix sockets by absolute path only.
    return {
      transport: "unix",
      path: path.startsWith("/")
        ? path
        : `${Deno.cwd()}/${path.replace(/^(\.\/+)+/, "")}`,
    };
  }
  return {
    transport: "tcp",
    hostname: given.text("hostname")?.replace(/^\[(.*)\]$/, "$1") ??
      defaults.hostname,
    port: given.number("port", leastPort, 65_535) ?? defaults.port,
  };
}

/** An address as a person writes it. */
export function format(address: Address): string {
  if (address.transport === "unix") return address.path;
  const { hostname, port } = address;
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/**
 * Fails with the exact flags that are missing. Asking first keeps Deno from
 * prompting, which would block the whole program.
 */
export function requirePermission(
  action: "listen on" | "connect to",
  address: Address,
): void {
  const missing = permissionsFor(address).filter((descriptor) =>
    stateOf(descriptor) !== "granted"
  );
  if (missing.length === 0) return;
  throw new Failure(
    `not allowed to ${action} ${format(address)}; run with ${
      missing.map(flag).join(" ")
    }`,
  );
}

type Needed =
  | { name: "read" | "write"; path: string }
  | { name: "net"; host: string };

function permissionsFor(address: Address): Needed[] {
  if (address.transport === "tcp") {
    return [{ name: "net", host: format(address) }];
  }
  const { path } = address;
  return [
    { name: "read", path },
    { name: "write", path },
    { name: "net", host: `unix:${path}` },
  ];
}

function stateOf(descriptor: Needed): Deno.PermissionState {
  try {
    return Deno.permissions.querySync(descriptor).state;
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new UsageError(`option "--hostname" names no host: ${error.message}`);
  }
}

/**
 * The flag that grants a permission, quoted where a shell would take it apart.
 */
function flag(descriptor: Needed): string {
  const scope = descriptor.name === "net" ? descriptor.host : descriptor.path;
  const name = `--allow-${descriptor.name}`;
  // To Deno, a comma is the end of a scope.
  if (scope.includes(",")) return name;
  return /^[\w./:@%+-]+$/.test(scope)
    ? `${name}=${scope}`
    : `${name}='${scope.replaceAll("'", `'\\''`)}'`;
}
