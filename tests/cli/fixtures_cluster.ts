// The data behind the recordings of servers, the operator's commands, namespaces, services and scaling.
import { type Fixture, type Json, json } from "./fixture_base.ts";
import { type Answer, type Routes } from "./harness.ts";
import { recordedBody, recordedJson, recordedRaw } from "./recording.ts";

export function servers(): Record<string, Fixture> {
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
    "343": {
      routes: {
        "GET /v1/agent/keyring/list": json({
          Keys: { "cg8StVXbQJ0gPvMd9o7yrg==": 1 },
          Messages: {},
          NumNodes: 1,
        }),
      },
    },
    "344": {
      routes: {},
      // Every key is another one; it has as many characters.
      normalise: (text) => text.replace(/^[A-Za-z0-9+/]{43}=$/m, "a key"),
    },
    "523": {
      routes: { "GET /v1/agent/keyring/list": { status: 500, text: "1/1 nodes reported failure" } },
    },
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

export function cluster(): Record<string, Fixture> {
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
