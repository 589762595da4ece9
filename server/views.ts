// Records as the API shows them: what is derived is added (an allocation's legacy resources), what is secret is
// blanked, and fields that Nomad leaves out when empty are left out. Pure: record in, plain object out; the results
// of records that many share are remembered as long as the record lives.
import { createHash } from "node:crypto";
import {
  type AllocatedPort,
  type AllocatedResources,
  type Allocation,
  type Deployment,
  type Evaluation,
  type Job,
  type JobSummary,
  type Namespace,
  type NetworkResource,
  type Node,
  type NodePool,
  type Port,
  type Task,
  type TaskGroup,
  ZERO_TIME,
} from "../core/types.ts";

/** `field: value` unless the value is empty as Go sees it (zero, "", false, null, no elements). */
function unlessEmpty(record: object): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(record)) if (!isEmpty(value)) out[key] = value;
  return out;
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === "" || value === 0 || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/** Remembers what was derived from an immutable record. */
function remembered<K extends object, V>(derive: (key: K) => V): (key: K) => V {
  const known = new WeakMap<K, V>();
  return (key) => {
    let value = known.get(key);
    if (value === undefined) known.set(key, value = derive(key));
    return value;
  };
}

// --- Networks and resources -------------------------------------------------------------------------------------

function portView(port: Port): Record<string, unknown> {
  const view: Record<string, unknown> = { Label: port.Label };
  if (port.Value) view.Value = port.Value;
  if (port.To) view.To = port.To;
  if (port.HostNetwork) view.HostNetwork = port.HostNetwork;
  if (port.IgnoreCollision) view.IgnoreCollision = true;
  return view;
}

function networkView(network: NetworkResource): Record<string, unknown> {
  const { ReservedPorts, DynamicPorts, ...rest } = network;
  const view = unlessEmpty(rest);
  if (DynamicPorts?.length) view.DynamicPorts = DynamicPorts.map(portView);
  if (ReservedPorts?.length) view.ReservedPorts = ReservedPorts.map(portView);
  return view;
}

function networkViews(networks: NetworkResource[] | null): Record<string, unknown>[] | null {
  return networks && networks.length > 0 ? networks.map(networkView) : null;
}

function allocatedPortView(port: AllocatedPort): Record<string, unknown> {
  const view: Record<string, unknown> = { Label: port.Label, Value: port.Value, HostIP: port.HostIP };
  if (port.To) view.To = port.To;
  if (port.IgnoreCollision) view.IgnoreCollision = true;
  return view;
}

function legacyResources(fields: Record<string, unknown>): Record<string, unknown> {
  return {
    CPU: 0,
    Cores: 0,
    MemoryMB: 0,
    MemoryMaxMB: 0,
    DiskMB: 0,
    IOPS: 0,
    SecretsMB: 0,
    Networks: null,
    Devices: null,
    NUMA: null,
    ...fields,
  };
}

/** AllocatedResources and the three older forms of the same. */
const resourceViews = remembered((allocated: AllocatedResources) => {
  const shared = networkViews(allocated.Shared.Networks);
  const tasks: Record<string, unknown> = {};
  const perTask: Record<string, unknown> = {};
  const total = { CPU: 0, MemoryMB: 0, MemoryMaxMB: 0 };
  const networks = [...shared ?? []];
  for (const [name, task] of Object.entries(allocated.Tasks)) {
    const own = networkViews(task.Networks);
    tasks[name] = { ...task, Networks: own };
    perTask[name] = legacyResources({
      CPU: task.Cpu.CpuShares,
      MemoryMB: task.Memory.MemoryMB,
      MemoryMaxMB: task.Memory.MemoryMaxMB,
      Networks: own,
    });
    total.CPU += task.Cpu.CpuShares;
    total.MemoryMB += task.Memory.MemoryMB;
    total.MemoryMaxMB += task.Memory.MemoryMaxMB || task.Memory.MemoryMB;
    networks.push(...own ?? []);
  }
  const { DiskMB, Ports } = allocated.Shared;
  return {
    AllocatedResources: {
      Tasks: tasks,
      TaskLifecycles: allocated.TaskLifecycles,
      Shared: { DiskMB, Networks: shared, Ports: Ports?.length ? Ports.map(allocatedPortView) : null },
    },
    Resources: legacyResources({ ...total, DiskMB, Networks: networks.length > 0 ? networks : null }),
    SharedResources: legacyResources({ DiskMB, Networks: shared }),
    TaskResources: perTask,
  };
});

// --- Jobs -------------------------------------------------------------------------------------------------------

function taskView(task: Task): Task {
  if (!task.Resources.Networks?.length) return task;
  const networks = networkViews(task.Resources.Networks);
  return { ...task, Resources: { ...task.Resources, Networks: networks as unknown as NetworkResource[] } };
}

function groupView(group: TaskGroup): TaskGroup {
  const networks = networkViews(group.Networks);
  const tasks = group.Tasks.map(taskView);
  if (!networks && tasks.every((task, i) => task === group.Tasks[i])) return group;
  return { ...group, Networks: networks as unknown as NetworkResource[] | null, Tasks: tasks };
}

