/** Handlers that the compiler accepts: see `../types_test.ts`. */
import { type Handler, NO_REPLY } from "../../mod.ts";

export interface Status {
  status: string;
}
export class Point {
  constructor(readonly x: number, readonly y: number) {}
}

export const status: Status = { status: "success" };
const record: Record<string, unknown> = { a: 1 };
export const maybe: Status | undefined = Math.random() > 1 ? status : undefined;

export const RIGHT: Handler[] = [
  (message) => message,
  (message) => ({ echo: message }),
  async (message) => ({ echo: await message }),
  () => status,
  () => [status],
  () => Promise.resolve(status),
  () => record,
  () => new Point(1, 2),
  () => new Date(),
  () => null,
  () => NO_REPLY,
  async (message) => await message === 1 ? NO_REPLY : { message },
  (message) => message === 1 ? NO_REPLY : message,
  () => {
    throw new Error();
  },
  () => Promise.reject(new Error()),
];
