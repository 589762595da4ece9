// Every process of one task, and how to signal or kill all of them. With a cgroup its list is exact. Without one
// the tree is what descends from the main process, shares its session or group, or carries the task's marker in
// its environment (found so after setsid and double fork). Never touches the wrapper shell or the log writers.
import { constants } from "node:os";
import { cgroupPids, freezeCgroup, killCgroup } from "./cgroup.ts";
import { environmentTest, listProcesses, type ProcStat } from "./proc.ts";

export interface TaskTree {
  /** Absolute path of the task's cgroup, "" for none. */
  cgroup: string;
  /** The task's main process: leader of its own session; 0 while not known. */
  mainPid: number;
  /** `NAME=value` in the environment of the task's processes. */
  marker: string;
  /** Start time of the wrapper: what is older cannot be of the task, and is not looked at closely. */
  sinceTicks: number;
  /** Processes that are ours and stay: wrapper and log writers. */
  spared: number[];
}

/** Name or number ("SIGHUP", "HUP", "1") → signal number, or null when there is no such signal here. */
export function signalNumber(name: string): number | null {
  if (/^\d+$/.test(name)) return Number(name) > 0 && Number(name) < 65 ? Number(name) : null;
  const upper = name.toUpperCase();
  const full = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  return (constants.signals as Record<string, number>)[full] ?? null;
}

/** Sends a signal; a process that is gone is no error. False when it was gone. */
export function sendSignal(pid: number, signal: number): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "ESRCH") return false;
    throw error;
  }
}

export function treePids(tree: TaskTree): number[] {
  if (tree.cgroup !== "") return cgroupPids(tree.cgroup);
  return walk(listProcesses(), tree, environmentTest(tree.marker));
}

/** Members of the tree among `all`: by session, group, marker, and everything that descends from one of those. */
export function walk(
  all: ProcStat[],
  tree: TaskTree,
  marked: (pid: number) => boolean,
): number[] {
  const spared = new Set([...tree.spared, process.pid]);
  const members = new Set<number>();
  for (const stat of all) {
    if (spared.has(stat.pid) || stat.startTicks < tree.sinceTicks) continue;
    const ofSession = tree.mainPid > 0 &&
      (stat.pid === tree.mainPid || stat.sid === tree.mainPid || stat.pgid === tree.mainPid);
    if (ofSession || marked(stat.pid)) members.add(stat.pid);
  }
  for (let grown = true; grown;) {
    grown = false;
    for (const stat of all) {
      if (members.has(stat.pid) || spared.has(stat.pid) || !members.has(stat.ppid)) continue;
      members.add(stat.pid);
      grown = true;
    }
  }
  return [...members];
}

/** Sends `signal` to every process of the tree; returns how many there were. */
export function signalTree(tree: TaskTree, signal: number): number {
  const pids = treePids(tree);
  for (const pid of pids) sendSignal(pid, signal);
  return pids.length;
}

/** One round of SIGKILL over the tree; returns how many processes it met. Repeat until it meets none. */
export function killTree(tree: TaskTree): number {
  if (tree.cgroup === "") return signalTree(tree, constants.signals.SIGKILL);
  const count = cgroupPids(tree.cgroup).length;
  if (count === 0 || killCgroup(tree.cgroup)) return count;
  // Without cgroup.kill: freeze first, so that nothing forks between listing and killing.
  freezeCgroup(tree.cgroup, true);
  const met = signalTree(tree, constants.signals.SIGKILL);
  freezeCgroup(tree.cgroup, false);
  return Math.max(count, met);
}
