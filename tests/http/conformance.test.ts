// Replays the recordings of the reference, in their order, against the real routes, state, scheduler and leader's loops
// with simulated devices, and compares status, content type, X-Nomad headers, error texts exactly, and the shape of JSON.
// What does not apply is named below with the reason.
import test from "node:test";
import assert from "node:assert/strict";
import type { Node } from "../../core/types.ts";
import { Cluster } from "./cluster.ts";
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
  ["730", "746"],
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
  "607": "autopilot does not exist yet",
  "608": "autopilot does not exist yet",
  "609": "autopilot does not exist yet",
  "615": "snapshots over the API do not exist yet",
  "616": "snapshots over the API do not exist yet",
  "646": "the agent's own answer: tests/agent",
  "797": "answered by a device: tests/client",
};
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

/** What has to happen before a recording so that the cluster is where the reference was. */
const BEFORE: Record<string, () => void | Promise<void>> = {
  "211": () => void (cluster.behaviour = () => "undecided"),
  "216": async () => {
    cluster.behaviour = behaviour;
    await cluster.judge();
    await cluster.settled();
  },
};

const behaviour: Cluster["behaviour"] = (job) => {
  if (job.ID === "crash") return "fails";
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
    assert.deepEqual(shapeDifferences(response.body, value), []);
    const [recorded, now] = [response.body, value] as { EvalID?: string; DispatchedJobID?: string }[];
    if (recorded?.EvalID && now?.EvalID) ids.pair(recorded.EvalID, now.EvalID);
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
