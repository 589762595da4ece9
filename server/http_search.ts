// /v1/search and /v1/search/fuzzy: completing ids by prefix, and finding names that contain a text.
//
// Invariant: a context gives at most LIMIT matches and says when it left some out; looking through big tables stops
// there.
import { ApiError } from "../core/errors.ts";
import type { Job } from "../core/types.ts";
import { type Api, onWrite, type Route } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { scalingPolicies } from "./job_scaling.ts";
import { str, struct } from "./json_decode.ts";
import type { StateReader, Table } from "./state_reader.ts";

const LIMIT = 20;
const FUZZY_MIN_LENGTH = 2;
const PREFIX_CONTEXTS = [
  "allocs",
  "jobs",
  "nodes",
  "node_pools",
  "evals",
  "deployment",
  "plugins",
  "volumes",
  "scaling_policy",
  "vars",
  "namespaces",
  "host_volumes",
] as const;
type Context = typeof PREFIX_CONTEXTS[number];
/** Contexts that the fuzzy search of "all" answers by prefix, because nobody remembers parts of ids. */
const BY_ID: readonly Context[] = ["evals", "deployment", "volumes", "scaling_policy", "host_volumes"];

const TABLES: Record<Context, Table[]> = {
  allocs: ["allocs"],
  jobs: ["jobs"],
  nodes: ["nodes"],
  node_pools: ["node_pools"],
  evals: ["evals"],
  deployment: ["deployment"],
  plugins: [],
  volumes: [],
  scaling_policy: ["jobs"],
  vars: [],
  namespaces: ["namespaces"],
  host_volumes: [],
};

const searchShape = struct("structs.SearchRequest", { Prefix: str, Context: str });
const fuzzyShape = struct("structs.FuzzySearchRequest", { Text: str, Context: str });

export const searchRoutes: Route[] = [
  { path: "/v1/search", scope: "server", methods: onWrite(search) },
  { path: "/v1/search/fuzzy", scope: "server", methods: onWrite(fuzzySearch) },
];

function contextsOf(name: string): readonly Context[] {
  if (name === "all") return PREFIX_CONTEXTS;
  if ((PREFIX_CONTEXTS as readonly string[]).includes(name)) return [name as Context];
  throw new ApiError(
    500,
    `context must be one of [${PREFIX_CONTEXTS.join(" ")}] or 'all' for all contexts; got ${
      JSON.stringify(name)
    }`,
  );
}

/** Ids (or names) of one context, in no particular order. */
function* idsOf(state: StateReader, context: Context, namespace: string): Iterable<string> {
  const own = (record: { Namespace: string }) => namespace === "*" || record.Namespace === namespace;
  switch (context) {
    case "allocs":
      for (const alloc of state.allocs()) if (own(alloc)) yield alloc.ID;
      return;
    case "jobs":
      for (const job of state.jobs(namespace === "*" ? undefined : namespace)) yield job.ID;
      return;
    case "nodes":
      for (const node of state.nodes()) yield node.ID;
      return;
    case "node_pools":
      for (const pool of state.nodePools()) yield pool.Name;
      return;
    case "evals":
      for (const evaluation of state.evals()) if (own(evaluation)) yield evaluation.ID;
      return;
    case "deployment":
      for (const deployment of state.deployments()) if (own(deployment)) yield deployment.ID;
      return;
    case "scaling_policy":
      for (const job of state.jobs(namespace === "*" ? undefined : namespace)) {
        for (const policy of scalingPolicies(job)) yield policy.ID;
      }
      return;
    case "namespaces":
      for (const one of state.namespaces()) yield one.Name;
      return;
    case "plugins":
    case "volumes":
    case "vars":
    case "host_volumes":
      // These do not exist in this cluster's state.
      return;
  }
}

async function search(q: Exchange, api: Api): Promise<Response> {
  const body = await q.json<{ Prefix?: string; Context?: string }>(searchShape);
  const contexts = contextsOf(body.Context ?? "");
  const prefix = body.Prefix ?? "";
  const { state } = api.server;
  const matches: Record<string, string[] | null> = {};
  const truncations: Record<string, boolean> = {};
  for (const context of contexts) {
    const found = byPrefix(state, context, q.options.namespace, prefix);
    matches[context] = found.length > 0 ? found.slice(0, LIMIT) : null;
    truncations[context] = found.length > LIMIT;
  }
  return reply(q, api, contexts, matches, truncations);
}

/** The first matches in order, one more than shown where there are more. */
function byPrefix(state: StateReader, context: Context, namespace: string, prefix: string): string[] {
  const found: string[] = [];
  for (const id of idsOf(state, context, namespace)) if (id.startsWith(prefix)) found.push(id);
  return found.sort().slice(0, LIMIT + 1);
}

