// The data behind the recordings of nodes and node pools.
import { ALLOC, at, type Fixture, type Json, json, NODE_A, NODE_B, STUBS } from "./fixture_base.ts";
import { type Routes } from "./harness.ts";
import { recordedJson, recordedRaw } from "./recording.ts";

export function nodes(): Record<string, Fixture> {
  const list = { routes: { "GET /v1/nodes": { json: recordedRaw("144") } } };
  const stubs = recordedJson<Json[]>("144");
  const node = recordedJson<Json>("151");
  const one: Routes = {
    "GET /v1/nodes": json([stubs[1]]),
    [`GET /v1/node/${NODE_A}`]: json(node),
    [`GET /v1/node/${NODE_A}/allocations`]: json(NODE_ALLOCS()),
    "GET /v1/client/stats": json(HOST_STATS),
    ...Object.fromEntries(
      NODE_ALLOCS().map((alloc) => [
        `GET /v1/client/allocation/${alloc["ID"]}/stats`,
        json({
          ResourceUsage: {
            CpuStats: { TotalTicks: alloc["ID"] === ALLOC ? 4.5 : 0 },
            MemoryStats: { RSS: 13 * 1024 * 1024, Usage: 0 },
          },
        }),
      ]),
    ),
  };
  const nowMs = at("2026-11-22T04:19:40.000Z");
  const change = (route: string) => ({
    routes: {
      "GET /v1/nodes": json([stubs[0]]),
      [`PUT /v1/node/${NODE_B}/${route}`]: json({ NodeModifyIndex: 1 }),
    },
  });
  return {
    "140": list,
    "141": list,
    "142": {
      routes: {
        ...list.routes,
        [`GET /v1/node/${NODE_B}/allocations`]: json(Array(2).fill({ ClientStatus: "running" })),
        [`GET /v1/node/${NODE_A}/allocations`]: json(NODE_ALLOCS()),
      },
    },
    "143": {
      routes: {
        "GET /v1/nodes": json(stubs.map((stub) => ({ ...stub, Attributes: { "os.name": "debian" } }))),
      },
    },
    "145": { routes: { "GET /v1/nodes": json([stubs[0]]) } },
    "146": { routes: { "GET /v1/nodes": { json: [stubs[0]], nextToken: NODE_A } } },
    "147": { routes: one, nowMs },
    "148": { routes: one, nowMs },
    "149": { routes: one, nowMs },
    "150": { routes: one, nowMs: nowMs + 1000 },
    "153": { ...list, noHints: true },
    "154": { routes: { "GET /v1/nodes": json([]) } },
    "155": {
      routes: {
        "GET /v1/nodes": {
          status: 500,
          text: "node lookup failed: index error: Invalid UUID: encoding/hex: invalid byte: U+007A 'z'",
        },
      },
    },
    "156": change("eligibility"),
    "157": change("eligibility"),
    "161": change("drain"),
    "163": change("drain"),
    "162": {
      routes: {
        "GET /v1/nodes": json([stubs[0]]),
        [`GET /v1/node/${NODE_B}`]: json({ DrainStrategy: null }),
      },
    },
    "533": { routes: {} },
    "165": {
      routes: {
        "GET /v1/nodes": json([stubs[1]]),
        "GET /v1/client/metadata": json({
          Meta: node["Meta"],
          Dynamic: { dyn: "1", "unset.me": null },
          Static: { ...withoutKey(node["Meta"] as Json, "dyn"), "unset.me": "x" },
        }),
      },
    },
    "166": { routes: { "GET /v1/nodes": json([stubs[1]]), "POST /v1/client/metadata": json({}) } },
    "168": { routes: { "GET /v1/agent/servers": json(["127.0.0.1:14647"]) } },
    "169": {
      routes: {
        "GET /v1/node/pools": json([
          { Name: "gpu", Description: "gpu nodes" },
          { Name: "all", Description: "Node pool with all nodes in the cluster." },
          { Name: "default", Description: "Default node pool." },
        ]),
      },
    },
    "170": { routes: { "PUT /v1/node/pools": json(null) } },
    "171": {
      routes: {
        "GET /v1/node/pools": json([
          {
            Name: "clipool",
            Description: "from a file",
            Meta: { a: "b" },
            NodeIdentityTTL: 86400e9,
            SchedulerConfiguration: null,
          },
        ]),
      },
    },
    "172": {
      routes: {
        "GET /v1/node/pools": json([{ Name: "default", Description: "" }]),
        "GET /v1/node/pool/default/nodes": json(stubs),
      },
    },
    "173": {
      routes: {
        "GET /v1/node/pools": json([{ Name: "default", Description: "" }]),
        "GET /v1/node/pool/default/jobs": json(STUBS),
      },
    },
    "174": { routes: { "DELETE /v1/node/pool/clipool": json(null) } },
    "175": { routes: { "GET /v1/node/pools": json([]) } },
  };
}

