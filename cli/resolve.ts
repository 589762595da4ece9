// From what a user typed to one record: exact ids and prefixes of jobs, allocations, nodes, evaluations, deployments.
// The API never resolves prefixes; the command line does, and lists the matches when there are several.
import { type Api, type Query } from "./api.ts";
import type { Context } from "./command.ts";
import { attempt, CommandError } from "./errors.ts";
import { formatAllocs, formatDeployments, formatEvals, formatJobs, formatNodeMatches } from "./lists.ts";
import type { AllocStub, Deployment, EvalStub, FullAllocation, JobStub, NodeStub } from "./records.ts";

const MATCHES_MAX = 20;

/** A prefix as the server's index takes it: dashes stay where they belong, an odd hex digit at the end is dropped. */
export function sanitizePrefix(prefix: string): string {
  const digits = prefix.replaceAll("-", "");
  const even = digits.length % 2 === 0 ? digits : digits.slice(0, -1);
  const cuts = [8, 12, 16, 20];
  return [...even].map((digit, i) => cuts.includes(i) ? `-${digit}` : digit).join("");
}

function checkLength(id: string): void {
  if (id.length === 1) throw new CommandError("Identifier must contain at least two characters.");
}

export interface JobMatch {
  id: string;
  namespace: string;
  /** A prefix was typed, not the whole id. */
  byPrefix: boolean;
}

export interface JobResolution {
  /** Only jobs of this kind: "parameterized" or "periodic". */
  kind?: "parameterized" | "periodic";
}

/** The job that an id or a prefix means. */
export async function resolveJob(
  context: Context,
  typed: string,
  options: JobResolution = {},
): Promise<JobMatch> {
  const { api } = context;
  const query: Query = { prefix: typed, per_page: MATCHES_MAX };
  const answer = await attempt(
    "Error querying job prefix " + JSON.stringify(typed),
    api.get<JobStub[]>("/v1/jobs", { query }),
  );
  const jobs = (answer.data ?? []).filter((job) =>
    options.kind === "parameterized"
      ? job.ParameterizedJob
      : options.kind === "periodic"
      ? job.Periodic
      : true
  );
  const exact = jobs.filter((job) => job.ID === typed);
  const inAllNamespaces = api.namespace === "*";
  if (jobs.length === 0) {
    const kind = options.kind ? `${options.kind} ` : "";
    throw new CommandError(`No ${kind}job(s) with prefix or ID ${JSON.stringify(typed)} found`);
  }
  const found = exact.length === 1 ? exact[0]! : jobs.length === 1 ? jobs[0]! : undefined;
  if (!found) {
    throw new CommandError(
      `Prefix ${JSON.stringify(typed)} matched multiple jobs\n\n${formatJobs(jobs, inAllNamespaces)}`,
    );
  }
  return { id: found.ID, namespace: found.Namespace, byPrefix: found.ID !== typed };
}

/** Path of a job's route: its id may hold slashes. */
export function jobPath(id: string, rest = ""): string {
  return `/v1/job/${encodeURIComponent(id)}${rest}`;
}

/** The one allocation with this id or prefix, as in lists. */
export async function resolveAllocStub(
  context: Context,
  typed: string,
  verbose: boolean,
): Promise<AllocStub> {
  checkLength(typed);
  const stubs = await attempt(
    "Error querying allocation",
    context.api.get<AllocStub[]>("/v1/allocations", { query: { prefix: sanitizePrefix(typed) } }),
  );
  const [first, ...others] = stubs.data ?? [];
  if (!first) throw new CommandError(`No allocation(s) with prefix or id ${JSON.stringify(typed)} found`);
  if (others.length > 0) {
    const table = formatAllocs(stubs.data, { verbose, nowMs: context.now() });
    throw new CommandError(`Prefix matched multiple allocations\n\n${table}`);
  }
  return first;
}

/** The one allocation with this id or prefix, whole. */
export async function resolveAlloc(
  context: Context,
  typed: string,
  verbose: boolean,
): Promise<FullAllocation> {
  const stub = await resolveAllocStub(context, typed, verbose);
  return (await attempt("Error querying allocation", readAlloc(context.api, stub))).data;
}

