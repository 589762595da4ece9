// From a request's body to a job that may be registered: decoding, what is preserved of the version before, defaults,
// rules. Used by register, validate, plan, scale and revert alike, so that they never disagree.
import { Buffer } from "node:buffer";
import { ApiError, errorText } from "../core/errors.ts";
import type { Job, JobSubmission } from "../core/types.ts";
import type { Api } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { canonicalizeJob } from "./job_canonical.ts";
import { fillJobDefaults, type Raw } from "./job_defaults.ts";
import { validateJob } from "./job_validate.ts";
export { formatWarnings } from "./job_validate.ts";
import type { StructShape } from "./json_decode.ts";
import { memoryOversubscription } from "./scheduler_config.ts";

/** A job as a client sends it: any field may be missing. */
export type PartialJob = Partial<Omit<Job, "TaskGroups">> & { TaskGroups?: PartialGroup[] };
type PartialGroup = { Name?: string; Count?: number; Tasks?: { Name?: string; Resources?: unknown }[] };

export interface JobBody {
  Job: PartialJob;
  Submission?: Partial<JobSubmission>;
  EnforceIndex?: boolean;
  JobModifyIndex?: number;
  PreserveCounts?: boolean;
  PreserveResources?: boolean;
  EvalPriority?: number;
  Diff?: boolean;
}

/** The body of register, plan and validate. */
export async function decodeJobBody(q: Exchange, shape: StructShape): Promise<JobBody> {
  const body = await q.json<Partial<JobBody>>(shape);
  if (!body.Job) throw new ApiError(400, "Job must be specified");
  return { ...body, Job: body.Job };
}

export interface Admitted {
  job: Job;
  errors: string[];
  warnings: string[];
}

/** Completes and judges a job. Throws ApiError only for a region that is not here. */
export function admitJob(partial: PartialJob, q: Exchange, api: Api): Admitted {
  const { config, state } = api.server;
  // "global" is what clients write who mean no particular region.
  const region = partial.Region && partial.Region !== "global" ? partial.Region : api.deps.region;
  if (region !== api.deps.region) throw new ApiError(500, "No path to region");
  const namespace = q.writeNamespace(partial.Namespace);
  const job = canonicalizeJob({ ...partial, Region: region, Namespace: namespace }, {
    region,
    namespace,
    defaults: { priority: config.jobPriorityDefault },
  });
  const { errors, warnings } = validateJob(job, {
    priorityMax: config.jobPriorityMax,
    countMax: config.jobCountMax,
    memoryOversubscription: memoryOversubscription(state, job.NodePool),
    namespaceExists: (name) => state.namespace(name) !== undefined,
    poolExists: (name) => state.nodePool(name) !== undefined,
  });
  return { job, errors, warnings };
}

/** Counts and resources of the version that is there, where the request asks to keep them. */
export function preserve(body: JobBody, existing: Job | undefined): PartialJob {
  if (!existing || (!body.PreserveCounts && !body.PreserveResources)) return body.Job;
  const groups = body.Job.TaskGroups?.map((group) => {
    const old = existing.TaskGroups.find((one) => one.Name === group.Name);
    if (!old) return group;
    const tasks = group.Tasks?.map((task) => {
      const oldTask = old.Tasks.find((one) => one.Name === task.Name);
      return oldTask && body.PreserveResources ? { ...task, Resources: oldTask.Resources } : task;
    });
    return {
      ...group,
      ...(body.PreserveCounts ? { Count: old.Count } : {}),
      ...(tasks ? { Tasks: tasks } : {}),
    };
  });
  return { ...body.Job, ...(groups ? { TaskGroups: groups } : {}) };
}

/** What the user sent as text is kept with the version, unless it is too much: then a warning says so. */
export function readSubmission(
  submission: Partial<JobSubmission> | undefined,
  job: Job,
  maxBytes: number,
): { kept: JobSubmission | null; warnings: string[] } {
  if (!submission) return { kept: null, warnings: [] };
  const { Source = "", Format = "", Variables = "", VariableFlags = null } = submission;
  const size = Buffer.byteLength(Source) + Buffer.byteLength(Variables);
  if (maxBytes > 0 && size > maxBytes) {
    const warning =
      `job source size of ${size} bytes exceeds maximum of ${maxBytes} bytes and will be discarded`;
    return { kept: null, warnings: [warning] };
  }
  const own = { Namespace: job.Namespace, JobID: job.ID, Version: 0, JobModifyIndex: 0 };
  return { kept: { Source, Format, VariableFlags, Variables, ...own }, warnings: [] };
}

/**
 * HCL text → the API's job JSON. Rejects with ApiError(400) and every diagnostic. The compiler is loaded with the first
 * text: most servers never see one.
 */
export async function parseJobText(
  source: string,
  options: { variables: string; canonicalize: boolean },
): Promise<unknown> {
  const { JobspecError, parseJob } = await import("../jobspec/jobspec.ts");
  try {
    const job = parseJob(source, {
      filename: "input.hcl",
      variableFiles: options.variables === "" ? [] : [{ name: "variables.hcl", source: options.variables }],
    });
    return options.canonicalize ? fillJobDefaults(job as unknown as Raw) : job;
  } catch (error) {
    if (error instanceof JobspecError) throw new ApiError(400, `Failed to parse job: ${errorText(error)}`);
    throw error;
  }
}
