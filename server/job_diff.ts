// What changes between two versions of a job, in the shape of `/v1/job/:id/plan` and of job histories: fields and
// objects, group by group and task by task, with notes on what the scheduler will do about them (annotations).
//
// Invariants: pure; null stands for empty lists; jobs are canonical; fields that only servers write are not looked at.
import type { DiffType, JobDiff, ObjectDiff, TaskGroupDiff } from "../core/job_diff.ts";
import type { Job, NetworkResource, Service, Spread, TaskGroup, VolumeRequest } from "../core/types.ts";
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
  sortObjects,
  textSetDiff,
} from "./diff_parts.ts";
import { identityDiff, tasksDiff } from "./job_diff_task.ts";
import { asRaw } from "./job_defaults.ts";

export interface DiffOptions {
  /** Tell unchanged neighbours of changed fields too. */
  contextual: boolean;
}

const JOB_FIELDS = [
  "Name",
  "Namespace",
  "Region",
  "Type",
  "Priority",
  "AllAtOnce",
  "Dispatched",
  "Stop",
  "NodePool",
  "Meta",
  "ConsulNamespace",
  "VaultNamespace",
  "Payload",
];
const TERM_FIELDS = ["LTarget", "RTarget", "Operand"];

/** `before` null: everything is new; `after` null: everything goes. Ids must agree. */
export function diffJobs(before: Job | null, after: Job | null, options: DiffOptions): JobDiff {
  const contextual = options.contextual;
  const fields = fieldDiffs(flat(before, JOB_FIELDS), flat(after, JOB_FIELDS), false).filter(isChange);
  const objects = [
    ...textSetDiff("Datacenters", before?.Datacenters, after?.Datacenters, contextual).filter(isChange),
    ...setDiff(
      before?.Constraints ?? null,
      after?.Constraints ?? null,
      (a, b) => plainDiff("Constraint", a, b, TERM_FIELDS, contextual),
    ),
    ...affinityDiffs(before, after, contextual),
    ...spreadDiffs(before?.Spreads ?? null, after?.Spreads ?? null, contextual),
    ...periodicDiff(before, after, contextual),
    ...parameterizedDiff(before, after, contextual),
    ...uiDiff(before, after, contextual),
  ];
  const groups = groupDiffs(before, after, options);
  const changed = fields.length > 0 || objects.length > 0 || groups.some(isChange);
  const type: DiffType = !before ? "Added" : !after ? "Deleted" : changed ? "Edited" : "None";
  return {
    Type: type,
    ID: (after ?? before)?.ID ?? "",
    Fields: orNull(fields),
    Objects: orNull(objects),
    TaskGroups: orNull(groups),
  };
}

interface WithTerms {
  Affinities: TaskGroup["Affinities"];
}

function affinityDiffs(before: WithTerms | null, after: WithTerms | null, contextual: boolean): ObjectDiff[] {
  return setDiff(
    before?.Affinities ?? null,
    after?.Affinities ?? null,
    (a, b) => plainDiff("Affinity", a, b, [...TERM_FIELDS, "Weight"], contextual),
  );
}

function spreadDiffs(before: Spread[] | null, after: Spread[] | null, contextual: boolean): ObjectDiff[] {
  return setDiff(before, after, (a, b) =>
    objectDiff("Spread", a, b, {
      fields: fieldDiffs(flat(a, ["Attribute", "Weight"]), flat(b, ["Attribute", "Weight"]), contextual),
      objects: setDiff(a?.SpreadTarget ?? null, b?.SpreadTarget ?? null, (x, y) =>
        plainDiff("SpreadTarget", x, y, ["Value", "Percent"], contextual)),
    }));
}

const PERIODIC_FIELDS = ["Enabled", "Spec", "SpecType", "ProhibitOverlap", "TimeZone"];

function periodicDiff(before: Job | null, after: Job | null, contextual: boolean): ObjectDiff[] {
  const [a, b] = [before?.Periodic ?? null, after?.Periodic ?? null];
  return objectDiff("Periodic", a, b, {
    fields: fieldDiffs(flat(a, PERIODIC_FIELDS), flat(b, PERIODIC_FIELDS), contextual),
    objects: textSetDiff("Specs", a?.Specs, b?.Specs, contextual),
  });
}

