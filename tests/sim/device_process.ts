// A device under simulation: the real Session (client/session.ts) on a simulated clock and network, with a small model of
// what the client does with allocations: start, run, report, stop, keep going without servers, and come back.
//
// Two lives: power (tasks live as long as it is on) and the agent's process (tasks survive it). What the agent
// knows of its allocations is on its disk and survives both.
import { healthRules, HealthTracker } from "../../client/health.ts";
import { Session } from "../../client/session.ts";
import { silentLogger } from "../../core/logger.ts";
import type { AllocAssignment, AllocDelta, AllocUpdate } from "../../core/protocol.ts";
import type { ClientStatus, Job, Node, TaskGroup, TaskState } from "../../core/types.ts";
import type { SimDevice, SimTask } from "./contract.ts";
import type { Network } from "./network.ts";
import type { SimRandom } from "./random.ts";
import type { Watchers } from "./watchers.ts";
import { Life, Machine, type Skew, type World } from "./world.ts";

export interface DeviceFaults {
  /** Chance that a task that was started fails, some time later. */
  taskFailure: number;
  /** Longest a task takes to start, and to stop. */
  startMs: number;
  stopMs: number;
}

export interface DeviceSurroundings {
  world: World;
  network: Network;
  watchers: Watchers;
  faults: DeviceFaults;
  servers: string[];
}

type Phase = "pending" | "starting" | "running" | "stopping" | "complete" | "failed";

/** One allocation as the agent keeps it on its disk. */
class DeviceAlloc {
  phase: Phase = "pending";
  health: AllocUpdate["DeploymentStatus"] = null;
  startedAt = "";
  finishedAt = "";
  /** Its task, while it really runs. */
  task: SimTask | null = null;
  tracker: HealthTracker | null = null;
  cancelCutOff: (() => void) | null = null;
  forgetWhenDone = false;

  constructor(public assignment: AllocAssignment, public job: Job) {}

  get group(): TaskGroup {
    return this.job.TaskGroups.find((group) => group.Name === this.assignment.TaskGroup)!;
  }

  get isTerminal(): boolean {
    return this.phase === "complete" || this.phase === "failed";
  }

  get isBatch(): boolean {
    return this.job.Type === "batch" || this.job.Type === "sysbatch";
  }
}

const STATUS: Record<Phase, ClientStatus> = {
  pending: "pending",
  starting: "pending",
  running: "running",
  stopping: "running",
  complete: "complete",
  failed: "failed",
};

export class DeviceProcess implements SimDevice {
  readonly machine: Machine;
  readonly running = new Map<string, SimTask>();
  readonly #allocs = new Map<string, DeviceAlloc>();
  #power: Life | null = null;
  #agent: Life | null = null;
  #session: Session | null = null;
  readonly #random: SimRandom;

  constructor(readonly node: Node, skew: Skew, private readonly around: DeviceSurroundings) {
    this.#random = around.world.random.named(node.Name);
    this.machine = new Machine(node.Name, skew);
    around.network.add(this.machine);
  }

  get id(): string {
    return this.node.ID;
  }

  get name(): string {
    return this.node.Name;
  }

  get up(): boolean {
    return this.#agent !== null;
  }

  /** It has the address of one of them. */
  knows(servers: string[]): boolean {
    return this.#session?.servers.some((server) => servers.includes(server)) ?? false;
  }

  /** An operator changes the servers in its configuration. */
  setServers(servers: string[]): void {
    this.around.servers = servers;
    this.#session?.setServers(servers);
  }

  get hasPower(): boolean {
    return this.#power !== null;
  }

  get paused(): boolean {
    return this.#agent?.paused ?? false;
  }

  get connectedTo(): string {
    return this.#session?.connected ? this.#session.server : "";
  }

