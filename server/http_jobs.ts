// /v1/jobs, /v1/jobs/parse, /v1/jobs/statuses, /v1/validate/job: listing, registering, reading HCL, checking.
import { ApiError } from "../core/errors.ts";
import type { Job } from "../core/types.ts";
import { type Api, onWrite, type Route } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { registerJob } from "./http_job_write.ts";
import { byNamespacedId, page } from "./http_list.ts";
import type { ListAnswer } from "./http_read.ts";
import { listStatuses } from "./http_statuses.ts";
import { admitJob, decodeJobBody, formatWarnings, parseJobText } from "./job_admission.ts";
import { parseShape, validateShape } from "./job_schema.ts";
import { formatMultiError } from "./multi_error.ts";
import { jobStub } from "./views.ts";

export const jobsRoutes: Route[] = [
  {
    path: "/v1/jobs",
    scope: "server",
    methods: { GET: listJobs, ...onWrite((q, api) => registerJob(q, api, null)) },
  },
  { path: "/v1/jobs/parse", scope: "agent", methods: onWrite(parse) },
  { path: "/v1/jobs/statuses", scope: "server", methods: { GET: listStatuses, POST: listStatuses } },
  { path: "/v1/validate/job", scope: "server", methods: onWrite(validate) },
];

function listJobs(q: Exchange, api: Api): Promise<Response> {
  const { prefix } = q.options;
  const withMeta = q.bool("meta") ?? false;
  return api.reads.list(
    q,
    ["jobs", "job_summary"],
    () => jobStubs(q, api, { withMeta, keep: (job) => job.ID.startsWith(prefix) }),
  );
}

/** One page of job lines; `keep` chooses among the namespace's jobs. */
export function jobStubs(
  q: Exchange,
  api: Api,
  { withMeta, keep }: { withMeta: boolean; keep(job: Job): boolean },
): ListAnswer {
  const { options } = q;
  const { state } = api.server;
  const chosen: Job[] = [];
  for (const job of state.jobs(options.namespace === "*" ? undefined : options.namespace)) {
    if (keep(job)) chosen.push(job);
  }
  const found = page<Job>(options, {
    items: chosen,
    order: byNamespacedId,
    view: (job) => jobStub(job, state.jobSummary(job.Namespace, job.ID), withMeta),
  });
  return { value: found.items, nextToken: found.nextToken };
}

async function parse(q: Exchange): Promise<Response> {
  const body = await q.json<{ JobHCL?: string; Variables?: string; Canonicalize?: boolean }>(parseShape);
  if (!body.JobHCL) throw new ApiError(400, "Job spec is empty");
  const job = await parseJobText(body.JobHCL, {
    variables: body.Variables ?? "",
    canonicalize: body.Canonicalize ?? false,
  });
  return q.json200(job);
}

async function validate(q: Exchange, api: Api): Promise<Response> {
  const job = await decodeJobBody(q, validateShape);
  const admitted = admitJob(job.Job, q, api);
  return q.json200({
    DriverConfigValidated: true,
    ValidationErrors: admitted.errors.length > 0 ? admitted.errors : null,
    Error: admitted.errors.length > 0 ? formatMultiError(admitted.errors) : "",
    Warnings: formatWarnings(admitted.warnings),
  });
}
