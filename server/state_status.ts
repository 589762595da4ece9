// The rule by which a job is pending, running or dead. Derived after every command from counters, never stored by
// anyone else.
import type { Deployment, Job } from "../core/types.ts";
import type { Tables } from "./state_tables.ts";

/** `evalsDeleted`: this command collected evaluations of the job, so that having none does not mean "new". */
export function deriveJobStatus(tables: Tables, key: string, job: Job, evalsDeleted: boolean): Job["Status"] {
  if (runsUntilStopped(job)) return job.Stop ? "dead" : "running";
  const work = tables.work.get(key);
  if (work && work.openAllocs > 0) return "running";
  // Only the newest deployment can still move.
  const deploymentId = tables.deploymentsByJob.get(key)?.at(-1);
  const deployment = deploymentId === undefined ? undefined : tables.deployments.get(deploymentId);
  if (deployment && isActive(deployment)) return "running";
  if (work && work.openEvals > 0) return "pending";
  const had = evalsDeleted || (work !== undefined && work.evals.size > 0) || tables.allocs.hasJob(key);
  return had ? "dead" : "pending";
}

/** System jobs and the parents of periodic and dispatched jobs. */
function runsUntilStopped(job: Job): boolean {
  return job.Type === "system" || job.Periodic !== null || isParameterized(job);
}

/** Whether the job only runs when it is dispatched. */
export function isParameterized(job: Job): boolean {
  return job.ParameterizedJob !== null && !job.Dispatched;
}

/** Whether a deployment still moves. */
export function isActive(deployment: Deployment): boolean {
  switch (deployment.Status) {
    case "running":
    case "paused":
    case "initializing":
    case "pending":
    case "blocked":
    case "unblocking":
      return true;
    case "failed":
    case "successful":
    case "cancelled":
      return false;
  }
}
