// Nomad's flag grammar: one or two dashes, `-flag=value` or `-flag value`, bools as `-flag` or `-flag=false`, flags that
// may repeat, `--` ends them. Flags may stand before or after arguments. What is not defined is refused, with the
// nearest defined name. Messages are those of Go's flag package, which scripts look for.
import { parseDuration } from "../core/duration.ts";

/** A flag's kind decides how its text is read and what type the command sees. */
export type FlagKind =
  | "bool"
  | "string"
  | "int"
  | "uint"
  | "duration"
  | "list"
  | "optionalBool"
  | "optionalString";

export interface Flag<T> {
  readonly kind: FlagKind;
  readonly fallback: T;
  /** One or more sentences for the usage; empty hides the flag. */
  readonly help: string;
  /** What stands after the equals sign in the usage. */
  readonly hint: string;
}

export type FlagTable = Record<string, Flag<unknown>>;
export type FlagValues<T extends FlagTable> = { [K in keyof T]: T[K] extends Flag<infer V> ? V : never };

export const bool = (help: string, fallback = false): Flag<boolean> => ({
  kind: "bool",
  fallback,
  help,
  hint: "",
});
export const string = (help: string, hint = "", fallback = ""): Flag<string> => ({
  kind: "string",
  fallback,
  help,
  hint,
});
export const int = (help: string, hint = "", fallback = 0): Flag<number> => ({
  kind: "int",
  fallback,
  help,
  hint,
});
export const uint = (help: string, hint = "", fallback = 0): Flag<number> => ({
  kind: "uint",
  fallback,
  help,
  hint,
});
/** Nanoseconds. */
export const duration = (help: string, hint = "", fallback = 0): Flag<number> => ({
  kind: "duration",
  fallback,
  help,
  hint,
});
export const list = (help: string, hint = ""): Flag<string[]> => ({ kind: "list", fallback: [], help, hint });
/** Unset is not false: for settings that are only sent when given. */
export const optionalBool = (help: string, hint = ""): Flag<boolean | undefined> => ({
  kind: "optionalBool",
  fallback: undefined,
  help,
  hint,
});
export const optionalString = (help: string, hint = ""): Flag<string | undefined> => ({
  kind: "optionalString",
  fallback: undefined,
  help,
  hint,
});

/** A command line that does not fit; `message` goes to stderr, the usage to stdout. */
export class FlagError extends Error {
  override readonly name = "FlagError";
}

export interface ParsedArgs {
  values: Record<string, unknown>;
  /** Names of the flags that were given, in order. */
  given: string[];
  args: string[];
  help: boolean;
}

export interface ParseOptions {
  /** From this many arguments on, the rest belongs to somebody else (`alloc exec ID COMMAND -x`). */
  argsMax?: number;
}

/** Splits `argv` into the values of `flags` and the arguments. Throws FlagError. */
export function parseArgs(argv: readonly string[], flags: FlagTable, options: ParseOptions = {}): ParsedArgs {
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(flags)) {
    values[name] = flag.kind === "list" ? [] : flag.fallback;
  }
  const result: ParsedArgs = { values, given: [], args: [], help: false };
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    if (result.args.length >= (options.argsMax ?? Infinity) || !word.startsWith("-") || word === "-") {
      result.args.push(word);
      continue;
    }
    if (word === "--") {
      result.args.push(...argv.slice(at + 1));
      break;
    }
    const { name, text } = splitFlag(word);
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
    if (!flag) {
      if (name === "h" || name === "help") return { ...result, help: true };
      throw new FlagError(`flag provided but not defined: -${name}${suggestion(name, Object.keys(flags))}`);
    }
    let value = text;
    if (value === undefined && flag.kind !== "bool") {
      value = argv[++at];
      if (value === undefined) throw new FlagError(`flag needs an argument: -${name}`);
    }
    setFlag(values, name, flag, value);
    result.given.push(name);
  }
  return result;
}

function splitFlag(word: string): { name: string; text: string | undefined } {
  const body = word.startsWith("--") ? word.slice(2) : word.slice(1);
  if (body === "" || body.startsWith("-") || body.startsWith("=")) {
    throw new FlagError(`bad flag syntax: ${word}`);
  }
  const equals = body.indexOf("=");
  return equals < 0
    ? { name: body, text: undefined }
    : { name: body.slice(0, equals), text: body.slice(equals + 1) };
}

function setFlag(
  values: Record<string, unknown>,
  name: string,
  flag: Flag<unknown>,
  text: string | undefined,
) {
  if (flag.kind === "list") {
    (values[name] as string[]).push(text!);
    return;
  }
  values[name] = text === undefined ? true : readValue(name, flag.kind, text);
}

const TRUE = new Set(["1", "t", "T", "true", "TRUE", "True"]);
const FALSE = new Set(["0", "f", "F", "false", "FALSE", "False"]);

/** Go's ParseBool; undefined when the text is neither. */
export function readBool(text: string): boolean | undefined {
  return TRUE.has(text) ? true : FALSE.has(text) ? false : undefined;
}

function readValue(name: string, kind: Exclude<FlagKind, "list">, text: string): unknown {
  const wrong = (what: string) =>
    new FlagError(`invalid ${what} ${JSON.stringify(text)} for flag -${name}: parse error`);
  switch (kind) {
    case "string":
    case "optionalString":
      return text;
    case "bool": {
      const value = readBool(text);
      if (value === undefined) {
        throw new FlagError(`invalid boolean value ${JSON.stringify(text)} for -${name}: parse error`);
      }
      return value;
    }
    case "optionalBool": {
      const value = readBool(text);
      if (value === undefined) throw wrong("value");
      return value;
    }
    case "int":
    case "uint": {
      const number = /^[+-]?\d+$/.test(text) ? Number(text) : NaN;
      if (!Number.isSafeInteger(number) || (kind === "uint" && number < 0)) throw wrong("value");
      return number;
    }
    case "duration":
      try {
        return parseDuration(text);
      } catch (error) {
        if (error instanceof SyntaxError) throw wrong("value");
        throw error;
      }
  }
}

/** "\nDid you mean -x?" when one defined name is near, else "". */
function suggestion(name: string, names: string[]): string {
  const nearest = nearestName(name, names);
  return nearest === undefined ? "" : `\nDid you mean -${nearest}?`;
}

/** The defined name that a misspelt one most likely meant; undefined when none is near. */
export function nearestName(name: string, names: readonly string[]): string | undefined {
  const limit = name.length <= 3 ? 1 : name.length <= 6 ? 2 : 3;
  let best: { name: string; distance: number } | undefined;
  for (const candidate of names) {
    const distance = name.length >= 3 && candidate.startsWith(name) ? 0.5 : editDistance(name, candidate);
    if (distance <= limit && distance < name.length && (!best || distance < best.distance)) {
      best = { name: candidate, distance };
    }
  }
  return best?.name;
}

/** Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, i) => i)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, rows[i - 2]![j - 2]! + 1);
      }
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
