// A driver without processes: the test says when a task ends. Keeps its tasks in a world that outlives one client,
// as processes outlive an agent.
import { DriverError } from "../../core/errors.ts";
import type {
  Driver,
  DriverCapabilities,
  DriverFingerprint,
  ExecSession,
  ExitResult,
  TaskHandle,
  TaskSpec,
  TaskUsage,
} from "../../drivers/driver.ts";

export interface FakeTask {
  spec: TaskSpec;
  exit: ExitResult | null;
  waiters: ((result: ExitResult) => void)[];
  signals: string[];
  stops: { killSignal: string; timeoutMs: number }[];
  destroyed: boolean;
}

export class FakeWorld {
  tasks = new Map<string, FakeTask>();

  /** The newest start of a task. */
  latest(task: string): FakeTask {
    const found = [...this.tasks.values()].filter((t) => t.spec.task === task).at(-1);
    if (!found) throw new Error(`task ${task} was never started`);
    return found;
  }

  starts(task: string): number {
    return [...this.tasks.values()].filter((t) => t.spec.task === task).length;
  }

  end(task: FakeTask, result: Partial<ExitResult> = {}): void {
    if (task.exit) return;
    task.exit = { exitCode: 0, signal: 0, oomKilled: false, ...result };
    for (const waiter of task.waiters.splice(0)) waiter(task.exit);
  }
}

export class FakeDriver implements Driver {
  readonly name: string;
  readonly capabilities: DriverCapabilities;
  /** Thrown by the next starts. */
  failures: DriverError[] = [];
  /** Starts begin their task and never return: the agent dies in between. */
  hangs = false;
  healthy = true;
  /** Tasks of this name do not end when they are stopped. */
  stubborn = new Set<string>();

  constructor(
    readonly world: FakeWorld,
    options: { name?: string; capabilities?: Partial<DriverCapabilities> } = {},
  ) {
    this.name = options.name ?? "fake";
    this.capabilities = { sendSignals: true, exec: false, filesystem: "none", ...options.capabilities };
  }

  fingerprint(): Promise<DriverFingerprint> {
    return Promise.resolve({
      detected: true,
      healthy: this.healthy,
      description: this.healthy ? "Healthy" : "its daemon is gone",
      attributes: { [`driver.${this.name}`]: "true" },
    });
  }

  validate(config: Record<string, unknown>): string[] {
    return Object.keys(config).filter((key) => key === "bad").map((key) =>
      `unknown key ${JSON.stringify(key)}`
    );
  }

  start(spec: TaskSpec, onEvent: (message: string) => void): Promise<TaskHandle> {
    const failure = this.failures.shift();
    if (failure) return Promise.reject(failure);
    if (spec.config.progress) onEvent(String(spec.config.progress));
    this.world.tasks.set(spec.id, {
      spec,
      exit: null,
      waiters: [],
      signals: [],
      stops: [],
      destroyed: false,
    });
    if (this.hangs) return new Promise(() => undefined);
    return Promise.resolve({ driver: this.name, id: spec.id, state: { known: true } });
  }

  recover(handle: TaskHandle): Promise<boolean> {
    const task = this.world.tasks.get(handle.id);
    const found = task !== undefined && !task.destroyed;
    if (found && handle.state.starting) handle.state = { known: true };
    return Promise.resolve(found);
  }

  wait(handle: TaskHandle, signal: AbortSignal): Promise<ExitResult> {
    const task = this.#task(handle);
    if (task.exit) return Promise.resolve(task.exit);
    return new Promise((resolve, reject) => {
      task.waiters.push(resolve);
      signal.addEventListener("abort", () => reject(new DriverError("wait", "aborted", false)));
    });
  }

  stop(handle: TaskHandle, options: { killSignal: string; timeoutMs: number }): Promise<void> {
    const task = this.#task(handle);
    task.stops.push(options);
    if (!this.stubborn.has(task.spec.task)) this.world.end(task, { exitCode: 130, signal: 2 });
    return Promise.resolve();
  }

  destroy(handle: TaskHandle): Promise<void> {
    this.#task(handle).destroyed = true;
    return Promise.resolve();
  }

  signal(handle: TaskHandle, name: string): Promise<void> {
    if (name === "SIGNOPE") return Promise.reject(new DriverError("signal", "unknown signal SIGNOPE", false));
    this.#task(handle).signals.push(name);
    return Promise.resolve();
  }

  usage(handle: TaskHandle): Promise<TaskUsage> {
    this.#task(handle);
    return Promise.resolve({
      memoryRssBytes: 1000,
      cpuUserNs: 0,
      cpuSystemNs: 0,
      pids: [4242],
      timestampMs: Date.now(),
    });
  }

  exec(): Promise<ExecSession> {
    return Promise.reject(new DriverError("exec", "not supported", false));
  }

  #task(handle: TaskHandle): FakeTask {
    const task = this.world.tasks.get(handle.id);
    if (!task) throw new DriverError("task", `unknown task ${handle.id}`, false);
    return task;
  }
}
