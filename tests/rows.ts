/** The rows of the library, as `layers_test.ts` and ARCHITECTURE.md have them. */

/**
 * The rows, from what knows least to what users write: a file imports from its
 * own folder, without cycles, or from rows with a smaller number.
 */
export const ROWS: Readonly<Record<string, number>> = {
  "core/tools/": 0,
  "core/framing/": 1,
  "core/connection/": 2,
  "core/platform/": 3,
  "core/tls/": 3,
  "core/auth/": 3,
  "core/handshake/": 4,
  "core/server/": 5,
  "core/client/": 5,
  "server.ts": 6,
  "client.ts": 6,
  "core/rpc/": 7,
  "mod.ts": 8,
  "testing.ts": 9,
  "adapters/": 9,
  "cli/": 9,
  "examples/": 10,
};

/** Files at the top that belong to the folder beside them. */
export const BESIDE: Readonly<Record<string, string>> = {
  "framing.ts": "core/framing/",
  "rpc.ts": "core/rpc/",
};
