// Whether a canonical job may be registered, in Nomad's words. Errors nest as its multi-errors do; warnings are
// advice that goes along with success. Groups, tasks and services have files of their own.
//
// Invariants: pure; looks at canonical jobs only (every field is there); an error for everything that nobody here
// carries out, so that no part of a job is silently ignored.
import type { Job } from "../core/types.ts";
import { cronProblem } from "./cron_check.ts";
import { asRaw, text } from "./job_defaults.ts";
import { validateGroup } from "./job_validate_group.ts";
import { validateAffinities, validateConstraints, validateSpreads } from "./job_validate_terms.ts";
import { jobWarnings } from "./job_warnings.ts";
import { formatMultiError } from "./multi_error.ts";
import { scheduleErrors } from "./schedule_check.ts";
import { isParameterized } from "./state_status.ts";

export { formatMultiError } from "./multi_error.ts";

export interface ValidateConfig {
  /** Server block `job_max_priority`. */
  priorityMax: number;
  /** Server block `job_max_count`: allocations one job may ask for. */
  countMax: number;
  /** Of the scheduler configuration. */
  memoryOversubscription: boolean;
  /** Left out: not looked at. The log refuses unknown ones in any case. */
  namespaceExists?: (name: string) => boolean;
  poolExists?: (name: string) => boolean;
}

export interface Validation {
  /** Each may hold several nested ones; empty: valid. */
  errors: string[];
  warnings: string[];
}

export function validateJob(job: Job, config: ValidateConfig): Validation {
  const errors = [
    ...validatePlace(job, config),
    ...validateUnsupported(job),
    ...validateHeader(job),
    ...validateGroups(job),
    ...validatePeriodic(job),
    ...validateParameterized(job),
    ...validateLimits(job, config),
  ];
  return { errors, warnings: jobWarnings(job, config) };
}

/** "1 warning:\n\n* …", "" for none: what the API answers under Warnings. */
export function formatWarnings(warnings: readonly string[]): string {
  if (warnings.length === 0) return "";
  const head = warnings.length === 1 ? "1 warning:" : `${warnings.length} warnings:`;
  return `${head}\n\n${warnings.map((warning) => `* ${warning.trimEnd()}`).join("\n")}`;
}

function validatePlace(job: Job, config: ValidateConfig): string[] {
  const errors: string[] = [];
  if (config.namespaceExists?.(job.Namespace) === false) {
    errors.push(`job "${job.ID}" is in nonexistent namespace "${job.Namespace}"`);
  }
  if (config.poolExists?.(job.NodePool) === false) {
    errors.push(`job "${job.ID}" is in nonexistent node pool "${job.NodePool}"`);
  }
  return errors;
}

/** What nobody here carries out: refused, with what to do about it. */
function validateUnsupported(job: Job): string[] {
  const errors: string[] = [];
  if (job.Multiregion) {
    errors.push("multiregion is not supported: register the job in each region and remove the block");
  }
  const tasks = job.TaskGroups.flatMap((group) => group.Tasks);
  const vaults = tasks.flatMap((task) => task.Vault ? [text(asRaw(task.Vault)?.["Cluster"])] : []);
  for (const cluster of new Set(vaults)) errors.push(`Vault "${cluster}" not enabled but used in the job`);
  for (const group of job.TaskGroups) {
    for (const service of [...group.Services ?? [], ...group.Tasks.flatMap((task) => task.Services ?? [])]) {
      if (service.Connect && service.Provider === "consul") {
        errors.push(
          `service "${service.Name}" in group "${group.Name}" uses Consul Connect, which is not supported: remove the connect block`,
        );
      }
    }
    for (const task of group.Tasks) {
      const name = `task "${task.Name}" in group "${group.Name}"`;
      for (const problem of task.Schedule ? scheduleErrors(task.Schedule, isTimeZone) : []) {
        errors.push(`${name}: ${problem}`);
      }
      const affinity = task.Resources.NUMA?.Affinity ?? "none";
      if (!["none", "prefer", "require"].includes(affinity)) {
        errors.push(`${name}: numa affinity "${affinity}" is invalid: it must be none, prefer or require`);
      } else if (affinity !== "none" && !task.Resources.Cores) {
        errors.push(`${name}: numa affinity is about whole cores: set resources.cores`);
      }
      if ((task.Resources.NUMA?.Devices?.length ?? 0) > 0) {
        errors.push(
          `${name} asks for devices of its NUMA node, which is not supported: remove "devices" from the numa block`,
        );
      }
      if (task.CSIPluginConfig) {
        errors.push(`${name} is a CSI plugin, which is not supported: use host volumes`);
      }
    }
  }
  return errors;
}

const JOB_TYPES = ["service", "batch", "system", "sysbatch"];

