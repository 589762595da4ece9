// Validation of a task: driver, resources, logs, artifacts, templates, mounts, identities, actions.
import { posix } from "node:path";
import type { Job, Task, TaskArtifact, TaskGroup, Template, VolumeMount } from "../core/types.ts";
import { formatDuration } from "../core/duration.ts";
import { asList, asRaw, text } from "./job_defaults.ts";
import { wrap } from "./job_validate_group.ts";
import { taskServiceErrors } from "./job_validate_service.ts";
import { validateAffinities, validateConstraints } from "./job_validate_terms.ts";

const CPU_MIN_MHZ = 1;
const MEMORY_MIN_MB = 10;

export function validateTask(task: Task, group: TaskGroup, job: Job): string[] {
  return [
    ...nameErrors(task),
    ...wrap("", resourceErrors(task)),
    ...wrap("", logErrors(task, group)),
    ...taskConstraintErrors(task),
    ...validateAffinities(task.Affinities, job.Type),
    ...wrap("", taskServiceErrors(task, group)),
    ...vaultErrors(task),
    ...(task.Artifacts ?? []).flatMap((artifact, i) =>
      wrap(`Artifact ${i + 1} validation failed: `, artifactErrors(artifact))
    ),
    ...templatesErrors(task),
    ...lifecycleErrors(task),
    ...(task.VolumeMounts ?? []).flatMap((mount, i) => mountErrors(mount, i, group)),
    ...actionErrors(task),
    ...identityErrors(task),
    ...secretErrors(task),
    ...dispatchErrors(task),
  ];
}

function nameErrors(task: Task): string[] {
  const errors: string[] = [];
  if (task.Name === "") errors.push("Missing task name");
  if (/[/\\]/.test(task.Name)) errors.push("Task name cannot include slashes");
  else if (task.Name.includes("\0")) errors.push("Task name cannot include null characters");
  if (task.Driver === "") errors.push("Missing task driver");
  if (task.KillTimeout < 0) errors.push("KillTimeout must be a positive value");
  if (task.ShutdownDelay < 0) errors.push("ShutdownDelay must be a positive value");
  return errors;
}

function resourceErrors(task: Task): string[] {
  const r = task.Resources;
  const errors: string[] = [];
  if (r.Cores > 0 && r.CPU > 0) {
    errors.push("Task can only ask for 'cpu' or 'cores' resource, not both.");
  }
  if (r.Cores < 0) errors.push(`cores value (${r.Cores}) cannot be negative`);
  const least: string[] = [];
  if (r.Cores === 0 && r.CPU < CPU_MIN_MHZ) least.push(`minimum CPU value is ${CPU_MIN_MHZ}; got ${r.CPU}`);
  if (r.MemoryMB < MEMORY_MIN_MB) {
    least.push(`minimum MemoryMB value is ${MEMORY_MIN_MB}; got ${r.MemoryMB}`);
  }
  errors.push(...wrap("", least));
  (r.Devices ?? []).forEach((device, i) => {
    const found = [
      ...(device.Name === ""
        ? ["device name must be given as one of the following: type, vendor/type, or vendor/type/name"]
        : []),
      ...validateConstraints(device.Constraints),
      ...validateAffinities(device.Affinities, "service"),
    ];
    errors.push(...wrap(`device ${i + 1} failed validation: `, found));
  });
  if (r.MemoryMaxMB !== 0 && r.MemoryMaxMB !== -1 && r.MemoryMaxMB < r.MemoryMB) {
    errors.push(`MemoryMaxMB value (${r.MemoryMaxMB}) should be larger than MemoryMB value (${r.MemoryMB})`);
  }
  if (r.SecretsMB < 0) errors.push(`SecretsMB value (${r.SecretsMB}) cannot be negative`);
  if (r.SecretsMB > r.MemoryMB) {
    errors.push(`SecretsMB value (${r.SecretsMB}) cannot be larger than MemoryMB value (${r.MemoryMB})`);
  }
  return errors;
}

function logErrors(task: Task, group: TaskGroup): string[] {
  const { MaxFiles: files, MaxFileSizeMB: size } = task.LogConfig;
  const errors: string[] = [];
  if (files < 1) errors.push(`minimum number of files is 1; got ${files}`);
  if (size < 1) errors.push(`minimum file size is 1MB; got ${size}`);
  const disk = group.EphemeralDisk.SizeMB;
  if (files >= 1 && size >= 1 && !task.LogConfig.Disabled && files * size >= disk) {
    errors.push(`log storage (${files * size} MB) must be less than requested disk capacity (${disk} MB)`);
  }
  return errors;
}

function taskConstraintErrors(task: Task): string[] {
  const errors = validateConstraints(task.Constraints);
  (task.Constraints ?? []).forEach(({ Operand: operand }, i) => {
    if (operand === "distinct_hosts" || operand === "distinct_property") {
      errors.push(`Constraint ${i + 1} has disallowed Operand at task level: ${operand}`);
    }
  });
  return errors;
}

