/**
 * Listening on an address.
 *
 * @module
 */
import type { Address } from "../connection.ts";
import { addressOf, isAbstract } from "../endpoint.ts";
import {
  type PermissionNeed,
  permissionsFor,
  permissionsForFiles,
  requirePermissions,
} from "../permissions.ts";
import { addressText, nameEndpoint } from "../tools/address.ts";
import { SocketFile } from "./socket_file.ts";

/** A socket that listens. */
export interface Binding {
  /** Accepts the connections. */
  readonly listener: Deno.Listener;
  /** Where clients connect to. */
  readonly addr: Address;
  /** What closing it needs. */
  readonly needs: readonly PermissionNeed[];
  /** Stops listening. */
  close(): void;
}

/** Whether it is a Unix socket with a file, not one with a name in memory. */
function isFile(address: Address): address is Address & { path: string } {
  return address.transport === "unix" && !isAbstract(address.path);
}

/**
 * Opens a socket that listens. One that is a file is for its owner alone, as
 * any program that may write to it may connect.
 *
 * @throws {Deno.errors.AddrInUse} If the address is in use.
 * @throws {Deno.errors.NotCapable} If permissions are missing.
 */
export function bind(address: Address, removeStale: boolean): Binding {
  try {
    return open(address, removeStale);
  } catch (error) {
    nameEndpoint(error, "listen on", addressText(address));
    throw error;
  }
}

function open(address: Address, removeStale: boolean): Binding {
  requirePermissions(
    "listen on",
    address,
    permissionsFor(address, "listen on"),
  );
  if (isFile(address)) {
    const { path } = address;
    const file = new SocketFile(path, removeStale);
    return {
      listener: file.listener,
      addr: address,
      needs: permissionsForFiles(path),
      close: () => file.close(),
    };
  }
  const listener = address.transport === "tcp"
    ? Deno.listen(address)
    : Deno.listen(address);
  return {
    listener,
    addr: addressOf(listener.addr),
    needs: [],
    close: () => listener.close(),
  };
}
