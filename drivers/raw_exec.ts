// Runs a task as a plain process of the host, without isolation. Owns the life of such a task: start through the
// wrapper shell, re-attach by pid and start time, signals, kill of the whole tree, usage, exec. Keeps nothing durable
// but the run directory `.<task>.<hex>` beside the logs. Invariants: the agent may die at any moment and no output
// byte and no exit code is lost; after stop or destroy nothing of the task runs; no runtime stays beside a task.
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DriverError, errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { cgroupCpu, makeCgroup, prepareCgroupParent, removeCgroup } from "./cgroup.ts";
import type {
  Driver,
  DriverCapabilities,
  DriverFingerprint,
  ExecSession,
  ExitResult,
  TaskHandle,
  TaskSpec,
  TaskUsage,
} from "./driver.ts";
import { checkProgram, execWithPipes, execWithTerminal } from "./exec_session.ts";
import {
  bootId,
  isAlive,
  isRunning,
  listProcesses,
  readArguments,
  readEnvironment,
  readMemory,
  readStat,
  TICK_NS,
} from "./proc.ts";
import { killTree, sendSignal, signalNumber, signalTree, type TaskTree, treePids } from "./process_tree.ts";
import {
  asUser,
  commandLine,
  isLaunching,
  planRawExec,
  type RawExecLimits,
  type RawExecPlan,
  validateRawExec,
} from "./raw_exec_plan.ts";
import { isStarting, loadState, runDirOf, runDirOfStarting, saveState } from "./run_dir.ts";
import { beginLogs, resumeLogs, type TaskLogs } from "./task_logs.ts";
import {
  environmentScript,
  findToolkit,
  isShellSafe,
  readExit,
  readRunFile,
  type Toolkit,
  WRAPPER_SCRIPT,
} from "./wrapper.ts";

export interface RawExecOptions extends RawExecLimits {
  enabled: boolean;
  /** Name of the cgroup under which every task gets its own; "" for none. */
  cgroupParent: string;
  /** Replaces what is found on the host: for tests of other hosts. */
  tools?: Partial<Toolkit>;
  log: Logger;
}

/** TaskHandle.state of this driver. */
interface RawExecState extends Record<string, unknown> {
  /** The wrapper's. */
  pid: number;
  startTicks: number;
  bootId: string;
  runDir: string;
  /** "" when the host lets us make none: the tree is then found by marker. */
  cgroup: string;
  /** Files to write "0" into to join the task's cgroups. */
  cgroupFiles: string[];
  marker: string;
  exact: boolean;
  cwd: string;
  user: { name: string; uid: number; gid: number; groups: number[] } | null;
  logs: { dir: string; task: string; filesMax: number; fileSizeMaxBytes: number } | null;
}

interface RunningTask {
  state: RawExecState;
  logs: TaskLogs | null;
  exit: ExitResult | null;
  ended: Promise<ExitResult>;
  /** Called once, when the wrapper is known to be gone. */
  wrapperGone(): void;
  /** False: not our child, its end must be looked for. */
  isChild: boolean;
}

/** Each tick looks after one share of the tasks' logs, so that none waits a second and many never block the loop. */
const LOGS_EVERY_MS = 100;
const LOGS_SHARES = 10;
const REATTACHED_EVERY_MS = 50;
/** Every this many rounds a re-attached task is looked at closely (zombie, pid used again). */
const CLOSE_LOOK_ROUNDS = 20;
const LAST_OUTPUT_MS = 250;
const LAUNCH_MS = 2000;
const KILL_MS = 10_000;
const WRAPPER_MS = 5000;

export class RawExecDriver implements Driver {
  readonly name = "raw_exec";
  readonly capabilities: DriverCapabilities = { sendSignals: true, exec: true, filesystem: "none" };
  readonly #options: RawExecOptions;
  readonly #tasks = new Map<string, RunningTask>();
  #toolkit: Promise<Toolkit | string> | null = null;
  #cgroupParent: string | null | undefined;
  #bootId = bootId();
  #logsTimer: ReturnType<typeof setInterval> | null = null;
  #pollTimer: ReturnType<typeof setInterval> | null = null;
  #pollRound = 0;
  #logsRound = 0;

