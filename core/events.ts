/**
 * What happens, told to whoever wants to know.
 *
 * @module
 */
import { channel } from "node:diagnostics_channel";

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
    try {
      this.#onEvent?.(event);
    } catch {
      // A log that fails is no reason to stop serving.
    }
    if (this.#channel.hasSubscribers) this.#channel.publish(event);
  }
}
