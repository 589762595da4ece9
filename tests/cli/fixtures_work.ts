// The data behind the recordings of allocations, evaluations and deployments.
import {
  ALLOC,
  at,
  evalStub,
  type Fixture,
  type JobStatusJson,
  type Json,
  json,
  MEMORY_FAILURE,
  sortKeys,
} from "./fixture_base.ts";
import { type Answer, type Routes } from "./harness.ts";
import { recordedJson, recordedRaw } from "./recording.ts";

export function allocations(): Record<string, Fixture> {
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

export function evaluations(): Record<string, Fixture> {
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

export function deployments(): Record<string, Fixture> {
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
