/**
 * Objects that are called from afar, with `capnweb` over a connection:
 * `deno run --allow-net=127.0.0.1 examples/capnweb.ts`.
 */
import { RpcSession, RpcTarget } from "npm:capnweb@0.12.0";
import { ConnectionRpcTransport } from "../adapters/capnweb.ts";
import { connect, listen } from "../mod.ts";

class User extends RpcTarget {
  constructor(readonly name: string) {
    super();
  }

  async greet(callback: (greeting: string) => void): Promise<string> {
    await callback(`hello ${this.name}`);
    return "greeted";
  }
}

class Api extends RpcTarget {
  logIn(name: string): User {
    return new User(name);
  }
}

await using listener = listen(
  // A client may be silent between its calls.
  { hostname: "127.0.0.1", port: 0, idleTimeout: Infinity },
  async (connection) => {
    new RpcSession(new ConnectionRpcTransport(connection), new Api());
    await connection.closed;
  },
);
const connection = await connect(listener.addr);
const session = new RpcSession<Api>(new ConnectionRpcTransport(connection));
using api = session.getRemoteMain();
// Both calls leave together: the second is made on the result of the first.
const user = api.logIn("ada");
console.log(await user.greet((greeting) => console.log(greeting)));
