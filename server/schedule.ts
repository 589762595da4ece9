// The scheduler's door: one evaluation in, one plan out, without waiting for anything. Because it is synchronous the
// state cannot move under it, so it works on the live tables and no copy is needed.
//
// Invariants: equal state, evaluation, random numbers and time give an equal plan (AllocationTime aside, which comes
// from the stopwatch); the overlay is as it was before when the call returns.
import type { Random } from "../core/env.ts";
import type { Evaluation, Job } from "../core/types.ts";
import { finish } from "./finish.ts";
import { scheduleGeneric } from "./generic.ts";
import { type Plan, PlanBuilder } from "./plan_builder.ts";
import { algorithmOf } from "./scheduler_config.ts";
import type { StateReader } from "./state_reader.ts";
import { scheduleSystem } from "./system.ts";
import { UsageOverlay } from "./usage.ts";

export type { Plan } from "./plan_builder.ts";

export interface ScheduleOptions {
  /** What plans in flight hold; nothing when left out. */
  overlay?: UsageOverlay;
  placementsMax?: number;
  /** Places parents of periodic and parameterized jobs, too: `job plan` shows what a launch would do. */
  hypothetical?: boolean;
  /** Monotonic nanoseconds for AllocationTime; it reads 0 without. */
  stopwatchNs?: () => number;
}

/** One scheduling run, with everything it may look at. */
export interface ScheduleInput {
  state: StateReader;
  evaluation: Evaluation;
  random: Random;
  nowNs: number;
  overlay: UsageOverlay;
  placementsMax: number | null;
  algorithm: "binpack" | "spread";
  stopwatchNs?: () => number;
}

export function schedule(
  state: StateReader,
  evaluation: Evaluation,
  random: Random,
  nowNs: number,
  options: ScheduleOptions = {},
): Plan {
  const input: ScheduleInput = {
    state,
    evaluation,
    random,
    nowNs,
    overlay: options.overlay ?? new UsageOverlay(),
    placementsMax: options.placementsMax ?? null,
    algorithm: algorithmOf(state, state.job(evaluation.Namespace, evaluation.JobID)?.NodePool ?? "default"),
    ...(options.stopwatchNs ? { stopwatchNs: options.stopwatchNs } : {}),
  };
  const job = state.job(evaluation.Namespace, evaluation.JobID);
  if (job && !job.Stop && !options.hypothetical && isLaunchedOnly(job)) return planNothing(input, job);
  const type = job?.Type ?? evaluation.Type;
  return type === "system" || type === "sysbatch" ? scheduleSystem(input) : scheduleGeneric(input);
}

/** Parents of periodic and dispatched jobs never run themselves. */
function isLaunchedOnly(job: Job): boolean {
  return job.Periodic !== null || (job.ParameterizedJob !== null && !job.Dispatched);
}

function planNothing(input: ScheduleInput, job: Job): Plan {
  const { evaluation, nowNs, random, state } = input;
  return finish(new PlanBuilder(evaluation), {
    evaluation,
    job,
    nowNs,
    random,
    snapshotIndex: state.index,
    failed: {},
    queued: {},
    desired: {},
    deploymentId: "",
    more: false,
    classes: new Map(),
    escaped: false,
    followups: [],
    blocks: false,
    blockedNodeId: "",
  });
}
