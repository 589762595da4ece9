// /v1/jobs/statuses: what the web page shows of every job (its allocations and latest deployment), newest change first.
import { ApiError } from "../core/errors.ts";
import type { Allocation, Deployment, Job } from "../core/types.ts";
import type { Api } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { type Order, page } from "./http_list.ts";
import type { Answer } from "./http_read.ts";
import { list, str, struct } from "./json_decode.ts";
import type { StateReader } from "./state_reader.ts";

const bodyShape = struct("api.JobStatusesRequest", {
  Jobs: list(struct("structs.NamespacedID", { ID: str, Namespace: str })),
});

/** Newest change first; the token is the ModifyIndex of the next. */
const byChange: Order<Job> = {
  compare: (a, b) => b.ModifyIndex - a.ModifyIndex || (a.ID < b.ID ? -1 : 1),
  token: (job) => String(job.ModifyIndex),
  compareToken: (job, token) => Number(token) - job.ModifyIndex,
};

export async function listStatuses(q: Exchange, api: Api): Promise<Response> {
  const wanted = q.method === "POST" ? await readWanted(q) : null;
  const withChildren = q.bool("include_children", { status: 400 }) ?? false;
  const { state } = api.server;
  let nextToken = "";
  const response = await api.reads.object(
    q,
    { tables: ["jobs", "job_summary", "allocs", "deployment"] },
    () => {
      let index = 0;
      const found = page(q.options, {
        items: wanted ? namedJobs(state, wanted) : jobsOf(state, q, withChildren),
        order: byChange,
        view: (job) => {
          const status = new JobStatus(state, job);
          index = Math.max(index, status.index);
          return status.view();
        },
      });
      nextToken = found.nextToken;
      return { index, value: () => found.items } satisfies Answer;
    },
  );
  if (nextToken !== "") response.headers.set("X-Nomad-Nexttoken", nextToken);
  return response;
}

async function readWanted(q: Exchange): Promise<{ ID: string; Namespace: string }[]> {
  const body = await q.json<{ Jobs?: { ID?: string; Namespace?: string }[] }>(bodyShape);
  if (!body.Jobs?.length) throw new ApiError(400, "no jobs in request");
  return body.Jobs.map((job) => ({ ID: job.ID ?? "", Namespace: job.Namespace || "default" }));
}

function namedJobs(state: StateReader, wanted: { ID: string; Namespace: string }[]): Job[] {
  return wanted.flatMap(({ ID, Namespace }) => state.job(Namespace, ID) ?? []);
}

function jobsOf(state: StateReader, q: Exchange, withChildren: boolean): Job[] {
  const { namespace } = q.options;
  const jobs = [...state.jobs(namespace === "*" ? undefined : namespace)];
  // A prefix is not looked at here: the page filters by expression.
  return withChildren ? jobs : jobs.filter((job) => job.ParentID === "");
}

/** One job's line, and the newest index of what it is made of. */
class JobStatus {
  index: number;
  #allocs: Allocation[];
  #deployment: Deployment | undefined;

  constructor(private readonly state: StateReader, private readonly job: Job) {
    this.#allocs = [...state.allocsByJob(job.Namespace, job.ID)];
    this.#deployment = state.latestDeployment(job.Namespace, job.ID);
    this.index = Math.max(
      job.ModifyIndex,
      this.#deployment?.ModifyIndex ?? 0,
      ...this.#allocs.map((alloc) => alloc.ModifyIndex),
    );
  }

  view(): Record<string, unknown> {
    const { job } = this;
    return {
      ID: job.ID,
      Name: job.Name,
      Namespace: job.Namespace,
      Type: job.Type,
      NodePool: job.NodePool,
      Datacenters: job.Datacenters,
      Priority: job.Priority,
      Version: job.Version,
      Status: job.Status,
      Stop: job.Stop,
      SubmitTime: job.SubmitTime,
      ModifyIndex: job.ModifyIndex,
      ParentID: job.ParentID,
      IsPack: Object.keys(job.Meta ?? {}).some((key) => key.startsWith("pack.")),
      GroupCountSum: job.TaskGroups.reduce((sum, group) => sum + group.Count, 0),
      ChildStatuses: this.#childStatuses(),
      Allocs: this.#allocs.length > 0
        ? this.#allocs.sort((a, b) => a.ID < b.ID ? -1 : 1).map(allocView)
        : null,
      LatestDeployment: this.#deployment ? deploymentView(this.#deployment) : null,
    };
  }

  /** Statuses of dispatched or launched children; null for jobs that have none by their nature. */
  #childStatuses(): string[] | null {
    const { job } = this;
    if (job.Periodic === null && (job.ParameterizedJob === null || job.Dispatched)) return null;
    return [...this.state.jobChildren(job.Namespace, job.ID)].map((child) => child.Status);
  }
}

function allocView(alloc: Allocation): Record<string, unknown> {
  return {
    ID: alloc.ID,
    Group: alloc.TaskGroup,
    ClientStatus: alloc.ClientStatus,
    NodeID: alloc.NodeID,
    JobVersion: alloc.Job.Version,
    FollowupEvalID: alloc.FollowupEvalID,
    HasPausedTask: Object.values(alloc.TaskStates ?? {}).some((task) =>
      task.Paused !== "" && task.Paused !== "run"
    ),
    DeploymentStatus: {
      Canary: alloc.DeploymentStatus?.Canary ?? false,
      Healthy: alloc.DeploymentStatus?.Healthy ?? null,
    },
  };
}

function deploymentView(deployment: Deployment): Record<string, unknown> {
  const groups = Object.values(deployment.TaskGroups);
  const canaries = groups.filter((group) => group.DesiredCanaries > 0);
  return {
    ID: deployment.ID,
    IsActive: ["running", "paused", "blocked", "unblocking", "initializing", "pending"].includes(
      deployment.Status,
    ),
    JobVersion: deployment.JobVersion,
    Status: deployment.Status,
    StatusDescription: deployment.StatusDescription,
    AllAutoPromote: canaries.length > 0 && canaries.every((group) => group.AutoPromote),
    RequiresPromotion: deployment.Status === "running" && canaries.some((group) => !group.Promoted),
  };
}
