// Runs one allocation: its directories, its tasks in the order of their lifecycle, its health for a deployment, its
// services, and the one status that servers see. Follows the servers' wish (DesiredStatus) and never writes it.
//
// Invariants: every change is stored before it is reported; decisions are taken one after the other (#decide is not
// re-entered); when all tasks are dead the allocation is terminal and only `destroy` is left.
import type { AllocUpdate } from "../core/protocol.ts";
import type { Clock, Random } from "../core/env.ts";
import { errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { ClientStatus, Job, Node, Task, TaskGroup } from "../core/types.ts";
import type { Driver } from "../drivers/driver.ts";
import {
  type AllocDirs,
  allocDirs,
  makeAllocDirs,
  makeTaskDirs,
  moveStickyData,
  removeAllocDirs,
  taskDirs,
} from "./alloc_dir.ts";
import type { ClientConfig } from "./config.ts";
import { portsOf } from "./env.ts";
import {
  type HealthRules,
  healthRules,
  HealthTracker,
  type UnhealthyReason,
  unhealthyText,
} from "./health.ts";
import { decideGroup, groupIsUp, groupStatus, type Member } from "./lifecycle.ts";
import type { DeviceAllocation, LocalState, StoredAllocation } from "./local_state.ts";
import type { AllocServices, ServiceSink } from "./services.ts";
import { TaskSchedules } from "./schedule.ts";
import { createTask, type TaskRules } from "./task.ts";
import * as events from "./task_events.ts";
import { listErrors, PrepareError, TaskRunner } from "./task_runner.ts";
import { buildSpec, refusals, type SpecInput, taskEnv } from "./task_spec.ts";

/** What an allocation needs of its device. */
export interface AllocationHost {
  config: ClientConfig;
  drivers: Map<string, Driver>;
  clock: Clock;
  random: Random;
  logger: Logger;
  state: LocalState;
  hostEnv: Record<string, string>;
  services: ServiceSink;
  node(): Node;
  /** Its update is to be sent. */
  changed(runner: AllocationRunner): void;
  /** The predecessor if it is on this device. */
  local(allocId: string): AllocationRunner | undefined;
  allocations(): AllocationRunner[];
  /** Asks the servers' API over the device's connection. */
  fetch(request: Request): Promise<Response>;
}

export class AllocationRunner {
  alloc: DeviceAllocation;
  group: TaskGroup;
  readonly tasks = new Map<string, TaskRunner>();
  readonly dirs: AllocDirs;
  /** Services and checks, once there are any. */
  services: AllocServices | undefined;
  #health: StoredAllocation["health"];
  #tracker: HealthTracker | undefined;
  #healthRules: HealthRules | undefined;
  #stopping = false;
  #ready = false;
  #deciding = false;
  #again = false;
  #timers = new Map<"shutdown" | "duration", () => void>();
  readonly schedules: TaskSchedules;
  #whenDone: (() => void)[] = [];
  #detached = false;
  /** When it became terminal, ms since 1970. */
  finishedAtMs = 0;

  constructor(private readonly host: AllocationHost, stored: StoredAllocation) {
    this.alloc = stored.alloc;
    this.group = findGroup(stored.alloc);
    this.dirs = allocDirs(host.config.allocDir, stored.alloc.ID);
    this.#health = stored.health;
    const { nowMs } = host.clock;
    for (const task of this.group.Tasks) {
      this.tasks.set(
        task.Name,
        new TaskRunner({
          name: task.Name,
          task,
          driver: host.drivers.get(task.Driver),
          clock: host.clock,
          random: host.random,
          logger: host.logger,
          allocId: stored.alloc.ID,
          maxKillTimeoutMs: host.config.maxKillTimeoutMs,
          stored: stored.tasks[task.Name] ??
            { machine: createTask(taskRules(this.alloc.Job, task), nowMs()), handle: null, templateEnv: {} },
          prepare: (runner, signal) => this.#prepareTask(runner, signal),
          spec: (runner, id) => buildSpec(this.#specInput(runner), id),
          flush: () => host.state.flush().catch(() => undefined),
          changed: (runner) => this.#taskChanged(runner),
        }),
      );
    }
    this.schedules = new TaskSchedules(() => this.tasks.values(), host.clock);
    if (this.isTerminal) this.finishedAtMs = nowMs();
  }

  get id(): string {
    return this.alloc.ID;
  }

  get isTerminal(): boolean {
    return this.#runners().every((runner) => runner.isDead);
  }

  get status(): { status: ClientStatus; description: string } {
    return groupStatus(this.#members());
  }

  /** What servers are told, whole. */
  get update(): AllocUpdate {
    const { status, description } = this.status;
    return {
      ID: this.id,
      ClientStatus: status,
      ClientDescription: description,
      TaskStates: Object.fromEntries(this.#runners().map((runner) => [runner.name, runner.machine.api])),
      DeploymentStatus: this.#health,
      NetworkStatus: { InterfaceName: "", Address: "", AddressIPv6: "", DNS: null },
    };
  }

  /** Starts a new allocation. */
  async start(): Promise<void> {
    this.host.state.putAllocation(this.alloc, this.#health);
    for (const runner of this.tasks.values()) this.host.state.putTask(this.id, runner.name, runner.stored);
    this.host.changed(this);
    if (this.alloc.DesiredStatus !== "run") return this.#beginStop();
    try {
      await this.#takeOver();
      if (this.isTerminal) return;
      await makeAllocDirs(this.dirs);
    } catch (error) {
      const draft = events.setupFailure(`failed to build allocation directory: ${errorText(error)}`);
      for (const runner of this.tasks.values()) {
        runner.input({ t: "kill", draft, failed: true, noShutdownDelay: true });
      }
      return;
    }
    this.#makeReady();
  }

  /** Goes on with what ran before the agent's restart. */
  async recover(): Promise<void> {
    // It still waited for its predecessor, or had only just arrived.
    if (this.#runners().every((runner) => runner.machine.phase === "waiting")) return await this.start();
    await makeAllocDirs(this.dirs);
    await Promise.all(this.#runners().map((runner) => runner.recover()));
    if (this.alloc.DesiredStatus !== "run") this.#stopping = true;
    this.host.changed(this);
    this.#makeReady();
  }

  /** A new wish of the servers: stop, another version in place, another deployment. */
  assign(alloc: DeviceAllocation): void {
    const before = this.alloc;
    this.alloc = alloc;
    if (before.DeploymentID !== alloc.DeploymentID) {
      this.#health = null;
      this.#tracker?.stop();
      this.#tracker = undefined;
    }
    if (before.Job.Version !== alloc.Job.Version || before.Job.JobModifyIndex !== alloc.Job.JobModifyIndex) {
      this.#adoptJob();
    } // A promoted canary has other tags.
    else if (before.DeploymentStatus?.Canary !== alloc.DeploymentStatus?.Canary) this.services?.changed();
    this.host.state.putAllocation(alloc, this.#health);
    if (alloc.DesiredStatus !== "run") this.#beginStop();
    else this.#decide();
  }

  /** Ends all tasks at once, whatever the servers' wish says: the allocation was removed or the device is cut off. */
  kill(): void {
    this.#endTimers();
    this.#stopping = true;
    for (const runner of this.tasks.values()) {
      runner.input({ t: "kill", draft: null, failed: false, noShutdownDelay: true });
    }
  }

  /** Restarts one task, all running ones ("" with all = false), or all of them from the first. */
  restart(task: string, all: boolean): void {
    if (this.alloc.DesiredStatus !== "run" || this.isTerminal) {
      throw new Error("restart of an alloc that should not run");
    }
    if (task !== "" && !this.tasks.has(task)) throw new Error(`Could not find task runner for task: ${task}`);
    const wanted = this.#runners().filter((runner) => task === "" || runner.name === task);
    const alive = wanted.filter((runner) => runner.isRunning || runner.machine.phase === "backoff");
    if (alive.length === 0 && !all) throw new Error("Task not running");
    const what = all ? "all tasks" : task === "" ? "running tasks" : "task";
    const reason = `User requested ${what} to restart`;
    for (const runner of alive) runner.input({ t: "restart", reason, countsAsFailure: false });
    if (!all) return;
    for (const runner of wanted.filter((r) => r.isDead)) runner.input({ t: "revive", reason });
    this.#decide();
  }

  async signal(task: string, name: string): Promise<void> {
    if (task !== "" && !this.tasks.has(task)) throw new Error("Task not found");
    if (task !== "") return await this.tasks.get(task)!.signal(name);
    const errors: string[] = [];
    for (const runner of this.#runners()) {
      await runner.signal(name).catch((error) =>
        errors.push(`Failed to signal task: ${runner.name}, err: ${errorText(error)}`)
      );
    }
    if (errors.length > 0) throw new Error(listErrors(errors));
  }

  /** Resolves when every task is dead. */
  done(): Promise<void> {
    return this.isTerminal ? Promise.resolve() : new Promise((resolve) => this.#whenDone.push(resolve));
  }

  /** Removes all that is left of a terminal allocation. */
  async destroy(): Promise<void> {
    this.host.state.removeAllocation(this.id);
    await removeAllocDirs(this.dirs);
  }

  /** The agent stops: tasks run on. Resolves when starts under way are stored. */
  async detach(): Promise<void> {
    this.#detached = true;
    this.#endTimers();
    this.#tracker?.stop();
    this.services?.detach();
    await Promise.all(this.#runners().map((runner) => runner.detach()));
  }

  // --- Tasks ---------------------------------------------------------------------------------------------------

  #taskChanged(runner: TaskRunner): void {
    this.host.state.putTask(this.id, runner.name, runner.stored);
    if (this.#detached) return;
    this.#observe();
    if (this.isTerminal && this.finishedAtMs === 0) this.#finish();
    this.host.changed(this);
    this.#decide();
  }

  #decide(): void {
    if (!this.#ready && !this.#stopping) return;
    this.#again = true;
    if (this.#deciding) return;
    this.#deciding = true;
    while (this.#again) {
      this.#again = false;
      for (const action of decideGroup(this.#members(), this.#stopping)) {
        const runner = this.tasks.get(action.task)!;
        if (action.a === "open") runner.input({ t: "open" });
        else {
          const noShutdownDelay = this.alloc.DesiredTransition?.NoShutdownDelay === true;
          runner.input({ t: "kill", draft: action.draft, failed: false, noShutdownDelay });
        }
      }
    }
    this.#deciding = false;
  }

  #makeReady(): void {
    if (this.#detached) return;
    // Before anybody's turn comes: what is outside of its times does not start.
    if (!this.#stopping) this.schedules.follow();
    this.#ready = true;
    if (!this.#stopping && this.group.MaxRunDuration !== null) this.#limitDuration(this.group.MaxRunDuration);
    this.#observe();
    this.#decide();
    if (this.isTerminal && this.finishedAtMs === 0) this.#finish();
  }

  #finish(): void {
    this.finishedAtMs = this.host.clock.nowMs();
    this.#endTimers();
    this.#tracker?.stop();
    this.services?.stop();
    for (const resolve of this.#whenDone.splice(0)) resolve();
  }

  #beginStop(): void {
    // Nothing of it has begun: there is nothing to stop in order, and nothing for poststop to clean up.
    if (!this.#ready && !this.#stopping) return this.kill();
    if (this.#stopping) return this.#decide();
    this.services?.stop();
    const delayNs = this.group.ShutdownDelay ?? 0;
    const begin = () => {
      this.#endTimers();
      this.#stopping = true;
      this.#decide();
    };
    const skip = this.alloc.DesiredTransition?.NoShutdownDelay === true ||
      !this.status.status.startsWith("run");
    if (delayNs === 0 || skip) return begin();
    if (!this.#timers.has("shutdown")) {
      this.#timers.set("shutdown", this.host.clock.after(delayNs / 1e6, begin));
    }
  }

  #limitDuration(durationNs: number): void {
    const leftMs = durationNs / 1e6 - (this.host.clock.nowMs() - this.alloc.CreateTime / 1e6);
    this.#timers.set(
      "duration",
      this.host.clock.after(Math.max(0, leftMs), () => {
        for (const runner of this.tasks.values()) {
          const draft = events.ranTooLong(runner.task.KillTimeout);
          runner.input({ t: "kill", draft, failed: false, noShutdownDelay: true });
        }
      }),
    );
  }

  #endTimers(): void {
    this.schedules.stop();
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  /** The same group in another version of the job, updated in place: rules and services change, tasks run on. */
  #adoptJob(): void {
    this.group = findGroup(this.alloc);
    for (const task of this.group.Tasks) {
      const runner = this.tasks.get(task.Name);
      if (!runner) continue;
      runner.task = task;
      runner.input({ t: "rules", rules: taskRules(this.alloc.Job, task) });
    }
    this.services?.changed();
    if (this.#ready && !this.#stopping) this.schedules.follow();
  }

  // --- Preparing -----------------------------------------------------------------------------------------------

  /** Waits for the predecessor on this device (it may hold ports) and takes its sticky data over. */
  async #takeOver(): Promise<void> {
    // The message that brings this allocation may stop others: that is to be known first.
    await Promise.resolve();
    const previous = this.host.local(this.alloc.PreviousAllocation);
    const before = this.host.allocations().filter((other) =>
      other !== this && this.#mustWaitFor(other, previous)
    );
    await Promise.all(before.map((other) => other.done()));
    const { Migrate, Sticky } = this.group.EphemeralDisk;
    if (!previous && Migrate && Sticky && this.alloc.PreviousAllocation !== "") await this.#fetchDisk();
    if (!previous?.isTerminal || !Sticky || this.isTerminal) return;
    await moveStickyData(previous.dirs, this.dirs, this.group.Tasks.map((task) => task.Name));
  }

  /** The predecessor was on another device. */
  async #fetchDisk(): Promise<void> {
    const { clock, fetch } = this.host;
    const { fetchDisk } = await import("./disk_transfer.ts");
    const isWanted = () => !this.isTerminal && !this.#detached;
    const problem = await fetchDisk(
      { fetch, clock, isWanted },
      this.alloc.PreviousAllocation,
      this.dirs,
      this.group.Tasks.map((task) => task.Name),
    );
    if (problem === null) return;
    const text =
      `Data of the previous allocation could not be brought over, the disk starts empty: ${problem}`;
    for (const runner of this.tasks.values()) runner.note(events.hookMessage(text));
  }

  /** Predecessors that end, and whatever else ends and holds a port of ours. A predecessor that is to run on does not. */
  #mustWaitFor(other: AllocationRunner, previous: AllocationRunner | undefined): boolean {
    if (other.isTerminal) return false;
    // Its data is to be moved, which cannot be done under a running task.
    if (other === previous && this.group.EphemeralDisk.Sticky) return true;
    const ends = other.alloc.DesiredStatus !== "run" || other.status.status === "failed";
    if (!ends) return false;
    if (other === previous) return true;
    const ports = new Set(other.hostPorts);
    return this.hostPorts.some((port) => ports.has(port));
  }

  get hostPorts(): string[] {
    const { AllocatedResources } = this.alloc;
    const own = Object.keys(AllocatedResources.Tasks).flatMap((task) => portsOf(AllocatedResources, task));
    return own.map((port) => `${port.hostIp}:${port.value}`);
  }

  async #prepareTask(runner: TaskRunner, signal: AbortSignal): Promise<void> {
    const refused = refusals({
      config: this.host.config,
      group: this.group,
      task: runner.task,
      job: this.alloc.Job,
      driver: runner.driver,
    });
    if (refused.length > 0) throw new PrepareError(events.hookFailed(refused.join("; ")), "unrecoverable");
    if (!runner.driver) return;
    const dirs = taskDirs(this.dirs.root, runner.name);
    await makeTaskDirs(dirs, runner.task.User);
    const { task } = runner;
    if (!task.DispatchPayload && !task.Artifacts?.length && !task.Templates?.length) return;
    // Few tasks need these: their code is not loaded for the others.
    const { prepareFiles } = await import("./task_files.ts");
    runner.templateEnv = await prepareFiles({
      task,
      job: this.alloc.Job,
      dirs,
      allocDirs: this.dirs,
      env: taskEnv(this.#specInput(runner)),
      node: this.host.node(),
      note: (draft) => runner.note(draft),
      signal,
      nowMs: this.host.clock.nowMs(),
      disableFileSandbox: this.host.config.disableFileSandbox,
      again: runner.machine.prepared,
    });
  }

  #specInput(runner: TaskRunner): SpecInput {
    if (!runner.driver) throw new Error(`this agent has no driver ${JSON.stringify(runner.task.Driver)}`);
    return {
      config: this.host.config,
      node: this.host.node(),
      alloc: this.alloc,
      group: this.group,
      task: runner.task,
      driver: runner.driver,
      dirs: this.dirs,
      taskDirs: taskDirs(this.dirs.root, runner.name),
      templateEnv: runner.templateEnv,
      hostEnv: this.host.hostEnv,
    };
  }

  // --- Health and services -------------------------------------------------------------------------------------

  /** Called after every change of a task or a check. */
  #observe(): void {
    if (this.#stopping || this.#detached) return;
    const members = this.#members();
    if (this.#hasServices() && (this.services || members.some((m) => m.machine.api.State === "running"))) {
      void this.#updateServices();
    }
    if (this.#health !== null) return;
    if (!this.#tracker) {
      const rules = healthRules(this.alloc.Job, this.group, this.alloc.DeploymentID);
      if (!rules || !this.#ready) return;
      this.#healthRules = rules;
      this.#tracker = new HealthTracker({
        rules,
        clock: this.host.clock,
        decide: (healthy, reason) => this.#decideHealth(healthy, reason),
      });
    }
    this.#tracker.observe({
      up: groupIsUp(members),
      failed: members.some((m) => m.machine.phase === "dead" && m.machine.api.Failed),
      checksPass: !this.#hasServices() || this.services?.checksPass === true,
      restarts: members.reduce((sum, m) => sum + m.machine.api.Restarts, 0),
    });
  }

  #decideHealth(healthy: boolean, reason: UnhealthyReason): void {
    this.#health = { Healthy: healthy, Timestamp: new Date(this.host.clock.nowMs()).toISOString() };
    this.host.state.putAllocation(this.alloc, this.#health);
    if (!healthy) this.#noteUnhealthy(reason);
    this.host.changed(this);
  }

  #noteUnhealthy(reason: UnhealthyReason): void {
    for (const { name, task, machine } of this.#members()) {
      if (task.Lifecycle?.Hook === "poststop") continue;
      // After a failure only the task that failed says so.
      if (reason === "failed" && !machine.api.Failed) continue;
      const isRunning = machine.phase === "running";
      this.tasks.get(name)!.note(events.allocUnhealthy(unhealthyText(reason, isRunning, this.#healthRules!)));
    }
  }

  #hasServices(): boolean {
    return (this.group.Services?.length ?? 0) > 0 ||
      this.group.Tasks.some((t) => (t.Services?.length ?? 0) > 0);
  }

  async #updateServices(): Promise<void> {
    if (!this.services) {
      const { AllocServices } = await import("./services.ts");
      if (this.#stopping || this.#detached || this.isTerminal) return;
      if (!this.services) {
        this.services = new AllocServices(this, this.host, () => this.#observe());
        this.services.changed();
        // Without checks nothing else would look again, and the group would never be healthy.
        return this.#observe();
      }
    }
    this.services.changed();
  }

  /** Environment of a task for services and checks; null when its driver is missing. */
  taskText(name: string): ((text: string) => string) | null {
    const runner = this.tasks.get(name);
    return runner?.driver ? taskEnv(this.#specInput(runner)).text : null;
  }

  #runners(): TaskRunner[] {
    return [...this.tasks.values()];
  }

  #members(): Member[] {
    return this.#runners().map((r) => ({ name: r.name, task: r.task, machine: r.machine }));
  }
}

function findGroup(alloc: DeviceAllocation): TaskGroup {
  const group = alloc.Job.TaskGroups.find((g) => g.Name === alloc.TaskGroup);
  if (!group) throw new Error(`Allocation ${alloc.ID}: job ${alloc.JobID} has no group ${alloc.TaskGroup}`);
  return group;
}

/** Restart and stop rules of a task; hooks that must finish are restarted on failure only. */
function taskRules(job: Job, task: Task): TaskRules {
  const group = job.TaskGroups.find((g) => g.Tasks.includes(task));
  const policy = task.RestartPolicy ?? group!.RestartPolicy;
  const hook = task.Lifecycle?.Hook ?? "";
  const isService = hook === "" ? job.Type === "service" || job.Type === "system" : task.Lifecycle!.Sidecar;
  return {
    policy,
    restartOnSuccess: isService,
    killTimeoutNs: task.KillTimeout,
    shutdownDelayNs: task.ShutdownDelay,
  };
}
