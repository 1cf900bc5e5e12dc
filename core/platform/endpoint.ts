/**
 * Where to listen, and where to connect to.
 *
 * @module
 */
import { resolve } from "node:path";
import type { Address } from "../connection/connection.ts";
import { show } from "../tools/show.ts";
import { choice, limit, type OptionTable, text } from "../tools/options.ts";

/**
 * A host and a port, or the path of a Unix socket. An {@linkcode Address} will
 * do.
 */
export interface EndpointOptions {
  /** Name or address of a host. */
  hostname?: string;
  /** Port, a whole number from 0 to 65 535. */
  port?: number;
  /**
   * Path of a Unix socket, instead of `hostname` and `port`. On Linux, a path
   * that begins with `\0` is a name in memory, to which any program on the
   * machine may connect.
   */
  path?: string;
  /** Need not be given; it must agree with the other options. */
  transport?: "tcp" | "unix";
}

/** What each option may be, with the default of the host. */
export function endpointOptions(
  hostname: string,
): OptionTable<EndpointOptions> {
  return {
    hostname: text(hostname),
    port: limit(8080, { least: 0, most: 65_535, allowInfinity: false }),
    path: text(),
    transport: choice(["tcp", "unix"]),
  };
}

/**
 * Which endpoint options mean that were read, with the defaults filled in.
 */
export function checkEndpoint(
  { hostname, port, path, transport }: EndpointOptions,
  defaults: { hostname: string; port: number },
): Address {
  if (path === undefined && transport !== "unix") {
    return {
      transport: "tcp",
      hostname: hostname ?? defaults.hostname,
      port: port ?? defaults.port,
    };
  }
  if (path === undefined || path === "") {
    throw new TypeError(
      `Cannot use option "path": received ${show(path)}, expected a path`,
    );
  }
  if (transport === "tcp" || hostname !== undefined || port !== undefined) {
    throw new TypeError(
      'Cannot use option "path" together with a host, a port or TCP',
    );
  }
  // Once, so that it is the same wherever the process goes.
  return { transport: "unix", path: isAbstract(path) ? path : resolve(path) };
}

/**
 * Whether a path is the name of a Unix socket in memory, as Linux has them: no
 * file has it.
 */
export function isAbstract(path: string): boolean {
  return path.startsWith("\0");
}

/**
 * The address of a platform's socket. Of a Unix socket the platform tells the
 * path that it was bound to when it was made, which may be another one, or the
 * choice of the peer: then `unix` counts.
 */
export function addressOf(
  address: { transport: string },
  unix: Address = { transport: "unix", path: "" },
): Address {
  return address.transport === "tcp" ? address as Address : unix;
}
