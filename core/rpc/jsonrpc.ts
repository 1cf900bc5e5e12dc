/**
 * JSON-RPC 2.0 without any I/O: which kind of message a value is, the messages
 * to send, and a table of calls with deadlines, into which time is passed.
 *
 * The specification is at https://www.jsonrpc.org/specification.
 *
 * @module
 */
import { InvalidMessageError } from "../framing/framing.ts";
import { checkArgument } from "../tools/options.ts";

/**
 * What a call is known by. The specification (section 4) also has fractions and
 * null, and discourages both.
 */
export type RpcId = number | string;

/** A call, or, without an id, a notification (sections 4 and 4.1). */
export interface RpcRequest {
  /** Always `"2.0"`. */
  readonly jsonrpc: "2.0";
  /** What to call. */
  readonly method: string;
  /**
   * Parameters by position or by name (section 4.2). Some peers send null for
   * none.
   */
  readonly params?: object | null;
  /** What the answer is to carry. */
  readonly id?: RpcId;
  /**
   * Milliseconds that the caller will wait: no part of the specification, which
   * does not forbid it either. A duration needs no clocks that agree.
   */
  readonly timeout?: number;
}

/**
 * A request that has no member without a value: for one of these the engine
 * leaves its fast way to make JSON, and takes three times as long.
 */
export function requestOf(
  id: number | undefined,
  method: string,
  params: object | undefined,
  timeout?: number,
): RpcRequest {
  const request: { -readonly [Name in keyof RpcRequest]: RpcRequest[Name] } =
    id === undefined
      ? { jsonrpc: "2.0", method }
      : { jsonrpc: "2.0", id, method };
  if (params !== undefined) request.params = params;
  if (timeout !== undefined) request.timeout = timeout;
  return request;
}

/** The answer to a call (section 5). */
export interface RpcResponse {
  /** Always `"2.0"`. */
  readonly jsonrpc: "2.0";
  /** The id of the call; null where it could not be told. */
  readonly id: RpcId | null;
  /** What the method returned. */
  readonly result?: unknown;
  /** Why it did not (section 5.1). Some peers send null beside a result. */
  readonly error?: RpcErrorObject | null;
}

/** Why a call failed, as it is sent (section 5.1). */
export interface RpcErrorObject {
  /** A whole number; those from -32768 to -32000 are reserved. */
  readonly code: number;
  /** One sentence. */
  readonly message: string;
  /** Anything more. */
  readonly data?: unknown;
}

/** The codes that this end answers with by itself, and what they say. */
export const RPC_ERRORS = Object.freeze(
  {
    /** The payload is not UTF-8, not JSON, or nested too deep. */
    parseError: [-32_700, "Parse error"],
    /** The message is no request. */
    invalidRequest: [-32_600, "Invalid Request"],
    /** There is no such method. */
    methodNotFound: [-32_601, "Method not found"],
    /** The parameters are not what the method takes. */
    invalidParams: [-32_602, "Invalid params"],
    /** The method failed; how is for the answering side alone to know. */
    internalError: [-32_603, "Internal error"],
    /** More calls are waiting than the answering side takes. */
    tooManyCalls: [-32_000, "Too many calls"],
    /** The call timed out. */
    timedOut: [-32_001, "Request timed out"],
    /** The answering side is about to leave. */
    shuttingDown: [-32_002, "Shutting down"],
    /** The caller cancelled the call. */
    cancelled: [-32_800, "Request cancelled"],
  } satisfies Record<string, [code: number, message: string]>,
);

/** Those that came over a link. */
const received = new WeakSet<RpcError>();

/**
 * An error as the answer to a call. A method that throws one sends its code,
 * message and data to the caller. Of any other error the caller learns nothing
 * but "Internal error" (-32603). That includes an `RpcError` that was received
 * from another service; to pass it on, make a new one.
 *
 * ```ts
 * import { RpcError } from "@blackbelt/networking/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * const error = new RpcError(404, "No such book", { isbn: "0-000" });
 * assertEquals(error.code, 404);
 * ```
 */
export class RpcError extends Error {
  /**
   * The kind of error: an integer. Those from -32768 to -32000 have a meaning
   * in the specification.
   */
  readonly code: number;
  /** More about the error. */
  readonly data: unknown;

