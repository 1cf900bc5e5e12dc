/**
 * Logging in: what a server asks of a peer before any handler hears it, and how
 * a client answers.
 *
 * @module
 */
import type { Address } from "../connection/connection.ts";
import type { Option } from "../tools/options.ts";
import { kindOf } from "../tools/show.ts";
import type { Authentication } from "./contract.ts";

export { AuthenticationError } from "../connection/connection.ts";
export {
  admit,
  BarredError,
  type LoginLimit,
  screenClient,
  VerifierError,
} from "./admit.ts";
export type {
  Authentication,
  AuthenticationPeer,
  Prover,
  Verifier,
} from "./contract.ts";
export { logIn, screenServer } from "./log_in.ts";
export {
  SHARED_TOKEN_DEFAULTS,
  sharedSecret,
  sharedToken,
  type SharedTokenOptions,
} from "./shared.ts";

/** What the option `authenticate` may be. */
export const AUTHENTICATE_OPTION: Option<never> = {
  check(name, value) {
    if (typeof value === "function") return;
    const { prove, verify, needsEncryption } = Object(value);
    if (
      typeof prove === "function" && typeof verify === "function" &&
      typeof needsEncryption === "boolean"
    ) return;
    // Whatever it is may be a secret.
    throw new TypeError(
      `Cannot use option "${name}": received ${
        kindOf(value)
      }, expected a function or what sharedToken and sharedSecret make`,
    );
  },
};

/**
 * The half of an option that one end needs, where peers reach `address`.
 *
 * @throws {TypeError} If it needs encryption and has none.
 */
export function halfOf<Half extends "prove" | "verify">(
  half: Half,
  option: Authentication | Authentication[Half],
  address: Address,
  encrypted: boolean,
): Authentication[Half] {
  if (typeof option === "function") return option;
  if (
    option.needsEncryption && !encrypted && address.transport === "tcp" &&
    !isLoopback(address.hostname)
  ) {
    throw new TypeError(
      `Cannot authenticate with a token: TCP to "${address.hostname}" is not encrypted; use TLS, a shared secret, or allowPlaintext`,
    );
  }
  return option[half].bind(option) as Authentication[Half];
}

function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/i.test(hostname);
}
