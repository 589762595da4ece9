// Both log streams of one start of a task and the processes that write them. Knows which writers there are (file
// `loggers` in the run directory) and where their numbering began (file `from`); puts a writer that died (disk
// full) back in place as long as the wrapper holds the reading end of its pipe. Never handles a byte of output.
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LogStream, type StreamName, type StreamPlace, SUFFIX_WIDTH } from "./log_files.ts";
import { isAlive, isGone, readArguments, readStat } from "./proc.ts";
import { sendSignal } from "./process_tree.ts";
import { findProgram, readRunFile } from "./wrapper.ts";

const STREAMS: readonly StreamName[] = ["stdout", "stderr"];
/** When to look whether what was carried over has arrived. */
const CARRY_LOOKS_MS = [10, 30, 100, 300];

/** File descriptors of the wrapper at which the pipes can be read. */
const READING_ENDS = { stdout: 3, stderr: 5 } as const;

/** Before the start of a task: numbering, first files, first links. `carries`: go on in the newest files. */
export function beginLogs(place: StreamPlace, carries: boolean): TaskLogs {
  const begin = (stream: StreamName) => LogStream.begin(place, stream, carries);
  const logs = new TaskLogs(place, begin("stdout"), begin("stderr"));
  logs.writeBeginnings();
  logs.lookSoon(CARRY_LOOKS_MS);
  return logs;
}

/** After the agent was away. */
export function resumeLogs(place: StreamPlace): TaskLogs {
  const [stdout = 0, stderr = 0] = (readRunFile(place.runDir, "from") ?? "").trim().split(" ").map(Number);
  return new TaskLogs(
    place,
    LogStream.resume(place, "stdout", stdout),
    LogStream.resume(place, "stderr", stderr),
  );
}

export class TaskLogs {
  readonly #place: StreamPlace;
  #seen: number[] = [];
  stdout: LogStream;
  stderr: LogStream;

  constructor(place: StreamPlace, stdout: LogStream, stderr: LogStream) {
    this.#place = place;
    this.stdout = stdout;
    this.stderr = stderr;
  }

  get fileSizeMaxBytes(): number {
    return this.#place.fileSizeMaxBytes;
  }

  writeBeginnings(): void {
    writeFileSync(join(this.#place.runDir, "from"), `${this.stdout.from} ${this.stderr.from}\n`);
  }

  /** The next output shall be seen at once, although the first piece is not in its place yet. */
  lookSoon([first, ...later]: number[]): void {
    if (first === undefined || (this.stdout.carry === "" && this.stderr.carry === "")) return;
    const timer = setTimeout(() => {
      this.tend(0);
      this.lookSoon(later);
    }, first);
    (timer as unknown as { unref?: () => void }).unref?.();
  }

  /** Gives new files their names and removes the oldest. `wrapperPid` of a running task: also replaces dead writers. */
  tend(wrapperPid: number): void {
    for (const stream of STREAMS) this[stream].tend();
    if (wrapperPid > 0) this.#replaceDead(wrapperPid);
  }

  /** True while the pids last seen answer: the cheap look. */
  #allAnswer(): boolean {
    return this.#seen.length === 2 && this.#seen.every((pid) => sendSignal(pid, 0));
  }

  /** Pids of the writers that live; 0 in the place of a dead one. */
  #writers(): number[] {
    const text = readRunFile(this.#place.runDir, "loggers");
    if (text === null) return [];
    return text.trim().split(" ").map(Number).map((pid) => this.#isOurs(pid) ? pid : 0);
  }

  /** The number may have been used again: ours have the run directory among their arguments. */
  #isOurs(pid: number): boolean {
    if (!sendSignal(pid, 0) || !isAlive(readStat(pid))) return false;
    return readArguments(pid).some((word) => word.startsWith(this.#place.runDir));
  }

  #replaceDead(wrapperPid: number): void {
    if (this.#allAnswer()) return;
    const pids = this.#writers();
    this.#seen = pids.filter((pid) => pid > 0);
    const split = findProgram("split");
    if (pids.length < 2 || pids.every((pid) => pid > 0) || split === null) return;
    STREAMS.forEach((name, i) => {
      if (pids[i] !== 0) return;
      const input = openPipe(`/proc/${wrapperPid}/fd/${READING_ENDS[name]}`);
      if (input === null) return;
      this[name] = LogStream.begin(this.#place, name, false);
      this.writeBeginnings();
      const args = ["-a", String(SUFFIX_WIDTH), "-b", String(this.fileSizeMaxBytes), "-", this[name].prefix];
      const child = spawn(split, args, { detached: true, stdio: [input, "ignore", "ignore"] });
      child.on("error", () => undefined);
      child.unref();
      closeSync(input);
      pids[i] = child.pid ?? 0;
    });
    writeFileSync(join(this.#place.runDir, "loggers"), `${pids.join(" ")}\n`);
  }

  /** Waits until the writers have written all and ended, for at most `timeoutMs`; then looks after the files. */
  async finish(timeoutMs: number): Promise<void> {
    const begun = performance.now();
    for (let stepMs = 1; this.#writers().some((pid) => pid > 0); stepMs = Math.min(20, stepMs * 2)) {
      if (performance.now() - begun > timeoutMs) break;
      await new Promise((resolve) => setTimeout(resolve, stepMs));
    }
    this.tend(0);
  }

  /** For a destroyed task whose streams something foreign still holds open. */
  killWriters(): void {
    for (const pid of this.#writers()) if (pid > 0) sendSignal(pid, constants.signals.SIGKILL);
  }
}

/** The pipe, or null when its owner has just gone. */
function openPipe(path: string): number | null {
  try {
    return openSync(path, "r");
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}
