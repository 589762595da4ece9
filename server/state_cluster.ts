// What the commands on cluster objects mean: scheduler configuration, namespaces, node pools, service registrations.
//
// Invariant: the default namespace and the built-in pools ("default", "all") cannot go away; nothing that is in use can.
import type { Command } from "./commands.ts";
import type { ApplyResult } from "./log.ts";
import { formatMultiError } from "./multi_error.ts";
import { refuse } from "./state_jobs.ts";
import type { Tables } from "./state_tables.ts";
import { isClientTerminal, type Write } from "./state_write.ts";

type Of<K extends Command["kind"]> = Extract<Command, { kind: K }>;

/** Gives back whether it was written: a compare-and-set that missed is no error. */
export function setSchedulerConfig(w: Write, c: Of<"scheduler.config">): ApplyResult {
  const old = w.tables.schedulerConfig;
  if (c.cas !== undefined && c.cas !== old.ModifyIndex) return { value: false };
  const config = { ...c.config, CreateIndex: old.CreateIndex, ModifyIndex: w.index };
  w.tables.schedulerConfig = config;
  w.changes.schedulerConfig = config;
  w.touch("scheduler_config");
  return { value: true };
}

/** A cluster has one id for ever: what a second leader proposes before it has seen the first one's is dropped. */
export function initCluster(w: Write, c: Of<"cluster.init">): ApplyResult {
  if (w.tables.clusterId !== "") return {};
  w.tables.clusterId = c.id;
  w.tables.autopilotConfig = { ...c.autopilot, CreateIndex: w.index, ModifyIndex: w.index };
  w.touch("autopilot_config");
  return {};
}

/** One that has no id yet gets its first one as always, with what Autopilot starts with. */
export function renameCluster({ tables }: Write, c: Of<"cluster.rename">): ApplyResult {
  if (tables.clusterId !== "") tables.clusterId = c.id;
  return {};
}

/** A saved state on its way in may not grow beyond this: it is held as text by every server. */
const STAGED_MAX_CHARS = 1024 * 1024 * 1024;

/** The next blocks of a saved state. A restore that begins takes the place of one that was left half done. */
export function stageState({ tables }: Write, c: Of<"state.stage">): ApplyResult {
  if (c.first === 0) tables.staged = { id: c.id, blocks: [] };
  const { staged } = tables;
  if (staged?.id !== c.id || staged.blocks.length !== c.first) {
    return refuse(409, "Another restore took the place of this one: start it again");
  }
  staged.blocks.push(...c.blocks);
  const chars = staged.blocks.reduce((sum, block) => sum + block.length, 0);
  if (chars <= STAGED_MAX_CHARS) return {};
  tables.staged = null;
  return refuse(413, "The saved state is too large to be restored");
}

export function unstageState({ tables }: Write, c: Of<"state.unstage">): ApplyResult {
  if (tables.staged?.id === c.id) tables.staged = null;
  return {};
}

/** Gives back whether it was written: a compare-and-set that missed is no error. */
export function setAutopilotConfig(w: Write, c: Of<"autopilot.config">): ApplyResult {
  const old = w.tables.autopilotConfig;
  if (c.cas !== undefined && c.cas !== old.ModifyIndex) return { value: false };
  w.tables.autopilotConfig = {
    ...c.config,
    CreateIndex: old.CreateIndex || w.index,
    ModifyIndex: w.index,
  };
  w.touch("autopilot_config");
  return { value: true };
}

export function upsertNamespaces(w: Write, c: Of<"namespace.upsert">): ApplyResult {
  for (const namespace of c.namespaces) w.putNamespace(namespace);
  return {};
}

export function deleteNamespaces(w: Write, c: Of<"namespace.delete">): ApplyResult {
  for (const name of c.names) {
    const refusal = refuseNamespaceDelete(w.tables, name);
    if (refusal) return refusal;
  }
  for (const name of c.names) {
    w.changes.removedNamespaces.push(w.tables.namespaces.get(name)!);
    w.tables.namespaces.delete(name);
    w.touch("namespaces");
  }
  return {};
}

function refuseNamespaceDelete(tables: Tables, name: string): ApplyResult | null {
  if (name === "default") return refuse(500, "can not delete default namespace");
  if (!tables.namespaces.has(name)) return refuse(500, "namespace not found");
  const jobs = [...tables.jobs.values()].filter((row) => row.job.Namespace === name);
  const errors: string[] = [];
  if (jobs.some((row) => row.job.Status !== "dead")) {
    errors.push(`namespace "${name}" has non-terminal jobs in regions: [${tables.options.region}]`);
  }
  if (hasRunningAllocs(tables, name)) {
    errors.push(`namespace "${name}" has non-terminal allocations in regions: [${tables.options.region}]`);
  }
  return errors.length > 0 ? refuse(500, formatMultiError(errors)) : null;
}

/** Walks all allocations: deleting a namespace is rare, an index for it would cost every placement. */
function hasRunningAllocs(tables: Tables, namespace: string): boolean {
  for (const alloc of tables.allocs.all()) {
    if (alloc.Namespace === namespace && !isClientTerminal(alloc)) return true;
  }
  return false;
}

export function upsertPools(w: Write, c: Of<"pool.upsert">): ApplyResult {
  for (const pool of c.pools) {
    if (isBuiltinPool(pool.Name)) {
      return refuse(400, `modifying node pool "${pool.Name}" is not allowed`);
    }
  }
  for (const pool of c.pools) w.putPool(pool);
  return {};
}

function isBuiltinPool(name: string): boolean {
  return name === "all" || name === "default";
}

export function deletePools(w: Write, c: Of<"pool.delete">): ApplyResult {
  for (const name of c.names) {
    const refusal = refusePoolDelete(w.tables, name);
    if (refusal) return refusal;
  }
  for (const name of c.names) {
    w.changes.removedNodePools.push(w.tables.pools.get(name)!);
    w.tables.pools.delete(name);
    w.touch("node_pools");
  }
  return {};
}

function refusePoolDelete(tables: Tables, name: string): ApplyResult | null {
  if (!tables.pools.has(name)) return refuse(500, `node pool ${name} not found`);
  const errors: string[] = [];
  for (const { job } of tables.jobs.values()) {
    if (job.NodePool !== name || job.Status === "dead") continue;
    errors.push(`node pool "${name}" has non-terminal jobs in regions: [${tables.options.region}]`);
    break;
  }
  for (const node of tables.nodes.values()) {
    if (node.NodePool !== name) continue;
    errors.push(`node pool "${name}" has nodes in regions: [${tables.options.region}]`);
    break;
  }
  if (errors.length > 0) return refuse(500, formatMultiError(errors));
  return isBuiltinPool(name) ? refuse(500, `deleting node pool "${name}" is not allowed`) : null;
}

/** Registrations of allocations that are gone or have ended are left out: they could never be taken back. */
export function upsertServices(w: Write, c: Of<"service.upsert">): ApplyResult {
  for (const service of c.services) {
    const alloc = w.tables.allocs.get(service.AllocID);
    if (alloc && !isClientTerminal(alloc)) w.putService(service);
  }
  return {};
}

/** Gives back how many there were: devices take back registrations that the end of their allocation took already. */
export function deleteServices(w: Write, c: Of<"service.delete">): ApplyResult {
  let removed = 0;
  for (const id of c.ids) if (w.removeService(id)) removed++;
  return { value: removed };
}
