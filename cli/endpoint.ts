/**
 * Where a program listens or connects to: from its options, in words, and
 * whether it is allowed to.
 *
 * @module
 */
import { resolve } from "node:path";
import {
  type PermissionNeed,
  requirePermissions,
} from "../core/platform/platform.ts";
import type { Address } from "../mod.ts";
import { clause, Failure, UsageError } from "./failure.ts";
import type { Given } from "./program.ts";

/**
 * Where to listen or to connect to, from `--hostname`, `--port` and `--unix`.
 */
export function endpointOf(
  given: Given,
  leastPort: number,
  defaults: { hostname: string; port: number },
): Address {
  given.exclude("unix", "hostname");
  given.exclude("unix", "port");
  const path = given.text("unix");
  if (path !== undefined) {
    // Deno grants Unix sockets by absolute path only.
    return { transport: "unix", path: resolve(path) };
  }
  return {
    transport: "tcp",
    hostname: given.text("hostname")?.replace(/^\[(.*)\]$/, "$1") ??
      defaults.hostname,
    port: given.number("port", { least: leastPort, most: 65_535 }) ??
      defaults.port,
  };
}

/** Whether only this machine can get there. */
export function isLocal(address: Address): boolean {
  return address.transport === "unix" ||
    /^(localhost|127(\.\d+){3}|::1)$/.test(address.hostname);
}

/**
 * Has Deno ask for all that a program needs, where it can; fails with the command
 * line that grants it where it cannot, or is refused.
 */
export function requirePermission(
  action: "listen on" | "connect to",
  address: Address,
  needed: PermissionNeed[],
  { command }: Given,
): void {
  try {
    requirePermissions(action, address, needed, command);
  } catch (error) {
    if (error instanceof URIError) {
      throw new UsageError(
        `option '--hostname' names no host: ${error.message}`,
      );
    }
    throw new Failure(clause(error));
  }
}
