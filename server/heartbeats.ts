// Who is alive: every node has a time by which it must be heard of again. Misses become one log entry for all nodes that
// missed the same tick. A look over all deadlines once a second is cheap (a number a node), so there is no wheel to keep.
//
// Invariant: a node is only declared down when this server was able to hear it: time in which our own event loop
// stood still is given to every node on top.
import { errorText, NotLeaderError } from "../core/errors.ts";
import { formatTime } from "../core/time.ts";
import type { Allocation, Evaluation, Node, NodeEvent, NodeStatus } from "../core/types.ts";
import { isTerminal, lostAfterNs } from "./alloc_sets.ts";
import { nodeEvaluations } from "./evaluations.ts";
import type { LeaderContext } from "./scheduling.ts";
import type { Changes } from "./state_reader.ts";

const TICK_MS = 1000;
/** A tick this late means that heartbeats may be waiting unread. */
const LAG_MIN_MS = 250;
/** Until a status that could not be written is tried again. */
const RETRY_MS = 5000;

export interface HeartbeatTimes {
  heartbeatTtlMinMs: number;
  heartbeatGraceMs: number;
  heartbeatsPerSecondMax: number;
  /** What every node gets after an election. */
  heartbeatTtlFailoverMs: number;
}

export class Heartbeats {
  /** Node → monotonic milliseconds by which it must beat. Nodes that are down have none. */
  #deadlines = new Map<string, number>();
  #reviving = new Set<string>();
  #cancelTick: (() => void) | null = null;
  #tickDueMs = 0;

  constructor(private readonly context: LeaderContext, private readonly times: HeartbeatTimes) {}

  start(): void {
    const now = this.context.clock.monotonicMs();
    for (const node of this.context.state.nodes()) {
      if (isUp(node.Status)) this.#deadlines.set(node.ID, now + this.times.heartbeatTtlFailoverMs);
    }
    this.#planTick();
  }

  stop(): void {
    this.#cancelTick?.();
    this.#cancelTick = null;
    this.#deadlines.clear();
    this.#reviving.clear();
  }

  /** Nodes that are expected to beat. */
  get active(): number {
    return this.#deadlines.size;
  }

  /** The node lives; returns in how many milliseconds it should beat again. */
  beat(nodeId: string): number {
    const { clock, random, state } = this.context;
    const { heartbeatTtlMinMs, heartbeatsPerSecondMax, heartbeatGraceMs } = this.times;
    const scaledMs = heartbeatsPerSecondMax > 0 ? (state.nodeCount / heartbeatsPerSecondMax) * 1000 : 0;
    const ttlMs = Math.max(heartbeatTtlMinMs, scaledMs);
    const spreadMs = Math.round(ttlMs * (1 + random.float()));
    this.#deadlines.set(nodeId, clock.monotonicMs() + spreadMs + heartbeatGraceMs);
    const node = state.node(nodeId);
    if (node && !isUp(node.Status)) this.#revive(node);
    return spreadMs;
  }

  onChanges(changes: Changes): void {
    for (const node of changes.removedNodes) this.#deadlines.delete(node.ID);
    for (const node of changes.nodes) {
      if (isUp(node.Status)) this.#reviving.delete(node.ID);
      else this.#deadlines.delete(node.ID);
    }
    this.#settleDisconnected(changes.allocs);
  }

  #planTick(): void {
    const { clock } = this.context;
    this.#tickDueMs = clock.monotonicMs() + TICK_MS;
    this.#cancelTick = clock.after(TICK_MS, () => this.#tick());
  }

  #tick(): void {
    const now = this.context.clock.monotonicMs();
    const lagMs = now - this.#tickDueMs;
    if (lagMs >= LAG_MIN_MS) {
      for (const [id, deadlineMs] of this.#deadlines) this.#deadlines.set(id, deadlineMs + lagMs + TICK_MS);
      this.context.logger.warn("The server was busy: heartbeat deadlines were moved", {
        lagMs: Math.round(lagMs),
      });
    }
    const missed: Node[] = [];
    for (const [id, deadlineMs] of this.#deadlines) {
      if (deadlineMs > now) continue;
      const node = this.context.state.node(id);
      if (!node || !isUp(node.Status)) {
        this.#deadlines.delete(id);
        continue;
      }
      this.#deadlines.set(id, now + RETRY_MS);
      missed.push(node);
    }
    if (missed.length > 0) this.#declare(missed);
    this.#planTick();
  }

  #declare(missed: Node[]): void {
    const event = this.#event("Node heartbeat missed");
    const updates = missed.map((node) => ({ id: node.ID, status: this.#statusOfSilent(node), event }));
    for (const { id, status } of updates) {
      this.context.logger.warn("node missed its heartbeats", { node: id, status });
    }
    this.#write(updates, missed);
  }

  /** Silent nodes whose allocations may outlive the silence are disconnected, the others down. */
  #statusOfSilent(node: Node): NodeStatus {
    for (const alloc of this.context.state.allocsByNode(node.ID)) {
      if (!isTerminal(alloc) && mayWait(alloc)) return "disconnected";
    }
    return "down";
  }

  /** A heartbeat of a node that was given up: it is ready again, and its jobs are looked at. */
  #revive(node: Node): void {
    if (this.#reviving.has(node.ID)) return;
    this.#reviving.add(node.ID);
    const event = this.#event("Node reregistered by heartbeat");
    this.#write([{ id: node.ID, status: "ready", event }], [node]);
  }

  /** The last allocation that waited for a disconnected node was given up: the node is down. */
  #settleDisconnected(allocs: readonly Allocation[]): void {
    const { state } = this.context;
    const nodes = new Map<string, Node>();
    for (const alloc of allocs) {
      if (alloc.ClientStatus !== "lost") continue;
      const node = state.node(alloc.NodeID);
      if (node?.Status === "disconnected") nodes.set(node.ID, node);
    }
    const down = [...nodes.values()].filter((node) => {
      for (const alloc of state.allocsByNode(node.ID)) if (!isTerminal(alloc)) return false;
      return true;
    });
    if (down.length > 0) {
      this.#write(down.map((node) => ({ id: node.ID, status: "down" as const, event: null })), down);
    }
  }

  #event(message: string): NodeEvent {
    return {
      Message: message,
      Subsystem: "Cluster",
      Details: null,
      Timestamp: formatTime(this.context.nowNs()),
      CreateIndex: 0,
    };
  }

  #write(
    updates: { id: string; status: NodeStatus; event: NodeEvent | null }[],
    nodes: readonly Node[],
  ): void {
    const { state, random } = this.context;
    const nowNs = this.context.nowNs();
    const evals = new Map<string, Evaluation>();
    for (const node of nodes) {
      for (const evaluation of nodeEvaluations(state, node, { random, nowNs })) {
        evals.set(`${evaluation.Namespace}\0${evaluation.JobID}`, evaluation);
      }
    }
    this.context.propose({ kind: "node.status", time: nowNs, updates, evals: [...evals.values()] }).catch(
      (error) => {
        for (const { id } of updates) this.#reviving.delete(id);
        if (error instanceof NotLeaderError) return;
        this.context.logger.warn(`Cannot write node status: ${errorText(error)}`);
      },
    );
  }
}

function isUp(status: NodeStatus): boolean {
  return status === "ready" || status === "initializing";
}

function mayWait(alloc: Allocation): boolean {
  const group = alloc.Job.TaskGroups.find((candidate) => candidate.Name === alloc.TaskGroup);
  return lostAfterNs(group) > 0 || group?.Disconnect?.Replace === false;
}
