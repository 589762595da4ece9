// Which nodes a job may look at at all (datacenters, pool, readiness), as slots of the node table, and what constraints
// read from them, as columns. Kept per state and thrown away when any node changes, so a thousand evaluations between
// two changes of nodes share one walk over the nodes. A cache only: results never depend on what it holds.
import type { Node } from "../core/types.ts";
import { compileTarget } from "./constraint.ts";
import type { StateReader } from "./state_reader.ts";

/** Ready nodes of some datacenters and a pool. */
export interface Candidates {
  slots: Int32Array;
  byDatacenter: Record<string, number>;
}

/** One attribute of every node as small numbers; -1 where a node does not have it. */
export interface AttributeColumn {
  ids: Int32Array;
  values: string[];
}

class NodeCache {
  readonly candidates = new Map<string, Candidates>();
  readonly columns = new Map<string, AttributeColumn>();
  constructor(readonly nodesIndex: number, readonly tableLength: number) {}
}

const caches = new WeakMap<object, NodeCache>();

/** Identifies the set of nodes: anything computed from nodes alone holds while this does. */
export function nodesIndexOf(state: StateReader): number {
  return state.tableIndex("nodes");
}

function cacheOf(state: StateReader): NodeCache {
  const key = state.nodeTable;
  const known = caches.get(key);
  const index = nodesIndexOf(state);
  if (known && known.nodesIndex === index && known.tableLength === key.length) return known;
  const fresh = new NodeCache(index, key.length);
  caches.set(key, fresh);
  return fresh;
}

export function candidatesFor(
  state: StateReader,
  datacenters: readonly string[],
  pool: string,
): Candidates {
  const cache = cacheOf(state);
  const key = `${pool}\n${datacenters.join("\n")}`;
  const known = cache.candidates.get(key);
  if (known) return known;
  const { nodes, byDatacenter } = state.readyNodes(datacenters, pool);
  const slots = new Int32Array(nodes.length);
  nodes.forEach((node, i) => slots[i] = state.nodeTable.slot(node.ID));
  const candidates = { slots, byDatacenter };
  cache.candidates.set(key, candidates);
  return candidates;
}

/** The column of a target such as "${node.datacenter}" or "${meta.rack}". */
export function attributeColumn(state: StateReader, target: string): AttributeColumn {
  const cache = cacheOf(state);
  const known = cache.columns.get(target);
  if (known) return known;
  const column = buildColumn(state.nodeTable.nodes, state.nodeTable.length, compileTarget(target));
  cache.columns.set(target, column);
  return column;
}

function buildColumn(
  nodes: readonly (Node | undefined)[],
  length: number,
  read: (node: Node) => string | undefined,
): AttributeColumn {
  const ids = new Int32Array(length).fill(-1);
  const values: string[] = [];
  const known = new Map<string, number>();
  for (let slot = 0; slot < length; slot++) {
    const node = nodes[slot];
    const value = node && read(node);
    if (value === undefined) continue;
    let id = known.get(value);
    if (id === undefined) {
      known.set(value, id = values.length);
      values.push(value);
    }
    ids[slot] = id;
  }
  return { ids, values };
}
