/** What becomes of errors in what users write. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import {
  connect,
  ConnectionClosedError,
  type Handler,
  type JsonValue,
  serve,
} from "../mod.ts";
import { faultTest, settled, until } from "./ledger.ts";
import { frame, LOCAL, Peer, portOf } from "./peers.ts";
import { resetAndDestroy } from "./raw.ts";
import { Reports } from "./reports.ts";

function echo(message: JsonValue): JsonValue {
  return message;
}

faultTest(
  "every hook that throws or rejects is reported, and ends nothing",
  async () => {
    using reports = new Reports();
    const failures = [
      () => {
        throw new Error("from the hook");
      },
      () => Promise.reject(new Error("from the hook")),
    ];
    for (const hook of failures) {
      const hooks = new Set<string>();
      const failing = (name: string) => () => {
        hooks.add(name);
        return hook() as never;
      };
      await using server = serve({
        ...LOCAL,
        onListen: failing("onListen"),
        onEvent: failing("onEvent of serve"),
        onError: failing("onError"),
      }, () => {
        throw new Error("from the handler");
      });
      const client = await connect({
        ...server.addr,
        onEvent: failing("onEvent of connect"),
      });
      await assertRejects(() => client.request(1), ConnectionClosedError);
      await client.close();
      await until(() => server.connections.size === 0, "it is open");
      assertEquals(hooks.size, 4);
    }
    assert(reports.errors.length >= 10, `${reports.errors.length}`);
    for (const error of reports.errors) {
      assertEquals(String(error), "Error: from the hook");
    }
  },
);

faultTest(
  "a handler's error is reported where no onError takes it, and a failure of the link is not",
  async () => {
    using reports = new Reports();
    let taken = 0;
    const outside = new ConnectionClosedError("of another link", {
      clean: false,
    });
    const mistakes: [string, Handler][] = [
      ["Error: thrown", () => {
        throw new Error("thrown");
      }],
      ["Error: rejected", () => Promise.reject(new Error("rejected"))],
      ["InvalidMessageError", () => 1n],
      ["FrameTooLargeError", () => "x".repeat(2 ** 21)],
      ["ConnectionClosedError: of another link", () => {
        throw outside;
      }],
    ];
    for (const [text, handler] of mistakes) {
      for (const onError of [undefined, () => void taken++]) {
        await using server = serve({ ...LOCAL, onError }, handler);
        await using client = await connect(server.addr);
        await assertRejects(() => client.request(1), ConnectionClosedError);
        const told = reports.errors.splice(0).map(String);
        assertEquals(told.length, onError === undefined ? 1 : 0, text);
        if (onError === undefined) assertStringIncludes(told[0], text);
      }
    }
    assertEquals(taken, mistakes.length);

    // What follows is the peer's doing.
    const ended = Promise.withResolvers<void>();
    await using server = serve(LOCAL, async (_message, connection) => {
      await connection.closed;
      ended.resolve();
      await connection.send("too late");
    });
    using peer = await Peer.connect(server.addr);
    await peer.write(frame("no!"));
    await peer.rest();
    await resetAndDestroy(portOf(server.addr), frame("1"));
    await ended.promise;
    await until(() => server.connections.size === 0, "it is open");
    assertEquals(reports.errors, []);
  },
);

faultTest(
  "an error of a verifier is reported where no onEvent takes it, and a refusal is not",
  async () => {
    using reports = new Reports();
    const login = frame('{"$login":"mine"}');
    const cases: [number, () => unknown, Uint8Array][] = [
      [1, () => {
        throw new Error("the database is gone");
      }, login],
      [1, () => Promise.reject(new Error("the database is gone")), login],
      [0, () => false, login],
      [0, () => true, frame("no!")],
    ];
    for (const [count, authenticate, bytes] of cases) {
      for (const onEvent of [undefined, () => {}]) {
        await using server = serve({ ...LOCAL, authenticate, onEvent }, echo);
        using peer = await Peer.connect(server.addr);
        await peer.write(bytes);
        await settled(peer.ended(), "the connection is open");
        const expected = onEvent === undefined ? count : 0;
        assertEquals(
          reports.errors.splice(0).map(String),
          Array.from({ length: expected }, () => "Error: the database is gone"),
        );
      }
    }
  },
);