  constructor(options: RawExecOptions) {
    this.#options = options;
  }

  async fingerprint(): Promise<DriverFingerprint> {
    if (!this.#options.enabled) {
      return { detected: false, healthy: false, description: "disabled", attributes: {} };
    }
    const toolkit = await this.#findTools();
    if (typeof toolkit === "string") {
      return { detected: false, healthy: false, description: toolkit, attributes: {} };
    }
    return {
      detected: true,
      healthy: true,
      description: "Healthy",
      attributes: { "driver.raw_exec": "true" },
    };
  }

  validate(config: Record<string, unknown>): string[] {
    return validateRawExec(config);
  }

  async start(spec: TaskSpec, _onEvent: (message: string) => void): Promise<TaskHandle> {
    const toolkit = await this.#tools("start");
    const plan = await planRawExec(spec, this.#options);
    const runDir = runDirOf(spec.logs.dir, spec.id);
    const cgroup = plan.cgroupOverride ? "" : this.#makeGroup(spec);
    const marker = `NOMAD_TASK_MARKER=${spec.id}`;
    const place = { dir: spec.logs.dir, task: spec.task, filesMax: spec.logs.filesMax };
    const logs = spec.logs.disabled ? null : { ...place, fileSizeMaxBytes: spec.logs.fileSizeMaxBytes };
    try {
      mkdirSync(runDir, { recursive: true, mode: 0o700 });
      const taskLogs = logs ? beginLogs({ ...logs, runDir }, toolkit.split !== null) : null;
      const env = cgroup === "" ? { ...plan.env, NOMAD_TASK_MARKER: spec.id } : plan.env;
      const cgroupFiles = plan.cgroupOverride ?? (cgroup === "" ? [] : [join(cgroup, "cgroup.procs")]);
      const state: RawExecState = {
        pid: 0,
        startTicks: 0,
        bootId: this.#bootId,
        runDir,
        cgroup,
        cgroupFiles,
        marker: cgroup === "" ? marker : "",
        exact: toolkit.exact,
        cwd: plan.cwd,
        user: plan.user,
        logs,
      };
      saveState(runDir, state);
      const child = this.#spawn({ ...plan, env }, { runDir, toolkit, logs: taskLogs, cgroupFiles });
      state.pid = await pidOf(child);
      state.startTicks = readStat(state.pid)?.startTicks ?? 0;
      this.#adopt(spec.id, state, taskLogs, child);
      return { driver: this.name, id: spec.id, state };
    } catch (error) {
      rmSync(runDir, { recursive: true, force: true });
      if (cgroup !== "") removeCgroup(cgroup);
      if (error instanceof DriverError) throw error;
      throw new DriverError("start", `Cannot start ${plan.command}: ${errorText(error)}`, true, "", {
        cause: error,
      });
    }
  }

  /** "" where this host lets us make no cgroups. */
  #makeGroup(spec: TaskSpec): string {
    if (this.#cgroupParent === undefined) {
      const parent = this.#options.cgroupParent;
      this.#cgroupParent = parent === "" ? null : prepareCgroupParent(parent);
    }
    if (this.#cgroupParent === null) return "";
    const path = join(this.#cgroupParent, `${spec.id.replaceAll("/", ".")}.scope`);
    return makeCgroup(path) ? path : "";
  }

  #spawn(
    plan: RawExecPlan,
    with_: { runDir: string; toolkit: Toolkit; logs: TaskLogs | null; cgroupFiles: string[] },
  ): ChildProcess {
    const { runDir, toolkit, logs, cgroupFiles } = with_;
    const entries = Object.entries(plan.env);
    const special = entries.filter(([name]) => !isShellSafe(name));
    if (special.length > 0) {
      writeFileSync(join(runDir, "env"), environmentScript(toolkit.env, special), { mode: 0o600 });
    }
    const args = [
      runDir,
      String(logs?.fileSizeMaxBytes ?? 0),
      logs?.stdout.prefix ?? "",
      logs?.stderr.prefix ?? "",
      logs?.stdout.carry ?? "",
      logs?.stderr.carry ?? "",
      toolkit.split ?? "",
      toolkit.mkfifo,
      toolkit.cat,
      toolkit.exact ? "exact" : "plain",
      String(plan.oomScoreAdj),
      String(cgroupFiles.length),
      ...cgroupFiles,
      ...commandLine(plan, toolkit),
    ];
    const [shell = "", ...shellArgs] = toolkit.shell;
    return spawn(shell, [...shellArgs, "-c", WRAPPER_SCRIPT, "nomad-task", ...args], {
      cwd: plan.cwd,
      env: Object.fromEntries(entries.filter(([name]) => isShellSafe(name))),
      detached: true,
      stdio: "ignore",
    });
  }

  /** Begins to follow a task: as our child, or (null) one that an earlier agent started. */
  #adopt(id: string, state: RawExecState, logs: TaskLogs | null, child: ChildProcess | null): RunningTask {
    let wrapperGone = () => {};
    const gone = new Promise<void>((resolve) => wrapperGone = resolve);
    const task: RunningTask = {
      state,
      logs,
      exit: null,
      ended: gone.then(() => this.#finish(task)),
      wrapperGone,
      isChild: child !== null,
    };
    this.#tasks.set(id, task);
    child?.on("exit", () => task.wrapperGone());
    child?.unref();
    this.#arrangeTimers();
    return task;
  }

  /** The wrapper is gone: reads what it left, once the last output stands in the files. */
  async #finish(task: RunningTask): Promise<ExitResult> {
    const { runDir, exact } = task.state;
    const exit = readExit(runDir, exact);
    // A process that outlives the main one may hold the streams open: then there is no end to wait for.
    await task.logs?.finish(LAST_OUTPUT_MS);
    task.exit = exit ? { ...exit, oomKilled: false } : {
      exitCode: -1,
      signal: 0,
      oomKilled: false,
      error: "the process that waited for the task was killed, so how the task ended is not known",
    };
    this.#arrangeTimers();
    return task.exit;
  }

