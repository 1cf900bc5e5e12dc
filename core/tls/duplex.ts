/**
 * Plain bytes over encrypted ones.
 *
 * @module
 */
import { copy } from "@std/bytes/copy";
import { writeAll } from "@std/io/write-all";
import { Duplex } from "node:stream";
import { setImmediate } from "node:timers";
import type { TLSSocket } from "node:tls";
import type { ByteDuplex } from "../connection/connection.ts";
import { nextRound } from "../tools/schedule.ts";

/**
 * Thrown when a connection cannot be encrypted, and when an encrypted one is
 * cut.
 *
 * ```ts
 * import { connect, serve, TlsError } from "@blackbelt/networking";
 * import { assertRejects } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * await assertRejects(() => connect({ ...server.addr, tls: true }), TlsError);
 * ```
 */
export class TlsError extends Error {
  /**
   * Whether another attempt may succeed: the link broke, and neither end had
   * said that it rejects the other.
   */
  readonly mayRetry: boolean;

  /** Makes the error. */
  constructor(
    message: string,
    { mayRetry = false, ...options }: ErrorOptions & { mayRetry?: boolean } =
      {},
  ) {
    super(message, options);
    this.name = "TlsError";
    this.mayRetry = mayRetry;
  }
}

/** What `node:tls` says, by what it means; the first that matches counts. */
const REASONS = {
  "no ALPN protocol in common": /NO_APPLICATION_PROTOCOL|NoApplicationProtocol/,
  "the peer does not speak TLS": /InvalidContentType/,
  "the peer sent no certificate": /DID_NOT_RETURN_A_CERTIFICATE/,
  "the peer requires a certificate": /alert: CertificateRequired/,
  "the peer does not accept the certificate":
    /alert: (UnknownCA|\w*Certificate\w*)/,
  "no version of TLS in common": /alert: ProtocolVersion|incompatible/,
  "the certificate is not valid now, or its issuer is unknown (tls.ca)":
    /CERT|SIGNATURE|ISSUER|PURPOSE/,
  "the peer ended the handshake": /alert: /,
};

function tlsError(cause: unknown): unknown {
  if (!(cause instanceof Error) || cause instanceof TlsError) return cause;
  const text = `${(cause as { code?: string }).code} ${cause.message}`;
  const [reason = "TLS failed"] =
    Object.entries(REASONS).find(([, pattern]) => pattern.test(text)) ?? [];
  return new TlsError(`Cannot secure the connection: ${reason}`, { cause });
}

/** Least and most bytes to read at once. */
const FIRST_SPACE = 2_048;
const MOST_SPACE = 65_536;
/**
 * Most bytes to encrypt at once: as many as the platform does, which copies the
 * rest once more for every part.
 */
const WRITE_BYTES = 49_152;

/** The stream of bytes below, as `node:tls` takes it. */
class Transport extends Duplex {
  readonly #duplex: ByteDuplex;
  readonly #broke: (error: unknown) => void;
  #space = new Uint8Array(FIRST_SPACE);
  #written = Promise.resolve();

  constructor(duplex: ByteDuplex, broke: (error: unknown) => void) {
    super({ autoDestroy: false });
    this.#duplex = duplex;
    this.#broke = broke;
    // `broke` was told before.
    this.on("error", () => {});
  }

  /**
   * Reads once. What comes is pushed up to TLS; `false` at the end, of which
   * TLS does not hear: it would take it for the peer's word.
   */
  async receive(): Promise<boolean> {
    const space = this.#space;
    const count = await this.#duplex.read(space);
    if (count === null) return false;
    this.push(space.slice(0, count));
    if (count === space.length && count < MOST_SPACE) {
      this.#space = new Uint8Array(Math.min(count * 4, MOST_SPACE));
    } else if (count < space.length / 8 && space.length > FIRST_SPACE) {
      this.#space = new Uint8Array(space.length / 2);
    }
    return true;
  }

  override _read(): void {
    // Bytes come by `receive`, when they are waited for.
  }

  override _write(
    bytes: Uint8Array,
    _encoding: string,
    done: (error?: Error) => void,
  ): void {
    this.#written = writeAll(this.#duplex, bytes).then(
      () => done(),
      (error) => {
        this.#broke(error);
        done(error);
      },
    );
  }

  /** Resolves when all that TLS handed over is written. Never rejects. */
  async flushed(): Promise<void> {
    while (this.writableLength > 0 && !this.destroyed) await this.#written;
  }

  /** TLS lets go before it has handed over its last words. */
  override destroy(error?: Error): this {
    setImmediate(() => super.destroy(error));
    return this;
  }
}

/** Begins a handshake over a stream, and tells how it went. */
export type Begin = (
  stream: Duplex,
  secured: (socket: TLSSocket) => void,
  failed: (error: unknown) => void,
) => void;

/** A stream of plain bytes that are encrypted on another one. */
export class TlsDuplex implements ByteDuplex {
  readonly #duplex: ByteDuplex;
  readonly #stream: Transport;
  #handshake: PromiseWithResolvers<TLSSocket> | undefined;
  #socket: TLSSocket | undefined;
  /** Plain bytes that were not read yet: those of one read below, at most. */
  readonly #chunks: Uint8Array[] = [];
  /** Resolves when a read has a reason to look again. */
  #arrival: PromiseWithResolvers<void> | undefined;
  /** Reject the writes that are under way. */
  readonly #writes = new Set<(reason: unknown) => void>();
  #failure: { readonly cause: unknown } | undefined;
  #receiving = false;
  #readEnded = false;
  #writeEnd: Promise<void> | undefined;
  #closed = false;
  #freed = false;

