/**
 * What happens, told to whoever wants to know.
 *
 * @module
 */
import { channel } from "node:diagnostics_channel";
import { callHook } from "./tools/report.ts";

/** Tells one kind of events, in the order in which they happen. */
export class Events<Event extends { readonly type: string }> {
  readonly #onEvent: ((event: Event) => void) | undefined;
  readonly #channel: ReturnType<typeof channel>;

  /**
   * Tells `onEvent`, and who subscribes to a channel of
   * `node:diagnostics_channel`.
   */
  constructor(name: string, onEvent: ((event: Event) => void) | undefined) {
    this.#channel = channel(name);
    this.#onEvent = onEvent;
  }

  /** Tells that something has happened. */
  emit(event: Event): void {
    callHook(this.#onEvent, event);
    if (this.#channel.hasSubscribers) this.#channel.publish(event);
  }
}
