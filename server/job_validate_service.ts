// Validation of services and their checks, of groups and of tasks.
import { formatDuration } from "../core/duration.ts";
import type { Service, ServiceCheck, Task, TaskGroup } from "../core/types.ts";
import { wrap } from "./job_validate_group.ts";

const SECOND = 1e9;
const SERVICE_NAME = /^(?:[a-z0-9]|[a-z0-9][a-z0-9-]{0,61}[a-z0-9])$/i;
const ON_UPDATE = ["", "require_healthy", "ignore_warnings", "ignore"];

export function validateGroupServices(group: TaskGroup): string[] {
  const services = group.Services ?? [];
  return [
    ...wrap("Task group service validation failed: ", groupServiceErrors(group, services)),
    ...wrap("Task group service check validation failed: ", scriptCheckErrors(group, services)),
  ];
}

function groupServiceErrors(group: TaskGroup, services: readonly Service[]): string[] {
  const errors: string[] = [];
  services.forEach((service, i) => {
    errors.push(...wrap(`Service[${i}] ${service.Name} validation failed: `, serviceErrors(service)));
    if (service.AddressMode === "driver" && service.TaskName === "") {
      errors.push(
        `service "${service.Name}" cannot use address_mode="driver", only services defined in a "task" ` +
          "block can use this mode",
      );
    }
    for (const check of service.Checks ?? []) {
      if (check.TaskName !== "" && !group.Tasks.some((task) => task.Name === check.TaskName)) {
        errors.push(`Check ${check.Name} invalid: refers to non-existent task ${check.TaskName}`);
      }
    }
  });
  for (const task of group.Tasks) {
    for (const service of task.Services ?? []) {
      if (service.TaskName !== "" && service.TaskName !== task.Name) {
        errors.push(
          `Service ${service.Name} is invalid: may only specify task the service belongs to, ` +
            `got "${service.TaskName}"`,
        );
      }
    }
  }
  errors.push(...uniqueErrors(group, services));
  return errors;
}

function uniqueErrors(group: TaskGroup, services: readonly Service[]): string[] {
  const errors: string[] = [];
  const ofTasks = group.Tasks.flatMap((task) => (task.Services ?? []).map((service) => ({ task, service })));
  const named = [
    ...services.map((service) => `group->${service.Name}:${service.PortLabel}`),
    ...ofTasks.map(({ task, service }) => `${task.Name}->${service.Name}:${service.PortLabel}`),
  ];
  const twice = [...new Set(named.filter((name, i) => named.indexOf(name) !== i))];
  if (twice.length > 0) errors.push(`Services are not unique: [${twice.join(", ")}]`);
  const providers = new Set([...services, ...ofTasks.map(({ service }) => service)].map((s) => s.Provider));
  if (providers.size > 1) {
    errors.push("Multiple service providers used: task group services must use the same provider");
  }
  return errors;
}

/** Script checks run inside a task and must say which. */
function scriptCheckErrors(group: TaskGroup, services: readonly Service[]): string[] {
  const errors: string[] = [];
  for (const service of services) {
    for (const check of service.Checks ?? []) {
      if (check.Type === "script" && check.TaskName === "" && service.TaskName === "") {
        errors.push(
          `Service [${group.Name}]->${service.Name} or Check ${check.Name} must specify task parameter`,
        );
      }
    }
  }
  return errors;
}

/** Errors of a task's own services, and labels of ports that nobody has. */
export function taskServiceErrors(task: Task, group: TaskGroup): string[] {
  const errors: string[] = [];
  const labels = new Set<string>();
  for (const network of [...group.Networks ?? [], ...task.Resources.Networks ?? []]) {
    for (const port of [...network.ReservedPorts ?? [], ...network.DynamicPorts ?? []]) {
      labels.add(port.Label);
    }
  }
  const unknown = new Map<string, string[]>();
  (task.Services ?? []).forEach((service) => {
    errors.push(...wrap(`service "${service.Name}" validation failed: `, serviceErrors(service)));
    if (service.AddressMode === "alloc") {
      errors.push(
        `service "${service.Name}" cannot use address_mode="alloc", only services defined in a "group" ` +
          "block can use this mode",
      );
    }
    if (service.Connect) {
      errors.push(
        `service "${service.Name}" cannot have "connect" block, only services defined in a "group" block can`,
      );
    }
    const port = service.PortLabel;
    if (port === "" || labels.has(port) || /^\d+$/.test(port)) return;
    unknown.set(port, [...unknown.get(port) ?? [], service.Name]);
  });
  for (const [port, names] of unknown) {
    errors.push(`port label "${port}" referenced by services ${names.join(", ")} does not exist`);
  }
  return errors;
}

function serviceErrors(service: Service): string[] {
  const errors: string[] = [];
  // What is interpolated is known on the device only.
  const name = service.Name.replace(/\$\{[^}]*\}/g, "x");
  if (!SERVICE_NAME.test(name)) {
    errors.push(
      "Service name must be valid per RFC 1123 and can contain only alphanumeric characters or dashes " +
        `and must be no longer than 63 characters: "${service.Name}"`,
    );
  }
  if (!["", "auto", "host", "driver", "alloc"].includes(service.AddressMode)) {
    errors.push(`Service address_mode must be "auto", "host", or "driver"; not "${service.AddressMode}"`);
  }
  if (service.Address !== "" && service.AddressMode !== "auto" && service.AddressMode !== "") {
    errors.push('Service address_mode must be "auto" if address is set');
  }
  if (service.Provider !== "consul" && service.Provider !== "nomad") {
    errors.push(`Service provider must be "consul", or "nomad"; not "${service.Provider}"`);
  }
  if (!ON_UPDATE.includes(service.OnUpdate)) {
    errors.push(
      `Service on_update must be "require_healthy", "ignore_warnings", or "ignore"; not "${service.OnUpdate}"`,
    );
  }
  if (service.Connect && service.Provider === "nomad") {
    errors.push("Service with provider nomad cannot include Connect blocks");
  }
  for (const check of service.Checks ?? []) errors.push(...checkErrors(check, service));
  return errors;
}

