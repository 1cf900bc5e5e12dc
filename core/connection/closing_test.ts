/** How a link over a duplex of the user's own ends. */
import { assertEquals, assertRejects } from "@std/assert";
import { turn } from "../../tests/turns.ts";
import { memoryPair } from "../../tests/memory_pair.ts";
import {
  type ByteDuplex,
  ConnectionClosedError,
  fromDuplex,
} from "./connection.ts";

const FAILS: Record<string, () => never | Promise<never>> = {
  throws() {
    throw new Error("no");
  },
  rejects: () => Promise.reject(new Error("no")),
};

/** Its own end is broken in some way. */
function duplexWith(broken: Partial<ByteDuplex>): ByteDuplex {
  const [near] = memoryPair();
  return {
    read: (space) => near.read(space),
    write: (bytes) => near.write(bytes),
    closeWrite: () => near.closeWrite(),
    close: () => near.close(),
    ...broken,
  };
}

for (const [how, fail] of Object.entries(FAILS)) {
  Deno.test(`close() resolves where closeWrite() of the duplex ${how}`, async () => {
    const connection = fromDuplex(duplexWith({ closeWrite: fail }));
    connection.send("no reply comes");
    await connection.close();
    assertEquals(await connection.closed, { clean: true });
  });

  Deno.test(`closeWrite() rejects where that of the duplex ${how}, and close() resolves`, async () => {
    const connection = fromDuplex(duplexWith({ closeWrite: fail }));
    await assertRejects(() => connection.closeWrite(), Error, "no");
    await connection.close();
  });

  Deno.test(`close() and abort() resolve where close() of the duplex ${how}`, async () => {
    // An unhandled rejection fails the test.
    await fromDuplex(duplexWith({ close: fail })).close();
    const aborted = fromDuplex(duplexWith({ close: fail }));
    aborted.abort();
    await aborted.closed;
    await turn();
  });

  Deno.test(`a connection ends where write() of the duplex ${how}`, async () => {
    const connection = fromDuplex(duplexWith({ write: fail }));
    const failed = assertRejects(
      () => connection.request(1),
      ConnectionClosedError,
    );
    assertEquals((await connection.closed).clean, false);
    await failed;
  });

  Deno.test(`a connection ends where read() of the duplex ${how}`, async () => {
    const connection = fromDuplex(duplexWith({ read: fail }));
    await assertRejects(
      () => Array.fromAsync(connection),
      ConnectionClosedError,
    );
    assertEquals((await connection.closed).clean, false);
  });
}
