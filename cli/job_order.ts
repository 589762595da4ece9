// The order in which `job run -output` prints a job's fields: that of the reference's records, so that outputs can be
// compared line by line. Names that are the user's own (meta, env, configuration) are sorted.

/** Fields of the record that stands under a name; several lists where one name holds different records. */
const ORDERS: Record<string, string[]> = {
  Actions: ["Name Command Args"],
  Affinities: ["LTarget RTarget Operand Weight"],
  Artifacts: ["GetterSource GetterOptions GetterHeaders GetterMode GetterInsecure RelativeDest Chown"],
  CSIPluginConfig: ["ID Type MountDir StagePublishBaseDir HealthTimeout"],
  ChangeScript: ["Command Args Timeout FailOnError RunOnFirstRender"],
  CheckRestart: ["Limit Grace IgnoreWarnings"],
  Checks: [
    "Name Type Command Args Path Protocol PortLabel Expose AddressMode Advertise Interval Timeout InitialStatus Notes TLSServerName TLSSkipVerify Header Method CheckRestart GRPCService GRPCUseTLS TaskName SuccessBeforePassing FailuresBeforeCritical FailuresBeforeWarning Body OnUpdate",
  ],
  Connect: ["Native Gateway SidecarService SidecarTask"],
  Constraints: ["LTarget RTarget Operand"],
  Consul: ["Namespace Cluster Partition"],
  Cron: ["Start End Timezone"],
  DNS: ["Servers Searches Options"],
  Devices: ["Name Count Constraints Affinities"],
  Disconnect: ["LostAfter StopOnClientAfter Replace Reconcile"],
  DynamicPorts: ["Label Value To HostNetwork IgnoreCollision"],
  EphemeralDisk: ["Sticky Migrate SizeMB"],
  Expose: ["Paths Path"],
  Gateway: ["Proxy Ingress Terminating Mesh"],
  Identities: ["Name Audience ChangeMode ChangeSignal Env File Filepath ServiceName TTL ExtraClaims"],
  Identity: ["Name Audience ChangeMode ChangeSignal Env File Filepath ServiceName TTL ExtraClaims"],
  Ingress: ["TLS Listeners"],
  Job: [
    "Region Namespace ID Name Type Priority AllAtOnce Datacenters NodePool Constraints Affinities TaskGroups Update Multiregion Spreads Periodic ParameterizedJob Reschedule Migrate Meta UI Stop ParentID Dispatched DispatchIdempotencyToken Payload ConsulNamespace VaultNamespace NomadTokenID Status StatusDescription Stable Version SubmitTime CreateIndex ModifyIndex JobModifyIndex VersionTag",
  ],
  Lifecycle: ["Hook Sidecar"],
  Links: ["Label URL"],
  Listeners: ["Port Protocol Services"],
  LogConfig: ["MaxFiles MaxFileSizeMB Enabled Disabled"],
  Migrate: ["MaxParallel HealthCheck MinHealthyTime HealthyDeadline"],
  MountOptions: ["FSType MountFlags"],
  Multiregion: ["Strategy Regions"],
  NUMA: ["Affinity Devices"],
  Networks: ["Mode Device CIDR IP DNS ReservedPorts DynamicPorts Hostname MBits CNI"],
  ParameterizedJob: ["Payload MetaRequired MetaOptional"],
  Paths: ["Path Protocol LocalPathPort ListenerPort"],
  Periodic: ["Enabled Spec Specs SpecType ProhibitOverlap TimeZone"],
  Proxy: [
    "LocalServiceAddress LocalServicePort Expose ExposeConfig Upstreams TransparentProxy Config",
    "ConnectTimeout EnvoyGatewayBindTaggedAddresses EnvoyGatewayBindAddresses EnvoyGatewayNoDefaultBind EnvoyDNSDiscoveryType Config",
  ],
  Regions: ["Name Count Datacenters NodePool Meta"],
  RequestHeaders: ["Add Set Remove"],
  Reschedule: ["Attempts Interval Delay DelayFunction MaxDelay Unlimited"],
  ReschedulePolicy: ["Attempts Interval Delay DelayFunction MaxDelay Unlimited"],
  ReservedPorts: ["Label Value To HostNetwork IgnoreCollision"],
  Resources: ["CPU Cores MemoryMB MemoryMaxMB DiskMB Networks Devices NUMA SecretsMB IOPS"],
  ResponseHeaders: ["Add Set Remove"],
  RestartPolicy: ["Interval Attempts Delay Mode RenderTemplates"],
  SDS: ["ClusterName CertResource"],
  Scaling: ["Min Max Policy Enabled Type ID Namespace Target CreateIndex ModifyIndex"],
  ScalingPolicies: ["Min Max Policy Enabled Type ID Namespace Target CreateIndex ModifyIndex"],
  Secrets: ["Name Provider Path Config Env"],
  Services: [
    "Name Tags CanaryTags EnableTagOverride PortLabel AddressMode Address Checks CheckRestart Connect Meta CanaryMeta TaggedAddresses TaskName OnUpdate Identity Weights Provider Cluster Kind",
    "Name Hosts TLS RequestHeaders ResponseHeaders MaxConnections MaxPendingRequests MaxConcurrentRequests",
    "Name CAFile CertFile KeyFile SNI",
  ],
  SidecarService: ["Tags Port Proxy DisableDefaultTCPCheck Meta"],
  SidecarTask: [
    "Name Driver User Config Env Resources Meta KillTimeout LogConfig ShutdownDelay KillSignal VolumeMounts Identities",
  ],
  SpreadTarget: ["Value Percent"],
  Spreads: ["Attribute Weight SpreadTarget"],
  Strategy: ["MaxParallel OnFailure"],
  TLS: ["Enabled TLSMinVersion TLSMaxVersion CipherSuites SDS"],
  TaskGroups: [
    "Name Count Constraints Affinities Tasks Spreads Volumes RestartPolicy Disconnect ReschedulePolicy EphemeralDisk Update Migrate Networks Meta Services ShutdownDelay MaxRunDuration StopAfterClientDisconnect MaxClientDisconnect Scaling Consul PreventRescheduleOnLost",
  ],
  Tasks: [
    "Name Driver User Lifecycle Config Constraints Affinities Env Services Resources RestartPolicy Meta KillTimeout LogConfig Artifacts Vault Consul Templates DispatchPayload VolumeMounts CSIPluginConfig Leader ShutdownDelay KillSignal Kind ScalingPolicies Secrets Identity Identities Actions Schedule",
  ],
  Templates: [
    "SourcePath DestPath EmbeddedTmpl ChangeMode ChangeScript ChangeSignal Once Splay Perms Uid Gid LeftDelim RightDelim Envvars VaultGrace Wait ErrMissingKey",
  ],
  TransparentProxy: [
    "UID OutboundPort ExcludeInboundPorts ExcludeOutboundPorts ExcludeOutboundCIDRs ExcludeUIDs NoDNS",
  ],
  UI: ["Description Links"],
  Update: [
    "Stagger MaxParallel HealthCheck MinHealthyTime HealthyDeadline ProgressDeadline Canary AutoRevert AutoPromote",
  ],
  Upstreams: [
    "DestinationName DestinationNamespace DestinationPeer DestinationPartition DestinationType LocalBindPort Datacenter LocalBindAddress LocalBindSocketPath LocalBindSocketMode MeshGateway Config",
  ],
  Vault: ["Policies Role Namespace Cluster Env DisableFile ChangeMode ChangeSignal AllowTokenExpiration"],
  Volume: ["Name Type Source ReadOnly Sticky AccessMode AttachmentMode MountOptions PerAlloc"],
  VolumeMounts: ["Volume Destination ReadOnly PropagationMode SELinuxLabel"],
  Wait: ["Min Max"],
  Weights: ["Passing Warning"],
};

