// The second half of canonicalisation: the stored Job of an API job. What `/v1/job/:id` shows: no field missing, null
// only where Nomad has null, and the constraints that a job implies without saying so (signals, service discovery …)
// written out. validateJob (job_validate.ts) judges what comes out of here.
//
// Invariants: pure and deterministic; every field of Job is present; a stored Job given in again comes out the same.
import { createHash } from "node:crypto";
import { formatUuid } from "../core/env.ts";
import { deepEqual } from "./job_compare.ts";
import type {
  Constraint,
  Job,
  NetworkResource,
  Port,
  RequestedDevice,
  ScalingPolicy,
  Service,
  Task,
  TaskGroup,
  UpdateStrategy,
} from "../core/types.ts";
import {
  asList,
  asRaw,
  fill,
  fillJobDefaults,
  fillNetwork,
  isEmptyMap,
  type Raw,
  text,
} from "./job_defaults.ts";

export interface CanonicalOptions {
  region: string;
  /** Of the request; a job that names its own keeps it. */
  namespace: string;
  defaults?: {
    /** For a job that names none (server block `job_default_priority`). */
    priority?: number;
  };
}

/** Makes a complete Job of what the job language or an SDK gave. Shapes of values are the caller's to check. */
export function canonicalizeJob(partial: unknown, options: CanonicalOptions): Job {
  const raw = asRaw(partial) ?? {};
  const given = {
    ...raw,
    Namespace: text(raw["Namespace"]) || options.namespace,
    Region: text(raw["Region"]) || options.region,
    Priority: raw["Priority"] || options.defaults?.priority || 50,
  };
  return storeJob(fillJobDefaults(given));
}

/** The names of the fields that Nomad's struct has, so that nothing else gets stored. */
function pick(raw: Raw, fields: Raw): Raw {
  const picked = { ...fields };
  for (const key in fields) {
    const value = raw[key];
    if (value !== undefined && value !== null) picked[key] = value;
  }
  return picked;
}

function emptyToNull(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? null : value;
  return isEmptyMap(value) ? null : value ?? null;
}

const ZERO_UPDATE: UpdateStrategy = {
  Stagger: 0,
  MaxParallel: 0,
  HealthCheck: "",
  MinHealthyTime: 0,
  HealthyDeadline: 0,
  ProgressDeadline: 0,
  AutoRevert: false,
  AutoPromote: false,
  Canary: 0,
};

function storeJob(api: Raw): Job {
  const periodic = asRaw(api["Periodic"]);
  const parameterized = asRaw(api["ParameterizedJob"]);
  const update = asRaw(api["Update"]);
  const job = {
    ID: text(api["ID"]),
    Name: text(api["Name"]),
    Namespace: text(api["Namespace"]),
    Region: text(api["Region"]),
    Type: text(api["Type"]),
    Priority: api["Priority"],
    AllAtOnce: api["AllAtOnce"],
    Datacenters: emptyToNull(api["Datacenters"]) ?? ["*"],
    NodePool: text(api["NodePool"]) || "default",
    Constraints: storeList(api["Constraints"], storeConstraint),
    Affinities: storeList(api["Affinities"], storeAffinity),
    Spreads: storeList(api["Spreads"], storeSpread),
    TaskGroups: [],
    // Only the pace of the rolling update is the job's own; the rest was handed down to the groups.
    Update: update?.["MaxParallel"]
      ? { ...ZERO_UPDATE, Stagger: update["Stagger"], MaxParallel: update["MaxParallel"] }
      : ZERO_UPDATE,
    Multiregion: api["Multiregion"],
    Periodic: periodic && pick(periodic, {
      Enabled: true,
      Spec: "",
      Specs: [],
      SpecType: "",
      ProhibitOverlap: false,
      TimeZone: "",
    }),
    ParameterizedJob: parameterized && {
      Payload: text(parameterized["Payload"]) || "optional",
      MetaRequired: parameterized["MetaRequired"] ?? null,
      MetaOptional: parameterized["MetaOptional"] ?? null,
    },
    // Only the server's own dispatching sets it, on the child it makes.
    Dispatched: false,
    DispatchIdempotencyToken: text(api["DispatchIdempotencyToken"]),
    Payload: api["Payload"] ?? null,
    Meta: emptyToNull(api["Meta"]),
    ParentID: text(api["ParentID"]),
    // Namespaces of Consul are the enterprise's: what a job says of them is not kept.
    ConsulNamespace: "",
    VaultNamespace: text(api["VaultNamespace"]),
    NomadTokenID: "",
    UI: storeUi(asRaw(api["UI"])),
    VersionTag: null,
    Stop: api["Stop"],
    Stable: false,
    Status: "pending",
    StatusDescription: "",
    Version: 0,
    SubmitTime: 0,
    CreateIndex: 0,
    ModifyIndex: 0,
    JobModifyIndex: 0,
  } as unknown as Job;
  job.TaskGroups = (asList(api["TaskGroups"]) ?? []).map((group) => storeGroup(group, job));
  return job;
}

