// `alloc logs` and `alloc fs`: what tasks wrote, and the allocation's directory.
import { bool, int, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, RequestError, UsageError } from "./errors.ts";
import { formatBytes, formatTimestamp, quote, shortId } from "./format.ts";
import { collect, frameData, lastLines, pour, tailThenFollow, untilInterrupted } from "./stream.ts";
import type { AllocStub, FullAllocation } from "./records.ts";
import { allocOfJob, readAlloc, resolveAlloc } from "./resolve.ts";
import { formatTable } from "./table.ts";

const DEFAULT_LINES = 10;
/** Lines of a tail are looked for in this many bytes each; longer lines make the tail shorter. */
const BYTES_PER_LINE = 4096;
const WINDOW_MAX_BYTES = 64 * 1024 * 1024;

const tailFlags = {
  c: int("Show this many of the last bytes.", "", -1),
  f: bool("Follow: show what is written from now on too, until Ctrl-C."),
  n: int(`With -tail: show this many of the last lines. Defaults to ${DEFAULT_LINES}.`, "", -1),
  tail: bool("Show the end instead of the whole."),
};

interface TailFlags {
  c: number;
  f: boolean;
  n: number;
  tail: boolean;
}

const jobFlags = {
  group: string("With -job: pick an allocation of this group."),
  job: bool("The first argument is a job: pick one of its allocations, a running one if there is one."),
};

/** Where to start reading. */
interface Start {
  origin: "start" | "end";
  offset: number;
  /** Cut to the last lines of what comes. */
  lines: number | undefined;
}

/** Without -tail the numbers say nothing, as in Nomad: scripts that pass them get everything. */
function startOf(flags: TailFlags): Start {
  if (!flags.tail) return { origin: "start", offset: 0, lines: undefined };
  if (flags.c >= 0) return { origin: "end", offset: flags.c, lines: undefined };
  const lines = flags.n >= 0 ? flags.n : DEFAULT_LINES;
  return { origin: "end", offset: Math.min(lines * BYTES_PER_LINE, WINDOW_MAX_BYTES), lines };
}

export const allocLogs = command({
  form: "nomad alloc logs [options] <allocation> <task>",
  about: `Alias: nomad logs

Shows what a task wrote. The task may be left out when the allocation has only
one. Without -f it is the standard output; with -f both streams are shown, each
on its own.

When ACLs are enabled, this command requires a token with the 'read-logs',
'read-job', and 'list-jobs' capabilities for the allocation's namespace.`,
  general: "all",
  title: "Logs Specific Options",
  flags: {
    stderr: bool("Show what was written to the standard error."),
    stdout: bool("Show what was written to the standard output."),
    task: string("The task, as a flag instead of an argument."),
    verbose: bool("Show full information."),
    ...jobFlags,
    ...tailFlags,
  },
  async run(context) {
    const { flags, args } = context;
    if (args.length === 0) {
      throw new UsageError(flags.job ? "A job ID is required" : "An allocation ID is required");
    }
    if (args.length > 2) throw new UsageError("This command takes one or two arguments");
    const alloc = await pickAlloc(context, args[0]!, flags, flags.task || (args[1] ?? ""));
    const task = flags.task || args[1] || onlyTask(alloc, "Failed to validate task: ");
    const streams = chooseStreams(flags);
    await untilInterrupted(context, async (signal) => {
      await Promise.all(streams.map((type) => showLog(context, alloc, { task, type, signal })));
    });
    return 0;
  },
});

function chooseStreams(flags: { stdout: boolean; stderr: boolean; f: boolean }): ("stdout" | "stderr")[] {
  if (flags.stdout && flags.stderr) return ["stdout", "stderr"];
  if (flags.stderr) return ["stderr"];
  if (flags.stdout || !flags.f) return ["stdout"];
  return ["stdout", "stderr"];
}

async function showLog(
  context: Context<TailFlags & { stdout: boolean; stderr: boolean }>,
  alloc: FullAllocation,
  what: { task: string; type: "stdout" | "stderr"; signal: AbortSignal },
): Promise<void> {
  const { flags } = context;
  if (flags.tail && flags.n >= 0 && flags.c >= 0) {
    throw new CommandError(`Failed to read ${what.type} file: both -n and -c set`);
  }
  const start = startOf(flags);
  try {
    const response = await context.api.request("GET", `/v1/client/fs/logs/${alloc.ID}`, {
      query: {
        task: what.task,
        type: what.type,
        follow: flags.f,
        offset: start.offset,
        origin: start.origin,
        plain: true,
        namespace: alloc.Namespace || undefined,
      },
      signal: what.signal,
    });
    // Only a single asked-for stderr goes to stdout, so that it can be piped.
    const isAlone = flags.stderr && !flags.stdout;
    await pourFrom(context, response.body, start, isAlone ? "stdout" : what.type);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    const doing = flags.tail ? "error tailing file" : "error reading file";
    const text = `Failed to read ${what.type} file: ${doing}: ${error.message}`;
    throw new CommandError(error.hint ? `${text}\n${error.hint}` : text);
  }
}