function parameterizedDiff(before: Job | null, after: Job | null, contextual: boolean): ObjectDiff[] {
  const [a, b] = [before?.ParameterizedJob ?? null, after?.ParameterizedJob ?? null];
  return objectDiff("ParameterizedJob", a, b, {
    fields: fieldDiffs(flat(a, ["Payload"]), flat(b, ["Payload"]), contextual),
    objects: [
      ...textSetDiff("MetaOptional", a?.MetaOptional, b?.MetaOptional, contextual),
      ...textSetDiff("MetaRequired", a?.MetaRequired, b?.MetaRequired, contextual),
    ],
  });
}

function uiDiff(before: Job | null, after: Job | null, contextual: boolean): ObjectDiff[] {
  const [a, b] = [before?.UI ?? null, after?.UI ?? null];
  return objectDiff("UI", a, b, {
    fields: fieldDiffs(flat(a, ["Description"]), flat(b, ["Description"]), contextual),
    objects: setDiff(
      a?.Links ?? null,
      b?.Links ?? null,
      (x, y) => plainDiff("Link", x, y, ["Label", "Url"], contextual),
    ),
  });
}

// --- Groups ------------------------------------------------------------------------------------------------------

function groupDiffs(before: Job | null, after: Job | null, options: DiffOptions): TaskGroupDiff[] {
  const left = new Map((before?.TaskGroups ?? []).map((group) => [group.Name, group]));
  const right = new Map((after?.TaskGroups ?? []).map((group) => [group.Name, group]));
  const names = [...new Set([...left.keys(), ...right.keys()])].sort(byBytes);
  return names.map((name) => groupDiff(left.get(name) ?? null, right.get(name) ?? null, options));
}

const GROUP_FIELDS = [
  "Count",
  "Meta",
  "PreventRescheduleOnLost",
  "ShutdownDelay",
  "StopAfterClientDisconnect",
  "MaxClientDisconnect",
  "MaxRunDuration",
];
const RESTART_FIELDS = ["Attempts", "Interval", "Delay", "Mode", "RenderTemplates"];
const RESCHEDULE_FIELDS = ["Attempts", "Interval", "Delay", "DelayFunction", "MaxDelay", "Unlimited"];
const UPDATE_FIELDS = [
  "MaxParallel",
  "HealthCheck",
  "MinHealthyTime",
  "HealthyDeadline",
  "ProgressDeadline",
  "AutoRevert",
  "AutoPromote",
  "Canary",
];

function groupDiff(before: TaskGroup | null, after: TaskGroup | null, options: DiffOptions): TaskGroupDiff {
  const { contextual } = options;
  const name = (after ?? before)!.Name;
  const fields = fieldDiffs(flat(before, GROUP_FIELDS), flat(after, GROUP_FIELDS), false).filter(isChange);
  const plain = (title: string, key: keyof TaskGroup, names: readonly string[]) =>
    plainDiff(title, before?.[key] as object | null, after?.[key] as object | null, names, contextual);
  const objects = [
    ...setDiff(
      before?.Constraints ?? null,
      after?.Constraints ?? null,
      (a, b) => plainDiff("Constraint", a, b, TERM_FIELDS, contextual),
    ),
    ...affinityDiffs(before, after, contextual),
    ...spreadDiffs(before?.Spreads ?? null, after?.Spreads ?? null, contextual),
    ...plain("RestartPolicy", "RestartPolicy", RESTART_FIELDS),
    ...plain("Migrate", "Migrate", ["MaxParallel", "HealthCheck", "MinHealthyTime", "HealthyDeadline"]),
    ...plain("ReschedulePolicy", "ReschedulePolicy", RESCHEDULE_FIELDS),
    ...disconnectDiff(before, after, contextual),
    ...plain("EphemeralDisk", "EphemeralDisk", ["Sticky", "SizeMB", "Migrate"]),
    ...plain("Consul", "Consul", ["Namespace", "Cluster", "Partition"]),
    ...plain("Update", "Update", UPDATE_FIELDS),
    ...networkDiffs(before?.Networks ?? null, after?.Networks ?? null, contextual),
    ...volumeDiffs(before?.Volumes ?? null, after?.Volumes ?? null, contextual),
    ...scalingDiff(before, after, contextual),
    ...serviceDiffs(before?.Services ?? null, after?.Services ?? null, contextual),
  ];
  const tasks = tasksDiff(before?.Tasks ?? [], after?.Tasks ?? [], contextual);
  const changed = fields.length > 0 || objects.length > 0 || tasks.some(isChange);
  return {
    Type: !before ? "Added" : !after ? "Deleted" : changed ? "Edited" : "None",
    Name: name,
    Fields: orNull(fields),
    Objects: orNull(objects),
    Tasks: orNull(tasks),
    Updates: null,
  };
}

