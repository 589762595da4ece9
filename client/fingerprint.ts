// What the device is: the host's attributes and resources as a Node record. Reads /proc, /sys and /etc once; drivers
// are asked separately (fingerprint_drivers.ts). Makes no decisions and talks to nobody.
import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { writeDurably } from "../core/durable_file.ts";
import { readProc } from "../core/proc_fs.ts";
import { hostname, machine, release, totalmem } from "node:os";
import { join } from "node:path";
import { formatUuid } from "../core/env.ts";
import { NEW_NODE } from "../core/node.ts";
import { NOMAD_VERSION } from "../core/version.ts";
import type { Node } from "../core/types.ts";
import type { ClientConfig } from "./config.ts";
import { networkFingerprint } from "./fingerprint_network.ts";
import { type DiskSpace, diskSpace } from "./stats.ts";

const MB = 1024 * 1024;

/** Who the device is: kept over restarts. */
export interface Identity {
  id: string;
  secret: string;
}

/** Nomad's list of signals that tasks may be sent (api 457). */
const SIGNALS =
  "SIGTERM,SIGTTIN,SIGCONT,SIGSYS,SIGTRAP,SIGTTOU,SIGUSR1,SIGWINCH,SIGFPE,SIGILL,SIGKILL,SIGQUIT," +
  "SIGSEGV,SIGXCPU,SIGXFSZ,SIGNULL,SIGABRT,SIGBUS,SIGIO,SIGSTOP,SIGTSTP,SIGUSR2,SIGALRM,SIGHUP,SIGINT,SIGIOT," +
  "SIGPIPE,SIGPROF";

/** What was measured, with the configuration's overrides in place. */
interface Capacity {
  cpu: Cpu;
  totalCompute: number;
  memoryBytes: number;
  diskMb: number;
  disk: DiskSpace;
  reservedCores: number[];
}

/** The whole record, without drivers; the servers' fields hold what a new node has. */
export async function fingerprintNode(config: ClientConfig, identity: Identity): Promise<Node> {
  const [cpu, numa, memoryBytes, disk, system, network] = await Promise.all([
    fingerprintCpu(),
    readNuma(),
    memoryTotalBytes(),
    diskSpace(config.allocDir),
    fingerprintSystem(),
    networkFingerprint(config),
  ]);
  const { overrides } = config;
  const capacity: Capacity = {
    cpu,
    totalCompute: overrides.cpuTotalCompute || cpu.mhz * cpu.cores,
    memoryBytes: overrides.memoryTotalMb * MB || memoryBytes,
    diskMb: overrides.diskTotalMb || Math.floor(disk.sizeBytes / MB),
    disk,
    reservedCores: parseCores(config.reserved.cores),
  };
  return {
    ...NEW_NODE,
    ID: identity.id,
    SecretID: identity.secret,
    Name: config.nodeName || hostname(),
    Datacenter: config.datacenter,
    NodeClass: config.nodeClass,
    NodePool: config.nodePool,
    HTTPAddr: config.httpAddress,
    Attributes: { ...hostAttributes(config, capacity), ...system, ...network.attributes },
    Meta: { ...config.meta },
    NodeResources: {
      Cpu: {
        CpuShares: capacity.totalCompute,
        TotalCpuCores: cpu.cores,
        ReservableCpuCores: range(cpu.cores).filter((core) => !capacity.reservedCores.includes(core)),
      },
      Memory: { MemoryMB: Math.floor(capacity.memoryBytes / MB) },
      Disk: { DiskMB: capacity.diskMb },
      Networks: network.networks,
      NodeNetworks: network.nodeNetworks,
      Devices: null,
      MinDynamicPort: config.minDynamicPort,
      MaxDynamicPort: config.maxDynamicPort,
      Processors: { Topology: topology(cpu, overrides.cpuTotalCompute, numa) },
    },
    ReservedResources: reservedResources(config, capacity.reservedCores),
    HostVolumes: Object.fromEntries(
      Object.entries(config.hostVolumes).map(([volume, { path, readOnly }]) => [
        volume,
        { ID: "", Name: volume, Path: path, ReadOnly: readOnly },
      ]),
    ),
    HostNetworks: network.hostNetworks,
    NodeMaxAllocs: config.nodeMaxAllocs,
  };
}

