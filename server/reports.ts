// Devices' reports on their way into the log: batches them, so that a thousand devices' news cost one entry. While
// one entry is being made durable everything that arrives waits for the next. A report is acknowledged after its
// entry is committed, never before; a device sends again what was not acknowledged.
//
// Invariant: reports of one device enter the log in the order in which they came.
import type { Clock, Random } from "../core/env.ts";
import { errorText, NotLeaderError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { AllocUpdate } from "../core/protocol.ts";
import type { Allocation, Evaluation } from "../core/types.ts";
import type { Command } from "./commands.ts";
import { jobEvaluation } from "./evaluations.ts";
import { mayBeReplaced } from "./reschedule.ts";
import type { StateReader } from "./state_reader.ts";

/** Updates in one log entry at most: applying them is one piece of work, between which requests come through. */
const BATCH_MAX = 1024;
/** Updates waiting at most; beyond it devices' reports are left unacknowledged and come again. */
const QUEUE_MAX = 1_000_000;
const RETRY_DELAY_MS = 500;

export interface ReportsOptions {
  state: StateReader;
  clock: Clock;
  random: Random;
  logger: Logger;
  propose(command: Command): Promise<unknown>;
}

interface Report {
  updates: AllocUpdate[];
  acknowledge: () => void;
}

export class Reports {
  #queue: Report[] = [];
  #waiting = 0;
  #busy = false;
  #stopped = false;

  constructor(private readonly options: ReportsOptions) {}

  /** Takes one device's updates; `acknowledge` runs once they are durable. */
  add(updates: AllocUpdate[], acknowledge: () => void): void {
    if (this.#waiting + updates.length > QUEUE_MAX) return;
    this.#queue.push({ updates, acknowledge });
    this.#waiting += updates.length;
    if (this.#busy) return;
    this.#busy = true;
    // One turn of the event loop gathers what arrives together.
    this.options.clock.after(0, () => void this.#drain());
  }

  /** Forgets what waits: leadership is gone, the devices will report to the next leader. */
  clear(): void {
    this.#queue = [];
    this.#waiting = 0;
  }

  stop(): void {
    this.#stopped = true;
    this.clear();
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0 && !this.#stopped) {
      const batch = this.#take();
      const updates = batch.flatMap((report) => report.updates);
      const time = this.options.clock.nowMs() * 1e6;
      try {
        const evals = failureEvaluations(this.options.state, updates, {
          random: this.options.random,
          nowNs: time,
        });
        await this.options.propose({ kind: "alloc.client", time, updates, evals });
        for (const report of batch) report.acknowledge();
      } catch (error) {
        if (error instanceof NotLeaderError) {
          this.clear();
          break;
        }
        this.options.logger.warn(`Cannot write device reports, trying again: ${errorText(error)}`);
        this.#queue.unshift(...batch);
        this.#waiting += updates.length;
        await new Promise<void>((resolve) => this.options.clock.after(RETRY_DELAY_MS, resolve));
      }
    }
    this.#busy = false;
  }

  #take(): Report[] {
    let count = 0;
    let reports = 0;
    while (reports < this.#queue.length && (reports === 0 || count < BATCH_MAX)) {
      count += this.#queue[reports++]!.updates.length;
    }
    this.#waiting -= count;
    return this.#queue.splice(0, reports);
  }
}

/** One evaluation for every job of which an allocation newly failed, or came back after it was unknown. */
export function failureEvaluations(
  state: StateReader,
  updates: readonly AllocUpdate[],
  stamp: { random: Random; nowNs: number },
): Evaluation[] {
  const evals = new Map<string, Evaluation>();
  for (const update of updates) {
    const alloc = state.alloc(update.ID);
    const trigger = alloc && triggerOf(alloc, update, stamp.nowNs);
    const job = trigger ? state.job(alloc.Namespace, alloc.JobID) : undefined;
    if (!trigger || !job || job.Stop) continue;
    const key = `${job.Namespace}/${job.ID}`;
    if (!evals.has(key)) evals.set(key, jobEvaluation(job, trigger, stamp));
  }
  return [...evals.values()];
}

function triggerOf(alloc: Allocation, update: AllocUpdate, nowNs: number): string | undefined {
  if (alloc.ClientStatus === "unknown" && update.ClientStatus !== "unknown") return "reconnect";
  const newlyFailed = update.ClientStatus === "failed" && alloc.ClientStatus !== "failed";
  const asks = newlyFailed && alloc.DesiredStatus === "run" && !alloc.FollowupEvalID &&
    mayBeReplaced(alloc, nowNs);
  return asks ? "alloc-failure" : undefined;
}
