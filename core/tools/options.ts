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
  if (!isBag(options) || !isPlain(options) && !hasSome(table, options)) {
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

function isBag(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * What a function takes. Of the others, those for which `isType` holds are out
 * of range; `shown` is how one is shown.
 */
export function such<Value>(
  isRight: (value: unknown) => boolean,
  expected: string,
  { value, isType, shown = show }: {
    value?: Value;
    isType?: (value: unknown) => boolean;
    shown?: (value: unknown) => string;
  } = {},
): Option<Value> {
  return {
    default: value,
    check(name, value) {
      if (isRight(value)) return;
      const text = refuse(name, shown(value), expected);
      throw isType?.(value) ? new RangeError(text) : new TypeError(text);
    },
  };
}

/** Longest time that the platform's timers can measure, in milliseconds. */
export const MOST_TIMEOUT = 2 ** 31 - 1;

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

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
  const infinity = allowInfinity ? "Infinity or " : "";
  return such(
    (value) =>
      allowInfinity && value === Infinity ||
      isNumber(value) && Number.isInteger(value) && value >= least &&
        value <= most,
    `${infinity}a whole number from ${least} to ${most}`,
    { value, isType: isNumber },
  );
}

/** A time in milliseconds, or `Infinity` to turn it off. */
export function timeout(value?: number): Option<number> {
  return limit(value, { most: MOST_TIMEOUT });
}

/** A boolean. */
export function flag(value?: boolean): Option<boolean> {
  return such((value) => typeof value === "boolean", "a boolean", { value });
}

/** A string. */
export function text(value?: string): Option<string> {
  return such((value) => typeof value === "string", "a string", { value });
}

/** One of several values of one type. */
export function choice<Value extends string | number>(
  values: readonly Value[],
  value?: Value,
): Option<Value> {
  const shown = values.map(show);
  return such(
    (value) => values.includes(value as Value),
    `${shown.slice(0, -1).join(", ")} or ${shown.at(-1)}`,
    { value, isType: (value) => isNumber(value) && isNumber(values[0]) },
  );
}

/** A function. */
export function hook(): Option<never> {
  return such((value) => typeof value === "function", "a function");
}

/** An object that has a table of its own, or is not looked into. */
export function bag(expected: string = "an object"): Option<never> {
  return such(isBag, expected);
}

/** A signal. */
export function signal(): Option<AbortSignal> {
  return such((value) => value instanceof AbortSignal, "an AbortSignal");
}

/** An object of which nothing is shown, as what is passed may be a secret. */
export function secretBag(expected: string = "an object"): Option<never> {
  return such(isBag, expected, { shown: kindOf });
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