function checkErrors(check: ServiceCheck, service: Service): string[] {
  if (checkNeedsPort(check) && check.PortLabel === "" && service.PortLabel === "") {
    return [
      `Check ${check.Name} invalid: check requires a port but neither check nor service ` +
      `"${service.Name}" have a port`,
    ];
  }
  const problem = commonProblem(check, service) ??
    (service.Provider === "nomad" ? nativeProblem(check) : consulProblem(check));
  if (problem === null) return [];
  return [service.Provider === "nomad" ? problem : `Check ${check.Name} invalid: ${problem}`];
}

function checkNeedsPort(check: ServiceCheck): boolean {
  return check.Type === "http" || check.Type === "tcp" || check.Type === "grpc";
}

const TYPES: Record<string, readonly string[]> = {
  nomad: ["tcp", "http"],
  consul: ["grpc", "tcp", "http", "script"],
};

/** The first thing that is wrong with a check whatever its provider. */
function commonProblem(check: ServiceCheck, service: Service): string | null {
  const types = TYPES[service.Provider] ?? TYPES["consul"]!;
  if (!types.includes(check.Type)) {
    return `invalid check type ("${check.Type}"), must be one of ${types.join(", ")}`;
  }
  if (check.Type === "http" && check.Path === "") return "http type must have http path";
  if (check.Type === "http" && URL.canParse(check.Path)) return "http type must have relative http path";
  if (check.Type === "script" && check.Command === "") return "script type must have a valid script path";
  return durationProblem("interval", check.Interval) ?? durationProblem("timeout", check.Timeout) ??
    modeProblem(check) ?? restartProblem(check);
}

function durationProblem(name: "interval" | "timeout", value: number): string | null {
  const title = name === "interval" ? "Interval" : "Timeout";
  if (value === 0) return `missing required value ${name}. ${title} cannot be less than 1s`;
  if (value >= SECOND) return null;
  return name === "interval"
    ? `interval (${formatDuration(value)}) cannot be lower than 1s`
    : `timeout (${formatDuration(value)}) is lower than required minimum timeout 1s`;
}

function modeProblem(check: ServiceCheck): string | null {
  if (!["", "passing", "warning", "critical"].includes(check.InitialStatus)) {
    return `invalid initial check state (${check.InitialStatus}), must be one of "passing", "warning", ` +
      '"critical" or empty';
  }
  if (!["", "host", "driver", "alloc"].includes(check.AddressMode)) {
    return `invalid address_mode "${check.AddressMode}"`;
  }
  if (!ON_UPDATE.includes(check.OnUpdate)) {
    return `on_update must be "require_healthy", "ignore_warnings", or "ignore"; got "${check.OnUpdate}"`;
  }
  return null;
}

function restartProblem(check: ServiceCheck): string | null {
  const restart = check.CheckRestart;
  if (!restart) return null;
  if (check.OnUpdate === "ignore" && restart.Limit > 0) {
    return 'on_update value "ignore" is not compatible with check_restart';
  }
  if (check.OnUpdate === "ignore_warnings" && !restart.IgnoreWarnings) {
    return 'on_update value "ignore_warnings" not supported with check_restart ignore_warnings value ' +
      `"${restart.IgnoreWarnings}"`;
  }
  const found: string[] = [];
  if (restart.Limit < 0) found.push(`limit must be greater than or equal to 0 but found ${restart.Limit}`);
  if (restart.Grace < 0) {
    found.push(`grace period must be greater than or equal to 0 but found ${restart.Grace}`);
  }
  return wrap("", found)[0] ?? null;
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/** What only Consul's checks can do. */
function nativeProblem(check: ServiceCheck): string | null {
  if (check.Expose) return "expose may only be set for Consul service checks";
  if (check.SuccessBeforePassing > 0) {
    return "success_before_passing may only be set for Consul service checks";
  }
  if (check.FailuresBeforeCritical > 0) {
    return "failures_before_critical may only be set for Consul service checks";
  }
  if (check.FailuresBeforeWarning > 0) {
    return "failures_before_warning may only be set for Consul service checks";
  }
  if (check.TLSServerName !== "") return "tls_server_name may only be set for Consul service checks";
  if (check.CheckRestart?.IgnoreWarnings) {
    return "ignore_warnings on check_restart only supported for Consul service checks";
  }
  if (check.Type === "http" && check.Method !== "" && !METHODS.includes(check.Method.toUpperCase())) {
    return `method type "${check.Method}" not supported in Nomad http check`;
  }
  return null;
}

function consulProblem(check: ServiceCheck): string | null {
  const counted = ["tcp", "http", "grpc"].includes(check.Type);
  if (!counted && check.SuccessBeforePassing > 0) {
    return `success_before_passing not supported for check of type "${check.Type}"`;
  }
  if (!counted && check.FailuresBeforeCritical > 0) {
    return `failures_before_critical not supported for check of type "${check.Type}"`;
  }
  if (!counted && check.FailuresBeforeWarning > 0) {
    return `failures_before_warning not supported for check of type "${check.Type}"`;
  }
  return null;
}
