// A leader's scheduling on a real State in one process: a log that applies in the next microtask, a clock that only moves
// when a test moves it, and devices that a test plays.
import type { Clock } from "../../core/env.ts";
import { silentLogger } from "../../core/logger.ts";
import { formatTime } from "../../core/time.ts";
import {
  type Allocation,
  type DesiredTransition,
  type Evaluation,
  type Job,
  type Node,
  ZERO_TIME,
} from "../../core/types.ts";
import type { Command } from "../../server/commands.ts";
import { jobEvaluation, nodeEvaluations, type Stamp } from "../../server/evaluations.ts";
import { failureEvaluations } from "../../server/reports.ts";
import { type LeaderConfig, LeaderLoops } from "../../server/leader_loops.ts";
import type { LeaderContext, Scheduling } from "../../server/scheduling.ts";
import { FAILED_BY_USER, failureOf } from "../../server/rollback.ts";
import { State } from "../../server/state.ts";
import { makeUpdate, T0 } from "../state/fixtures.ts";
import { SeededRandom } from "./fixtures.ts";

/** Time stands still until `advance`. */
export class ManualClock implements Clock {
  #nowMs = T0 / 1e6;
  #timers: { atMs: number; run: () => void; seq: number }[] = [];
  #seq = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, run, seq: this.#seq++ };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Time passes without anybody running: the process was stopped. */
  jump(ms: number): void {
    this.#nowMs += ms;
  }

  /** Runs what is due up to `ms` later, in order, letting promises settle in between. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      await settle();
      const next = this.#timers.filter((timer) => timer.atMs <= untilMs)
        .sort((a, b) => a.atMs - b.atMs || a.seq - b.seq)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
    this.#nowMs = untilMs;
    await settle();
  }
}

/** Lets everything that only waits for microtasks happen. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 200; i++) await Promise.resolve();
}

/** No heartbeat is ever missed, nothing is ever collected, unless a test asks for it. */
const NEVER: LeaderConfig = {
  heartbeatTtlMinMs: 1e12,
  heartbeatGraceMs: 0,
  heartbeatsPerSecondMax: 50,
  heartbeatTtlFailoverMs: 1e12,
  gc: { intervalMs: 1e12, jobMs: 1e12, evalMs: 1e12, batchEvalMs: 1e12, deploymentMs: 1e12, nodeMs: 1e12 },
};

export class Cluster {
  readonly state = new State();
  readonly clock = new ManualClock();
  readonly random: SeededRandom;
  readonly context: LeaderContext;
  readonly loops: LeaderLoops;
  readonly commands: Command[] = [];

  constructor(seed = 1, config: LeaderConfig = NEVER) {
    this.random = new SeededRandom(seed);
    this.context = {
      state: this.state,
      clock: this.clock,
      random: this.random,
      logger: silentLogger,
      nowNs: () => this.clock.nowMs() * 1e6,
      propose: (command) => this.#propose(command),
    };
    this.loops = new LeaderLoops(this.context, config);
    this.state.onChanges((changes) => this.loops.onChanges(changes));
    this.loops.start();
  }

  get scheduling(): Scheduling {
    return this.loops.scheduling;
  }

  get stamp(): Stamp {
    return { random: this.random, nowNs: this.context.nowNs() };
  }

  /** Thrown by the next proposals, first to last; null lets one through. */
  readonly failures: (Error | null)[] = [];

  async #propose(command: Command): Promise<{ index: number }> {
    await Promise.resolve();
    const failure = this.failures.shift();
    if (failure) throw failure;
    return this.apply(command);
  }

  apply(command: Command): { index: number } {
    this.commands.push(command);
    const index = this.state.index + 1;
    // As it comes out of a log: nothing may depend on sharing objects with the proposer.
    const result = this.state.apply(index, JSON.parse(JSON.stringify(command)) as Command);
    if (result.refused) throw new Error(`refused: ${result.refused.message}`);
    return { index };
  }

  async run(): Promise<void> {
    await this.clock.advance(0);
  }

  async addNodes(...nodes: Node[]): Promise<void> {
    for (const node of nodes) {
      const evals = nodeEvaluations(this.state, node, this.stamp);
      this.apply({ kind: "node.register", time: this.context.nowNs(), node, evals });
    }
    await this.run();
  }

  async register(job: Job): Promise<Evaluation> {
    const evaluation = jobEvaluation(job, "job-register", this.stamp);
    this.apply({
      kind: "job.register",
      time: this.context.nowNs(),
      job,
      submission: null,
      evals: [evaluation],
    });
    await this.run();
    return this.state.eval(evaluation.ID)!;
  }

  async stop(id: string, purge = false): Promise<Evaluation> {
    const job = this.state.job("default", id)!;
    const evaluation = jobEvaluation(job, "job-deregister", this.stamp);
    this.apply({
      kind: "job.deregister",
      time: this.context.nowNs(),
      namespace: "default",
      id,
      purge,
      noShutdownDelay: false,
      evals: [evaluation],
    });
    await this.run();
    return this.state.eval(evaluation.ID)!;
  }

