import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { InvalidMessageError, type JsonValue } from "../../framing.ts";
import { faultTest, settled, until } from "../../tests/ledger.ts";
import { waitersOf } from "../../tests/listeners.ts";
import {
  type MemoryEnd,
  memoryPair,
  socketOf,
} from "../../tests/memory_pair.ts";
import { type ClientEvent, ReconnectingClient } from "../client/client.ts";
import {
  type Connection,
  ConnectionClosedError,
  fromDuplex,
  linkOf,
} from "../connection/connection.ts";
import type { Socket } from "../platform/platform.ts";
import { makeRpcClient, type RpcClient } from "./client.ts";
import type { RpcMethods } from "./contract.ts";
import { makePeer, type RpcPeer } from "./peer.ts";
import { RpcSettings } from "./options.ts";

/** Servers in memory, one after the other, with the same methods. */
class Servers {
  readonly peers: RpcPeer[] = [];
  readonly ends: MemoryEnd[] = [];
  readonly connections: Connection[] = [];
  /** What is called, in order. */
  readonly log: JsonValue[] = [];
  /** Where attempts wait, if they shall. */
  gate: Promise<void> | undefined;
  readonly #methods: RpcMethods = {
    note: (...params: unknown[]) => void this.log.push(params as JsonValue),
    echo: (value: unknown) => {
      this.log.push(value as JsonValue);
      return value;
    },
    never: () => new Promise(() => {}),
    ...{
      async *count(to: number) {
        for (let i = 1; i <= to; i++) yield await Promise.resolve(i);
      },
    },
  };

  constructor(methods: RpcMethods = {}) {
    Object.assign(this.#methods, methods);
  }

  async client(
    { maxQueuedBytes = 10_000 } = {},
  ): Promise<RpcClient> {
    const client = await new ReconnectingClient(
      { maxQueuedBytes, maxRetryDelay: 1, onEvent: this.#note },
      () => this.#dial(),
    ).open();
    return makeRpcClient(client, new RpcSettings({}, {}));
  }

  readonly #note = (event: ClientEvent) => {
    if (event.type === "connected") this.connections.push(event.connection);
  };

  async #dial(): Promise<Socket> {
    await this.gate;
    const [near, far] = memoryPair();
    this.ends.push(near);
    this.peers.push(
      makePeer(fromDuplex(far), new RpcSettings(this.#methods, {})),
    );
    return socketOf(near);
  }

  /** The servers go away until the function is called: the client knows it. */
  async leave(): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gate = promise;
    const { connection } = this.peers.at(-1)!;
    this.ends.at(-1)!.cut();
    await connection.closed;
    await this.connections.at(-1)?.closed;
    return resolve;
  }
}

faultTest(
  "RpcClient makes calls and notifications in their order, as they were at the call",
  async () => {
    const servers = new Servers();
    const client = await servers.client();
    // Right behind the connection, and again where there is none.
    client.notify("note", [1]);
    client.notify("note", [2]);
    assertEquals(await client.call("echo", [3]), 3);
    const comeBack = await servers.leave();
    const named = { number: 4 };
    client.notify("note", [named]);
    named.number = 5;
    const five = client.call("echo", [named]);
    named.number = 6;
    const six = client.call("echo", [named]);
    named.number = 7;
    comeBack();
    assertEquals(await Promise.all([five, six]), [
      { number: 5 },
      { number: 6 },
    ]);
    assertEquals(servers.log, [
      [1],
      [2],
      3,
      [{ number: 4 }],
      { number: 5 },
      { number: 6 },
    ]);
    await client.close();
  },
);

faultTest(
  "RpcClient has the connection, the counts and the end of its client",
  async () => {
    const servers = new Servers();
    const client = await servers.client();
    assertStrictEquals(await client.connected(), servers.connections[0]);
    // It belongs to no call.
    servers.peers[0].notify("$/cancelRequest", { id: 1 });
    assertEquals(await client.call("echo", [1]), 1);
    const comeBack = await servers.leave();
    const two = client.call("echo", [2]);
    assertEquals(client.stats().callsOpen, 1);
    comeBack();
    assertEquals(await two, 2);
    assertStrictEquals(await client.connected(), servers.connections[1]);
    servers.peers[1].notify("$/cancelRequest", { id: 1 });
    assertEquals(await client.call("echo", [3]), 3);
    const { connected, failed, callsOpen, callsRunning, strays, messagesSent } =
      client.stats();
    assertEquals(
      { connected, failed, callsOpen, callsRunning, strays, messagesSent },
      {
        connected: 2,
        failed: 0,
        callsOpen: 0,
        callsRunning: 0,
        strays: 2,
        messagesSent: 3,
      },
    );
    const controller = new AbortController();
    controller.abort(new Error("enough"));
    const { signal } = controller;
    await assertRejects(() => client.connected({ signal }), Error, "enough");
    assertEquals(client.signal.aborted, false);
    client.close();
    assertEquals(client.signal.aborted, true);
    assertEquals(await client.closed, { clean: true });
    await assertRejects(() => client.connected(), ConnectionClosedError);
  },
);

