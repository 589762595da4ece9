// Runs tasks as containers of Podman, through the libpod REST API on its unix socket. Owns a container's life: image,
// create, start, follow, stop, stats, exec, remove. Podman keeps the container, its exit code and its output while the
// agent is away; the run directory `.<task>.<hex>` beside the logs keeps how far the output was brought over. Never
// starts Podman's service and never touches containers it did not make.
import { constants } from "node:os";
import { cpus } from "node:os";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DriverError, errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { cgroupPids, findCgroupMounts, findControllerMount } from "./cgroup.ts";
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
import { answerText, PodmanApi } from "./podman_api.ts";
import {
  ALLOC_LABEL,
  containerName,
  type ContainerPlan,
  type HostCpu,
  planContainer,
  type PodmanSettings,
  START_LABEL,
  validatePodman,
} from "./podman_config.ts";
import { isStarting, loadState, runDirOf, runDirOfStarting, saveState } from "./run_dir.ts";
import { execInContainer } from "./podman_exec.ts";
import { PodmanImages } from "./podman_images.ts";
import { PodmanLogs, SOURCE_NAME } from "./podman_logs.ts";
import { bootId, isAlive, readProc, readStat } from "./proc.ts";
import { sendSignal, signalNumber } from "./process_tree.ts";

export interface PodmanOptions extends PodmanSettings {
  /** "unix:///run/podman/podman.sock" */
  socketPath: string;
  /** False: a container stays after its task was destroyed. */
  removesContainers: boolean;
  /** True: what a reboot stopped is started again under the same handle. */
  recoversStopped: boolean;
  httpTimeoutMs: number;
  log: Logger;
}

/** TaskHandle.state of this driver. */
interface PodmanState extends Record<string, unknown> {
  containerId: string;
  runDir: string;
  bootId: string;
  logs: { dir: string; task: string; filesMax: number; fileSizeMaxBytes: number } | null;
}

interface Followed {
  state: PodmanState;
  logs: PodmanLogs | null;
  exit: ExitResult | null;
  /** One account of the end, however many wait for it. */
  finishing: Promise<ExitResult> | null;
}

interface Inspected {
  Id: string;
  State: {
    Status: string;
    Running: boolean;
    ExitCode: number;
    OOMKilled: boolean;
    Error: string;
    Pid: number;
  };
  Config?: { Labels?: Record<string, string> | null };
}

const LOGS_EVERY_MS = 100;
/** How often Podman itself looks whether a container ended, while somebody waits. */
const WAIT_OFTEN = "25ms";
const WAIT_RARELY = "2s";
const LOOK_EVERY_MS = 50;
const INFO_MAX_AGE_MS = 5 * 60_000;

export class PodmanDriver implements Driver {
  readonly name = "podman";
  readonly capabilities: DriverCapabilities = { sendSignals: true, exec: true, filesystem: "image" };
  readonly #options: PodmanOptions;
  readonly #api: PodmanApi;
  readonly #images: PodmanImages;
  readonly #tasks = new Map<string, Followed>();
  readonly #bootId = bootId();
  #logsTimer: ReturnType<typeof setInterval> | null = null;
  #info: { atMs: number; attributes: Record<string, string> } | null = null;

  constructor(options: PodmanOptions) {
    this.#options = options;
    this.#api = new PodmanApi(options.socketPath, options.httpTimeoutMs);
    this.#images = new PodmanImages(this.#api);
  }

