// The vocabulary everyone shares: Job, Node, Allocation, Evaluation, Deployment … The API's JSON is the model:
// records keep Nomad's exact field names, so there is no mapping layer and every SDK works. Records are immutable:
// replaced whole, never changed in place. Units: durations and instants are nanoseconds (numbers; good to 256 ns
// for instants), sizes MB, CPU MHz, unless a name says otherwise. `null` stands where Nomad sends null.
//
// What the API sends that can be derived (an allocation's Resources, TaskResources, NodeName …) is not stored: the
// HTTP edge adds it. A million allocations live in memory, so an Allocation shares its Job and its resource objects.

/** RFC 3339 instant, "0001-01-01T00:00:00Z" for none. */
export type Timestamp = string;
export const ZERO_TIME: Timestamp = "0001-01-01T00:00:00Z";

// --- Job -------------------------------------------------------------------------------------------------------

export type JobType = "service" | "batch" | "system" | "sysbatch";

export interface Job {
  ID: string;
  Name: string;
  Namespace: string;
  Region: string;
  Type: JobType;
  Priority: number;
  AllAtOnce: boolean;
  Datacenters: string[];
  NodePool: string;
  Constraints: Constraint[] | null;
  Affinities: Affinity[] | null;
  Spreads: Spread[] | null;
  TaskGroups: TaskGroup[];
  Update: UpdateStrategy | null;
  Multiregion: unknown;
  Periodic: PeriodicConfig | null;
  ParameterizedJob: ParameterizedJobConfig | null;
  Dispatched: boolean;
  DispatchIdempotencyToken: string;
  /** Base64. */
  Payload: string | null;
  Meta: Record<string, string> | null;
  ParentID: string;
  ConsulNamespace: string;
  VaultNamespace: string;
  NomadTokenID: string;
  UI: { Description: string; Links: { Label: string; Url: string }[] | null } | null;
  VersionTag: JobVersionTag | null;
  // From here on the servers write.
  Stop: boolean;
  Stable: boolean;
  Status: "pending" | "running" | "dead";
  StatusDescription: string;
  Version: number;
  SubmitTime: number;
  CreateIndex: number;
  ModifyIndex: number;
  JobModifyIndex: number;
}

export interface JobVersionTag {
  Name: string;
  Description: string;
  TaggedTime: number;
}

export interface TaskGroup {
  Name: string;
  Count: number;
  Constraints: Constraint[] | null;
  Affinities: Affinity[] | null;
  Spreads: Spread[] | null;
  Tasks: Task[];
  Networks: NetworkResource[] | null;
  Services: Service[] | null;
  Volumes: Record<string, VolumeRequest> | null;
  EphemeralDisk: EphemeralDisk;
  RestartPolicy: RestartPolicy;
  ReschedulePolicy: ReschedulePolicy | null;
  Update: UpdateStrategy | null;
  Migrate: MigrateStrategy | null;
  Disconnect: DisconnectStrategy | null;
  Scaling: ScalingPolicy | null;
  Meta: Record<string, string> | null;
  Consul: unknown;
  ShutdownDelay: number | null;
  StopAfterClientDisconnect: number | null;
  MaxClientDisconnect: number | null;
  MaxRunDuration: number | null;
  PreventRescheduleOnLost: boolean;
}

export interface Task {
  Name: string;
  Driver: string;
  User: string;
  Config: Record<string, unknown> | null;
  Env: Record<string, string> | null;
  Meta: Record<string, string> | null;
  Resources: Resources;
  RestartPolicy: RestartPolicy | null;
  Constraints: Constraint[] | null;
  Affinities: Affinity[] | null;
  Services: Service[] | null;
  Templates: Template[] | null;
  Artifacts: TaskArtifact[] | null;
  LogConfig: LogConfig;
  Lifecycle: TaskLifecycle | null;
  DispatchPayload: { File: string } | null;
  VolumeMounts: VolumeMount[] | null;
  Leader: boolean;
  /** Before it comes SIGTERM/KillSignal, after it SIGKILL. */
  KillTimeout: number;
  KillSignal: string;
  ShutdownDelay: number;
  Kind: string;
  Vault: unknown;
  Consul: unknown;
  Identity: unknown;
  Identities: unknown[] | null;
  Actions: { Name: string; Command: string; Args: string[] | null }[] | null;
  ScalingPolicies: ScalingPolicy[] | null;
  CSIPluginConfig: unknown;
  Schedule: TaskSchedule | null;
  Secrets: unknown;
}

