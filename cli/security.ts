/**
 * What the programs need to trust each other: certificates, and a secret.
 *
 * @module
 */
import {
  type Authentication,
  AuthenticationError,
  type PermissionNeed,
  sharedSecret,
  type TlsClientOptions,
  type TlsServerOptions,
} from "../mod.ts";
import { clause } from "./output.ts";
import { Failure, type Given, type Option, UsageError } from "./program.ts";

/** The options that both programs have; what they do differs for three. */
export function securityOptions(
  help: { cert: string; ca: string; token: string },
): Record<string, Option> {
  return {
    "tls-cert": { value: "FILE", help: help.cert },
    "tls-key": { value: "FILE", help: "its private key, PEM" },
    "tls-ca": { value: "FILE", help: help.ca },
    "token-file": { value: "FILE", help: help.token },
    "token-env": {
      value: "NAME",
      help: "the same from a variable of the environment",
    },
  };
}

/** The client's alone: the server's name is in its certificate. */
export const TLS_NAME_OPTION: Record<string, Option> = {
  "tls-name": {
    value: "NAME",
    help:
      "encrypt, and check the server's certificate for this name (default the host)",
  },
};

const FILES = ["tls-cert", "tls-key", "tls-ca", "token-file"];

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
    const needed: PermissionNeed[] = [];
    for (const name of FILES) {
      const path = this.#given.text(name);
      if (path !== undefined) needed.push({ name: "read", path });
    }
    const variable = this.#given.text("token-env");
    if (variable !== undefined) needed.push({ name: "env", variable });
    return needed;
  }

  /** Encryption for the server, if it was asked for. */
  forServer(): TlsServerOptions | undefined {
    const cert = this.#read("tls-cert");
    const key = this.#read("tls-key");
    if (cert !== undefined && key !== undefined) {
      return { cert, key, ca: this.#read("tls-ca") };
    }
    if (this.#given.has("tls-ca")) {
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
    return {
      serverName,
      cert: this.#read("tls-cert"),
      key: this.#read("tls-key"),
      ca: this.#read("tls-ca"),
    };
  }

  /** The secret that both ends know, if there is one. It never leaves here. */
  authentication(): Authentication | undefined {
    const path = this.#given.text("token-file");
    const variable = this.#given.text("token-env");
    const text = variable !== undefined
      ? textOfVariable(variable)
      : path !== undefined
      ? this.#secret(path)
      : undefined;
    if (text === undefined) return undefined;
    try {
      // An editor ends the last line.
      return asked(sharedSecret(text.replace(/\r?\n$/, "")));
    } catch (error) {
      const option = variable === undefined ? "--token-file" : "--token-env";
      throw new Failure(`option "${option}": ${clause(error)}`);
    }
  }

  #read(option: string): string | undefined {
    const path = this.#given.text(option);
    return path === undefined
      ? undefined
      : read(option, path, Deno.readTextFileSync);
  }

  #secret(path: string): string {
    const bytes = read("token-file", path, Deno.readFileSync);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
        .decode(bytes);
    } catch {
      throw new Failure(`option "--token-file": ${path} is not UTF-8`);
    }
  }
}

/** The same, and the client says where it was asked for nothing. */
function asked(authentication: Authentication): Authentication {
  return {
    ...authentication,
    prove: (peer) =>
      authentication.prove({
        ...peer,
        async ask(message) {
          try {
            const question = await peer.ask(message);
            if (Object.hasOwn(Object(question), "challenge")) return question;
          } catch (error) {
            const isRefusal = error instanceof AuthenticationError &&
              !error.mayRetry;
            if (!isRefusal) throw error;
          }
          throw new AuthenticationError(
            "the server asks for no login; try without a token",
          );
        },
      }),
  };
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

function read<Content>(
  option: string,
  path: string,
  readSync: (path: string) => Content,
): Content {
  try {
    return readSync(path);
  } catch (error) {
    throw new Failure(
      `option "--${option}": cannot read ${path}: ${clause(error)}`,
    );
  }
}