const DISCONNECT_FIELDS = ["LostAfter", "StopOnClientAfter", "Replace", "Reconcile"];

function disconnectDiff(
  before: TaskGroup | null,
  after: TaskGroup | null,
  contextual: boolean,
): ObjectDiff[] {
  return plainDiff("Disconnect", before?.Disconnect, after?.Disconnect, DISCONNECT_FIELDS, contextual);
}

export function networkDiffs(
  before: readonly NetworkResource[] | null,
  after: readonly NetworkResource[] | null,
  contextual: boolean,
): ObjectDiff[] {
  return setDiff(before, after, (a, b) =>
    objectDiff("Network", a, b, {
      fields: fieldDiffs(flat(a, ["Hostname", "Mode"]), flat(b, ["Hostname", "Mode"]), contextual),
      objects: [
        ...setDiff(a?.ReservedPorts ?? null, b?.ReservedPorts ?? null, (x, y) =>
          plainDiff(
            "Static Port",
            x,
            y,
            ["Label", "Value", "To", "HostNetwork", "IgnoreCollision"],
            contextual,
          )),
        ...setDiff(a?.DynamicPorts ?? null, b?.DynamicPorts ?? null, (x, y) =>
          plainDiff("Dynamic Port", x, y, ["Label", "To", "HostNetwork"], contextual)),
        ...dnsDiff(a, b, contextual),
        ...cniDiff(a, b, contextual),
      ],
    }));
}

function dnsDiff(a: NetworkResource | null, b: NetworkResource | null, contextual: boolean): ObjectDiff[] {
  const texts = (network: NetworkResource | null) => {
    const dns = network?.DNS;
    return dns && {
      Servers: dns.Servers?.join(",") ?? null,
      Searches: dns.Searches?.join(",") ?? null,
      Options: dns.Options?.join(",") ?? null,
    };
  };
  return plainDiff("DNS", texts(a), texts(b), ["Servers", "Searches", "Options"], contextual);
}

function cniDiff(a: NetworkResource | null, b: NetworkResource | null, contextual: boolean): ObjectDiff[] {
  const [left, right] = [a?.CNI?.Args ?? null, b?.CNI?.Args ?? null];
  const names = [...Object.keys(left ?? {}), ...Object.keys(right ?? {})];
  return plainDiff("CNIConfig", left, right, names, contextual);
}

const VOLUME_FIELDS = [
  "Name",
  "Type",
  "Source",
  "ReadOnly",
  "Sticky",
  "PerAlloc",
  "AccessMode",
  "AttachmentMode",
];