  /** Takes over the stream below. */
  constructor(duplex: ByteDuplex) {
    this.#duplex = duplex;
    this.#stream = new Transport(duplex, (error) => this.#break(error));
  }

  /** Makes the handshake; frees the stream below if it fails. */
  handshake(begin: Begin): Promise<TLSSocket> {
    const { promise } = this.#handshake = Promise.withResolvers<TLSSocket>();
    try {
      begin(
        this.#stream,
        (socket) => this.#secured(socket),
        (error) => this.#fail(tlsError(error)),
      );
      this.#receive();
    } catch (error) {
      this.#fail(error);
    }
    return promise;
  }

  #secured(socket: TLSSocket): void {
    if (this.#failure !== undefined) return;
    this.#socket = socket;
    socket.on("error", (error) => this.#fail(tlsError(error)));
    socket.on("data", (chunk: Uint8Array) => {
      this.#chunks.push(chunk);
      this.#wake();
    });
    socket.on("end", () => {
      this.#readEnded = true;
      this.#wake();
    });
    this.#handshake?.resolve(socket);
    this.#handshake = undefined;
  }

  /** Reads below for as long as it is waited for. Never rejects. */
  async #receive(): Promise<void> {
    if (this.#receiving) return;
    this.#receiving = true;
    try {
      while (this.#isWaiting) {
        const hasMore = await this.#stream.receive();
        // What came may still be on its way through TLS.
        if (this.#isWaiting) await nextRound();
        if (hasMore) continue;
        if (!this.#readEnded) this.#truncate();
        break;
      }
    } catch (error) {
      this.#break(error);
    }
    this.#receiving = false;
  }

  get #isWaiting(): boolean {
    return this.#failure === undefined &&
      (this.#handshake !== undefined || this.#arrival !== undefined);
  }

  /** The stream below ended, which anything on the path can cause. */
  #truncate(): void {
    this.#fail(
      new TlsError(
        this.#handshake === undefined
          ? "Cannot receive: the connection ended without the end of TLS, so bytes may be missing"
          : "Cannot secure the connection: the peer left during the handshake",
        { mayRetry: true },
      ),
    );
  }

  /** The stream below broke. */
  #break(error: unknown): void {
    this.#fail(
      this.#handshake === undefined ? error : new TlsError(
        "Cannot secure the connection: the link broke during the handshake",
        { cause: error, mayRetry: true },
      ),
    );
  }

  #fail(cause: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { cause };
    this.#wake();
    for (const reject of this.#writes) reject(cause);
    if (this.#handshake === undefined) return;
    this.#free();
    this.#handshake.reject(cause);
  }

  /** Ends everything at once, for this reason. */
  abort(reason: unknown): void {
    this.#fail(reason);
    this.#free();
  }

  #free(): void {
    if (this.#freed) return;
    this.#freed = true;
    try {
      this.#duplex.close();
    } catch {
      // The code that opened it has closed it.
    }
    this.#stream.destroy();
    this.#socket?.destroy();
  }

  #wake(): void {
    this.#arrival?.resolve();
    this.#arrival = undefined;
  }

  /**
   * Reads plain bytes; `null` only if the peer said that it has sent all.
   *
   * @throws {TlsError} If the stream below ended before that.
   */
  async read(space: Uint8Array): Promise<number | null> {
    for (;;) {
      const chunk = this.#chunks[0];
      if (chunk !== undefined) {
        const count = copy(chunk.subarray(0, space.length), space);
        if (count === chunk.length) this.#chunks.shift();
        else this.#chunks[0] = chunk.subarray(count);
        return count;
      }
      if (this.#failure !== undefined) throw this.#failure.cause;
      if (this.#readEnded) return null;
      const { promise } = this.#arrival ??= Promise.withResolvers();
      this.#receive();
      await promise;
    }
  }

  /**
   * Encrypts some of the bytes, and writes them to the stream below; no bytes as
   * they are.
   */
  async write(bytes: Uint8Array): Promise<number> {
    if (bytes.length === 0) return await this.#duplex.write(bytes);
    if (this.#writeEnd !== undefined) {
      throw new TlsError("Cannot send: the sending side is closed");
    }
    const part = bytes.subarray(0, WRITE_BYTES);
    await this.#pass((socket, done) => socket.write(part, done));
    return part.length;
  }

  /** Waits until TLS is done with something, unless all fails before. */
  async #pass(
    hand: (socket: TLSSocket, done: (error?: Error | null) => void) => void,
  ): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.cause;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#writes.add(reject);
    hand(this.#socket!, (error) => {
      this.#writes.delete(reject);
      if (error) reject(error);
      else resolve();
    });
    await promise;
  }

  /** Tells the peer that it has all, and ends the sending side below. */
  closeWrite(): Promise<void> {
    return this.#writeEnd ??= this.#endWriting();
  }

  async #endWriting(): Promise<void> {
    await this.#pass((socket, done) => socket.end(() => done()));
    // By then TLS has handed over its last words.
    await nextRound();
    await this.#stream.flushed();
    await this.#duplex.closeWrite?.();
  }

  /**
   * Closes both streams. The peer is told, as far as that needs no waiting; all
   * that waits is rejected.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const isIdle = this.#failure === undefined && this.#writes.size === 0;
    this.#chunks.length = 0;
    this.#fail(new TlsError("Cannot use the connection: it is closed"));
    if (!isIdle) return this.#free();
    this.#socket?.end();
    setImmediate(() => this.#free());
  }

  /** As that of the stream below. */
  ref(): void {
    this.#duplex.ref?.();
  }

  /** As that of the stream below. */
  unref(): void {
    this.#duplex.unref?.();
  }
}
