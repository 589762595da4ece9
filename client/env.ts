// A task's environment (NOMAD_*, ports, meta, the job's env block) and what `${…}` in its config, env, templates and
// services stands for. Pure: node, allocation and directories come in. A reference that stands for nothing stays as
// it is written, because job files carry text meant for others (a shell, an image tag).
import type { AllocatedResources, Job, NetworkResource, Node, Task, TaskGroup } from "../core/types.ts";
import type { TaskPort } from "../drivers/driver.ts";

/** What the environment of one task is made of. */
export interface EnvInput {
  node: Node;
  region: string;
  alloc: { ID: string; Name: string; Namespace: string; Job: Job; AllocatedResources: AllocatedResources };
  group: TaskGroup;
  task: Task;
  /** Directories as the task sees them. */
  dirs: { alloc: string; local: string; secrets: string };
  /** The agent's own environment for drivers that share the host's files; {} for images. */
  hostEnv: Record<string, string>;
  /** Variables that templates with `env = true` rendered. */
  templateEnv: Record<string, string>;
}

export interface TaskEnv {
  /** What the process gets. */
  env: Record<string, string>;
  /** Replaces every known `${…}`. */
  text(value: string): string;
  /** The same in every string of a JSON value; keys stay. */
  deep<T>(value: T): T;
}

/**
 * Builds the environment; later sources win: host, NOMAD_*, the job's env block, templates. Values of the env block may
 * name any variable of the task, each other (in whatever order) and the host's (`PATH = "/opt/bin:${PATH}"`).
 */
export function buildTaskEnv(input: EnvInput): TaskEnv {
  const own = nomadVariables(input);
  const references = nodeReferences(input.node, input.region);
  for (const [key, value] of metaVariables(input, (text) => expand(text, own, references))) own[key] = value;
  const outer = { ...input.hostEnv, ...own, ...input.templateEnv };
  const job = jobVariables(input.task.Env ?? {}, outer, references);
  const env = { ...input.hostEnv, ...own, ...job, ...input.templateEnv };
  // A driver's configuration may name all that the task will have. Files and services see the task's own variables
  // only: those of the agent would leak into them.
  const visible = { ...own, ...job, ...input.templateEnv };
  const text = (value: string) => expand(value, visible, references);
  return { env, text, deep: (value) => deepMap(value, (text) => expand(text, env, references)) };
}

/** A variable that names itself means the outer one of that name; in a ring of names so does the one met again. */
function jobVariables(
  block: Record<string, string>,
  outer: Record<string, string>,
  references: Record<string, string>,
): Record<string, string> {
  const written = new Map(
    Object.entries(block).map(([key, value]) => [cleanEnvKey(expand(key, outer, references)), value]),
  );
  const done: Record<string, string> = Object.create(null);
  const under = new Set<string>();
  const lookup = (name: string): string | undefined => {
    if (!written.has(name) || under.has(name)) return outer[name];
    return done[name] ?? valueOf(name);
  };
  const valueOf = (name: string): string => {
    under.add(name);
    const value = expandWith(written.get(name)!, lookup, references);
    under.delete(name);
    return done[name] = value;
  };
  for (const name of written.keys()) if (!(name in done)) valueOf(name);
  return done;
}

function nomadVariables(input: EnvInput): Record<string, string> {
  const { alloc, group, task, dirs, node } = input;
  const resources = alloc.AllocatedResources.Tasks[task.Name];
  const index = /\[(\d+)\]$/.exec(alloc.Name)?.[1] ?? "0";
  const env: Record<string, string> = {
    NOMAD_ALLOC_DIR: dirs.alloc,
    NOMAD_TASK_DIR: dirs.local,
    NOMAD_SECRETS_DIR: dirs.secrets,
    NOMAD_ALLOC_ID: alloc.ID,
    NOMAD_SHORT_ALLOC_ID: alloc.ID.slice(0, 8),
    NOMAD_ALLOC_NAME: alloc.Name,
    NOMAD_ALLOC_INDEX: index,
    NOMAD_TASK_NAME: task.Name,
    NOMAD_GROUP_NAME: group.Name,
    NOMAD_JOB_ID: alloc.Job.ID,
    NOMAD_JOB_NAME: alloc.Job.Name,
    NOMAD_DC: node.Datacenter,
    NOMAD_REGION: input.region,
    NOMAD_NAMESPACE: alloc.Namespace,
    NOMAD_PARENT_CGROUP: node.CgroupParent,
    NOMAD_CPU_LIMIT: String(resources?.Cpu.CpuShares ?? task.Resources.CPU),
    NOMAD_MEMORY_LIMIT: String(resources?.Memory.MemoryMB ?? task.Resources.MemoryMB),
  };
  if (alloc.Job.ParentID !== "") env.NOMAD_JOB_PARENT_ID = alloc.Job.ParentID;
  const memoryMax = resources?.Memory.MemoryMaxMB ?? 0;
  if (memoryMax > 0) env.NOMAD_MEMORY_MAX_LIMIT = String(memoryMax);
  const cores = resources?.Cpu.ReservedCores ?? [];
  env.NOMAD_CPU_CORES = cores.join(",");
  for (const port of portsOf(alloc.AllocatedResources, null)) addPort(env, port, "");
  for (const [name, other] of Object.entries(alloc.AllocatedResources.Tasks)) {
    for (const port of networkPorts(other.Networks)) addPort(env, port, name === task.Name ? "" : `${name}_`);
  }
  return env;
}