export interface Constraint {
  LTarget: string;
  RTarget: string;
  Operand: string;
}

export interface Affinity extends Constraint {
  Weight: number;
}

export interface Spread {
  Attribute: string;
  Weight: number;
  SpreadTarget: { Value: string; Percent: number }[] | null;
}

export interface Resources {
  /** MHz. */
  CPU: number;
  Cores: number;
  MemoryMB: number;
  MemoryMaxMB: number;
  DiskMB: number;
  IOPS: number;
  SecretsMB: number;
  Networks: NetworkResource[] | null;
  Devices: RequestedDevice[] | null;
  NUMA: { Affinity: string; Devices: string[] | null } | null;
}

export interface RequestedDevice {
  Name: string;
  Count: number;
  Constraints: Constraint[] | null;
  Affinities: Affinity[] | null;
}

export interface Port {
  Label: string;
  Value: number;
  To: number;
  HostNetwork: string;
  IgnoreCollision: boolean;
}

export interface NetworkResource {
  Mode: string;
  Device: string;
  CIDR: string;
  IP: string;
  Hostname: string;
  MBits: number | null;
  DNS: { Servers: string[] | null; Searches: string[] | null; Options: string[] | null } | null;
  ReservedPorts: Port[] | null;
  DynamicPorts: Port[] | null;
  CNI: { Args: Record<string, string> | null } | null;
}

export interface EphemeralDisk {
  Sticky: boolean;
  Migrate: boolean;
  SizeMB: number;
}

export interface RestartPolicy {
  Attempts: number;
  Interval: number;
  Delay: number;
  Mode: "fail" | "delay";
  RenderTemplates: boolean;
}

/** When a task runs: from each time that matches Start (five fields and the year) to End (minute and hour) of that day. */
export interface TaskSchedule {
  /** Timezone "Local" is the device's own. */
  Cron: { Start: string; End: string; Timezone: string };
}

export interface ReschedulePolicy {
  Attempts: number;
  Interval: number;
  Delay: number;
  DelayFunction: "constant" | "exponential" | "fibonacci" | "";
  MaxDelay: number;
  Unlimited: boolean;
}

export interface UpdateStrategy {
  Stagger: number;
  MaxParallel: number;
  HealthCheck: string;
  MinHealthyTime: number;
  HealthyDeadline: number;
  ProgressDeadline: number;
  AutoRevert: boolean;
  AutoPromote: boolean;
  Canary: number;
}

export interface MigrateStrategy {
  MaxParallel: number;
  HealthCheck: string;
  MinHealthyTime: number;
  HealthyDeadline: number;
}

export interface DisconnectStrategy {
  LostAfter: number | null;
  StopOnClientAfter: number | null;
  Replace: boolean | null;
  Reconcile: string;
}

export interface PeriodicConfig {
  Enabled: boolean;
  Spec: string;
  Specs: string[] | null;
  SpecType: string;
  ProhibitOverlap: boolean;
  TimeZone: string;
}

export interface ParameterizedJobConfig {
  Payload: string;
  MetaRequired: string[] | null;
  MetaOptional: string[] | null;
}

export interface ScalingPolicy {
  ID: string;
  Type: string;
  Target: Record<string, string> | null;
  Policy: Record<string, unknown> | null;
  Min: number;
  Max: number;
  Enabled: boolean;
  CreateIndex: number;
  ModifyIndex: number;
}

export interface LogConfig {
  MaxFiles: number;
  MaxFileSizeMB: number;
  Disabled: boolean;
}

export interface TaskLifecycle {
  Hook: "prestart" | "poststart" | "poststop" | "";
  Sidecar: boolean;
}

export interface VolumeRequest {
  Name: string;
  Type: string;
  Source: string;
  ReadOnly: boolean;
  Sticky: boolean;
  PerAlloc: boolean;
  AccessMode: string;
  AttachmentMode: string;
  MountOptions: unknown;
}

export interface VolumeMount {
  Volume: string;
  Destination: string;
  ReadOnly: boolean;
  PropagationMode: string;
  SELinuxLabel: string;
}

export interface Template {
  SourcePath: string;
  DestPath: string;
  EmbeddedTmpl: string;
  ChangeMode: string;
  ChangeSignal: string;
  ChangeScript: { Command: string; Args: string[] | null; Timeout: number; FailOnError: boolean } | null;
  Once: boolean;
  Splay: number;
  Perms: string;
  Uid: number | null;
  Gid: number | null;
  LeftDelim: string;
  RightDelim: string;
  Envvars: boolean;
  VaultGrace: number;
  Wait: { Min: number; Max: number } | null;
  ErrMissingKey: boolean;
}

