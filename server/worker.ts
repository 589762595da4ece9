// Drives scheduling on the leader: takes evaluations from the broker, runs the scheduler, hands plans on, and acks when
// they are applied. Schedules in the very turn in which an evaluation arrives, several ahead of the log: what plans in
// flight hold is in the overlay, so they need not wait for each other.
//
// Never schedules two evaluations of one job at a time (the broker's invariant), never longer than a slice of time
// without letting heartbeats and requests through.
import type { Clock, Random } from "../core/env.ts";
import { errorText, NotLeaderError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Evaluation } from "../core/types.ts";
import type { BlockedEvals } from "./blocked.ts";
import type { Broker } from "./broker.ts";
import { onlyBlocksAgain } from "./finish.ts";
import type { PlanQueue } from "./plan.ts";
import type { Plan } from "./plan_builder.ts";
import { Samples } from "./samples.ts";
import { schedule } from "./schedule.ts";
import type { StateReader } from "./state_reader.ts";

/** Time for scheduling before the event loop has its turn. */
const SLICE_MS = 4;
/** Plans on their way through the log at a time. */
const IN_FLIGHT_MAX = 128;
/** Runs of one evaluation whose plan was cut, before it is given back. */
const CUTS_MAX = 5;

export interface WorkersOptions {
  state: StateReader;
  clock: Clock;
  random: Random;
  logger: Logger;
  broker: Broker;
  blocked: BlockedEvals;
  plans: PlanQueue;
  nowNs(): number;
  /** An evaluation that only goes on waiting. */
  blockAgain(evaluation: Evaluation): void;
  /** Evaluations came back to the broker by ack or nack. */
  settled(): void;
}

export class Workers {
  /** How long scheduling runs took, milliseconds, by kind of job. */
  readonly samples = new Samples();
  #running = false;
  #planned = false;
  #paused = false;
  #inFlight = 0;
  /** Evaluations to run again, their plan was only a part. */
  #again: { id: string; cuts: number }[] = [];
  /** Changes with every start: what an earlier term left behind is not acked into this one. */
  #term = 0;

  constructor(private readonly options: WorkersOptions) {}

  start(): void {
    this.#running = true;
    this.#term++;
    this.kick();
  }

  stop(): void {
    this.#running = false;
    this.#term++;
    this.#again = [];
    this.#inFlight = 0;
  }

  /** `pause_eval_broker`: nothing is scheduled until it is lifted. */
  pause(paused: boolean): void {
    this.#paused = paused;
    if (!paused) this.kick();
  }

  /** Schedules what is ready, right after the current turn. */
  kick(): void {
    if (!this.#running || this.#planned || this.#paused) return;
    this.#planned = true;
    queueMicrotask(() => this.#run());
  }

  #run(): void {
    this.#planned = false;
    const { broker, clock } = this.options;
    const deadline = clock.monotonicMs() + SLICE_MS;
    while (this.#running && !this.#paused && this.#inFlight < IN_FLIGHT_MAX) {
      const again = this.#again.pop();
      const evaluation = again ? { ID: again.id } : broker.dequeue();
      if (!evaluation) return;
      this.#process(evaluation.ID, again?.cuts ?? 0);
      if (clock.monotonicMs() < deadline || !(broker.hasReady || this.#again.length > 0)) continue;
      this.#planned = true;
      clock.after(0, () => this.#run());
      return;
    }
  }

  #process(id: string, cuts: number): void {
    const { state, broker, random, nowNs, plans, clock, logger } = this.options;
    const evaluation = state.eval(id);
    if (!evaluation || (evaluation.Status !== "pending" && evaluation.Status !== "blocked")) {
      broker.ack(id);
      return;
    }
    let plan: Plan;
    const beganMs = clock.monotonicMs();
    try {
      plan = schedule(state, evaluation, random, nowNs(), {
        overlay: plans.overlay,
        stopwatchNs: () => clock.monotonicMs() * 1e6,
      });
    } catch (error) {
      logger.error(`Evaluation ${id} of job ${evaluation.JobID} could not be scheduled: ${errorText(error)}`);
      broker.nack(id, clock.nowMs());
      this.options.settled();
      return;
    }
    this.samples.add(`nomad.nomad.worker.invoke_scheduler_${evaluation.Type}`, clock.monotonicMs() - beganMs);
    if (onlyBlocksAgain(plan)) {
      broker.ack(id);
      this.options.blockAgain(plan.evaluation);
      this.options.settled();
      return;
    }
    this.#inFlight++;
    void this.#commit(plan, cuts, this.#term);
  }

  async #commit(plan: Plan, cuts: number, term: number): Promise<void> {
    const { broker, clock, logger, plans } = this.options;
    const id = plan.evaluation.ID;
    try {
      const { rejected } = await plans.submit(plan);
      if (term !== this.#term) return;
      this.#inFlight--;
      if (!plan.more) broker.ack(id);
      else if (rejected > 0 && cuts + 1 >= CUTS_MAX) broker.nack(id, clock.nowMs());
      else this.#again.push({ id, cuts: rejected > 0 ? cuts + 1 : cuts });
    } catch (error) {
      if (term !== this.#term) return;
      this.#inFlight--;
      if (!(error instanceof NotLeaderError)) {
        logger.warn(`Plan of evaluation ${id} was not written, trying again: ${errorText(error)}`);
      }
      broker.nack(id, clock.nowMs());
    }
    this.options.settled();
    this.kick();
  }
}
