/**
 * Listening on an address.
 *
 * @module
 */
import type { Address } from "../connection/connection.ts";
import { addressOf, isAbstract } from "./endpoint.ts";
import {
  type PermissionNeed,
  permissionsFor,
  permissionsForFiles,
  requirePermissions,
} from "./permissions.ts";
import { addressText, nameEndpoint } from "../tools/address.ts";
import { type Socket, tuned } from "./socket.ts";
import { SocketFile } from "./socket_file.ts";

/** A socket that listens. */
export interface Binding {
  /** Where clients connect to. */
  readonly addr: Address;
  /** What closing it needs. */
  readonly needs: readonly PermissionNeed[];
  /** Waits for the next connection. */
  accept(): Promise<Socket>;
  /** Makes a wait for a connection keep the process alive. */
  ref(): void;
  /** Lets the process end in spite of such a wait. */
  unref(): void;
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
      ...acceptingFrom(file.listener),
      addr: address,
      needs: permissionsForFiles(path),
      close: () => file.close(),
    };
  }
  const listener = address.transport === "tcp"
    ? Deno.listen(address)
    : Deno.listen(address);
  return {
    ...acceptingFrom(listener),
    addr: addressOf(listener.addr),
    needs: [],
    close: () => listener.close(),
  };
}

function acceptingFrom(
  listener: Deno.Listener,
): Pick<Binding, "accept" | "ref" | "unref"> {
  return {
    accept: async () => tuned(await listener.accept()),
    ref: () => listener.ref(),
    unref: () => listener.unref(),
  };
}
