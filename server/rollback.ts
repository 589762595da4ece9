// What a deployment's failure means: the texts, and the job version to go back to when auto_revert asks for it. Pure.
import type { Deployment, Job } from "../core/types.ts";
import { sameSpec } from "./job_compare.ts";
import type { StateReader } from "./state_reader.ts";

export const FAILED_BY_USER = "Deployment marked as failed";
export const FAILED_BY_ALLOCATIONS = "Failed due to unhealthy allocations";
export const FAILED_BY_DEADLINE = "Failed due to progress deadline";

/** Why a deployment failed, and the job to register again; null when nothing is rolled back. */
export interface Failure {
  description: string;
  job: Job | null;
}

export function failureOf(state: StateReader, deployment: Deployment, reason: string): Failure {
  const reverts = Object.values(deployment.TaskGroups).some((group) => group.AutoRevert);
  if (!reverts) return { description: reason, job: null };
  const stable = latestStable(state, deployment);
  if (!stable) return { description: `${reason} - no stable job version to auto revert to`, job: null };
  const current = state.job(deployment.Namespace, deployment.JobID);
  if (current && sameSpec(current, stable)) {
    const why =
      `not rolling back to stable job version ${stable.Version} as current job has same specification`;
    return { description: `${reason} - ${why}`, job: null };
  }
  return { description: `${reason} - rolling back to job version ${stable.Version}`, job: stable };
}

/** The newest stable version that is not the one being rolled out. */
function latestStable(state: StateReader, deployment: Deployment): Job | null {
  for (const job of state.jobVersions(deployment.Namespace, deployment.JobID)) {
    if (job.Stable && job.Version !== deployment.JobVersion) return job;
  }
  return null;
}