const FIELDS: ReadonlyMap<string, string[][]> = new Map(
  Object.entries(ORDERS).map(([name, lists]) => [name, lists.map((list) => list.split(" "))]),
);

/** Below these everything is the user's own. */
const FREE = new Set([
  "Args",
  "CanaryMeta",
  "Config",
  "Env",
  "ExtraClaims",
  "GetterHeaders",
  "GetterOptions",
  "Header",
  "Meta",
  "Policy",
  "TaggedAddresses",
  "Target",
]);

/** The same value with its fields in order. `name`: the field that it stands under, "Job" for a job. */
export function orderJob(value: unknown, name = "Job"): unknown {
  return order(value, name, FREE.has(name));
}

function order(value: unknown, name: string, isFree: boolean): unknown {
  if (Array.isArray(value)) return value.map((entry) => order(entry, name, isFree));
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) {
    return value;
  }
  const record = value as Record<string, unknown>;
  // A map from names to records, such as the volumes of a group, hands its own name on.
  const inner = (key: string) => name === "Volumes" ? "Volume" : key;
  return Object.fromEntries(
    sortKeys(Object.keys(record), isFree ? undefined : FIELDS.get(name))
      .map((key) => [key, order(record[key], inner(key), isFree || FREE.has(key))]),
  );
}

/** Keys in the order of the list that knows most of them; unknown ones come last, sorted. */
function sortKeys(keys: string[], lists: string[][] | undefined): string[] {
  const known = (list: string[]) => keys.filter((key) => list.includes(key)).length;
  const best = lists?.toSorted((a, b) => known(b) - known(a))[0] ?? [];
  const rank = (key: string) => best.includes(key) ? best.indexOf(key) : best.length;
  return keys.toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : a > b ? 1 : 0));
}
