// Carries out what task.ts decides for one task: prepares its directory, asks the driver, waits, keeps one timer,
// and stores every change before the next thing happens. Decides nothing itself. One input is handled to its end
// before the next (steps are synchronous), and what finishes late for an older run is recognised by its run number.
import { DriverError, errorText } from "../core/errors.ts";
import type { Clock, Random } from "../core/env.ts";
import type { Logger } from "../core/logger.ts";
import type { Task } from "../core/types.ts";
import type { Driver, ExitResult, TaskHandle, TaskSpec, TaskUsage } from "../drivers/driver.ts";
import type { StoredTask } from "./local_state.ts";
import { type FailureOutcome, step, type TaskEffect, type TaskInput, type TaskMachine } from "./task.ts";
import * as events from "./task_events.ts";
import type { Draft } from "./task_events.ts";

/** Thrown by `prepare`: `draft` is the line of the history that says what failed. */
export class PrepareError extends Error {
  override readonly name = "PrepareError";
  constructor(readonly draft: Draft, readonly outcome: FailureOutcome, options?: ErrorOptions) {
    super(draft.DisplayMessage, options);
  }
}

export interface TaskRunnerOptions {
  allocId: string;
  name: string;
  task: Task;
  driver: Driver | undefined;
  clock: Clock;
  random: Random;
  logger: Logger;
  stored: StoredTask;
  /** Directory, payload, artifacts, templates. Rejects with PrepareError. */
  prepare(runner: TaskRunner, signal: AbortSignal): Promise<void>;
  /** The spec of one start; `id` is fresh. Throws PrepareError. */
  spec(runner: TaskRunner, id: string): TaskSpec;
  maxKillTimeoutMs: number;
  /** Resolves when all that `changed` stored is written, or could not be (which the state has logged). */
  flush(): Promise<void>;
  /** Something changed: store it, report it, let the group decide. */
  changed(runner: TaskRunner): void;
}

export class TaskRunner {
  readonly name: string;
  task: Task;
  machine: TaskMachine;
  handle: TaskHandle | null;
  templateEnv: Record<string, string>;
  #run = 0;
  #cancelTimer: (() => void) | undefined;
  #preparing: AbortController | undefined;
  #waiting = new AbortController();
  #detached = false;
  #starting: Promise<void> = Promise.resolve();

  constructor(private readonly options: TaskRunnerOptions) {
    this.name = options.name;
    this.task = options.task;
    this.machine = options.stored.machine;
    this.handle = options.stored.handle;
    this.templateEnv = options.stored.templateEnv;
  }

  get stored(): StoredTask {
    return { machine: this.machine, handle: this.handle, templateEnv: this.templateEnv };
  }

  get isDead(): boolean {
    return this.machine.phase === "dead";
  }

  get driver(): Driver | undefined {
    return this.options.driver;
  }

  /** The process exists, as far as is known. */
  get isRunning(): boolean {
    return this.machine.api.State === "running";
  }

