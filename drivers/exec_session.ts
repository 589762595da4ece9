// Commands run inside a task's context for `alloc exec`: with pipes, or on a terminal made by `script` (util-linux), as
// neither runtime can allocate one. Owns the session's processes: killing it kills its whole process group.
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants as fsConstants, existsSync, statSync } from "node:fs";
import { constants } from "node:os";
import { resolve } from "node:path";
import { Readable, Writable } from "node:stream";
import { DriverError } from "../core/errors.ts";
import type { ExecSession } from "./driver.ts";
import { listProcesses } from "./proc.ts";
import { sendSignal } from "./process_tree.ts";
import { quote, run } from "./wrapper.ts";

export interface ExecPlan {
  /** Program and arguments that lead into the task's context and end in the user's command. */
  command: string[];
  env: Record<string, string>;
  cwd: string;
}

/**
 * Refuses a program that is not there before anything is started: the shell that leads into the task would only say so
 * in the command's own output.
 */
export function checkProgram(program: string, context: { env: Record<string, string>; cwd: string }): void {
  const folders = program.includes("/") ? [""] : (context.env.PATH ?? DEFAULT_PATH).split(":");
  let why = "no such file or directory";
  for (const folder of folders) {
    const file = resolve(context.cwd, folder, program);
    if (!existsSync(file)) continue;
    if (statSync(file).isFile() && isExecutable(file)) return;
    why = "permission denied";
  }
  const what = program.includes("/")
    ? `fork/exec ${program}: ${why}`
    : `exec: ${JSON.stringify(program)}: executable file not found in $PATH`;
  throw new DriverError("exec", `failed to start command: ${what}`, false);
}

/** Where shells look when nobody says. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function isExecutable(file: string): boolean {
  try {
    accessSync(file, fsConstants.X_OK);
    return true;
  } catch (denied) {
    void denied;
    return false;
  }
}

/** Runs `plan` with three pipes. */
export function execWithPipes(plan: ExecPlan): ExecSession {
  const child = begin(plan.command, plan);
  return {
    ...streams(child),
    exitCode: exitOf(child),
    resize: () => Promise.reject(new DriverError("exec", "Cannot resize: this exec has no terminal", false)),
    kill: () => killGroup(child),
  };
}

/** Runs `plan` on a terminal of its own; stdout and stderr are one stream there. */
export function execWithTerminal(
  plan: ExecPlan,
  tools: { script: string; stty: string; shell: string },
): ExecSession {
  // The size comes later by `resize`; 80 by 24 is what terminals are born with.
  const line = `${quote(tools.stty)} rows 24 cols 80; exec ${plan.command.map(quote).join(" ")}`;
  const env = { TERM: "xterm", ...plan.env, SHELL: tools.shell };
  const child = begin([tools.script, "-qfec", line, "/dev/null"], { ...plan, env });
  return {
    ...streams(child),
    exitCode: exitOf(child),
    async resize(columns, rows) {
      const terminal = await terminalOf(child, tools.stty);
      if (terminal === null) return;
      await run(tools.stty, ["-F", terminal, "rows", String(rows), "cols", String(columns)]);
    },
    kill: () => killGroup(child),
  };
}

type Child = ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable };

function begin(command: string[], plan: { env: Record<string, string>; cwd: string }): Child {
  const [program = "", ...args] = command;
  return spawn(program, args, {
    cwd: plan.cwd,
    env: plan.env,
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
  }) as Child;
}

function streams(child: Child): Pick<ExecSession, "stdin" | "stdout" | "stderr"> {
  return { stdin: toSink(child.stdin), stdout: toSource(child.stdout), stderr: toSource(child.stderr) };
}

/** A command that ended closes its stdin: what is still typed then is dropped, as a shell would. */
function toSink(stream: Writable): WritableStream<Uint8Array> {
  let closed = false;
  stream.on("error", () => closed = true);
  stream.on("close", () => closed = true);
  return new WritableStream<Uint8Array>({
    write: (chunk) =>
      new Promise<void>((resolve) => {
        if (closed || stream.destroyed) return resolve();
        stream.write(chunk, () => resolve());
      }),
    close: () =>
      new Promise<void>((resolve) => {
        if (closed || stream.destroyed) return resolve();
        stream.end(() => resolve());
      }),
    abort: () => void stream.destroy(),
  });
}

function toSource(stream: Readable): ReadableStream<Uint8Array> {
  let open = true;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const end = () => {
        if (open) controller.close();
        open = false;
      };
      stream.on("data", (chunk: Uint8Array) => {
        if (!open) return;
        controller.enqueue(new Uint8Array(chunk));
        if ((controller.desiredSize ?? 1) <= 0) stream.pause();
      });
      stream.on("end", end);
      stream.on("close", end);
      stream.on("error", end);
    },
    pull: () => void stream.resume(),
    cancel: () => {
      open = false;
      stream.destroy();
    },
  }, { highWaterMark: 16 });
}

function exitOf(child: Child): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on("error", (error) => {
      reject(
        new DriverError("exec", `Cannot start the command: ${error.message}`, false, "", { cause: error }),
      );
    });
    child.on("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}

function killGroup(child: Child): Promise<void> {
  const pid = child.pid;
  if (pid === undefined) return Promise.resolve();
  // `script` gives its command a session of its own: its members are found by their terminal.
  for (const stat of terminalMembers(pid)) sendSignal(stat, constants.signals.SIGKILL);
  if (child.exitCode === null && child.signalCode === null) sendSignal(-pid, constants.signals.SIGKILL);
  return Promise.resolve();
}

function terminalMembers(scriptPid: number): number[] {
  const all = listProcesses();
  const tty = all.find((stat) => stat.ppid === scriptPid && stat.tty !== 0)?.tty;
  return tty === undefined ? [] : all.filter((stat) => stat.tty === tty).map((stat) => stat.pid);
}

/** How long `script` may take to make its terminal, and how often to look. */
const TERMINAL_MAX_MS = 10_000;
const TERMINAL_POLL_MS = 10;

/**
 * "/dev/pts/N" of the command that `script` runs, once that has its first size: a size set before would be lost. Null
 * when the command ended or the terminal does not come.
 */
async function terminalOf(child: Child, stty: string): Promise<string | null> {
  for (let waitedMs = 0; waitedMs < TERMINAL_MAX_MS; waitedMs += TERMINAL_POLL_MS) {
    if (child.exitCode !== null || child.signalCode !== null) return null;
    const path = terminalPath(child.pid ?? 0);
    // A new terminal has no size, "0 0".
    if (path !== null && !/^0 0\s*$/.test((await run(stty, ["-F", path, "size"])).stdout)) return path;
    await new Promise((wake) => setTimeout(wake, TERMINAL_POLL_MS));
  }
  return null;
}

/** The terminal of the child of `script`. Major 136–143 are the pseudo terminals. */
function terminalPath(scriptPid: number): string | null {
  const tty = listProcesses().find((stat) => stat.ppid === scriptPid && stat.tty !== 0)?.tty;
  if (tty === undefined) return null;
  const major = (tty >> 8) & 0xfff;
  const minor = (tty & 0xff) | ((tty >> 12) & 0xfff00);
  return `/dev/pts/${(major - 136) * 256 + minor}`;
}