  /** One timer for all logs and one for all re-attached tasks, only while there are some. */
  #arrangeTimers(): void {
    const running = [...this.#tasks.values()].filter((task) => task.exit === null);
    this.#logsTimer = arrange(
      this.#logsTimer,
      running.some((task) => task.logs),
      LOGS_EVERY_MS,
      () => this.#tend(),
    );
    const foreign = running.some((task) => !task.isChild);
    this.#pollTimer = arrange(this.#pollTimer, foreign, REATTACHED_EVERY_MS, () => this.#poll());
  }

  #tend(): void {
    const share = this.#logsRound++ % LOGS_SHARES;
    let turn = 0;
    for (const [id, task] of this.#tasks) {
      if (task.exit !== null || task.logs === null || turn++ % LOGS_SHARES !== share) continue;
      try {
        task.logs.tend(task.state.pid);
      } catch (error) {
        this.#options.log.warn("Cannot look after log files", { task: id, error: errorText(error) });
      }
    }
  }

  /** `kill(pid, 0)` costs 2 µs and finds nearly every end; the close look finds zombies and pids used again. */
  #poll(): void {
    let turn = this.#pollRound++;
    for (const task of this.#tasks.values()) {
      if (task.isChild || task.exit !== null) continue;
      const { pid, startTicks } = task.state;
      const close = turn++ % CLOSE_LOOK_ROUNDS === 0;
      if (!sendSignal(pid, 0) || (close && !isRunning(pid, startTicks))) task.wrapperGone();
    }
  }

  async recover(handle: TaskHandle): Promise<boolean> {
    if (this.#attach(handle) !== null) return true;
    // What a start that nobody completed left behind is of no use to anyone.
    if (isStarting(handle)) await this.destroy(handle);
    return false;
  }

  /** The state of a handle; a starting one is completed in place by what the start left. null: nothing was started. */
  #stateOf(handle: TaskHandle): RawExecState | null {
    if (!isStarting(handle)) return handle.state as unknown as RawExecState;
    const runDir = runDirOfStarting(handle);
    const saved = loadState(runDir) as RawExecState | null;
    if (saved === null) return null;
    const pid = Number(readRunFile(runDir, "wrapper")?.trim() ?? 0) || findWrapper(runDir);
    if (pid === 0) return null;
    const own = readArguments(pid).includes(runDir);
    handle.state = { ...saved, pid, startTicks: own ? readStat(pid)?.startTicks ?? 0 : 0 };
    return handle.state as unknown as RawExecState;
  }

  /** The followed task of a handle; null when it is gone and left no account of its end. */
  #attach(handle: TaskHandle): RunningTask | null {
    const known = this.#tasks.get(handle.id);
    if (known) return known;
    const state = this.#stateOf(handle);
    if (state === null) return null;
    const runs = state.bootId === this.#bootId && isRunning(state.pid, state.startTicks);
    if (!runs && readExit(state.runDir, state.exact) === null) return null;
    const logs = state.logs ? resumeLogs({ ...state.logs, runDir: state.runDir }) : null;
    const task = this.#adopt(handle.id, state, logs, null);
    logs?.tend(runs ? state.pid : 0);
    if (!runs) task.wrapperGone();
    return task;
  }

  wait(handle: TaskHandle, signal: AbortSignal): Promise<ExitResult> {
    const task = this.#attach(handle);
    if (task === null) return Promise.reject(lost("wait", handle));
    if (task.exit) return Promise.resolve(task.exit);
    const waiting = new Promise<ExitResult>((resolve, reject) => {
      const abort = () => reject(new DriverError("wait", `No longer waiting for ${handle.id}`, true));
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort, { once: true });
      task.ended.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
    });
    return held(waiting);
  }

  async stop(handle: TaskHandle, options: { killSignal: string; timeoutMs: number }): Promise<void> {
    const number = signalNumber(options.killSignal);
    if (number === null) throw unknownSignal("stop", options.killSignal);
    const task = this.#attach(handle);
    const state = this.#stateOf(handle);
    if (state === null) return;
    if (task !== null && task.exit === null) {
      const pid = await this.#launched(state);
      const deadline = performance.now() + options.timeoutMs;
      // The main process alone is told, as in Nomad: how its children end is its own affair, and a child that met the
      // signal too would end under the hands of a parent that means to finish its work. When it is gone, the rest is killed.
      if (pid > 0) sendSignal(pid, number);
      else signalTree(this.#tree(state), number);
      const gone = () => pid > 0 ? this.#mainPid(state) === 0 : treePids(this.#tree(state)).length === 0;
      await until(gone, () => deadline - performance.now(), task.ended);
    }
    await this.#killAll(state);
    if (task !== null) await this.#endWrapper(task);
  }

  /** SIGKILL until nothing of the tree is left. */
  async #killAll(state: RawExecState): Promise<void> {
    const begun = performance.now();
    const met = () => killTree(this.#tree(state)) === 0;
    await until(met, () => KILL_MS - (performance.now() - begun));
    const left = treePids(this.#tree(state));
    if (left.length > 0) {
      throw new DriverError(
        "stop",
        `Processes ${left.join(", ")} do not die`,
        true,
        "they wait for a disk or device",
      );
    }
  }

  /** With nothing left to wait for the wrapper ends by itself, unless it hangs before the start (disk full). */
  async #endWrapper(task: RunningTask): Promise<void> {
    await withDeadline(task.ended, WRAPPER_MS);
    const { pid, startTicks } = task.state;
    if (task.exit === null && isRunning(pid, startTicks)) sendSignal(pid, constants.signals.SIGKILL);
    await held(task.ended);
  }

  #tree(state: RawExecState): TaskTree {
    const loggers = (readRunFile(state.runDir, "loggers") ?? "").trim().split(" ").map(Number);
    return {
      cgroup: state.cgroup,
      mainPid: this.#mainPid(state),
      marker: state.marker,
      sinceTicks: state.startTicks,
      spared: [state.pid, ...loggers],
    };
  }

  /** Pid of the task's main process, 0 when it has not begun or is gone. */
  #mainPid(state: RawExecState): number {
    const pid = Number(readRunFile(state.runDir, "pid")?.trim() ?? 0);
    const stat = pid > 0 && state.bootId === this.#bootId ? readStat(pid) : null;
    // The number may belong to another process by now: the task's own has the wrapper as its parent.
    return isAlive(stat) && stat.ppid === state.pid ? pid : 0;
  }

  /** Waits until the task's own command runs: a signal that meets the steps before it would be lost. */
  async #launched(state: RawExecState): Promise<number> {
    const toolkit = await this.#tools("signal");
    const begun = performance.now();
    let pid = 0;
    const ready = () => {
      pid = this.#mainPid(state);
      if (pid > 0) return !isLaunching(readArguments(pid), readArguments(state.pid), toolkit);
      return !isRunning(state.pid, state.startTicks) || readExit(state.runDir, state.exact) !== null;
    };
    await until(ready, () => LAUNCH_MS - (performance.now() - begun));
    return pid;
  }

  async destroy(handle: TaskHandle): Promise<void> {
    const task = this.#attach(handle);
    const state = this.#stateOf(handle) ?? loadState(runDirOfStarting(handle)) as RawExecState | null;
    if (state === null) return;
    if (state.bootId === this.#bootId) await this.#killAll(state);
    if (task !== null) {
      await this.#endWrapper(task);
      await task.logs?.finish(LAST_OUTPUT_MS);
      task.logs?.killWriters();
      task.logs?.tend(0);
    }
    this.#tasks.delete(handle.id);
    this.#arrangeTimers();
    rmSync(state.runDir, { recursive: true, force: true });
    const begun = performance.now();
    // The kernel lets go of the last process a moment after it died.
    if (state.cgroup !== "") {
      await until(() => removeCgroup(state.cgroup), () => 1000 - (performance.now() - begun));
    }
  }

  async signal(handle: TaskHandle, name: string): Promise<void> {
    const number = signalNumber(name);
    if (number === null) throw unknownSignal("signal", name);
    const task = this.#attach(handle);
    if (task === null) throw lost("signal", handle);
    const pid = task.exit ? 0 : await this.#launched(task.state);
    if (pid === 0 || !sendSignal(pid, number)) {
      throw new DriverError("signal", `Cannot signal ${handle.id}: it is not running`, false);
    }
  }

  usage(handle: TaskHandle): Promise<TaskUsage> {
    const task = this.#attach(handle);
    if (task === null || task.exit) return Promise.reject(lost("usage", handle));
    const pids = treePids(this.#tree(task.state));
    const usage: TaskUsage = {
      memoryRssBytes: 0,
      cpuUserNs: 0,
      cpuSystemNs: 0,
      pids,
      timestampMs: Date.now(),
    };
    let swap = 0;
    for (const pid of pids) {
      const stat = readStat(pid);
      const memory = readMemory(pid);
      usage.cpuUserNs += (stat?.userTicks ?? 0) * TICK_NS;
      usage.cpuSystemNs += (stat?.systemTicks ?? 0) * TICK_NS;
      usage.memoryRssBytes += memory?.rssBytes ?? 0;
      swap += memory?.swapBytes ?? 0;
    }
    // The group's own account holds children that came and went, too.
    const counted = task.state.cgroup === "" ? null : cgroupCpu(task.state.cgroup);
    const cpu = counted ? { cpuUserNs: counted.userNs, cpuSystemNs: counted.systemNs } : {};
    return Promise.resolve({ ...usage, ...cpu, memorySwapBytes: swap });
  }

  async exec(
    handle: TaskHandle,
    options: { command: string[]; tty: boolean; env: Record<string, string> },
  ): Promise<ExecSession> {
    const toolkit = await this.#tools("exec");
    const task = this.#attach(handle);
    if (task === null || task.exit) throw lost("exec", handle);
    if (options.command.length === 0) throw new DriverError("exec", "Cannot exec: no command given", false);
    const { state } = task;
    const env = { ...readEnvironment(this.#mainPid(state)), ...options.env };
    checkProgram(options.command[0]!, { env, cwd: state.cwd });
    const join_ = `n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 >"$1"; shift; n=$((n - 1)); done; exec "$@"`;
    const files = state.cgroupFiles;
    const plan = {
      command: [
        ...toolkit.shell,
        "-c",
        join_,
        "exec",
        String(files.length),
        ...files,
        ...asUser(state.user, toolkit),
        ...options.command,
      ],
      // The task's own environment, with what the caller adds; a marker among it keeps the session in the tree.
      env,
      cwd: state.cwd,
    };
    if (!options.tty) return execWithPipes(plan);
    const { script, stty } = toolkit;
    if (script === null || stty === null) {
      throw new DriverError(
        "exec",
        "Cannot open a terminal: script or stty is missing",
        false,
        "install util-linux",
      );
    }
    return execWithTerminal(plan, {
      script,
      stty,
      shell: toolkit.shell.length === 1 ? toolkit.shell[0]! : "/bin/sh",
    });
  }

  /** Looked for once: programs do not come and go under a running agent. */
  #findTools(): Promise<Toolkit | string> {
    this.#toolkit ??= findToolkit().then((found) =>
      typeof found === "string" ? found : { ...found, ...this.#options.tools }
    );
    return this.#toolkit;
  }

  async #tools(op: string): Promise<Toolkit> {
    if (!this.#options.enabled) {
      throw new DriverError(
        op,
        "raw_exec is disabled on this client",
        false,
        'set plugin "raw_exec" { config { enabled = true } }',
      );
    }
    const toolkit = await this.#findTools();
    if (typeof toolkit === "string") throw new DriverError(op, `raw_exec: ${toolkit}`, false);
    return toolkit;
  }
}

function pidOf(child: ChildProcess): Promise<number> {
  if (child.pid !== undefined) {
    child.on("error", () => undefined);
    return Promise.resolve(child.pid);
  }
  return new Promise((_, reject) => child.on("error", reject));
}

/** A wrapper that has not come to write its pid: known by the run directory in its arguments. 0 for none. */
function findWrapper(runDir: string): number {
  const found = listProcesses().filter(({ pid }) => readArguments(pid).includes(runDir));
  const pids = new Set(found.map(({ pid }) => pid));
  return found.find(({ ppid }) => !pids.has(ppid))?.pid ?? 0;
}

function lost(op: string, handle: TaskHandle): DriverError {
  return new DriverError(op, `Cannot ${op} ${handle.id}: the task does not run any more`, false);
}

function unknownSignal(op: string, name: string): DriverError {
  return new DriverError(op, `Unknown signal ${JSON.stringify(name)}`, false, 'use for example "SIGHUP"');
}

/** Starts or ends a repeating timer so that it runs exactly while `wanted`. Never keeps the process alive. */
function arrange(
  timer: ReturnType<typeof setInterval> | null,
  wanted: boolean,
  everyMs: number,
  tick: () => void,
): ReturnType<typeof setInterval> | null {
  if (!wanted) {
    if (timer) clearInterval(timer);
    return null;
  }
  if (timer) return timer;
  const made = setInterval(tick, everyMs);
  (made as unknown as { unref?: () => void }).unref?.();
  return made;
}

/** Looks at `done` after 1, 2, 4 … 50 ms and whenever `hint` resolves, until it is true or no time is left. */
async function until(done: () => boolean, leftMs: () => number, hint?: Promise<unknown>): Promise<void> {
  let hinted = hint?.then(() => undefined);
  for (let stepMs = 1; !done(); stepMs = Math.min(50, stepMs * 2)) {
    const left = leftMs();
    if (left <= 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const pause = new Promise<void>((resolve) => timer = setTimeout(resolve, Math.min(stepMs, left)));
    const first = await Promise.race([
      pause.then(() => "time"),
      ...(hinted ? [hinted.then(() => "hint")] : []),
    ]);
    clearTimeout(timer);
    if (first === "hint") hinted = undefined;
  }
}

/** Tasks alone keep no agent alive, but somebody who waits for one does. */
function held<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => undefined, 3_600_000);
  return promise.finally(() => clearInterval(timer));
}

async function withDeadline(promise: Promise<unknown>, timeoutMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([promise, new Promise<void>((resolve) => timer = setTimeout(resolve, timeoutMs))]);
  clearTimeout(timer);
}