function storeUi(ui: Raw | null): Raw | null {
  if (!ui) return null;
  const links = asList(ui["Links"])?.map((link) => ({
    Label: text(link["Label"]),
    Url: text(link["Url"]) || text(link["URL"]),
  }));
  return { Description: text(ui["Description"]), Links: links ?? null };
}

/** An empty list is stored as null. */
function storeList(value: unknown, store: (raw: Raw) => Raw): Raw[] | null {
  const list = asList(value);
  return list && list.length > 0 ? list.map(store) : null;
}

function storeConstraint(constraint: Raw): Raw {
  return pick(constraint, { LTarget: "", RTarget: "", Operand: "" });
}

function storeAffinity(affinity: Raw): Raw {
  return pick(affinity, { LTarget: "", RTarget: "", Operand: "", Weight: 50 });
}

function storeSpread(spread: Raw): Raw {
  const stored = pick(spread, { Attribute: "", Weight: 50, SpreadTarget: null });
  stored["SpreadTarget"] = storeList(
    stored["SpreadTarget"],
    (target) => pick(target, { Value: "", Percent: 0 }),
  );
  return stored;
}

/** What the fields before the disconnect block asked for, as one; a block of its own comes first. */
function disconnectFromOldFields(group: Raw): Raw | null {
  const lostAfter = group["MaxClientDisconnect"] ?? null;
  const stopAfter = group["StopAfterClientDisconnect"] ?? null;
  const holds = group["PreventRescheduleOnLost"] === true;
  if (lostAfter === null && stopAfter === null && !holds) return null;
  return {
    LostAfter: stopAfter === null ? lostAfter : null,
    StopOnClientAfter: stopAfter,
    Replace: !holds,
    Reconcile: "best_score",
  };
}

function storeGroup(api: Raw, job: Job): TaskGroup {
  const name = text(api["Name"]);
  const target = { Namespace: job.Namespace, Job: job.ID, Group: name };
  const scaling = asRaw(api["Scaling"]);
  const disconnect = asRaw(api["Disconnect"]) ?? disconnectFromOldFields(api);
  const group = {
    Name: name,
    Count: api["Count"],
    Constraints: storeList(api["Constraints"], storeConstraint),
    Affinities: storeList(api["Affinities"], storeAffinity),
    Spreads: storeList(api["Spreads"], storeSpread),
    Tasks: [],
    Networks: storeList(api["Networks"], (network) => storeNetwork(network) as unknown as Raw),
    Services: storeList(
      api["Services"],
      (service) =>
        storeService(service, job.Namespace, { job: job.Name, group: name, task: "" }) as unknown as Raw,
    ),
    Volumes: storeVolumes(asRaw(api["Volumes"])),
    EphemeralDisk: pick(asRaw(api["EphemeralDisk"])!, { Sticky: false, Migrate: false, SizeMB: 300 }),
    RestartPolicy: storeRestart(asRaw(api["RestartPolicy"])!),
    ReschedulePolicy: storeReschedule(asRaw(api["ReschedulePolicy"])),
    Update: storeUpdate(asRaw(api["Update"])),
    Migrate: storeMigrate(asRaw(api["Migrate"])),
    Disconnect: disconnect &&
      pick(disconnect, {
        LostAfter: disconnect["StopOnClientAfter"] || disconnect["LostAfter"] === null ? 0 : null,
        StopOnClientAfter: null,
        Replace: null,
        Reconcile: "",
      }),
    Scaling: scaling && storeScaling(scaling, target),
    Meta: emptyToNull(api["Meta"]),
    Consul: storeConsul(asRaw(api["Consul"])),
    ShutdownDelay: api["ShutdownDelay"] ?? null,
    // The three live on in the disconnect block.
    StopAfterClientDisconnect: null,
    MaxClientDisconnect: null,
    PreventRescheduleOnLost: false,
    MaxRunDuration: api["MaxRunDuration"] ?? null,
  } as unknown as TaskGroup;
  group.Tasks = (asList(api["Tasks"]) ?? []).map((task) => storeTask(task, job, target));
  group.Constraints = addImplied(group, api);
  return group;
}

