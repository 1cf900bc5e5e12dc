/**
 * Events, told to a hook and to subscribers.
 *
 * @module
 */
import { channel } from "node:diagnostics_channel";
import { Queue } from "./queue.ts";
import { callHook } from "./report.ts";

/** Where the platform keeps the subscribers of a channel. */
interface Subscribed {
  readonly _subscribers?: unknown;
}

/** Tells one kind of events, in the order in which they happen. */
export class Events<Event extends { readonly type: string }> {
  readonly #onEvent: ((event: Event) => void) | undefined;
  readonly #channel: ReturnType<typeof channel>;
  /** What is being told, and what has happened meanwhile. */
  readonly #untold = new Queue<Event>();

  /**
   * Tells `onEvent`, and the subscribers of a channel of
   * `node:diagnostics_channel`.
   */
  constructor(name: string, onEvent: ((event: Event) => void) | undefined) {
    this.#channel = channel(name);
    this.#onEvent = onEvent;
  }

  /** Whether anything is told. */
  get isHeard(): boolean {
    return this.#onEvent !== undefined || this.#channel.hasSubscribers;
  }

  /**
   * Tells that something has happened. What happens while a listener is told is
   * told next: everybody hears of it in the same order.
   */
  emit(event: Event): void {
    this.#untold.push(event);
    if (this.#untold.size > 1) return;
    for (let next; (next = this.#untold.peek()) !== undefined;) {
      callHook(this.#onEvent, next);
      this.#publish(next);
      this.#untold.shift();
    }
  }

  /**
   * Tells the subscribers of the channel. An error that one throws inside of
   * `publish` would end the process.
   */
  #publish(event: Event): void {
    const channel = this.#channel;
    if (!channel.hasSubscribers) return;
    const { _subscribers: subscribers } = channel as Subscribed;
    if (!Array.isArray(subscribers)) return channel.publish(event);
    for (const subscriber of [...subscribers]) {
      callHook(subscriber, event, channel.name);
    }
  }
}
