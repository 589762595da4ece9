// The first half of canonicalisation: what a client's library fills in. Takes a job as the job language or an SDK
// gives it (any field may be missing or null) and gives the form that `/v1/jobs/parse?Canonicalize=true` answers:
// defaults that depend only on the job itself, some fields still null. job_canonical.ts makes the stored Job of it.
//
// Invariants: pure; the input is not changed; doing it twice changes nothing more.
import type { JobType } from "../core/types.ts";

/** A JSON object whose fields nobody has checked for presence (their types are right: json_decode.ts). */
export type Raw = Record<string, unknown>;

const SECOND = 1e9;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * A copy with `defaults` where fields are missing or null. The copy of the defaults comes first, so that all that are
 * filled alike have one shape: engines copy and read such objects several times as fast.
 */
export function fill(raw: Raw, defaults: Raw): Raw {
  const filled = { ...defaults };
  for (const key in raw) {
    const value = raw[key];
    if ((value !== undefined && value !== null) || !(key in defaults)) filled[key] = value;
  }
  return filled;
}

/** Like fill, but an empty string counts as missing too. */
export function fillEmpty(raw: Raw, defaults: Raw): Raw {
  const filled = fill(raw, defaults);
  for (const key in defaults) if (filled[key] === "") filled[key] = defaults[key];
  return filled;
}

export function asRaw(value: unknown): Raw | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Raw : null;
}

/** The objects of a list; null stays null and elements that are null become empty objects. */
export function asList(value: unknown): Raw[] | null {
  return Array.isArray(value) ? value.map((element) => asRaw(element) ?? {}) : null;
}

