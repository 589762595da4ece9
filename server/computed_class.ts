// The class of a node as scheduling sees it: nodes of one class meet the same constraints, so one of them answers for
// all. A hash over datacenter, class, pool, attributes, meta and devices; what is unique to a node stays out. Pure.
import { createHash } from "node:crypto";
import type { Node } from "../core/types.ts";

/** "v1:" and an unsigned 64-bit number, as Nomad writes it. */
export function computedClass(node: Node): string {
  const shared = (record: Record<string, string> | null) =>
    Object.entries(record ?? {}).filter(([key]) => !key.startsWith("unique.")).sort(([a], [b]) =>
      a < b ? -1 : 1
    );
  const devices = (node.NodeResources.Devices ?? []).map((device) => [
    device.Vendor,
    device.Type,
    device.Name,
    Object.entries(device.Attributes ?? {}).filter(([key]) => !key.startsWith("unique.")).sort(),
  ]);
  const seen = [
    node.Datacenter,
    node.NodeClass,
    node.NodePool,
    shared(node.Attributes),
    shared(node.Meta),
    devices,
  ];
  const digest = createHash("sha256").update(JSON.stringify(seen)).digest();
  return `v1:${digest.readBigUInt64BE(0)}`;
}
