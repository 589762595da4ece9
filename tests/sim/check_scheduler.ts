// What the scheduler promised, looked at where it happens: no node holds more than it has, in any dimension, ports
// included; no allocation runs twice where the rules forbid it. Sums are made here from the allocations themselves and
// share nothing with the product's arithmetic. That stopped jobs end and counts are honoured stands in convergence.ts.
//
// Looked at is the state after each index once, on the first server that gets there: others have the same state or
// check_state.ts says so.
import type { AllocatedResources, Allocation } from "../../core/types.ts";
import type { Command } from "../../server/commands.ts";
import type { State } from "../../server/state.ts";
import type { StateReader } from "../../server/state_reader.ts";
import { type Checker, type SimDevice, SimFailure, type SimServer, type SimTask } from "./contract.ts";

type PlanCommand = Extract<Command, { kind: "plan" }>;

export class SchedulerChecker implements Checker {
  readonly rule = "scheduler";
  #appliedTo = 0;
  /** Allocations that were ever cut off: their replacements may run beside them until servers have decided. */
  readonly #cutOff = new Set<string>();
  /** Jobs that had canaries: promoted, these keep a name that an older allocation may have, too, as in Nomad. */
  readonly #canaryJobs = new Set<string>();
  /** Allocation → device on which its task runs. */
  readonly #running = new Map<string, SimDevice>();

  onApply(server: SimServer, index: number, command: Command): void {
    if (index <= this.#appliedTo) return;
    this.#appliedTo = index;
    const { state } = server.server!;
    if (command.kind === "plan") this.#checkPlan(state, index, command);
    else if (command.kind === "alloc.client") {
      for (const { ID } of command.updates) {
        const alloc = state.alloc(ID);
        if (alloc) checkCapacity(state, alloc.NodeID, index);
      }
    }
  }

  #checkPlan(state: State, index: number, { plan }: PlanCommand): void {
    for (const update of plan.updates ?? []) {
      if (update.clientStatus === "unknown") this.#cutOff.add(update.id);
    }
    for (const stop of plan.stops) if (stop.clientStatus === "unknown") this.#cutOff.add(stop.id);
    if (plan.placements.some(({ canary }) => canary)) this.#canaryJobs.add(`${plan.namespace}/${plan.jobId}`);
    const nodes = new Set<string>();
    for (const { id } of [...plan.placements, ...plan.inPlace]) {
      const alloc = state.alloc(id);
      if (!alloc || alloc.CreateIndex > index) continue;
      nodes.add(alloc.NodeID);
      if (alloc.CreateIndex === index) this.#checkPlacement(state, alloc, index);
    }
    for (const node of nodes) checkCapacity(state, node, index);
  }

