// Scaling policies inside a job carry the indexes at which they came and last changed. This moves them from the
// version before into the next, so that a policy nobody touched stays as it was.
import { deepEqual } from "./job_compare.ts";
import type { Job, ScalingPolicy, TaskGroup } from "../core/types.ts";

/** All policies of a job's groups and tasks. */
export function scalingPolicies(job: Job): ScalingPolicy[] {
  const policies: ScalingPolicy[] = [];
  for (const group of job.TaskGroups) {
    if (group.Scaling) policies.push(group.Scaling);
    for (const task of group.Tasks) policies.push(...task.ScalingPolicies ?? []);
  }
  return policies;
}

/** `job` with its policies' indexes set: those of `previous` where the policy is the same, `index` where it is new. */
export function withPolicyIndexes(job: Job, previous: Job | undefined, index: number): Job {
  if (scalingPolicies(job).length === 0) return job;
  const known = new Map((previous ? scalingPolicies(previous) : []).map((policy) => [policy.ID, policy]));
  const stamp = (policy: ScalingPolicy): ScalingPolicy => {
    const old = known.get(policy.ID);
    if (!old) return { ...policy, CreateIndex: index, ModifyIndex: index };
    const kept = { ...policy, CreateIndex: old.CreateIndex, ModifyIndex: old.ModifyIndex };
    return deepEqual(kept, old) ? kept : { ...kept, ModifyIndex: index };
  };
  const groups = job.TaskGroups.map((group): TaskGroup => ({
    ...group,
    Scaling: group.Scaling && stamp(group.Scaling),
    Tasks: group.Tasks.map((task) => ({
      ...task,
      ScalingPolicies: task.ScalingPolicies && task.ScalingPolicies.map(stamp),
    })),
  }));
  return { ...job, TaskGroups: groups };
}