const VAULT_MODES = ["noop", "restart", "signal"];

function vaultErrors(task: Task): string[] {
  const vault = asRaw(task.Vault);
  const mode = text(vault?.["ChangeMode"]);
  if (!vault || VAULT_MODES.includes(mode)) return [];
  return wrap("Vault validation failed: ", [`Unknown change mode "${mode}"`]);
}

/** Whether a path given relative to the task's directory leaves the allocation's. */
function escapes(path: string): boolean {
  // The task's directory stands one below the allocation's; references begin at directories inside it.
  const plain = path.replace(/\$\{NOMAD_(ALLOC|TASK|SECRETS)_DIR\}/g, "local").replace(/^\/+/, "");
  const joined = posix.join("task", plain);
  return joined === ".." || joined.startsWith("../");
}

const HASH_BYTES: Record<string, number> = { md5: 16, sha1: 20, sha256: 32, sha512: 64 };

function artifactErrors(artifact: TaskArtifact): string[] {
  const errors: string[] = [];
  if (artifact.GetterSource === "") errors.push("source must be specified");
  if (!["any", "file", "dir"].includes(artifact.GetterMode)) {
    errors.push(`invalid artifact mode "${artifact.GetterMode}"; must be one of: any, file, dir`);
  }
  if (escapes(artifact.RelativeDest)) errors.push("destination escapes allocation directory");
  const checksum = artifact.GetterOptions?.["checksum"];
  if (checksum !== undefined) errors.push(...checksumErrors(checksum.trim()));
  return errors;
}

function checksumErrors(checksum: string): string[] {
  if (checksum === "") return ["checksum value cannot be empty"];
  // What is interpolated is known on the device only.
  if (checksum.includes("${")) return [];
  const colon = checksum.indexOf(":");
  if (colon < 0) return [`checksum must be given as "type:value"; got "${checksum}"`];
  const type = checksum.slice(0, colon);
  const value = checksum.slice(colon + 1);
  const odd = /[^0-9a-fA-F]/.exec(value)?.[0];
  if (odd !== undefined) {
    const code = odd.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
    return [`invalid checksum: encoding/hex: invalid byte: U+${code} '${odd}'`];
  }
  if (value.length % 2 === 1) return ["invalid checksum: encoding/hex: odd length hex string"];
  const expected = HASH_BYTES[type];
  if (expected === undefined) return [`unsupported checksum type: ${type}`];
  return value.length === expected * 2 ? [] : [`invalid ${type} checksum: ${value}`];
}

function templatesErrors(task: Task): string[] {
  const errors: string[] = [];
  const destinations = new Map<string, number>();
  (task.Templates ?? []).forEach((template, i) => {
    errors.push(...wrap(`Template ${i + 1} validation failed: `, templateErrors(template)));
    const first = destinations.get(template.DestPath);
    if (first !== undefined) errors.push(`Template ${i + 1} has same destination as ${first + 1}`);
    else destinations.set(template.DestPath, i);
  });
  return errors;
}

function templateErrors(t: Template): string[] {
  const errors: string[] = [];
  if (t.SourcePath === "" && t.EmbeddedTmpl === "") {
    errors.push("Must specify a source path or have an embedded template");
  }
  if (t.DestPath === "") errors.push("Must specify a destination for the template");
  if (escapes(t.DestPath)) errors.push("destination escapes allocation directory");
  errors.push(...changeModeErrors(t));
  if (t.Splay < 0) errors.push("Must specify positive splay value");
  if (t.Perms !== "" && !/^[0-7]+$/.test(t.Perms)) {
    errors.push(
      `Failed to parse "${t.Perms}" as octal: strconv.ParseUint: parsing "${t.Perms}": invalid syntax`,
    );
  }
  const { Min: min, Max: max } = t.Wait ?? { Min: null, Max: null };
  if (min !== null && max !== null && min > max) {
    errors.push(`wait min ${formatDuration(min)} is greater than max ${formatDuration(max)}`);
  }
  return errors;
}

function changeModeErrors(t: Template): string[] {
  switch (t.ChangeMode) {
    case "noop":
    case "restart":
      return [];
    case "signal":
      return t.Envvars ? ["cannot use signals with env var templates"] : [];
    case "script":
      if (!t.ChangeScript) {
        return ["must specify change script configuration value when change mode is script"];
      }
      return t.ChangeScript.Command === ""
        ? ["must specify script path value when change mode is script"]
        : [];
    default:
      return ["Invalid change mode. Must be one of the following: noop, signal, script, restart"];
  }
}