function hostAttributes(config: ClientConfig, capacity: Capacity): Record<string, string> {
  const { cpu, totalCompute, memoryBytes, disk, reservedCores } = capacity;
  const { diskFreeMb } = config.overrides;
  return {
    "cpu.arch": cpu.arch,
    "cpu.numcores": String(cpu.cores),
    "cpu.reservablecores": String(cpu.cores - reservedCores.length),
    "cpu.frequency": String(cpu.mhz),
    "cpu.totalcompute": String(totalCompute),
    "cpu.usablecompute": String(totalCompute - config.reserved.cpuMhz),
    ...(cpu.model === "" ? {} : { "cpu.modelname": cpu.model }),
    "memory.totalbytes": String(memoryBytes),
    "nomad.version": NOMAD_VERSION,
    "nomad.service_discovery": "true",
    "numa.node.count": "1",
    "numa.node0.cores": cpu.cores === 1 ? "0" : `0-${cpu.cores - 1}`,
    "os.signals": SIGNALS,
    "unique.hostname": hostname(),
    "unique.advertise.address": config.httpAddress,
    "unique.storage.volume": disk.device,
    "unique.storage.bytestotal": String(disk.sizeBytes),
    // What is really free changes all the time and would register the node anew each time.
    ...(diskFreeMb > 0 ? { "unique.storage.bytesfree": String(diskFreeMb * MB) } : {}),
  };
}

function reservedResources(config: ClientConfig, cores: number[]): Node["ReservedResources"] {
  const { reserved } = config;
  return {
    Cpu: { CpuShares: reserved.cpuMhz, ReservedCpuCores: cores.length > 0 ? cores : null },
    Memory: { MemoryMB: reserved.memoryMb },
    Disk: { DiskMB: reserved.diskMb },
    Networks: { ReservedHostPorts: reserved.reservedPorts },
  };
}

interface Cpu {
  arch: string;
  cores: number;
  mhz: number;
  model: string;
}

const ARCHES: Record<string, string> = {
  x64: "amd64",
  arm64: "arm64",
  arm: "arm",
  ia32: "386",
  riscv64: "riscv64",
};

async function fingerprintCpu(): Promise<Cpu> {
  const info = await readSystem("/proc/cpuinfo");
  const cores = [...info.matchAll(/^processor\s*:/gm)].length || 1;
  const speeds = [...info.matchAll(/^cpu MHz\s*:\s*([\d.]+)/gm)].map((m) => Number(m[1]));
  return {
    arch: ARCHES[process.arch] ?? process.arch,
    cores,
    mhz: await baseMhz() || Math.round(Math.max(0, ...speeds)) || 1000,
    model: /^model name\s*:\s*(.*)$/m.exec(info)?.[1]?.trim() ?? "",
  };
}

/** What does not move with the load: the base frequency, else the highest; 0 when the kernel names neither. */
async function baseMhz(): Promise<number> {
  for (const file of ["base_frequency", "cpuinfo_max_freq"]) {
    const khz = Number((await readSystem(`/sys/devices/system/cpu/cpu0/cpufreq/${file}`)).trim());
    if (khz > 0) return Math.round(khz / 1000);
  }
  return 0;
}

async function memoryTotalBytes(): Promise<number> {
  const kb = /^MemTotal:\s*(\d+) kB/m.exec(await readSystem("/proc/meminfo"))?.[1];
  return kb ? Number(kb) * 1024 : totalmem();
}

