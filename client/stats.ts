// What the host and its tasks use, read when somebody asks (no timer): /proc/stat, /proc/meminfo, the file systems.
// CPU percentages are over the time since the reading before, so a caller's first answer covers the time since boot.
import { statfs } from "node:fs/promises";
import { readProc } from "../core/proc_fs.ts";
import type { TaskUsage } from "../drivers/driver.ts";

export interface DiskSpace {
  device: string;
  mountpoint: string;
  sizeBytes: number;
  usedBytes: number;
  availableBytes: number;
  usedPercent: number;
  inodesUsedPercent: number;
}

/** The file system that holds `path` (or its nearest existing parent). */
export async function diskSpace(path: string): Promise<DiskSpace> {
  const existing = await nearestExisting(path);
  const fs = await statfs(existing);
  const mount = findMount(existing, await readProc("/proc/self/mounts"));
  const sizeBytes = fs.blocks * fs.bsize;
  const usedBytes = (fs.blocks - fs.bfree) * fs.bsize;
  const availableBytes = fs.bavail * fs.bsize;
  return {
    ...mount,
    sizeBytes,
    usedBytes,
    availableBytes,
    usedPercent: percent(usedBytes, usedBytes + availableBytes),
    inodesUsedPercent: percent(fs.files - fs.ffree, fs.files),
  };
}

async function nearestExisting(path: string): Promise<string> {
  for (let current = path || "/";;) {
    try {
      await statfs(current);
      return current;
    } catch (error) {
      const parent = current.replace(/\/[^/]*$/, "") || "/";
      if (parent === current) throw error;
      current = parent;
    }
  }
}

const percent = (part: number, whole: number): number => whole > 0 ? part / whole * 100 : 0;

function findMount(path: string, mounts: string): { device: string; mountpoint: string } {
  let best = { device: "", mountpoint: "" };
  for (const line of mounts.split("\n")) {
    const [device = "", mountpoint = ""] = line.split(" ");
    const holds = mountpoint === "/" || path === mountpoint || path.startsWith(`${mountpoint}/`);
    if (holds && mountpoint.length >= best.mountpoint.length) best = { device, mountpoint };
  }
  return best;
}

interface CpuTicks {
  user: number;
  system: number;
  idle: number;
  total: number;
}

/** Readings of the whole host (api 427). */
export class HostStats {
  #before = new Map<string, CpuTicks>();

  constructor(private readonly options: { allocDir: string; mhzPerCore: number }) {}

  async read(nowMs: number): Promise<Record<string, unknown>> {
    const [cpu, memory, allocDisk, disks, uptime] = await Promise.all([
      this.#cpu(),
      memoryUse(),
      diskSpace(this.options.allocDir),
      realDisks(),
      readProc("/proc/uptime"),
    ]);
    const diskJson = (disk: DiskSpace) => ({
      Device: disk.device,
      Mountpoint: disk.mountpoint,
      Size: disk.sizeBytes,
      Used: disk.usedBytes,
      Available: disk.availableBytes,
      UsedPercent: disk.usedPercent,
      InodesUsedPercent: disk.inodesUsedPercent,
    });
    return {
      AllocDirStats: { ...diskJson(allocDisk), Device: "", Mountpoint: "" },
      CPU: cpu,
      CPUTicksConsumed: cpu.reduce((sum, core) => sum + core.TotalTicks, 0),
      DeviceStats: null,
      DiskStats: disks.map(diskJson),
      Memory: memory,
      Timestamp: nowMs * 1e6,
      Uptime: Math.floor(Number(uptime.split(" ")[0])),
    };
  }