  get assigned(): ReadonlyMap<string, AllocAssignment> {
    return new Map([...this.#allocs].map(([id, alloc]) => [id, alloc.assignment]));
  }

  // ---- life ----

  start(): void {
    if (this.#agent) return;
    const { world, network, servers } = this.around;
    this.machine.powered = true;
    this.#power ??= new Life(world, this.machine);
    const agent = new Life(world, this.machine);
    this.#agent = this.machine.life = agent;
    this.#session = new Session({
      servers,
      clock: agent.clock,
      random: agent.random,
      logger: silentLogger,
      dial: network.dialFrom(agent),
      node: () => this.node,
      known: () => this.#known(),
      update: (id) => this.#update(id),
      onAllocs: (delta) => this.#onAllocs(delta),
      onConnection: (connected) => this.#onConnection(connected),
      onConfirmed: () => undefined,
      serve: () => new Response(null, { status: 404 }),
    });
    for (const alloc of this.#allocs.values()) this.#recover(alloc);
    this.#session.start();
  }

  /** The agent's process dies; tasks run on. */
  crashAgent(): void {
    this.#endAgent({ power: false });
  }

  /** Everything stops at once, nobody is told. */
  cutPower(): void {
    this.#endAgent({ power: true });
    if (!this.#power) return;
    this.around.world.kill(this.#power);
    this.#power = null;
    for (const alloc of this.#allocs.values()) this.#taskGone(alloc);
  }

  #endAgent({ power }: { power: boolean }): void {
    const agent = this.#agent;
    this.machine.powered = !power;
    if (!agent) return;
    this.around.watchers.count("device crashes");
    this.around.world.kill(agent);
    this.around.network.died(agent, this.machine);
    this.#agent = null;
    this.#session = null;
    for (const alloc of this.#allocs.values()) alloc.tracker = alloc.cancelCutOff = null;
  }

  pause(): void {
    if (this.#agent) this.#agent.paused = true;
  }

  resume(): void {
    if (this.#agent) this.around.world.resume(this.#agent);
  }

  // ---- what servers say ----

  #known(): Record<string, number> {
    return Object.fromEntries([...this.#allocs].map(([id, a]) => [id, a.assignment.AllocModifyIndex]));
  }

  #onAllocs(delta: AllocDelta): void {
    for (const assignment of delta.upserts) this.#assign(assignment, delta.jobs[assignment.job]!);
    for (const id of delta.removed) {
      const alloc = this.#allocs.get(id);
      if (!alloc) continue;
      alloc.forgetWhenDone = true;
      this.#stop(alloc);
    }
  }

  #assign(assignment: AllocAssignment, job: Job): void {
    const known = this.#allocs.get(assignment.ID);
    if (!known) {
      const alloc = new DeviceAlloc(assignment, job);
      this.#allocs.set(assignment.ID, alloc);
      if (assignment.DesiredStatus === "run") this.#begin(alloc);
      else this.#stop(alloc);
      return;
    }
    if (known.assignment.DeploymentID !== assignment.DeploymentID) {
      // Another deployment asks for its health anew.
      known.tracker?.stop();
      known.tracker = known.health = null;
    }
    known.assignment = assignment;
    known.job = job;
    if (assignment.DesiredStatus !== "run") this.#stop(known);
    else if (known.phase === "running") this.#watchHealth(known);
    if (assignment.ClientStatus === "unknown" || assignment.ClientStatus === "lost") {
      this.#session!.repeat(assignment.ID);
    }
  }

  // ---- tasks ----

  #begin(alloc: DeviceAlloc): void {
    const { world, faults } = this.around;
    alloc.phase = "starting";
    this.#changed(alloc);
    world.schedule(this.#random.tail(5, faults.startMs), this.#agent, `${this.name} task`, () => {
      if (alloc.phase === "starting") this.#run(alloc);
    });
  }

  #run(alloc: DeviceAlloc): void {
    const { world, watchers, faults } = this.around;
    const { assignment } = alloc;
    const task: SimTask = {
      allocId: assignment.ID,
      job: `${assignment.Namespace}/${assignment.JobID}`,
      allocName: assignment.Name,
      startedMs: world.nowMs,
      stoppedMs: null,
    };
    alloc.phase = "running";
    alloc.startedAt = this.#now();
    alloc.task = task;
    this.running.set(task.allocId, task);
    watchers.taskStarted(this, task);
    // Nobody replaces a failed allocation of a system job, as in the reference: its restarts are the device's affair.
    const fails = alloc.job.Type !== "system" && this.#random.chance(faults.taskFailure);
    if (fails || alloc.isBatch) {
      const afterMs = this.#random.tail(20, fails ? 30_000 : 8000);
      world.schedule(afterMs, this.#power, `${this.name} task ends`, () => this.#ended(alloc, task, fails));
    }
    this.#changed(alloc);
    this.#watchHealth(alloc);
  }

  /** By itself. The agent may be dead: it finds out when it is back. */
  #ended(alloc: DeviceAlloc, task: SimTask, failed: boolean): void {
    if (alloc.task !== task) return;
    this.#taskGone(alloc);
    alloc.phase = failed ? "failed" : "complete";
    alloc.finishedAt = this.#now();
    this.#changed(alloc);
    this.#observe(alloc);
  }

  #stop(alloc: DeviceAlloc): void {
    const { world, faults } = this.around;
    if (alloc.isTerminal) return this.#maybeForget(alloc);
    if (alloc.phase === "stopping") return;
    if (!alloc.task) return this.#finish(alloc);
    alloc.phase = "stopping";
    world.schedule(this.#random.tail(5, faults.stopMs), this.#agent, `${this.name} task stops`, () => {
      if (alloc.phase === "stopping") this.#finish(alloc);
    });
  }

  #finish(alloc: DeviceAlloc): void {
    this.#taskGone(alloc);
    alloc.phase = "complete";
    alloc.finishedAt = this.#now();
    this.#changed(alloc);
    this.#maybeForget(alloc);
  }

