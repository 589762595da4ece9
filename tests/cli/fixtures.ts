// The data behind the recordings, by recording number: answers of the agent and the time of the recording.
import { formatJson, parseExact } from "../../cli/json_text.ts";
import type { Answer, Routes, RunOptions } from "./harness.ts";
import { recordedBody, recordedJson, recordedRaw } from "./recording.ts";

interface Fixture extends RunOptions {
  routes: Routes;
  noHints?: boolean;
  saysMore?: boolean;
  normalise?: (text: string) => string;
}

type Json = Record<string, unknown>;

const CWEB = "/v1/job/cweb";
const ALLOC = "e4b5fb55-0bdc-b4c2-0fd2-bbbdfbc8cabf";
const NODE_A = "4f42ada6-4da2-2799-2153-a53c68857f70";
const NODE_B = "224d62fe-c41d-f25c-736f-01c70cc64f5d";

const at = (text: string) => Date.parse(text);
const json = (value: unknown): Answer => ({ json: value });

/** The instants of the recordings, found by their ages. */
const STATUS_MS = at("2026-11-22T04:18:38.020Z");

interface JobStatusJson {
  Allocations: Json[];
  Evaluations: Json[];
  LatestDeployment: Json | null;
  Summary: Json;
}

function jobStub(id: string, type: string, status: string, submitted: string): Json {
  const [kind, variant] = type.split("/");
  return {
    ID: id,
    Name: id,
    Namespace: "default",
    Type: kind,
    Periodic: variant === "periodic",
    ParameterizedJob: variant === "parameterized",
    Priority: 50,
    Status: status,
    Stop: false,
    SubmitTime: at(submitted) * 1e6,
    ParentID: "",
  };
}

const STUBS = [
  jobStub("cbatch", "batch", "dead", "2026-11-22T04:18:04Z"),
  jobStub("ccron", "batch/periodic", "running", "2026-11-22T04:18:25Z"),
  jobStub("cparam", "batch/parameterized", "running", "2026-11-22T04:18:25Z"),
  jobStub("csys", "system", "running", "2026-11-22T04:18:25Z"),
  jobStub("ctoobig", "service", "running", "2026-11-22T04:18:05Z"),
  jobStub("cweb", "service", "running", "2026-11-22T04:17:55Z"),
  jobStub("rej", "service", "running", "2026-11-22T04:09:17Z"),
  jobStub("web", "service", "running", "2026-11-22T04:06:07Z"),
];

function jobRoutes(id: string, data: JobStatusJson, job: Json, actions: Json[] | null): Routes {
  return {
    "GET /v1/jobs": json([STUBS.find((stub) => stub["ID"] === id)]),
    [`GET /v1/job/${id}`]: json(job),
    [`GET /v1/job/${id}/summary`]: json(data.Summary),
    [`GET /v1/job/${id}/allocations`]: json(data.Allocations),
    [`GET /v1/job/${id}/evaluations`]: json(data.Evaluations),
    [`GET /v1/job/${id}/deployment`]: json(data.LatestDeployment),
    [`GET /v1/job/${id}/actions`]: json(actions),
  };
}

function cweb(): Routes {
  const [data] = recordedJson<JobStatusJson[]>("078");
  const versions = recordedJson<Json[]>("123");
  const actions = [{ Name: "hi", TaskGroupName: "app", TaskName: "server" }];
  return {
    ...jobRoutes("cweb", data!, versions[0]!, actions),
    [`GET ${CWEB}/versions`]: { json: recordedRaw("123").replace("RAW:", 'RAW:{"Versions":') + "}" },
    [`GET ${CWEB}/deployments`]: json(
      recordedJson<Json[]>("109").filter((deployment) => deployment["JobID"] === "cweb"),
    ),
    [`GET ${CWEB}/scale`]: json({ TaskGroups: { app: { Events: null } } }),
  };
}

/** One of the jobs of `job status -json`, with what its status needs beside that. */
function other(id: string, extra: Json): Routes {
  const all = recordedJson<JobStatusJson[]>("072");
  const data = all.find((each) => each.Summary["JobID"] === id)!;
  const stub = STUBS.find((each) => each["ID"] === id)!;
  return jobRoutes(
    id,
    data,
    { ...stub, NodePool: "default", Datacenters: ["*"], Version: 0, ...extra },
    null,
  );
}

