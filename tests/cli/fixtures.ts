// The data behind the recordings, by recording number: answers of the agent and the time of the recording.
import type { Fixture } from "./fixture_base.ts";
import { cluster, servers } from "./fixtures_cluster.ts";
import { jobs } from "./fixtures_jobs.ts";
import { nodes } from "./fixtures_nodes.ts";
import { plans } from "./fixtures_plans.ts";
import { allocations, deployments, evaluations } from "./fixtures_work.ts";

/** Every fixture, by the number of its recording. */
export function fixtures(): Record<string, Fixture> {
  return {
    ...jobs(),
    ...plans(),
    ...allocations(),
    ...nodes(),
    ...evaluations(),
    ...deployments(),
    ...servers(),
    ...cluster(),
  };
}
