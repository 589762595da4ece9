// Validation of a task group: policies, networks, volumes, scaling, and its tasks and services (own files).
import { formatDuration } from "../core/duration.ts";
import type {
  DisconnectStrategy,
  Job,
  MigrateStrategy,
  NetworkResource,
  ReschedulePolicy,
  RestartPolicy,
  TaskGroup,
  UpdateStrategy,
  VolumeRequest,
} from "../core/types.ts";
import { validateGroupServices } from "./job_validate_service.ts";
import { validateTask } from "./job_validate_task.ts";
import { validateAffinities, validateConstraints, validateSpreads } from "./job_validate_terms.ts";
import { formatMultiError } from "./multi_error.ts";
import { rescheduleErrors } from "./reschedule_check.ts";

const SECOND = 1e9;
const RESTART_INTERVAL_MIN = 5 * SECOND;
const DISK_MIN_MB = 10;

export function validateGroup(group: TaskGroup, job: Job): string[] {
  return [
    ...validateName(group),
    ...validateKind(group, job),
    ...(group.Disconnect ? disconnectErrors(group.Disconnect, job) : []),
    ...validateConstraints(group.Constraints),
    ...validateAffinities(group.Affinities, job.Type),
    ...restartErrors(group.RestartPolicy),
    ...validateSpreads(group.Spreads, job.Type),
    ...validateReschedule(group.ReschedulePolicy, job),
    ...diskErrors(group),
    ...validateUpdate(group.Update, job),
    ...validateMigrate(group.Migrate, job),
    ...validateTaskNames(group),
    ...validateVolumes(group),
    ...wrap("Task group network validation failed: ", networkErrors(group)),
    ...validateGroupServices(group),
    ...wrap("Task group scaling policy validation failed: ", scalingErrors(group)),
    ...group.Tasks.flatMap((task) =>
      wrap(`Task ${task.Name} validation failed: `, validateTask(task, group, job))
    ),
  ];
}

/** All of `errors` as one, or none. */
export function wrap(prefix: string, errors: readonly string[]): string[] {
  return errors.length > 0 ? [prefix + formatMultiError(errors)] : [];
}

function validateName(group: TaskGroup): string[] {
  const errors: string[] = [];
  if (group.Name === "") errors.push("Missing task group name");
  else if (group.Name.includes("\0")) errors.push("Task group name contains null character");
  if (group.Count < 0) errors.push("Task group count can't be negative");
  if (group.Tasks.length === 0) errors.push("Missing tasks for task group");
  return errors;
}

function validateKind(group: TaskGroup, job: Job): string[] {
  if (group.MaxRunDuration === null || job.Type === "batch" || job.Type === "sysbatch") return [];
  return [`Job type "${job.Type}" does not allow max_run_duration`];
}

const RECONCILE = ["", "best_score", "keep_original", "keep_replacement", "longest_running"];

function disconnectErrors(disconnect: DisconnectStrategy, job: Job): string[] {
  const { LostAfter: lost, StopOnClientAfter: stop } = disconnect;
  const errors: string[] = [];
  if (stop !== null && job.Type !== "service" && job.Type !== "batch") {
    errors.push("stop_after can only be used with service or batch job types");
  }
  if ((lost ?? 0) > 0 && (stop ?? 0) > 0) {
    errors.push("Disconnect cannot be configured with both lost_after and stop_after");
  }
  if ((lost ?? 0) < 0) errors.push("lost_after cannot be a negative duration");
  if ((stop ?? 0) < 0) errors.push("stop_after cannot be a negative duration");
  if (!RECONCILE.includes(disconnect.Reconcile)) {
    errors.push(`reconcile option is invalid: ${disconnect.Reconcile}`);
  }
  return errors;
}

export function restartErrors(policy: RestartPolicy): string[] {
  const errors: string[] = [];
  const { Attempts: attempts, Interval: interval, Delay: delay, Mode: mode } = policy;
  if (mode !== "fail" && mode !== "delay") errors.push(`Unsupported restart mode: "${mode}"`);
  if (attempts === 0 && mode !== "fail") {
    errors.push(`Restart policy "${mode}" with 0 attempts is ambiguous`);
  }
  if (interval < RESTART_INTERVAL_MIN) {
    errors.push(
      `Interval can not be less than ${formatDuration(RESTART_INTERVAL_MIN)} (got ${
        formatDuration(interval)
      })`,
    );
  }
  if (attempts * delay > interval) {
    errors.push(
      `Nomad can't restart the TaskGroup ${attempts} times in an interval of ${formatDuration(interval)} ` +
        `with a delay of ${formatDuration(delay)}`,
    );
  }
  return errors;
}