function validateHeader(job: Job): string[] {
  const errors: string[] = [];
  if (job.Region === "") errors.push("Missing job region");
  if (job.ID === "") errors.push("Missing job ID");
  else if (job.ID.includes(" ")) errors.push("Job ID contains a space");
  else if (job.ID.includes("\0")) errors.push("Job ID contains a null character");
  if (job.Name === "") errors.push("Missing job name");
  else if (job.Name.includes("\0")) errors.push("Job Name contains a null character");
  if (job.Namespace === "") errors.push("Job must be in a namespace");
  const type: string = job.Type;
  if (type === "_core") errors.push("job type cannot be core");
  else if (!JOB_TYPES.includes(type)) errors.push(`Invalid job type: "${type}"`);
  for (const datacenter of job.Datacenters) {
    if (datacenter === "") errors.push("Job datacenter must be non-empty string");
  }
  if (job.TaskGroups.length === 0) errors.push("Missing job task groups");
  errors.push(...validateConstraints(job.Constraints));
  errors.push(...validateAffinities(job.Affinities, job.Type));
  errors.push(...validateSpreads(job.Spreads, job.Type));
  return errors;
}

function validateGroups(job: Job): string[] {
  const errors: string[] = [];
  const seen = new Map<string, number>();
  job.TaskGroups.forEach((group, i) => {
    const first = seen.get(group.Name);
    if (group.Name === "") errors.push(`Job task group ${i + 1} missing name`);
    else if (first !== undefined) {
      errors.push(`Job task group ${i + 1} redefines '${group.Name}' from group ${first + 1}`);
    } else seen.set(group.Name, i);
    if ((group.ShutdownDelay ?? 0) < 0) errors.push("ShutdownDelay must be a positive value");
    if (job.Type === "system" && group.Count > 1) {
      errors.push(
        `Job task group ${group.Name} has count ${group.Count}. Count cannot exceed 1 with system scheduler`,
      );
    }
  });
  for (const group of job.TaskGroups) {
    for (const service of group.Services ?? []) {
      if (service.Provider === "nomad" && service.Identity) {
        errors.push(
          `service "${service.Name}" in group "${group.Name}" has an identity block, which only Consul services ` +
            "may have: remove it",
        );
      }
    }
    const found = validateGroup(group, job);
    if (found.length > 0) {
      errors.push(`Task group ${group.Name} validation failed: ${formatMultiError(found)}`);
    }
  }
  return errors;
}

function validatePeriodic(job: Job): string[] {
  const { Periodic: periodic } = job;
  if (!periodic?.Enabled) return [];
  const errors: string[] = [];
  if (job.Type !== "batch" && job.Type !== "sysbatch") {
    errors.push('Periodic can only be used with "batch" or "sysbatch" scheduler');
  }
  const found: string[] = [];
  const specs = periodic.Specs ?? [];
  if (periodic.Spec !== "" && specs.length > 0) found.push("Only cron or crons may be used");
  else if (periodic.Spec === "" && specs.length === 0) found.push("Must specify a spec");
  if (periodic.TimeZone !== "" && !isTimeZone(periodic.TimeZone)) {
    found.push(`Invalid time zone "${periodic.TimeZone}": unknown time zone ${periodic.TimeZone}`);
  }
  if (periodic.SpecType !== "cron" && periodic.SpecType !== "_internal_test") {
    found.push(`Unknown periodic specification type "${periodic.SpecType}"`);
  } else {
    for (const spec of periodic.Spec === "" ? specs : [periodic.Spec]) {
      const problem = cronProblem(spec);
      if (problem) found.push(`Invalid cron spec "${spec}": ${problem}`);
    }
  }
  if (found.length > 0) errors.push(formatMultiError(found));
  return errors;
}

/** "Local" is the server's own zone: an expression would fire at another time on another server. */
function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return name === "Local";
    throw error;
  }
}

function validateParameterized(job: Job): string[] {
  const errors: string[] = [];
  const config = job.ParameterizedJob;
  if (job.Payload && !job.Dispatched) errors.push("job can't be submitted with a payload, only dispatched");
  if (!config || !isParameterized(job)) return errors;
  if (job.Type !== "batch" && job.Type !== "sysbatch") {
    errors.push('Parameterized job can only be used with "batch" or "sysbatch" scheduler');
  }
  const found: string[] = [];
  if (!["optional", "required", "forbidden"].includes(config.Payload)) {
    found.push(`Unknown payload requirement: "${config.Payload}"`);
  }
  const both = (config.MetaRequired ?? []).filter((key) => config.MetaOptional?.includes(key));
  if (both.length > 0) {
    found.push(
      `Required and optional meta keys should be disjoint. Following keys exist in both: [${both.join(" ")}]`,
    );
  }
  if (found.length > 0) errors.push(formatMultiError(found));
  return errors;
}

function validateLimits(job: Job, config: ValidateConfig): string[] {
  const errors: string[] = [];
  const total = job.TaskGroups.reduce((sum, group) => sum + group.Count, 0);
  if (config.countMax > 0 && total > config.countMax) {
    errors.push(`total count was greater than configured job_max_count: ${total} > ${config.countMax}`);
  }
  if (job.Priority < 1 || job.Priority > config.priorityMax) {
    errors.push(`job priority must be between [1, ${config.priorityMax}]`);
  }
  const description = job.UI?.Description.length ?? 0;
  if (description > 1000) {
    errors.push(`UI description must be under 1000 characters, currently ${description}`);
  }
  return errors;
}
