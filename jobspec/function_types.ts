// The contract between the evaluator and the functions: parameters with types, calls on converted values, errors that
// name the parameter. The functions themselves are in functions_<family>.ts.
import type { Budget } from "./budget.ts";
import type { Type, Value } from "./value.ts";

/** The call failed as a whole. */
export class FunctionError extends Error {
  override readonly name = "FunctionError";
}

/** One argument is wrong; `index` counts from 0 over all arguments. */
export class ArgumentError extends Error {
  override readonly name = "ArgumentError";
  constructor(readonly index: number, message: string) {
    super(message);
  }
}

/**
 * The files that functions may read. Paths are as the job file has them, after the base directory was applied.
 * Throws with a message for a person when a file cannot be read.
 */
export interface FileReader {
  readBytes(path: string): Uint8Array;
  exists(path: string): boolean;
  /** Paths below `directory` that match the glob pattern (`*`, `?`, `**`, `[…]`, `{a,b}`), relative to it, with "/". */
  glob(directory: string, pattern: string): string[];
  absolute(path: string): string;
  homeDirectory(): string;
}

export interface CallContext {
  readonly budget: Budget;
  /** Undefined where the language may not touch files. */
  readonly files: FileReader | undefined;
  readonly random: (count: number) => Uint8Array;
}

export interface Parameter {
  readonly name: string;
  readonly type: Type;
  readonly nullable?: boolean;
}

export interface FunctionSpec {
  readonly parameters: readonly Parameter[];
  readonly rest?: Parameter;
  /** One sentence for the documentation. */
  readonly doc: string;
  call(args: readonly Value[], context: CallContext): Value;
}

export function parameter(name: string, type: Type, nullable = false): Parameter {
  return nullable ? { name, type, nullable } : { name, type };
}
