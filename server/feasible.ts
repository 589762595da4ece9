// Whether a node may run a task group at all, whatever is free on it: constraints, drivers, devices, host volumes,
// networks. Verdicts are remembered per node as long as no node changes, and summed up per computed class, so that
// a blocked evaluation knows which kinds of node are worth waking for.
//
// Looks at nodes only, never at other allocations: distinct_hosts, distinct_property and free capacity are rank.ts's.
import type { Constraint, Job, Node, TaskGroup } from "../core/types.ts";
import { nodesIndexOf } from "./candidates.ts";
import { compileConstraint, type CompiledConstraint } from "./constraint.ts";
import { deviceGroupsMatching } from "./devices.ts";
import { hasHostNetwork } from "./ports.ts";
import type { StateReader } from "./state_reader.ts";

/** Why a node was passed over. */
export interface Reason {
  /** As ConstraintFiltered shows it. */
  text: string;
  /** True when every node of the computed class fails alike: a blocked evaluation need not wait for this class. */
  ofClass: boolean;
  /** True when metrics name it for one node of a class only, and count its siblings as "computed class ineligible". */
  oncePerClass: boolean;
}

type Check = (node: Node) => Reason | null;

const FEASIBLE = 1;

export class Feasibility {
  /** Computed class → whether a node of it passed. Only classes that were looked at. */
  readonly classes = new Map<string, boolean>();
  /** True when some constraint looks at something unique to a node. */
  readonly escaped: boolean;
  /** Position = verdict - 2. */
  readonly reasons: Reason[] = [];
  #verdicts: Uint16Array;
  #checks: Check[];
  #reasonNumbers = new Map<string, number>();

  constructor(
    private readonly nodes: readonly (Node | undefined)[],
    length: number,
    job: Job,
    group: TaskGroup,
  ) {
    this.#verdicts = new Uint16Array(length);
    const constraints = allConstraints(job, group).map(compileConstraint);
    this.escaped = constraints.some((constraint) => constraint.escapes);
    this.#checks = buildChecks(group, constraints, job.Constraints?.length ?? 0);
  }

  /** 1 when the node is feasible, else 2 + position in `reasons`. */
  verdict(slot: number): number {
    return this.#verdicts[slot] || (this.#verdicts[slot] = this.#judge(this.nodes[slot]!));
  }

  feasible(slot: number): boolean {
    return this.verdict(slot) === FEASIBLE;
  }

  reason(slot: number): Reason | null {
    const verdict = this.verdict(slot);
    return verdict === FEASIBLE ? null : this.reasons[verdict - 2]!;
  }

  #judge(node: Node): number {
    for (const check of this.#checks) {
      const reason = check(node);
      if (!reason) continue;
      const { ComputedClass } = node;
      if (ComputedClass !== "" && !this.classes.get(ComputedClass)) {
        if (reason.ofClass) this.classes.set(ComputedClass, false);
        // All that its class decides was passed.
        else if (reason === MISSING_VOLUMES) this.classes.set(ComputedClass, true);
      }
      return 2 + this.#numberOf(reason);
    }
    if (node.ComputedClass !== "") this.classes.set(node.ComputedClass, true);
    return FEASIBLE;
  }

  #numberOf(reason: Reason): number {
    const key = `${reason.ofClass} ${reason.text}`;
    let number = this.#reasonNumbers.get(key);
    if (number === undefined) {
      this.#reasonNumbers.set(key, number = this.reasons.length);
      this.reasons.push(reason);
    }
    return number;
  }
}

interface Remembered {
  feasibility: Feasibility;
  nodesIndex: number;
  length: number;
  constraints: Constraint[] | null;
}

/** What was found out about the nodes of one table, by group, and by all that a verdict looks at in a group. */
class Memory {
  readonly byGroup = new WeakMap<TaskGroup, Remembered>();
  readonly byDemands = new Map<string, Remembered>();
}
const memories = new WeakMap<object, Memory>();
/** Different demands that are remembered by their text. */
const DEMANDS_MAX = 512;

/**
 * The group's feasibility over the nodes of `state`; shared by all evaluations until a node changes, and by all groups
 * that demand the same, so that a thousand small jobs judge a node once.
 */
export function feasibilityOf(state: StateReader, job: Job, group: TaskGroup): Feasibility {
  const { nodes, length } = state.nodeTable;
  const nodesIndex = nodesIndexOf(state);
  let memory = memories.get(nodes);
  if (!memory) memories.set(nodes, memory = new Memory());
  const isValid = (known: Remembered | undefined) =>
    known !== undefined && known.nodesIndex === nodesIndex && known.length === length;
  const known = memory.byGroup.get(group);
  if (isValid(known) && known!.constraints === job.Constraints) return known!.feasibility;
  const demands = demandsOf(job, group);
  let alike = memory.byDemands.get(demands);
  if (!isValid(alike)) {
    if (memory.byDemands.size >= DEMANDS_MAX) memory.byDemands.clear();
    const feasibility = new Feasibility(nodes, length, job, group);
    alike = { feasibility, nodesIndex, length, constraints: job.Constraints };
    memory.byDemands.set(demands, alike);
  }
  memory.byGroup.set(group, { ...alike!, constraints: job.Constraints });
  return alike!.feasibility;
}