/** A job as `/v1/job/:id` shows it. */
export const jobView: (job: Job) => Job = remembered((job) => {
  const groups = job.TaskGroups.map(groupView);
  return groups.every((group, i) => group === job.TaskGroups[i]) ? job : { ...job, TaskGroups: groups };
});

/** A line of `/v1/jobs`. */
export function jobStub(
  job: Job,
  summary: JobSummary | undefined,
  withMeta: boolean,
): Record<string, unknown> {
  return {
    ID: job.ID,
    ParentID: job.ParentID,
    Name: job.Name,
    Namespace: job.Namespace,
    Datacenters: job.Datacenters,
    NodePool: job.NodePool,
    Multiregion: job.Multiregion ?? null,
    Type: job.Type,
    Priority: job.Priority,
    Periodic: job.Periodic !== null,
    ParameterizedJob: job.ParameterizedJob !== null && !job.Dispatched,
    Stop: job.Stop,
    Status: job.Status,
    StatusDescription: job.StatusDescription,
    JobSummary: summary ?? null,
    ...(withMeta && job.Meta ? { Meta: job.Meta } : {}),
    CreateIndex: job.CreateIndex,
    ModifyIndex: job.ModifyIndex,
    JobModifyIndex: job.JobModifyIndex,
    SubmitTime: job.SubmitTime,
  };
}

// --- Allocations ------------------------------------------------------------------------------------------------

function transitionAsked(alloc: Allocation): boolean {
  const { Migrate, Reschedule, ForceReschedule, NoShutdownDelay, MigrateDisablePlacement } =
    alloc.DesiredTransition;
  return Migrate !== null || Reschedule !== null || ForceReschedule !== null || NoShutdownDelay !== null ||
    MigrateDisablePlacement !== null;
}

/** A whole allocation. Its job stands in it unless `withJob` is false (as in the event stream). */
export function allocationView(alloc: Allocation, withJob = true): Record<string, unknown> {
  const view: Record<string, unknown> = {
    ID: alloc.ID,
    Namespace: alloc.Namespace,
    EvalID: alloc.EvalID,
    Name: alloc.Name,
    NodeID: alloc.NodeID,
    NodeName: alloc.NodeName,
    JobID: alloc.JobID,
    TaskGroup: alloc.TaskGroup,
    ...resourceViews(alloc.AllocatedResources),
    Metrics: alloc.Metrics,
    DesiredStatus: alloc.DesiredStatus,
    ClientStatus: alloc.ClientStatus,
    SigningKeyID: alloc.SigningKeyID,
    CreateIndex: alloc.CreateIndex,
    ModifyIndex: alloc.ModifyIndex,
    AllocModifyIndex: alloc.AllocModifyIndex,
    CreateTime: alloc.CreateTime,
    ModifyTime: alloc.ModifyTime,
    ...unlessEmpty({
      ClientDescription: alloc.ClientDescription,
      DesiredDescription: alloc.DesiredDescription,
      DeploymentID: alloc.DeploymentID,
      DeploymentStatus: alloc.DeploymentStatus,
      FollowupEvalID: alloc.FollowupEvalID,
      NextAllocation: alloc.NextAllocation,
      PreviousAllocation: alloc.PreviousAllocation,
      RescheduleTracker: alloc.RescheduleTracker,
      PreemptedAllocations: alloc.PreemptedAllocations,
      PreemptedByAllocation: alloc.PreemptedByAllocation,
      NetworkStatus: alloc.NetworkStatus,
      TaskStates: alloc.TaskStates,
      // The only field whose changes are kept is the client status, which Nomad numbers 0.
      AllocStates: alloc.AllocStates?.map((state) => ({ ...state, Field: 0 })),
    }),
  };
  if (transitionAsked(alloc)) view.DesiredTransition = alloc.DesiredTransition;
  if (withJob) view.Job = jobView(alloc.Job);
  return view;
}

export interface StubFields {
  resources: boolean;
  taskStates: boolean;
}

/** A line of the allocation lists. */
export function allocationStub(alloc: Allocation, fields: StubFields): Record<string, unknown> {
  const stub: Record<string, unknown> = {
    ID: alloc.ID,
    EvalID: alloc.EvalID,
    Name: alloc.Name,
    Namespace: alloc.Namespace,
    NodeID: alloc.NodeID,
    NodeName: alloc.NodeName,
    JobID: alloc.JobID,
    JobType: alloc.Job.Type,
    JobVersion: alloc.Job.Version,
    TaskGroup: alloc.TaskGroup,
    DesiredStatus: alloc.DesiredStatus,
    DesiredDescription: alloc.DesiredDescription,
    ClientStatus: alloc.ClientStatus,
    ClientDescription: alloc.ClientDescription,
    DesiredTransition: alloc.DesiredTransition,
    TaskStates: fields.taskStates ? alloc.TaskStates : null,
    DeploymentStatus: alloc.DeploymentStatus,
    FollowupEvalID: alloc.FollowupEvalID,
    NextAllocation: alloc.NextAllocation,
    RescheduleTracker: alloc.RescheduleTracker,
    PreemptedAllocations: alloc.PreemptedAllocations,
    PreemptedByAllocation: alloc.PreemptedByAllocation,
    CreateIndex: alloc.CreateIndex,
    ModifyIndex: alloc.ModifyIndex,
    CreateTime: alloc.CreateTime,
    ModifyTime: alloc.ModifyTime,
  };
  if (fields.resources) stub.AllocatedResources = resourceViews(alloc.AllocatedResources).AllocatedResources;
  return stub;
}

