/**
 * What a connection is made of.
 *
 * @module
 */
import type { Closer, Reader, Writer } from "@std/io/types";

/**
 * A two-way stream of bytes, in the shapes of `@std/io`: `Deno.TcpConn`,
 * `Deno.UnixConn` and `Deno.TlsConn` are such streams.
 */
export interface ByteDuplex extends Reader, Writer, Closer {
  /** Ends the writing side and leaves the reading side open. */
  closeWrite?(): Promise<void>;
  /** Makes pending reads and writes keep the process alive. */
  ref?(): void;
  /** Lets the process end in spite of pending reads and writes. */
  unref?(): void;
}