  async fingerprint(): Promise<DriverFingerprint> {
    try {
      await this.#api.must("ping", "GET", "/_ping", { timeoutMs: 5000 });
      if (!this.#info || performance.now() - this.#info.atMs > INFO_MAX_AGE_MS) {
        const info = await this.#api.must("tell its version", "GET", "/info");
        this.#info = { atMs: performance.now(), attributes: attributesOf(info.body as PodmanInfo) };
      }
      return { detected: true, healthy: true, description: "Healthy", attributes: this.#info.attributes };
    } catch (error) {
      const hint = error instanceof DriverError && error.hint !== "" ? `; ${error.hint}` : "";
      // Once seen, a silent Podman is a sick one; before, it is simply not there.
      return {
        detected: this.#info !== null,
        healthy: false,
        description: `${errorText(error)}${hint}`,
        attributes: this.#info?.attributes ?? {},
      };
    }
  }

  validate(config: Record<string, unknown>): string[] {
    return validatePodman(config);
  }

  async start(spec: TaskSpec, onEvent: (message: string) => void): Promise<TaskHandle> {
    const runDir = runDirOf(spec.logs.dir, spec.id);
    const plan = planContainer(spec, this.#options, hostCpu(), join(runDir, SOURCE_NAME));
    const image = await this.#images.prepare(plan, spec, onEvent);
    const { disabled: _, ...place } = spec.logs;
    const state: PodmanState = {
      containerId: "",
      runDir,
      bootId: this.#bootId,
      logs: plan.collectsLogs ? { ...place, task: spec.task } : null,
    };
    try {
      mkdirSync(runDir, { recursive: true, mode: 0o700 });
      const logs = state.logs ? new PodmanLogs({ ...state.logs, runDir }, this.#options.log) : null;
      await logs?.begin();
      saveState(runDir, state);
      state.containerId = await this.#create(plan, image);
      await this.#api.must("start", "POST", `/containers/${state.containerId}/start`, { also: [304] });
      this.#follow(spec.id, state, logs);
      return { driver: this.name, id: spec.id, state };
    } catch (error) {
      if (state.containerId !== "") await this.#remove(state.containerId);
      rmSync(runDir, { recursive: true, force: true });
      if (error instanceof DriverError) {
        throw new DriverError("start", error.message, error.recoverable, error.hint, { cause: error });
      }
      throw new DriverError("start", `Cannot start the container: ${errorText(error)}`, true, "", {
        cause: error,
      });
    }
  }

  /** Creates the container; one of the same name that an earlier start of this task left is removed first. */
  async #create(plan: ContainerPlan, image: string): Promise<string> {
    const body = { ...plan.body, image };
    const path = "/containers/create";
    let answer = await this.#api.must("create the container", "POST", path, { body, also: [409, 500] });
    const name = String(plan.body["name"]);
    if (answer.status >= 300 && await this.#isOurs(name, plan)) {
      await this.#remove(name);
      answer = await this.#api.must("create the container", "POST", path, { body });
    }
    if (answer.status >= 300) answer = await this.#api.must("create the container", "POST", path, { body });
    return (answer.body as { Id: string }).Id;
  }

  async #isOurs(name: string, plan: ContainerPlan): Promise<boolean> {
    const label = (plan.body["labels"] as Record<string, string>)[ALLOC_LABEL];
    const found = await this.#inspect("look for an older container", name);
    return found !== null && found.Config?.Labels?.[ALLOC_LABEL] === label;
  }

  /** null when there is no such container. */
  async #inspect(op: string, id: string): Promise<Inspected | null> {
    const path = `/containers/${encodeURIComponent(id)}/json`;
    const answer = await this.#api.must(op, "GET", path, { also: [404, 500] });
    if (answer.status < 300) return answer.body as Inspected;
    // A container that is being removed at this moment is a 500 with these words.
    if (answer.status === 404 || /no such container/i.test(answerText(answer))) return null;
    throw new DriverError(op, `podman refused to ${op}: ${answerText(answer)}`, true);
  }