function validateReschedule(policy: ReschedulePolicy | null, job: Job): string[] {
  if (job.Type === "system" || job.Type === "sysbatch") {
    return policy ? ["System or sysbatch jobs should not have a reschedule policy"] : [];
  }
  return policy ? rescheduleErrors(policy) : [];
}

function diskErrors(group: TaskGroup): string[] {
  const size = group.EphemeralDisk.SizeMB;
  return size < DISK_MIN_MB ? [`minimum DiskMB value is ${DISK_MIN_MB}; got ${size}`] : [];
}

function validateUpdate(update: UpdateStrategy | null, job: Job): string[] {
  if (!update) return [];
  if (job.Type !== "service" && job.Type !== "system") {
    return [`Job type "${job.Type}" does not allow update block`];
  }
  return updateErrors(update);
}

function updateErrors(u: UpdateStrategy): string[] {
  const errors: string[] = [];
  if (!["checks", "task_states", "manual"].includes(u.HealthCheck)) {
    errors.push(`Invalid health check given: "${u.HealthCheck}"`);
  }
  if (u.MaxParallel < 0) errors.push(`Max parallel can not be less than zero: ${u.MaxParallel} < 0`);
  if (u.Canary < 0) errors.push(`Canary count can not be less than zero: ${u.Canary} < 0`);
  if (u.Canary === 0 && u.AutoPromote) errors.push("Auto Promote requires a Canary count greater than zero");
  const { MinHealthyTime: healthy, HealthyDeadline: deadline, ProgressDeadline: progress } = u;
  if (healthy < 0) errors.push(`Minimum healthy time may not be less than zero: ${formatDuration(healthy)}`);
  if (deadline <= 0) errors.push(`Healthy deadline must be greater than zero: ${formatDuration(deadline)}`);
  if (progress < 0) errors.push(`Progress deadline must be zero or greater: ${formatDuration(progress)}`);
  if (healthy >= deadline) {
    errors.push(
      `Minimum healthy time must be less than healthy deadline: ${formatDuration(healthy)} > ${
        formatDuration(deadline)
      }`,
    );
  }
  if (progress !== 0 && deadline >= progress) {
    errors.push(
      `Healthy deadline must be less than progress deadline: ${formatDuration(deadline)} > ${
        formatDuration(progress)
      }`,
    );
  }
  if (u.Stagger <= 0) errors.push(`Stagger must be greater than zero: ${formatDuration(u.Stagger)}`);
  return errors;
}

function validateMigrate(migrate: MigrateStrategy | null, job: Job): string[] {
  if (!migrate) return [];
  if (job.Type !== "service") return [`Job type "${job.Type}" does not allow migrate block`];
  const errors: string[] = [];
  if (migrate.MaxParallel < 0) errors.push(`MaxParallel must be >= 0 but found ${migrate.MaxParallel}`);
  if (migrate.HealthCheck !== "checks" && migrate.HealthCheck !== "task_states") {
    errors.push(`Invalid HealthCheck: "${migrate.HealthCheck}"`);
  }
  const { MinHealthyTime: healthy, HealthyDeadline: deadline } = migrate;
  if (healthy < 0) errors.push(`MinHealthyTime is ${formatDuration(healthy)} and must be >= 0`);
  if (deadline < 0) errors.push(`HealthyDeadline is ${formatDuration(deadline)} and must be >= 0`);
  if (healthy > deadline) errors.push("MinHealthyTime must be less than HealthyDeadline");
  return errors;
}

function validateTaskNames(group: TaskGroup): string[] {
  const errors: string[] = [];
  const seen = new Map<string, number>();
  group.Tasks.forEach((task, i) => {
    const first = seen.get(task.Name);
    if (task.Name === "") errors.push(`Task ${i + 1} missing name`);
    else if (first !== undefined) {
      errors.push(`Task ${i + 1} redefines '${task.Name}' from task ${first + 1}`);
    } else seen.set(task.Name, i);
  });
  if (group.Tasks.filter((task) => task.Leader).length > 1) {
    errors.push("Only one task may be marked as leader");
  }
  return errors;
}

function validateVolumes(group: TaskGroup): string[] {
  const volumes = group.Volumes ?? {};
  return Object.keys(volumes).sort().flatMap((name) =>
    wrap(`Task group volume validation for ${name} failed: `, volumeErrors(volumes[name]!, group))
  );
}

const WRITERS_ONE = ["single-node-writer", "single-node-single-writer"];
const HOST_ACCESS = [
  "",
  "single-node-reader-only",
  "single-node-writer",
  "single-node-single-writer",
  "single-node-multi-writer",
];