function mapList(value: unknown, each: (raw: Raw) => Raw): Raw[] | null {
  return Array.isArray(value) ? value.map((element) => each(asRaw(element) ?? {})) : null;
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

const JOB_FIELDS: Raw = {
  Affinities: null,
  AllAtOnce: false,
  Constraints: null,
  ConsulNamespace: "",
  CreateIndex: 0,
  Datacenters: null,
  DispatchIdempotencyToken: null,
  Dispatched: false,
  JobModifyIndex: 0,
  Meta: null,
  Migrate: null,
  ModifyIndex: 0,
  Multiregion: null,
  NodePool: "",
  NomadTokenID: "",
  ParameterizedJob: null,
  ParentID: "",
  Payload: null,
  Periodic: null,
  Priority: 50,
  Reschedule: null,
  Spreads: null,
  Stable: false,
  Status: "",
  StatusDescription: "",
  Stop: false,
  SubmitTime: null,
  TaskGroups: null,
  UI: null,
  Update: null,
  VaultNamespace: "",
  Version: 0,
  VersionTag: null,
};

const UPDATE: Raw = {
  AutoPromote: false,
  AutoRevert: false,
  Canary: 0,
  HealthCheck: "checks",
  HealthyDeadline: 5 * MINUTE,
  MaxParallel: 1,
  MinHealthyTime: 10 * SECOND,
  ProgressDeadline: 10 * MINUTE,
  Stagger: 30 * SECOND,
};

const MIGRATE: Raw = {
  HealthCheck: "checks",
  HealthyDeadline: 5 * MINUTE,
  MaxParallel: 1,
  MinHealthyTime: 10 * SECOND,
};

const RESCHEDULE_SERVICE: Raw = {
  Attempts: 0,
  Delay: 30 * SECOND,
  DelayFunction: "exponential",
  Interval: 0,
  MaxDelay: HOUR,
  Unlimited: true,
};

const RESCHEDULE_BATCH: Raw = {
  Attempts: 1,
  Delay: 5 * SECOND,
  DelayFunction: "constant",
  Interval: DAY,
  MaxDelay: 0,
  Unlimited: false,
};

const RESCHEDULE_NONE: Raw = {
  Attempts: 0,
  Delay: 0,
  DelayFunction: "",
  Interval: 0,
  MaxDelay: 0,
  Unlimited: false,
};

const RESCHEDULE: Record<string, Raw | undefined> = { service: RESCHEDULE_SERVICE, batch: RESCHEDULE_BATCH };

const RESTART_LONG: Raw = {
  Attempts: 2,
  Delay: 15 * SECOND,
  Interval: 30 * MINUTE,
  Mode: "fail",
  RenderTemplates: false,
};

const RESTART_BATCH: Raw = { ...RESTART_LONG, Attempts: 3, Interval: DAY };

/** The API form of a job with a client's defaults. */
export function fillJobDefaults(input: Raw): Raw {
  const job = fill(input, JOB_FIELDS);
  job["Region"] ||= "global";
  job["Namespace"] ||= "default";
  job["Type"] ||= "service";
  const type = job["Type"] as JobType;
  job["ID"] = text(job["ID"]);
  job["Name"] ??= job["ID"];
  const update = asRaw(job["Update"]);
  if (update) job["Update"] = fill(update, UPDATE);
  else if (type === "service" || type === "system") job["Update"] = { ...UPDATE };
  const periodic = asRaw(job["Periodic"]);
  if (periodic) job["Periodic"] = fillPeriodic(periodic);
  const multiregion = asRaw(job["Multiregion"]);
  if (multiregion) job["Multiregion"] = fillMultiregion(multiregion);
  job["Affinities"] = mapList(job["Affinities"], (affinity) => fill(affinity, { Weight: 50 }));
  job["Spreads"] = mapList(job["Spreads"], (spread) => fill(spread, { Weight: 50 }));
  job["TaskGroups"] = mapList(job["TaskGroups"], (group) => fillGroup(group, job, type));
  return job;
}

function fillPeriodic(periodic: Raw): Raw {
  return fill(fillEmpty(periodic, { SpecType: "cron", TimeZone: "UTC" }), {
    Enabled: true,
    ProhibitOverlap: false,
    Spec: "",
    Specs: [],
  });
}

function fillMultiregion(multiregion: Raw): Raw {
  const strategy = fill(asRaw(multiregion["Strategy"]) ?? {}, { MaxParallel: 0, OnFailure: "" });
  const regions = mapList(
    multiregion["Regions"],
    (region) => fill(region, { Name: "", Count: 1, Datacenters: [], NodePool: "", Meta: {} }),
  );
  return { ...multiregion, Strategy: strategy, Regions: regions ?? [] };
}

const GROUP_FIELDS: Raw = {
  Affinities: null,
  Constraints: null,
  Consul: null,
  Disconnect: null,
  MaxClientDisconnect: null,
  MaxRunDuration: null,
  Meta: null,
  Migrate: null,
  Name: "",
  Networks: null,
  PreventRescheduleOnLost: null,
  ReschedulePolicy: null,
  Scaling: null,
  Services: null,
  ShutdownDelay: null,
  Spreads: null,
  StopAfterClientDisconnect: null,
  Update: null,
  Volumes: null,
};

const DISK_FIELDS: Raw = { Migrate: false, SizeMB: 300, Sticky: false };

function fillGroup(input: Raw, job: Raw, type: JobType): Raw {
  const group = fill(input, GROUP_FIELDS);
  const scaling = asRaw(group["Scaling"]);
  const count = group["Count"] ?? scaling?.["Min"] ?? 1;
  group["Count"] = count;
  if (scaling) group["Scaling"] = fill(scaling, scalingDefaults(count));
  const disk = asRaw(group["EphemeralDisk"]) ?? {};
  group["EphemeralDisk"] = fill(disk, DISK_FIELDS);
  const restart = type === "service" || type === "system" ? RESTART_LONG : RESTART_BATCH;
  group["RestartPolicy"] = fill(asRaw(group["RestartPolicy"]) ?? {}, restart);
  group["ReschedulePolicy"] = fillReschedule(group, job, type);
  group["Update"] = fillUpdate(group, job);
  group["Migrate"] = fillMigrate(group, job, type);
  const disconnect = asRaw(group["Disconnect"]);
  if (disconnect) {
    group["Disconnect"] = fill(fillEmpty(disconnect, { Reconcile: "best_score" }), {
      LostAfter: null,
      Replace: true,
      StopOnClientAfter: null,
    });
  }
  const consul = asRaw(group["Consul"]);
  if (consul) group["Consul"] = fillEmpty(consul, { Cluster: "default" });
  group["Affinities"] = mapList(group["Affinities"], (affinity) => fill(affinity, { Weight: 50 }));
  group["Spreads"] = mapList(group["Spreads"], (spread) => fill(spread, { Weight: 50 }));
  group["Networks"] = mapList(group["Networks"], fillNetwork);
  group["Volumes"] = fillVolumes(asRaw(group["Volumes"]));
  const owner = { job: text(job["Name"]), group: text(group["Name"]) };
  group["Services"] = mapList(group["Services"], (service) => fillService(service, owner));
  const policy = asRaw(group["RestartPolicy"])!;
  group["Tasks"] = mapList(group["Tasks"], (task) => fillTask(task, policy, owner));
  return group;
}

function scalingDefaults(count: unknown): Raw {
  return {
    CreateIndex: 0,
    Enabled: true,
    ID: "",
    Max: null,
    Min: count,
    ModifyIndex: 0,
    Namespace: "",
    Policy: null,
    Target: null,
    Type: "horizontal",
  };
}

/** The group's own fields, then the job's, then those of the job's type; null for types that never reschedule. */
function fillReschedule(group: Raw, job: Raw, type: JobType): Raw | null {
  const own = asRaw(group["ReschedulePolicy"]);
  const ofJob = asRaw(job["Reschedule"]);
  if (type === "system" || type === "sysbatch") return own || ofJob ? fill(own ?? {}, ofJob ?? {}) : null;
  return fill(fill(own ?? {}, ofJob ?? {}), RESCHEDULE[type] ?? RESCHEDULE_NONE);
}

function fillUpdate(group: Raw, job: Raw): Raw | null {
  const own = asRaw(group["Update"]);
  const ofJob = asRaw(job["Update"]);
  if (own) return fill(fill(own, ofJob ?? {}), UPDATE);
  // A stored batch job says nothing of updates in zeros: given in again it still says nothing.
  for (const key in ofJob) if (ofJob[key]) return { ...ofJob };
  return null;
}

function fillMigrate(group: Raw, job: Raw, type: JobType): Raw | null {
  const own = asRaw(group["Migrate"]);
  const ofJob = asRaw(job["Migrate"]);
  if (!own && !ofJob && type !== "service") return null;
  return fill(fill(own ?? {}, ofJob ?? {}), MIGRATE);
}

const PORT: Raw = { HostNetwork: "", IgnoreCollision: false, Label: "", To: 0, Value: 0 };

export function fillNetwork(network: Raw): Raw {
  const filled = fill(network, {
    CIDR: "",
    CNI: null,
    DNS: null,
    Device: "",
    DynamicPorts: null,
    Hostname: "",
    IP: "",
    MBits: null,
    Mode: "",
    ReservedPorts: null,
  });
  filled["DynamicPorts"] = mapList(filled["DynamicPorts"], (port) => fill(port, PORT));
  filled["ReservedPorts"] = mapList(filled["ReservedPorts"], (port) => fill(port, PORT));
  return filled;
}

function fillVolumes(volumes: Raw | null): Raw | null {
  if (!volumes) return null;
  const filled: Raw = {};
  for (const name in volumes) {
    filled[name] = fill(asRaw(volumes[name]) ?? {}, {
      AccessMode: "",
      AttachmentMode: "",
      MountOptions: null,
      Name: name,
      PerAlloc: false,
      ReadOnly: false,
      Source: "",
      Sticky: false,
      Type: "",
    });
  }
  return filled;
}

interface Owner {
  job: string;
  group: string;
  task?: string;
}

function fillService(service: Raw, owner: Owner): Raw {
  const name = [owner.job, owner.group, owner.task].filter((part) => part !== undefined).join("-");
  const filled = fillEmpty(service, {
    AddressMode: "auto",
    Cluster: "default",
    Name: name,
    OnUpdate: "require_healthy",
    Provider: "consul",
  });
  const restart = asRaw(filled["CheckRestart"]);
  filled["Checks"] = mapList(filled["Checks"], (check) => fillCheck(check, filled, restart));
  const connect = asRaw(filled["Connect"]);
  if (connect) filled["Connect"] = fillConnect(connect);
  return fill(filled, {
    Address: "",
    CanaryMeta: null,
    CanaryTags: null,
    CheckRestart: null,
    Checks: null,
    Connect: null,
    EnableTagOverride: false,
    Identity: null,
    Kind: "",
    Meta: null,
    PortLabel: "",
    TaggedAddresses: null,
    Tags: null,
    TaskName: "",
    Weights: null,
  });
}

/** What of a Connect block has defaults: gateways. The rest is passed on, validation refuses it. */
function fillConnect(connect: Raw): Raw {
  const gateway = asRaw(connect["Gateway"]);
  const proxy = asRaw(gateway?.["Proxy"]);
  if (!gateway || !proxy) return connect;
  return { ...connect, Gateway: { ...gateway, Proxy: fill(proxy, { ConnectTimeout: 5 * SECOND }) } };
}

function fillCheck(check: Raw, service: Raw, restartOfService: Raw | null): Raw {
  const filled = fill(fillEmpty(check, { OnUpdate: service["OnUpdate"] }), {
    AddressMode: "",
    Advertise: "",
    Args: null,
    Body: "",
    CheckRestart: null,
    Command: "",
    Expose: false,
    FailuresBeforeCritical: 0,
    FailuresBeforeWarning: 0,
    GRPCService: "",
    GRPCUseTLS: false,
    Header: null,
    InitialStatus: "",
    Interval: 0,
    Method: "",
    Name: "",
    Notes: "",
    Path: "",
    PortLabel: "",
    Protocol: "",
    SuccessBeforePassing: 0,
    TLSServerName: "",
    TLSSkipVerify: false,
    TaskName: "",
    Timeout: 0,
    Type: "",
  });
  const own = asRaw(filled["CheckRestart"]);
  if (own || restartOfService) {
    const merged = mergeCheckRestart(own ?? {}, restartOfService ?? {});
    filled["CheckRestart"] = fill(merged, { Grace: SECOND, IgnoreWarnings: false, Limit: 0 });
  }
  return filled;
}

/** The check's own fields before its service's; zero and false count as not said. */
function mergeCheckRestart(own: Raw, ofService: Raw): Raw {
  return {
    Limit: own["Limit"] || ofService["Limit"] || 0,
    Grace: own["Grace"] ?? ofService["Grace"] ?? null,
    IgnoreWarnings: own["IgnoreWarnings"] || ofService["IgnoreWarnings"] || false,
  };
}

const TASK_FIELDS: Raw = {
  Actions: null,
  Affinities: null,
  Artifacts: null,
  Config: null,
  Constraints: null,
  Consul: null,
  DispatchPayload: null,
  Driver: "",
  Env: null,
  Identities: null,
  Identity: null,
  KillSignal: "",
  KillTimeout: 5 * SECOND,
  Kind: "",
  Leader: false,
  Lifecycle: null,
  Meta: null,
  Name: "",
  ScalingPolicies: null,
  Schedule: null,
  Secrets: null,
  Services: null,
  ShutdownDelay: 0,
  Templates: null,
  User: "",
  Vault: null,
  VolumeMounts: null,
};

const LOG_FIELDS: Raw = { Disabled: false, Enabled: null, MaxFileSizeMB: 10, MaxFiles: 10 };

function fillTask(input: Raw, restart: Raw, group: Owner): Raw {
  const task = fill(input, TASK_FIELDS);
  const owner = { ...group, task: text(task["Name"]) };
  task["Resources"] = fillResources(asRaw(task["Resources"]) ?? {});
  task["RestartPolicy"] = fill(asRaw(task["RestartPolicy"]) ?? {}, restart);
  task["LogConfig"] = fill(asRaw(task["LogConfig"]) ?? {}, LOG_FIELDS);
  task["Affinities"] = mapList(task["Affinities"], (affinity) => fill(affinity, { Weight: 50 }));
  task["Artifacts"] = mapList(task["Artifacts"], fillArtifact);
  task["Templates"] = mapList(task["Templates"], fillTemplate);
  task["VolumeMounts"] = mapList(
    task["VolumeMounts"],
    (mount) =>
      fill(mount, {
        Destination: null,
        PropagationMode: "private",
        ReadOnly: false,
        SELinuxLabel: "",
        Volume: null,
      }),
  );
  task["Services"] = mapList(task["Services"], (service) => fillService(service, owner));
  const vault = asRaw(task["Vault"]);
  if (vault) task["Vault"] = fillVault(vault);
  const consul = asRaw(task["Consul"]);
  if (consul) task["Consul"] = fillEmpty(consul, { Cluster: "default" });
  const lifecycle = asRaw(task["Lifecycle"]);
  if (lifecycle) task["Lifecycle"] = fill(lifecycle, { Hook: "", Sidecar: false });
  const plugin = asRaw(task["CSIPluginConfig"]);
  if (plugin) task["CSIPluginConfig"] = fillPlugin(plugin);
  return task;
}

function fillPlugin(plugin: Raw): Raw {
  const filled = fillEmpty(plugin, { MountDir: "/csi", StagePublishBaseDir: "/local/csi" });
  filled["HealthTimeout"] ||= 30 * SECOND;
  return filled;
}

function fillVault(vault: Raw): Raw {
  return fill(fillEmpty(vault, { Cluster: "default" }), {
    AllowTokenExpiration: false,
    ChangeMode: "restart",
    ChangeSignal: "SIGHUP",
    DisableFile: false,
    Env: true,
    Namespace: "",
    Policies: null,
    Role: "",
  });
}

/** Whole cores take the place of shares. */
function fillResources(resources: Raw): Raw {
  const cores = resources["Cores"] ?? 0;
  const filled = fill(resources, {
    CPU: cores === 0 ? 100 : 0,
    Cores: 0,
    Devices: null,
    DiskMB: null,
    IOPS: null,
    MemoryMB: 300,
    MemoryMaxMB: null,
    NUMA: null,
    Networks: null,
    SecretsMB: null,
  });
  const numa = asRaw(filled["NUMA"]);
  if (numa) filled["NUMA"] = fill(fillEmpty(numa, { Affinity: "none" }), { Devices: null });
  filled["Networks"] = mapList(filled["Networks"], fillNetwork);
  filled["Devices"] = mapList(
    filled["Devices"],
    (device) => fill(device, { Affinities: null, Constraints: null, Count: 1, Name: "" }),
  );
  return filled;
}

function fillArtifact(artifact: Raw): Raw {
  const filled = fill(artifact, {
    Chown: false,
    GetterHeaders: null,
    GetterInsecure: false,
    GetterMode: "any",
    GetterOptions: null,
    GetterSource: "",
  });
  for (const key of ["GetterHeaders", "GetterOptions"]) {
    if (isEmptyMap(filled[key])) filled[key] = null;
  }
  filled["RelativeDest"] ??= filled["GetterMode"] === "file" ? fileDestination(filled) : "local/";
  return filled;
}

function fileDestination(artifact: Raw): string {
  const path = text(artifact["GetterSource"]).split("?")[0]!;
  return `local/${path.slice(path.lastIndexOf("/") + 1)}`;
}

export function isEmptyMap(value: unknown): boolean {
  const map = asRaw(value);
  if (map === null) return false;
  for (const _ in map) return false;
  return true;
}

function fillTemplate(template: Raw): Raw {
  const filled = fill(template, {
    ChangeMode: "restart",
    ChangeScript: null,
    ChangeSignal: template["ChangeMode"] === "signal" ? "SIGHUP" : "",
    DestPath: "",
    EmbeddedTmpl: "",
    Envvars: false,
    ErrMissingKey: false,
    Gid: null,
    LeftDelim: "{{",
    Once: false,
    Perms: "0644",
    RightDelim: "}}",
    SourcePath: "",
    Splay: 5 * SECOND,
    Uid: null,
    VaultGrace: 0,
    Wait: null,
  });
  const script = asRaw(filled["ChangeScript"]);
  if (script) {
    filled["ChangeScript"] = fill(script, {
      Args: [],
      Command: "",
      FailOnError: false,
      RunOnFirstRender: false,
      Timeout: 5 * SECOND,
    });
  }
  return filled;
}