function storeConsul(consul: Raw | null): Raw | null {
  return consul && pick(consul, { Namespace: "", Cluster: "default", Partition: "" });
}

function storeRestart(policy: Raw): Raw {
  return pick(policy, { Attempts: 0, Interval: 0, Delay: 0, Mode: "", RenderTemplates: false });
}

function storeReschedule(policy: Raw | null): Raw | null {
  if (!policy) return null;
  return pick(policy, {
    Attempts: 0,
    Interval: 0,
    Delay: 0,
    DelayFunction: "",
    MaxDelay: 0,
    Unlimited: false,
  });
}

function storeUpdate(update: Raw | null): Raw | null {
  return update && pick(update, ZERO_UPDATE as unknown as Raw);
}

function storeMigrate(migrate: Raw | null): Raw | null {
  return migrate && pick(migrate, { MaxParallel: 0, HealthCheck: "", MinHealthyTime: 0, HealthyDeadline: 0 });
}

/** The id of a policy is made from what it scales, so that the same policy keeps it and every server agrees. */
function storeScaling(scaling: Raw, target: Record<string, string>): ScalingPolicy {
  const type = text(scaling["Type"]) || "horizontal";
  const name = [...Object.values(target), type].join("\0");
  const id = formatUuid(createHash("sha256").update(name).digest().subarray(0, 16));
  const given = asRaw(scaling["Target"]);
  return {
    ID: text(scaling["ID"]) || id,
    Type: type,
    Target: { ...given, ...target } as Record<string, string>,
    Policy: asRaw(scaling["Policy"]),
    Min: (scaling["Min"] ?? 0) as number,
    Max: (scaling["Max"] ?? -1) as number,
    Enabled: scaling["Enabled"] !== false,
    CreateIndex: 0,
    ModifyIndex: 0,
  };
}

function storeNetwork(api: Raw): NetworkResource {
  const network = fillNetwork(api);
  return {
    Mode: text(network["Mode"]),
    // Which device a network is on is the node's business: what a job says of it is not kept.
    Device: "",
    CIDR: text(network["CIDR"]),
    IP: text(network["IP"]),
    Hostname: text(network["Hostname"]),
    MBits: (network["MBits"] ?? 0) as number,
    DNS: storeDns(asRaw(network["DNS"])),
    ReservedPorts: storePorts(network["ReservedPorts"]),
    DynamicPorts: storePorts(network["DynamicPorts"]),
    CNI: asRaw(network["CNI"]) as NetworkResource["CNI"],
  };
}

function storeDns(dns: Raw | null): NetworkResource["DNS"] {
  return dns && pick(dns, { Servers: null, Searches: null, Options: null }) as NetworkResource["DNS"];
}

function storePorts(value: unknown): Port[] | null {
  const ports = asList(value);
  if (!ports || ports.length === 0) return null;
  return ports.map((port) => ({
    Label: text(port["Label"]),
    Value: (port["Value"] ?? 0) as number,
    To: (port["To"] ?? 0) as number,
    HostNetwork: text(port["HostNetwork"]) || "default",
    IgnoreCollision: port["IgnoreCollision"] === true,
  }));
}

interface ServiceOwner {
  job: string;
  group: string;
  task: string;
}

/** What of a service's name is known before it runs. */
function interpolateName(name: string, { job, group, task }: ServiceOwner): string {
  const base = [job, group, task].filter((part) => part !== "").join("-");
  const known: Record<string, string> = { JOB: job, TASKGROUP: group, TASK: task, BASE: base };
  return name.replace(/\$\{(JOB|TASKGROUP|TASK|BASE)\}/g, (_, key: string) => known[key]!);
}

/** Volumes of no type are dropped, as a request for nothing. */
function storeVolumes(volumes: Raw | null): Raw | null {
  if (!volumes) return null;
  const stored: Raw = {};
  for (const name in volumes) {
    const volume = asRaw(volumes[name])!;
    if (text(volume["Type"]) === "") continue;
    stored[name] = { ...volume };
  }
  return stored;
}

