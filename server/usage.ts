// What plans in flight take and give back, in columns over the node table: schedulers and the plan applier look at
// state plus this. The table belongs to state and only changes when a command is applied; this overlay belongs to
// the leader and is empty whenever no plan is under way.
//
// Invariant: whoever adds a demand takes exactly that demand away again (whole numbers, so nothing is left over).
import type { Demand, NodeTable } from "./node_table.ts";

export class UsageOverlay {
  cpu = new Float64Array(0);
  memory = new Float64Array(0);
  disk = new Float64Array(0);
  allocs = new Int32Array(0);
  #ports = new Map<number, Map<number, number>>();

  /** Makes room for every slot of the table. */
  fit(table: NodeTable): void {
    const capacity = table.cpuTotal.length;
    if (this.cpu.length >= capacity) return;
    this.cpu = widen(this.cpu, new Float64Array(capacity));
    this.memory = widen(this.memory, new Float64Array(capacity));
    this.disk = widen(this.disk, new Float64Array(capacity));
    this.allocs = widen(this.allocs, new Int32Array(capacity));
  }

  add(slot: number, demand: Demand, sign: 1 | -1): void {
    this.cpu[slot]! += sign * demand.cpuMhz;
    this.memory[slot]! += sign * demand.memoryMb;
    this.disk[slot]! += sign * demand.diskMb;
    this.allocs[slot]! += sign;
    for (const port of demand.ports) this.#addPort(slot, port, sign);
  }

  /** Users of the port that the plans add (positive) or remove (negative). */
  portUsers(slot: number, port: number): number {
    return this.#ports.get(slot)?.get(port) ?? 0;
  }

  #addPort(slot: number, port: number, sign: 1 | -1): void {
    let ports = this.#ports.get(slot);
    if (!ports) this.#ports.set(slot, ports = new Map());
    const users = (ports.get(port) ?? 0) + sign;
    if (users !== 0) ports.set(port, users);
    else ports.delete(port);
    if (ports.size === 0) this.#ports.delete(slot);
  }
}

/** One run's entries on an overlay, so that they can all be taken back. */
export class UsageJournal {
  #slots: number[] = [];
  #demands: Demand[] = [];
  #signs: (1 | -1)[] = [];

  constructor(private readonly overlay: UsageOverlay) {}

  add(slot: number, demand: Demand, sign: 1 | -1): void {
    this.overlay.add(slot, demand, sign);
    this.#slots.push(slot);
    this.#demands.push(demand);
    this.#signs.push(sign);
  }

  get length(): number {
    return this.#slots.length;
  }

  /** Takes back everything after the first `length` entries. */
  rollback(length = 0): void {
    for (let i = this.#slots.length - 1; i >= length; i--) {
      this.overlay.add(this.#slots[i]!, this.#demands[i]!, this.#signs[i] === 1 ? -1 : 1);
    }
    this.#slots.length = this.#demands.length = this.#signs.length = length;
  }
}

/** The first dimension in which `demand` does not fit on the slot, in the order in which Nomad names them. */
export function exhausted(
  table: NodeTable,
  overlay: UsageOverlay,
  slot: number,
  demand: { cpuMhz: number; memoryMb: number; diskMb: number },
): "cpu" | "memory" | "disk" | null {
  if (table.cpuUsed[slot]! + overlay.cpu[slot]! + demand.cpuMhz > table.cpuTotal[slot]!) return "cpu";
  if (table.memoryUsed[slot]! + overlay.memory[slot]! + demand.memoryMb > table.memoryTotal[slot]!) {
    return "memory";
  }
  if (table.diskUsed[slot]! + overlay.disk[slot]! + demand.diskMb > table.diskTotal[slot]!) return "disk";
  return null;
}

/** Whether somebody holds the host port, in state or in a plan under way. */
export function portTaken(table: NodeTable, overlay: UsageOverlay, slot: number, port: number): boolean {
  return table.portUsers(slot, port) + overlay.portUsers(slot, port) > 0;
}

function widen<T extends Float64Array | Int32Array>(old: T, next: T): T {
  next.set(old as never);
  return next;
}
