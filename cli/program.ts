/**
 * What every program does: parse its options, print its help and version, and
 * end with an exit code.
 *
 * @module
 */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { nearest } from "../core/tools/nearest.ts";
import project from "../deno.json" with { type: "json" };
import { Failure, UsageError } from "./failure.ts";
import { print, printError } from "./output.ts";

/** What a program is called, takes and does. */
export interface Program {
  readonly name: string;
  /** The command line, up to its options. */
  readonly usage: string;
  /** The first lines of the help. */
  readonly about: string;
  /**
   * A line for each option: its name, what its value is called where it takes
   * one, and behind two blanks what it does. All else follows from these.
   */
  readonly options: string;
  /** Whether it takes arguments that are no options. */
  readonly takesOperands?: boolean;
}

/** Longest time in milliseconds: longer timers fire at once. */
const MOST_TIME = 2 ** 31 - 1;

const COMMON_OPTIONS = `
--help  print this help; -h does the same
--version  print the version
`;

/** An option: without a `value`, it takes none. */
interface Option {
  readonly value?: string;
  readonly help: string;
}

function optionsOf({ options }: Program): Record<string, Option> {
  const lines = `${options}${COMMON_OPTIONS}`.matchAll(
    /^--(\S+)(?: (\S+))? {2}(.+)$/gm,
  );
  return Object.fromEntries(
    [...lines].map(([, name, value, help]) => [name, { value, help }]),
  );
}

/** The options and operands that a program was given. */
export class Given {
  readonly #values = new Map<string, string>();
  /** The arguments that are no options. */
  readonly operands: string[] = [];
  /** What follows `deno run` and its permissions: flags, module, arguments. */
  readonly command: readonly string[];

  /** Parses a command line. */
  constructor(program: Program, args: string[]) {
    this.command = commandOf(program, args);
    const options = optionsOf(program);
    for (const token of tokensOf(args, options)) {
      if (token.kind === "positional") this.operands.push(token.value);
      if (token.kind !== "option") continue;
      const { name, rawName, value, inlineValue } = token;
      if (!rawName.startsWith("--") || !Object.hasOwn(options, name)) {
        throw unknownOption(rawName, Object.keys(options));
      }
      const takesValue = options[name].value !== undefined;
      if (!takesValue && value !== undefined) {
        throw new UsageError(`option "${rawName}" takes no value`);
      }
      const isMissing = value === undefined ||
        !inlineValue && /^-\D/.test(value);
      if (takesValue && isMissing) {
        throw new UsageError(`option "${rawName}" needs a value`);
      }
      this.#values.set(name, value ?? "");
    }
    const [operand] = this.operands;
    if (operand !== undefined && !program.takesOperands) {
      throw new UsageError(`unexpected argument ${quote(operand)}`);
    }
  }

  /** Whether the option was given. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The value of an option, if it was given. */
  text(name: string): string | undefined {
    const value = this.#values.get(name);
    if (value === "") throw new UsageError(`option "--${name}" needs a value`);
    return value;
  }

  /** The value of an option that is one of a few words. */
  choice<Word extends string>(
    name: string,
    words: readonly Word[],
  ): Word | undefined {
    const value = this.text(name);
    const word = words.find((word) => word === value);
    if (value === undefined || word !== undefined) return word;
    const others = words.slice(0, -1).join(", ");
    throw unexpected(name, `${others} or ${words.at(-1)}`, value);
  }

  /**
   * The value of an option that is a whole number, or the word Infinity where
   * there need not be a limit.
   */
  number(
    name: string,
    { least = 1, most = Infinity, orInfinity = false },
  ): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (value === "Infinity" && orInfinity) return Infinity;
    const number = Number(value);
    const isWhole = /^\d+$/.test(value) && Number.isSafeInteger(number);
    if (isWhole && number >= least && number <= most) return number;
    const range = most === Infinity
      ? `of at least ${least}`
      : `from ${least} to ${most}`;
    const or = orInfinity ? " or Infinity" : "";
    throw unexpected(name, `a whole number ${range}${or}`, value);
  }

  /** The value of an option in milliseconds. */
  time(name: string): number | undefined {
    return this.number(name, { most: MOST_TIME, orInfinity: true });
  }

  /** Refuses a pair of options that contradict each other. */
  exclude(name: string, ...others: string[]): void {
    const other = others.find((other) => this.has(other));
    if (this.has(name) && other !== undefined) {
      throw new UsageError(
        `options "--${name}" and "--${other}" exclude each other`,
      );
    }
  }
}

function unexpected(name: string, expected: string, value: string): UsageError {
  return new UsageError(
    `option "--${name}" expects ${expected}, received ${quote(value)}`,
  );
}

/** What the user typed, short enough for a line. */
function quote(text: string): string {
  return JSON.stringify(text.length > 75 ? `${text.slice(0, 74)}…` : text);
}

/** The command line behind `deno run` and its permissions. */
function commandOf(program: Program, args: string[]): string[] {
  const task: string = Reflect.get(project.tasks, program.name) ?? "";
  const flags = task.split(" ").filter((word) => word.startsWith("--v8-flags"));
  const url = Deno.mainModule;
  const module = url.startsWith("file:")
    ? relative("", fileURLToPath(url))
    : url;
  return [...flags, module, ...args];
}

function unknownOption(rawName: string, names: string[]): UsageError {
  const guess = nearest(rawName.replace(/^-+/, ""), names);
  const message = `unknown option ${quote(rawName)}`;
  return guess === undefined
    ? new UsageError(message)
    : new UsageError(`${message}; did you mean "--${guess}"?`, " See --help");
}

/** A command line in pieces. */
function tokensOf(args: string[], options: Record<string, Option>) {
  const { tokens } = parseArgs({
    args,
    options: Object.fromEntries(
      Object.entries(options).map(([name, { value }]) =>
        [name, { type: value === undefined ? "boolean" : "string" }] as const
      ),
    ),
    // Strict mode has its own sentences, some of several lines.
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  return tokens;
}

function help(program: Program): string {
  const rows = Object.entries(optionsOf(program)).map(
    ([name, { value = "", help }]) => [`--${name} ${value}`.trim(), help],
  );
  const width = Math.max(...rows.map(([name]) => name.length));
  const table = rows.map(([name, help]) => `  ${name.padEnd(width)}  ${help}`);
  const { about, usage } = program;
  return `${about}\n\nUsage: ${usage}\n\nOptions:\n${table.join("\n")}\n`;
}

/**
 * Runs a program and ends the process: with what `body` resolves to, or with
 * the exit code of its failure.
 */
export async function run(
  program: Program,
  args: string[],
  body: (given: Given) => Promise<number>,
): Promise<never> {
  const { name } = program;
  let exitCode = 0;
  try {
    if (wants(args, "--help", "-h")) {
      await print(help(program));
    } else if (wants(args, "--version")) {
      await print(`${name} (${project.name}) ${project.version}\n`);
    } else {
      exitCode = await body(new Given(program, args));
    }
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    exitCode = error.exitCode;
    if (exitCode > 0) printError(`${name}: ${error.message}`);
  }
  Deno.exit(exitCode);
}

/** Asking for help helps even where the rest of the command line is wrong. */
function wants(args: string[], ...options: string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end < 0 ? args.length : end)
    .some((arg) => options.includes(arg));
}