export interface TaskArtifact {
  GetterSource: string;
  GetterOptions: Record<string, string> | null;
  GetterHeaders: Record<string, string> | null;
  GetterMode: string;
  GetterInsecure: boolean;
  RelativeDest: string;
  Chown: boolean;
}

export interface Service {
  Name: string;
  TaskName: string;
  PortLabel: string;
  AddressMode: string;
  Address: string;
  Provider: string;
  Tags: string[] | null;
  CanaryTags: string[] | null;
  Meta: Record<string, string> | null;
  CanaryMeta: Record<string, string> | null;
  TaggedAddresses: Record<string, string> | null;
  EnableTagOverride: boolean;
  Checks: ServiceCheck[] | null;
  Connect: unknown;
  OnUpdate: string;
  Namespace: string;
  Cluster: string;
  Identity: unknown;
  Kind: string;
  Weights: unknown;
}

export interface ServiceCheck {
  Name: string;
  Type: string;
  Command: string;
  Args: string[] | null;
  Path: string;
  Protocol: string;
  PortLabel: string;
  Expose: boolean;
  AddressMode: string;
  Interval: number;
  Timeout: number;
  InitialStatus: string;
  Notes: string;
  TLSServerName: string;
  TLSSkipVerify: boolean;
  Method: string;
  Header: Record<string, string[]> | null;
  CheckRestart: { Limit: number; Grace: number; IgnoreWarnings: boolean } | null;
  GRPCService: string;
  GRPCUseTLS: boolean;
  TaskName: string;
  SuccessBeforePassing: number;
  FailuresBeforeCritical: number;
  FailuresBeforeWarning: number;
  Body: string;
  OnUpdate: string;
}

/** What a user sent with a job, kept per version. */
export interface JobSubmission {
  Source: string;
  Format: string;
  VariableFlags: Record<string, string> | null;
  Variables: string;
  Namespace: string;
  JobID: string;
  Version: number;
  JobModifyIndex: number;
}

export interface TaskGroupSummary {
  Queued: number;
  Complete: number;
  Failed: number;
  Running: number;
  Starting: number;
  Lost: number;
  Unknown: number;
}

export interface JobSummary {
  JobID: string;
  Namespace: string;
  Summary: Record<string, TaskGroupSummary>;
  Children: { Pending: number; Running: number; Dead: number } | null;
  CreateIndex: number;
  ModifyIndex: number;
}

// --- Node ------------------------------------------------------------------------------------------------------

export type NodeStatus = "initializing" | "ready" | "down" | "disconnected";

export interface Node {
  ID: string;
  SecretID: string;
  Name: string;
  Datacenter: string;
  NodeClass: string;
  NodePool: string;
  /** Hash of what scheduling looks at ("v1:…"): nodes of one class are feasible alike. */
  ComputedClass: string;
  HTTPAddr: string;
  TLSEnabled: boolean;
  Attributes: Record<string, string>;
  Meta: Record<string, string>;
  Links: Record<string, string>;
  NodeResources: NodeResources;
  ReservedResources: ReservedResources;
  Drivers: Record<string, DriverInfo>;
  HostVolumes: Record<string, HostVolume>;
  HostNetworks: Record<string, HostNetwork> | null;
  CSIControllerPlugins: Record<string, unknown>;
  CSINodePlugins: Record<string, unknown>;
  CgroupParent: string;
  NodeMaxAllocs: number;
  GCVolumesOnNodeGC: boolean;
  // The servers write the rest.
  Status: NodeStatus;
  StatusDescription: string;
  StatusUpdatedAt: number;
  SchedulingEligibility: "eligible" | "ineligible";
  Drain: boolean;
  DrainStrategy: DrainStrategy | null;
  LastDrain: DrainMetadata | null;
  Events: NodeEvent[];
  IdentitySigningKeyID: string;
  LastMissedHeartbeatIndex: number;
  LastAllocUpdateIndex: number;
  CreateIndex: number;
  ModifyIndex: number;
}

export interface NodeResources {
  Cpu: { CpuShares: number; TotalCpuCores: number; ReservableCpuCores: number[] | null };
  Memory: { MemoryMB: number };
  Disk: { DiskMB: number };
  Networks: NodeNetwork[] | null;
  NodeNetworks: NodeNetworkResource[] | null;
  Devices: NodeDevice[] | null;
  MinDynamicPort: number;
  MaxDynamicPort: number;
  Processors: { Topology: unknown };
}