  /**
   * Whether it was received as the answer to a call of this program.
   */
  get isReceived(): boolean {
    return received.has(this);
  }

  /**
   * Makes the error.
   *
   * @param code An integer.
   * @param message One sentence, for the caller to read.
   * @param data More about it: any value that JSON can represent.
   * @throws {TypeError} If the code is not an integer, or the message is not a
   * string.
   */
  constructor(code: number, message: string, data?: unknown) {
    const isWhole = Number.isSafeInteger(code);
    checkArgument("code", code, isWhole, "a whole number");
    checkArgument("message", message, typeof message === "string", "a string");
    super(message);
    this.name = "RpcError";
    this.code = code;
    this.data = data;
  }
}

/** The error that came over a link, as the answer to a call. */
export function receivedError(
  { code, message, data }: RpcErrorObject,
): RpcError {
  const error = new RpcError(code, message, data);
  received.add(error);
  return error;
}

/**
 * The answer that an error asks for which a method has failed with; `undefined`
 * where that may be anything else, also what throws when it is looked at.
 */
export function answerOf(
  id: RpcId | null,
  error: unknown,
): RpcResponse | undefined {
  try {
    if (!(error instanceof RpcError) || error.isReceived) return undefined;
    const { code, message, data } = error;
    return failureOf(id, [code, message], data);
  } catch {
    return undefined;
  }
}

/**
 * What a message is: something to answer or to take note of, an answer, several
 * of these, or nothing of the kind.
 */
export type MessageKind = "request" | "response" | "batch" | "invalid";

/**
 * Tells what a message is. A response need not be a good one, as a bad one is
 * for its call to hear of, not for the peer: see {@linkcode isResponse}.
 */
export function kindOf(message: unknown): MessageKind {
  if (typeof message !== "object" || message === null) return "invalid";
  if (Array.isArray(message)) return "batch";
  const { jsonrpc, method, id, params, result, error } = message as
    & Partial<RpcRequest>
    & Partial<RpcResponse>;
  if (method === undefined) {
    return result !== undefined || error !== undefined ? "response" : "invalid";
  }
  return jsonrpc === "2.0" && typeof method === "string" &&
      (id === undefined || isId(id)) &&
      (params === undefined || typeof params === "object")
    ? "request"
    : "invalid";
}

/**
 * Whether a value is an id. A number that is not exact would come back as
 * another one.
 */
function isId(value: unknown): value is RpcId {
  return Number.isSafeInteger(value) || typeof value === "string";
}

/** The id of any message, for an answer that says what is wrong with it. */
export function idOf(message: unknown): RpcId | null {
  const id = (message as { id?: unknown } | null)?.id;
  return isId(id) ? id : null;
}

/**
 * Whether a message of that kind is a response as section 5 has it, or as common
 * peers send it: with null for the member that there is not.
 */
export function isResponse(
  { jsonrpc, result, error }: Partial<RpcResponse>,
): boolean {
  if (jsonrpc !== "2.0") return false;
  if (error === undefined || error === null) return result !== undefined;
  return (result === undefined || result === null) &&
    typeof error === "object" && Number.isSafeInteger(error.code) &&
    typeof error.message === "string";
}

/** Whether a response does not say which call it answers. */
export function isUnnamed({ id }: Partial<RpcResponse>): boolean {
  return id === null || id === undefined;
}

/** The error of a call whose answer is not a response. */
export function notAResponse(): InvalidMessageError {
  return new InvalidMessageError(
    "Cannot receive reply: it is not a JSON-RPC 2.0 response",
  );
}

/** The answer that a call failed. */
export function failureOf(
  id: RpcId | null,
  [code, message]: readonly [code: number, message: string],
  data?: unknown,
): RpcResponse {
  // Without a member that has no value, as in a request.
  const error = data === undefined
    ? { code, message }
    : { code, message, data };
  return { jsonrpc: "2.0", id, error };
}

/** What stands in for a value where JSON carries it: what its `toJSON` gives. */
export function standInFor(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null) return value;
  const { toJSON } = value as { toJSON?: unknown };
  return typeof toJSON === "function" ? toJSON.call(value, key) : value;
}