async function fingerprintSystem(): Promise<Record<string, string>> {
  const osRelease = await readText("/etc/os-release");
  const field = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(osRelease)?.[1] ?? "";
  // Debian's os-release names the major version only.
  const debian = (await readText("/etc/debian_version")).trim();
  const version = field("ID") === "debian" && /^\d/.test(debian) ? debian : field("VERSION_ID");
  const mounts = await readSystem("/proc/self/mounts");
  const cgroups = / cgroup2? /.test(mounts)
    ? (/^\S+ \/sys\/fs\/cgroup cgroup2 /m.test(mounts) ? "2" : "1")
    : "";
  return {
    "os.name": field("ID") || process.platform,
    "os.version": version,
    "kernel.name": process.platform,
    "kernel.version": release(),
    "kernel.arch": machine(),
    ...(cgroups === "" ? {} : { "os.cgroups.version": cgroups }),
  };
}

/** Core → NUMA node, as the kernel has it; empty where it does not say. */
export async function readNuma(root = "/sys/devices/system/node"): Promise<Map<number, number>> {
  const nodes = parseCores((await readSystem(`${root}/online`)).trim());
  const lists = await Promise.all(nodes.map((node) => readSystem(`${root}/node${node}/cpulist`)));
  return new Map(
    nodes.flatMap((node, i) => parseCores(lists[i]!.trim()).map((core) => [core, node] as const)),
  );
}

function topology(cpu: Cpu, override: number, numa: ReadonlyMap<number, number>): unknown {
  return {
    Cores: range(cpu.cores).map((core) => ({
      ID: core,
      SocketID: 0,
      NodeID: numa.get(core) ?? 0,
      Grade: true,
      Disable: false,
      BaseSpeed: cpu.mhz,
      MaxSpeed: 0,
      GuessSpeed: 0,
    })),
    Distances: null,
    Nodes: numa.size > 0 ? [...new Set(numa.values())].sort((a, b) => a - b) : [0],
    OverrideTotalCompute: override,
    OverrideWitholdCompute: 0,
  };
}

/** "0-2,7" → [0, 1, 2, 7]. */
export function parseCores(text: string): number[] {
  return text.split(",").filter((part) => part.trim() !== "").flatMap((part) => {
    const [from, to] = part.split("-").map(Number);
    return range(to === undefined ? 1 : to - from! + 1).map((offset) => from! + offset);
  });
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** The text of a file of the kernel, "" when this one does not have it. */
async function readSystem(path: string): Promise<string> {
  try {
    return await readProc(path);
  } catch (error) {
    if (["ENOENT", "EACCES", "EINVAL"].includes((error as { code?: string }).code ?? "")) return "";
    throw error;
  }
}

/** The text of a file, "" when this distribution does not have it. */
async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EACCES" || code === "EINVAL") return "";
    throw error;
  }
}

/**
 * Reads the identity of the state directory, or makes one; without a directory it lives as long as the agent.
 * `fromHost`: the id is derived from the machine's own, so that it comes back on an emptied disk.
 */
export async function loadIdentity(
  stateDir: string | null,
  options: { newId: () => string; fromHost: boolean },
): Promise<Identity> {
  const makeId = async () => options.fromHost ? await hostId() ?? options.newId() : options.newId();
  if (stateDir === null) return { id: await makeId(), secret: options.newId() };
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  return {
    id: await readOrMake(join(stateDir, "client-id"), makeId),
    secret: await readOrMake(join(stateDir, "secret-id"), options.newId),
  };
}

async function readOrMake(path: string, make: () => string | Promise<string>): Promise<string> {
  const known = (await readText(path)).trim();
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(known)) return known;
  const made = await make();
  await writeDurably(path, made);
  return made;
}

/** A UUID of this machine, another one than the machine id itself, which is to be kept to oneself. Null without one. */
async function hostId(): Promise<string | null> {
  const machineId = (await readText("/etc/machine-id")).trim();
  if (machineId === "") return null;
  return formatUuid(createHash("sha256").update(`nomad node ${machineId}`).digest());
}