  async #cpu() {
    const lines = (await readProc("/proc/stat")).split("\n").filter((line) => /^cpu\d/.test(line));
    return lines.map((line) => {
      const [name = "", ...fields] = line.split(/\s+/);
      const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = fields
        .map(
          Number,
        );
      const now = {
        user: user + nice,
        system: system + irq + softirq,
        idle: idle + iowait,
        total: user + nice + system + idle + iowait + irq + softirq + steal,
      };
      const before = this.#before.get(name) ?? { user: 0, system: 0, idle: 0, total: 0 };
      this.#before.set(name, now);
      const total = now.total - before.total;
      const idlePercent = total > 0 ? percent(now.idle - before.idle, total) : 100;
      return {
        CPU: name,
        User: percent(now.user - before.user, total),
        System: percent(now.system - before.system, total),
        Idle: idlePercent,
        TotalPercent: 100 - idlePercent,
        TotalTicks: (100 - idlePercent) / 100 * this.options.mhzPerCore,
      };
    });
  }
}

async function memoryUse() {
  const text = await readProc("/proc/meminfo");
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(text)?.[1] ?? 0) * 1024;
  const total = bytes("MemTotal");
  const free = bytes("MemFree");
  return {
    Total: total,
    Available: bytes("MemAvailable"),
    Used: total - free - bytes("Buffers") - bytes("Cached"),
    Free: free,
  };
}

/** File systems on block devices, each device once. */
async function realDisks(): Promise<DiskSpace[]> {
  const seen = new Set<string>();
  const points: string[] = [];
  for (const line of (await readProc("/proc/self/mounts")).split("\n")) {
    const [device = "", point = ""] = line.split(" ");
    if (!device.startsWith("/dev/") || seen.has(device)) continue;
    seen.add(device);
    points.push(point);
  }
  return await Promise.all(points.map((point) => diskSpace(point)));
}

/** CPU of tasks over time: percentages need the reading before. */
export class TaskStats {
  #before = new Map<string, TaskUsage>();

  constructor(private readonly mhzPerCore: number) {}

  /** The API's form of one reading; null gives the zeros of a task that does not run. */
  shape(key: string, usage: TaskUsage | null) {
    const before = usage ? this.#before.get(key) : undefined;
    if (usage) this.#before.set(key, usage);
    const elapsedNs = usage && before ? (usage.timestampMs - before.timestampMs) * 1e6 : 0;
    const share = (now: number, then: number) =>
      elapsedNs > 0 ? Math.max(0, percent(now - then, elapsedNs)) : 0;
    const user = usage && before ? share(usage.cpuUserNs, before.cpuUserNs) : 0;
    const system = usage && before ? share(usage.cpuSystemNs, before.cpuSystemNs) : 0;
    return {
      MemoryStats: {
        RSS: usage?.memoryRssBytes ?? 0,
        Cache: usage?.memoryCacheBytes ?? 0,
        Swap: usage?.memorySwapBytes ?? 0,
        MappedFile: 0,
        Usage: usage?.memoryUsageBytes ?? 0,
        MaxUsage: usage?.memoryMaxUsageBytes ?? 0,
        KernelUsage: 0,
        KernelMaxUsage: 0,
        Measured: measuredMemory(usage),
      },
      CpuStats: {
        SystemMode: system,
        UserMode: user,
        TotalTicks: (user + system) / 100 * this.mhzPerCore,
        ThrottledPeriods: usage?.throttledPeriods ?? 0,
        ThrottledTime: usage?.throttledNs ?? 0,
        Percent: user + system,
        Measured: ["System Mode", "User Mode", "Percent"] as string[] | null,
      },
      DeviceStats: null as unknown,
    };
  }

  forget(key: string): void {
    this.#before.delete(key);
  }
}

function measuredMemory(usage: TaskUsage | null): string[] | null {
  const measured = ["RSS", "Swap"];
  if (usage?.memoryCacheBytes !== undefined) measured.push("Cache");
  if (usage?.memoryUsageBytes !== undefined) measured.push("Usage");
  if (usage?.memoryMaxUsageBytes !== undefined) measured.push("Max Usage");
  return measured;
}