function storeService(api: Raw, namespace: string, owner: ServiceOwner): Service {
  const name = interpolateName(text(api["Name"]), owner);
  const checks = asList(api["Checks"]);
  const identity = asRaw(api["Identity"]);
  return {
    Name: name,
    TaskName: text(api["TaskName"]),
    PortLabel: text(api["PortLabel"]),
    AddressMode: text(api["AddressMode"]),
    Address: text(api["Address"]),
    Provider: text(api["Provider"]),
    Tags: emptyToNull(api["Tags"]),
    CanaryTags: emptyToNull(api["CanaryTags"]),
    Meta: emptyToNull(api["Meta"]),
    CanaryMeta: emptyToNull(api["CanaryMeta"]),
    TaggedAddresses: emptyToNull(api["TaggedAddresses"]),
    EnableTagOverride: api["EnableTagOverride"] === true,
    Checks: checks && checks.length > 0 ? checks.map((check) => storeCheck(check, name, owner.task)) : null,
    Connect: api["Connect"] ?? null,
    OnUpdate: text(api["OnUpdate"]),
    Namespace: api["Provider"] === "nomad" ? namespace : "default",
    Cluster: text(api["Cluster"]),
    Identity: identity && storeServiceIdentity(identity, name, api),
    Kind: text(api["Kind"]),
    Weights: storeWeights(asRaw(api["Weights"])),
  } as Service;
}

function storeWeights(weights: Raw | null): Raw | null {
  return weights && { Passing: weights["Passing"] || 1, Warning: weights["Warning"] || 1 };
}

function storeServiceIdentity(identity: Raw, service: string, api: Raw): Raw {
  const provider = text(api["Provider"]);
  return storeIdentity({
    ...identity,
    Name: text(identity["Name"]) || `${provider}-service_${service}-${text(api["PortLabel"])}`,
    ServiceName: text(identity["ServiceName"]) || service,
  });
}

/** A script check of a task's own service runs in that task. */
function storeCheck(check: Raw, service: string, task: string): Raw {
  return {
    Name: text(check["Name"]) || `service: "${service}" check`,
    Type: text(check["Type"]).toLowerCase(),
    Command: check["Command"],
    Args: emptyToNull(check["Args"]),
    Path: check["Path"],
    Protocol: check["Protocol"],
    PortLabel: check["PortLabel"],
    Expose: check["Expose"],
    AddressMode: check["AddressMode"],
    Interval: check["Interval"],
    Timeout: check["Timeout"],
    InitialStatus: check["InitialStatus"],
    Notes: check["Notes"],
    TLSServerName: check["TLSServerName"],
    TLSSkipVerify: check["TLSSkipVerify"],
    Method: check["Method"],
    Header: emptyToNull(check["Header"]),
    CheckRestart: check["CheckRestart"],
    GRPCService: check["GRPCService"],
    GRPCUseTLS: check["GRPCUseTLS"],
    TaskName: text(check["TaskName"]) || (check["Type"] === "script" ? task : ""),
    SuccessBeforePassing: Math.max(0, check["SuccessBeforePassing"] as number),
    FailuresBeforeCritical: Math.max(0, check["FailuresBeforeCritical"] as number),
    FailuresBeforeWarning: Math.max(0, check["FailuresBeforeWarning"] as number),
    Body: check["Body"],
    OnUpdate: check["OnUpdate"],
  };
}

const IDENTITY: Raw = {
  Audience: null,
  ChangeMode: "",
  ChangeSignal: "",
  Env: false,
  ExtraClaims: null,
  File: false,
  Filepath: "",
  Name: "",
  ServiceName: "",
  TTL: 0,
};

function storeIdentity(identity: Raw): Raw {
  const stored = pick(identity, IDENTITY);
  stored["ChangeSignal"] = text(stored["ChangeSignal"]).toUpperCase();
  return stored;
}

