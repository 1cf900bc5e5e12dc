/**
 * What a connection is made of, and Web Streams as that.
 *
 * @module
 */
import { copy } from "@std/bytes/copy";
import { EMPTY, toBytes } from "../tools/bytes.ts";
import { checkArgument } from "../tools/options.ts";

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

/**
 * A pair of Web Streams of bytes, such as the two ends of a child process's
 * pipes, or a `WebTransport` stream.
 */
export interface ByteStreams {
  /** The bytes that the peer sends. */
  readable: ReadableStream<Uint8Array>;
  /** Where the bytes for the peer go. */
  writable: WritableStream<Uint8Array>;
}

/**
 * Bytes of one write, about as many as a pipe holds: a peer that takes them
 * slowly is seen to take them.
 */
const WRITE_BYTES = 65_536;

/**
 * Locks the streams, and owns them from then on.
 *
 * @throws {TypeError} If a stream is locked already.
 */
export function duplexOf(streams: ByteStreams): ByteDuplex {
  const { readable, writable } = Object(streams) as ByteStreams;
  checkArgument(
    "streams",
    streams,
    typeof readable?.getReader === "function" &&
      typeof writable?.getWriter === "function",
    "an object with readable and writable",
  );
  const reader = readable.getReader();
  const writer = writable.getWriter();
  // What waits on the streams hears of their failure from `read` and `write`.
  reader.closed.catch(() => {});
  writer.closed.catch(() => {});
  let rest: Uint8Array = EMPTY;
  let ended: Promise<void> | undefined;
  /** Writes, and the end of writing, that the stream has not settled. */
  let pending = 0;
  async function settled(promise: Promise<void>): Promise<void> {
    pending++;
    try {
      await promise;
    } finally {
      pending--;
    }
  }
  return {
    async read(space) {
      while (rest.length === 0) {
        const { done, value } = await reader.read();
        if (done) return null;
        rest = toBytes(value);
      }
      const count = copy(rest.subarray(0, space.length), space);
      rest = rest.subarray(count);
      return count;
    },
    async write(bytes) {
      // A stream may keep what it was given, and the connection uses its buffer
      // again.
      const part = bytes.slice(0, WRITE_BYTES);
      await settled(writer.write(part));
      return part.length;
    },
    closeWrite() {
      return ended ??= settled(writer.close());
    },
    close() {
      reader.cancel().catch(() => {});
      // Ending a stream writes what it has queued, aborting drops it.
      const ending = pending > 0 ? writer.abort() : ended ??= writer.close();
      ending.catch(() => {});
    },
  };
}
