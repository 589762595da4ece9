// The command line's door: finds the command that the words name and runs it. Exit codes: 127 for no or an unknown
// command, 1 for a group without its subcommand, else what the command says. Errors that nobody expected are told in
// one line (the stack only with NOMAD_CLI_DEBUG), never swallowed.
import { runCommand } from "citty";
import { errorText } from "../core/errors.ts";
import { newUi } from "./command.ts";
import type { CliIo } from "./io.ts";
import { findCommand, type Found, rootUsage } from "./tree.ts";

const UNKNOWN_COMMAND = 127;
const HELP_FLAGS = new Set(["-h", "-help", "--h", "--help"]);
const VERSION_FLAGS = new Set(["-v", "-version", "--version", "--v"]);

/** Runs one command line (without the program's name) and returns its exit code. */
export async function main(argv: string[], io: CliIo): Promise<number> {
  try {
    return await dispatch(argv, io);
  } catch (error) {
    const ui = newUi(io, {});
    ui.error(`Error: ${errorText(error)}`);
    if (io.env["NOMAD_CLI_DEBUG"] && error instanceof Error) ui.error(error.stack ?? "");
    await ui.flush();
    return 1;
  }
}

async function dispatch(argv: string[], io: CliIo): Promise<number> {
  const first = argv[0];
  if (first === undefined) return await show(io, rootUsage(), UNKNOWN_COMMAND);
  if (first.startsWith("-")) {
    if (VERSION_FLAGS.has(first)) return await dispatch(["version"], io);
    if (argv.some((word) => HELP_FLAGS.has(word))) return await show(io, rootUsage(), 0);
    return await show(io, rootUsage(), UNKNOWN_COMMAND, `flag provided but not defined: ${first}`);
  }
  const found = await findCommand(argv);
  if (found.kind === "command") return await runFound(found, io);
  if (found.kind === "unknown") return await show(io, rootUsage(), UNKNOWN_COMMAND);
  const wantsHelp = found.rest[0] !== undefined && HELP_FLAGS.has(found.rest[0]);
  return await show(io, found.usage, wantsHelp ? 0 : 1);
}

async function runFound(found: Found & { kind: "command" }, io: CliIo): Promise<number> {
  const { result } = await runCommand(found.definition, { rawArgs: [], data: { argv: found.rest, io } });
  return result as number;
}

async function show(io: CliIo, usage: string, code: number, error?: string): Promise<number> {
  const ui = newUi(io, {});
  if (error) ui.error(error);
  ui.info(usage);
  await ui.flush();
  return code;
}