/** `IP` empty and Mode "bridge" for a bridge network. */
export interface NodeNetwork {
  Mode: string;
  Device?: string;
  CIDR?: string;
  IP?: string;
  MBits?: number;
}

export interface NodeNetworkResource {
  Mode: string;
  Device: string;
  MacAddress: string;
  Speed: number;
  Addresses:
    | { Family: string; Alias: string; Address: string; ReservedPorts: string; Gateway: string }[]
    | null;
}

export interface NodeDevice {
  Vendor: string;
  Type: string;
  Name: string;
  Instances: { ID: string; Healthy: boolean; HealthDescription: string }[];
  Attributes: Record<string, unknown>;
}

export interface ReservedResources {
  Cpu: { CpuShares: number; ReservedCpuCores: number[] | null };
  Memory: { MemoryMB: number };
  Disk: { DiskMB: number };
  Networks: { ReservedHostPorts: string };
}

export interface DriverInfo {
  Attributes: Record<string, string>;
  Detected: boolean;
  Healthy: boolean;
  HealthDescription: string;
  UpdateTime: Timestamp;
}

export interface HostVolume {
  ID: string;
  Name: string;
  Path: string;
  ReadOnly: boolean;
}

export interface HostNetwork {
  Name: string;
  CIDR: string;
  Interface: string;
  ReservedPorts: string;
}

export interface DrainStrategy {
  Deadline: number;
  IgnoreSystemJobs: boolean;
  ForceDeadline: Timestamp;
  StartedAt: Timestamp;
}

export interface DrainMetadata {
  StartedAt: Timestamp;
  UpdatedAt: Timestamp;
  Status: "draining" | "complete" | "canceled";
  AccessorID: string;
  Meta: Record<string, string> | null;
}

export interface NodeEvent {
  Message: string;
  Subsystem: string;
  Details: Record<string, string> | null;
  Timestamp: Timestamp;
  CreateIndex: number;
}

// --- Allocation ------------------------------------------------------------------------------------------------

export type DesiredStatus = "run" | "stop" | "evict";
export type ClientStatus = "pending" | "running" | "complete" | "failed" | "lost" | "unknown";

/** The stored record. DesiredStatus is the servers', ClientStatus the device's (plus lost/unknown, the servers'). */
export interface Allocation {
  ID: string;
  Namespace: string;
  EvalID: string;
  /** `<job>.<group>[<index>]`. */
  Name: string;
  NodeID: string;
  NodeName: string;
  JobID: string;
  /** The version this allocation runs: shared by all its siblings. */
  Job: Job;
  TaskGroup: string;
  AllocatedResources: AllocatedResources;
  Metrics: AllocMetric | null;
  DesiredStatus: DesiredStatus;
  DesiredDescription: string;
  DesiredTransition: DesiredTransition;
  ClientStatus: ClientStatus;
  ClientDescription: string;
  TaskStates: Record<string, TaskState> | null;
  NetworkStatus: AllocNetworkStatus | null;
  DeploymentID: string;
  DeploymentStatus: AllocDeploymentStatus | null;
  PreviousAllocation: string;
  NextAllocation: string;
  RescheduleTracker: RescheduleTracker | null;
  FollowupEvalID: string;
  PreemptedByAllocation: string;
  PreemptedAllocations: string[] | null;
  /** Client status changes that matter to disconnects, oldest first. Field 0 is the client status. */
  AllocStates: { Field: number; Value: string; Time: Timestamp }[] | null;
  SigningKeyID: string;
  CreateIndex: number;
  ModifyIndex: number;
  /** Index of the last change that the servers made (the device's status updates leave it). */
  AllocModifyIndex: number;
  CreateTime: number;
  ModifyTime: number;
}

export interface AllocatedResources {
  Tasks: Record<string, AllocatedTaskResources>;
  TaskLifecycles: Record<string, TaskLifecycle | null>;
  Shared: AllocatedSharedResources;
}

export interface AllocatedTaskResources {
  Cpu: { CpuShares: number; ReservedCores: number[] | null };
  Memory: { MemoryMB: number; MemoryMaxMB: number };
  Networks: NetworkResource[] | null;
  Devices: { Vendor: string; Type: string; Name: string; DeviceIDs: string[] }[] | null;
}