function lifecycleErrors(task: Task): string[] {
  if (!task.Lifecycle) return [];
  const hook: string = task.Lifecycle.Hook;
  if (hook === "") return ["Lifecycle validation failed: no lifecycle hook provided"];
  const known = ["prestart", "poststart", "poststop"].includes(hook);
  return known ? [] : [`Lifecycle validation failed: invalid hook: ${hook}`];
}

function mountErrors(mount: VolumeMount, i: number, group: TaskGroup): string[] {
  const errors: string[] = [];
  if (!group.Volumes?.[mount.Volume]) {
    errors.push(`Volume Mount (${i}) references undefined volume ${mount.Volume}`);
  }
  const found: string[] = [];
  if (mount.Volume === "") found.push("volume mount references an empty volume");
  if (!["", "private", "host-to-task", "bidirectional"].includes(mount.PropagationMode)) {
    found.push(`volume mount has an invalid propagation mode: "${mount.PropagationMode}"`);
  }
  if (!["", "z", "Z"].includes(mount.SELinuxLabel)) {
    found.push(`volume mount has an invalid SELinux label: "${mount.SELinuxLabel}"`);
  }
  if (found.length > 0) errors.push(`Volume Mount (${i}) is invalid: "${wrap("", found)[0]}"`);
  return errors;
}

const ACTION_NAME = /^[a-zA-Z0-9-]{1,128}$/;

function actionErrors(task: Task): string[] {
  const errors: string[] = [];
  const seen = new Set<string>();
  for (const action of task.Actions ?? []) {
    const found: string[] = [];
    if (action.Command === "") found.push("command cannot be empty");
    if (!ACTION_NAME.test(action.Name)) found.push(`invalid name '${action.Name}'`);
    errors.push(...wrap(`Action ${action.Name} validation failed: `, found));
    if (seen.has(action.Name)) errors.push(`Action ${action.Name} defined multiple times`);
    seen.add(action.Name);
  }
  return errors;
}

const IDENTITY_NAME = /^[a-zA-Z0-9-_]{1,128}$/;

function identityErrors(task: Task): string[] {
  const identities = [asRaw(task.Identity), ...asList(task.Identities) ?? []].filter((each) => each !== null);
  return identities.flatMap((identity) => {
    const name = text(identity["Name"]);
    const mode = text(identity["ChangeMode"]);
    const signal = text(identity["ChangeSignal"]);
    const found: string[] = [];
    if (!IDENTITY_NAME.test(name)) {
      found.push(`invalid name "${name}". Must match regex ^[a-zA-Z0-9-_]{1,128}$`);
    }
    const audience = Array.isArray(identity["Audience"]) ? identity["Audience"] : [];
    audience.forEach((each, i) => {
      if (each === "") found.push(`an empty string is an invalid audience (${i + 1})`);
    });
    if (!["", "noop", "restart", "signal"].includes(mode)) found.push(`invalid change_mode: ${mode}`);
    else if (mode === "signal" && signal === "") {
      found.push('change_signal must be specified when using change_mode="signal"');
    } else if (mode !== "signal" && signal !== "") {
      found.push(`can only use change_signal="${signal}" with change_mode="signal"`);
    }
    if (name === "default" && Number(identity["TTL"]) > 0) {
      found.push("ttl for default identity not yet supported");
    }
    if (Number(identity["TTL"]) < 0) found.push("ttl must be >= 0");
    return wrap(`Identity "${name}" is invalid: `, found);
  });
}

const SECRET_NAME = /^[a-zA-Z0-9_]{1,128}$/;

function secretErrors(task: Task): string[] {
  const seen = new Set<string>();
  return (asList(task.Secrets) ?? []).flatMap((secret) => {
    const name = text(secret["Name"]);
    const errors: string[] = [];
    if (seen.has(name)) errors.push(`Duplicate secret "${name}" found`);
    seen.add(name);
    if (secret["Provider"] === "vault" && !task.Vault) {
      errors.push(`Secret "${name}" has provider "vault" but no vault block`);
    }
    const found: string[] = [];
    if (name === "") found.push("secret name cannot be empty");
    if (!SECRET_NAME.test(name)) found.push("secret name must match regex ^[a-zA-Z0-9_]{1,128}$");
    if (text(secret["Provider"]) === "") found.push("secret provider cannot be empty");
    if (text(secret["Path"]) === "") found.push("secret path cannot be empty");
    if (secret["Provider"] === "vault" && asRaw(secret["Env"])) {
      found.push("vault provider cannot use the env block");
    }
    errors.push(...wrap(`Secret "${name}" is invalid: `, found));
    return errors;
  });
}

function dispatchErrors(task: Task): string[] {
  const file = task.DispatchPayload?.File;
  if (file === undefined || !escapes(posix.join("local", file))) return [];
  return ["Dispatch Payload validation failed: destination escapes allocation directory"];
}
