// From a TaskSpec of the podman driver to the body of libpod's "create container" call, and the checks before it. Pure:
// asks neither Podman nor the disk. Every option is either carried into the body or refused with its reason.
import { posix } from "node:path";
import { isAbsolute, join } from "node:path";
import { DriverError } from "../core/errors.ts";
import { checkConfig, ConfigReader, field, type Schema, toText } from "./config_check.ts";
import type { TaskSpec } from "./driver.ts";

export interface PodmanSettings {
  volumesEnabled: boolean;
  /** Option such as "z" for every bind mount; "" for none. */
  selinuxLabel: string;
  extraLabels: string[];
  dnsServers: string[];
  loggingDriver: string;
  loggingOptions: Record<string, string>;
  disableLogCollection: boolean;
}

/** What the host has, for limits that are fractions of it. */
export interface HostCpu {
  cores: number;
  /** MHz of all cores together. */
  totalMhz: number;
}

const LOGGING = { driver: field.string, options: field.map };

export const PODMAN_SCHEMA: Schema = {
  image: field.required(field.string),
  command: field.string,
  args: field.strings,
  // A string or a list: looked at by hand.
  entrypoint: field.strings,
  auth: field.block({ username: field.string, password: field.string, tls_verify: field.bool }),
  image_pull_timeout: field.duration,
  force_pull: field.bool,
  ports: field.strings,
  volumes: field.strings,
  mounts: field.blocks({
    type: field.string,
    source: field.string,
    target: field.required(field.string),
    readonly: field.bool,
    options: field.strings,
  }),
  tmpfs: field.strings,
  memory_reservation: field.string,
  memory_swap: field.string,
  memory_swappiness: field.number,
  cpu_hard_limit: field.bool,
  cpu_cfs_period: field.number,
  pids_limit: field.number,
  shm_size: field.string,
  network_mode: field.string,
  hostname: field.string,
  dns: field.strings,
  dns_search: field.strings,
  dns_options: field.strings,
  extra_hosts: field.strings,
  labels: field.map,
  logging: field.block(LOGGING),
  cap_add: field.strings,
  cap_drop: field.strings,
  devices: field.strings,
  privileged: field.bool,
  readonly_rootfs: field.bool,
  security_opt: field.strings,
  selinux_opts: field.strings,
  apparmor_profile: field.string,
  userns: field.string,
  working_dir: field.string,
  ulimit: field.map,
  sysctl: field.map,
  init: field.bool,
  init_path: field.string,
  tty: field.bool,
};

export const PODMAN_LOGGING_SCHEMA = LOGGING;

export function validatePodman(config: Record<string, unknown>): string[] {
  // The one option that is a string or a list.
  const entrypoint = config["entrypoint"];
  const errors = checkConfig(
    toText(entrypoint) === null ? config : { ...config, entrypoint: [entrypoint] },
    PODMAN_SCHEMA,
  );
  if (errors.length > 0) return errors;
  const read = new ConfigReader(config);
  for (const key of ["memory_reservation", "memory_swap", "shm_size"]) {
    if (read.has(key)) collect(errors, () => parseBytes(read.text(key), `config.${key}`));
  }
  collect(errors, () => parseNetwork(read.text("network_mode"), "alloc"));
  for (const [name, value] of Object.entries(read.map("ulimit"))) {
    collect(errors, () => parseUlimit(name, value));
  }
  for (const volume of read.strings("volumes")) collect(errors, () => parseVolume(volume));
  for (const option of read.strings("security_opt")) collect(errors, () => parseSecurityOption(option));
  const swappiness = read.number("memory_swappiness");
  if (swappiness < 0 || swappiness > 100) errors.push("config.memory_swappiness must be from 0 to 100");
  for (const mount of read.blocks("mounts")) {
    const type = mount.text("type", "bind");
    if (type !== "bind" && type !== "tmpfs") {
      errors.push(`config.mounts type ${JSON.stringify(type)} is not supported; use "bind" or "tmpfs"`);
    }
  }
  return errors;
}

function collect(errors: string[], check: () => unknown): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    errors.push(error.message);
  }
}

