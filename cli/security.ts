/**
 * What the programs need to trust each other: certificates, and a secret.
 *
 * @module
 */
import {
  type Authentication,
  sharedSecret,
  type TlsClientOptions,
  type TlsServerOptions,
} from "../mod.ts";
import type { PermissionNeed } from "../core/platform/platform.ts";
import { clause, Failure, UsageError } from "./failure.ts";
import type { Given } from "./program.ts";

/** The options that both programs have; what they do differs for three. */
export function securityOptions(
  { cert, ca, token }: { cert: string; ca: string; token: string },
): string {
  return `
--tls-cert FILE  ${cert}
--tls-key FILE  its private key, PEM
--tls-ca FILE  ${ca}
--token-file FILE  ${token}
--token-env NAME  the same from a variable of the environment
`.trim();
}

const FILES = ["tls-cert", "tls-key", "tls-ca", "token-file"];
const STRICT_DECODER = new TextDecoder("utf-8", {
  fatal: true,
  ignoreBOM: true,
});

/** Files and variables that the options name. */
export class Security {
  readonly #given: Given;

  /** Looks at the options, and at no file yet. */
  constructor(given: Given) {
    given.exclude("token-file", "token-env");
    if (given.has("tls-cert") !== given.has("tls-key")) {
      throw new UsageError(
        'options "--tls-cert" and "--tls-key" need each other',
      );
    }
    this.#given = given;
  }

  /** The permissions to read them. */
  get needed(): PermissionNeed[] {
    const paths = FILES.map((name) => this.#given.text(name));
    const variable = this.#given.text("token-env");
    return [
      ...paths.filter((path) => path !== undefined)
        .map((path) => ({ name: "read", path }) as const),
      ...variable === undefined ? [] : [{ name: "env", variable } as const],
    ];
  }

  /** Encryption for the server, if it was asked for. */
  forServer(): TlsServerOptions | undefined {
    const [cert, key, ca] = this.#certificates();
    if (cert !== undefined && key !== undefined) return { cert, key, ca };
    if (ca !== undefined) {
      throw new UsageError('option "--tls-ca" needs "--tls-cert"');
    }
  }

  /** Encryption for the client, if it was asked for. */
  forClient(): TlsClientOptions | undefined {
    const isWanted = ["tls", "tls-name", "tls-cert", "tls-ca"].some((name) =>
      this.#given.has(name)
    );
    if (!isWanted) return undefined;
    const serverName = this.#given.text("tls-name");
    if (this.#given.has("unix") && serverName === undefined) {
      throw new UsageError(
        'a Unix socket has no name to check: encryption needs "--tls-name"',
      );
    }
    const [cert, key, ca] = this.#certificates();
    return { serverName, cert, key, ca };
  }

  /** The secret that both ends know, if there is one. It never leaves here. */
  authentication(): Authentication | undefined {
    const variable = this.#given.text("token-env");
    const text = variable === undefined
      ? this.#read("token-file", STRICT_DECODER)
      : textOfVariable(variable);
    if (text === undefined) return undefined;
    try {
      // An editor ends the last line.
      return sharedSecret(text.replace(/\r?\n$/, ""));
    } catch (error) {
      const option = variable === undefined ? "token-file" : "token-env";
      throw new Failure(`option "--${option}": ${clause(error)}`);
    }
  }

  #certificates(): (string | undefined)[] {
    return ["tls-cert", "tls-key", "tls-ca"].map((name) => this.#read(name));
  }

  #read(option: string, decoder = new TextDecoder()): string | undefined {
    const path = this.#given.text(option);
    if (path === undefined) return undefined;
    let bytes: Uint8Array;
    try {
      bytes = Deno.readFileSync(path);
    } catch (error) {
      throw new Failure(
        `option "--${option}": cannot read ${path}: ${clause(error)}`,
      );
    }
    try {
      return decoder.decode(bytes);
    } catch {
      throw new Failure(`option "--${option}": ${path} is not UTF-8`);
    }
  }
}

function textOfVariable(name: string): string {
  let text: string | undefined;
  try {
    text = Deno.env.get(name);
  } catch (error) {
    if (error instanceof Deno.errors.InvalidData) {
      throw new Failure(`option "--token-env": variable ${name} is not UTF-8`);
    }
    throw new UsageError('option "--token-env" names no variable');
  }
  if (text !== undefined) return text;
  throw new Failure(`option "--token-env": there is no variable ${name}`);
}