function volumeErrors(volume: VolumeRequest, group: TaskGroup): string[] {
  const errors: string[] = [];
  const access = volume.AccessMode;
  if (volume.Type !== "host" && volume.Type !== "csi") {
    errors.push(`volume has unrecognized type ${volume.Type}`);
  }
  if (volume.Source === "") errors.push("volume has an empty source");
  if (volume.PerAlloc && (group.Update?.Canary ?? 0) > 0) {
    errors.push("volume cannot be per_alloc when canaries are in use");
  }
  if (volume.PerAlloc && volume.Sticky) {
    errors.push("volume cannot be per_alloc and sticky at the same time");
  }
  if (volume.Type === "csi") {
    // Nothing here can mount one: refused before it waits for a node for ever.
    errors.push("CSI volumes are not supported: use a host volume");
    if (volume.AttachmentMode === "") errors.push("CSI volumes must have an attachment mode");
    if (access === "") errors.push("CSI volumes must have an access mode");
  }
  if (volume.Type === "host") {
    if (!HOST_ACCESS.includes(access)) {
      errors.push(`host volumes cannot be mounted with ${access} access mode`);
    }
    if (volume.MountOptions) errors.push("host volumes cannot have mount options");
  }
  if (access === "single-node-reader-only" && !volume.ReadOnly) {
    errors.push(`${access} volumes must be read-only`);
  }
  if (WRITERS_ONE.includes(access) && group.Count > 1 && !volume.PerAlloc) {
    errors.push(`volume with ${access} access mode allows only one reader or writer`);
  }
  return errors;
}

const PORT_MAX = 65535;

/** Labels and static ports must be unique over the group's network and its tasks' old ones. */
function networkErrors(group: TaskGroup): string[] {
  const errors: string[] = [];
  const labels = new Map<string, string>();
  const statics = new Map<string, string>();
  for (const network of group.Networks ?? []) {
    errors.push(
      ...portErrors(network, { owner: "taskgroup network", place: "taskgroup network", labels, statics }),
    );
  }
  for (const task of group.Tasks) {
    // The labels of a task's own network are its own, but may not repeat the group's.
    const own = new Map(labels);
    for (const network of task.Resources.Networks ?? []) {
      errors.push(...portErrors(network, { owner: task.Name, place: task.Name, labels: own, statics }));
    }
  }
  return errors;
}

interface PortScope {
  owner: string;
  place: string;
  labels: Map<string, string>;
  statics: Map<string, string>;
}

function portErrors(network: NetworkResource, { owner, labels, statics }: PortScope): string[] {
  const errors: string[] = [];
  const all = [...network.ReservedPorts ?? [], ...network.DynamicPorts ?? []];
  for (const port of all) {
    const other = labels.get(port.Label);
    if (other !== undefined) errors.push(`Port label ${port.Label} already in use by ${other}`);
    else labels.set(port.Label, owner);
    if (port.Value > 0) {
      const place = `${port.HostNetwork}\0${port.Value}`;
      const holder = statics.get(place);
      if (port.Value > PORT_MAX) {
        errors.push(`Port ${port.Label} (${port.Value}) cannot be greater than ${PORT_MAX}`);
      } else if (holder !== undefined && !port.IgnoreCollision) {
        errors.push(`Static port ${port.Value} already reserved by ${holder}`);
      } else {
        statics.set(place, `${owner}:${port.Label}`);
      }
    }
    if (port.To < -1) errors.push(`Port "${port.Label}" cannot be mapped to negative value ${port.To}`);
    if (port.To > PORT_MAX) {
      errors.push(`Port "${port.Label}" cannot be mapped to a port (${port.To}) greater than ${PORT_MAX}`);
    }
    if (port.IgnoreCollision && network.Mode !== "" && network.Mode !== "host") {
      errors.push(
        `Port "${port.Label}" collision may not be ignored on non-host network mode "${network.Mode}"`,
      );
    }
  }
  return errors;
}

function scalingErrors(group: TaskGroup): string[] {
  const policy = group.Scaling;
  if (!policy) return [];
  const errors: string[] = [];
  const { Min: min, Max: max } = policy;
  if (policy.Type !== "horizontal") {
    return [`Scaling policy invalid: scaling policy type "${policy.Type}" is not valid`];
  }
  if (max < 0) errors.push("Scaling policy invalid: maximum count must be specified and non-negative");
  else if (max < min) {
    errors.push("Scaling policy invalid: maximum count must not be less than minimum count");
  }
  if (min < 0) errors.push("Scaling policy invalid: minimum count must be specified and non-negative");
  if (group.Count < min) {
    errors.push(
      "Scaling policy invalid: task group count must not be less than minimum count in scaling policy",
    );
  }
  if (group.Count > max) {
    errors.push(
      "Scaling policy invalid: task group count must not be greater than maximum count in scaling policy",
    );
  }
  return errors;
}