export interface AllocatedSharedResources {
  DiskMB: number;
  Networks: NetworkResource[] | null;
  Ports: AllocatedPort[] | null;
}

export interface AllocatedPort {
  Label: string;
  Value: number;
  To: number;
  HostIP: string;
  IgnoreCollision: boolean;
}

export interface DesiredTransition {
  Migrate: boolean | null;
  Reschedule: boolean | null;
  ForceReschedule: boolean | null;
  NoShutdownDelay: boolean | null;
  MigrateDisablePlacement: boolean | null;
}
/** Shared by every allocation nobody asked anything of. */
export const NO_TRANSITION: DesiredTransition = Object.freeze({
  Migrate: null,
  Reschedule: null,
  ForceReschedule: null,
  NoShutdownDelay: null,
  MigrateDisablePlacement: null,
});

export interface AllocDeploymentStatus {
  Healthy: boolean | null;
  Timestamp: Timestamp;
  Canary: boolean;
  ModifyIndex: number;
}

export interface AllocNetworkStatus {
  InterfaceName: string;
  Address: string;
  AddressIPv6: string;
  DNS: unknown;
}

export interface RescheduleTracker {
  Events: { RescheduleTime: number; PrevAllocID: string; PrevNodeID: string; Delay: number }[] | null;
  LastReschedule: string;
}

export interface AllocMetric {
  NodesEvaluated: number;
  NodesFiltered: number;
  NodesInPool: number;
  NodePool: string;
  NodesAvailable: Record<string, number> | null;
  ClassFiltered: Record<string, number> | null;
  ConstraintFiltered: Record<string, number> | null;
  NodesExhausted: number;
  ClassExhausted: Record<string, number> | null;
  DimensionExhausted: Record<string, number> | null;
  QuotaExhausted: string[] | null;
  ResourcesExhausted: Record<string, Resources> | null;
  Scores: Record<string, number> | null;
  ScoreMetaData: { NodeID: string; Scores: Record<string, number>; NormScore: number }[] | null;
  AllocationTime: number;
  CoalescedFailures: number;
}

export interface TaskState {
  State: "pending" | "running" | "dead";
  Failed: boolean;
  Restarts: number;
  LastRestart: Timestamp | null;
  StartedAt: Timestamp | null;
  FinishedAt: Timestamp | null;
  Paused: string;
  Events: TaskEvent[];
}

/** One line of a task's history. Type and Details decide DisplayMessage; the other fields are Nomad's old ones. */
export interface TaskEvent {
  Type: string;
  /** Nanoseconds since 1970. */
  Time: number;
  DisplayMessage: string;
  Details: Record<string, string>;
  Message: string;
  FailsTask: boolean;
  RestartReason: string;
  SetupError: string;
  DriverError: string;
  DriverMessage: string;
  ExitCode: number;
  Signal: number;
  KillReason: string;
  KillTimeout: number;
  KillError: string;
  StartDelay: number;
  DownloadError: string;
  ValidationError: string;
  DiskLimit: number;
  FailedSibling: string;
  VaultError: string;
  TaskSignalReason: string;
  TaskSignal: string;
  GenericSource: string;
}

/** An event that says nothing: what every event begins from. */
export const BLANK_EVENT: Readonly<TaskEvent> = Object.freeze({
  Type: "",
  Time: 0,
  DisplayMessage: "",
  Details: Object.freeze({}),
  Message: "",
  FailsTask: false,
  RestartReason: "",
  SetupError: "",
  DriverError: "",
  DriverMessage: "",
  ExitCode: 0,
  Signal: 0,
  KillReason: "",
  KillTimeout: 0,
  KillError: "",
  StartDelay: 0,
  DownloadError: "",
  ValidationError: "",
  DiskLimit: 0,
  FailedSibling: "",
  VaultError: "",
  TaskSignalReason: "",
  TaskSignal: "",
  GenericSource: "",
});

// --- Evaluation, plan, deployment ------------------------------------------------------------------------------

export type EvalStatus = "pending" | "complete" | "failed" | "canceled" | "blocked";

