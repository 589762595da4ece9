// What a device may say of itself when it registers, checked at the edge: shape, identity, and that the fields which
// belong to the servers stay theirs.
import * as v from "valibot";
import { ApiError } from "../core/errors.ts";
import { NODE_OF_SERVERS } from "../core/node.ts";
import type { Node } from "../core/types.ts";
import { computedClass } from "./computed_class.ts";

const amount = v.pipe(v.number(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));
const port = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65535));
/** Shown in tables and logs: no line breaks, no terminal codes. */
const text = v.pipe(
  v.string(),
  v.minLength(1),
  v.maxLength(512, "longer than 512 characters"),
  v.regex(/^\P{Cc}*$/u, "holds control characters"),
);
const strings = v.record(v.string(), v.string());
const objects = v.record(v.string(), v.looseObject({}));
const optionalText = v.nullish(v.string());
const list = <T extends v.GenericSchema>(item: T) => v.nullish(v.array(item));

/** Every field that servers, the API or the command line read; what else a device sends is kept as it is. */
const NodeSchema = v.looseObject({
  ID: v.pipe(v.string(), v.uuid("ID is not a UUID")),
  SecretID: text,
  Name: text,
  Datacenter: text,
  NodePool: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{0,128}$/, "is no name of a node pool")),
  NodeClass: v.pipe(v.string(), v.maxLength(512)),
  HTTPAddr: v.string(),
  Attributes: strings,
  Meta: strings,
  Links: strings,
  Drivers: v.record(v.string(), v.looseObject({ Detected: v.boolean(), Healthy: v.boolean() })),
  HostVolumes: v.record(v.string(), v.looseObject({ Path: v.string(), ReadOnly: v.boolean() })),
  HostNetworks: v.nullish(v.record(v.string(), v.looseObject({ CIDR: v.string() }))),
  CSIControllerPlugins: objects,
  CSINodePlugins: objects,
  CgroupParent: optionalText,
  NodeMaxAllocs: v.nullish(amount),
  NodeResources: v.looseObject({
    Cpu: v.looseObject({
      CpuShares: amount,
      TotalCpuCores: v.nullish(amount),
      ReservableCpuCores: list(amount),
    }),
    Memory: v.looseObject({ MemoryMB: amount }),
    Disk: v.looseObject({ DiskMB: amount }),
    Networks: list(v.looseObject({ Mode: optionalText, Device: optionalText, IP: optionalText })),
    NodeNetworks: list(v.looseObject({
      Mode: optionalText,
      Device: optionalText,
      Addresses: list(v.looseObject({ Alias: v.string(), Address: v.string(), ReservedPorts: v.string() })),
    })),
    Devices: list(v.looseObject({
      Vendor: v.string(),
      Type: v.string(),
      Name: v.string(),
      Instances: v.array(v.looseObject({ ID: v.string(), Healthy: v.boolean() })),
      Attributes: v.nullish(v.record(v.string(), v.unknown())),
    })),
    MinDynamicPort: port,
    MaxDynamicPort: port,
  }),
  ReservedResources: v.looseObject({
    Cpu: v.looseObject({ CpuShares: amount, ReservedCpuCores: list(amount) }),
    Memory: v.looseObject({ MemoryMB: amount }),
    Disk: v.looseObject({ DiskMB: amount }),
    Networks: v.looseObject({ ReservedHostPorts: v.pipe(v.string(), v.maxLength(4096)) }),
  }),
});

/** Fields that the servers write: what a device sends there is not looked at. */
const SERVER_FIELDS = [
  "Status",
  "StatusDescription",
  "StatusUpdatedAt",
  "SchedulingEligibility",
  "Drain",
  "DrainStrategy",
  "LastDrain",
  "Events",
  "IdentitySigningKeyID",
  "LastMissedHeartbeatIndex",
  "LastAllocUpdateIndex",
  "CreateIndex",
  "ModifyIndex",
  "ComputedClass",
] as const;

/**
 * The node as it may enter the log: the device's own fields from `input`, the servers' from `known`.
 * Throws ApiError 400 for a wrong shape, 403 when the secret is not the one this ID was registered with.
 */
export function checkNode(input: Node, known: Node | undefined): Node {
  const result = v.safeParse(NodeSchema, input);
  if (!result.success) {
    const issue = result.issues[0];
    const what = issue.received === "undefined" ? "is missing" : issue.message;
    throw new ApiError(400, `Node registration refused: ${v.getDotPath(issue) ?? "node"}: ${what}`);
  }
  if (known && known.SecretID !== input.SecretID) {
    throw new ApiError(403, `Node registration refused: node ${input.ID} exists with another secret`);
  }
  const ComputedClass = computedClass(input);
  if (!known) {
    return { ...input, ...NODE_OF_SERVERS, ComputedClass, SchedulingEligibility: eligibility(input) };
  }
  const node: Record<string, unknown> = { ...input };
  for (const field of SERVER_FIELDS) node[field] = known[field];
  node["ComputedClass"] = ComputedClass;
  return node as unknown as Node;
}

/** A new device may ask to be left without work at first. */
function eligibility(input: Node): Node["SchedulingEligibility"] {
  return input.SchedulingEligibility === "ineligible" ? "ineligible" : "eligible";
}

/** Whether a registration says nothing new of the device. */
export function sameRegistration(known: Node, node: Node): boolean {
  return specText(known) === specText(node);
}

function specText(node: Node): string {
  const spec: Record<string, unknown> = { ...node };
  for (const field of SERVER_FIELDS) delete spec[field];
  return JSON.stringify(Object.entries(spec).sort(([a], [b]) => a < b ? -1 : 1));
}