function jobs(): Record<string, Fixture> {
  const list = { routes: { "GET /v1/jobs": json(STUBS) } };
  const status = { routes: cweb(), nowMs: STATUS_MS };
  const blocked = { routes: other("ctoobig", {}), nowMs: STATUS_MS, normalise: sortClasses };
  const periodic = {
    Periodic: { Enabled: true, Specs: ["0 0 1 1 *"], Spec: "", SpecType: "cron", TimeZone: "UTC" },
    ParameterizedJob: null,
  };
  const parameterized = {
    Periodic: null,
    ParameterizedJob: { Payload: "optional", MetaRequired: ["who"], MetaOptional: ["opt"] },
  };
  return {
    "070": list,
    "071": list,
    "081": { routes: { "GET /v1/jobs": json(STUBS.filter((stub) => String(stub["ID"]).startsWith("c"))) } },
    "083": list,
    "306": { routes: { "GET /v1/jobs": json([]) }, normalise: (text) => text.replaceAll(":14656", ":14646") },
    "463": { routes: { "GET /v1/jobs": json([]) } },
    "464": { routes: { "GET /v1/jobs": { status: 500, text: "No path to region" } } },
    "305": { routes: { "GET /v1/jobs": { status: 403, text: "Permission denied" } } },
    "082": { routes: { "GET /v1/jobs": json([]) } },
    "256": { routes: { "GET /v1/jobs": json([]) } },
    "073": status,
    "074": status,
    "075": status,
    "076": status,
    "077": status,
    "078": { routes: { ...cweb(), ...rawJobStatus() }, normalise: sortKeys },
    "088": {
      routes: { ...cweb(), "PUT /v1/search": json({ Matches: { jobs: ["cweb"] } }) },
      nowMs: STATUS_MS + 2000,
    },
    "090": { routes: { "PUT /v1/search": json({ Matches: { jobs: null } }) } },
    "514": {
      routes: { "PUT /v1/search": json({ Matches: { node_pools: ["default"], namespaces: ["default"] } }) },
      normalise: sortKinds,
    },
    "079": { routes: { "GET /v1/jobs": json([STUBS[5]]), ...rawJobStatus() } },
    "084": blocked,
    "080": blocked,
    "085": {
      routes: { ...other("cparam", parameterized), "GET /v1/jobs": json([STUBS[2]]) },
      nowMs: STATUS_MS,
    },
    "086": {
      routes: { ...other("ccron", periodic), "GET /v1/jobs": json([STUBS[1]]) },
      nowMs: at("2026-11-22T04:18:39Z"),
    },
    "087": { routes: other("csys", {}), nowMs: at("2026-11-22T04:18:40.400Z") },
    "115": { routes: cweb(), nowMs: at("2026-11-22T04:18:43.000Z") },
    "116": { routes: cweb() },
    "118": { routes: cweb() },
    "119": { routes: cweb() },
    "120": { routes: cweb() },
    "123": { routes: cweb(), normalise: sortKeys },
    "124": { routes: cweb(), normalise: sortKeys },
    "128": { routes: { "GET /v1/jobs": json([]) } },
    "129": { routes: cweb() },
    "125": { routes: { "GET /v1/jobs": json([STUBS[0]]), "GET /v1/job/cbatch": { json: innerJob("125") } } },
    "127": { routes: { ...cweb(), "GET /v1/jobs": json([STUBS[5]]) } },
    "126": {
      routes: {
        ...cweb(),
        [`GET ${CWEB}/submission`]: json({ Source: sourceOf("126"), VariableFlags: null, Variables: "" }),
      },
    },
    "130": { routes: { ...cweb(), [`PUT ${CWEB}/versions/golden/tag`]: json({}) } },
    "131": { routes: { ...cweb(), [`DELETE ${CWEB}/versions/golden/tag`]: json({}) } },
    "132": {
      routes: {
        ...cweb(),
        [`DELETE ${CWEB}/versions/golden/tag`]: { status: 500, text: 'tag "golden" not found on job "cweb"' },
      },
    },
  };
}