// --- Evaluations and deployments --------------------------------------------------------------------------------

/** An evaluation: every empty field is left out. */
export function evaluationView(evaluation: Evaluation): Record<string, unknown> {
  const { WaitUntil, ...rest } = evaluation;
  const view = unlessEmpty(rest);
  if (WaitUntil && WaitUntil !== ZERO_TIME) view.WaitUntil = WaitUntil;
  return view;
}

/** An evaluation inside another's RelatedEvals. */
export function evaluationStub(evaluation: Evaluation): Record<string, unknown> {
  return {
    ID: evaluation.ID,
    Namespace: evaluation.Namespace,
    Priority: evaluation.Priority,
    Type: evaluation.Type,
    TriggeredBy: evaluation.TriggeredBy,
    JobID: evaluation.JobID,
    NodeID: evaluation.NodeID,
    DeploymentID: evaluation.DeploymentID,
    Status: evaluation.Status,
    StatusDescription: evaluation.StatusDescription,
    WaitUntil: evaluation.WaitUntil === ZERO_TIME ? null : evaluation.WaitUntil,
    NextEval: evaluation.NextEval,
    PreviousEval: evaluation.PreviousEval,
    BlockedEval: evaluation.BlockedEval,
    CreateIndex: evaluation.CreateIndex,
    ModifyIndex: evaluation.ModifyIndex,
    CreateTime: evaluation.CreateTime,
    ModifyTime: evaluation.ModifyTime,
  };
}

/** A deployment; a deadline that is not set is null. */
export const deploymentView: (deployment: Deployment) => Record<string, unknown> = remembered(
  (deployment) => {
    const groups = Object.entries(deployment.TaskGroups).map(([name, state]) => [name, {
      ...state,
      RequireProgressBy: state.RequireProgressBy === ZERO_TIME ? null : state.RequireProgressBy || null,
    }]);
    return { ...deployment, TaskGroups: Object.fromEntries(groups) };
  },
);

// --- Nodes and the rest -----------------------------------------------------------------------------------------

/** A node without its secret. */
export function nodeView(node: Node): Node {
  return { ...node, SecretID: "", LastDrain: lastDrainView(node) };
}

function lastDrainView(node: Node): Node["LastDrain"] {
  return node.LastDrain && { ...node.LastDrain, Meta: node.LastDrain.Meta ?? {} };
}

export interface NodeStubFields {
  resources: boolean;
  os: boolean;
}

/** A line of `/v1/nodes`. */
export function nodeStub(node: Node, fields: NodeStubFields): Record<string, unknown> {
  const stub: Record<string, unknown> = {
    Address: hostOf(node.HTTPAddr),
    ID: node.ID,
    Datacenter: node.Datacenter,
    Name: node.Name,
    NodeClass: node.NodeClass,
    NodePool: node.NodePool,
    Version: node.Attributes["nomad.version"] ?? "",
    Drain: node.Drain,
    SchedulingEligibility: node.SchedulingEligibility,
    Status: node.Status,
    StatusDescription: node.StatusDescription,
    Drivers: node.Drivers,
    HostVolumes: node.HostVolumes,
    LastDrain: lastDrainView(node),
    CreateIndex: node.CreateIndex,
    ModifyIndex: node.ModifyIndex,
  };
  if (fields.os) stub.Attributes = { "os.name": node.Attributes["os.name"] ?? "" };
  if (fields.resources) {
    stub.NodeResources = node.NodeResources;
    stub.ReservedResources = node.ReservedResources;
  }
  return stub;
}

function hostOf(address: string): string {
  const colon = address.lastIndexOf(":");
  return (colon < 0 ? address : address.slice(0, colon)).replace(/^\[|\]$/g, "");
}

/** A digest that changes with the record's own content. */
function contentHash(content: unknown): string {
  return createHash("sha256").update(JSON.stringify(content)).digest("base64");
}

export const namespaceView: (namespace: Namespace) => Record<string, unknown> = remembered((namespace) => {
  const { CreateIndex: _created, ModifyIndex: _modified, ...content } = namespace;
  return { ...namespace, RequiredExtraClaims: null, OptionalExtraClaims: null, Hash: contentHash(content) };
});

export const nodePoolView: (pool: NodePool) => Record<string, unknown> = remembered((pool) => {
  const { CreateIndex: _created, ModifyIndex: _modified, ...content } = pool;
  const builtIn = pool.Name === "all" || pool.Name === "default";
  return { ...pool, Hash: builtIn ? null : contentHash(content) };
});
