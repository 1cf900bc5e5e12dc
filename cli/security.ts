/**
 * What the programs need to trust each other: certificates, and a secret.
 *
 * @module
 */
import {
  type Address,
  type Authentication,
  sharedSecret,
  type TlsClientOptions,
  type TlsServerOptions,
} from "../mod.ts";
import {
  type PermissionNeed,
  permissionsFor,
} from "../core/platform/platform.ts";
import { clause, Failure, UsageError } from "./failure.ts";
import type { Given } from "./program.ts";

const FILES = ["tls-cert", "tls-key", "tls-ca", "token-file"];
const TEXT_DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Files and variables that the options name. */
export class Security {
  readonly #given: Given;

  /** Looks at the options, and at no file yet. */
  constructor(given: Given) {
    given.exclude("token-file", "token-env");
    if (given.has("tls-cert") !== given.has("tls-key")) {
      throw new UsageError(
        "options '--tls-cert' and '--tls-key' need each other",
      );
    }
    this.#given = given;
  }

  /** The permissions to read them, and those for an address. */
  neededFor(
    action: "listen on" | "connect to",
    address: Address,
  ): PermissionNeed[] {
    return [...permissionsFor(address, action), ...this.needed];
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

  /** TLS for the server, if it was asked for. */
  forServer(): TlsServerOptions | undefined {
    const [cert, key, ca] = this.#certificates();
    if (cert !== undefined && key !== undefined) return { cert, key, ca };
    if (ca !== undefined) {
      throw new UsageError("option '--tls-ca' needs '--tls-cert'");
    }
  }

  /** TLS for the client, if it was asked for. */
  forClient(): TlsClientOptions | undefined {
    const isWanted = ["tls", "tls-name", "tls-cert", "tls-ca"].some((name) =>
      this.#given.has(name)
    );
    if (!isWanted) return undefined;
    const serverName = this.#given.text("tls-name");
    if (this.#given.has("unix") && serverName === undefined) {
      throw new UsageError(
        "a Unix socket has no name to check: TLS needs '--tls-name'",
      );
    }
    const [cert, key, ca] = this.#certificates();
    return { serverName, cert, key, ca };
  }

  /** The secret that both ends know, if there is one. It never leaves here. */
  authentication(): Authentication | undefined {
    const option = this.#given.has("token-env") ? "token-env" : "token-file";
    const secret = option === "token-env"
      ? this.#variable()
      : this.#file("token-file");
    if (secret === undefined) return undefined;
    try {
      // An editor ends the last line.
      return sharedSecret(secret.replace(/\r?\n$/, ""));
    } catch (error) {
      throw new Failure(`option '--${option}': ${clause(error)}`);
    }
  }

  #certificates(): (string | undefined)[] {
    return ["tls-cert", "tls-key", "tls-ca"].map((name) => this.#file(name));
  }

  #file(option: string): string | undefined {
    const path = this.#given.text(option);
    if (path === undefined) return undefined;
    try {
      return TEXT_DECODER.decode(Deno.readFileSync(path));
    } catch (error) {
      const reason = error instanceof TypeError ? "not UTF-8" : clause(error);
      throw new Failure(`option '--${option}': cannot read ${path}: ${reason}`);
    }
  }

  #variable(): string {
    const name = this.#given.text("token-env")!;
    let reason = "it is not set";
    try {
      const value = Deno.env.get(name);
      if (value !== undefined) return value;
    } catch (error) {
      reason = error instanceof TypeError ? "no such name" : "not UTF-8";
    }
    throw new Failure(`option '--token-env': cannot read ${name}: ${reason}`);
  }
}