  /** Feeds one input and carries out what follows. */
  input(input: TaskInput): void {
    if (this.#detached) return;
    const { clock, random } = this.options;
    const { state, effects } = step(this.machine, input, { nowMs: clock.nowMs(), random: random.float() });
    const before = this.machine;
    this.machine = state;
    if (state.api.Events !== before.api.Events) this.#logEvents(before);
    if (state !== before) this.options.changed(this);
    for (const effect of effects) this.#carryOut(effect);
  }

  note(draft: Draft): void {
    this.input({ t: "note", draft });
  }

  /** After the agent's restart: finds the task again or learns how it ended. */
  async recover(): Promise<void> {
    const { phase } = this.machine;
    const mayRun = phase === "starting" || phase === "running" || phase === "delaying" ||
      phase === "stopping";
    if (!mayRun) return this.input({ t: "recovered" });
    if (!this.handle || !(await this.#driverKnows(this.handle))) return this.input({ t: "lost" });
    this.input({ t: "recovered" });
    this.#awaitExit(this.handle);
  }

  async signal(name: string, reason = ""): Promise<void> {
    if (!this.isRunning || !this.handle || !this.options.driver) throw new Error("Task not running");
    this.note(events.signaling(name, reason));
    await this.options.driver.signal(this.handle, name);
  }

  async usage(): Promise<TaskUsage | null> {
    if (!this.isRunning || !this.handle || !this.options.driver) return null;
    return await this.options.driver.usage(this.handle);
  }

  /** Lets the task run on without us: the agent stops. Resolves when a start under way is stored. */
  detach(): Promise<void> {
    this.#detached = true;
    this.#cancelTimer?.();
    this.#preparing?.abort();
    this.#waiting.abort();
    return this.#starting;
  }

  /** The history is the device's log, too. */
  #logEvents(before: TaskMachine): void {
    const known = new Set(before.api.Events);
    for (const event of this.machine.api.Events.filter((e) => !known.has(e))) {
      const { allocId, logger } = this.options;
      const log = event.FailsTask ? logger.warn : logger.info;
      log("task event", { alloc: allocId, task: this.name, type: event.Type, msg: event.DisplayMessage });
    }
  }

  #carryOut(effect: TaskEffect): void {
    switch (effect.e) {
      case "prepare":
        return void this.#prepare();
      case "abortPrepare":
        return this.#preparing?.abort();
      case "start":
        this.#starting = this.#start();
        return;
      case "stop":
        return void this.#stop(effect.timeoutNs / 1e6);
      case "timer":
        this.#cancelTimer = this.options.clock.after(effect.delayNs / 1e6, () => {
          this.#cancelTimer = undefined;
          this.input({ t: "timer" });
        });
        return;
      case "cancelTimer":
        this.#cancelTimer?.();
        this.#cancelTimer = undefined;
        return;
      case "destroy":
        return void this.#destroy();
    }
  }

  async #prepare(): Promise<void> {
    const controller = new AbortController();
    this.#preparing = controller;
    try {
      await this.options.prepare(this, controller.signal);
      if (!controller.signal.aborted) this.input({ t: "prepared" });
    } catch (error) {
      if (controller.signal.aborted) return;
      const failure = error instanceof PrepareError
        ? { draft: error.draft, outcome: error.outcome }
        : { draft: events.setupFailure(errorText(error)), outcome: "retry" as const };
      this.input({ t: "prepareFailed", ...failure });
    }
  }

  async #start(): Promise<void> {
    const run = ++this.#run;
    const { driver } = this.options;
    try {
      if (!driver) {
        throw new DriverError(
          "start",
          `failed to start task: this agent has no driver ${JSON.stringify(this.task.Driver)}`,
          false,
        );
      }
      const id = this.options.random.uuid().slice(0, 8);
      const spec = this.options.spec(this, id);
      const invalid = driver.validate(spec.config);
      if (invalid.length > 0) {
        throw new PrepareError(events.validationFailure(configErrors(invalid)), "unrecoverable");
      }
      // Stored before the start: whoever finds a running task without a handle can look for this id.
      this.handle = {
        driver: driver.name,
        id: spec.id,
        state: { starting: true, logsDir: spec.logs.dir, taskDir: spec.taskDir },
      };
      this.options.changed(this);
      await this.options.flush();
      const handle = await driver.start(spec, (message) => this.note(events.driverMessage(message)));
      if (run !== this.#run) return;
      this.handle = handle;
      // The agent stops meanwhile: the next one recovers the task as `starting`, with this handle.
      if (this.#detached) return this.options.changed(this);
      this.input({ t: "started" });
      this.#awaitExit(handle);
    } catch (error) {
      if (run !== this.#run) return;
      this.handle = null;
      this.input({ t: "startFailed", ...startFailure(error) });
    }
  }

  #awaitExit(handle: TaskHandle): void {
    const run = this.#run;
    const { driver } = this.options;
    if (!driver || this.#detached) return;
    driver.wait(handle, this.#waiting.signal).then(
      (result) => result,
      (error): ExitResult => ({ exitCode: -1, signal: 0, oomKilled: false, error: errorText(error) }),
    ).then((result) => {
      if (run === this.#run && !this.#detached) this.input({ t: "exited", result });
    });
  }

  async #stop(timeoutMs: number): Promise<void> {
    const { driver, maxKillTimeoutMs } = this.options;
    if (!driver || !this.handle) return;
    // Images expect the container world's default, everything else gets Nomad's.
    const fallback = driver.capabilities.filesystem === "image" ? "SIGTERM" : "SIGINT";
    try {
      await driver.stop(this.handle, {
        killSignal: this.task.KillSignal || fallback,
        timeoutMs: Math.min(timeoutMs, maxKillTimeoutMs),
      });
    } catch (error) {
      this.input({ t: "stopFailed", message: `Cannot stop the task: ${errorText(error)}` });
    }
  }

  async #destroy(): Promise<void> {
    const handle = this.handle;
    if (!handle || !this.options.driver) return;
    try {
      // The driver forgets the exit only when we cannot forget it any more.
      await this.options.flush();
      await this.options.driver.destroy(handle);
    } catch (error) {
      this.options.logger.warn("driver could not clean up after a task", {
        task: handle.id,
        error: errorText(error),
      });
    }
  }

  async #driverKnows(handle: TaskHandle): Promise<boolean> {
    const { driver, logger } = this.options;
    if (!driver) return false;
    try {
      const found = await driver.recover(handle);
      // It may have completed the handle of a start that the agent did not live to see.
      if (found) this.options.changed(this);
      return found;
    } catch (error) {
      logger.warn("task could not be recovered", { task: handle.id, error: errorText(error) });
      return false;
    }
  }
}

/** As the reference lists them; people search for its first line. */
function configErrors(errors: string[]): string {
  return listErrors(["failed to parse config: ", ...errors]);
}

/** Several errors in one text, laid out as the API's clients know it. */
export function listErrors(lines: readonly string[]): string {
  const head = lines.length === 1 ? "1 error occurred:" : `${lines.length} errors occurred:`;
  return `${head}\n${lines.map((line) => `\t* ${line}\n`).join("")}\n`;
}

function startFailure(error: unknown): { draft: Draft; recoverable: boolean } {
  if (error instanceof PrepareError) return { draft: error.draft, recoverable: error.outcome === "retry" };
  if (error instanceof DriverError) {
    const hint = error.hint === "" ? "" : `: ${error.hint}`;
    return { draft: events.driverFailure(error.message + hint), recoverable: error.recoverable };
  }
  return { draft: events.driverFailure(errorText(error)), recoverable: false };
}
