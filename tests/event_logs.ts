/** What servers and clients tell by their events. */
import { assertEquals } from "@std/assert";
import type { ClientEvent, ServerEvent } from "../mod.ts";

/** Events, and how many there are of a type. */
export class ServerEventLog {
  readonly events: ServerEvent[] = [];
  readonly onEvent = (event: ServerEvent) => void this.events.push(event);

  of<Type extends ServerEvent["type"]>(
    type: Type,
  ): Extract<ServerEvent, { type: Type }>[] {
    return this.events.filter((event) => event.type === type) as never;
  }

  /** Every connection that began has ended, once. */
  assertBalanced(): void {
    const begun = this.of("connected").map(({ connection }) => connection);
    const ended = this.of("closed").map(({ connection }) => connection);
    assertEquals(new Set(begun).size, begun.length);
    assertEquals(ended.length, begun.length);
    assertEquals(new Set(ended), new Set(begun));
  }
}

/** Events of a client. */
export class ClientEventLog {
  readonly events: ClientEvent[] = [];
  readonly onEvent = (event: ClientEvent) => void this.events.push(event);

  count(type: ClientEvent["type"]): number {
    return this.events.filter((event) => event.type === type).length;
  }

  /** Every attempt has an outcome, and every connection an end. */
  assertBalanced(): void {
    assertEquals(
      this.count("connecting"),
      this.count("connected") + this.count("failed"),
    );
    assertEquals(this.count("connected"), this.count("closed"));
  }
}
