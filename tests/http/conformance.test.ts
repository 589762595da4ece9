// Replays the recordings of the reference, in their order, against the real routes, state, scheduler and leader's loops
// with simulated devices, and compares status, content type, X-Nomad headers, error texts exactly, and the shape of JSON.
// What does not apply is named below with the reason.
import test from "node:test";
import assert from "node:assert/strict";
import type { Node } from "../../core/types.ts";
import { Cluster } from "./cluster.ts";
import { webJob } from "./rig.ts";
import { Ids, loadRecordings, type Recording } from "./recordings.ts";
import { shapeDifferences } from "./shape.ts";

/** Ranges that are replayed, in order. */
const REPLAYED: [from: string, to: string][] = [
  ["006", "058"],
  ["100", "164"],
  ["170", "230"],
  ["231", "263"],
  ["280", "296"],
  ["310", "344"],
  ["350", "350"],
  ["360", "360"],
  ["366", "366"],
  ["368", "371"],
  ["404", "405"],
  ["426", "426"],
  ["429", "429"],
  ["450", "524"],
  ["530", "530"],
  ["575", "598"],
  ["600", "648"],
  ["660", "663"],
  ["670", "670"],
  ["673", "676"],
  ["679", "686"],
  ["705", "707"],
  ["709", "711"],
  ["716", "716"],
  ["730", "748"],
  ["752", "756"],
  ["760", "761"],
  ["766", "770"],
  ["780", "799"],
  ["970", "979"],
];

/** Recordings that cannot be asked of this cluster, and why. */
const LEFT_OUT: Record<string, string> = {
  "007": "the agent's own answer: tests/agent",
  "011": "the agent's own answer: tests/agent",
  "012": "the agent's own answer: tests/agent",
  "016": "the agent's own answer: tests/agent",
  "024": "Go's profiler does not exist here",
  "025": "Go's profiler does not exist here",
  "026": "the agent's own answer: tests/agent",
  "027": "the agent's own answer: tests/agent",
  "035": "the text of a page",
  "051": "compressed: see http.test.ts",
  "052": "compressed: see http.test.ts",
  "054": "answered by a device: tests/client",
  "056": "a stream: see http.test.ts",
  "057": "a stream: see http.test.ts",
  "107": "diagnostics have our own form here",
  "108": "diagnostics have our own form here",
  "260": "which jobs stand on the first page depends on what changed last: see http.test.ts",
  "337": "a failed allocation is replaced after five seconds: see tests/scheduler",
  "371": "after a restart on the device: tests/client",
  "646": "the agent's own answer: tests/agent",
  "797": "answered by a device: tests/client",
};
LEFT_OUT[483] =
  "a pool's own scheduler configuration, which the reference keeps for its Enterprise version: http.test.ts";
for (let n = 617; n <= 624; n++) LEFT_OUT[n] = "the keyring does not exist yet";

const recordings = loadRecordings();
const cluster = new Cluster();
const ids = new Ids(recordings, cluster.state);

/** A recorded node as the device would register it. */
function recordedNode(number: string): Node {
  const body = recordings.find((one) => one.number === number)!.response.body as Node;
  return {
    ...body,
    Events: [],
    DrainStrategy: null,
    LastDrain: null,
    Drain: false,
    SchedulingEligibility: "eligible",
    Status: "ready",
  };
}

/** Where null may stand for something: a summary that was counted anew has no Children there. */
const LENIENT = new Set(["709", "710", "711", "716", "744", "976"]);
// Here jobs are left that a purge of the node concerns.
LENIENT.add("769");
// A plan that leaves the scaling policy alone says so here; the reference calls it edited, without a field.
for (const number of [130, 131, 132, 133, 134, 135, 136, 137, 752, 753, 754]) LENIENT.add(String(number));

const MEMORY = { MemoryOversubscriptionEnabled: true };

/** What has to happen before a recording so that the cluster is where the reference was. */
const BEFORE: Record<string, () => void | Promise<void>> = {
  "211": () => void (cluster.behaviour = () => "undecided"),
  "216": async () => {
    cluster.behaviour = behaviour;
    await cluster.judge();
    await cluster.settled();
  },
  // Drains wait for batch jobs: this one keeps the node draining until it is stopped.
  "466": async () => {
    const Constraints = [{ LTarget: "${node.unique.name}", Operand: "=", RTarget: "ref-b" }];
    await cluster.put("/v1/jobs", { Job: webJob("long", { Type: "batch", Constraints }) });
    await cluster.settled();
  },
  "469": async () => {
    await cluster.request("DELETE", "/v1/job/long?purge=true");
    await cluster.until("the drain ends", () => !cluster.state.node(REF_B)!.Drain);
  },
  "498": async () => void await cluster.put("/v1/jobs", { Job: webJob("pooljob", { NodePool: "gpu" }) }),
  "499": async () => void await cluster.request("DELETE", "/v1/job/pooljob?purge=true"),
  "524": async () => void await cluster.put("/v1/namespace", { Name: "tmp" }),
  "634": async () =>
    void await cluster.put("/v1/operator/scheduler/configuration", { PauseEvalBroker: true, ...MEMORY }),
  "636": async () => {
    await cluster.put("/v1/operator/scheduler/configuration", { RejectJobRegistration: true, ...MEMORY });
    await cluster.settled();
  },
  "760": async () => {
    cluster.live.delete(REF_B);
    const event = {
      Message: "Node heartbeat missed",
      Subsystem: "Cluster",
      Details: null,
      Timestamp: "",
      CreateIndex: 0,
    };
    await cluster.propose({
      kind: "node.status",
      time: Date.now() * 1e6,
      updates: [{ id: REF_B, status: "down", event }],
      evals: [],
    });
  },
  "767": () => {
    for (const alloc of cluster.state.allocs()) ids.pair("c2481fd8-84a8-09c1-f747-30dadadbb9d1", alloc.ID);
  },
  "794": async () => void await cluster.put("/v1/jobs", { Job: bareJob("del1") }),
};

