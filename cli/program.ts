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
import { clause, Failure, UsageError } from "./failure.ts";
import { print, printError } from "./output.ts";

/** What a program is called, takes and does. */
export interface Program {
  readonly name: string;
  /** The command line. */
  readonly usage: string;
  /** What it does, and what one types most. */
  readonly about: string;
  /**
   * A line for each option: its name, what its value is called where it takes
   * one, and behind two blanks what it does. All else follows from these. Other
   * lines are headings.
   */
  readonly options: string;
  /** Whether it takes arguments that are no options. */
  readonly takesOperands?: boolean;
}

/** Longest time in milliseconds: longer timers fire at once. */
const MOST_TIME = 2 ** 31 - 1;

const COMMON_OPTIONS = `
--help  print this help, as -h does
--version  print the version
`;
const OPTION = /^--(\S+)(?: (\S+))? {2}(.+)$/;

/** The options and operands that a program was given. */
export class Given {
  readonly #values: Readonly<Record<string, string | boolean | undefined>>;
  /** The arguments that are no options. */
  readonly operands: string[];
  /** What follows `deno run` and its permissions: flags, module, arguments. */
  readonly command: readonly string[];

  /** Parses a command line. */
  constructor(program: Program, args: string[]) {
    this.command = commandOf(program, args);
    const options = Object.fromEntries(
      linesOf(program).map((line) => OPTION.exec(line))
        .filter((match) => match !== null)
        .map(([, name, value]) =>
          [name, { type: value ? "string" : "boolean" }] as const
        ),
    );
    try {
      const { values, positionals } = parseArgs({
        args,
        options,
        allowPositionals: program.takesOperands,
      });
      this.#values = values;
      this.operands = positionals;
    } catch (error) {
      throw usageError(error, Object.keys(options));
    }
  }

  /** Whether the option was given. */
  has(name: string): boolean {
    return Object.hasOwn(this.#values, name);
  }

  /** The value of an option, if it was given. */
  text(name: string): string | undefined {
    const value = this.#values[name];
    if (value === "") throw new UsageError(`option '--${name}' needs a value`);
    return value as string | undefined;
  }

  /** The value of an option that is one of a few words. */
  choice<Word extends string>(
    name: string,
    words: readonly Word[],
  ): Word | undefined {
    const value = this.text(name);
    const word = words.find((word) => word === value);
    if (value === undefined || word !== undefined) return word;
    throw unexpected(name, words.join(" or "), value);
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

  /** Refuses more than one of these options. */
  exclude(...names: string[]): void {
    const [one, other] = names.filter((name) => this.has(name));
    if (other === undefined) return;
    throw new UsageError(
      `options '--${one}' and '--${other}' exclude each other`,
    );
  }
}

function linesOf({ options }: Program): string[] {
  return `${options}${COMMON_OPTIONS}`.split("\n").filter((line) => line);
}

function unexpected(name: string, expected: string, value: string): UsageError {
  return new UsageError(
    `option '--${name}' expects ${expected}, received '${shorten(value)}'`,
  );
}

function shorten(text: string): string {
  return text.length > 75 ? `${text.slice(0, 74)}…` : text;
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

/** What is wrong with a command line, in one line. */
function usageError(error: unknown, names: string[]): UsageError {
  const [text] = clause(error).split(/\.?\n|\. /);
  const [, unknown] = /^unknown option '--(.*)'$/s.exec(text) ?? [];
  const guess = unknown && nearest(unknown, names);
  return guess
    ? new UsageError(`${text}; did you mean '--${guess}'?`, " See --help")
    : new UsageError(shorten(text));
}

function help(program: Program): string {
  const lines = linesOf(program);
  const rows = lines.map((line) => OPTION.exec(line));
  const names = rows.map((row) => row && `--${row[1]} ${row[2] ?? ""}`.trim());
  const width = Math.max(...names.map((name) => name?.length ?? 0));
  const table = rows.map((row, i) =>
    row ? `  ${names[i]!.padEnd(width)}  ${row[3]}` : `\n${lines[i]}`
  );
  const { usage, about } = program;
  return `Usage: ${usage}\n${about}\n${table.join("\n")}\n`;
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
