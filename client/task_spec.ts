// From an allocation's records to what a driver is told (TaskSpec), and what this device refuses to run and why.
// Pure besides reading the agent's environment once, which the caller passes in.
import type { Job, Node, Service, Task, TaskGroup, Template } from "../core/types.ts";
import type { Driver, TaskMount, TaskSpec } from "../drivers/driver.ts";
import type { AllocDirs, TaskDirs } from "./alloc_dir.ts";
import type { ClientConfig } from "./config.ts";
import { buildTaskEnv, portsOf, type TaskEnv } from "./env.ts";
import type { DeviceAllocation } from "./local_state.ts";

export interface SpecInput {
  config: ClientConfig;
  node: Node;
  alloc: DeviceAllocation;
  group: TaskGroup;
  task: Task;
  driver: Driver;
  dirs: AllocDirs;
  taskDirs: TaskDirs;
  templateEnv: Record<string, string>;
  hostEnv: Record<string, string>;
}

/** Environment and interpolation of one task. */
export function taskEnv(input: SpecInput): TaskEnv {
  const own = input.driver.capabilities.filesystem === "image";
  return buildTaskEnv({
    node: input.node,
    region: input.config.region,
    alloc: input.alloc,
    group: input.group,
    task: input.task,
    dirs: own
      ? { alloc: "/alloc", local: "/local", secrets: "/secrets" }
      : { alloc: input.dirs.shared, local: input.taskDirs.local, secrets: input.taskDirs.secrets },
    hostEnv: own ? {} : input.hostEnv,
    templateEnv: input.templateEnv,
  });
}

export function buildSpec(input: SpecInput, id: string): TaskSpec {
  const { alloc, group, task } = input;
  const env = taskEnv(input);
  const network = group.Networks?.[0];
  const allocated = alloc.AllocatedResources.Tasks[task.Name];
  return {
    id: `${alloc.ID}/${task.Name}/${id}`,
    allocId: alloc.ID,
    jobId: alloc.Job.ID,
    namespace: alloc.Namespace,
    group: group.Name,
    task: task.Name,
    config: env.deep(task.Config ?? {}),
    env: env.env,
    user: env.text(task.User),
    allocDir: input.dirs.root,
    taskDir: input.taskDirs.task,
    logs: {
      dir: input.dirs.logs,
      filesMax: task.LogConfig.MaxFiles,
      fileSizeMaxBytes: task.LogConfig.MaxFileSizeMB * 1024 * 1024,
      disabled: task.LogConfig.Disabled,
    },
    resources: {
      cpuMhz: allocated?.Cpu.CpuShares ?? task.Resources.CPU,
      memoryMb: allocated?.Memory.MemoryMB ?? task.Resources.MemoryMB,
      memoryMaxMb: allocated?.Memory.MemoryMaxMB ?? 0,
      cores: allocated?.Cpu.ReservedCores ?? [],
    },
    networkMode: network?.Mode ?? "",
    ports: portsOf(alloc.AllocatedResources, task.Name),
    mounts: hostMounts(input),
    dns: network?.DNS
      ? {
        servers: network.DNS.Servers ?? [],
        searches: network.DNS.Searches ?? [],
        options: network.DNS.Options ?? [],
      }
      : null,
  };
}

function hostMounts(input: SpecInput): TaskMount[] {
  return (input.task.VolumeMounts ?? []).map((mount) => {
    const volume = input.group.Volumes?.[mount.Volume];
    const host = volume ? input.config.hostVolumes[volume.Source] : undefined;
    return {
      hostPath: host?.path ?? "",
      taskPath: mount.Destination,
      readOnly: mount.ReadOnly || (volume?.ReadOnly ?? false) || (host?.readOnly ?? false),
      propagation: mount.PropagationMode || "private",
    };
  });
}

/** The agent's environment as tasks without a file system of their own may see it. */
export function visibleHostEnv(all: NodeJS.ProcessEnv, denylist: string[]): Record<string, string> {
  const denied = new Set(denylist);
  return Object.fromEntries(
    Object.entries(all).filter((entry): entry is [string, string] =>
      entry[1] !== undefined && !denied.has(entry[0])
    ),
  );
}