function addPort(env: Record<string, string>, port: TaskPort, prefix: string): void {
  const label = prefix + cleanEnvKey(port.label);
  const inside = port.to > 0 ? port.to : port.value;
  env[`NOMAD_IP_${label}`] = port.hostIp;
  env[`NOMAD_PORT_${label}`] = String(inside);
  env[`NOMAD_ADDR_${label}`] = hostPort(port.hostIp, port.value);
  if (prefix !== "") return;
  env[`NOMAD_HOST_IP_${label}`] = port.hostIp;
  env[`NOMAD_HOST_PORT_${label}`] = String(port.value);
  env[`NOMAD_HOST_ADDR_${label}`] = hostPort(port.hostIp, port.value);
  env[`NOMAD_ALLOC_PORT_${label}`] = String(inside);
}

/** `ip:port`, with brackets for IPv6. */
export function hostPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Host ports of the group and, with a task's name, those the task asked for itself. */
export function portsOf(resources: AllocatedResources, task: string | null): TaskPort[] {
  const shared = (resources.Shared.Ports ?? []).map((p) => ({
    label: p.Label,
    hostIp: p.HostIP,
    value: p.Value,
    to: p.To ?? 0,
  }));
  const group = shared.length > 0 ? shared : networkPorts(resources.Shared.Networks);
  return task === null ? group : [...group, ...networkPorts(resources.Tasks[task]?.Networks ?? null)];
}

function networkPorts(networks: NetworkResource[] | null): TaskPort[] {
  return (networks ?? []).flatMap((network) =>
    [...network.ReservedPorts ?? [], ...network.DynamicPorts ?? []].map((port) => ({
      label: port.Label,
      hostIp: network.IP,
      value: port.Value,
      to: port.To ?? 0,
    }))
  );
}

/** job, group and task meta, the nearer one wins; each under its own name and in upper case. */
function* metaVariables(input: EnvInput, text: (value: string) => string): Generator<[string, string]> {
  for (const [key, value] of Object.entries(combinedMeta(input.alloc.Job, input.group, input.task))) {
    const name = cleanEnvKey(key);
    const expanded = text(value);
    yield [`NOMAD_META_${name}`, expanded];
    yield [`NOMAD_META_${name.toUpperCase()}`, expanded];
  }
}

export function combinedMeta(job: Job, group: TaskGroup, task: Task): Record<string, string> {
  return { ...job.Meta, ...group.Meta, ...task.Meta };
}

/** Characters that a shell cannot have in a name become underscores. */
export function cleanEnvKey(key: string): string {
  return key.replace(/[^A-Za-z0-9_]/g, "_");
}

/** `attr.*`, `meta.*` and `node.*` of a node, under the names job files use. */
export function nodeReferences(node: Node, region: string): Record<string, string> {
  const references: Record<string, string> = {
    "node.unique.id": node.ID,
    "node.unique.name": node.Name,
    "node.datacenter": node.Datacenter,
    "node.region": region,
    "node.class": node.NodeClass,
    "node.pool": node.NodePool,
  };
  for (const [key, value] of Object.entries(node.Attributes)) references[`attr.${key}`] = value;
  for (const [key, value] of Object.entries(node.Meta)) references[`meta.${key}`] = value;
  return references;
}

const REFERENCE = /\$\{\s*([^{}]+?)\s*\}/g;
const QUOTED_ENV = /^env\[\s*"([^"]+)"\s*\]$/;

function expand(text: string, env: Record<string, string>, references: Record<string, string>): string {
  return expandWith(text, (name) => env[name], references);
}

function expandWith(
  text: string,
  variable: (name: string) => string | undefined,
  references: Record<string, string>,
): string {
  if (!text.includes("${")) return text;
  return text.replace(REFERENCE, (whole, name: string) => {
    const quoted = QUOTED_ENV.exec(name)?.[1];
    if (quoted !== undefined) return variable(quoted) ?? whole;
    if (name.startsWith("env.")) return variable(name.slice(4)) ?? whole;
    return references[name] ?? variable(name) ?? whole;
  });
}

function deepMap<T>(value: T, text: (value: string) => string): T {
  if (typeof value === "string") return text(value) as T;
  if (Array.isArray(value)) return value.map((item) => deepMap(item, text)) as T;
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, deepMap(item, text)])) as T;
  }
  return value;
}
