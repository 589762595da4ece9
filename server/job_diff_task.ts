// What changes in a task. Part of job_diff.ts; same rules.
import type { ObjectDiff, TaskDiff } from "../core/job_diff.ts";
import type { Task, TaskArtifact, Template } from "../core/types.ts";
import {
  byBytes,
  fieldDiffs,
  flat,
  isChange,
  objectDiff,
  orNull,
  pairDiff,
  plainDiff,
  setDiff,
  textSetDiff,
} from "./diff_parts.ts";
import { asList, asRaw, type Raw } from "./job_defaults.ts";
import { networkDiffs, serviceDiffs } from "./job_diff.ts";

const TASK_FIELDS = [
  "Driver",
  "User",
  "Env",
  "Meta",
  "KillTimeout",
  "KillSignal",
  "Leader",
  "ShutdownDelay",
  "Kind",
];
const TERM_FIELDS = ["LTarget", "RTarget", "Operand"];

/** Tasks are compared by name. */
export function tasksDiff(before: readonly Task[], after: readonly Task[], contextual: boolean): TaskDiff[] {
  const left = new Map(before.map((task) => [task.Name, task]));
  const right = new Map(after.map((task) => [task.Name, task]));
  const names = [...new Set([...left.keys(), ...right.keys()])].sort(byBytes);
  return names.map((name) => taskDiff(left.get(name) ?? null, right.get(name) ?? null, contextual));
}

function taskDiff(a: Task | null, b: Task | null, contextual: boolean): TaskDiff {
  const fields = fieldDiffs(flat(a, TASK_FIELDS), flat(b, TASK_FIELDS), false).filter(isChange);
  const objects = [
    ...setDiff(
      a?.Constraints ?? null,
      b?.Constraints ?? null,
      (x, y) => plainDiff("Constraint", x, y, TERM_FIELDS, contextual),
    ),
    ...setDiff(
      a?.Affinities ?? null,
      b?.Affinities ?? null,
      (x, y) => plainDiff("Affinity", x, y, [...TERM_FIELDS, "Weight"], contextual),
    ),
    ...configDiff(a, b, contextual),
    ...resourcesDiff(a, b, contextual),
    ...plainDiff(
      "LogConfig",
      a?.LogConfig,
      b?.LogConfig,
      ["MaxFiles", "MaxFileSizeMB", "Disabled"],
      contextual,
    ),
    ...artifactDiffs(a?.Artifacts ?? null, b?.Artifacts ?? null, contextual),
    ...plainDiff("Lifecycle", a?.Lifecycle, b?.Lifecycle, ["Hook", "Sidecar"], contextual),
    ...plainDiff("DispatchPayload", a?.DispatchPayload, b?.DispatchPayload, ["File"], contextual),
    ...serviceDiffs(a?.Services ?? null, b?.Services ?? null, contextual),
    ...vaultDiff(asRaw(a?.Vault), asRaw(b?.Vault), contextual),
    ...plainDiff(
      "Consul",
      asRaw(a?.Consul),
      asRaw(b?.Consul),
      ["Namespace", "Cluster", "Partition"],
      contextual,
    ),
    ...templateDiffs(a?.Templates ?? null, b?.Templates ?? null, contextual),
    ...identityDiff(asRaw(a?.Identity), asRaw(b?.Identity), contextual),
    ...setDiff(asList(a?.Identities), asList(b?.Identities), (x, y) => identityDiff(x, y, contextual)),
    ...actionDiffs(a, b, contextual),
    ...setDiff(
      a?.VolumeMounts ?? null,
      b?.VolumeMounts ?? null,
      (x, y) => plainDiff("VolumeMount", x, y, MOUNT_FIELDS, contextual),
    ),
    ...setDiff(
      asList(a?.Secrets),
      asList(b?.Secrets),
      (x, y) => plainDiff("Secret", x, y, ["Name", "Provider", "Path"], contextual),
    ),
  ];
  const changed = fields.length > 0 || objects.length > 0;
  return {
    Type: !a ? "Added" : !b ? "Deleted" : changed ? "Edited" : "None",
    Name: (b ?? a)!.Name,
    Fields: orNull(fields),
    Objects: orNull(objects),
    Annotations: null,
  };
}

const MOUNT_FIELDS = ["Volume", "Destination", "ReadOnly", "PropagationMode", "SELinuxLabel"];

function configDiff(a: Task | null, b: Task | null, contextual: boolean): ObjectDiff[] {
  const [x, y] = [a?.Config ?? null, b?.Config ?? null];
  const names = [...new Set([...Object.keys(x ?? {}), ...Object.keys(y ?? {})])];
  return plainDiff("Config", x, y, names, contextual);
}

