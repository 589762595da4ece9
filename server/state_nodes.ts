// What the node commands mean: registration, status, drain, eligibility, events.
//
// Invariant: a device never changes what the servers decide of it (drain, eligibility, events); registering again
// keeps them.
import { formatTimeSeconds } from "../core/time.ts";
import type { DrainMetadata, Evaluation, Node, NodeEvent } from "../core/types.ts";
import type { Command } from "./commands.ts";
import type { ApplyResult } from "./log.ts";
import { upsertEvals } from "./state_allocs.ts";
import { refuse } from "./state_jobs.ts";
import type { Write } from "./state_write.ts";

type Of<K extends Command["kind"]> = Extract<Command, { kind: K }>;

/** Events kept of every node. */
const NODE_EVENTS_MAX = 10;

export function registerNode(w: Write, c: Of<"node.register">): ApplyResult {
  const old = w.tables.nodes.get(c.node.ID);
  createPool(w, c.node.NodePool);
  if (old) reregister(w, old, c.node);
  else registerNew(w, c.node);
  putNodeEvals(w, c.evals ?? []);
  return {};
}

function registerNew(w: Write, node: Node): void {
  const event: NodeEvent = {
    Message: "Node registered",
    Subsystem: "Cluster",
    Details: null,
    Timestamp: formatTimeSeconds(w.time),
    CreateIndex: 0,
  };
  w.putNode({
    ...node,
    StatusUpdatedAt: seconds(w.time),
    Events: [event],
    CreateIndex: w.index,
    ModifyIndex: w.index,
  });
}

function reregister(w: Write, old: Node, node: Node): void {
  const back = old.Status === "down" || old.Status === "disconnected";
  const event = back && node.Status !== old.Status ? clusterEvent("Node reregistered by heartbeat", w) : null;
  w.putNode({
    ...node,
    StatusUpdatedAt: node.Status === old.Status ? old.StatusUpdatedAt : seconds(w.time),
    SchedulingEligibility: old.SchedulingEligibility,
    Drain: old.Drain,
    DrainStrategy: old.DrainStrategy,
    LastDrain: old.LastDrain,
    Events: event ? addEvent(old.Events, event, w.index) : old.Events,
    LastMissedHeartbeatIndex: old.LastMissedHeartbeatIndex,
    LastAllocUpdateIndex: old.LastAllocUpdateIndex,
    CreateIndex: old.CreateIndex,
    ModifyIndex: w.index,
  });
}

function clusterEvent(message: string, w: Write): NodeEvent {
  return {
    Message: message,
    Subsystem: "Cluster",
    Details: null,
    Timestamp: formatTimeSeconds(w.time),
    CreateIndex: w.index,
  };
}

/** A node that names a pool nobody made brings it along. */
function createPool(w: Write, name: string): void {
  if (name === "" || w.tables.pools.has(name)) return;
  w.putPool({
    Name: name,
    Description: "",
    Meta: null,
    NodeIdentityTTL: 86_400e9,
    SchedulerConfiguration: null,
    CreateIndex: 0,
    ModifyIndex: 0,
  });
}

function seconds(ns: number): number {
  return Math.floor(ns / 1e9);
}

function addEvent(events: readonly NodeEvent[], event: NodeEvent | null, index: number): NodeEvent[] {
  if (!event) return [...events];
  return [...events, { ...event, CreateIndex: index }].slice(-NODE_EVENTS_MAX);
}

/** Evaluations made for a node learn the index of its change. */
function putNodeEvals(w: Write, evals: readonly Evaluation[]): void {
  upsertEvals(
    w,
    evals.map((e) => e.NodeID !== "" && e.NodeModifyIndex === 0 ? { ...e, NodeModifyIndex: w.index } : e),
  );
}

export function deregisterNodes(w: Write, c: Of<"node.deregister">): ApplyResult {
  if (!c.ids.some((id) => w.tables.nodes.has(id))) return refuse(500, "node not found");
  for (const id of c.ids) w.removeNode(id);
  putNodeEvals(w, c.evals);
  return {};
}

export function setNodeStatus(w: Write, c: Of<"node.status">): ApplyResult {
  let found = false;
  for (const update of c.updates) {
    const old = w.tables.nodes.get(update.id);
    if (!old) continue;
    found = true;
    const missed = update.status !== old.Status &&
      (update.status === "down" || update.status === "disconnected");
    w.putNode({
      ...old,
      Status: update.status,
      StatusUpdatedAt: seconds(c.time),
      Events: addEvent(old.Events, update.event, w.index),
      LastMissedHeartbeatIndex: missed ? w.index : old.LastMissedHeartbeatIndex,
      ModifyIndex: w.index,
    });
  }
  if (!found) return refuse(500, "node not found");
  putNodeEvals(w, c.evals);
  return {};
}

export function setDrain(w: Write, c: Of<"node.drain">): ApplyResult {
  const old = w.tables.nodes.get(c.id);
  if (!old) return refuse(500, "node not found");
  w.putNode({
    ...old,
    Drain: c.drain !== null,
    DrainStrategy: c.drain,
    SchedulingEligibility: c.drain ? "ineligible" : c.markEligible ? "eligible" : old.SchedulingEligibility,
    LastDrain: drainMetadata(old, c),
    Events: addEvent(old.Events, c.event, w.index),
    ModifyIndex: w.index,
  });
  putNodeEvals(w, c.evals);
  return {};
}

function drainMetadata(old: Node, c: Of<"node.drain">): DrainMetadata | null {
  const now = formatTimeSeconds(c.time);
  if (c.drain) {
    // A changed strategy of a running drain is still the same drain.
    const started = old.DrainStrategy && old.LastDrain ? old.LastDrain.StartedAt : now;
    return { StartedAt: started, UpdatedAt: now, Status: "draining", AccessorID: c.accessorId, Meta: c.meta };
  }
  if (!old.DrainStrategy) return old.LastDrain;
  const last = old.LastDrain ??
    { StartedAt: now, UpdatedAt: now, Status: "draining" as const, AccessorID: c.accessorId, Meta: null };
  return {
    ...last,
    UpdatedAt: now,
    Status: c.complete ? "complete" : "canceled",
    Meta: c.meta ?? last.Meta,
  };
}

export function setEligibility(w: Write, c: Of<"node.eligibility">): ApplyResult {
  const old = w.tables.nodes.get(c.id);
  if (!old) return refuse(500, "node not found");
  if (old.DrainStrategy && c.eligibility === "eligible") {
    return refuse(500, "can not set node's scheduling eligibility to eligible while it is draining");
  }
  if (old.SchedulingEligibility === c.eligibility) {
    putNodeEvals(w, c.evals);
    return {};
  }
  w.putNode({
    ...old,
    SchedulingEligibility: c.eligibility,
    Events: addEvent(old.Events, c.event, w.index),
    ModifyIndex: w.index,
  });
  putNodeEvals(w, c.evals);
  return {};
}

export function addNodeEvents(w: Write, c: Of<"node.events">): ApplyResult {
  for (const { id, event } of c.events) {
    const old = w.tables.nodes.get(id);
    if (old) w.putNode({ ...old, Events: addEvent(old.Events, event, w.index), ModifyIndex: w.index });
  }
  return {};
}