export interface Evaluation {
  ID: string;
  Namespace: string;
  Priority: number;
  Type: JobType | "_core";
  TriggeredBy: string;
  JobID: string;
  JobModifyIndex: number;
  NodeID: string;
  NodeModifyIndex: number;
  DeploymentID: string;
  Status: EvalStatus;
  StatusDescription: string;
  /** Delay from when it is created; 0 for none. */
  Wait: number;
  WaitUntil: Timestamp | null;
  NextEval: string;
  PreviousEval: string;
  BlockedEval: string;
  FailedTGAllocs: Record<string, AllocMetric> | null;
  ClassEligibility: Record<string, boolean> | null;
  QuotaLimitReached: string;
  EscapedComputedClass: boolean;
  AnnotatePlan: boolean;
  QueuedAllocations: Record<string, number> | null;
  PlanAnnotations: PlanAnnotations | null;
  SnapshotIndex: number;
  LeaderACL: string;
  CreateIndex: number;
  ModifyIndex: number;
  CreateTime: number;
  ModifyTime: number;
}

export interface DesiredUpdates {
  Ignore: number;
  Place: number;
  Migrate: number;
  Stop: number;
  InPlaceUpdate: number;
  DestructiveUpdate: number;
  Canary: number;
  Preemptions: number;
  Disconnect: number;
  Reconnect: number;
  RescheduleNow: number;
  RescheduleLater: number;
}

export interface PlanAnnotations {
  DesiredTGUpdates: Record<string, DesiredUpdates>;
  PreemptedAllocs: unknown[] | null;
}

export type DeploymentStatusName =
  | "running"
  | "paused"
  | "failed"
  | "successful"
  | "cancelled"
  | "initializing"
  | "pending"
  | "blocked"
  | "unblocking";

export interface Deployment {
  ID: string;
  Namespace: string;
  JobID: string;
  JobVersion: number;
  JobModifyIndex: number;
  JobSpecModifyIndex: number;
  JobCreateIndex: number;
  IsMultiregion: boolean;
  TaskGroups: Record<string, DeploymentState>;
  Status: DeploymentStatusName;
  StatusDescription: string;
  EvalPriority: number;
  CreateIndex: number;
  ModifyIndex: number;
  CreateTime: number;
  ModifyTime: number;
}

export interface DeploymentState {
  AutoRevert: boolean;
  AutoPromote: boolean;
  ProgressDeadline: number;
  RequireProgressBy: Timestamp;
  Promoted: boolean;
  PlacedCanaries: string[] | null;
  DesiredCanaries: number;
  DesiredTotal: number;
  PlacedAllocs: number;
  HealthyAllocs: number;
  UnhealthyAllocs: number;
}

// --- Cluster objects -------------------------------------------------------------------------------------------

/** How the leader looks after the servers. The API writes the durations as text; here they are nanoseconds. */
export interface AutopilotConfiguration {
  CleanupDeadServers: boolean;
  LastContactThreshold: number;
  MaxTrailingLogs: number;
  MinQuorum: number;
  ServerStabilizationTime: number;
  EnableRedundancyZones: boolean;
  DisableUpgradeMigration: boolean;
  EnableCustomUpgrades: boolean;
  CreateIndex: number;
  ModifyIndex: number;
}

export interface SchedulerConfiguration {
  SchedulerAlgorithm: "binpack" | "spread";
  PreemptionConfig: {
    SystemSchedulerEnabled: boolean;
    SysBatchSchedulerEnabled: boolean;
    BatchSchedulerEnabled: boolean;
    ServiceSchedulerEnabled: boolean;
  };
  MemoryOversubscriptionEnabled: boolean;
  RejectJobRegistration: boolean;
  PauseEvalBroker: boolean;
  NodeLimitForFeasibilityChecks: number;
  CreateIndex: number;
  ModifyIndex: number;
}

export interface Namespace {
  Name: string;
  Description: string;
  Quota: string;
  Capabilities: unknown;
  NodePoolConfiguration: unknown;
  VaultConfiguration: unknown;
  ConsulConfiguration: unknown;
  Meta: Record<string, string> | null;
  CreateIndex: number;
  ModifyIndex: number;
}

export interface NodePool {
  Name: string;
  Description: string;
  Meta: Record<string, string> | null;
  NodeIdentityTTL: number;
  SchedulerConfiguration: {
    SchedulerAlgorithm: string;
    MemoryOversubscriptionEnabled: boolean | null;
  } | null;
  CreateIndex: number;
  ModifyIndex: number;
}

export interface ServiceRegistration {
  ID: string;
  ServiceName: string;
  Namespace: string;
  NodeID: string;
  Datacenter: string;
  JobID: string;
  AllocID: string;
  Tags: string[];
  Address: string;
  Port: number;
  CreateIndex: number;
  ModifyIndex: number;
}