  async nodeStatus(id: string, status: Node["Status"]): Promise<void> {
    const node = this.state.node(id)!;
    const evals = nodeEvaluations(this.state, node, this.stamp);
    this.apply({
      kind: "node.status",
      time: this.context.nowNs(),
      updates: [{ id, status, event: null }],
      evals,
    });
    await this.run();
  }

  /** `deadlineNs`: 0 for none, below for at once. */
  async drain(id: string, deadlineNs: number, ignoreSystem = false): Promise<void> {
    const nowNs = this.context.nowNs();
    this.apply({
      kind: "node.drain",
      time: nowNs,
      id,
      drain: {
        Deadline: deadlineNs,
        IgnoreSystemJobs: ignoreSystem,
        ForceDeadline: deadlineNs > 0 ? formatTime(nowNs + deadlineNs) : ZERO_TIME,
        StartedAt: formatTime(nowNs),
      },
      markEligible: false,
      meta: null,
      accessorId: "",
      event: null,
      evals: [],
    });
    await this.run();
  }

  async undrain(id: string): Promise<void> {
    this.apply({
      kind: "node.drain",
      time: this.context.nowNs(),
      id,
      drain: null,
      markEligible: true,
      meta: null,
      accessorId: "",
      event: null,
      evals: nodeEvaluations(this.state, this.state.node(id)!, this.stamp),
    });
    await this.run();
  }

  async eligibility(id: string, eligibility: "eligible" | "ineligible"): Promise<void> {
    const node = this.state.node(id)!;
    const evals = eligibility === "eligible" ? nodeEvaluations(this.state, node, this.stamp) : [];
    this.apply({ kind: "node.eligibility", time: this.context.nowNs(), id, eligibility, event: null, evals });
    await this.run();
  }

  /** What `alloc stop` and forced rescheduling ask for. */
  async transition(allocs: Allocation[], transition: Partial<DesiredTransition>): Promise<void> {
    const jobs = new Set(allocs.map((alloc) => alloc.JobID));
    this.apply({
      kind: "alloc.transition",
      time: this.context.nowNs(),
      transitions: Object.fromEntries(allocs.map((alloc) => [alloc.ID, transition])),
      evals: [...jobs].flatMap((id) => {
        const job = this.state.job("default", id);
        return job ? [jobEvaluation(job, "alloc-stop", this.stamp)] : [];
      }),
    });
    await this.run();
  }

  /** Promotes all canaries of the job's newest deployment. */
  async promote(jobId: string): Promise<void> {
    this.apply({
      kind: "deployment.promote",
      time: this.context.nowNs(),
      id: this.state.latestDeployment("default", jobId)!.ID,
      groups: null,
      evals: [this.#watcherEvaluation(jobId)],
    });
    await this.run();
  }

  async setDeployment(jobId: string, status: "failed" | "paused" | "running"): Promise<void> {
    const deployment = this.state.latestDeployment("default", jobId)!;
    const failure = status === "failed" ? failureOf(this.state, deployment, FAILED_BY_USER) : null;
    const said = status === "paused" ? "Deployment is paused" : "Deployment is running";
    this.apply({
      kind: "deployment.status",
      time: this.context.nowNs(),
      id: deployment.ID,
      status,
      description: failure?.description ?? said,
      evals: status === "paused" ? [] : [this.#watcherEvaluation(jobId)],
      ...(failure?.job ? { job: failure.job } : {}),
    });
    await this.run();
  }

  #watcherEvaluation(jobId: string): Evaluation {
    return jobEvaluation(this.state.job("default", jobId)!, "deployment-watcher", this.stamp);
  }

  /** A device's report on some allocations. */
  async report(
    allocs: Iterable<Allocation>,
    status: Allocation["ClientStatus"],
    more: { healthy?: boolean } = {},
  ): Promise<void> {
    const nowMs = this.clock.nowMs();
    const at = new Date(nowMs).toISOString();
    const updates = [...allocs].map((alloc) =>
      makeUpdate(alloc.ID, status, {
        TaskStates: {
          t: {
            State: status === "running" ? "running" : "dead",
            Failed: status === "failed",
            Restarts: 0,
            LastRestart: null,
            StartedAt: at,
            FinishedAt: status === "running" ? null : at,
            Paused: "",
            Events: [],
          },
        },
        DeploymentStatus: more.healthy === undefined ? null : { Healthy: more.healthy, Timestamp: at },
      })
    );
    const evals = failureEvaluations(this.state, updates, this.stamp);
    this.apply({ kind: "alloc.client", time: this.context.nowNs(), updates, evals });
    await this.run();
  }

  allocs(jobId: string): Allocation[] {
    return [...this.state.allocsByJob("default", jobId)].sort((a, b) =>
      a.Name < b.Name ? -1 : a.Name > b.Name ? 1 : 0
    );
  }

  /** Those that are wanted and not over. */
  live(jobId: string): Allocation[] {
    return this.allocs(jobId).filter((alloc) =>
      alloc.DesiredStatus === "run" && !["complete", "failed", "lost"].includes(alloc.ClientStatus)
    );
  }

  evals(jobId: string): Evaluation[] {
    return [...this.state.evalsByJob("default", jobId)];
  }
}
