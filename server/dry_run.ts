// `job plan`: the same scheduler on the same state, but for one job that is looked at as if it were registered. Nothing
// is written. Pure.
import type { Random } from "../core/env.ts";
import type { Job } from "../core/types.ts";
import type { DryRun } from "./context.ts";
import { newEvaluation } from "./evaluations.ts";
import { sameSpec } from "./job_compare.ts";
import { schedule } from "./schedule.ts";
import type { StateReader } from "./state_reader.ts";
import type { UsageOverlay } from "./usage.ts";

export interface DryRunOptions {
  annotate: boolean;
  random: Random;
  nowNs: number;
  /** What plans in flight hold; left as it is. */
  overlay?: UsageOverlay;
}

export function dryRun(state: StateReader, job: Job, options: DryRunOptions): DryRun {
  const planned = asRegistered(state, job);
  const evaluation = newEvaluation({
    ID: options.random.uuid(),
    Namespace: job.Namespace,
    Priority: job.Priority,
    Type: job.Type,
    TriggeredBy: "job-register",
    JobID: job.ID,
    JobModifyIndex: planned.JobModifyIndex,
    AnnotatePlan: options.annotate,
    CreateTime: options.nowNs,
  });
  const plan = schedule(withJob(state, planned), evaluation, options.random, options.nowNs, {
    ...(options.overlay ? { overlay: options.overlay } : {}),
    placementsMax: Infinity,
    hypothetical: true,
  });
  return {
    plan: plan.result,
    evaluation: plan.evaluation,
    failed: plan.failed,
    createdEvals: plan.created,
  };
}

/** The record that registering would make; the known one when nothing changes. */
function asRegistered(state: StateReader, job: Job): Job {
  const known = state.job(job.Namespace, job.ID);
  if (known && sameSpec(known, job)) return known;
  const index = state.index + 1;
  return {
    ...job,
    Version: known ? known.Version + 1 : 0,
    CreateIndex: known ? known.CreateIndex : index,
    ModifyIndex: index,
    JobModifyIndex: index,
  };
}

/** The state with one job replaced. */
function withJob(state: StateReader, job: Job): StateReader {
  const find = (namespace: string, id: string) =>
    namespace === job.Namespace && id === job.ID ? job : state.job(namespace, id);
  return new Proxy(state, {
    get(target, property) {
      if (property === "job") return find;
      const value = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
