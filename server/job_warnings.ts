// Advice that goes along with a valid job: deprecated settings, and settings that have no effect or a surprising one.
import type { Job, Task, TaskGroup } from "../core/types.ts";
import { asList, asRaw, type Raw, text } from "./job_defaults.ts";
import { formatMultiError } from "./multi_error.ts";
import { wrap } from "./job_validate_group.ts";

export function jobWarnings(job: Job, config: { memoryOversubscription: boolean }): string[] {
  const warnings: string[] = [];
  for (const group of job.TaskGroups) {
    const found = groupWarnings(group);
    if (found.length > 0) warnings.push(`Group "${group.Name}" has warnings: ${formatMultiError(found)}`);
  }
  for (const group of job.TaskGroups) warnings.push(...identityAdvice(group));
  if (job.Periodic && job.Periodic.Spec !== "") {
    warnings.push("cron is deprecated and may be removed in a future release. Use crons instead");
  }
  for (const group of job.TaskGroups) {
    if (!config.memoryOversubscription) warnings.push(...memoryAdvice(group));
    warnings.push(...shutdownAdvice(group));
  }
  return warnings;
}

function groupWarnings(group: TaskGroup): string[] {
  const warnings: string[] = [];
  if (group.Networks?.some((network) => (network.MBits ?? 0) > 0)) {
    warnings.push(
      "mbits has been deprecated as of Nomad 0.12.0. Please remove mbits from the network block",
    );
  }
  for (const task of group.Tasks) {
    const found = taskWarnings(task);
    if (found.length > 0) warnings.push(`Task "${task.Name}" has warnings: ${formatMultiError(found)}`);
  }
  return warnings;
}

function taskWarnings(task: Task): string[] {
  const warnings: string[] = [];
  if (task.Resources.IOPS > 0) {
    warnings.push("IOPS has been deprecated as of Nomad 0.9.0. Please remove IOPS from resource block.");
  }
  if (task.Resources.Networks) {
    warnings.push(
      "task network resources have been deprecated as of Nomad 0.12.0. Please configure networking via " +
        "group network block.",
    );
  }
  (task.Templates ?? []).forEach((template, i) => {
    if (template.VaultGrace !== 0) {
      warnings.push(
        `Template[${i}] VaultGrace has been deprecated as of Nomad 0.11 and ignored since Vault 0.5. ` +
          "Please remove VaultGrace / vault_grace from template block.",
      );
    }
  });
  for (const identity of asList(task.Identities) ?? []) {
    warnings.push(...wrap("", identityWarnings(identity)));
  }
  return warnings;
}

function identityWarnings(identity: Raw): string[] {
  const start = `Identity[${text(identity["Name"])}]`;
  const warnings: string[] = [];
  const audience = Array.isArray(identity["Audience"]) ? identity["Audience"].length : 0;
  if (audience === 0) warnings.push(`${start} identities without an audience are insecure`);
  if (audience > 1) {
    warnings.push(
      `${start} while multiple audiences is allowed, it is more secure to use 1 audience per identity`,
    );
  }
  if (!identity["TTL"]) warnings.push(`${start} identities without an expiration are insecure`);
  if (identity["Env"] === true && identity["ChangeMode"] !== "restart") {
    warnings.push(
      `${start} using env=true without change_mode="restart" may result in task not getting updated identity`,
    );
  }
  return warnings;
}

function identityAdvice(group: TaskGroup): string[] {
  const warnings: string[] = [];
  for (const task of group.Tasks) {
    for (const identity of asList(task.Identities) ?? []) {
      const name = text(identity["Name"]);
      if (name.startsWith("vault_") && !asRaw(task.Vault)) {
        warnings.push(`Task ${task.Name} has an identity called ${name} but no vault block`);
      }
    }
  }
  return warnings;
}

function memoryAdvice(group: TaskGroup): string[] {
  return group.Tasks.filter((task) => task.Resources.MemoryMaxMB !== 0).map((task) =>
    `Memory oversubscription is not enabled; Task "${group.Name}.${task.Name}" memory_max value will be ` +
    "ignored. Update the Scheduler Configuration to allow oversubscription."
  );
}

/** Without a delay a stopping task still gets traffic for a moment after its service is gone. */
function shutdownAdvice(group: TaskGroup): string[] {
  const warnings: string[] = [];
  for (const task of group.Tasks) {
    if (task.Services && task.ShutdownDelay === 0) {
      warnings.push(
        `task "${task.Name}" in group "${group.Name}" defines services, but has no shutdown_delay set`,
      );
    }
  }
  const services = group.Services ?? [];
  const anyDelay = (group.ShutdownDelay ?? 0) > 0 || group.Tasks.some((task) => task.ShutdownDelay > 0);
  if (services.some((service) => service.TaskName === "") && !anyDelay) {
    warnings.push(
      `group "${group.Name}" defines services, but neither the group nor any of its tasks have shutdown_delay set`,
    );
  }
  for (const service of services) {
    // A Connect-native service belongs to the only task there is.
    const owner = service.TaskName || (asRaw(service.Connect)?.["Native"] ? group.Tasks[0]?.Name : "");
    const task = group.Tasks.find((each) => each.Name === owner);
    if (task && task.ShutdownDelay === 0) {
      warnings.push(
        `group "${group.Name}" references task "${task.Name}" in a service definition, but the task has no ` +
          "shutdown_delay set",
      );
    }
  }
  return warnings;
}
