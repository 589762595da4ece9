// Host ports: which addresses a node offers under which host network name, and how an allocation's static and dynamic
// ports are given out on them. Pure; randomness comes in. Who holds a port is the node table's and the overlay's.
//
// Invariants: no port is given twice on one address; ports that the node's configuration reserves are never given.
import type { Random } from "../core/env.ts";
import type { AllocatedPort, NetworkResource, Node, Port, TaskGroup } from "../core/types.ts";
import { portKey } from "./demand.ts";

const DYNAMIC_MIN = 20000;
const DYNAMIC_MAX = 32000;
/** Random draws for a dynamic port before the range is walked from end to end. */
const DRAWS_MAX = 20;

interface HostAddress {
  ip: string;
  reserved: Set<number>;
}

interface NodePorts {
  /** Host network name → its addresses. */
  addresses: Map<string, HostAddress[]>;
  min: number;
  max: number;
}

const known = new WeakMap<Node, NodePorts>();

function nodePorts(node: Node): NodePorts {
  let ports = known.get(node);
  if (!ports) known.set(node, ports = readNodePorts(node));
  return ports;
}

function readNodePorts(node: Node): NodePorts {
  const everywhere = node.ReservedResources.Networks.ReservedHostPorts;
  const addresses = new Map<string, HostAddress[]>();
  for (const network of node.NodeResources.NodeNetworks ?? []) {
    for (const address of network.Addresses ?? []) {
      const reserved = parsePorts(everywhere, address.ReservedPorts);
      const list = addresses.get(address.Alias) ?? [];
      list.push({ ip: address.Address, reserved });
      addresses.set(address.Alias, list);
    }
  }
  if (!addresses.has("default")) {
    const ip = (node.NodeResources.Networks ?? []).find((network) => network.IP)?.IP ??
      node.Attributes["unique.network.ip-address"] ?? "";
    addresses.set("default", [{ ip, reserved: parsePorts(everywhere) }]);
  }
  const { MinDynamicPort, MaxDynamicPort } = node.NodeResources;
  return { addresses, min: MinDynamicPort || DYNAMIC_MIN, max: MaxDynamicPort || DYNAMIC_MAX };
}

/** Port lists such as "22,80,8500-8600"; empty parts are passed over. */
export function parsePorts(...lists: string[]): Set<number> {
  const ports = new Set<number>();
  for (const part of lists.flatMap((list) => (list ?? "").split(","))) {
    const match = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part);
    if (!match) continue;
    for (let port = Number(match[1]); port <= Math.min(Number(match[2] ?? match[1]), 65535); port++) {
      ports.add(port);
    }
  }
  return ports;
}

export function hasHostNetwork(node: Node, name: string): boolean {
  return nodePorts(node).addresses.has(name);
}

/** What a group wants of its node's ports: null when nothing. */
export interface PortAsk {
  group: NetworkResource | null;
  tasks: { name: string; network: NetworkResource }[];
}

export function portAskOf(group: TaskGroup): PortAsk | null {
  const network = group.Networks?.[0] ?? null;
  const tasks = group.Tasks.flatMap((task) =>
    (task.Resources.Networks ?? []).map((network) => ({ name: task.Name, network }))
  );
  return network || tasks.length > 0 ? { group: network, tasks } : null;
}

/** Keys of the static ports of the ask on the node's first address each. */
export function staticPortKeys(ask: PortAsk, node: Node): number[] {
  const { addresses } = nodePorts(node);
  return [ask.group, ...ask.tasks.map((task) => task.network)].flatMap((network) =>
    (network?.ReservedPorts ?? []).flatMap((port) => {
      const address = addresses.get(port.HostNetwork || "default")?.[0];
      return address && !port.IgnoreCollision ? [portKey(address.ip, port.Value)] : [];
    })
  );
}

export interface PortGrant {
  networks: NetworkResource[] | null;
  ports: AllocatedPort[] | null;
  taskNetworks: Map<string, NetworkResource[]>;
  /** Keys as node_table.ts counts them. */
  keys: number[];
}

export interface PortsOfNode {
  node: Node;
  /** Whether somebody else holds the port (as portKey). */
  taken(key: number): boolean;
}