  #maybeForget(alloc: DeviceAlloc): void {
    if (!alloc.forgetWhenDone) return;
    this.#allocs.delete(alloc.assignment.ID);
    this.#session?.forget(alloc.assignment.ID);
  }

  #taskGone(alloc: DeviceAlloc): void {
    const { task } = alloc;
    if (!task) return;
    alloc.task = null;
    task.stoppedMs = this.around.world.nowMs;
    this.running.delete(task.allocId);
    this.around.watchers.taskStopped(this, task);
  }

  /** A new agent process finds an allocation on its disk. */
  #recover(alloc: DeviceAlloc): void {
    const { forgetWhenDone, phase } = alloc;
    if (alloc.isTerminal) return this.#changed(alloc);
    if (forgetWhenDone || alloc.assignment.DesiredStatus !== "run" || phase === "stopping") {
      alloc.phase = alloc.task ? "running" : "pending";
      this.#stop(alloc);
    } else if (alloc.task) {
      this.#changed(alloc);
      this.#watchHealth(alloc);
    } else this.#begin(alloc);
    this.#stopWhenCutOff(alloc);
  }

  // ---- health ----

  #watchHealth(alloc: DeviceAlloc): void {
    const rules = healthRules(alloc.job, alloc.group, alloc.assignment.DeploymentID);
    if (!rules || rules.mode === "manual" || alloc.health || alloc.tracker || !this.#agent) return;
    alloc.tracker = new HealthTracker({
      rules,
      clock: this.#agent.clock,
      decide: (healthy) => {
        alloc.health = { Healthy: healthy, Timestamp: this.#now() };
        this.#changed(alloc);
      },
    });
    this.#observe(alloc);
  }

  #observe(alloc: DeviceAlloc): void {
    alloc.tracker?.observe({
      up: alloc.phase === "running",
      failed: alloc.phase === "failed",
      checksPass: true,
      restarts: 0,
    });
  }

  // ---- reports ----

  #changed(alloc: DeviceAlloc): void {
    this.#session?.changed(alloc.assignment.ID);
  }

  #update(id: string): AllocUpdate | undefined {
    const alloc = this.#allocs.get(id);
    if (!alloc) return undefined;
    const status = STATUS[alloc.phase];
    const ended = status === "complete" || status === "failed";
    const tasks: Record<string, TaskState> = {};
    for (const task of alloc.group.Tasks) {
      tasks[task.Name] = {
        State: status === "pending" ? "pending" : ended ? "dead" : "running",
        Failed: status === "failed",
        Restarts: 0,
        LastRestart: null,
        StartedAt: alloc.startedAt || null,
        FinishedAt: alloc.finishedAt || null,
        Paused: "",
        Events: [],
      };
    }
    return {
      ID: id,
      ClientStatus: status,
      ClientDescription: "",
      TaskStates: tasks,
      DeploymentStatus: alloc.health,
      NetworkStatus: null,
    };
  }

  #now(): string {
    const life = this.#agent ?? this.#power;
    return new Date(life?.clock.nowMs() ?? 0).toISOString();
  }

  // ---- connection ----

  #onConnection(connected: boolean): void {
    for (const alloc of this.#allocs.values()) {
      if (!connected) this.#stopWhenCutOff(alloc);
      else {
        alloc.cancelCutOff?.();
        alloc.cancelCutOff = null;
      }
    }
  }

  #stopWhenCutOff(alloc: DeviceAlloc): void {
    const { Disconnect, StopAfterClientDisconnect } = alloc.group;
    const afterNs = Disconnect?.StopOnClientAfter ?? StopAfterClientDisconnect;
    if (afterNs === null || afterNs === undefined || alloc.isTerminal || !this.#agent) return;
    alloc.cancelCutOff = this.#agent.clock.after(afterNs / 1e6, () => this.#stop(alloc));
  }
}
