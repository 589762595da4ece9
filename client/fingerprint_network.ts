// The device's addresses as the scheduler needs them: the interface tasks bind to, named host networks, and their
// attributes. Link-local addresses are left out because a port on them cannot be advertised.
import { readProc } from "../core/proc_fs.ts";
import { networkInterfaces } from "node:os";
import type { HostNetwork, NodeNetwork, NodeNetworkResource } from "../core/types.ts";
import type { ClientConfig } from "./config.ts";
import { ConfigError } from "../core/errors.ts";

interface Address {
  device: string;
  family: "ipv4" | "ipv6";
  ip: string;
  cidr: string;
  mac: string;
}

export interface NetworkFingerprint {
  attributes: Record<string, string>;
  networks: NodeNetwork[];
  nodeNetworks: NodeNetworkResource[];
  hostNetworks: Record<string, HostNetwork> | null;
}

/** Throws ConfigError when the configured interface does not exist. */
export async function networkFingerprint(config: ClientConfig): Promise<NetworkFingerprint> {
  const all = addresses();
  const device = config.networkInterface || await defaultInterface() || all[0]?.device || "lo";
  const own = all.filter((address) => address.device === device);
  if (own.length === 0 && config.networkInterface !== "") {
    throw new ConfigError(
      `network_interface ${JSON.stringify(device)} has no usable address; this host has ${
        [...new Set(all.map((a) => a.device))].join(", ") || "none"
      }`,
    );
  }
  const mbits = await speedMbits(device);
  const aliases = Object.entries(config.hostNetworks);
  const resources = new Map<string, NodeNetworkResource>();
  const add = (address: Address, alias: string, reservedPorts: string, speed: number) => {
    const resource = resources.get(address.device) ?? {
      Mode: "host",
      Device: address.device,
      MacAddress: address.mac,
      Speed: speed,
      Addresses: [],
    };
    resource.Addresses!.push({
      Family: address.family,
      Alias: alias,
      Address: address.ip,
      ReservedPorts: reservedPorts,
      Gateway: "",
    });
    resources.set(address.device, resource);
  };
  for (const address of own) add(address, "default", config.reserved.reservedPorts, mbits);
  for (const [alias, network] of aliases) {
    for (const address of all.filter((a) => belongs(a, network))) {
      add(address, alias, network.reservedPorts, await speedMbits(address.device));
    }
  }
  const first = own.find((address) => address.family === "ipv4") ?? own[0];
  return {
    attributes: first ? { "unique.network.ip-address": first.ip } : {},
    networks: own.map((address) => ({
      Mode: "host",
      Device: address.device,
      CIDR: `${address.ip}/${address.family === "ipv4" ? 32 : 128}`,
      IP: address.ip,
      MBits: mbits,
    })),
    nodeNetworks: [...resources.values()],
    hostNetworks: aliases.length === 0 ? null : Object.fromEntries(
      aliases.map(([name, n]) => [name, {
        Name: name,
        CIDR: n.cidr,
        Interface: n.interface,
        ReservedPorts: n.reservedPorts,
      }]),
    ),
  };
}

function addresses(): Address[] {
  return Object.entries(networkInterfaces()).flatMap(([device, list]) =>
    (list ?? []).filter((entry) => !entry.address.startsWith("fe80:")).map((entry): Address => ({
      device,
      family: entry.family === "IPv4" ? "ipv4" : "ipv6",
      ip: entry.address,
      cidr: entry.cidr ?? `${entry.address}/32`,
      mac: entry.mac === "00:00:00:00:00:00" ? "" : entry.mac,
    }))
  );
}

function belongs(address: Address, network: { cidr: string; interface: string }): boolean {
  if (network.interface !== "" && network.interface !== address.device) return false;
  return network.cidr === "" || inCidr(address.ip, network.cidr);
}

/** IPv4 by arithmetic; IPv6 when the network's address itself is meant. */
export function inCidr(ip: string, cidr: string): boolean {
  const [base = "", bits = "32"] = cidr.split("/");
  if (ip.includes(":") || base.includes(":")) return ip === base;
  const mask = Number(bits) === 0 ? 0 : (~0 << (32 - Number(bits))) >>> 0;
  return (toInt(ip) & mask) >>> 0 === (toInt(base) & mask) >>> 0;
}

const toInt = (ip: string): number => ip.split(".").reduce((sum, part) => (sum << 8 | Number(part)) >>> 0, 0);

/** The interface of the default route, "" on a machine without one. */
async function defaultInterface(): Promise<string> {
  try {
    for (const line of (await readProc("/proc/net/route")).split("\n").slice(1)) {
      const [device = "", destination] = line.split("\t");
      if (destination === "00000000") return device;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  return "";
}

/** 1,000 where the kernel does not say (virtual interfaces, wireless). */
async function speedMbits(device: string): Promise<number> {
  try {
    const speed = Number((await readProc(`/sys/class/net/${device}/speed`)).trim());
    return speed > 0 ? speed : 1000;
  } catch (speedNotKnown) {
    void speedNotKnown;
    return 1000;
  }
}