  #checkPlacement(state: StateReader, alloc: Allocation, index: number): void {
    const job = alloc.Job!;
    const others = [...state.allocsByJob(alloc.Namespace, alloc.JobID)].filter((other) =>
      other.ID !== alloc.ID && other.Job?.CreateIndex === job.CreateIndex &&
      other.TaskGroup === alloc.TaskGroup
    );
    const perNode = job.Type === "system" || job.Type === "sysbatch";
    for (const other of others) {
      const sameName = other.Name === alloc.Name && (!perNode || other.NodeID === alloc.NodeID);
      if (sameName) this.#checkSameName(alloc, other, index);
      // Beside it in one plan an older version may be placed, which has no such constraint.
      const binds = other.CreateIndex < index || hasDistinctHosts(other);
      if (hasDistinctHosts(alloc) && binds && other.NodeID === alloc.NodeID && isWanted(other)) {
        throw new SimFailure(
          "distinct hosts",
          `entry ${index} places ${alloc.Name} on the node of ${other.Name} (${other.ID})`,
        );
      }
    }
  }

  #checkSameName(alloc: Allocation, other: Allocation, index: number): void {
    const mayShare = this.#canaryJobs.has(`${alloc.Namespace}/${alloc.JobID}`);
    const text = `entry ${index} places ${alloc.Name} as ${alloc.ID} on ${alloc.NodeID}`;
    const isBatch = alloc.Job!.Type === "batch" || alloc.Job!.Type === "sysbatch";
    if (isBatch && hasSucceeded(other) && other.Job!.Version === alloc.Job!.Version) {
      throw new SimFailure("run twice", `${text}, though ${other.ID} completed it already`);
    }
    if (mayShare || !isWanted(other)) return;
    if (other.ClientStatus === "unknown") {
      // The scheduler goes by the present version's block: a newer version may allow what the older one forbade.
      const forbidden = [other, alloc].every((each) => groupOf(each)?.Disconnect?.Replace === false);
      if (forbidden) {
        throw new SimFailure("run twice", `${text}, though ${other.ID} is cut off and must not be replaced`);
      }
      return;
    }
    if (this.#cutOff.has(other.ID) || this.#cutOff.has(alloc.PreviousAllocation)) return;
    throw new SimFailure(
      "run twice",
      `${text}, while ${other.ID} on ${other.NodeID} is ${other.ClientStatus}`,
    );
  }

  onTaskStarted(device: SimDevice, task: SimTask): void {
    const other = this.#running.get(task.allocId);
    if (other) {
      throw new SimFailure(
        "run twice",
        `${device.name} starts ${task.allocName} (${task.allocId}), which runs on ${other.name}`,
      );
    }
    this.#running.set(task.allocId, device);
  }

  onTaskStopped(_device: SimDevice, task: SimTask): void {
    this.#running.delete(task.allocId);
  }
}

/** Servers want it to run, and the device has not said that it ended. */
function isWanted({ DesiredStatus, ClientStatus }: Allocation): boolean {
  return DesiredStatus === "run" && ClientStatus !== "complete" && ClientStatus !== "failed" &&
    ClientStatus !== "lost";
}

function hasSucceeded({ DesiredStatus, ClientStatus }: Allocation): boolean {
  return DesiredStatus === "run" && ClientStatus === "complete";
}

function groupOf(alloc: Allocation) {
  return alloc.Job?.TaskGroups.find((group) => group.Name === alloc.TaskGroup);
}

function hasDistinctHosts(alloc: Allocation): boolean {
  const constraints = [...alloc.Job?.Constraints ?? [], ...groupOf(alloc)?.Constraints ?? []];
  return constraints.some(({ Operand }) => Operand === "distinct_hosts");
}

/** What is to run on a node fits on it. What is only on its way out is the device's to order. */
function checkCapacity(state: StateReader, nodeId: string, index: number): void {
  const node = state.node(nodeId);
  if (!node) return;
  const sum = { cpu: 0, memory: 0, disk: 0 };
  const ports = new Map<number, string>();
  for (const alloc of state.allocsByNode(nodeId)) {
    if (!isWanted(alloc)) continue;
    const { AllocatedResources: own } = alloc;
    sum.disk += own.Shared.DiskMB;
    for (const task of Object.values(own.Tasks)) {
      sum.cpu += task.Cpu.CpuShares;
      sum.memory += task.Memory.MemoryMB;
    }
    for (const port of portsOf(own)) {
      const other = ports.get(port);
      if (other !== undefined) {
        throw new SimFailure(
          "capacity",
          `after entry ${index} ${other} and ${alloc.ID} share port ${port} of ${nodeId}`,
        );
      }
      ports.set(port, alloc.ID);
    }
  }
  const { NodeResources: total, ReservedResources: reserved } = node;
  const room = {
    cpu: total.Cpu.CpuShares - reserved.Cpu.CpuShares,
    memory: total.Memory.MemoryMB - reserved.Memory.MemoryMB,
    disk: total.Disk.DiskMB - reserved.Disk.DiskMB,
  };
  for (const dimension of ["cpu", "memory", "disk"] as const) {
    if (sum[dimension] > room[dimension]) {
      throw new SimFailure(
        "capacity",
        `after entry ${index} node ${nodeId} is to run ${dimension} ${sum[dimension]} of ${room[dimension]}`,
      );
    }
  }
}

function portsOf(resources: AllocatedResources): number[] {
  return (resources.Shared.Ports ?? []).map((port) => port.Value).filter((port) => port > 0);
}
