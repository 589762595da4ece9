// Capacity and usage of every node in columns: a slot a node, typed arrays a dimension, so that ranking 5,000 nodes
// touches no objects. state.ts is the only writer; the scheduler reads it and keeps its plan in flight on its own
// overlay. Slots of removed nodes are reused.
//
// Invariant: used[slot] is the sum over the slot's allocations that are not terminal (desired stop/evict with a
// terminal client status, or client status complete/failed/lost), and ports[slot] their host ports.
import type { Node } from "../core/types.ts";

/** What one allocation takes from its node. */
export interface Demand {
  cpuMhz: number;
  memoryMb: number;
  diskMb: number;
  /** Host ports, static and dynamic, and, as keys below zero, whole cores and devices (demand.ts). */
  ports: readonly number[];
}

export class NodeTable {
  /** One above the highest slot in use. */
  length = 0;
  cpuTotal = new Float64Array(64);
  memoryTotal = new Float64Array(64);
  diskTotal = new Float64Array(64);
  cpuUsed = new Float64Array(64);
  memoryUsed = new Float64Array(64);
  diskUsed = new Float64Array(64);
  /** Allocations that count against the node. */
  allocCount = new Int32Array(64);
  /** Allocations that the node takes at most (client option `node_max_allocs`), 0 for any number. */
  allocsMax = new Int32Array(64);
  /** 1 when ready, eligible and not draining. */
  ready = new Uint8Array(64);
  /** Changes whenever anything of the slot does: caches compare it. */
  version = new Uint32Array(64);
  readonly nodes: (Node | undefined)[] = [];
  #ports: (Map<number, number> | undefined)[] = [];
  #slots = new Map<string, number>();
  #free: number[] = [];

  /** The node's slot, or -1. */
  slot(nodeId: string): number {
    return this.#slots.get(nodeId) ?? -1;
  }

  /** Inserts or replaces a node; what it has in use stays. */
  put(node: Node): number {
    let slot = this.slot(node.ID);
    if (slot < 0) {
      slot = this.#free.pop() ?? this.length++;
      if (slot >= this.cpuTotal.length) this.#grow();
      this.#slots.set(node.ID, slot);
      this.cpuUsed[slot] =
        this.memoryUsed[slot] =
        this.diskUsed[slot] =
        this.allocCount[slot] =
          0;
      this.#ports[slot] = undefined;
    }
    const { NodeResources: total, ReservedResources: reserved } = node;
    this.nodes[slot] = node;
    this.cpuTotal[slot] = total.Cpu.CpuShares - reserved.Cpu.CpuShares;
    this.memoryTotal[slot] = total.Memory.MemoryMB - reserved.Memory.MemoryMB;
    this.diskTotal[slot] = total.Disk.DiskMB - reserved.Disk.DiskMB;
    this.allocsMax[slot] = Math.max(node.NodeMaxAllocs, 0);
    this.ready[slot] = isReady(node) ? 1 : 0;
    this.version[slot]!++;
    return slot;
  }

  /** A new record of a node of which nothing changed that ranking looks at. */
  refresh(node: Node): void {
    const slot = this.slot(node.ID);
    if (slot >= 0) this.nodes[slot] = node;
  }

  remove(nodeId: string): void {
    const slot = this.slot(nodeId);
    if (slot < 0) return;
    this.#slots.delete(nodeId);
    this.nodes[slot] = undefined;
    this.ready[slot] = 0;
    this.version[slot]!++;
    this.#free.push(slot);
  }

  /** Adds (`sign` 1) or gives back (`sign` -1) what an allocation takes. */
  account(slot: number, demand: Demand, sign: 1 | -1): void {
    this.cpuUsed[slot]! += sign * demand.cpuMhz;
    this.memoryUsed[slot]! += sign * demand.memoryMb;
    this.diskUsed[slot]! += sign * demand.diskMb;
    this.allocCount[slot]! += sign;
    this.version[slot]!++;
    for (const port of demand.ports) this.#accountPort(slot, port, sign);
  }

  /** How many allocations of the slot hold this host port. */
  portUsers(slot: number, port: number): number {
    return this.#ports[slot]?.get(port) ?? 0;
  }

  /** Host ports in use on the slot. */
  portsInUse(slot: number): Iterable<number> {
    return this.#ports[slot]?.keys() ?? [];
  }

  #accountPort(slot: number, port: number, sign: 1 | -1): void {
    const ports = this.#ports[slot] ??= new Map();
    const users = (ports.get(port) ?? 0) + sign;
    if (users > 0) ports.set(port, users);
    else ports.delete(port);
  }

  #grow(): void {
    const capacity = this.cpuTotal.length * 2;
    const wider = <T extends Float64Array | Int32Array | Uint8Array | Uint32Array>(old: T, next: T): T => {
      next.set(old as never);
      return next;
    };
    this.cpuTotal = wider(this.cpuTotal, new Float64Array(capacity));
    this.memoryTotal = wider(this.memoryTotal, new Float64Array(capacity));
    this.diskTotal = wider(this.diskTotal, new Float64Array(capacity));
    this.cpuUsed = wider(this.cpuUsed, new Float64Array(capacity));
    this.memoryUsed = wider(this.memoryUsed, new Float64Array(capacity));
    this.diskUsed = wider(this.diskUsed, new Float64Array(capacity));
    this.allocCount = wider(this.allocCount, new Int32Array(capacity));
    this.allocsMax = wider(this.allocsMax, new Int32Array(capacity));
    this.ready = wider(this.ready, new Uint8Array(capacity));
    this.version = wider(this.version, new Uint32Array(capacity));
  }
}

/** Whether new allocations may go to this node. */
export function isReady(node: Node): boolean {
  return node.Status === "ready" && node.SchedulingEligibility === "eligible" && !node.Drain;
}