function volumeDiffs(
  before: Record<string, VolumeRequest> | null,
  after: Record<string, VolumeRequest> | null,
  contextual: boolean,
): ObjectDiff[] {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].sort(byBytes);
  return sortObjects(names.flatMap((name) => {
    const [a, b] = [before?.[name] ?? null, after?.[name] ?? null];
    const [x, y] = [asRaw(a?.MountOptions), asRaw(b?.MountOptions)];
    const flags = (options: Record<string, unknown> | null) =>
      (options?.["MountFlags"] ?? null) as readonly string[] | null;
    return objectDiff("Volume", a, b, {
      fields: fieldDiffs(flat(a, VOLUME_FIELDS), flat(b, VOLUME_FIELDS), contextual),
      objects: objectDiff("MountOptions", x, y, {
        fields: fieldDiffs(flat(x, ["FSType"]), flat(y, ["FSType"]), contextual),
        objects: textSetDiff("MountFlags", flags(x), flags(y), contextual),
      }),
    });
  }));
}

function scalingDiff(before: TaskGroup | null, after: TaskGroup | null, contextual: boolean): ObjectDiff[] {
  const [a, b] = [before?.Scaling ?? null, after?.Scaling ?? null];
  const [x, y] = [a?.Policy ?? null, b?.Policy ?? null];
  const names = [...new Set([...Object.keys(x ?? {}), ...Object.keys(y ?? {})])];
  return objectDiff("Scaling", a, b, {
    fields: fieldDiffs(flat(a, ["Enabled", "Max", "Min"]), flat(b, ["Enabled", "Max", "Min"]), false),
    objects: plainDiff("Policy", x, y, names, contextual),
  });
}

// --- Services ----------------------------------------------------------------------------------------------------

const SERVICE_FIELDS = [
  "Name",
  "TaskName",
  "PortLabel",
  "AddressMode",
  "Address",
  "Provider",
  "Meta",
  "CanaryMeta",
  "TaggedAddresses",
  "EnableTagOverride",
  "OnUpdate",
  "Namespace",
  "Cluster",
  "Kind",
];
const CHECK_FIELDS = [
  "Name",
  "Type",
  "Command",
  "Path",
  "Protocol",
  "PortLabel",
  "Expose",
  "AddressMode",
  "Interval",
  "Timeout",
  "InitialStatus",
  "Notes",
  "TLSServerName",
  "TLSSkipVerify",
  "Method",
  "GRPCService",
  "GRPCUseTLS",
  "TaskName",
  "SuccessBeforePassing",
  "FailuresBeforeCritical",
  "FailuresBeforeWarning",
  "Body",
  "OnUpdate",
];

export function serviceDiffs(
  before: readonly Service[] | null,
  after: readonly Service[] | null,
  contextual: boolean,
): ObjectDiff[] {
  return pairDiff(before, after, (a, b) => serviceDiff(a, b, contextual), (service) => service.Name);
}

function serviceDiff(a: Service | null, b: Service | null, contextual: boolean): ObjectDiff[] {
  return objectDiff("Service", a, b, {
    fields: fieldDiffs(flat(a, SERVICE_FIELDS), flat(b, SERVICE_FIELDS), contextual),
    objects: [
      ...textSetDiff("CanaryTags", a?.CanaryTags, b?.CanaryTags, contextual),
      ...textSetDiff("Tags", a?.Tags, b?.Tags, contextual),
      ...setDiff(a?.Checks ?? null, b?.Checks ?? null, (x, y) =>
        objectDiff("Check", x, y, {
          fields: fieldDiffs(flat(x, CHECK_FIELDS), flat(y, CHECK_FIELDS), contextual),
          objects: [
            ...headerDiff(x?.Header ?? null, y?.Header ?? null, contextual),
            ...plainDiff("CheckRestart", x?.CheckRestart, y?.CheckRestart, [
              "Limit",
              "Grace",
              "IgnoreWarnings",
            ], contextual),
          ],
        })),
      ...plainDiff("Weights", asRaw(a?.Weights), asRaw(b?.Weights), ["Passing", "Warning"], contextual),
      ...identityDiff(asRaw(a?.Identity), asRaw(b?.Identity), contextual),
    ],
  });
}

function headerDiff(
  a: Record<string, string[]> | null,
  b: Record<string, string[]> | null,
  contextual: boolean,
): ObjectDiff[] {
  const names = [...new Set([...Object.keys(a ?? {}), ...Object.keys(b ?? {})])];
  return plainDiff("Header", a, b, names, contextual);
}