function reply(
  q: Exchange,
  api: Api,
  contexts: readonly Context[],
  matches: unknown,
  truncations: unknown,
): Response {
  const index = Math.max(1, ...contexts.map((context) => api.server.state.tableIndex(...TABLES[context])));
  const meta = api.reads.meta(q, index);
  return q.read({
    Matches: matches,
    Truncations: truncations,
    Index: index,
    LastContact: meta.lastContactMs,
    KnownLeader: meta.knownLeader,
    NextToken: "",
  }, meta);
}

// --- Fuzzy ------------------------------------------------------------------------------------------------------

interface FuzzyMatch {
  ID: string;
  Scope?: string[];
  /** Where in the name the text begins: earlier is better. */
  at: number;
}

class FuzzyMatches {
  readonly found = new Map<string, FuzzyMatch[]>();

  constructor(private readonly text: string) {}

  add(context: string, name: string, scope: string[] | null): void {
    const at = name.toLowerCase().indexOf(this.text);
    if (at < 0) return;
    const list = this.found.get(context) ?? [];
    list.push(scope ? { ID: name, Scope: scope, at } : { ID: name, at });
    this.found.set(context, list);
  }
}

async function fuzzySearch(q: Exchange, api: Api): Promise<Response> {
  const body = await q.json<{ Text?: string; Context?: string }>(fuzzyShape);
  const text = body.Text ?? "";
  if (text.length < FUZZY_MIN_LENGTH) {
    throw new ApiError(
      500,
      `fuzzy search query must be at least ${FUZZY_MIN_LENGTH} characters, got ${text.length}`,
    );
  }
  const contexts = contextsOf(body.Context ?? "");
  const { state } = api.server;
  const { namespace } = q.options;
  const fuzzy = new FuzzyMatches(text.toLowerCase());
  if (contexts.includes("jobs")) {
    for (const job of state.jobs(namespace === "*" ? undefined : namespace)) addJob(fuzzy, job);
  }
  addNamed(fuzzy, state, contexts, namespace);
  const matches: Record<string, unknown[]> = {};
  const truncations: Record<string, boolean> = {};
  for (const context of contexts) {
    const byId = contexts.length > 1 && BY_ID.includes(context);
    const ids = byId ? byPrefix(state, context, namespace, text).map((ID) => ({ ID })) : [];
    if (byId) matches[context] = ids.slice(0, LIMIT);
    truncations[context] = ids.length > LIMIT;
  }
  for (const [context, list] of fuzzy.found) {
    list.sort((a, b) => a.at - b.at || a.ID.length - b.ID.length || (a.ID < b.ID ? -1 : a.ID > b.ID ? 1 : 0));
    matches[context] = list.slice(0, LIMIT).map(({ at: _, ...match }) => match);
    if (list.length > LIMIT || context in truncations) truncations[context] = list.length > LIMIT;
  }
  return reply(q, api, contexts, matches, truncations);
}

/** Everything of a job that has a name. */
function addJob(fuzzy: FuzzyMatches, job: Job): void {
  fuzzy.add("jobs", job.Name, [job.Namespace, job.ID]);
  for (const group of job.TaskGroups) {
    const scope = [job.Namespace, job.ID, group.Name];
    fuzzy.add("groups", group.Name, scope.slice(0, 2));
    for (const service of group.Services ?? []) fuzzy.add("services", service.Name, scope);
    for (const task of group.Tasks) {
      fuzzy.add("tasks", task.Name, scope);
      for (const service of task.Services ?? []) fuzzy.add("services", service.Name, [...scope, task.Name]);
      for (const key of ["image", "command", "class"]) {
        const value = task.Config?.[key];
        const context = { image: "images", command: "commands", class: "classes" }[key]!;
        if (typeof value === "string") fuzzy.add(context, value, [...scope, task.Name]);
      }
    }
  }
}

function addNamed(
  fuzzy: FuzzyMatches,
  state: StateReader,
  contexts: readonly Context[],
  namespace: string,
): void {
  const wants = (context: Context) => contexts.includes(context);
  if (wants("allocs")) {
    for (const alloc of state.allocs()) {
      if (namespace === "*" || alloc.Namespace === namespace) {
        fuzzy.add("allocs", alloc.Name, [alloc.Namespace, alloc.ID]);
      }
    }
  }
  if (wants("nodes")) { for (const node of state.nodes()) fuzzy.add("nodes", node.Name, [node.ID]); }
  if (wants("node_pools")) { for (const pool of state.nodePools()) fuzzy.add("node_pools", pool.Name, null); }
  if (wants("namespaces")) { for (const one of state.namespaces()) fuzzy.add("namespaces", one.Name, null); }
}