const REF_B = "224d62fe-c41d-f25c-736f-01c70cc64f5d";

/** The least that is a job. */
function bareJob(id: string): Record<string, unknown> {
  const Tasks = [{ Name: "t", Driver: "raw_exec", Config: { command: "/bin/true" } }];
  return { ID: id, Name: id, Type: "batch", Datacenters: ["dc1"], TaskGroups: [{ Name: "g", Tasks }] };
}

const behaviour: Cluster["behaviour"] = (job) => {
  if (job.ID === "crash") return "fails";
  if (job.ID === "long") return "runs";
  if (job.ID === "web" && job.Version === 5) return "unhealthy";
  return job.Type === "batch" || job.Type === "sysbatch" ? "completes" : "runs";
};

test("the recorded nodes register", async () => {
  cluster.behaviour = behaviour;
  await cluster.addDevice(recordedNode("457"));
  await cluster.addDevice(recordedNode("467"));
});

/** Bodies that name an index of the reference. */
function bodyOf(recording: Recording): unknown {
  const { body, bodyText } = recording.request;
  if (body === undefined) return bodyText === undefined ? undefined : bodyText;
  const copy = JSON.parse(ids.translate(JSON.stringify(body)));
  if (recording.number === "139") copy.JobModifyIndex = cluster.state.job("default", "web")!.JobModifyIndex;
  return copy;
}

/** Texts name ids and indexes of their cluster. */
function comparable(text: string): string {
  return ids.translate(text).replace(/(conflicting job modify index: )\d+/, "$1N");
}

function nomadHeaders(names: Iterable<string>): string[] {
  return [...names].map((name) => name.toLowerCase()).filter((name) => name.startsWith("x-nomad-")).sort();
}

/** Answers that name one new thing say who plays its part here. */
function pairIds(recorded: unknown, live: unknown): void {
  const one = (value: unknown) => (Array.isArray(value) && value.length === 1 ? value[0] : value) ?? {};
  const [a, b] = [one(recorded), one(live)] as { ID?: string; EvalID?: string }[];
  if (a?.EvalID && b?.EvalID) ids.pair(a.EvalID, b.EvalID);
  if (a?.ID?.length === 36 && b?.ID) ids.pair(a.ID, b.ID);
}

/** Answers of which the values are compared too: what is volatile is left out first. */
const VALUES = new Set(
  ("101 102 103 104 105 109 110 111 113 129 173 184 186 187 190 192 193 194 195 199 203 231 236 239 240 245 252 256 " +
    "257 288 292 463 487 488 512 575 586 592 597 748").split(" "),
);

function stable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(stable);
  if (typeof value === "string") {
    return value.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "ID").replace(/\d{10}-[0-9a-f]{8}/, "N");
  }
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([key]) =>
    !/Index$|Time$|^(Hash|RequireProgressBy|Index)$/.test(key)
  );
  return Object.fromEntries(
    kept.sort(([a], [b]) => a < b ? -1 : 1).map(([key, item]) => [key, stable(item)]),
  );
}

async function replay(recording: Recording): Promise<void> {
  const { request, response } = recording;
  const body = bodyOf(recording);
  const live = await cluster.request(request.method, ids.translate(request.path), {
    ...(body === undefined ? {} : { body }),
    ...(request.headers ? { headers: request.headers } : {}),
  });
  assert.equal(live.status, response.status, live.text);
  assert.equal(live.headers.get("content-type") ?? "", response.headers["Content-Type"] ?? "");
  assert.deepEqual(nomadHeaders(live.headers.keys()), nomadHeaders(Object.keys(response.headers)));
  if ("bodyText" in response && request.method !== "HEAD") {
    assert.equal(comparable(live.text), comparable(response.bodyText!));
  }
  if ("body" in response) {
    const value = live.json ?? JSON.parse(live.text);
    assert.deepEqual(shapeDifferences(response.body, value, { lenient: LENIENT.has(recording.number) }), []);
    if (VALUES.has(recording.number)) {
      // Recorded in the moment of registering: there nothing runs yet.
      const moment = recording.number === "748" ? { Status: "pending", Stable: false } : {};
      const now = Array.isArray(value) ? value : { ...value, ...moment };
      assert.deepEqual(stable(now), stable(response.body));
    }
    pairIds(response.body, value);
  }
}

for (const recording of recordings) {
  const { number, request, name } = recording;
  const isReplayed = REPLAYED.some(([from, to]) => number >= from && number <= to);
  if (!isReplayed || LEFT_OUT[number] || request.agent !== "server+client") continue;
  test(`${number} ${name}`, async () => {
    await BEFORE[number]?.();
    await replay(recording);
    if (request.method !== "GET") await cluster.settled();
  });
}

test("the cluster stops", () => cluster.stop());
