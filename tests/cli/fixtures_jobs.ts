// The data behind the recordings of jobs: status, history, inspection.
import { at, type Fixture, type JobStatusJson, type Json, json, sortKeys, STUBS } from "./fixture_base.ts";
import { type Routes } from "./harness.ts";
import { recordedJson, recordedRaw } from "./recording.ts";

const CWEB = "/v1/job/cweb";

/** The instants of the recordings, found by their ages. */
const STATUS_MS = at("2026-11-22T04:18:38.020Z");

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

export function jobs(): Record<string, Fixture> {
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
        [`GET ${CWEB}/submission`]: json({
          Source: sourceOf("126"),
          Format: "hcl2",
          VariableFlags: null,
          Variables: "",
        }),
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