  async #remove(id: string): Promise<void> {
    const path = `/containers/${encodeURIComponent(id)}?force=true&v=true&timeout=0`;
    await this.#api.must("remove the container", "DELETE", path, { also: [404] });
  }

  #follow(id: string, state: PodmanState, logs: PodmanLogs | null): Followed {
    const task: Followed = { state, logs, exit: null, finishing: null };
    this.#tasks.set(id, task);
    this.#arrangeTimer();
    return task;
  }

  /** One timer brings over the output of all containers, only while there are some. */
  #arrangeTimer(): void {
    const wanted = [...this.#tasks.values()].some((task) => task.logs !== null && task.exit === null);
    if (wanted && this.#logsTimer === null) {
      this.#logsTimer = setInterval(() => {
        for (const task of this.#tasks.values()) {
          if (task.exit === null && task.logs?.hasMore()) void task.logs.drain();
        }
      }, LOGS_EVERY_MS);
      (this.#logsTimer as unknown as { unref?: () => void }).unref?.();
    } else if (!wanted && this.#logsTimer !== null) {
      clearInterval(this.#logsTimer);
      this.#logsTimer = null;
    }
  }

  async recover(handle: TaskHandle): Promise<boolean> {
    if (this.#tasks.has(handle.id)) return true;
    if (isStarting(handle) && !await this.#complete(handle)) {
      // What a start that nobody completed left behind is of no use to anyone.
      rmSync(runDirOfStarting(handle), { recursive: true, force: true });
      return false;
    }
    const state = handle.state as unknown as PodmanState;
    const found = await this.#inspect("recover", state.containerId);
    if (found === null) return false;
    if (!found.State.Running && state.bootId !== this.#bootId) {
      // A reboot ended it and wiped Podman's account of how.
      if (!this.#options.recoversStopped) return false;
      await this.#api.must("start", "POST", `/containers/${state.containerId}/start`, { also: [304] });
    } else if (!found.State.Running && !hasEnded(found)) {
      return false;
    }
    const logs = state.logs
      ? new PodmanLogs({ ...state.logs, runDir: state.runDir }, this.#options.log)
      : null;
    await logs?.resume();
    this.#follow(handle.id, state, logs);
    return true;
  }

  /** Completes a starting handle in place from the container that was begun under its id; false when there is none. */
  async #complete(handle: TaskHandle): Promise<boolean> {
    const saved = loadState(runDirOfStarting(handle));
    const [allocId = "", task = ""] = handle.id.split("/");
    const found = saved ? await this.#inspect("recover", containerName(task, allocId)) : null;
    if (found?.Config?.Labels?.[START_LABEL] !== handle.id) return false;
    if (found.State.Running || hasEnded(found)) {
      handle.state = { ...saved, containerId: found.Id };
      return true;
    }
    await this.#remove(found.Id);
    return false;
  }

  async #known(op: string, handle: TaskHandle): Promise<Followed> {
    if (!this.#tasks.has(handle.id)) await this.recover(handle);
    const task = this.#tasks.get(handle.id);
    if (!task) throw new DriverError(op, `Cannot ${op} ${handle.id}: its container is gone`, false);
    return task;
  }

  async wait(handle: TaskHandle, signal: AbortSignal): Promise<ExitResult> {
    const task = await this.#known("wait", handle);
    if (signal.aborted) throw aborted(handle);
    return await this.#end(task, handle, signal);
  }

  /** Until the container ended. A service that restarts meanwhile is no end of the container: asked again. */
  async #end(task: Followed, handle: TaskHandle, signal: AbortSignal): Promise<ExitResult> {
    for (let pauseMs = 200; task.exit === null; pauseMs = Math.min(5000, pauseMs * 2)) {
      try {
        if (await this.#longPoll(task, signal)) break;
      } catch (error) {
        if (signal.aborted) throw aborted(handle);
        this.#options.log.debug("Waiting for Podman again", { task: handle.id, error: errorText(error) });
      }
      await pause(pauseMs, signal);
      if (signal.aborted) throw aborted(handle);
    }
    if (task.exit !== null) return task.exit;
    task.finishing ??= this.#finish(task).finally(() => task.finishing = null);
    return await task.finishing;
  }

  /**
   * Podman's own wait looks again and again, which costs it: so it does that rarely while we see the container's first
   * process live (2 µs a look), and often only when that is gone or not to be seen from here. True: it ended.
   */
  async #longPoll(task: Followed, signal: AbortSignal): Promise<boolean> {
    const ask = async (interval: string, until: AbortSignal) => {
      const query = `condition=exited&condition=stopped&interval=${interval}`;
      const path = `/containers/${task.state.containerId}/wait?${query}`;
      const { status } = await this.#api.call("wait", "POST", path, { timeoutMs: 0, signal: until });
      return status < 300 || status === 404;
    };
    const pid = (await this.#inspect("wait", task.state.containerId))?.State.Pid ?? 0;
    if (!isAlive(readStat(pid))) return await ask(WAIT_OFTEN, signal);
    const gone = new AbortController();
    const leave = () => gone.abort();
    signal.addEventListener("abort", leave, { once: true });
    const timer = setInterval(() => isSeen(pid) || leave(), LOOK_EVERY_MS);
    try {
      return await ask(WAIT_RARELY, gone.signal);
    } catch (error) {
      if (signal.aborted || !gone.signal.aborted) throw error;
    } finally {
      clearInterval(timer);
      signal.removeEventListener("abort", leave);
    }
    return await ask(WAIT_OFTEN, signal);
  }

  /** The container ended: the last output, then the exit as Podman knows it. */
  async #finish(task: Followed): Promise<ExitResult> {
    const found = await this.#inspect("wait", task.state.containerId);
    await task.logs?.drain();
    const error = found?.State.Error;
    task.exit = found === null
      ? { exitCode: -1, signal: 0, oomKilled: false, error: "the container was removed by somebody else" }
      : {
        exitCode: found.State.ExitCode,
        // Podman keeps only the code: 137 may be a signal or the program's own choice.
        signal: 0,
        oomKilled: found.State.OOMKilled,
        ...(error ? { error } : {}),
      };
    this.#arrangeTimer();
    return task.exit;
  }

  async stop(handle: TaskHandle, options: { killSignal: string; timeoutMs: number }): Promise<void> {
    if (signalNumber(options.killSignal) === null) throw unknownSignal("stop", options.killSignal);
    if (!await this.recover(handle)) return;
    const task = this.#tasks.get(handle.id)!;
    if (task.exit !== null || !await this.#kill(task, options.killSignal)) return;
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), options.timeoutMs);
    try {
      await this.#end(task, handle, patience.signal);
    } catch (error) {
      if (!patience.signal.aborted) throw error;
      await this.#kill(task, "SIGKILL");
      await this.#end(task, handle, AbortSignal.timeout(30_000));
    } finally {
      clearTimeout(timer);
    }
  }

  /** False when the container does not run (any more). */
  async #kill(task: Followed, signal: string): Promise<boolean> {
    const path = `/containers/${task.state.containerId}/kill?signal=${encodeURIComponent(signal)}`;
    const answer = await this.#api.must("signal", "POST", path, { also: [404, 409, 500] });
    if (answer.status < 300) return true;
    const found = await this.#inspect("signal", task.state.containerId);
    if (found?.State.Running) await this.#api.must("signal", "POST", path);
    return found?.State.Running ?? false;
  }

  async destroy(handle: TaskHandle): Promise<void> {
    if (isStarting(handle) && !await this.recover(handle)) return;
    const state = handle.state as unknown as PodmanState;
    const task = this.#tasks.get(handle.id);
    if (this.#options.removesContainers) {
      if (task && task.exit === null) await this.#kill(task, "SIGKILL");
      await task?.logs?.drain();
      await this.#remove(state.containerId);
    } else {
      await this.stop(handle, { killSignal: "SIGKILL", timeoutMs: 10_000 });
    }
    await task?.logs?.close();
    this.#tasks.delete(handle.id);
    this.#arrangeTimer();
    rmSync(state.runDir, { recursive: true, force: true });
  }

  async signal(handle: TaskHandle, name: string): Promise<void> {
    if (signalNumber(name) === null) throw unknownSignal("signal", name);
    const task = await this.#known("signal", handle);
    if (task.exit !== null || !await this.#kill(task, name)) {
      throw new DriverError("signal", `Cannot signal ${handle.id}: it is not running`, false);
    }
  }

  async usage(handle: TaskHandle): Promise<TaskUsage> {
    const { state } = await this.#known("usage", handle);
    const path = `/containers/stats?containers=${state.containerId}&stream=false`;
    const [stats, found] = await Promise.all([
      this.#api.must("measure", "GET", path),
      this.#inspect("measure", state.containerId),
    ]);
    const { Stats } = stats.body as {
      Stats?: { MemUsage: number; CPUNano: number; CPUSystemNano: number }[] | null;
    };
    const one = Stats?.[0];
    if (!one || !found?.State.Running) throw new DriverError("usage", `${handle.id} does not run`, false);
    return {
      memoryRssBytes: one.MemUsage,
      memoryUsageBytes: one.MemUsage,
      cpuUserNs: Math.max(0, one.CPUNano - one.CPUSystemNano),
      cpuSystemNs: one.CPUSystemNano,
      pids: containerPids(found.State.Pid),
      timestampMs: Date.now(),
    };
  }

  async exec(
    handle: TaskHandle,
    options: { command: string[]; tty: boolean; env: Record<string, string> },
  ): Promise<ExecSession> {
    const { state, exit } = await this.#known("exec", handle);
    if (exit !== null) throw new DriverError("exec", `Cannot exec in ${handle.id}: it is not running`, false);
    return await execInContainer(this.#api, state.containerId, options);
  }
}

