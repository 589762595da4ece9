// Devices and whole CPU cores: things a node has one by one, so that an allocation is given certain instances. What is
// in use is counted like host ports, so that plans in flight and the last check see it too. Pure.
import type {
  AllocatedTaskResources,
  Node,
  NodeDevice,
  RequestedDevice,
  Task,
  TaskGroup,
} from "../core/types.ts";
import { compileConstraint } from "./constraint.ts";
import { coreKey, instanceKey } from "./demand.ts";

/** Device groups of the node that a request names ("gpu", "nvidia/gpu", "nvidia/gpu/1080ti") and whose constraints hold. */
export function deviceGroupsMatching(node: Node, request: RequestedDevice): NodeDevice[] {
  return (node.NodeResources.Devices ?? []).filter((device) =>
    nameMatches(device, request.Name) &&
    (request.Constraints ?? []).every((constraint) =>
      compileConstraint({ ...constraint, LTarget: asAttribute(constraint.LTarget) }).holds(asNode(device))
    )
  );
}

function nameMatches(device: NodeDevice, name: string): boolean {
  const parts = name.split("/");
  if (parts.length === 1) return device.Type === parts[0];
  if (device.Vendor !== parts[0] || device.Type !== parts[1]) return false;
  return parts.length === 2 || device.Name === parts.slice(2).join("/");
}

