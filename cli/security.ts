/**
 * What the programs need to trust each other: certificates, and a secret.
 *
 * @module
 */
import {
  type Authentication,
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
    const isWanted = ["tls", "tls-cert", "tls-ca"].some((name) =>
      this.#given.has(name)
    );
    if (!isWanted) return undefined;
    return {
      cert: this.#read("tls-cert"),
      key: this.#read("tls-key"),
      ca: this.#read("tls-ca"),
    };
  }

  /** The secret that both ends know, if there is one. It never leaves here. */
  authentication(): Authentication | undefined {
    const variable = this.#given.text("token-env");
    const text = variable === undefined
      ? this.#read("token-file")
      : Deno.env.get(variable);
    if (text === undefined) {
      if (variable === undefined) return undefined;
      throw new Failure(`the environment has no variable ${variable}`);
    }
    try {
      // An editor ends the last line.
      return sharedSecret(text.replace(/\r?\n$/, ""));
    } catch (error) {
      const where = this.#given.text("token-file") ?? variable;
      throw new Failure(`${where}: ${clause(error)}`);
    }
  }

  #read(option: string): string | undefined {
    const path = this.#given.text(option);
    if (path === undefined) return undefined;
    try {
      return Deno.readTextFileSync(path);
    } catch (error) {
      throw new Failure(`cannot read ${path}: ${clause(error)}`);
    }
  }
}
