/** Gives bytes. */
export interface Reader {
  /**
   * Reads into `space`; resolves to the number of bytes read, or to `null` at
   * the end.
   */
  read(space: Uint8Array): Promise<number | null>;
}

/** Takes bytes. */
export interface Writer {
  /** Writes some of `bytes`; resolves to the number of bytes taken. */
  write(bytes: Uint8Array): Promise<number>;
}

/** Can be closed. */
export interface Closer {
  /** Closes it. */
  close(): void;
}