export function readAlloc(api: Api, stub: { ID: string; Namespace: string }) {
  return api.get<FullAllocation>(`/v1/allocation/${stub.ID}`, {
    query: { namespace: stub.Namespace || undefined },
  });
}

/** A running allocation of a job, for the commands that take `-job`; any other when none runs. */
export async function allocOfJob(
  context: Context,
  typed: string,
  group: string,
  task: string,
): Promise<AllocStub> {
  const job = await resolveJob(context, typed);
  const { data } = await attempt(
    "Error fetching allocations",
    context.api.get<AllocStub[]>(jobPath(job.id, "/allocations"), { query: { namespace: job.namespace } }),
  );
  const matching = (data ?? []).filter((alloc) =>
    (group === "" || alloc.TaskGroup === group) && (task === "" || alloc.TaskStates?.[task] !== undefined)
  );
  if (matching.length === 0) {
    const where = group ? ` in group ${JSON.stringify(group)}` : "";
    throw new CommandError(
      `Error fetching allocations: no allocations found for job ${JSON.stringify(job.id)}${where}`,
    );
  }
  const newest = matching.toSorted((a, b) => b.CreateIndex - a.CreateIndex);
  return newest.find((alloc) => alloc.ClientStatus === "running") ?? newest[0]!;
}

/** The one node with this id or prefix. */
export async function resolveNode(
  context: Context,
  typed: string,
  options: { verbose: boolean; what: string },
): Promise<NodeStub> {
  checkLength(typed);
  const nodes = await attempt(
    options.what,
    context.api.get<NodeStub[]>("/v1/nodes", { query: { prefix: sanitizePrefix(typed) } }),
  );
  const [first, ...others] = nodes.data ?? [];
  if (!first) throw new CommandError(`No node(s) with prefix or id ${JSON.stringify(typed)} found`);
  if (others.length > 0) {
    throw new CommandError(
      `Prefix matched multiple nodes\n\n${formatNodeMatches(nodes.data, options.verbose)}`,
    );
  }
  return first;
}

/** Id of the node that the asked agent is. */
export async function localNodeId(context: Context, what: string): Promise<string> {
  const { data } = await attempt(
    what,
    context.api.get<{ stats?: { client?: { node_id?: string } } }>("/v1/agent/self"),
  );
  const id = data.stats?.client?.node_id;
  if (!id) {
    throw new CommandError(
      `${what}: the agent at ${context.api.address} runs no client; name a node instead of -self`,
    );
  }
  return id;
}

/** The one evaluation with this id or prefix. */
export async function resolveEval(context: Context, typed: string, verbose: boolean): Promise<EvalStub> {
  checkLength(typed);
  const evals = await attempt(
    "Error querying evaluation",
    context.api.get<EvalStub[]>("/v1/evaluations", { query: { prefix: sanitizePrefix(typed) } }),
  );
  const [first, ...others] = evals.data ?? [];
  if (!first) throw new CommandError(`No evaluation(s) with prefix or id ${JSON.stringify(typed)} found`);
  if (others.length > 0) {
    throw new CommandError(`Prefix matched multiple evaluations\n\n${formatEvals(evals.data, verbose)}`);
  }
  return first;
}

/** The one deployment with this id or prefix. */
export async function resolveDeployment(
  context: Context,
  typed: string,
  verbose: boolean,
): Promise<Deployment> {
  if (typed.length === 1) {
    throw new CommandError("Error retrieving deployment: Identifier must contain at least two characters.");
  }
  const { data } = await attempt(
    "Error retrieving deployment",
    context.api.get<Deployment[]>("/v1/deployments", { query: { prefix: sanitizePrefix(typed) } }),
  );
  const [first, ...others] = data ?? [];
  if (!first) {
    throw new CommandError(
      `Error retrieving deployment: Deployment ID ${JSON.stringify(typed)} matched no deployments`,
    );
  }
  if (others.length > 0) {
    throw new CommandError(`Prefix matched multiple deployments\n\n${formatDeployments(data, verbose)}`);
  }
  return first;
}
