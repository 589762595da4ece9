// Everything that runs on the leader only, as one: scheduling, heartbeats, deployments, drains, periodic jobs, garbage
// collection. start() at an election, stop() when it is lost; all of it is rebuilt from state, none of it is durable.
//
// Invariant: onChanges is called once for every applied command, before anybody else hears of it.
import type { Job } from "../core/types.ts";
import type { DryRun } from "./context.ts";
import { DeploymentWatcher } from "./deployments.ts";
import { Drainer } from "./drainer.ts";
import { dryRun } from "./dry_run.ts";
import { GarbageCollector, type GcThresholds } from "./gc.ts";
import { Heartbeats, type HeartbeatTimes } from "./heartbeats.ts";
import { Periodic } from "./periodic.ts";
import { type LeaderContext, Scheduling } from "./scheduling.ts";
import type { Changes } from "./state_reader.ts";

export interface LeaderConfig extends HeartbeatTimes {
  gc: GcThresholds;
}

export class LeaderLoops {
  readonly scheduling: Scheduling;
  readonly heartbeats: Heartbeats;
  readonly #deployments: DeploymentWatcher;
  readonly #drainer: Drainer;
  readonly #periodic: Periodic;
  readonly #collector: GarbageCollector;

  constructor(private readonly context: LeaderContext, config: LeaderConfig) {
    this.scheduling = new Scheduling(context);
    this.heartbeats = new Heartbeats(context, config);
    this.#deployments = new DeploymentWatcher(context);
    this.#drainer = new Drainer(context);
    this.#periodic = new Periodic(context);
    this.#collector = new GarbageCollector(context, config.gc);
  }

  start(): void {
    this.heartbeats.start();
    this.scheduling.start();
    this.#deployments.start();
    this.#drainer.start();
    this.#periodic.start();
    this.#collector.start();
  }

  stop(): void {
    this.#collector.stop();
    this.#periodic.stop();
    this.#drainer.stop();
    this.#deployments.stop();
    this.scheduling.stop();
    this.heartbeats.stop();
  }

  onChanges(changes: Changes): void {
    // First: holds of plans end in the call that applies them.
    this.scheduling.onChanges(changes);
    this.heartbeats.onChanges(changes);
    this.#deployments.onChanges(changes);
    this.#drainer.onChanges(changes);
    this.#periodic.onChanges(changes);
  }

  /** A sign of life of the node; returns in how many milliseconds the next is due. */
  beat(nodeId: string): number {
    return this.heartbeats.beat(nodeId);
  }

  dryRun(job: Job, options: { annotate: boolean }): DryRun {
    const { state, random } = this.context;
    return dryRun(state, job, {
      ...options,
      random,
      nowNs: this.context.nowNs(),
      overlay: this.scheduling.plans.overlay,
    });
  }

  /** Collects whatever is over, now, without regard to age. */
  collectGarbage(): Promise<void> {
    return this.#collector.collect(true);
  }
}