/** Why this device cannot run a task, one line each; empty when it can. */
export function refusals(
  input: { config: ClientConfig; group: TaskGroup; task: Task; job: Job; driver: Driver | undefined },
): string[] {
  const { group, task } = input;
  return [
    ...volumeRefusals(input),
    ...networkRefusals(group),
    ...identityRefusals(task),
    ...(task.Templates ?? []).flatMap(templateRefusals),
    ...[...group.Services ?? [], ...task.Services ?? []].flatMap(serviceRefusals),
  ];
}

const ADDRESS_MODES = ["", "auto", "host"];

function serviceRefusals(service: Service): string[] {
  const name = `service ${JSON.stringify(service.Name)}`;
  if (service.Provider !== "nomad") {
    return [`${name}: this device registers with provider "nomad" only; set provider = "nomad"`];
  }
  const out: string[] = [];
  if (service.Connect) out.push(`${name}: connect blocks need Consul, which this device has not`);
  const checks = service.Checks ?? [];
  for (const mode of [service.AddressMode, ...checks.map((check) => check.AddressMode)]) {
    if (!ADDRESS_MODES.includes(mode)) {
      out.push(
        `${name}: address_mode ${JSON.stringify(mode)} is not available on this device; use "auto" or "host"`,
      );
    }
  }
  for (const check of checks) {
    if (check.Expose) out.push(`${name}: expose needs Consul, which this device has not`);
    if (!["http", "tcp", "script"].includes(check.Type)) {
      out.push(`${name}: check type ${JSON.stringify(check.Type)} is not supported; use http, tcp or script`);
    }
  }
  return out;
}

function volumeRefusals(
  { config, group, task, driver }: {
    config: ClientConfig;
    group: TaskGroup;
    task: Task;
    driver: Driver | undefined;
  },
): string[] {
  const mounts = task.VolumeMounts ?? [];
  if (mounts.length > 0 && driver?.capabilities.filesystem === "none") {
    return [
      `volumes: task driver ${JSON.stringify(driver.name)} for ${
        JSON.stringify(task.Name)
      } does not support host volumes`,
    ];
  }
  return mounts.flatMap((mount) => {
    const volume = group.Volumes?.[mount.Volume];
    if (!volume) return [`volumes: group has no volume ${JSON.stringify(mount.Volume)}`];
    if (volume.Type !== "host") {
      return [
        `volumes: ${JSON.stringify(mount.Volume)} has type ${JSON.stringify(volume.Type)}; ` +
        "this device mounts host volumes only",
      ];
    }
    return config.hostVolumes[volume.Source]
      ? []
      : [`volumes: this device has no host volume ${JSON.stringify(volume.Source)}`];
  });
}

function networkRefusals(group: TaskGroup): string[] {
  return (group.Networks ?? []).flatMap((network) =>
    network.Mode === "" || network.Mode === "host" || network.Mode === "none" ? [] : [
      `network: mode ${JSON.stringify(network.Mode)} is not available on this device; ` +
      'use mode = "host" (or leave it out), or the driver\'s own network',
    ]
  );
}

function identityRefusals(task: Task): string[] {
  const identities = [
    task.Identity,
    ...(task.Identities ?? []),
  ] as ({ Env?: boolean; File?: boolean } | null)[];
  const out: string[] = [];
  if (identities.some((identity) => identity?.Env || identity?.File)) {
    out.push("identity: this device cannot hand out workload identity tokens; remove env and file");
  }
  if (task.Vault) out.push("vault: this device has no Vault; remove the vault block");
  if (Array.isArray(task.Secrets) && task.Secrets.length > 0) {
    out.push("secret: this device has no secret providers; remove the secret block");
  }
  return out;
}

const CHANGE_MODES = ["", "noop", "restart", "signal", "script"];

function templateRefusals(template: Template): string[] {
  return CHANGE_MODES.includes(template.ChangeMode) ? [] : [
    `template: unknown change_mode ${JSON.stringify(template.ChangeMode)}; use one of noop, restart, ` +
    "signal, script",
  ];
}