/** Writes a stream from its start on, or only its last lines. */
async function pourFrom(
  context: Context<TailFlags>,
  body: AsyncIterable<Uint8Array>,
  start: Start,
  to: "stdout" | "stderr",
): Promise<void> {
  if (start.lines === undefined) return await pour(context, body, to);
  if (context.flags.f) return await pour(context, tailThenFollow(body, start.lines, start.offset), to);
  await context.ui.write(lastLines(await collect(body), start.lines), to);
}

/** The allocation that the first argument names, directly or through its job. */
export async function pickAlloc(
  context: Context,
  typed: string,
  flags: { job: boolean; group: string; verbose: boolean },
  task: string,
): Promise<FullAllocation> {
  if (!flags.job) return await resolveAlloc(context, typed, flags.verbose);
  const stub: AllocStub = await allocOfJob(context, typed, flags.group, task);
  return (await attempt("Error querying allocation", readAlloc(context.api, stub))).data;
}

/** Tasks of the allocation's group, in the order of the job. */
export function taskNames(alloc: FullAllocation): string[] {
  const group = alloc.Job?.TaskGroups?.find((entry) => entry.Name === alloc.TaskGroup);
  return (group?.Tasks ?? []).map((task) => task.Name);
}

/** The task of an allocation with one task; a CommandError naming them when there are several. */
export function onlyTask(alloc: FullAllocation, prefix: string): string {
  const names = taskNames(alloc);
  if (names.length === 1) return names[0]!;
  throw new CommandError(
    `${prefix}Allocation ${quote(shortId(alloc.ID))} is running the following tasks:\n` +
      names.map((name) => `  * ${name}\n`).join("") + "\nPlease specify the task.",
  );
}

interface FileInfo {
  Name: string;
  IsDir: boolean;
  Size: number;
  FileMode: string;
  ModTime: string;
  ContentType?: string;
}

export const allocFs = command({
  form: "nomad alloc fs [options] <allocation> <path>",
  about: `Alias: nomad fs

Lists a directory of an allocation, or shows a file. Paths start at the
allocation's directory; without one its top is listed.

When ACLs are enabled, this command requires a token with the 'read-fs',
'read-job', and 'list-jobs' capabilities for the allocation's namespace.`,
  general: "all",
  title: "FS Specific Options",
  flags: {
    H: bool("Show sizes in bytes instead of with units."),
    stat: bool("Show what is known of the file instead of its content."),
    verbose: bool("Show full information."),
    ...jobFlags,
    ...tailFlags,
  },
  async run(context) {
    const { flags, args } = context;
    if (args.length === 0) {
      throw new UsageError(flags.job ? "A job ID is required" : "An allocation ID is required");
    }
    if (args.length > 2) throw new UsageError("This command takes one or two arguments: <allocation> <path>");
    if (flags.tail && flags.n >= 0 && flags.c >= 0) throw new CommandError("Both -n and -c are not allowed");
    const alloc = await pickAlloc(context, args[0]!, flags, "");
    await untilInterrupted(context, (signal) => showPath(context, alloc, args[1] ?? "/", signal));
    return 0;
  },
});

async function showPath(
  context: Context<TailFlags & { H: boolean; stat: boolean }>,
  alloc: FullAllocation,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const { api, flags, ui } = context;
  const query = { path, namespace: alloc.Namespace || undefined };
  const route = (operation: string) => `/v1/client/fs/${operation}/${alloc.ID}`;
  const { data: info } = await attempt("", api.get<FileInfo>(route("stat"), { query }));
  const size = (file: FileInfo) => flags.H ? String(file.Size) : formatBytes(file.Size);
  if (flags.stat) {
    ui.output(formatTable([
      ["Mode", "Size", "Modified Time", "Content Type", "Name"],
      [info.FileMode, size(info), formatTimestamp(info.ModTime), info.ContentType ?? "", nameOf(info)],
    ]));
    return;
  }
  if (info.IsDir) {
    const { data } = await attempt("", api.get<FileInfo[] | null>(route("ls"), { query }));
    ui.output(formatTable([
      ["Mode", "Size", "Modified Time", "Name"],
      ...(data ?? []).map((file) => [file.FileMode, size(file), formatTimestamp(file.ModTime), nameOf(file)]),
    ]));
    return;
  }
  const start = startOf(flags);
  if (start.origin === "start" && !flags.f) {
    const response = await attempt("", api.request("GET", route("cat"), { query, signal }));
    await pour(context, response.body);
    return;
  }
  const response = await attempt(
    "",
    api.request("GET", route("stream"), {
      query: { ...query, offset: start.offset, origin: start.origin, follow: flags.f },
      signal,
    }),
  );
  await pourFrom(context, frameData(response.body), start, "stdout");
}

function nameOf(file: FileInfo): string {
  return file.IsDir ? `${file.Name}/` : file.Name;
}
