// What an allocation's tasks use, in the API's form (api 347-349): per task, per process, and summed up. Asked for, not
// sampled: percentages are over the time since somebody asked before.
import { readProc } from "../core/proc_fs.ts";
import { ApiError } from "../core/errors.ts";
import type { AllocationRunner } from "./allocation.ts";
import type { TaskStats } from "./stats.ts";

type Usage = ReturnType<TaskStats["shape"]>;

const PAGE_BYTES = 4096;
const TICK_NS = 10_000_000;

/** `task` "" asks for all. */
export async function allocationStats(runner: AllocationRunner, stats: TaskStats, task: string) {
  if (task !== "" && !runner.tasks.has(task)) {
    throw new ApiError(404, `unknown task name ${JSON.stringify(task)}`);
  }
  const wanted = [...runner.tasks.values()].filter((t) => task === "" || t.name === task);
  const entries = await Promise.all(wanted.map(async (runnerTask) => {
    const usage = await runnerTask.usage();
    const key = `${runner.id}/${runnerTask.name}`;
    const Pids: Record<string, Usage> = {};
    for (const pid of usage?.pids ?? []) {
      const own = await processUsage(pid, usage!.timestampMs);
      if (own) Pids[String(pid)] = stats.shape(`${key}/${pid}`, own);
    }
    return [runnerTask.name, {
      Pids,
      ResourceUsage: stats.shape(key, usage),
      Timestamp: usage ? usage.timestampMs * 1e6 : 0,
    }, usage !== null] as const;
  }));
  const running = entries.filter(([, , isRunning]) => isRunning).map(([, value]) => value);
  return {
    ResourceUsage: sum(running.map((value) => value.ResourceUsage)),
    // What does not run uses nothing: such tasks are left out, as in Nomad.
    Tasks: Object.fromEntries(
      entries.flatMap(([name, value, isRunning]) => isRunning ? [[name, value]] : []),
    ),
    Timestamp: Math.max(0, ...running.map((value) => value.Timestamp)),
  };
}

/** Null when the process ended meanwhile. */
async function processUsage(pid: number, timestampMs: number) {
  try {
    const [stat, statm] = await Promise.all([
      readProc(`/proc/${pid}/stat`),
      readProc(`/proc/${pid}/statm`),
    ]);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return {
      memoryRssBytes: Number(statm.split(" ")[1]) * PAGE_BYTES,
      cpuUserNs: Number(fields[11]) * TICK_NS,
      cpuSystemNs: Number(fields[12]) * TICK_NS,
      pids: [],
      timestampMs,
    };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH" || code === "EACCES") return null;
    throw error;
  }
}

function sum(usages: Usage[]): Usage {
  const add = <K extends string>(records: Record<K, unknown>[], empty: Record<string, unknown>) => {
    const total: Record<string, unknown> = { ...empty };
    for (const record of records) {
      for (const [key, value] of Object.entries(record)) {
        if (typeof value === "number") total[key] = (total[key] as number) + value;
        else total[key] ??= value;
      }
    }
    return total;
  };
  const memory = {
    RSS: 0,
    Cache: 0,
    Swap: 0,
    MappedFile: 0,
    Usage: 0,
    MaxUsage: 0,
    KernelUsage: 0,
    KernelMaxUsage: 0,
  };
  const cpu = {
    SystemMode: 0,
    UserMode: 0,
    TotalTicks: 0,
    ThrottledPeriods: 0,
    ThrottledTime: 0,
    Percent: 0,
  };
  return {
    MemoryStats: add(usages.map((u) => u.MemoryStats), { ...memory, Measured: null }),
    CpuStats: add(usages.map((u) => u.CpuStats), { ...cpu, Measured: null }),
    DeviceStats: [],
  } as unknown as Usage;
}