/** All that the checks below read, as text: equal texts, equal verdicts. Where the job may run keeps apart which classes it sees. */
function demandsOf(job: Job, group: TaskGroup): string {
  return JSON.stringify([
    job.Datacenters,
    job.NodePool,
    job.Constraints,
    group.Constraints,
    group.Volumes,
    group.Networks?.[0] ?? null,
    group.Tasks.map((task) => [task.Driver, task.Constraints, task.Resources.Devices]),
  ]);
}

function allConstraints(job: Job, group: TaskGroup): Constraint[] {
  return [
    ...job.Constraints ?? [],
    ...group.Constraints ?? [],
    ...group.Tasks.flatMap((task) => task.Constraints ?? []),
  ];
}

/** Job constraints first, then drivers, the group's constraints, devices, volumes, networks: the order in which Nomad names reasons. */
function buildChecks(group: TaskGroup, constraints: CompiledConstraint[], ofJob: number): Check[] {
  const checks = constraints.map(constraintCheck);
  const drivers = new Set(group.Tasks.map((task) => task.Driver));
  checks.splice(ofJob, 0, (node) => hasDrivers(node, drivers) ? null : MISSING_DRIVERS);
  checks.push(...deviceChecks(group), ...volumeChecks(group), ...networkChecks(group));
  return checks;
}

function constraintCheck(constraint: CompiledConstraint): Check {
  const reason = { text: constraint.text, ofClass: !constraint.escapes, oncePerClass: !constraint.escapes };
  return (node) => constraint.holds(node) ? null : reason;
}

/** Drivers and devices may differ within a class: a changed node wakes whoever waits, whatever its class is said to be. */
const MISSING_DRIVERS: Reason = { text: "missing drivers", ofClass: true, oncePerClass: true };
const MISSING_DEVICES: Reason = { text: "missing devices", ofClass: true, oncePerClass: true };
const MISSING_VOLUMES: Reason = {
  text: "missing compatible host volumes",
  ofClass: false,
  oncePerClass: false,
};
const MISSING_NETWORK: Reason = { text: "missing network", ofClass: true, oncePerClass: true };

function hasDrivers(node: Node, drivers: Set<string>): boolean {
  for (const driver of drivers) {
    const info = node.Drivers[driver];
    if (!info?.Detected || !info.Healthy) return false;
  }
  return true;
}

function deviceChecks(group: TaskGroup): Check[] {
  const requests = group.Tasks.flatMap((task) => task.Resources.Devices ?? []);
  if (requests.length === 0) return [];
  return [
    (node) =>
      requests.every((request) =>
          deviceGroupsMatching(node, request).some((device) =>
            device.Instances.filter((instance) => instance.Healthy).length >= request.Count
          )
        )
        ? null
        : MISSING_DEVICES,
  ];
}

function volumeChecks(group: TaskGroup): Check[] {
  const checks: Check[] = [];
  for (const request of Object.values(group.Volumes ?? {})) {
    if (request.Type === "csi") {
      const reason = { text: `missing CSI Volume ${request.Source}`, ofClass: false, oncePerClass: false };
      checks.push(() => reason);
    } else if (request.Type === "host" && !request.PerAlloc) {
      checks.push((node) => hasVolume(node, request.Source, request.ReadOnly) ? null : MISSING_VOLUMES);
    }
  }
  return checks;
}

export function hasVolume(node: Node, source: string, readOnly: boolean): boolean {
  const volume = node.HostVolumes[source];
  return volume !== undefined && (readOnly || !volume.ReadOnly);
}

/** Volumes of one allocation each (`per_alloc`): the source's name carries the allocation's index. */
export function perAllocVolumesCheck(group: TaskGroup): ((node: Node, index: number) => boolean) | null {
  const requests = Object.values(group.Volumes ?? {}).filter((request) =>
    request.Type === "host" && request.PerAlloc
  );
  if (requests.length === 0) return null;
  return (node, index) =>
    requests.every((request) => hasVolume(node, `${request.Source}[${index}]`, request.ReadOnly));
}

function networkChecks(group: TaskGroup): Check[] {
  const network = group.Networks?.[0];
  if (!network) return [];
  const checks: Check[] = [];
  if (network.Mode === "bridge" || network.Mode.startsWith("cni/")) {
    checks.push((node) => hasNetworkMode(node, network.Mode) ? null : MISSING_NETWORK);
  }
  for (const port of [...network.ReservedPorts ?? [], ...network.DynamicPorts ?? []]) {
    if (port.HostNetwork === "" || port.HostNetwork === "default") continue;
    const reason = {
      text: `missing host network "${port.HostNetwork}" for port "${port.Label}"`,
      ofClass: true,
      oncePerClass: true,
    };
    checks.push((node) => hasHostNetwork(node, port.HostNetwork) ? null : reason);
  }
  return checks;
}

function hasNetworkMode(node: Node, mode: string): boolean {
  return (node.NodeResources.Networks ?? []).some((network) => network.Mode === mode) ||
    (node.NodeResources.NodeNetworks ?? []).some((network) => network.Mode === mode);
}
