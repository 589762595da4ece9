// Specification files of namespaces and node pools: HCL or JSON, read by the core of the job language.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { type BlockTable, decodeFile, JobspecError } from "../jobspec/jobspec.ts";
import { openError } from "./api.ts";
import type { Context } from "./command.ts";
import { CommandError } from "./errors.ts";
import { readStdin } from "./job_source.ts";

/** The text at a path, or the standard input for "-". */
export async function readSpec(context: Context, path: string, what: string): Promise<string> {
  if (path === "-") return await readStdin(context);
  try {
    return await readFile(resolve(context.io.cwd, path), "utf8");
  } catch (error) {
    throw new CommandError(`${what}: ${openError(path, error)}`);
  }
}

/** Decodes a specification as its table says; JSON goes through as it is. */
export function decodeSpec(
  text: string,
  table: BlockTable,
  options: { path: string; json: boolean; what: string },
): Record<string, unknown> {
  try {
    if (options.json) return JSON.parse(text) as Record<string, unknown>;
    return decodeFile(text, table, { filename: options.path }).value;
  } catch (error) {
    if (!(error instanceof JobspecError) && !(error instanceof SyntaxError)) throw error;
    throw new CommandError(`${options.what}: ${error.message}`, 1, { cause: error });
  }
}
