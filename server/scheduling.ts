// The leader's scheduling as one piece: broker, blocked evaluations, plan queue and workers, fed by the changes of every
// applied command. Nothing in it is durable: start() rebuilds it from state, stop() forgets it.
//
// Invariant: holds of a plan end before anything is scheduled on the state that contains the plan.
import type { Clock, Random } from "../core/env.ts";
import { errorText, NotLeaderError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Allocation, Evaluation, Job, Node } from "../core/types.ts";
import { isClientTerminal, isTerminal } from "./alloc_sets.ts";
import { BlockedEvals } from "./blocked.ts";
import { Broker, DELIVERIES_MAX, jobKeyOf } from "./broker.ts";
import type { Command } from "./commands.ts";
import { demandOf, groupDemand } from "./demand.ts";
import { jobEvaluation, newEvaluation } from "./evaluations.ts";
import { PlanQueue } from "./plan.ts";
import { isPreemptible, preemptionEnabled } from "./preempt.ts";
import type { Changes, StateReader } from "./state_reader.ts";
import { exhausted } from "./usage.ts";
import { Workers } from "./worker.ts";

/** Canceled evaluations are written in batches this far apart: nobody waits for them. */
const TIDY_DELAY_MS = 100;
/** A given-up evaluation is followed by another after one to ten minutes. */
const FOLLOW_UP_MIN_MS = 60_000;
const FOLLOW_UP_SPREAD_MS = 540_000;

type Ask = ReturnType<typeof groupDemand>;

/** Until what the log's disk refused is tried again. */
const REFUSED_RETRY_MS = 5000;

const SUPERSEDED = "canceled after more recent eval was processed";

export interface LeaderContext {
  state: StateReader;
  clock: Clock;
  random: Random;
  logger: Logger;
  nowNs(): number;
  propose(command: Command, options?: { patient?: boolean }): Promise<{ index: number }>;
}

export class Scheduling {
  readonly broker = new Broker();
  readonly blocked = new BlockedEvals();
  readonly plans: PlanQueue;
  readonly workers: Workers;
  #running = false;
  #cancelTimer: (() => void) | null = null;
  #timerMs = Infinity;
  #tidying = false;
  /** Counts starts: what was refused in an earlier one is not tried again in this one. */
  #start = 0;
  /** Nodes that take new allocations, as they were last seen. */
  #open = new Set<string>();
  #cancelable: Evaluation[] = [];
  /** Drivers, devices and networks of a node as they were when it was last seen here. */
  #offers = new Map<string, string>();

  constructor(private readonly context: LeaderContext) {
    const { broker, blocked } = this;
    this.plans = new PlanQueue(context);
    this.workers = new Workers({
      ...context,
      nowNs: () => context.nowNs(),
      broker,
      blocked,
      plans: this.plans,
      blockAgain: (evaluation) => this.#block(evaluation),
      settled: () => this.#settled(),
    });
  }

  /** Takes over everything the state says is open. */
  start(): void {
    this.#running = true;
    this.#start++;
    for (const node of this.context.state.nodes()) if (takesAllocations(node)) this.#open.add(node.ID);
    this.blocked.assumeRoomAt(this.context.state.tableIndex("nodes", "allocs"));
    for (const evaluation of this.context.state.evals()) this.#takeIn(evaluation);
    this.workers.pause(this.context.state.schedulerConfig().PauseEvalBroker);
    this.workers.start();
    this.#settled();
  }

  stop(): void {
    this.#running = false;
    this.workers.stop();
    this.broker.clear();
    this.blocked.clear();
    this.plans.clear();
    this.#offers.clear();
    this.#open.clear();
    this.#cancelable = [];
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#timerMs = Infinity;
  }

  onChanges(changes: Changes): void {
    this.plans.onChanges(changes);
    if (!this.#running) return;
    for (const evaluation of changes.evals) this.#takeIn(evaluation);
    for (const id of changes.removedEvals) this.#drop(id);
    for (const node of changes.removedNodes) this.#offers.delete(node.ID);
    this.#noticeRoom(changes);
    if (changes.schedulerConfig) this.workers.pause(changes.schedulerConfig.PauseEvalBroker);
    this.#mendStale(changes.allocs);
    this.#mendMissed(changes);
    this.#settled();
    this.workers.kick();
  }

  #takeIn(evaluation: Evaluation): void {
    switch (evaluation.Status) {
      case "pending":
        return this.broker.enqueue(evaluation, this.context.clock.nowMs());
      case "blocked":
        return this.#block(evaluation);
      case "complete":
      case "failed":
      case "canceled":
        this.blocked.untrack(evaluation);
        return this.broker.remove(evaluation.ID);
    }
  }

