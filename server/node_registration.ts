// What a device may say of itself when it registers, checked at the edge: shape, identity, and that the fields which
// belong to the servers stay theirs.
import * as v from "valibot";
import { ApiError } from "../core/errors.ts";
import type { Node } from "../core/types.ts";
import { computedClass } from "./computed_class.ts";

const amount = v.pipe(v.number(), v.finite(), v.minValue(0));
const text = v.pipe(v.string(), v.minLength(1));

const NodeSchema = v.looseObject({
  ID: v.pipe(v.string(), v.uuid("ID is not a UUID")),
  SecretID: text,
  Name: text,
  Datacenter: text,
  NodePool: v.string(),
  NodeClass: v.string(),
  Attributes: v.record(v.string(), v.string()),
  Meta: v.record(v.string(), v.string()),
  Drivers: v.record(v.string(), v.looseObject({ Detected: v.boolean(), Healthy: v.boolean() })),
  NodeResources: v.looseObject({
    Cpu: v.looseObject({ CpuShares: amount }),
    Memory: v.looseObject({ MemoryMB: amount }),
    Disk: v.looseObject({ DiskMB: amount }),
    MinDynamicPort: amount,
    MaxDynamicPort: amount,
  }),
  ReservedResources: v.looseObject({
    Cpu: v.looseObject({ CpuShares: amount }),
    Memory: v.looseObject({ MemoryMB: amount }),
    Disk: v.looseObject({ DiskMB: amount }),
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
    throw new ApiError(400, `Node registration refused: ${v.getDotPath(issue) ?? "node"}: ${issue.message}`);
  }
  if (known && known.SecretID !== input.SecretID) {
    throw new ApiError(403, `Node registration refused: node ${input.ID} exists with another secret`);
  }
  const ComputedClass = computedClass(input);
  if (!known) {
    return { ...input, ComputedClass, Events: [], DrainStrategy: null, LastDrain: null, Drain: false };
  }
  const node: Record<string, unknown> = { ...input };
  for (const field of SERVER_FIELDS) node[field] = known[field];
  node["ComputedClass"] = ComputedClass;
  return node as unknown as Node;
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