function storeTask(api: Raw, job: Job, target: Record<string, string>): Task {
  const name = text(api["Name"]);
  const { identity, others } = storeIdentities(api);
  const policies = asList(api["ScalingPolicies"]);
  const task = {
    Name: name,
    Driver: text(api["Driver"]),
    User: text(api["User"]),
    Config: emptyToNull(api["Config"]),
    Env: emptyToNull(api["Env"]),
    Meta: emptyToNull(api["Meta"]),
    Resources: storeResources(asRaw(api["Resources"])!),
    RestartPolicy: storeRestart(asRaw(api["RestartPolicy"])!),
    Constraints: storeList(api["Constraints"], storeConstraint),
    Affinities: storeList(api["Affinities"], storeAffinity),
    Services: storeList(
      api["Services"],
      (service) => ({
        ...storeService(service, job.Namespace, { job: job.Name, group: target["Group"]!, task: name }),
        TaskName: text(service["TaskName"]) || name,
      }),
    ),
    Templates: storeList(api["Templates"], storeTemplate),
    Artifacts: storeList(api["Artifacts"], storeArtifact),
    LogConfig: storeLogs(asRaw(api["LogConfig"])!),
    Lifecycle: asRaw(api["Lifecycle"]),
    DispatchPayload: asRaw(api["DispatchPayload"]),
    VolumeMounts: storeMounts(api["VolumeMounts"]),
    Leader: api["Leader"],
    KillTimeout: api["KillTimeout"],
    KillSignal: api["KillSignal"],
    ShutdownDelay: api["ShutdownDelay"],
    Kind: api["Kind"],
    Vault: api["Vault"] ?? null,
    Consul: storeConsul(asRaw(api["Consul"])),
    Identity: identity,
    Identities: others,
    Actions: storeList(
      api["Actions"],
      (action) => pick(action, { Name: "", Command: "", Args: null }),
    ),
    ScalingPolicies: policies && policies.length > 0
      ? policies.map((policy) => storeScaling(policy, { ...target, Task: name }))
      : null,
    CSIPluginConfig: api["CSIPluginConfig"] ?? null,
    Schedule: storeSchedule(asRaw(api["Schedule"])),
    Secrets: storeList(
      api["Secrets"],
      (secret) => pick(secret, { Name: "", Provider: "", Path: "", Config: null, Env: null }),
    ),
  } as unknown as Task;
  if (usesConsul(task.Services)) task.Constraints = withConstraint(task.Constraints, CONSUL_CONSTRAINT);
  return task;
}

function storeSchedule(schedule: Raw | null): Raw | null {
  const cron = asRaw(schedule?.["Cron"]);
  return cron ? { Cron: pick(cron, { Start: "", End: "", Timezone: "Local" }) } : null;
}

function storeLogs(logs: Raw): Raw {
  return pick(logs, { MaxFiles: 10, MaxFileSizeMB: 10, Disabled: false });
}

/** Mounts of no volume are dropped. */
function storeMounts(value: unknown): Raw[] | null {
  const mounts = (asList(value) ?? []).filter((mount) => mount["Volume"] !== null);
  if (mounts.length === 0) return null;
  return mounts.map((mount) =>
    pick(mount, {
      Volume: "",
      Destination: "",
      ReadOnly: false,
      PropagationMode: "private",
      SELinuxLabel: "",
    })
  );
}

const DEFAULT_IDENTITY = "default";

/** The default identity stands apart; every task has one, made for Nomad itself. */
function storeIdentities(api: Raw): { identity: Raw; others: Raw[] | null } {
  const own = asRaw(api["Identity"]);
  const list = asList(api["Identities"]) ?? [];
  const isDefault = (identity: Raw) => ["", DEFAULT_IDENTITY].includes(text(identity["Name"]));
  const listed = list.findLast(isDefault);
  const given = listed ?? own ?? {};
  const others = list.filter((identity) => !isDefault(identity)).map(storeIdentity);
  const identity = {
    ...storeIdentity(given),
    Name: DEFAULT_IDENTITY,
    Audience: ["nomadproject.io"],
  };
  return { identity, others: others.length > 0 ? others : null };
}

function storeResources(api: Raw): Raw {
  return {
    CPU: api["CPU"],
    Cores: api["Cores"],
    MemoryMB: api["MemoryMB"],
    MemoryMaxMB: api["MemoryMaxMB"] ?? 0,
    // The group's ephemeral disk is what counts; a task's own is not kept.
    DiskMB: 0,
    IOPS: api["IOPS"] ?? 0,
    SecretsMB: api["SecretsMB"] ?? 0,
    Networks: storeList(api["Networks"], (network) => storeNetwork(network) as unknown as Raw),
    Devices: storeList(api["Devices"], (device) => storeDevice(device) as unknown as Raw),
    NUMA: api["NUMA"] ?? null,
  };
}

function storeDevice(device: Raw): RequestedDevice {
  return {
    Name: text(device["Name"]),
    Count: (device["Count"] ?? 1) as number,
    Constraints: storeList(device["Constraints"], storeConstraint) as unknown as Constraint[] | null,
    Affinities: storeList(device["Affinities"], storeAffinity) as unknown as RequestedDevice["Affinities"],
  };
}

