// What /proc says of processes. Owns the parsing of /proc/PID/stat and friends; never signals anything. A process
// is named by pid AND start time, because pids are used again; the boot id makes the pair unique across reboots.
// Single reads are synchronous (15 µs, procfs never waits for a disk); whoever reads many yields in between.
import { spawnSync } from "node:child_process";
import { isProcDenied, listProcSync, readProcSync } from "../core/proc_fs.ts";

export interface ProcStat {
  pid: number;
  comm: string;
  /** R, S, D, T, Z (ended, not yet reaped), X. */
  state: string;
  ppid: number;
  pgid: number;
  sid: number;
  /** Device number of the controlling terminal, 0 for none. */
  tty: number;
  /** Clock ticks (1/100 s) in user and kernel mode, own and of children already waited for. */
  userTicks: number;
  systemTicks: number;
  /** Clock ticks since boot. */
  startTicks: number;
}

/** Nanoseconds of one clock tick: USER_HZ is 100 on every Linux architecture that runs Deno or Bun. */
export const TICK_NS = 1e7;

/** The text of a file below /proc or /sys, or null when the process (or the file) is gone or hidden from us. */
export function readProc(path: string): string | null {
  try {
    return readProcSync(path);
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

/** True for "no such process/file" and for "not yours to look at". */
export function isGone(error: unknown): boolean {
  // Deno without the permission for it: as good as hidden.
  if ((error as Error).name === "NotCapable") return true;
  const code = (error as { code?: string }).code ?? "";
  return ["ENOENT", "ESRCH", "EACCES", "EPERM", "ENOTDIR", "ENODEV"].includes(code);
}

export function parseStat(text: string): ProcStat | null {
  // The command may hold spaces and parentheses: it ends at the last ")".
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open < 0 || close < 0) return null;
  const rest = text.slice(close + 2).trim().split(" ");
  const number = (index: number) => Number(rest[index] ?? 0);
  return {
    pid: Number(text.slice(0, open)),
    comm: text.slice(open + 1, close),
    state: rest[0] ?? "X",
    ppid: number(1),
    pgid: number(2),
    sid: number(3),
    tty: number(4),
    userTicks: number(11) + number(13),
    systemTicks: number(12) + number(14),
    startTicks: number(19),
  };
}

export function readStat(pid: number): ProcStat | null {
  const text = readProc(`/proc/${pid}/stat`);
  return text === null ? null : parseStat(text);
}

/** A zombie is dead: it only waits to be reaped, and `kill(pid, 0)` still succeeds on it. */
export function isAlive(stat: ProcStat | null): stat is ProcStat {
  return stat !== null && stat.state !== "Z" && stat.state !== "X";
}

/** True while the process that had this pid at this start time runs. */
export function isRunning(pid: number, startTicks: number): boolean {
  const stat = readStat(pid);
  return isAlive(stat) && stat.startTicks === startTicks;
}

/** Every living process of the machine. */
export function listProcesses(): ProcStat[] {
  if (isProcDenied()) {
    const lines = throughShell("cat /proc/[0-9]*/stat 2>/dev/null").split("\n");
    return lines.map((line) => line === "" ? null : parseStat(line)).filter(isAlive);
  }
  const found: ProcStat[] = [];
  for (const name of listProcSync("/proc")) {
    const first = name.charCodeAt(0);
    if (first < 48 || first > 57) continue;
    const stat = readStat(Number(name));
    if (isAlive(stat)) found.push(stat);
  }
  return found;
}

/** A test whether the environment that a process was started with holds exactly this `NAME=value`. */
export function environmentTest(entry: string): (pid: number) => boolean {
  if (!isProcDenied()) return (pid) => hasEnvironment(pid, entry);
  const files = throughShell('grep -lsFxz -e "$1" /proc/[0-9]*/environ', entry).split("\n");
  const pids = new Set(files.map((file) => Number(file.split("/")[2])));
  return (pid) => pids.has(pid);
}

/** One program for all processes, where this one may not look itself. Processes that end meanwhile are left out. */
function throughShell(script: string, ...args: string[]): string {
  const { stdout, error } = spawnSync("/bin/sh", ["-c", script, "proc", ...args], {
    encoding: "utf8",
    env: { LC_ALL: "C", PATH: "/usr/bin:/bin" },
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error) throw error;
  return stdout;
}

/** Arguments of a process; empty for kernel threads and for what is gone. */
export function readArguments(pid: number): string[] {
  const text = readProc(`/proc/${pid}/cmdline`);
  return text ? text.replace(/\0$/, "").split("\0") : [];
}

/** The environment a process was started with; empty when it is gone or hidden. */
export function readEnvironment(pid: number): Record<string, string> {
  const entries = (pid > 0 ? readProc(`/proc/${pid}/environ`) ?? "" : "").split("\0");
  return Object.fromEntries(
    entries.filter((entry) => entry.indexOf("=") > 0)
      .map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
  );
}

function hasEnvironment(pid: number, entry: string): boolean {
  const text = readProc(`/proc/${pid}/environ`);
  return text !== null && `\0${text}`.includes(`\0${entry}\0`);
}

export interface MemoryUse {
  rssBytes: number;
  swapBytes: number;
}

export function readMemory(pid: number): MemoryUse | null {
  const text = readProc(`/proc/${pid}/status`);
  if (text === null) return null;
  const bytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
  return { rssBytes: bytes("VmRSS"), swapBytes: bytes("VmSwap") };
}

/** Changes with every boot; "" where it cannot be read. */
export function bootId(): string {
  return (readProc("/proc/sys/kernel/random/boot_id") ?? "").trim();
}
