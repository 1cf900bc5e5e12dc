/**
 * Options: a table for each bag of them says what each may be, and what it is
 * where it is left out.
 *
 * @module
 */
import { nearest } from "./nearest.ts";
import { isPlain, kindOf, show } from "./show.ts";

/** What one option may be. */
export interface Option<Value = unknown> {
  /** What it is where it is left out; without it, nothing. */
  readonly default?: Value;
  /** Throws for a value that it cannot be; `undefined` is not checked. */
  check(name: string, value: unknown): void;
}

/** One entry for each member of an interface of options. */
export type OptionTable<Options> = {
  readonly [Name in keyof Options]-?: Option<Exclude<Options[Name], undefined>>;
};

type AnyTable = { readonly [name: string]: Option };

/** Those of a table that have a default, with it. */
export function defaultsOf<Defaults extends object>(
  table: AnyTable,
): Readonly<Defaults> {
  return Object.freeze(Object.fromEntries(
    Object.entries(table).flatMap(([name, { default: value }]) =>
      value === undefined ? [] : [[name, value]]
    ),
  )) as Defaults;
}

/** What options that were read have in common. */
const READ: object = {};

/**
 * Reads each option of a table once, by name, whether it is a property, a getter
 * or a member of a prototype, and checks it. One that is `undefined` counts as
 * left out. Functions are called with the options as `this`. Options that come
 * from here are not checked again: those that are in the table are taken.
 *
 * @returns Those that are given, to be spread over the defaults.
 * @throws {TypeError} If the options are no object, have a property of their own
 * that is not in the table, or an option has the wrong type.
 * @throws {RangeError} If a number is out of range.
 */
export function readOptions<Table extends AnyTable, Options extends object>(
  table: Table,
  options: Options,
): Pick<Options, keyof Table & keyof Options> {
  const isRead = Object(options) === options &&
    Object.getPrototypeOf(options) === READ;
  if (!isRead) checkBag(table, options);
  const given = Object.create(READ);
  for (const name in table) {
    const value: unknown = Reflect.get(options, name);
    if (value === undefined) continue;
    if (!isRead) table[name].check(name, value);
    given[name] = typeof value === "function" ? value.bind(options) : value;
  }
  return given;
}

function checkBag(table: object, options: unknown): void {
  const isBag = typeof options === "object" && options !== null &&
    !Array.isArray(options) && (isPlain(options) || hasSome(table, options));
  if (!isBag) {
    throw new TypeError(
      `Cannot use options: received ${show(options)}, expected an object`,
    );
  }
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(table, name)) continue;
    const guess = nearest(name, Object.keys(table));
    const hint = guess === undefined ? "" : `; did you mean "${guess}"?`;
    throw new TypeError(
      `Cannot use option ${show(name)}: it does not exist${hint}`,
    );
  }
}

/**
 * Whether a class has any of the options: TypeScript refuses what has none, a
 * promise for example.
 */
function hasSome(table: object, options: object): boolean {
  return Object.keys(options).length > 0 ||
    Object.keys(table).some((name) => name in options);
}

function refuse(name: string, received: string, expected: string): string {
  return `Cannot use option "${name}": received ${received}, expected ${expected}`;
}

/** The error for a value of the wrong type. */
export function wrongType(
  name: string,
  value: unknown,
  expected: string,
): TypeError {
  return new TypeError(refuse(name, show(value), expected));
}

/** A type of `typeof`, in words. */
const TYPES = {
  boolean: "a boolean",
  function: "a function",
  object: "an object",
  string: "a string",
};

function checkType(
  name: string,
  value: unknown,
  type: keyof typeof TYPES,
): void {
  if (typeof value === type && value !== null && !Array.isArray(value)) return;
  throw wrongType(name, value, TYPES[type]);
}

/** Longest time that the platform's timers can measure, in milliseconds. */
const MOST_TIMEOUT = 2 ** 31 - 1;

/**
 * A whole number from `least` to `most`, or `Infinity` to turn it off where that
 * is allowed.
 */
export function limit(
  value: number | undefined,
  {
    least = 1,
    most = Number.MAX_SAFE_INTEGER,
    allowInfinity = true,
  }: { least?: number; most?: number; allowInfinity?: boolean } = {},
): Option<number> {
  const expected = `${
    allowInfinity ? "Infinity or " : ""
  }a whole number from ${least} to ${most}`;
  return {
    default: value,
    check(name, value) {
      if (typeof value !== "number") throw wrongType(name, value, expected);
      if (value === Infinity && allowInfinity) return;
      if (!Number.isInteger(value) || value < least || value > most) {
        throw new RangeError(refuse(name, show(value), expected));
      }
    },
  };
}

/** A time in milliseconds, or `Infinity` to turn it off. */
export function timeout(value?: number): Option<number> {
  return limit(value, { most: MOST_TIMEOUT });
}

/** A boolean. */
export function flag(value?: boolean): Option<boolean> {
  return {
    default: value,
    check: (name, value) => checkType(name, value, "boolean"),
  };
}

/** A string. */
export function text(value?: string): Option<string> {
  return {
    default: value,
    check: (name, value) => checkType(name, value, "string"),
  };
}

/** One of several values of one type. */
export function choice<Value extends string | number>(
  values: readonly Value[],
  value?: Value,
): Option<Value> {
  const shown = values.map(show);
  const expected = `${shown.slice(0, -1).join(", ")} or ${shown.at(-1)}`;
  return {
    default: value,
    check(name, value) {
      if (values.includes(value as Value)) return;
      const isNumber = typeof value === "number" &&
        typeof values[0] === "number";
      if (!isNumber) throw wrongType(name, value, expected);
      throw new RangeError(refuse(name, show(value), expected));
    },
  };
}

/** A function. */
export function hook(): Option<never> {
  return { check: (name, value) => checkType(name, value, "function") };
}

/** An object that has a table of its own, or is not looked into. */
export function bag(): Option<never> {
  return { check: (name, value) => checkType(name, value, "object") };
}

/** What is of a type that is told by a function. */
export function such(
  isRight: (value: unknown) => boolean,
  expected: string,
): Option<never> {
  return {
    check(name, value) {
      if (!isRight(value)) throw wrongType(name, value, expected);
    },
  };
}

/** A signal. */
export function signal(): Option<AbortSignal> {
  return such((value) => value instanceof AbortSignal, "an AbortSignal");
}

/** An object of which nothing is shown, as what is passed may be a secret. */
export function secretBag(expected: string = TYPES.object): Option<never> {
  return {
    check(name, value) {
      const isObject = typeof value === "object" && value !== null;
      if (isObject && !Array.isArray(value)) return;
      throw new TypeError(refuse(name, kindOf(value), expected));
    },
  };
}

/** What is checked elsewhere, or can be anything. */
export function anything(check: Option["check"] = () => {}): Option<never> {
  return { check };
}

/** Throws for an argument that is not what it has to be. */
export function checkArgument(
  name: string,
  value: unknown,
  isRight: boolean,
  expected: string,
): void {
  if (isRight) return;
  throw new TypeError(
    `Cannot use argument "${name}": received ${
      show(value)
    }, expected ${expected}`,
  );
}