function withoutKey(record: Json, key: string): Json {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== key));
}

/** The allocations of the node, in the order of their ids. */
function NODE_ALLOCS(): Json[] {
  const alloc = (
    ID: string,
    TaskGroup: string,
    version: number,
    cpu: number,
    memory: number,
    more: Json,
  ): Json => ({
    ID,
    NodeID: NODE_A,
    TaskGroup,
    Job: { Version: version },
    Namespace: "default",
    DesiredStatus: "run",
    ClientStatus: "running",
    AllocatedResources: {
      Shared: { DiskMB: 300 },
      Tasks: { t: { Cpu: { CpuShares: cpu }, Memory: { MemoryMB: memory, MemoryMaxMB: 0 } } },
    },
    ...more,
  });
  const times = (created: string, modified: string) => ({
    CreateTime: at(created) * 1e6,
    ModifyTime: at(modified) * 1e6,
  });
  const day = "2026-11-22T04:";
  return [
    alloc("056fe8df-1a63-9c30-f66a-9b665e5f7c2d", "g", 0, 100, 300, {
      EvalID: "51392842-7b05-c9a1-e742-24b6f3a07635",
      CreateIndex: 591,
      ...times(`${day}18:25.360Z`, `${day}18:36.000Z`),
    }),
    alloc("3e9832fe-2a21-8057-2c59-f4d2ab1a2709", "g", 0, 0, 0, {
      EvalID: "12c87562-42fa-d612-01c0-725db5e5f02f",
      ClientStatus: "complete",
      CreateIndex: 577,
      ...times(`${day}18:04.924Z`, `${day}18:05.496Z`),
    }),
    alloc(ALLOC, "app", 3, 50, 32, {
      EvalID: "0cba1856-7b30-e2eb-70e5-9450d960706c",
      CreateIndex: 530,
      ...times(`${day}17:37.622Z`, `${day}17:58.000Z`),
    }),
    alloc("a8321fb1-c63e-e1e1-2e52-6040c77ed30b", "app", 6, 50, 32, {
      EvalID: "a820de2b-0e2f-6b4e-d0c5-72f9f2f4d995",
      CreateIndex: 248,
      ...times(`${day}06:29.016Z`, `${day}06:41.600Z`),
    }),
    alloc("d0dec6e7-36a9-1785-80f4-314ea80d8e9e", "app", 0, 50, 32, {
      EvalID: "a0972427-7534-72f8-dfc8-6b0809d2c30f",
      CreateIndex: 394,
      ...times(`${day}09:17.000Z`, `${day}09:28.000Z`),
    }),
    alloc("d2eb8a44-06b0-4779-1653-29bd64260034", "app", 2, 50, 32, {
      EvalID: "cb530b3e-7582-31af-9c2f-6e391e268ce1",
      DesiredStatus: "stop",
      ClientStatus: "complete",
      CreateIndex: 552,
      ...times(`${day}17:46.422Z`, `${day}17:56.051Z`),
    }),
    alloc("e075654c-eaf1-2d1a-2182-630c3c68c96d", "app", 6, 50, 32, {
      EvalID: "f0e35960-f364-ef75-7cd3-02754327eede",
      CreateIndex: 310,
      ...times(`${day}09:14.600Z`, `${day}09:26.000Z`),
    }),
  ];
}

const GIBIBYTE = 1024 ** 3;

const disk = (Mountpoint: string): Json => ({
  Device: "/dev/vda",
  Mountpoint,
  Size: 252 * GIBIBYTE,
  Used: 24 * GIBIBYTE,
  Available: 67 * GIBIBYTE,
  UsedPercent: 26.02,
  InodesUsedPercent: 3.92,
});

const HOST_STATS: Json = {
  Uptime: 2419,
  CPUTicksConsumed: 4580.4,
  CPU: [
    { CPU: "cpu0", User: 3.42, System: 16.24, Idle: 0 },
    { CPU: "cpu1", User: 3.39, System: 20.34, Idle: 0.85 },
  ],
  Memory: { Total: 24 * GIBIBYTE, Available: 22 * GIBIBYTE, Used: 1.2 * GIBIBYTE, Free: 17 * GIBIBYTE },
  AllocDirStats: disk(""),
  DiskStats: [disk("/"), disk("/run/netns"), disk("/var/lib/containers/storage/overlay")],
};
