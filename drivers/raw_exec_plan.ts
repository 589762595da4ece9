// From a TaskSpec to what will be executed: the command's path, the user, the environment, the cgroups. Pure checks
// and look-ups, made before anything is started, so that a bad job fails with a sentence and leaves nothing behind.
import { closeSync, existsSync, openSync, readdirSync, readSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { DriverError } from "../core/errors.ts";
import { checkConfig, ConfigReader, field, type Schema } from "./config_check.ts";
import { findCgroupMounts, findControllerMount } from "./cgroup.ts";
import type { TaskSpec } from "./driver.ts";
import { readProc } from "./proc.ts";
import { type HostUser, lookupUser } from "./users.ts";
import { defaultSignals, findProgram, isExecutable, type Toolkit } from "./wrapper.ts";

const SCHEMA: Schema = {
  command: field.required(field.string),
  args: field.strings,
  work_dir: field.string,
  oom_score_adj: field.number,
  cgroup_v1_override: field.map,
  cgroup_v2_override: field.string,
};

export interface RawExecLimits {
  deniedUid(id: number): boolean;
  deniedGid(id: number): boolean;
  /** Names with `*` before and/or after. */
  deniedEnv: string[];
}

export interface RawExecPlan {
  command: string;
  args: string[];
  cwd: string;
  /** null: as the agent. */
  user: HostUser | null;
  env: Record<string, string>;
  oomScoreAdj: number;
  /** The only cores that it may run on; empty for all. */
  cores: number[];
  /** Files that a process writes "0" into to join the operator's own cgroups; null when none are asked for. */
  cgroupOverride: string[] | null;
}

export function validateRawExec(config: Record<string, unknown>): string[] {
  const errors = checkConfig(config, SCHEMA);
  if (errors.length > 0) return errors;
  const read = new ConfigReader(config);
  if (read.has("work_dir") && !isAbsolute(read.text("work_dir"))) {
    errors.push(`config.work_dir must be an absolute path, not ${JSON.stringify(read.text("work_dir"))}`);
  }
  const adjust = read.number("oom_score_adj");
  if (!Number.isInteger(adjust) || adjust < 0 || adjust > 1000) {
    errors.push(`config.oom_score_adj must be a whole number from 0 to 1000, not ${adjust}`);
  }
  if (read.has("cgroup_v1_override") && read.has("cgroup_v2_override")) {
    errors.push("config.cgroup_v1_override and config.cgroup_v2_override exclude each other; keep one");
  }
  return errors;
}

/** Rejects with DriverError when the task cannot be started on this host. */
export async function planRawExec(spec: TaskSpec, limits: RawExecLimits): Promise<RawExecPlan> {
  const errors = validateRawExec(spec.config);
  if (errors.length > 0) throw new DriverError("start", errors.join("; "), false);
  const config = new ConfigReader(spec.config);
  const env = Object.fromEntries(
    Object.entries(spec.env).filter(([name]) => !limits.deniedEnv.some((glob) => matchesGlob(name, glob))),
  );
  const cwd = config.text("work_dir", spec.taskDir);
  if (!existsSync(cwd)) {
    throw new DriverError("start", `Cannot start in work_dir ${cwd}: no such directory`, false);
  }
  return {
    command: findCommand(config.text("command"), spec.taskDir, env),
    args: config.strings("args"),
    cwd,
    user: await planUser(spec.user, limits),
    env,
    oomScoreAdj: config.number("oom_score_adj"),
    cores: spec.resources.cores,
    cgroupOverride: planOverride(config),
  };
}

async function planUser(text: string, limits: RawExecLimits): Promise<HostUser | null> {
  if (text === "") return null;
  const user = await lookupUser(text);
  if (limits.deniedUid(user.uid)) {
    throw new DriverError(
      "start",
      `Running as uid ${user.uid} ("${text}") is denied on this client`,
      false,
      "denied_host_uids",
    );
  }
  const group = user.groups.find((gid) => limits.deniedGid(gid));
  if (group !== undefined) {
    throw new DriverError(
      "start",
      `Running with gid ${group} ("${text}") is denied on this client`,
      false,
      "denied_host_gids",
    );
  }
  if (user.uid === process.getuid?.()) return null;
  if (process.getuid?.() !== 0) {
    throw new DriverError(
      "start",
      `Cannot run as user "${text}": only an agent run by root may change users`,
      false,
    );
  }
  return user;
}

/** local/ of the task, then the task's directory, then the task's and the agent's PATH. */
function findCommand(command: string, taskDir: string, env: Record<string, string>): string {
  const places = isAbsolute(command) ? [command] : [join(taskDir, "local", command), join(taskDir, command)];
  const found = places.find(isExecutable) ??
    (command.includes("/") ? null : findProgram(command, env["PATH"] ?? "") ?? findProgram(command));
  if (found) {
    refuseForeign(command, found);
    return found;
  }
  const why = places.some((path) => existsSync(path)) ? "it is not an executable file" : "no such file";
  const where = isAbsolute(command) ? "" : " in the task's local/, its directory or PATH";
  throw new DriverError(
    "start",
    `failed to launch command ${JSON.stringify(command)}: ${why}${where}`,
    false,
    "give an absolute path, or a file that an artifact brings",
  );
}

const ELF = "\x7fELF";
/** Machine numbers in ELF headers that kernels of this kind run. */
const MACHINES: Record<string, string[]> = { x64: ["3e00", "0300"], arm64: ["b700", "2800"] };
/** Bytes of an ELF header up to its machine's number. */
const HEADER_BYTES = 20;

/**
 * What the kernel cannot execute (a script without `#!`, a program for another machine) is refused: the wrapper's shell
 * would run it as a script, whatever is in it. Interpreters registered with the kernel (binfmt_misc) are left to it.
 */
function refuseForeign(command: string, file: string): void {
  if (isRunnable(readHeader(file)) || hasForeignInterpreters()) return;
  throw new DriverError(
    "start",
    `failed to launch command ${JSON.stringify(command)}: exec format error`,
    false,
    "a script needs a first line like #!/bin/sh, a program must be built for this machine",
  );
}

function isRunnable(header: Buffer | null): boolean {
  // Executable but not readable for us: the kernel knows.
  if (header === null) return true;
  if (header.toString("latin1", 0, 2) === "#!") return true;
  if (header.toString("latin1", 0, 4) !== ELF) return false;
  const own = MACHINES[process.arch];
  return own === undefined || own.includes(header.subarray(18, HEADER_BYTES).toString("hex"));
}

function readHeader(file: string): Buffer | null {
  const header = Buffer.alloc(HEADER_BYTES);
  let handle: number;
  try {
    handle = openSync(file, "r");
  } catch (unreadable) {
    void unreadable;
    return null;
  }
  try {
    return header.subarray(0, readSync(handle, header, 0, HEADER_BYTES, 0));
  } finally {
    closeSync(handle);
  }
}

function hasForeignInterpreters(): boolean {
  try {
    return readdirSync("/proc/sys/fs/binfmt_misc").some((name) => name !== "status" && name !== "register");
  } catch (absent) {
    void absent;
    return false;
  }
}

function planOverride(config: ConfigReader): string[] | null {
  const mounts = readProc("/proc/mounts") ?? "";
  const files: string[] = [];
  if (config.has("cgroup_v2_override")) {
    const path = config.text("cgroup_v2_override");
    const root = findCgroupMounts(mounts).find((mount) => mount.version === 2)?.path;
    if (root === undefined) {
      throw overrideError("cgroup_v2_override", path, "this host mounts no unified hierarchy");
    }
    files.push(join(path.startsWith(`${root}/`) ? path : join(root, path), "cgroup.procs"));
  }
  for (const [controller, path] of Object.entries(config.map("cgroup_v1_override"))) {
    const root = findControllerMount(mounts, controller);
    if (root === null) {
      throw overrideError("cgroup_v1_override", path, `this host mounts no v1 controller "${controller}"`);
    }
    files.push(join(path.startsWith(`${root}/`) ? path : join(root, path), "cgroup.procs"));
  }
  const missing = files.find((file) => readProc(file) === null);
  if (missing) {
    throw overrideError("cgroup override", missing, "no such cgroup; create it before the task starts");
  }
  return files.length > 0 ? files : null;
}

function overrideError(option: string, path: string, why: string): DriverError {
  return new DriverError("start", `Cannot use ${option} ${path}: ${why}`, false);
}

export function matchesGlob(name: string, glob: string): boolean {
  const body = glob.replace(/^\*/, "").replace(/\*$/, "");
  if (glob.startsWith("*") && glob.endsWith("*")) return name.includes(body);
  if (glob.startsWith("*")) return name.endsWith(body);
  return glob.endsWith("*") ? name.startsWith(body) : name === glob;
}

/** The command that changes to `user` and becomes the rest of the line. */
export function asUser(user: HostUser | null, toolkit: Toolkit): string[] {
  if (user === null) return [];
  if (toolkit.setpriv === null) {
    throw new DriverError("start", "Cannot change users: setpriv is missing", false, "install util-linux");
  }
  const groups = user.groups.length > 0 ? [`--groups=${user.groups.join(",")}`] : ["--clear-groups"];
  return [toolkit.setpriv, `--reuid=${user.uid}`, `--regid=${user.gid}`, ...groups, "--"];
}

/**
 * The whole line that a wrapper's child becomes: default signals, own session, the user, the command. `env` never
 * stands directly before the command, whose path may hold a "=".
 */
export function commandLine(plan: RawExecPlan, toolkit: Toolkit): string[] {
  const keepPwd = "PWD" in plan.env ? [] : ["-u", "PWD"];
  const signals = toolkit.exact ? [...defaultSignals(toolkit.env), ...keepPwd] : [];
  const user = asUser(plan.user, toolkit);
  return [...signals, toolkit.setsid, ...onCores(plan.cores, toolkit), ...user, plan.command, ...plan.args];
}

function onCores(cores: readonly number[], toolkit: Toolkit): string[] {
  if (cores.length === 0) return [];
  if (toolkit.taskset !== null) return [toolkit.taskset, "-c", cores.join(",")];
  throw new DriverError(
    "start",
    "Cannot bind the task to its cores: taskset is missing",
    false,
    "install util-linux, or ask for cpu instead of cores",
  );
}

/** True while a process still is one of the steps of `commandLine` before the command itself. */
export function isLaunching(argv: string[], wrapper: string[], toolkit: Toolkit): boolean {
  if (argv.length === 0) return true;
  if (argv.length === wrapper.length && argv.every((word, i) => word === wrapper[i])) return true;
  const [first, second = ""] = argv;
  if (first === toolkit.env) {
    return second === defaultSignals(toolkit.env)[1] || argv.includes(toolkit.setsid);
  }
  return first === toolkit.setsid || (first === toolkit.taskset && second === "-c") ||
    (first === toolkit.setpriv && second.startsWith("--reuid="));
}
