// Control groups as a way to know, freeze and kill every process of a task, whatever sessions it made. Plain files
// only, no systemd. Uses the unified hierarchy (v2, also beside v1 ones) where a directory can be made in it, else
// the v1 freezer; says null where neither can be written, and the caller walks /proc instead. Sets no limits.
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isAlive, isGone, readProc, readStat } from "./proc.ts";

export interface CgroupMount {
  version: 1 | 2;
  path: string;
}

/** The mount to keep tasks in: v2 first, then v1's freezer. `mounts` is the text of /proc/mounts. */
export function findCgroupMounts(mounts: string): CgroupMount[] {
  const found: CgroupMount[] = [];
  for (const line of mounts.split("\n")) {
    const [, path, type, options] = line.split(" ");
    if (!path || !type) continue;
    if (type === "cgroup2") found.unshift({ version: 2, path });
    if (type === "cgroup" && (options ?? "").split(",").includes("freezer")) found.push({ version: 1, path });
  }
  return found;
}

/** Where a v1 controller is mounted, or null. */
export function findControllerMount(mounts: string, controller: string): string | null {
  for (const line of mounts.split("\n")) {
    const [, path, type, options] = line.split(" ");
    if (path && type === "cgroup" && (options ?? "").split(",").includes(controller)) return path;
  }
  return null;
}

/** Makes `<mount>/<parent>` where this process may, and returns its path; null when no hierarchy can be written. */
export function prepareCgroupParent(parent: string): string | null {
  for (const mount of findCgroupMounts(readProc("/proc/mounts") ?? "")) {
    const path = join(mount.path, parent);
    try {
      mkdirSync(path, { recursive: true });
      // A read-only or delegated hierarchy shows itself only when a child is made.
      const probe = join(path, `probe.${process.pid}`);
      mkdirSync(probe);
      rmdirSync(probe);
      return path;
    } catch (error) {
      if (!isRefused(error)) throw error;
    }
  }
  return null;
}

function isRefused(error: unknown): boolean {
  return isGone(error) ||
    ["EROFS", "ENOSPC", "EBUSY", "EEXIST"].includes((error as { code?: string }).code ?? "");
}

/** Makes one group; false when the hierarchy refuses it (too many groups, gone read-only). */
export function makeCgroup(path: string): boolean {
  try {
    mkdirSync(path);
    return true;
  } catch (error) {
    if (isRefused(error)) return false;
    throw error;
  }
}

/** The living processes in the group and in groups made below it. */
export function cgroupPids(path: string): number[] {
  const pids: number[] = [];
  for (const line of (readProc(join(path, "cgroup.procs")) ?? "").split("\n")) {
    if (line !== "" && isAlive(readStat(Number(line)))) pids.push(Number(line));
  }
  for (const child of childGroups(path)) pids.push(...cgroupPids(child));
  return pids;
}

function childGroups(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name));
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** SIGKILL to everything in the group at once; false where the kernel has no cgroup.kill (v1, or before 5.14). */
export function killCgroup(path: string): boolean {
  return writeControl(join(path, "cgroup.kill"), "1");
}

/** Stops everything in the group from running, so that a fork bomb cannot outrun a kill. True when it was taken. */
export function freezeCgroup(path: string, frozen: boolean): boolean {
  return writeControl(join(path, "cgroup.freeze"), frozen ? "1" : "0") ||
    writeControl(join(path, "freezer.state"), frozen ? "FROZEN" : "THAWED");
}

/** Control files always stand there: opened without O_CREAT, so that on another kernel nothing is created. */
function writeControl(path: string, value: string): boolean {
  try {
    writeFileSync(path, value, { flag: "r+" });
    return true;
  } catch (error) {
    if (isRefused(error)) return false;
    throw error;
  }
}

/** Removes the group and those below it. False while something still lives in one. */
export function removeCgroup(path: string): boolean {
  let all = true;
  for (const child of childGroups(path)) all = removeCgroup(child) && all;
  try {
    rmdirSync(path);
    return all;
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === "ENOENT") return all;
    if (code === "EBUSY" || code === "ENOTEMPTY" || isGone(error)) return false;
    throw error;
  }
}

/** CPU time of everything that ever ran in the group (v2 counts it without any controller), or null. */
export function cgroupCpu(path: string): { userNs: number; systemNs: number } | null {
  const text = readProc(join(path, "cpu.stat"));
  const micros = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text ?? "")?.[1] ?? NaN);
  const [user, system] = [micros("user_usec"), micros("system_usec")];
  return Number.isNaN(user) || Number.isNaN(system) ? null : { userNs: user * 1000, systemNs: system * 1000 };
}
