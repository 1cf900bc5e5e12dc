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
import { OutputClosedError, OutputError, print, printError } from "./output.ts";

/** An option of a program. */
export interface Option {
  /**
   * What its value is called in the help; without it, the option takes no
   * value.
   */
  readonly value?: string;
  /** What it does, in the help. */
  readonly help: string;
}

/** What a program is called, takes and does. */
export interface Program {
  readonly name: string;
  /** The command line, up to its options. */
  readonly usage: string;
  /** The first lines of the help. */
  readonly about: string;
  readonly options: Readonly<Record<string, Option>>;
  /**
   * What arguments other than options are called; without it, none are taken.
   */
  readonly operand?: string;
}

/** Why a program ends, told to its user in one line. */
export class Failure extends Error {
  /** What the program exits with. */
  readonly exitCode: number = 1;
}

/** A command line that the program cannot make sense of. */
export class UsageError extends Failure {
  override readonly exitCode = 2;
}

/** Longest time in milliseconds: longer timers fire at once. */
export const MOST_TIMEOUT = 2 ** 31 - 1;

const COMMON_OPTIONS: Readonly<Record<string, Option>> = {
  help: { help: "print this help; -h does the same" },
  version: { help: "print the version" },
};

/** The options and operands that a program was given. */
export class Given {
  readonly #values: ReadonlyMap<string, string>;
  /** The arguments that are no options. */
  readonly operands: readonly string[];
  /** What follows `deno run` and its permissions: flags, module, arguments. */
  readonly command: readonly string[];

  /** Made by {@linkcode parse}. */
  constructor(
    values: ReadonlyMap<string, string>,
    operands: string[],
    command: string[],
  ) {
    this.#values = values;
    this.operands = operands;
    this.command = command;
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
    throw new UsageError(
      `option "--${name}" expects ${words.slice(0, -1).join(", ")} or ${
        words.at(-1)
      }, received ${quote(value)}`,
    );
  }

  /**
   * The value of an option that is a whole number, or the word Infinity where
   * there need not be a limit.
   */
  number(
    name: string,
    least: number,
    most: number,
    infinity: "Infinity" | "" = "",
  ): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (value === "Infinity" && value === infinity) return Infinity;
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= least && number <= most) return number;
    const range = most === Number.MAX_SAFE_INTEGER
      ? `of at least ${least}`
      : `from ${least} to ${most}`;
    throw new UsageError(
      `option "--${name}" expects a whole number ${range}${
        infinity && ` or ${infinity}`
      }, received ${quote(value)}`,
    );
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

/**
 * What the user typed, short enough for a line and without control characters.
 */
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
  return new UsageError(
    `unknown option ${quote(rawName)}` +
      (guess === undefined ? "" : `; did you mean "--${guess}"?`),
  );
}

/** Parses a command line. */
export function parse(program: Program, args: string[]): Given {
  const options = { ...program.options, ...COMMON_OPTIONS };
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
  const values = new Map<string, string>();
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    if (!rawName.startsWith("--") || !Object.hasOwn(options, name)) {
      throw unknownOption(rawName, Object.keys(options));
    }
    if (options[name].value === undefined) {
      if (value !== undefined) {
        throw new UsageError(`option "${rawName}" takes no value`);
      }
    } else if (value === undefined || !inlineValue && /^-\D/.test(value)) {
      throw new UsageError(`option "${rawName}" needs a value`);
    }
    values.set(name, value ?? "");
  }
  if (program.operand === undefined && operands.length > 0) {
    throw new UsageError(`unexpected argument ${quote(operands[0])}`);
  }
  return new Given(values, operands, commandOf(program, args));
}

function help({ about, usage, options }: Program): string {
  const rows = Object.entries({ ...options, ...COMMON_OPTIONS }).map(
    ([name, { value, help }]) =>
      [value === undefined ? `--${name}` : `--${name} ${value}`, help] as const,
  );
  const width = Math.max(...rows.map(([name]) => name.length));
  const table = rows.map(([name, help]) => `  ${name.padEnd(width)}  ${help}`);
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
  let exitCode = 0;
  try {
    if (wants(args, "--help", "-h")) {
      await print(help(program));
    } else if (wants(args, "--version")) {
      await print(`${program.name} (${project.name}) ${project.version}\n`);
    } else {
      exitCode = await body(parse(program, args));
    }
  } catch (error) {
    exitCode = report(program.name, error);
  }
  Deno.exit(exitCode);
}

/** Asking for help helps even where the rest of the command line is wrong. */
function wants(args: string[], ...options: string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end < 0 ? args.length : end)
    .some((arg) => options.includes(arg));
}

function report(name: string, error: unknown): number {
  // Whoever read the output has seen enough, as in `| head -1`.
  if (error instanceof OutputClosedError) return 0;
  if (error instanceof OutputError) {
    printError(`${name}: ${error.message}`);
    return 1;
  }
  if (!(error instanceof Failure)) throw error;
  const hint = !(error instanceof UsageError)
    ? ""
    : error.message.endsWith("?")
    ? " See --help"
    : "; see --help";
  printError(`${name}: ${error.message}${hint}`);
  return error.exitCode;
}
