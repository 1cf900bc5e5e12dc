/** Handlers that the compiler rejects: see `../types_test.ts`. */
import type { Handler } from "../../mod.ts";
import { maybe, status } from "./handlers.ts";

export const WRONG: Handler[] = [
  // @ts-expect-error: 'void' is not assignable
  () => {},
  // @ts-expect-error: 'Promise<void>' is not assignable
  async () => {},
  // @ts-expect-error: 'undefined' is not assignable
  () => undefined,
  // @ts-expect-error: 'Promise<void>' is not assignable
  () => Promise.resolve(),
  // @ts-expect-error: 'Promise<void>' is not assignable
  (_message, connection) => connection.send("news"),
  // @ts-expect-error: 'Status | undefined' is not assignable
  (message) => {
    if (message === 1) return status;
  },
  // @ts-expect-error: 'Promise<Status | undefined>' is not assignable
  async (message) => {
    if (await message === 1) return status;
  },
  // @ts-expect-error: 'Status | undefined' is not assignable
  () => maybe,
  // @ts-expect-error: 'bigint' is not assignable
  () => 1n,
];