function innerJob(number: string): string {
  const raw = recordedRaw(number);
  return `RAW:${raw.slice(raw.indexOf('"Job":') + 6, raw.lastIndexOf("}"))}`;
}

function sourceOf(number: string): string {
  return recordedText(number).replace(/\n$/, "");
}

function recordedText(number: string): string {
  return recordedRaw(number).slice("RAW:".length);
}

/** The parts of `job status -json`, digit for digit. */
function rawJobStatus(): Routes {
  const raw = recordedRaw("078");
  const part = (name: string, next: string) => {
    const from = raw.indexOf(`\n        "${name}": `) + `\n        "${name}": `.length;
    const to = next === "" ? raw.lastIndexOf("\n    }") : raw.indexOf(`,\n        "${next}": `);
    return { json: `RAW:${raw.slice(from, to)}` };
  };
  return {
    [`GET ${CWEB}/allocations`]: part("Allocations", "Evaluations"),
    [`GET ${CWEB}/evaluations`]: part("Evaluations", "LatestDeployment"),
    [`GET ${CWEB}/deployment`]: part("LatestDeployment", "Summary"),
    [`GET ${CWEB}/summary`]: part("Summary", ""),
  };
}

/** The reference prints the keys of maps in no order: both sides get one. */
function sortKeys(text: string): string {
  const start = text.search(/^[[{]/m);
  return start < 0 ? text : text.slice(0, start) + formatJson(parseExact(text.slice(start)));
}

/** The reference prints classes in the order of a map. */
function sortClasses(text: string): string {
  return text.replace(
    /(?: *\* Class .*\n)+/g,
    (lines) => lines.split("\n").filter(Boolean).sort().join("\n") + "\n",
  );
}

function sortKinds(text: string): string {
  const [head, ...kinds] = text.trimEnd().split("\n\n");
  return [head, ...kinds.sort()].join("\n\n");
}

const TEAM_WARNING =
  '1 warning:\n\n* group "app" defines services, but neither the group nor any of its tasks have shutdown_delay set';

function plans(): Record<string, Fixture> {
  const created = { ...recordedJson<Json>("032"), Warnings: TEAM_WARNING };
  const path = "PUT /v1/job/cweb/plan";
  const validation = (answer: Json) => ({ routes: { "PUT /v1/validate/job": json(answer) } });
  const invalid =
    "2 errors occurred:\n\t* Task group g validation failed: 1 error occurred:\n\t* Task group count can't be negative\n\n\n\t* job priority must be between [1, 100]\n\n";
  const valid = validation({
    DriverConfigValidated: true,
    ValidationErrors: null,
    Error: "",
    Warnings: TEAM_WARNING,
  });
  const canary = { routes: { [path]: json(CANARY_PLAN) } };
  return {
    "024": valid,
    "025": valid,
    "026": validation({ DriverConfigValidated: true, ValidationErrors: ["x"], Error: invalid, Warnings: "" }),
    "030": { routes: { [path]: json(created) } },
    "031": { routes: { [path]: json(created) } },
    "032": { routes: { [path]: { json: recordedRaw("032") } } },
    "034": { routes: { "PUT /v1/job/ctoobig/plan": json(INFEASIBLE_PLAN) } },
    "036": { routes: { "PUT /v1/jobs": { status: 500, text: invalid.trimEnd() } } },
    "039": { routes: { [path]: json(plan({ InPlaceUpdate: 2 }, { "in-place update": 2 }, [])) } },
    "041": {
      routes: {
        [path]: json(
          plan({ InPlaceUpdate: 2, Place: 1 }, { create: 1, "in-place update": 2 }, [
            edited("Count", "2", "3", ["forces create"]),
          ]),
        ),
      },
    },
    "042": canary,
    "045": { routes: { [path]: json({ ...plan({ Place: 1 }, {}, []), Diff: null }) } },
    "047": { ...canary, tty: true },
    "050": {
      routes: {
        "PUT /v1/jobs": {
          status: 500,
          text: "Enforcing job modify index 1: job exists with conflicting job modify index: 551",
        },
      },
    },
  };
}

function edited(Name: string, Old: string, New: string, Annotations: string[] | null = null): Json {
  return { Type: "Edited", Name, Old, New, Annotations };
}
const same = (Name: string, value: string): Json => ({
  Type: "None",
  Name,
  Old: value,
  New: value,
  Annotations: null,
});
const SCALING: Json = { Type: "Edited", Name: "Scaling", Fields: null, Objects: null };

function plan(
  desired: Json,
  updates: Json,
  fields: Json[],
  objects: Json[] = [SCALING],
  task: Json = {},
): Json {
  const none = {
    Stop: 0,
    Place: 0,
    Migrate: 0,
    DestructiveUpdate: 0,
    Canary: 0,
    InPlaceUpdate: 0,
    Ignore: 0,
  };
  return {
    JobModifyIndex: 529,
    Warnings: TEAM_WARNING,
    FailedTGAllocs: null,
    Annotations: { DesiredTGUpdates: { app: { ...none, ...desired } } },
    Diff: {
      Type: "Edited",
      ID: "cweb",
      Fields: null,
      Objects: null,
      TaskGroups: [{
        Type: "Edited",
        Name: "app",
        Fields: fields,
        Objects: objects,
        Updates: updates,
        Tasks: [{ Type: "None", Name: "server", Fields: null, Objects: null, Annotations: null, ...task }],
      }],
    },
  };
}

const CANARY_PLAN = plan({ Canary: 1, Ignore: 2 }, { canary: 1, ignore: 2 }, [], [
  {
    Type: "Edited",
    Name: "Update",
    Objects: null,
    Fields: [
      same("AutoPromote", "false"),
      same("AutoRevert", "false"),
      edited("Canary", "0", "1"),
      same("HealthCheck", "checks"),
      same("HealthyDeadline", "20000000000"),
      same("MaxParallel", "1"),
      same("MinHealthyTime", "1000000000"),
      same("ProgressDeadline", "40000000000"),
    ],
  },
  SCALING,
  {
    Type: "Edited",
    Name: "Service",
    Fields: [
      same("Address", ""),
      same("AddressMode", "auto"),
      same("Cluster", "default"),
      same("EnableTagOverride", "false"),
      same("Kind", ""),
      same("Name", "cweb-http"),
      same("Namespace", "default"),
      same("OnUpdate", "require_healthy"),
      same("PortLabel", "http"),
      same("Provider", "nomad"),
      same("TaskName", ""),
    ],
    Objects: [{
      Type: "Edited",
      Name: "Tags",
      Objects: null,
      Fields: [
        { Type: "Added", Name: "Tags", Old: "", New: "green", Annotations: null },
        { Type: "Deleted", Name: "Tags", Old: "blue", New: "", Annotations: null },
      ],
    }],
  },
], {
  Type: "Edited",
  Annotations: ["forces create/destroy update"],
  Fields: [{ Type: "Added", Name: "Env[NEW]", Old: "", New: "1", Annotations: null }],
});

const MEMORY_FAILURE: Json = {
  NodesEvaluated: 2,
  NodesExhausted: 2,
  ClassExhausted: { "class-a": 1, "class-b": 1 },
  DimensionExhausted: { memory: 2 },
  CoalescedFailures: 0,
};

const INFEASIBLE_PLAN: Json = {
  JobModifyIndex: 0,
  Warnings: "",
  FailedTGAllocs: { g: MEMORY_FAILURE },
  Annotations: {
    DesiredTGUpdates: { g: { Place: 1, Stop: 0, Migrate: 0, DestructiveUpdate: 0, Canary: 0 } },
  },
  Diff: {
    Type: "Added",
    ID: "ctoobig",
    Fields: null,
    Objects: null,
    TaskGroups: [{
      Type: "Added",
      Name: "g",
      Fields: null,
      Objects: null,
      Updates: { create: 1 },
      Tasks: [{ Type: "Added", Name: "t", Fields: null, Objects: null, Annotations: ["forces create"] }],
    }],
  },
};

function allocations(): Record<string, Fixture> {
  const alloc = recordedJson<Json>("095");
  const routes: Routes = {
    "GET /v1/allocations": json([alloc]),
    [`GET /v1/allocation/${ALLOC}`]: { json: recordedRaw("095") },
    [`GET /v1/client/allocation/${ALLOC}/stats`]: json(ALLOC_STATS),
    [`GET /v1/client/allocation/${ALLOC}/checks`]: json({ c: CHECK }),
  };
  const nowMs = at("2026-11-22T04:18:40.000Z");
  const fs = (operation: string, answer: Answer): Fixture => ({
    routes: {
      ...routes,
      [`GET /v1/client/fs/${operation}/${ALLOC}`]: answer,
      [`GET /v1/client/fs/stat/${ALLOC}`]: json({ IsDir: true }),
    },
  });
  const none = { routes: { "GET /v1/allocations": json([]) } };
  return {
    "089": { routes: { ...routes, "PUT /v1/search": json({ Matches: { allocs: [ALLOC] } }) }, nowMs },
    "091": { routes, nowMs },
    "092": { routes, nowMs },
    "093": { routes, nowMs },
    "094": { routes, nowMs: nowMs + 1000 },
    "095": { routes, normalise: sortKeys },
    "096": { routes },
    "097": none,
    "099": {
      routes: {
        "GET /v1/allocations": {
          status: 500,
          text: "alloc lookup failed: index error: Invalid UUID: encoding/hex: invalid byte: U+007A 'z'",
        },
      },
    },
    "180": fs("logs", { status: 200, text: "hello\n" }),
    "182": fs("logs", { status: 200, text: "before\nhello\n" }),
    "185": fs("logs", { status: 400, text: 'unknown task name "zzz"' }),
    "186": none,
    "187": fs("ls", json([file("alloc", 4096, "37", true), file("server", 4096, "37", true)])),
    "188": fs(
      "ls",
      json([
        { ...file("executor.out", 279, "38"), FileMode: "-rw-r--r--" },
        file("local", 4096, "37", true),
        file("private", 60, "37", true),
        file("secrets", 80, "37", true),
        { ...file("tmp", 4096, "37", true), FileMode: "dtrwxrwxrwx" },
      ]),
    ),
    "189": {
      routes: {
        ...routes,
        [`GET /v1/client/fs/stat/${ALLOC}`]: json({
          ...file("server.stdout.0", 6, "38"),
          FileMode: "-rw-r--r--",
          ContentType: "text/plain; charset=utf-8",
        }),
      },
    },
    "190": {
      routes: {
        ...routes,
        [`GET /v1/client/fs/stat/${ALLOC}`]: json(file("server.stdout.0", 6, "38")),
        [`GET /v1/client/fs/cat/${ALLOC}`]: { status: 200, text: "hello\n" },
      },
    },
    "196": { routes },
    "199": { routes },
    "200": { routes: { ...routes, [`PUT /v1/client/allocation/${ALLOC}/signal`]: json({}) } },
    "202": { routes: { ...routes, [`PUT /v1/client/allocation/${ALLOC}/restart`]: json({}) } },
    "203": { routes },
    "204": {
      routes: {
        ...routes,
        [`PUT /v1/client/allocation/${ALLOC}/pause`]: { status: 500, text: "Enterprise only" },
      },
    },
  };
}

function file(Name: string, Size: number, second: string, IsDir = false): Json {
  return { Name, Size, IsDir, FileMode: "drwxrwxrwx", ModTime: `2026-11-22T04:17:${second}.5Z` };
}

const ALLOC_STATS: Json = {
  Tasks: {
    server: {
      ResourceUsage: {
        CpuStats: {
          Measured: ["System Mode", "User Mode", "Percent"],
          Percent: 0.2,
          SystemMode: 0,
          UserMode: 0.2,
          TotalTicks: 4.6,
        },
        MemoryStats: { Measured: ["RSS", "Swap"], RSS: 18 * 1024 * 1024, Swap: 0, Usage: 0 },
      },
    },
  },
};

const CHECK: Json = {
  ID: "84750cfd62eb0205a2ad08139f5b1c329748cf3d53aaff625d5c72ca1ac54a24",
  Check: "alive",
  Group: "cweb.app[0]",
  Service: "cweb-http",
  Status: "success",
  StatusCode: 200,
  Mode: "healthiness",
  Timestamp: at("2026-11-22T04:19:57Z") / 1000,
  Output: "nomad: http ok",
};

function nodes(): Record<string, Fixture> {
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

function evaluations(): Record<string, Fixture> {
  const evaluation = recordedJson<Json>("102");
  const id = evaluation["ID"] as string;
  const [status] = recordedJson<JobStatusJson[]>("078");
  const placed = status!.Allocations.filter((alloc) => alloc["EvalID"] === id);
  const routes: Routes = {
    "GET /v1/evaluations": json([evaluation]),
    [`GET /v1/evaluation/${id}`]: { json: recordedRaw("102") },
    [`GET /v1/evaluation/${id}/allocations`]: json(placed),
  };
  const list = [
    evalStub("84f5f180", "job-register", "dnull", 9),
    evalStub("607368ec", "alloc-reschedule", "crash", 8),
    evalStub("a0972427", "job-register", "rej", 7),
    evalStub("f0e35960", "node-drain", "web", 6),
    evalStub("a820de2b", "alloc-stop", "web", 5),
  ];
  const blocked = "2e5b66fe-8963-3053-528d-be305cbc31ed";
  const first = "f0ff770d-7f2f-fe15-65d3-1a7280d0e589";
  return {
    "100": { routes, nowMs: at("2026-11-22T04:18:41.000Z") },
    "101": { routes, nowMs: at("2026-11-22T04:18:41.000Z") },
    "102": { routes },
    "103": {
      routes: {
        "GET /v1/evaluations": { json: list, nextToken: "514.18abd2a7-264f-ef17-74bb-c9e630fc316c" },
      },
    },
    "104": {
      routes: {
        "GET /v1/evaluations": json([
          { ...evalStub("", "job-register", "ctoobig", 1), ID: first, FailedTGAllocs: { g: {} } },
          { ...evalStub("", "queued-allocs", "ctoobig", 2), ID: blocked, Status: "blocked" },
        ]),
      },
    },
    "105": { routes: { "GET /v1/evaluations": { json: recordedRaw("105") } } },
    "106": {
      nowMs: at("2026-11-22T04:18:42.800Z"),
      routes: {
        "GET /v1/evaluations": json([{ ...evalStub("", "queued-allocs", "ctoobig", 2), ID: blocked }]),
        [`GET /v1/evaluation/${blocked}`]: json({
          ...evalStub("", "queued-allocs", "ctoobig", 2),
          ID: blocked,
          Type: "service",
          Status: "blocked",
          StatusDescription: "created to place remaining allocations",
          PreviousEval: first,
          CreateTime: at("2026-11-22T04:18:05.500Z") * 1e6,
          ModifyTime: at("2026-11-22T04:18:05.500Z") * 1e6,
          FailedTGAllocs: { g: MEMORY_FAILURE },
          RelatedEvals: [{ ...evalStub("", "job-register", "ctoobig", 1), ID: first }],
        }),
        [`GET /v1/evaluation/${blocked}/allocations`]: json([]),
      },
    },
    "107": { routes: { "GET /v1/evaluations": json([]) } },
    "524": {
      routes: {
        "GET /v1/operator/scheduler/configuration": json({ SchedulerConfig: { PauseEvalBroker: false } }),
      },
    },
    "525": {
      routes: {
        "GET /v1/operator/scheduler/configuration": json({ SchedulerConfig: { PauseEvalBroker: false } }),
      },
    },
  };
}

function evalStub(ID: string, TriggeredBy: string, JobID: string, CreateIndex: number): Json {
  return { ID, Priority: 50, TriggeredBy, JobID, Namespace: "default", Status: "complete", CreateIndex };
}

function deployments(): Record<string, Fixture> {
  const all = recordedJson<Json[]>("109");
  const one = recordedJson<Json>("112");
  const id = one["ID"] as string;
  const routes: Routes = {
    "GET /v1/deployments": json([one]),
    [`GET /v1/deployment/${id}`]: { json: recordedRaw("112") },
  };
  const canary = "a46fae94-f94a-6fb3-76d4-a8a65f2bf781";
  const act = (route: string, answer: Answer): Fixture => ({
    routes: {
      "GET /v1/deployments": json([{ ...one, ID: canary }]),
      [`PUT /v1/deployment/${route}/${canary}`]: answer,
    },
  });
  return {
    "108": { routes: { "GET /v1/deployments": json(all) } },
    "109": { routes: { "GET /v1/deployments": { json: recordedRaw("109") } } },
    "110": { routes },
    "111": { routes },
    "112": { routes },
    "113": { routes },
    "114": { routes: { "GET /v1/deployments": json([]) } },
    "224": {
      routes: {
        "GET /v1/deployments": json([{
          ...one,
          ID: canary,
          JobVersion: 5,
          Status: "running",
          StatusDescription: "Deployment is running but requires manual promotion",
          TaskGroups: {
            app: {
              DesiredCanaries: 1,
              DesiredTotal: 2,
              PlacedAllocs: 1,
              HealthyAllocs: 1,
              UnhealthyAllocs: 0,
              Promoted: false,
              AutoRevert: false,
              ProgressDeadline: 40e9,
              RequireProgressBy: "2026-11-22T04:20:55.1Z",
            },
          },
        }]),
      },
    },
    "225": act("pause", json({ EvalID: "" })),
    "226": act("pause", json({ EvalID: "e0b9d850-3a39-b5f7-7684-90c789010d59" })),
    "234": act("fail", { status: 500, text: "can't fail terminal deployment" }),
    "238": act("unblock", { status: 500, text: "can't unblock terminal deployment" }),
  };
}

function servers(): Record<string, Fixture> {
  const members = recordedJson<Json[]>("413");
  const routes: Routes = {
    "GET /v1/agent/members": { json: `RAW:{"Members":${recordedRaw("413").slice(4)}}` },
    "GET /v1/status/leader": json("127.0.0.1:14647"),
  };
  const tags = (text: string) =>
    text.replace(
      /\S+=\S+,\S+$/gm,
      (line) => line.split(",").filter((tag) => tag !== "Leader=true").sort().join(","),
    );
  return {
    "410": { routes },
    "411": { routes, normalise: tags },
    "412": { routes, normalise: tags },
    "413": {
      routes,
      noHints: true,
      normalise: (text) => JSON.stringify(JSON.parse(text || "null"), Object.keys(members[0]!).sort()),
    },
    "414": {
      routes: {
        "PUT /v1/agent/join": json({
          num_joined: 0,
          error:
            "1 error occurred:\n\t* failed to join 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused\n\n",
        }),
      },
    },
    "415": { routes: { "PUT /v1/agent/force-leave": json(null) } },
    "416": {
      // The two recordings were made one after the other: what counts by itself has gone on.
      routes: { "GET /v1/agent/self": { json: recordedRaw("417") } },
      normalise: (text) =>
        text.replace(
          /^( {2}(heartbeat_ttl|last_heartbeat|goroutines|\S*_index|num_allocations)) = .*$/gm,
          "$1 = n",
        ),
    },
    "418": {
      routes: { "GET /v1/operator/raft/configuration": json(recordedBody("600")) },
    },
    "419": {
      routes: {
        "DELETE /v1/operator/raft/peer": {
          status: 500,
          text: 'id "zzz" was not found in the Raft configuration',
        },
      },
    },
    "424": { routes: { "GET /v1/operator/autopilot/health": { json: recordedRaw("425") } } },
    "425": { routes: { "GET /v1/operator/autopilot/health": { json: recordedRaw("425") } } },
    "426": { routes: { "GET /v1/operator/scheduler/configuration": { json: recordedRaw("427") } } },
    "428": { routes: scheduler(json({ Updated: true })) },
    "430": { routes: scheduler({ status: 400, text: "invalid scheduler algorithm: zzz" }) },
    "431": { routes: { "GET /v1/regions": json(["global"]) } },
    "433": { routes: {} },
    "435": { routes: { "GET /v1/job/zzz": { status: 404, text: "job not found" } } },
    "436": {
      routes: { "POST /v1/search": { json: recordedRaw("436") } },
      stdin: '{"Prefix":"we","Context":"jobs"}',
    },
    "452": { routes: { "PUT /v1/system/gc": json(null) } },
    "453": { routes: { "PUT /v1/system/reconcile/summaries": json(null) } },
    "454": { routes: {}, normalise: (text) => text.replace(/\/$/m, "") },
    "455": { routes: { "PUT /v1/search": json({ Matches: { jobs: ["web"] } }) } },
    "456": { routes: { "PUT /v1/search": json({ Matches: {} }) } },
  };
}

function scheduler(answer: Answer): Routes {
  return {
    "GET /v1/operator/scheduler/configuration": { json: recordedRaw("427") },
    "PUT /v1/operator/scheduler/configuration": answer,
  };
}

function cluster(): Record<string, Fixture> {
  const services = recordedJson<Json[]>("395");
  const namespaces = recordedRaw("363");
  const policy = recordedBody<Json>("597");
  return {
    "360": {
      routes: { "GET /v1/namespaces": json([{ Name: "default", Description: "Default shared namespace" }]) },
    },
    "361": {
      routes: {
        "GET /v1/namespace/clins": { status: 404, text: "not found" },
        "PUT /v1/namespace": json(null),
      },
    },
    "362": { routes: { "PUT /v1/namespace": json(null) } },
    "363": { routes: { "GET /v1/namespaces": { json: namespaces } } },
    "364": { routes: { "GET /v1/namespaces": { json: namespaces } } },
    "365": {
      routes: {
        "GET /v1/namespaces": { json: namespaces },
        "GET /v1/namespace/clins2": { json: recordedRaw("365") },
      },
    },
    "366": { routes: { "GET /v1/namespaces": json([]) } },
    "367": { routes: { "DELETE /v1/namespace/clins": json(null) } },
    "369": {
      routes: { "DELETE /v1/namespace/default": { status: 500, text: "can not delete default namespace" } },
    },
    "394": { routes: { "GET /v1/services": json(services) } },
    "395": { routes: { "GET /v1/services": { json: recordedRaw("395") } } },
    "396": serviceInfo(services),
    "397": serviceInfo(services),
    "398": serviceInfo(services),
    "399": { routes: { "GET /v1/services": json(services) } },
    "400": {
      routes: { "DELETE /v1/service/web-http/zzz": { status: 500, text: "service registration not found" } },
    },
    "218": {
      routes: {
        "GET /v1/scaling/policies": json([
          scalingPolicy("e44b201b-0000-0000-0000-000000000000", "cweb"),
          scalingPolicy("2290a656-1f8b-34c8-c854-0693e5cc76b9", "web"),
        ]),
      },
    },
    "219": {
      routes: {
        "GET /v1/scaling/policies": json([scalingPolicy("e44b201b-0000-0000-0000-000000000000", "cweb")]),
        "GET /v1/scaling/policy/e44b201b-0000-0000-0000-000000000000": json({
          ...policy,
          ...scalingPolicy("e44b201b-0000-0000-0000-000000000000", "cweb"),
          Policy: null,
          Min: 1,
          Max: 5,
        }),
      },
    },
  };
}

function scalingPolicy(ID: string, job: string): Json {
  return { ID, Enabled: true, Type: "horizontal", Target: { Namespace: "default", Job: job, Group: "app" } };
}

function serviceInfo(services: Json[]): Fixture {
  return {
    routes: { "GET /v1/services": json(services), "GET /v1/service/web-http": { json: recordedRaw("398") } },
  };
}

/** Every fixture, by the number of its recording. */
export function fixtures(): Record<string, Fixture> {
  return {
    ...jobs(),
    ...plans(),
    ...allocations(),
    ...nodes(),
    ...evaluations(),
    ...deployments(),
    ...servers(),
    ...cluster(),
  };
}
