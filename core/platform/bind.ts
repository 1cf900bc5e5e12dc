/**
 * Listening on an address.
 *
 * @module
 */
import type { Address } from "../connection/connection.ts";
import { isAbstract } from "./endpoint.ts";
import { permissionsFor, requirePermissions } from "./permissions.ts";
import { pause } from "../tools/abort.ts";
import { addressText, nameEndpoint } from "../tools/address.ts";
import { closeSocket, type Socket, tuned } from "./socket.ts";
import { SocketFile } from "./socket_file.ts";

/**
 * Milliseconds between two attempts to accept where the first has failed: ten
 * failures a second cost nothing, and a client hardly notices the wait.
 */
const RECOVERY_TIME = 100;

/** A socket that listens. */
export interface Binding {
  /** The address that it listens on. */
  readonly addr: Address;
  /** Waits for the next connection. */
  accept(): Promise<Socket>;
  /**
   * Waits for what accepting has failed for want of, such as descriptors; no
   * longer than until `signal` is aborted.
   */
  recover(signal: AbortSignal): Promise<void>;
  /** Makes a wait for a connection keep the process alive. */
  ref(): void;
  /** Lets the process end in spite of such a wait. */
  unref(): void;
  /** Stops listening. */
  close(): void;
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
  let addr = address;
  let socket: SocketFile | Deno.Listener;
  if (address.transport === "tcp") {
    socket = Deno.listen(address);
    addr = socket.addr as Address;
  } else if (isAbstract(address.path)) socket = Deno.listen(address);
  else {
    socket = new SocketFile(address.path, removeStale);
  }
  const listener = "listener" in socket ? socket.listener : socket;
  return {
    addr,
    accept: async () => tuned(await listener.accept()),
    recover: (signal) => pause(RECOVERY_TIME, signal),
    ref: () => listener.ref(),
    unref: () => listener.unref(),
    close: () => closeSocket(socket),
  };
}