const RESOURCE_FIELDS = ["CPU", "Cores", "DiskMB", "IOPS", "MemoryMB", "MemoryMaxMB", "SecretsMB"];

function resourcesDiff(a: Task | null, b: Task | null, contextual: boolean): ObjectDiff[] {
  const [x, y] = [a?.Resources ?? null, b?.Resources ?? null];
  return objectDiff("Resources", x, y, {
    fields: fieldDiffs(flat(x, RESOURCE_FIELDS), flat(y, RESOURCE_FIELDS), contextual),
    objects: [
      ...networkDiffs(x?.Networks ?? null, y?.Networks ?? null, contextual),
      ...setDiff(
        x?.Devices ?? null,
        y?.Devices ?? null,
        (c, d) => plainDiff("Device", c, d, ["Name", "Count"], contextual),
      ),
      ...plainDiff("NUMA", x?.NUMA, y?.NUMA, ["Affinity"], contextual),
    ],
  });
}

const ARTIFACT_FIELDS = [
  "GetterSource",
  "GetterOptions",
  "GetterHeaders",
  "GetterMode",
  "GetterInsecure",
  "RelativeDest",
  "Chown",
];

function artifactDiffs(
  a: TaskArtifact[] | null,
  b: TaskArtifact[] | null,
  contextual: boolean,
): ObjectDiff[] {
  return pairDiff(a, b, (x, y) => plainDiff("Artifact", x, y, ARTIFACT_FIELDS, contextual));
}

const TEMPLATE_FIELDS = [
  "SourcePath",
  "DestPath",
  "EmbeddedTmpl",
  "ChangeMode",
  "ChangeSignal",
  "Splay",
  "Perms",
  "Uid",
  "Gid",
  "LeftDelim",
  "RightDelim",
  "Envvars",
  "VaultGrace",
  "Once",
  "ErrMissingKey",
];

function templateDiffs(a: Template[] | null, b: Template[] | null, contextual: boolean): ObjectDiff[] {
  return pairDiff(a, b, (x, y) =>
    objectDiff("Template", x, y, {
      fields: fieldDiffs(flat(x, TEMPLATE_FIELDS), flat(y, TEMPLATE_FIELDS), contextual),
      objects: [
        ...plainDiff("Template", x?.Wait, y?.Wait, ["Min", "Max"], contextual),
        ...changeScriptDiff(x, y, contextual),
      ],
    }));
}

const SCRIPT_FIELDS = ["Command", "Timeout", "FailOnError", "RunOnFirstRender"];

function changeScriptDiff(a: Template | null, b: Template | null, contextual: boolean): ObjectDiff[] {
  const [x, y] = [a?.ChangeScript ?? null, b?.ChangeScript ?? null];
  return objectDiff("ChangeScript", x, y, {
    fields: fieldDiffs(flat(x, SCRIPT_FIELDS), flat(y, SCRIPT_FIELDS), contextual),
    objects: textSetDiff("Args", x?.Args, y?.Args, contextual),
  });
}

const VAULT_FIELDS = [
  "Role",
  "Namespace",
  "Cluster",
  "Env",
  "DisableFile",
  "ChangeMode",
  "ChangeSignal",
  "AllowTokenExpiration",
];

function vaultDiff(a: Raw | null, b: Raw | null, contextual: boolean): ObjectDiff[] {
  const policies = (vault: Raw | null) => (vault?.["Policies"] ?? null) as readonly string[] | null;
  return objectDiff("Vault", a, b, {
    fields: fieldDiffs(flat(a, VAULT_FIELDS), flat(b, VAULT_FIELDS), contextual),
    objects: textSetDiff("Policies", policies(a), policies(b), contextual),
  });
}

const IDENTITY_FIELDS = [
  "Name",
  "ServiceName",
  "Env",
  "File",
  "Filepath",
  "ChangeMode",
  "ChangeSignal",
  "TTL",
];

export function identityDiff(a: Raw | null, b: Raw | null, contextual: boolean): ObjectDiff[] {
  const audience = (identity: Raw | null) => (identity?.["Audience"] ?? null) as readonly string[] | null;
  return objectDiff("Identity", a, b, {
    fields: fieldDiffs(flat(a, IDENTITY_FIELDS), flat(b, IDENTITY_FIELDS), contextual),
    objects: textSetDiff("Audience", audience(a), audience(b), contextual),
  });
}

function actionDiffs(a: Task | null, b: Task | null, contextual: boolean): ObjectDiff[] {
  return setDiff(a?.Actions ?? null, b?.Actions ?? null, (x, y) =>
    objectDiff("Action", x, y, {
      fields: fieldDiffs(flat(x, ["Name", "Command"]), flat(y, ["Name", "Command"]), contextual),
      objects: textSetDiff("Args", x?.Args, y?.Args, contextual),
    }));
}