/** ${device.attr.x} and ${device.model} are read through the same operators as a node's attributes. */
function asAttribute(target: string): string {
  return target.replace(/^\$\{device\.attr\./, "${attr.").replace(/^\$\{device\./, "${attr.device.");
}

function asNode(device: NodeDevice): Node {
  const attributes: Record<string, string> = {
    "device.vendor": device.Vendor,
    "device.type": device.Type,
    "device.model": device.Name,
  };
  for (const [name, value] of Object.entries(device.Attributes ?? {})) attributes[name] = plainValue(value);
  return { Attributes: attributes, Meta: {} } as unknown as Node;
}

/** Attributes carry { Int | Float | String | Bool, Unit }. */
function plainValue(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  const found = Object.entries(value).find(([key, v]) => key !== "Unit" && v !== null && v !== undefined);
  return found ? String(found[1]) : "";
}

export function asksForInstances(group: TaskGroup): boolean {
  return group.Tasks.some((task) => task.Resources.Cores > 0 || (task.Resources.Devices?.length ?? 0) > 0);
}

/** A node's cores and devices: who has one is the node table's and the overlay's business, as for ports. */
export interface InstancesOfNode {
  node: Node;
  /** Whether somebody holds it (coreKey, instanceKey). */
  taken(key: number): boolean;
}

type TaskInstances = Pick<AllocatedTaskResources, "Cpu" | "Devices">;

/** What each task gets, or the exhausted dimension ("cores", "devices: …"). */
export function assignInstances(group: TaskGroup, on: InstancesOfNode): Map<string, TaskInstances> | string {
  const granted = new Map<string, TaskInstances>();
  const own = new Set<number>();
  const free = (key: number) => !own.has(key) && !on.taken(key);
  for (const task of group.Tasks) {
    const cores = assignCores(task, on.node, free);
    if (typeof cores === "string") return cores;
    for (const core of cores.ReservedCores ?? []) own.add(coreKey(core));
    const devices = assignDevices(task, on.node, { free, take: (key) => own.add(key) });
    if (typeof devices === "string") return devices;
    granted.set(task.Name, { Cpu: cores, Devices: devices });
  }
  return granted;
}

type IsFree = (key: number) => boolean;

/**
 * Keys of devices in use that the group would need besides the free ones, those of the least important holders first;
 * null when not even that would be enough. `holder` gives the priority of a holder that may be pushed out.
 */
export function devicesToFree(
  group: TaskGroup,
  on: InstancesOfNode & { holder(key: number): number | undefined },
): number[] | null {
  const wanted: number[] = [];
  const spoken = new Set<number>();
  const offer = (device: NodeDevice, count: number) => {
    const keys = device.Instances.filter((instance) => instance.Healthy)
      .map((instance) => keyOf(device, instance.ID)).filter((key) => !spoken.has(key));
    const free = keys.filter((key) => !on.taken(key)).slice(0, count);
    const held = keys.filter((key) => on.taken(key) && on.holder(key) !== undefined)
      .sort((a, b) => on.holder(a)! - on.holder(b)!).slice(0, count - free.length);
    return free.length + held.length < count ? null : { free, held };
  };
  for (const request of group.Tasks.flatMap((task) => task.Resources.Devices ?? [])) {
    const offers = deviceGroupsMatching(on.node, request).flatMap((device) =>
      offer(device, request.Count) ?? []
    );
    const best = offers.sort((a, b) => a.held.length - b.held.length)[0];
    if (!best) return null;
    for (const key of [...best.free, ...best.held]) spoken.add(key);
    wanted.push(...best.held);
  }
  return wanted;
}

function assignCores(task: Task, node: Node, isFree: IsFree): AllocatedTaskResources["Cpu"] | string {
  const wanted = task.Resources.Cores;
  if (!wanted) return { CpuShares: task.Resources.CPU, ReservedCores: null };
  const { Cpu: cpu } = node.NodeResources;
  const reserved = new Set(node.ReservedResources.Cpu.ReservedCpuCores ?? []);
  const free = (cpu.ReservableCpuCores ?? []).filter((core) => !reserved.has(core) && isFree(coreKey(core)));
  const cores = chooseCores(free, wanted, node, task.Resources.NUMA?.Affinity ?? "none");
  if (!cores) return "cores";
  const perCore = cpu.TotalCpuCores > 0 ? cpu.CpuShares / cpu.TotalCpuCores : 0;
  return { CpuShares: Math.floor(perCore * wanted), ReservedCores: cores };
}

/**
 * Cores of one NUMA node where the task asks for that: those of the fullest node that has enough. "prefer" takes cores of
 * several nodes rather than none, from as few as possible.
 */
function chooseCores(free: number[], wanted: number, node: Node, affinity: string): number[] | null {
  if (free.length < wanted) return null;
  if (affinity !== "require" && affinity !== "prefer") return free.slice(0, wanted);
  const nodeOf = numaNodes(node);
  const groups = [...Map.groupBy(free, (core) => nodeOf.get(core) ?? 0).values()].sort((a, b) =>
    a.length - b.length
  );
  const enough = groups.find((group) => group.length >= wanted);
  if (enough) return enough.slice(0, wanted);
  return affinity === "prefer" ? groups.reverse().flat().slice(0, wanted) : null;
}

/** Core → NUMA node, as the device's fingerprint has it. */
function numaNodes(node: Node): Map<number, number> {
  const topology = node.NodeResources.Processors.Topology as
    | { Cores?: { ID: number; NodeID: number }[] }
    | null;
  return new Map((topology?.Cores ?? []).map((core) => [core.ID, core.NodeID]));
}

function assignDevices(
  task: Task,
  node: Node,
  instances: { free: IsFree; take: (key: number) => void },
): AllocatedTaskResources["Devices"] | string {
  const requests = task.Resources.Devices ?? [];
  if (requests.length === 0) return null;
  const granted: NonNullable<AllocatedTaskResources["Devices"]> = [];
  for (const request of requests) {
    const offers = deviceGroupsMatching(node, request).map((device) => ({
      device,
      ids: freeInstances(device, instances.free),
    }))
      .filter((offer) => offer.ids.length >= request.Count)
      .sort((a, b) => deviceAffinity(b.device, request) - deviceAffinity(a.device, request));
    const best = offers[0];
    if (!best) return `devices: no devices match request`;
    const { Vendor, Type, Name } = best.device;
    const ids = best.ids.slice(0, request.Count);
    for (const id of ids) instances.take(keyOf(best.device, id));
    granted.push({ Vendor, Type, Name, DeviceIDs: ids });
  }
  return granted;
}

function freeInstances(device: NodeDevice, isFree: IsFree): string[] {
  return device.Instances.filter((instance) => instance.Healthy && isFree(keyOf(device, instance.ID)))
    .map((instance) => instance.ID);
}

function deviceAffinity(device: NodeDevice, request: RequestedDevice): number {
  const node = asNode(device);
  let score = 0;
  for (const affinity of request.Affinities ?? []) {
    if (compileConstraint({ ...affinity, LTarget: asAttribute(affinity.LTarget) }).holds(node)) {
      score += affinity.Weight;
    }
  }
  return score;
}

function keyOf({ Vendor, Type, Name }: NodeDevice, id: string): number {
  return instanceKey(`${Vendor}/${Type}/${Name}/${id}`);
}
