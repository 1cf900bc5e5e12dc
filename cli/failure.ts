/**
 * Errors in words, for the one line that a program ends with.
 *
 * @module
 */
import { clauseOf } from "../core/tools/address.ts";

/** Why a program ends, told to its user in one line. */
export class Failure extends Error {
  /** What the program exits with. */
  readonly exitCode: number = 1;
}

/** A command line that the program cannot make sense of. */
export class UsageError extends Failure {
  override readonly exitCode = 2;

  /** Makes the error; `hint` says where to read on. */
  constructor(message: string, hint = "; see --help") {
    super(message + hint);
  }
}

/** Thrown when stdout takes nothing. */
export class OutputError extends Failure {}

/** Thrown when stdout is not read any more, as by `head`. */
export class OutputClosedError extends OutputError {
  override readonly exitCode = 0;
}

/** Options of the library that have other names here. */
const OPTION_NAMES: Readonly<Record<string, string>> = {
  cert: "tls-cert",
  key: "tls-key",
  ca: "tls-ca",
  serverName: "tls-name",
  path: "unix",
  connectTimeout: "timeout",
};

/**
 * An error of the platform or of the library as a part of a sentence, with the
 * options that it names as they are given to a program.
 */
export function clause(error: unknown): string {
  if (error instanceof Deno.errors.ConnectionReset) return "reset by the peer";
  if (error instanceof Deno.errors.BrokenPipe) return "the peer is gone";
  const text = (error instanceof Error ? error.message : String(error))
    // With the call of the platform that failed.
    .replace(/ \(os error \d+\)(?:: \w+ '.*')?/s, "")
    .replace(/\boption "(\w+)"/g, (_, name) => `option '${flagOf(name)}'`)
    .replace(
      /\((timeout|\w+(?:Timeout|Bytes))\)$/,
      (_, name) => `(${flagOf(name)})`,
    );
  return clauseOf(text);
}

/** A clause on its own: it may begin with a word, or with a name as it is. */
export function sentence(clause: string): string {
  return clause.replace(
    /^[a-z]+(?= )/,
    (word) => word[0].toUpperCase() + word.slice(1),
  );
}

function flagOf(name: string): string {
  const words = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `--${OPTION_NAMES[name] ?? words}`;
}