/** Gives out the asked ports; a text such as "network: reserved port collision http=80" when the node cannot. */
export function assignPorts(ask: PortAsk, on: PortsOfNode, random: Random): PortGrant | string {
  const assigner = new Assigner(on, random);
  const grant: PortGrant = { networks: null, ports: null, taskNetworks: new Map(), keys: assigner.keys };
  if (ask.group) {
    const ports = assigner.assign(ask.group);
    if (typeof ports === "string") return ports;
    grant.ports = ports.length > 0 ? ports : null;
    grant.networks = [granted(ask.group, ports, assigner.ipOf(ports))];
  }
  for (const { name, network } of ask.tasks) {
    const ports = assigner.assign(network);
    if (typeof ports === "string") return ports;
    const list = grant.taskNetworks.get(name) ?? [];
    list.push(granted(network, ports, assigner.ipOf(ports)));
    grant.taskNetworks.set(name, list);
  }
  return grant;
}

class Assigner {
  readonly keys: number[] = [];
  #offer: NodePorts;
  #own = new Set<number>();

  constructor(private readonly on: PortsOfNode, private readonly random: Random) {
    this.#offer = nodePorts(on.node);
  }

  /** Static ports first: a dynamic one must not take what a static one needs. */
  assign(network: NetworkResource): AllocatedPort[] | string {
    const ports: AllocatedPort[] = [];
    for (const port of network.ReservedPorts ?? []) {
      const result = this.#assignStatic(port);
      if (typeof result === "string") return result;
      ports.push(result);
    }
    for (const port of network.DynamicPorts ?? []) {
      const result = this.#assignDynamic(port);
      if (typeof result === "string") return result;
      ports.push(result);
    }
    return ports;
  }

  ipOf(ports: AllocatedPort[]): string {
    return ports[0]?.HostIP ?? this.#offer.addresses.get("default")?.[0]?.ip ?? "";
  }

  #assignStatic(port: Port): AllocatedPort | string {
    const addresses = this.#addresses(port);
    if (addresses.length === 0) return noAddresses(port);
    if (port.Value < 0 || port.Value > 65535) return `network: invalid port ${port.Value} (out of range)`;
    for (const address of addresses) {
      const key = portKey(address.ip, port.Value);
      if (!port.IgnoreCollision && !this.#free(address, key, port.Value)) continue;
      if (!port.IgnoreCollision) this.#take(key);
      return allocated(port, port.Value, address.ip);
    }
    return `network: reserved port collision ${port.Label}=${port.Value}`;
  }

  #assignDynamic(port: Port): AllocatedPort | string {
    const addresses = this.#addresses(port);
    if (addresses.length === 0) return noAddresses(port);
    for (const address of addresses) {
      const value = this.#draw(address);
      if (value === 0) continue;
      this.#take(portKey(address.ip, value));
      return allocated(port, value, address.ip);
    }
    return "network: dynamic port selection failed";
  }

  /** A free port of the dynamic range; 0 when there is none. */
  #draw(address: HostAddress): number {
    const { min, max } = this.#offer;
    const span = max - min + 1;
    if (span <= 0) return 0;
    for (let draw = 0; draw < DRAWS_MAX; draw++) {
      const value = min + this.random.int(span);
      if (this.#free(address, portKey(address.ip, value), value)) return value;
    }
    const start = this.random.int(span);
    for (let i = 0; i < span; i++) {
      const value = min + (start + i) % span;
      if (this.#free(address, portKey(address.ip, value), value)) return value;
    }
    return 0;
  }

  #addresses(port: Port): HostAddress[] {
    return this.#offer.addresses.get(port.HostNetwork || "default") ?? [];
  }

  #free(address: HostAddress, key: number, value: number): boolean {
    return !address.reserved.has(value) && !this.#own.has(key) && !this.on.taken(key);
  }

  #take(key: number): void {
    this.#own.add(key);
    this.keys.push(key);
  }
}

function noAddresses(port: Port): string {
  return `network: no addresses available for ${JSON.stringify(port.HostNetwork || "default")} network`;
}

function allocated(port: Port, value: number, hostIp: string): AllocatedPort {
  const to = port.To === -1 ? value : port.To;
  return { Label: port.Label, Value: value, To: to, HostIP: hostIp, IgnoreCollision: port.IgnoreCollision };
}

/** The asked network with its ports filled in. */
function granted(network: NetworkResource, ports: AllocatedPort[], ip: string): NetworkResource {
  const fill = (asked: Port[] | null, from: number): Port[] | null =>
    asked && asked.map((port, i) => ({ ...port, Value: ports[from + i]!.Value, To: ports[from + i]!.To }));
  return {
    ...network,
    IP: ip,
    ReservedPorts: fill(network.ReservedPorts, 0),
    DynamicPorts: fill(network.DynamicPorts, network.ReservedPorts?.length ?? 0),
  };
}
