// The leader's work on one server: LeaderLoops wired to the ServerContext, and whether it runs. One piece to start at an
// election and to stop when it is lost; nothing in it is durable, all of it is rebuilt from state.
import type { Logger } from "../core/logger.ts";
import type { Job } from "../core/types.ts";
import type { DryRun, ServerContext } from "./context.ts";
import { LeaderLoops } from "./leader_loops.ts";
import type { Scheduling } from "./scheduling.ts";
import type { Changes } from "./state_reader.ts";

export class Leader {
  active = false;
  readonly #loops: LeaderLoops;

  constructor(context: ServerContext, logger: Logger) {
    const { config } = context;
    this.#loops = new LeaderLoops({
      state: context.state,
      clock: context.clock,
      random: context.random,
      logger,
      nowNs: () => context.nowNs(),
      propose: (command, options) => context.propose(command, options),
    }, config);
  }

  get scheduling(): Scheduling {
    return this.#loops.scheduling;
  }

  start(): void {
    this.active = true;
    this.#loops.start();
  }

  stop(): void {
    if (!this.active) return;
    this.active = false;
    this.#loops.stop();
  }

  onChanges(changes: Changes): void {
    this.#loops.onChanges(changes);
  }

  /** A sign of life of the node; returns in how many milliseconds the next is due. */
  beat(nodeId: string): number {
    return this.#loops.beat(nodeId);
  }

  /** How much work waits, for metrics. */
  queues() {
    const { broker, blocked, plans, workers } = this.scheduling;
    const stats = broker.stats();
    return {
      broker: { ready: stats.ready, unacked: stats.unacked, pending: stats.waiting, waiting: stats.delayed },
      blocked: { total: blocked.size, escaped: blocked.escaped },
      planQueueDepth: plans.inFlight,
      heartbeatsActive: this.#loops.heartbeats.active,
      samples: workers.samples.all(),
    };
  }

  dryRun(job: Job, options: { annotate: boolean }): DryRun {
    return this.#loops.dryRun(job, options);
  }

  collectGarbage(): Promise<void> {
    return this.#loops.collectGarbage();
  }
}
