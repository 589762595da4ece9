// Encoding what devices are told of their allocations. One plan may go to a thousand devices at once: a job's text
// is made once, for all of them, and so are resources that allocations share.
import type { AllocAssignment } from "../core/protocol.ts";
import { type Allocation, NO_TRANSITION } from "../core/types.ts";
import { TextCache } from "./text_cache.ts";

export class DeltaEncoder {
  #texts = new TextCache();

  /** The text of one `allocs` message (AllocDelta). */
  encode(index: number, allocs: readonly Allocation[], removed: readonly string[]): string {
    const jobs = new Map<string, string>();
    const resources = new Map<object, number>();
    const upserts: string[] = [];
    for (const alloc of allocs) {
      const job = jobKey(alloc);
      if (!jobs.has(job)) jobs.set(job, this.#texts.get(alloc.Job));
      const position = resources.get(alloc.AllocatedResources) ?? resources.size;
      resources.set(alloc.AllocatedResources, position);
      upserts.push(JSON.stringify(assignment(alloc, job, position)));
    }
    const jobTexts = [...jobs].map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(",");
    const resourceTexts = [...resources.keys()].map((record) => this.#texts.get(record)).join(",");
    return `{"t":"allocs","index":${index},"jobs":{${jobTexts}},"resources":[${resourceTexts}],` +
      `"upserts":[${upserts.join(",")}],"removed":${JSON.stringify(removed)}}`;
  }
}

function jobKey(alloc: Allocation): string {
  return `${alloc.Namespace}/${alloc.JobID}@${alloc.Job.Version}.${alloc.Job.CreateIndex}`;
}

function assignment(alloc: Allocation, job: string, resources: number): AllocAssignment {
  return {
    ID: alloc.ID,
    Namespace: alloc.Namespace,
    Name: alloc.Name,
    EvalID: alloc.EvalID,
    job,
    JobID: alloc.JobID,
    TaskGroup: alloc.TaskGroup,
    resources,
    DesiredStatus: alloc.DesiredStatus,
    DesiredDescription: alloc.DesiredDescription,
    ...(alloc.DesiredTransition === NO_TRANSITION ? {} : { DesiredTransition: alloc.DesiredTransition }),
    ClientStatus: alloc.ClientStatus,
    DeploymentID: alloc.DeploymentID,
    ...(alloc.DeploymentStatus ? { DeploymentStatus: alloc.DeploymentStatus } : {}),
    PreviousAllocation: alloc.PreviousAllocation,
    ...(alloc.RescheduleTracker ? { RescheduleTracker: alloc.RescheduleTracker } : {}),
    CreateIndex: alloc.CreateIndex,
    AllocModifyIndex: alloc.AllocModifyIndex,
    CreateTime: alloc.CreateTime,
  };
}
