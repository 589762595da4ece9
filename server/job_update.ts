// What a new version of a job may not turn it into.
import type { Job } from "../core/types.ts";
import { isParameterized } from "./state_status.ts";

/** Why `job` may not become the next version of `existing`, or null. */
export function updateConflict(existing: Job, job: Job): string | null {
  if (existing.Type !== job.Type) {
    return `cannot update job from type "${existing.Type}" to "${job.Type}"`;
  }
  if ((existing.Periodic !== null) !== (job.Periodic !== null)) {
    return existing.Periodic
      ? "cannot update periodic job to being non-periodic"
      : "cannot update non-periodic job to being periodic";
  }
  if (isParameterized(existing) !== isParameterized(job)) {
    return isParameterized(existing)
      ? "cannot update parameterized job to being non-parameterized"
      : "cannot update non-parameterized job to being parameterized";
  }
  return null;
}
