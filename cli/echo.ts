/**
 * What the server program answers.
 *
 * @module
 */
import {
  FrameTooLargeError,
  InvalidMessageError,
  type JsonValue,
} from "../mod.ts";

/** A reply of the server program. */
export type Reply =
  | { readonly status: "success"; readonly echo: JsonValue }
  | { readonly status: "error"; readonly error: string };

const NO_MESSAGE: Reply = {
  status: "error",
  error: 'expected an object with a "message"',
};

/** Answers an object that has a `message` with that message. */
export function echo(message: JsonValue): Reply {
  if (typeof message !== "object" || message === null) return NO_MESSAGE;
  // Neither an array nor a prototype has one, and JSON has no `undefined`.
  const { message: text } = message as { message?: JsonValue };
  return text === undefined ? NO_MESSAGE : { status: "success", echo: text };
}

/** The answer to a message that is not JSON, or whose reply is too large. */
export function echoError(error: unknown): Reply {
  const known = error instanceof InvalidMessageError ||
    error instanceof FrameTooLargeError;
  return { status: "error", error: known ? error.message : "internal error" };
}