faultTest(
  "RpcClient refuses at the call what cannot be sent, and what is too much",
  async () => {
    const servers = new Servers();
    const client = await servers.client();
    const comeBack = await servers.leave();
    const deep = JSON.parse("[".repeat(200) + "]".repeat(200));
    for (const params of [[1n], [deep], [["x".repeat(2_000_000)]]]) {
      const error = await assertRejects(() => client.call("echo", params));
      assert(
        error instanceof InvalidMessageError || error instanceof RangeError,
      );
      await assertRejects(() => client.notify("note", params));
    }
    await assertRejects(() => client.call("echo", 1 as never), TypeError);
    await assertRejects(
      () => client.call("echo", [], { timeout: 0 }),
      RangeError,
    );
    const calls = [1, 2, 3].map((i) => client.call("echo", [i]));
    comeBack();
    assertEquals(await Promise.all(calls), [1, 2, 3]);
    await client.close();
  },
);

faultTest(
  "RpcClient gives calls up that wait too long, or whose signal is aborted, and sends them never",
  async () => {
    const servers = new Servers();
    const client = await servers.client();
    const comeBack = await servers.leave();
    const controller = new AbortController();
    const { signal } = controller;
    const late = await assertRejects(
      () => client.call("echo", ["late"], { timeout: 5, signal }),
      DOMException,
      'Cannot call "echo": no connection after 5 ms (timeout)',
    );
    assertEquals(late.name, "TimeoutError");
    const aborted = client.call("echo", ["aborted"], { signal });
    const reason = new Error("enough");
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => aborted, Error), reason);
    assertEquals(waitersOf(signal), 0);
    const items = client.call("count", [3])[Symbol.asyncIterator]();
    assertEquals((await items.return!()).done, true);
    assertEquals((await items.next()).done, true);
    const others = client.call("count", [3])[Symbol.asyncIterator]();
    const next = others.next();
    await others.return!();
    assertEquals((await next).done, true);
    const all = Array.fromAsync(client.call("count", [3]));
    comeBack();
    assertEquals(await all, [1, 2, 3]);
    assertEquals(servers.log, []);
    await client.close();
  },
);

faultTest(
  "RpcClient makes a call over the next link where the last one ends while it is still written to",
  async () => {
    const servers = new Servers();
    const client = await servers.client({ maxQueuedBytes: 1_000_000 });
    assertEquals(await client.call("echo", [1]), 1);
    const [near] = servers.ends;
    const [peer] = servers.peers;
    const [firstConnection] = servers.connections;
    near.hold();
    client.notify("note", ["x".repeat(100_000)]);
    // The server says that it is done, and the client has more to write.
    await peer.connection.closeWrite();
    await until(() => linkOf(firstConnection).isOver, "it is not noticed");
    assertEquals(
      await settled(client.call("echo", [2]), "it is not answered"),
      2,
    );
    assertEquals(servers.peers.length, 2);
    near.cut();
    await client.close();
  },
);

faultTest(
  "RpcClient calls over a new connection where the one before has no room, nor ever gets it",
  async () => {
    const servers = new Servers();
    const client = await servers.client({ maxQueuedBytes: 10_000 });
    assertEquals(await client.call("echo", [1]), 1);
    const [near] = servers.ends;
    const [peer] = servers.peers;
    const [firstConnection] = servers.connections;
    near.hold();
    client.notify("note", ["x".repeat(20_000)]);
    const waiting = client.call("echo", [2]);
    await peer.connection.closeWrite();
    await until(() => linkOf(firstConnection).isOver, "it is not noticed");
    // It was not sent over the first one.
    assertEquals(await settled(waiting, "it waits for ever"), 2);
    near.cut();
    await client.close();
  },
);

faultTest(
  "RpcClient.close() tells the server which calls are given up",
  async () => {
    const aborted = Promise.withResolvers<unknown>();
    const running = Promise.withResolvers<void>();
    const servers = new Servers({
      wait() {
        const { signal } = this;
        signal.addEventListener("abort", () => aborted.resolve(signal.reason));
        running.resolve();
        return new Promise(() => {});
      },
    });
    const client = await servers.client();
    const lost = assertRejects(
      () => client.call("wait"),
      ConnectionClosedError,
    );
    await running.promise;
    const cancelled = servers.peers[0].connection.stats().messagesReceived;
    await client.close();
    await lost;
    await settled(aborted.promise, "the method goes on");
    // It is told, and does not only see the link end.
    assertEquals(
      servers.peers[0].connection.stats().messagesReceived,
      cancelled + 1,
    );
    await assertRejects(() => client.call("echo"), ConnectionClosedError);
    await assertRejects(() => client.notify("note"), ConnectionClosedError);
  },
);

faultTest(
  "RpcClient calls after any number of connections whose sending side was ended behind notifications",
  async () => {
    const servers = new Servers();
    const client = await servers.client({ maxQueuedBytes: 100_000 });
    // Less than one call of rpc.sync is for, and together more than a window.
    for (let i = 0; i < 6; i++) {
      const connection = await client.connected();
      await client.notify("note", ["x".repeat(60_000)]);
      await connection.closeWrite();
      assertEquals(await client.call("echo", [i]), i);
    }
    await client.close();
  },
);
