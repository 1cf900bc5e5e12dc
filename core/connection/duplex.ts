/**
 * What a connection is made of.
 *
 * @module
 */

/**
 * A two-way stream of bytes, in the shapes of `@std/io`: `Deno.TcpConn`,
 * `Deno.UnixConn` and `Deno.TlsConn` are such streams.
 */
export interface ByteDuplex {
  /**
   * Reads into `space` what has come, and waits where nothing has. Resolves to
   * the number of bytes, or to `null` where the peer has ended its side.
   */
  read(space: Uint8Array): Promise<number | null>;
  /**
   * Writes some of the bytes and resolves to their number. They may be changed
   * once it has resolved.
   */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends both sides; a read or write that is pending rejects. */
  close(): void;
  /** Ends the writing side and leaves the reading side open. */
  closeWrite?(): Promise<void>;
  /** Makes pending reads and writes keep the process alive. */
  ref?(): void;
  /** Lets the process end in spite of pending reads and writes. */
  unref?(): void;
}
