// A node's record before anybody has said more of it. Two parts, by who writes them (one writer a field): what servers
// keep of every node, and what a device says of itself when it has nothing to say.
import type { Node } from "./types.ts";

/** The servers' fields of a node that they see for the first time. */
export const NODE_OF_SERVERS = {
  Status: "initializing",
  StatusDescription: "",
  StatusUpdatedAt: 0,
  Drain: false,
  DrainStrategy: null,
  LastDrain: null,
  Events: [],
  IdentitySigningKeyID: "",
  LastMissedHeartbeatIndex: 0,
  LastAllocUpdateIndex: 0,
  CreateIndex: 0,
  ModifyIndex: 0,
} satisfies Partial<Node>;

/** What no device decides itself, and what a plain one does not have. */
export const NEW_NODE = {
  ...NODE_OF_SERVERS,
  ComputedClass: "",
  TLSEnabled: false,
  Links: {},
  Drivers: {},
  CSIControllerPlugins: {},
  CSINodePlugins: {},
  CgroupParent: "nomad.slice",
  GCVolumesOnNodeGC: false,
  SchedulingEligibility: "eligible",
} satisfies Partial<Node>;