interface PodmanInfo {
  version?: { Version?: string };
  host?: {
    cgroupVersion?: string;
    ociRuntime?: { name?: string };
    security?: { rootless?: boolean; apparmorEnabled?: boolean; selinuxEnabled?: boolean };
  };
}

function attributesOf(info: PodmanInfo): Record<string, string> {
  const known: Record<string, string | boolean | undefined> = {
    version: info.version?.Version,
    rootless: info.host?.security?.rootless,
    cgroupVersion: info.host?.cgroupVersion,
    ociRuntime: info.host?.ociRuntime?.name,
    appArmor: info.host?.security?.apparmorEnabled,
    seLinux: info.host?.security?.selinuxEnabled,
  };
  const attributes: Record<string, string> = { "driver.podman": "true" };
  for (const [key, value] of Object.entries(known)) {
    if (value !== undefined) attributes[`driver.podman.${key}`] = String(value);
  }
  return attributes;
}

/** Created but never started containers have no exit to tell. */
function hasEnded(found: Inspected): boolean {
  return found.State.Status === "exited" || found.State.Status === "stopped";
}

/** Processes of a container, from the cgroup its first one is in. */
function containerPids(mainPid: number): number[] {
  const mounts = readProc("/proc/mounts") ?? "";
  for (const line of (readProc(`/proc/${mainPid}/cgroup`) ?? "").split("\n")) {
    const [, controllers = "", path] = line.split(":");
    if (!path || path === "/") continue;
    const root = controllers === ""
      ? findCgroupMounts(mounts).find((mount) => mount.version === 2)?.path
      : findControllerMount(mounts, controllers.split(",")[0]!);
    const pids = root ? cgroupPids(join(root, path)) : [];
    if (pids.includes(mainPid)) return pids;
  }
  return mainPid > 0 ? [mainPid] : [];
}

function hostCpu(): HostCpu {
  const cores = Math.max(1, cpus().length);
  const speeds = [...(readProc("/proc/cpuinfo") ?? "").matchAll(/^cpu MHz\s*:\s*([\d.]+)/gm)].map((m) =>
    Number(m[1])
  );
  return { cores, totalMhz: speeds.length > 0 ? speeds.reduce((sum, mhz) => sum + mhz, 0) : cores * 1000 };
}

/** Somebody else's process is there, too. */
function isSeen(pid: number): boolean {
  try {
    return sendSignal(pid, 0);
  } catch (error) {
    if ((error as { code?: string }).code === "EPERM") return true;
    throw error;
  }
}

function aborted(handle: TaskHandle): DriverError {
  return new DriverError("wait", `No longer waiting for ${handle.id}`, true);
}

function unknownSignal(op: string, name: string): DriverError {
  const known = Object.keys(constants.signals).slice(0, 3).join(", ");
  return new DriverError(op, `Unknown signal ${JSON.stringify(name)}`, false, `known are ${known} …`);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