  #drop(id: string): void {
    this.broker.remove(id);
    if (this.blocked.size > 0) this.blocked.remove({ ID: id });
  }

  #block(evaluation: Evaluation): void {
    const { wake, duplicate } = this.blocked.block(evaluation);
    if (duplicate) this.#cancelable.push({ ...duplicate, StatusDescription: duplicateText(duplicate) });
    if (wake) this.broker.enqueue(evaluation, this.context.clock.nowMs());
  }

  /** Nodes that got room, by the changes of one command: blocked evaluations that could use it run again. */
  #noticeRoom(changes: Changes): void {
    const { state, clock } = this.context;
    const nodes = new Map<string, Node>();
    const addNodeOf = (alloc: Allocation) => {
      const node = state.node(alloc.NodeID);
      if (node) nodes.set(node.ID, node);
    };
    let changed = false;
    for (const node of changes.nodes) {
      if (node.Status !== "ready") continue;
      nodes.set(node.ID, node);
      changed ||= this.#changesFeasibility(node);
    }
    for (const alloc of changes.clientAllocs) if (isClientTerminal(alloc)) addNodeOf(alloc);
    for (const alloc of changes.removedAllocs) addNodeOf(alloc);
    const everywhere = changes.schedulerConfig !== null;
    if (everywhere) { for (const node of state.nodes()) nodes.set(node.ID, node); }
    if (nodes.size === 0) return;
    const slots = [...nodes.keys()].map((id) => state.nodeTable.slot(id));
    const woken = this.blocked.unblock({
      classes: new Set([...nodes.values()].map((node) => node.ComputedClass)),
      index: changes.index,
      changed,
      fits: (evaluation) => everywhere || this.#couldFit(evaluation, slots),
    });
    for (const evaluation of woken) this.broker.enqueue(evaluation, clock.nowMs());
  }

  /** Whether some group that the evaluation could not place has room on one of the slots. */
  #couldFit(evaluation: Evaluation, slots: readonly number[]): boolean {
    const { state } = this.context;
    const job = state.job(evaluation.Namespace, evaluation.JobID);
    if (!job) return true;
    this.plans.overlay.fit(state.nodeTable);
    const preempts = preemptionEnabled(job, state.schedulerConfig());
    return job.TaskGroups.some((group) => {
      if (evaluation.FailedTGAllocs && !evaluation.FailedTGAllocs[group.Name]) return false;
      const ask = groupDemand(group);
      return slots.some((slot) =>
        exhausted(state.nodeTable, this.plans.overlay, slot, ask) === null ||
        preempts && this.#couldMakeRoom(job, slot, ask)
      );
    });
  }

  /** Whether the group would fit if all that the job may push out were gone. */
  #couldMakeRoom(job: Job, slot: number, ask: Ask): boolean {
    const { state } = this.context;
    let { cpuMhz, memoryMb, diskMb } = ask;
    for (const alloc of state.allocsByNode(state.nodeTable.nodes[slot]!.ID)) {
      if (isTerminal(alloc) || !isPreemptible(alloc, job.Priority)) continue;
      const demand = demandOf(alloc.AllocatedResources);
      cpuMhz -= demand.cpuMhz;
      memoryMb -= demand.memoryMb;
      diskMb -= demand.diskMb;
    }
    return exhausted(state.nodeTable, this.plans.overlay, slot, { cpuMhz, memoryMb, diskMb }) === null;
  }

  #changesFeasibility(node: Node): boolean {
    const offer = JSON.stringify([
      Object.entries(node.Drivers).filter(([, info]) => info.Detected && info.Healthy).map(([name]) => name),
      node.NodeResources.Devices?.map((
        device,
      ) => [device.Vendor, device.Type, device.Name, device.Instances]),
      node.NodeResources.NodeNetworks,
    ]);
    if (this.#offers.get(node.ID) === offer) return false;
    this.#offers.set(node.ID, offer);
    return true;
  }

  /** A node may go down while a plan for it is in the log: whoever was placed there is looked at once more. */
  #mendStale(allocs: readonly Allocation[]): void {
    const { state, random } = this.context;
    const jobs = new Set<string>();
    for (const alloc of allocs) {
      if (alloc.DesiredStatus !== "run" || alloc.ClientStatus !== "pending") continue;
      const status = state.node(alloc.NodeID)?.Status;
      if (status === "ready" || status === "initializing") continue;
      jobs.add(`${alloc.Namespace}\0${alloc.JobID}`);
    }
    if (jobs.size === 0) return;
    const evals = [...jobs].flatMap((key) => {
      const [namespace, id] = key.split("\0") as [string, string];
      const job = state.job(namespace, id);
      return job ? [jobEvaluation(job, "node-update", { random, nowNs: this.context.nowNs() })] : [];
    });
    this.#write(evals, () => this.#mendStale(allocs.flatMap((alloc) => state.alloc(alloc.ID) ?? [])));
  }

  /** A system job may have been registered while the command that opened a node was in the log: neither knew the other. */
  #mendMissed({ nodes, evals, removedNodes }: Changes): void {
    for (const node of removedNodes) this.#open.delete(node.ID);
    const fresh = nodes.filter((node) => {
      const isNew = takesAllocations(node) && !this.#open.has(node.ID);
      if (!takesAllocations(node)) this.#open.delete(node.ID);
      else this.#open.add(node.ID);
      return isNew;
    });
    if (fresh.length === 0) return;
    const { state, random } = this.context;
    const told = new Set(evals.map(jobKeyOf));
    const stamp = { random, nowNs: this.context.nowNs() };
    const missed: Evaluation[] = [];
    for (const job of state.systemJobs()) {
      if (job.Stop || told.has(`${job.Namespace}\0${job.ID}`)) continue;
      missed.push(jobEvaluation(job, "node-update", stamp, { NodeID: fresh[0]!.ID }));
    }
    if (missed.length > 0) this.#writeEvals(missed);
  }

  #writeEvals(evals: Evaluation[]): void {
    this.#write(evals, () => this.#writeEvals(evals));
  }

  /** After anything that may have moved evaluations: the timer, and what has to be written about them. */
  #settled(): void {
    if (!this.#running) return;
    this.#armTimer();
    for (const evaluation of this.broker.takeCancelable()) this.#cancelable.push(evaluation);
    for (const evaluation of this.broker.takeFailed()) this.#giveUp(evaluation);
    if (this.#cancelable.length === 0 || this.#tidying) return;
    this.#tidying = true;
    this.context.clock.after(TIDY_DELAY_MS, () => this.#tidy());
  }

  #armTimer(): void {
    const dueMs = this.broker.nextDueMs;
    if (dueMs === null || dueMs >= this.#timerMs) return;
    this.#cancelTimer?.();
    this.#timerMs = dueMs;
    const delayMs = Math.min(Math.max(dueMs - this.context.clock.nowMs(), 0), 0x7fffffff);
    this.#cancelTimer = this.context.clock.after(delayMs, () => {
      this.#cancelTimer = null;
      this.#timerMs = Infinity;
      this.broker.admitDue(this.context.clock.nowMs());
      this.#armTimer();
      this.workers.kick();
    });
  }

  #tidy(): void {
    this.#tidying = false;
    if (!this.#running) return;
    const evals = this.#cancelable.splice(0).flatMap((evaluation): Evaluation[] => {
      const current = this.context.state.eval(evaluation.ID);
      if (!current || (current.Status !== "pending" && current.Status !== "blocked")) return [];
      return [{
        ...current,
        Status: "canceled",
        StatusDescription: evaluation.StatusDescription.startsWith("existing")
          ? evaluation.StatusDescription
          : SUPERSEDED,
        ModifyTime: this.context.nowNs(),
      }];
    });
    if (evals.length === 0) return;
    this.#write(evals, () => {
      this.#cancelable.push(...evals);
      this.#settled();
    });
  }

  #giveUp(evaluation: Evaluation): void {
    const { state, random } = this.context;
    const current = state.eval(evaluation.ID) ?? evaluation;
    const nowNs = this.context.nowNs();
    const followUp = newEvaluation({
      ID: random.uuid(),
      Namespace: current.Namespace,
      Priority: current.Priority,
      Type: current.Type,
      TriggeredBy: "failed-follow-up",
      JobID: current.JobID,
      JobModifyIndex: current.JobModifyIndex,
      Wait: (FOLLOW_UP_MIN_MS + random.int(FOLLOW_UP_SPREAD_MS)) * 1e6,
      PreviousEval: current.ID,
      CreateTime: nowNs,
    });
    const failed: Evaluation = {
      ...current,
      Status: "failed",
      StatusDescription: `evaluation reached delivery limit (${DELIVERIES_MAX})`,
      NextEval: followUp.ID,
      ModifyTime: nowNs,
    };
    this.#write([failed, followUp], () => this.#giveUp(evaluation));
  }

  /** `again`: how to try once more when the log's disk refused it. The next leader starts from the state anyway. */
  #write(evals: Evaluation[], again: () => void): void {
    const start = this.#start;
    const { clock, logger } = this.context;
    this.context.propose({ kind: "eval.upsert", time: this.context.nowNs(), evals }).catch((error) => {
      if (error instanceof NotLeaderError) return;
      logger.warn(`Cannot write the outcome of evaluations, trying again: ${errorText(error)}`);
      clock.after(REFUSED_RETRY_MS, () => this.#running && this.#start === start && again());
    });
  }
}

function takesAllocations(node: Node): boolean {
  return node.Status === "ready" && node.SchedulingEligibility === "eligible" && !node.DrainStrategy;
}

function duplicateText(evaluation: Evaluation): string {
  return `existing blocked evaluation exists for job ${JSON.stringify(evaluation.JobID)}`;
}
