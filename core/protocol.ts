// What a device and a server say to each other over the device's one connection (a WebSocket on the rpc port, path
// /v1/device). Control messages are JSON text frames; bytes of streams are binary frames (core/mux.ts). The device
// dials, registers with `hello`, and from then on the server knows it by the connection: a heartbeat carries no
// identity. Every message only adds fields from version to version.
import type {
  AllocatedResources,
  AllocDeploymentStatus,
  AllocNetworkStatus,
  ClientStatus,
  DesiredStatus,
  DesiredTransition,
  Job,
  Node,
  RescheduleTracker,
  ServiceRegistration,
  TaskState,
} from "./types.ts";

export const PROTOCOL_VERSION = 1;
export const DEVICE_PATH = "/v1/device";
/** Where a server connects to another to send requests of the API on (server/hops.ts). */
export const SERVER_PATH = "/v1/server";

/** Device → server. */
export type DeviceMessage =
  /** First on a connection. `allocs`: what it already has (id → AllocModifyIndex), so only news come back. */
  /** `relay`: the leader that a server named cannot be reached from here; the server may pass everything on to it. */
  | { t: "hello"; version: number; node: Node; allocs: Record<string, number>; relay?: boolean }
  /** Fingerprints changed. */
  | { t: "node"; node: Node }
  | { t: "heartbeat" }
  /** Changed allocations, whole; sent again with the same `seq` after a reconnect until it is acknowledged. */
  | { t: "updates"; seq: number; updates: AllocUpdate[] }
  | { t: "services"; seq: number; upsert: ServiceRegistration[]; remove: string[] }
  | { t: "events"; events: { subsystem: string; message: string; details: Record<string, string> }[] };

/** Server → device. */
export type ServerMessage =
  | { t: "welcome"; heartbeatTtlMs: number; nodeStatus: string; servers: string[] }
  /** The connection closes after it. `fatal`: do not try again with this identity. */
  | { t: "refused"; reason: string; fatal: boolean }
  /** This server cannot take devices now; try `leader` (host:port of its rpc) if it is not empty. */
  | { t: "redirect"; leader: string }
  /** `servers`: all of them, when they are others than the device was told last. */
  | { t: "heartbeatAck"; heartbeatTtlMs: number; servers?: string[] }
  | { t: "allocs" } & AllocDelta
  | { t: "ack"; seq: number };

/** Changed assignments of one device. Jobs and resources stand once and are named by key / position. */
export interface AllocDelta {
  index: number;
  /** True after `hello`: what is not in `upserts` and not in hello's `allocs` … `removed` does not exist any more. */
  jobs: Record<string, Job>;
  resources: AllocatedResources[];
  upserts: AllocAssignment[];
  /** Ids that the servers forgot (garbage collected, purged): stop, then remove the directories. */
  removed: string[];
}

/** One allocation as its device needs it. */
export interface AllocAssignment {
  ID: string;
  Namespace: string;
  Name: string;
  EvalID: string;
  /** Key into AllocDelta.jobs. */
  job: string;
  JobID: string;
  TaskGroup: string;
  /** Position in AllocDelta.resources. */
  resources: number;
  DesiredStatus: DesiredStatus;
  DesiredDescription: string;
  DesiredTransition?: DesiredTransition;
  ClientStatus: ClientStatus;
  DeploymentID: string;
  DeploymentStatus?: AllocDeploymentStatus;
  PreviousAllocation: string;
  RescheduleTracker?: RescheduleTracker;
  CreateIndex: number;
  AllocModifyIndex: number;
  CreateTime: number;
}

/** What a device reports of an allocation: it replaces these fields. */
export interface AllocUpdate {
  ID: string;
  ClientStatus: ClientStatus;
  ClientDescription: string;
  TaskStates: Record<string, TaskState> | null;
  /** Health as the device saw it (update.health_check); null while it is not decided. */
  DeploymentStatus: { Healthy: boolean; Timestamp: string } | null;
  NetworkStatus: AllocNetworkStatus | null;
}
