/** Deadlines of a test that makes all ticks of its process by itself. */
import type { ConnectionOptions } from "../mod.ts";
import { Clock } from "./ledger.ts";

/** Twenty ticks of 250 ms. */
export const TIMEOUT = 5_000;
/** A connection that is never late. */
export const NEVER: ConnectionOptions = {
  idleTimeout: Infinity,
  frameTimeout: Infinity,
  writeTimeout: Infinity,
};
const CLOCK = new Clock(TIMEOUT);
/** Milliseconds between two ticks. */
export const PERIOD: number = CLOCK.period;

/** Makes so many ticks. */
export function tick(count: number): void {
  CLOCK.advance(count * PERIOD);
}