/** "100m" → bytes; "-1" stays -1. Throws SyntaxError. */
export function parseBytes(text: string, at: string): number {
  if (text === "-1") return -1;
  const match = /^(\d+)\s*([bkmg])?b?$/i.exec(text.trim());
  if (!match) throw new SyntaxError(`${at} must be a size such as "100m", not ${JSON.stringify(text)}`);
  const shift =
    { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[(match[2] ?? "b").toLowerCase() as "b" | "k" | "m" | "g"];
  return Number(match[1]) * shift;
}

function parseNetwork(mode: string, allocId: string): { nsmode: string; value?: string } {
  const [first, ...rest] = mode.split(":");
  const value = rest.join(":");
  switch (first) {
    case "bridge":
    case "host":
    case "none":
    case "slirp4netns":
      return value === "" ? { nsmode: first } : { nsmode: first, value };
    case "":
      return { nsmode: "bridge" };
    case "container":
      if (value !== "") return { nsmode: "container", value };
      break;
    case "ns":
      if (value !== "") return { nsmode: "path", value };
      break;
    case "task":
      if (value !== "") return { nsmode: "container", value: containerName(value, allocId) };
      break;
  }
  throw new SyntaxError(
    `config.network_mode ${
      JSON.stringify(mode)
    } is not known; use bridge, host, none, slirp4netns, ns:<path>, ` +
      "container:<id> or task:<name>",
  );
}

function parseUlimit(name: string, value: string): { type: string; soft: number; hard: number } {
  const match = /^(-?\d+)(?::(-?\d+))?$/.exec(value);
  if (!match) {
    throw new SyntaxError(
      `config.ulimit.${name} must be "soft:hard" or one number, not ${JSON.stringify(value)}`,
    );
  }
  return { type: name.toUpperCase(), soft: Number(match[1]), hard: Number(match[2] ?? match[1]) };
}

interface Volume {
  source: string;
  target: string;
  options: string[];
}

function parseVolume(text: string): Volume {
  const [source = "", target = "", options, more] = text.split(":");
  if (source === "" || !posix.isAbsolute(target) || more !== undefined) {
    throw new SyntaxError(
      `config.volumes ${JSON.stringify(text)} must be "host_path:/container_path[:options]"`,
    );
  }
  return { source, target, options: options ? options.split(",") : [] };
}

function parseSecurityOption(text: string): Record<string, unknown> {
  const [key, value] = text.split(/[=:]/, 2);
  if (key === "no-new-privileges") return { no_new_privileges: value !== "false" };
  if (key === "seccomp" && value) return { seccomp_profile_path: value };
  if (key === "apparmor" && value) return { apparmor_profile: value };
  throw new SyntaxError(
    `config.security_opt ${
      JSON.stringify(text)
    } is not supported; use no-new-privileges, seccomp=<file> or apparmor=<name>`,
  );
}

export const ALLOC_LABEL = "com.hashicorp.nomad.alloc_id";
/** Tells the starts of one task apart: the id of the TaskSpec. */
export const START_LABEL = "com.hashicorp.nomad.start_id";

/** Name of a task's container, as Nomad's driver gives it. */
export function containerName(task: string, allocId: string): string {
  return `${task}-${allocId}`;
}

export interface ContainerPlan {
  image: string;
  /** Credentials of the job, null for what Podman itself has. */
  auth: { username: string; password: string } | null;
  forcePull: boolean;
  pullTimeoutMs: number;
  /** True: output goes to our rotated files through the run directory. */
  collectsLogs: boolean;
  body: Record<string, unknown>;
}

/** Throws DriverError when the job's config cannot be carried out. `logPath`: where Podman shall write output. */
export function planContainer(
  spec: TaskSpec,
  settings: PodmanSettings,
  host: HostCpu,
  logPath: string,
): ContainerPlan {
  const errors = validatePodman(spec.config);
  if (errors.length > 0) throw new DriverError("start", errors.join("; "), false);
  const read = new ConfigReader(spec.config);
  const auth = read.block("auth");
  const logging = planLogging(spec, read, settings, logPath);
  return {
    image: read.text("image"),
    auth: auth.has("username") || auth.has("password")
      ? { username: auth.text("username"), password: auth.text("password") }
      : null,
    forcePull: read.bool("force_pull"),
    pullTimeoutMs: read.durationMs("image_pull_timeout", 5 * 60_000),
    collectsLogs: logging.collects,
    body: {
      name: containerName(spec.task, spec.allocId),
      ...processPart(spec, read),
      ...networkPart(spec, read, settings),
      ...securityPart(read),
      mounts: planMounts(spec, read, settings),
      resource_limits: planLimits(spec, read, host),
      ...(read.has("shm_size") ? { shm_size: parseBytes(read.text("shm_size"), "config.shm_size") } : {}),
      r_limits: Object.entries(read.map("ulimit")).map(([name, value]) => parseUlimit(name, value)),
      log_configuration: logging.configuration,
      labels: { ...ownLabels(spec, settings), ...read.map("labels") },
      restart_policy: "no",
    },
  };
}

function processPart(spec: TaskSpec, read: ConfigReader): Record<string, unknown> {
  const command = [...(read.has("command") ? [read.text("command")] : []), ...read.strings("args")];
  const entrypoint = toText(spec.config["entrypoint"]);
  return {
    ...(command.length > 0 ? { command } : {}),
    ...(read.has("entrypoint")
      ? { entrypoint: entrypoint !== null ? [entrypoint] : read.strings("entrypoint") }
      : {}),
    env: spec.env,
    ...(spec.user === "" ? {} : { user: spec.user }),
    ...optional("work_dir", read.text("working_dir")),
    ...optional("hostname", read.text("hostname")),
    terminal: read.bool("tty"),
    ...(read.bool("init") ? { init: true, ...optional("init_path", read.text("init_path")) } : {}),
    sysctl: read.map("sysctl"),
  };
}

function networkPart(spec: TaskSpec, read: ConfigReader, settings: PodmanSettings): Record<string, unknown> {
  const mode = read.text("network_mode") || (spec.networkMode === "none" ? "none" : "bridge");
  const netns = parseNetwork(mode, spec.allocId);
  const labels = read.strings("ports");
  // A container in somebody else's network stack has its ports there already.
  const publishes = netns.nsmode === "bridge" || netns.nsmode === "slirp4netns";
  const mappings = labels.flatMap((label) => {
    const port = spec.ports.find((one) => one.label === label);
    if (!port) {
      throw new DriverError("start", `config.ports: the group's network has no port "${label}"`, false);
    }
    const mapping = { host_ip: port.hostIp, host_port: port.value, container_port: port.to || port.value };
    return [{ ...mapping, protocol: "tcp" }, { ...mapping, protocol: "udp" }];
  });
  const ownNetwork = netns.nsmode !== "container" && netns.nsmode !== "path";
  const servers = [...(spec.dns?.servers ?? []), ...read.strings("dns")];
  return {
    netns,
    ...(publishes ? { portmappings: mappings } : {}),
    ...(ownNetwork
      ? {
        dns_server: servers.length > 0 ? servers : settings.dnsServers,
        dns_search: [...(spec.dns?.searches ?? []), ...read.strings("dns_search")],
        dns_option: [...(spec.dns?.options ?? []), ...read.strings("dns_options")],
        hostadd: read.strings("extra_hosts"),
      }
      : {}),
  };
}

function securityPart(read: ConfigReader): Record<string, unknown> {
  const options = read.strings("security_opt").map(parseSecurityOption);
  const [nsmode, ...value] = read.text("userns").split(":");
  return {
    privileged: read.bool("privileged"),
    read_only_filesystem: read.bool("readonly_rootfs"),
    cap_add: read.strings("cap_add"),
    cap_drop: read.strings("cap_drop"),
    devices: read.strings("devices").map((path) => ({ path })),
    selinux_opts: read.strings("selinux_opts"),
    ...optional("apparmor_profile", read.text("apparmor_profile")),
    ...(nsmode ? { userns: { nsmode, value: value.join(":") } } : {}),
    ...Object.assign({}, ...options),
  };
}

function optional(key: string, value: string): Record<string, string> {
  return value === "" ? {} : { [key]: value };
}

function planMounts(spec: TaskSpec, read: ConfigReader, settings: PodmanSettings): Record<string, unknown>[] {
  const label = settings.selinuxLabel === "" ? [] : [settings.selinuxLabel];
  const bind = (source: string, destination: string, options: string[]) => ({
    type: "bind",
    source,
    destination,
    options: [...new Set(["rbind", ...options, ...label])],
  });
  const volumes = read.strings("volumes").map(parseVolume);
  const extra = read.blocks("mounts");
  const binds = volumes.length > 0 || extra.some((mount) => mount.text("type", "bind") === "bind");
  if (binds && !settings.volumesEnabled) {
    throw new DriverError(
      "start",
      "volumes are not enabled on this client",
      false,
      'plugin "podman": volumes { enabled = true }',
    );
  }
  return [
    bind(join(spec.allocDir, "alloc"), "/alloc", ["rw"]),
    bind(join(spec.taskDir, "local"), "/local", ["rw"]),
    bind(join(spec.taskDir, "secrets"), "/secrets", ["rw", "noexec"]),
    ...spec.mounts.map((mount) =>
      bind(mount.hostPath, mount.taskPath, [mount.readOnly ? "ro" : "rw", ...propagation(mount.propagation)])
    ),
    ...volumes.map((volume) => bind(insideTask(volume.source, spec), volume.target, volume.options)),
    ...extra.map((mount) =>
      mount.text("type", "bind") === "tmpfs"
        ? {
          type: "tmpfs",
          source: "tmpfs",
          destination: mount.text("target"),
          options: mount.strings("options"),
        }
        : bind(insideTask(mount.text("source"), spec), mount.text("target"), [
          mount.bool("readonly") ? "ro" : "rw",
          ...mount.strings("options"),
        ])
    ),
    ...read.strings("tmpfs").map((text) => {
      const [destination = "", options] = text.split(":");
      return {
        type: "tmpfs",
        source: "tmpfs",
        destination,
        options: options ? options.split(",") : ["rw", "nosuid", "nodev"],
      };
    }),
  ];
}

function propagation(name: string): string[] {
  if (name === "host-to-task") return ["rslave"];
  return name === "bidirectional" ? ["rshared"] : [];
}

/** Relative host paths are meant from the task's directory. */
export function insideTask(path: string, spec: { taskDir: string }): string {
  return isAbsolute(path) ? path : join(spec.taskDir, path);
}

/**
 * A path that the job gave as its task sees it ("/local/x", "local/x" or a host path) as a path of the host: archives
 * are read by us, outside the container.
 */
export function hostPath(path: string, spec: { taskDir: string; allocDir: string }): string {
  for (const [seen, real] of [["/local/", "local"], ["/secrets/", "secrets"]] as const) {
    if (path.startsWith(seen)) return join(spec.taskDir, real, path.slice(seen.length));
  }
  if (path.startsWith("/alloc/")) return join(spec.allocDir, "alloc", path.slice("/alloc/".length));
  return insideTask(path, spec);
}

function planLimits(spec: TaskSpec, read: ConfigReader, host: HostCpu): Record<string, unknown> {
  const { cpuMhz, memoryMb, memoryMaxMb, cores } = spec.resources;
  const mb = 1024 * 1024;
  const limit = (memoryMaxMb > 0 ? memoryMaxMb : memoryMb) * mb;
  const reservation = read.has("memory_reservation")
    ? parseBytes(read.text("memory_reservation"), "config.memory_reservation")
    : memoryMaxMb > 0
    ? memoryMb * mb
    : 0;
  const swap = read.has("memory_swap") ? parseBytes(read.text("memory_swap"), "config.memory_swap") : limit;
  const period = read.number("cpu_cfs_period", 100_000);
  const quota = Math.max(1000, Math.round(period * host.cores * cpuMhz / Math.max(1, host.totalMhz)));
  return {
    memory: {
      ...(limit > 0 ? { limit, swap } : {}),
      ...(reservation > 0 ? { reservation } : {}),
      ...(read.has("memory_swappiness") ? { swappiness: read.number("memory_swappiness") } : {}),
    },
    cpu: {
      ...(cpuMhz > 0 ? { shares: Math.max(2, cpuMhz) } : {}),
      ...(read.bool("cpu_hard_limit") && cpuMhz > 0 ? { quota, period } : {}),
      ...(cores.length > 0 ? { cpus: cores.join(",") } : {}),
    },
    ...(read.has("pids_limit") ? { pids: { limit: read.number("pids_limit") } } : {}),
  };
}

function planLogging(
  spec: TaskSpec,
  read: ConfigReader,
  settings: PodmanSettings,
  logPath: string,
): { collects: boolean; configuration: Record<string, unknown> } {
  const own = read.block("logging");
  const driver = own.text("driver") || settings.loggingDriver;
  if (driver !== "" && driver !== "nomad") {
    return {
      collects: false,
      configuration: { driver, options: { ...settings.loggingOptions, ...own.map("options") } },
    };
  }
  if (spec.logs.disabled || settings.disableLogCollection) {
    return { collects: false, configuration: { driver: "none" } };
  }
  return { collects: true, configuration: { driver: "k8s-file", path: logPath } };
}

function ownLabels(spec: TaskSpec, settings: PodmanSettings): Record<string, string> {
  const known: Record<string, string> = {
    job_id: spec.jobId,
    job_name: spec.jobId,
    namespace: spec.namespace,
    task_group_name: spec.group,
    task_name: spec.task,
  };
  const wanted = Object.entries(known).filter(([key]) =>
    settings.extraLabels.some((glob) =>
      glob === key || (glob.endsWith("*") && key.startsWith(glob.slice(0, -1)))
    )
  );
  const labels: Record<string, string> = { [ALLOC_LABEL]: spec.allocId, [START_LABEL]: spec.id };
  for (const [key, value] of wanted) labels[`com.hashicorp.nomad.${key}`] = value;
  return labels;
}