function storeTemplate(api: Raw): Raw {
  const wait = asRaw(api["Wait"]);
  const script = asRaw(api["ChangeScript"]);
  return {
    ...api,
    ChangeMode: text(api["ChangeMode"]).toLowerCase(),
    ChangeSignal: text(api["ChangeSignal"]).toUpperCase(),
    Wait: wait && fill(wait, { Min: null, Max: null }),
    ChangeScript: script,
  };
}

function storeArtifact(api: Raw): Raw {
  return pick(api, {
    GetterSource: "",
    GetterOptions: null,
    GetterHeaders: null,
    GetterMode: "any",
    GetterInsecure: false,
    RelativeDest: "",
    Chown: false,
  });
}

// --- Constraints that a group implies ----------------------------------------------------------------------------

const CNI_PLUGINS = ["bridge", "firewall", "host-local", "loopback", "portmap"];

function constraint(LTarget: string, Operand: string, RTarget: string): Constraint {
  return { LTarget, RTarget, Operand };
}

/** The group's constraints and those that what it uses asks of a node; what it says itself is not said twice. */
function addImplied(group: TaskGroup, api: Raw): Constraint[] | null {
  let constraints = group.Constraints;
  for (const implied of impliedConstraints(group, api)) constraints = withConstraint(constraints, implied);
  return constraints;
}

function withConstraint(constraints: readonly Constraint[] | null, more: Constraint): Constraint[] {
  const own = constraints ?? [];
  return own.some((each) => deepEqual(each, more)) ? [...own] : [...own, more];
}

function* impliedConstraints(group: TaskGroup, api: Raw): Iterable<Constraint> {
  if (group.Tasks.some((task) => task.Vault)) yield constraint("${attr.vault.version}", "semver", ">= 0.6.1");
  const signals = signalsOf(group);
  if (signals.length > 0) yield constraint("${attr.os.signals}", "set_contains", signals.join(","));
  const services = [...group.Services ?? [], ...group.Tasks.flatMap((task) => task.Services ?? [])];
  const native = services.filter((service) => service.Provider === "nomad");
  if (native.length > 0) {
    yield constraint("${attr.nomad.service_discovery}", "=", "true");
    if (native.some((service) => service.Checks)) {
      yield constraint("${attr.nomad.version}", "semver", ">= 1.4.0");
    }
  }
  if (usesConsul(group.Services)) yield CONSUL_CONSTRAINT;
  yield* secretConstraints(group);
  if (group.Networks?.some((network) => network.Mode === "bridge")) {
    for (const plugin of CNI_PLUGINS) {
      yield constraint(`\${attr.plugins.cni.version.${plugin}}`, "semver", ">= 0.4.0");
    }
  }
  if (usesIdentities(api)) yield constraint("${attr.nomad.version}", "semver", ">= 1.7.0-a");
}

const CONSUL_CONSTRAINT = constraint("${attr.consul.version}", "semver", ">= 1.8.0");

function usesConsul(services: readonly Service[] | null): boolean {
  return services?.some((service) => service.Provider === "consul") ?? false;
}

/** Signals that drivers must be able to deliver, each once, sorted. */
function signalsOf(group: TaskGroup): string[] {
  const signals = new Set<string>();
  for (const task of group.Tasks) {
    if (task.KillSignal) signals.add(task.KillSignal);
    const vault = asRaw(task.Vault);
    if (vault?.["ChangeMode"] === "signal") signals.add(text(vault["ChangeSignal"]));
    for (const template of task.Templates ?? []) {
      if (template.ChangeMode === "signal" && template.ChangeSignal) signals.add(template.ChangeSignal);
    }
  }
  return [...signals].sort();
}

function* secretConstraints(group: TaskGroup): Iterable<Constraint> {
  const providers = new Set<string>();
  for (const task of group.Tasks) {
    for (const secret of asList(task.Secrets) ?? []) providers.add(text(secret["Provider"]));
  }
  for (const provider of [...providers].sort()) {
    yield constraint(`\${attr.plugins.secrets.${provider}.version}`, "is_set", "");
  }
}

/** Identities beside the default one, of tasks or services. */
function usesIdentities(api: Raw): boolean {
  const services = (owner: Raw) => asList(owner["Services"]) ?? [];
  const tasks = asList(api["Tasks"]) ?? [];
  const all = [...services(api), ...tasks.flatMap(services)];
  return all.some((service) => service["Identity"]) ||
    tasks.some((task) => (storeIdentities(task).others ?? []).length > 0);
}
