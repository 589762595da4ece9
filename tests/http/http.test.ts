// The API's manners: methods, parameters, bodies, errors, compression, CORS, blocking queries, forwarding, streams.
import test from "node:test";
import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { StorageError } from "../../core/errors.ts";
import { AGENT, Rig, webJob } from "./rig.ts";

const register = (rig: Rig, id: string, more: Record<string, unknown> = {}) =>
  rig.put("/v1/jobs", { Job: webJob(id, more) });

test("an unknown route is an empty 404, a wrong method a 405, HEAD too", async () => {
  const rig = new Rig();
  for (const path of ["/v1/nope", "/nope", "/v1/jobs/", "/v1/operator/zzz"]) {
    const answer = await rig.get(path);
    assert.deepEqual([answer.status, answer.text, answer.headers.get("content-type")], [404, "", null], path);
  }
  for (
    const [method, path] of [["DELETE", "/v1/jobs"], ["POST", "/v1/nodes"], ["HEAD", "/v1/jobs"]] as const
  ) {
    assert.equal((await rig.request(method, path)).status, 405, path);
  }
});

test("a path without its last slash is redirected, the query kept", async () => {
  const answer = await new Rig().get("/v1/node?x=1");
  assert.equal(answer.status, 307);
  assert.equal(answer.headers.get("location"), "/v1/node/?x=1");
});

test("a body beyond 10 MiB is refused with 413 and nothing changes", async () => {
  const rig = new Rig();
  const body = JSON.stringify({ Job: { ...webJob(), Meta: { big: "x".repeat(11 * 1024 * 1024) } } });
  const answer = await rig.request("PUT", "/v1/jobs", { body });
  assert.equal(answer.status, 413);
  assert.match(answer.text, /10485760 bytes/);
  assert.equal(rig.state.index, 0);
});

test("malformed JSON is told in the reference's words", async () => {
  const rig = new Rig();
  const cases: [string, string][] = [
    ["{not json", "invalid character 'n' looking for beginning of object key string"],
    ['{"a"', "unexpected EOF"],
    ['{"a"x', "invalid character 'x' after object key"],
    ['{"a":1 2}', "invalid character '2' after object key:value pair"],
    ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
    ["[1,]", "invalid character ']' looking for beginning of value"],
    ["[1 2]", "invalid character '2' after array element"],
    ["trux", "invalid character 'x' in literal true (expecting 'e')"],
    ["-x", "invalid character 'x' in numeric literal"],
    ["1.x", "invalid character 'x' after decimal point in numeric literal"],
    ["1ex", "invalid character 'x' in exponent of numeric literal"],
    ['"\\x"', "invalid character 'x' in string escape code"],
    ['"\\u12x"', "invalid character 'x' in \\u hexadecimal character escape"],
    ['"a\nb"', "invalid character '\\n' in string literal"],
    [" ", "EOF"],
    ["5", "json: cannot unmarshal number into Go value of type api.JobValidateRequest"],
    ["01", "json: cannot unmarshal number into Go value of type api.JobValidateRequest"],
    [
      '{"Job":5}',
      "json: cannot unmarshal number into Go struct field JobValidateRequest.Job of type api.Job",
    ],
    ['{"Job":{"ID":5}}', "json: cannot unmarshal number into Go struct field Job.Job.ID of type string"],
    [
      '{"Job":{"Priority":1.5}}',
      "json: cannot unmarshal number 1.5 into Go struct field Job.Job.Priority of type int",
    ],
    [
      '{"Job":{"Datacenters":"dc1"}}',
      "json: cannot unmarshal string into Go struct field Job.Job.Datacenters of type []string",
    ],
    [
      '{"Job":{"TaskGroups":[{"Tasks":[{"Name":"x","Config":5}]}]}}',
      "json: cannot unmarshal number into Go struct field Task.Job.TaskGroups.Tasks.Config of type map[string]interface {}",
    ],
    [
      '{"Job":{"Affinities":[{"Weight":300}]}}',
      "json: cannot unmarshal number 300 into Go struct field Affinity.Job.Affinities.Weight of type int8",
    ],
    ['{"Job":{"Payload":"!!"}}', "illegal base64 data at input byte 0"],
    ["null", "Job must be specified"],
    ['{"Job":null}', "Job must be specified"],
  ];
  for (const [body, text] of cases) {
    const answer = await rig.request("PUT", "/v1/validate/job", { body });
    assert.deepEqual([answer.status, answer.text], [400, text], body);
  }
});

test("JSON keys match in any case, unknown ones and what follows the value are ignored", async () => {
  const rig = new Rig();
  const body = '{"job":{"id":"a","taskgroups":[{"name":"g","tasks":[{"name":"t","driver":"raw_exec",' +
    '"config":{"Command":"/bin/true"}}]}],"zzz":1}} trailing';
  assert.equal((await rig.request("PUT", "/v1/jobs", { body })).status, 200);
  const task = rig.state.job("default", "a")!.TaskGroups[0]!.Tasks[0]!;
  assert.deepEqual(task.Config, { Command: "/bin/true" });
});

test("answers are compressed when asked for and large enough, and say so", async () => {
  const rig = new Rig();
  await register(rig, "web");
  const large = await rig.raw("GET", "/v1/job/web", { headers: { "accept-encoding": "gzip" } });
  assert.equal(large.headers.get("content-encoding"), "gzip");
  assert.equal(large.headers.get("vary"), "Accept-Encoding");
  const text = gunzipSync(new Uint8Array(await large.arrayBuffer())).toString();
  assert.equal(JSON.parse(text).ID, "web");
  const small = await rig.raw("GET", "/v1/regions", { headers: { "accept-encoding": "gzip" } });
  assert.equal(small.headers.get("content-encoding"), null);
  const listed = await rig.raw("GET", "/v1/jobs", { headers: { "accept-encoding": "gzip, deflate" } });
  const again = await rig.raw("GET", "/v1/jobs", { headers: { "accept-encoding": "gzip" } });
  assert.deepEqual(await listed.arrayBuffer(), await again.arrayBuffer());
});

test("pretty indents by four and changes nothing else", async () => {
  const rig = new Rig();
  await register(rig, "web");
  const [plain, pretty] = [await rig.get("/v1/jobs"), await rig.get("/v1/jobs?pretty")];
  assert.deepEqual(pretty.json, plain.json);
  assert.match(pretty.text, /\n {4}\{\n {8}"ID": "web"/);
});

test("a full or locked disk is 503 with the reason, another storage error 500; reads go on", async () => {
  const rig = new Rig();
  await register(rig, "web");
  for (const [kind, status] of [["full", 503], ["locked", 503], ["io", 500]] as const) {
    rig.log.failure = new StorageError(kind, `Cannot write the log: ${kind}`);
    const answer = await register(rig, "other");
    assert.deepEqual([answer.status, answer.text], [status, `Cannot write the log: ${kind}`]);
    assert.equal((await rig.get("/v1/job/web")).status, 200);
  }
  rig.log.failure = null;
  assert.equal((await register(rig, "other")).status, 200);
});

test("an unforeseen error is a 500 without a stack trace", async () => {
  const rig = new Rig();
  rig.log.failure = new TypeError("x is not a function");
  const answer = await register(rig, "web");
  assert.deepEqual([answer.status, answer.text], [500, "x is not a function"]);
});

// --- Leaders and forwarding -------------------------------------------------------------------------------------

test("a follower forwards writes and consistent reads to the leader, and answers stale reads itself", async () => {
  const forwarded: [string, string | null][] = [];
  const rig = new Rig({
    forward: (request, address) => {
      forwarded.push([`${request.method} ${new URL(request.url).pathname}`, address]);
      return Promise.resolve(new Response("[]", { headers: { "content-type": "application/json" } }));
    },
  });
  await register(rig, "web");
  rig.log.isLeader = false;
  rig.log.lastContactMs = 12.4;
  rig.log.leader = { ...rig.log.peer, id: "other", rpcAddress: "127.0.0.1:9999" };
  assert.equal((await register(rig, "other")).status, 200);
  assert.equal((await rig.get("/v1/jobs")).text, "[]");
  const stale = await rig.get("/v1/jobs?stale");
  assert.equal(stale.json[0].ID, "web");
  assert.equal(stale.headers.get("x-nomad-lastcontact"), "12");
  assert.deepEqual(forwarded, [["PUT /v1/jobs", "127.0.0.1:9999"], ["GET /v1/jobs", "127.0.0.1:9999"]]);
});

test("a request waits for an election and is answered by whoever leads then", async () => {
  const rig = new Rig();
  rig.log.isLeader = false;
  rig.log.leader = null;
  const waiting = register(rig, "web");
  setTimeout(() => rig.log.isLeader = true, 50);
  assert.equal((await waiting).status, 200);
});

test("an agent that is only a client forwards what is the servers', and answers for itself", async () => {
  const paths: string[] = [];
  const rig = new Rig({
    server: null,
    agent: { ...AGENT, health: () => ({ client: { ok: true, message: "ok" }, server: null }) },
    forward: (request, address) => {
      assert.equal(address, null);
      paths.push(new URL(request.url).pathname);
      return Promise.resolve(new Response("forwarded"));
    },
  });
  assert.equal((await rig.get("/v1/status/leader")).text, "forwarded");
  assert.equal((await rig.get("/v1/allocation/6ec1e3a0-0000-0000-0000-000000000000")).text, "forwarded");
  assert.deepEqual(paths, ["/v1/status/leader", "/v1/allocation/6ec1e3a0-0000-0000-0000-000000000000"]);
  assert.deepEqual((await rig.get("/v1/agent/health")).json, { client: { ok: true, message: "ok" } });
  const absent = await rig.get("/v1/agent/health?type=server");
  assert.equal(absent.status, 500);
  assert.deepEqual(JSON.parse(absent.text), { server: { ok: false, message: "server not enabled" } });
  assert.equal((await rig.put("/v1/agent/join?address=127.0.0.1:1")).status, 501);
  assert.deepEqual([(await rig.get("/v1/agent/schedulers")).text], ["Server only endpoint"]);
});

// --- Blocking queries -------------------------------------------------------------------------------------------

test("a list waits for its table and comes with the new index; the rest wakes it not", async () => {
  const rig = new Rig();
  await register(rig, "web");
  const index = Number((await rig.get("/v1/jobs")).headers.get("x-nomad-index"));
  let done = false;
  const waiting = rig.get(`/v1/jobs?index=${index}&wait=30s`).finally(() => done = true);
  await rig.put("/v1/namespace", { Name: "prod" });
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(done, false);
  await register(rig, "api");
  const answer = await waiting;
  assert.deepEqual(answer.json.map((job: { ID: string }) => job.ID), ["api", "web"]);
  assert.ok(Number(answer.headers.get("x-nomad-index")) > index);
});

test("a list with a prefix is not woken by what lies outside of it", async () => {
  const rig = new Rig();
  await register(rig, "web");
  const index = Number((await rig.get("/v1/jobs?prefix=web")).headers.get("x-nomad-index"));
  let done = false;
  const waiting = rig.get(`/v1/jobs?prefix=web&index=${index}&wait=30s`).finally(() => done = true);
  await register(rig, "other");
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(done, false);
  await register(rig, "web2");
  assert.deepEqual((await waiting).json.map((job: { ID: string }) => job.ID), ["web", "web2"]);
});

test("an object waits for itself, also before it exists", async () => {
  const rig = new Rig();
  await register(rig, "web");
  const missing = await rig.get("/v1/job/absent");
  assert.equal(missing.status, 404);
  const index = Number(missing.headers.get("x-nomad-index"));
  let done = false;
  const waiting = rig.get(`/v1/job/absent?index=${index}&wait=30s`).finally(() => done = true);
  await register(rig, "unrelated");
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(done, false);
  await register(rig, "absent");
  const answer = await waiting;
  assert.deepEqual([answer.status, answer.json.ID], [200, "absent"]);
});

test("a wait that ends without a change answers 200 with the current state, also for an index to come", async () => {
  const rig = new Rig();
  await register(rig, "web");
  const index = Number((await rig.get("/v1/jobs")).headers.get("x-nomad-index"));
  for (const asked of [index, index + 1000]) {
    const began = performance.now();
    const answer = await rig.get(`/v1/jobs?index=${asked}&wait=60ms`);
    assert.ok(performance.now() - began >= 55);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("x-nomad-index"), String(index));
    assert.equal(answer.json.length, 1);
  }
});

test("an index behind, index 0 or wait alone never wait", async () => {
  const rig = new Rig();
  await register(rig, "web");
  await register(rig, "api");
  for (const query of ["index=1&wait=30s", "index=0&wait=30s", "wait=30s"]) {
    const began = performance.now();
    assert.equal((await rig.get(`/v1/jobs?${query}`)).status, 200);
    assert.ok(performance.now() - began < 5_000, query);
  }
});

test("a client that goes away stops waiting", async () => {
  const rig = new Rig();
  await register(rig, "web");
  const gone = new AbortController();
  const waiting = rig.request("GET", "/v1/jobs?index=1000&wait=30s", { signal: gone.signal });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(rig.watch.waiting, 1);
  gone.abort();
  await waiting.catch(() => undefined);
  assert.equal(rig.watch.waiting, 0);
});

test("a thousand readers of one list are answered from one encoding", async () => {
  const rig = new Rig();
  for (let i = 0; i < 50; i++) await register(rig, `job-${i}`);
  const index = Number((await rig.get("/v1/jobs")).headers.get("x-nomad-index"));
  let made = 0;
  const summary = rig.state.jobSummary.bind(rig.state);
  rig.state.jobSummary = (namespace, id) => {
    made++;
    return summary(namespace, id);
  };
  const readers = Array.from({ length: 1000 }, () => rig.get(`/v1/jobs?index=${index}&wait=30s`));
  await register(rig, "one-more");
  const answers = await Promise.all(readers);
  assert.ok(answers.every((answer) => answer.json.length === 51));
  assert.equal(made, 51);
});

// --- Devices ----------------------------------------------------------------------------------------------------

test("a request on an allocation reaches the device that has it; its answer streams back with CORS", async () => {
  const rig = new Rig();
  const node = await rig.addNode();
  await register(rig, "web");
  const id = await rig.place(rig.state.job("default", "web")!, node.ID);
  rig.deviceAnswers.set(node.ID, (request) => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const part of ["one ", "two"]) controller.enqueue(new TextEncoder().encode(part));
        controller.close();
      },
    });
    return new Response(body, {
      headers: { "content-type": "text/plain", "x-path": new URL(request.url).pathname },
    });
  });
  const answer = await rig.get(`/v1/client/fs/logs/${id}?task=server&type=stdout&plain=true`, {
    origin: "http://ui.test",
  });
  assert.equal(answer.text, "one two");
  assert.equal(answer.headers.get("x-path"), `/v1/client/fs/logs/${id}`);
  assert.equal(answer.headers.get("access-control-allow-origin"), "*");
  assert.equal(answer.headers.get("vary"), "Origin");
  const checks = await rig.get(`/v1/allocation/${id}/checks`);
  assert.equal(checks.headers.get("x-path"), `/v1/client/allocation/${id}/checks`);
  rig.deviceAnswers.delete(node.ID);
  const lost = await rig.get(`/v1/client/fs/ls/${id}`);
  assert.deepEqual([lost.status, lost.text], [404, "No path to node"]);
});

test("what is on this agent's own device is asked of it, without the server", async () => {
  const rig = new Rig({
    localClient: {
      nodeId: "local",
      hasAllocation: (id) => id === "here",
      fetch: (request) => Promise.resolve(new Response(`local ${new URL(request.url).pathname}`)),
    },
  });
  assert.equal((await rig.get("/v1/client/stats")).text, "local /v1/client/stats");
  assert.equal(
    (await rig.get("/v1/client/allocation/here/stats")).text,
    "local /v1/client/allocation/here/stats",
  );
  assert.equal((await rig.get("/v1/client/stats?node_id=6ec1e3a0-0000-0000-0000-000000000000")).status, 404);
});

test("CORS preflight of device routes", async () => {
  const answer = await new Rig().request("OPTIONS", "/v1/client/stats", {
    headers: { origin: "http://ui.test", "access-control-request-method": "GET" },
  });
  assert.equal(answer.status, 204);
  assert.equal(answer.headers.get("access-control-allow-methods"), "GET");
});

// --- Streams ----------------------------------------------------------------------------------------------------

/** Reads whole lines of a stream, one at a time. */
async function* linesOf(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const part of response.body!) {
    rest += decoder.decode(part, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

test("the event stream begins with a heartbeat and tells of a job's life in the routes' shapes", async () => {
  const rig = new Rig();
  const gone = new AbortController();
  const response = await rig.raw("GET", "/v1/event/stream?topic=Job&topic=Evaluation:web", {
    signal: gone.signal,
  });
  const lines = linesOf(response);
  assert.equal((await lines.next()).value, "{}");
  await register(rig, "web");
  const first = JSON.parse((await lines.next()).value!);
  assert.deepEqual(first.Events.map((event: { Topic: string; Type: string }) => [event.Topic, event.Type]), [
    ["Job", "JobRegistered"],
    ["Evaluation", "JobRegistered"],
  ]);
  assert.equal(first.Events[0].Payload.Job.ID, "web");
  assert.deepEqual(first.Events[1].FilterKeys, ["web", ""]);
  await rig.request("DELETE", "/v1/job/web?purge=true");
  const last = JSON.parse((await lines.next()).value!);
  assert.equal(last.Events[0].Payload.Deleted, true);
  gone.abort();
  await lines.return(undefined);
  assert.equal(rig.events.readers, 0);
});

test("the event stream replays from an index and refuses parameters it cannot read", async () => {
  const rig = new Rig();
  await register(rig, "a");
  await register(rig, "b");
  const response = await rig.raw("GET", `/v1/event/stream?topic=Job:b&index=1`);
  const lines = linesOf(response);
  await lines.next();
  assert.equal(JSON.parse((await lines.next()).value!).Events[0].Key, "b");
  await lines.return(undefined);
  assert.equal((await rig.get("/v1/event/stream?index=zz")).status, 400);
  assert.equal((await rig.get("/v1/event/stream?topic=a:b:c")).status, 400);
});

test("the log monitor frames lines in JSON, or gives them bare", async () => {
  const rig = new Rig();
  for (
    const [query, expected] of [
      ["", `{"Data":"${btoa("first line\n")}","FileEvent":"log"}`],
      ["?plain=true", "first line\n"],
    ] as const
  ) {
    const gone = new AbortController();
    const response = await rig.raw("GET", `/v1/agent/monitor${query}`, { signal: gone.signal });
    const reader = response.body!.getReader();
    const { value } = await reader.read();
    assert.equal(new TextDecoder().decode(value), expected);
    await reader.cancel();
  }
  assert.equal((await rig.get("/v1/agent/monitor?log_level=zzz")).text, "Unknown log level: zzz");
});

// --- Lists ------------------------------------------------------------------------------------------------------

test("pages of a list put together are the list, in both directions", async () => {
  const rig = new Rig();
  for (let i = 0; i < 7; i++) await register(rig, `job-${i}`);
  for (const path of ["/v1/jobs", "/v1/evaluations"]) {
    for (const reverse of ["false", "true"]) {
      const whole = (await rig.get(`${path}?reverse=${reverse}`)).json as { ID: string }[];
      const found: { ID: string }[] = [];
      for (let token: string | null = ""; token !== null;) {
        const answer = await rig.get(`${path}?per_page=3&reverse=${reverse}&next_token=${token}`);
        found.push(...answer.json);
        token = answer.headers.get("x-nomad-nexttoken");
      }
      assert.deepEqual(found, whole, `${path} ${reverse}`);
      assert.equal(whole.length, 7);
    }
  }
});

test("job statuses come newest change first and wait for allocations too", async () => {
  const rig = new Rig();
  const node = await rig.addNode();
  await register(rig, "first");
  await register(rig, "second");
  const statuses = await rig.get("/v1/jobs/statuses");
  assert.deepEqual(statuses.json.map((job: { ID: string }) => job.ID), ["second", "first"]);
  const page = await rig.get("/v1/jobs/statuses?per_page=1");
  assert.equal(page.headers.get("x-nomad-nexttoken"), String(rig.state.job("default", "first")!.ModifyIndex));
  const index = statuses.headers.get("x-nomad-index");
  const waiting = rig.get(`/v1/jobs/statuses?index=${index}&wait=30s`);
  await rig.place(rig.state.job("default", "first")!, node.ID);
  assert.equal((await waiting).json.find((job: { ID: string }) => job.ID === "first").Allocs.length, 1);
});

test("filters never see a node's secret", async () => {
  const rig = new Rig();
  await rig.addNode();
  const filter = encodeURIComponent('SecretID != ""');
  assert.deepEqual((await rig.get(`/v1/nodes?filter=${filter}`)).json, []);
});

test("dispatching twice with one token makes one child", async () => {
  const rig = new Rig();
  await register(rig, "param", { Type: "batch", ParameterizedJob: { Payload: "optional" } });
  const path = "/v1/job/param/dispatch?idempotency_token=once";
  const answers = await Promise.all([rig.put(path, {}), rig.put(path, {})]);
  const [a, b] = [...answers, await rig.put(path, {})].map((answer) => answer.json.DispatchedJobID);
  assert.equal(a, b);
  assert.equal([...rig.state.jobChildren("default", "param")].length, 1);
});

test("a job's source that is too large is left out, and a warning says so", async () => {
  const rig = new Rig();
  const answer = await rig.put("/v1/jobs", {
    Job: webJob(),
    Submission: { Source: "x".repeat(1_000_001), Format: "hcl2" },
  });
  assert.equal(answer.status, 200);
  assert.match(
    answer.json.Warnings,
    /^1 warning:\n\n\* job source size of 1000001 bytes exceeds maximum of 1000000 bytes/,
  );
  assert.equal((await rig.get("/v1/job/web/submission?version=0")).status, 404);
});

test("a namespace or pool whose body does not name it as the path does is refused, nothing changes", async () => {
  const rig = new Rig();
  for (const [path, kind] of [["/v1/namespace/a", "Namespace"], ["/v1/node/pool/a", "Node pool"]] as const) {
    for (const body of ["{}", "null", '{"Name":"b"}']) {
      const answer = await rig.request("PUT", path, { body });
      assert.equal(answer.status, 400, `${path} ${body}`);
      assert.equal(answer.text, `${kind} name does not match request path`);
    }
  }
  assert.equal(rig.state.index, 0);
});

test("a path or a wait that cannot be read is 400 in words of our own", async () => {
  const rig = new Rig();
  for (const path of ["/v1/job/%zz", "/v1/job/%", "/v1/job/%ff"]) {
    const answer = await rig.get(path);
    assert.equal(answer.status, 400);
    assert.match(answer.text, /^Cannot read the path: %/);
  }
  assert.equal((await rig.get("/v1/jobs?wait=9999999h")).text, "Invalid wait time");
});

test("a node pool keeps its own scheduler configuration", async () => {
  const rig = new Rig();
  const SchedulerConfiguration = { SchedulerAlgorithm: "spread", MemoryOversubscriptionEnabled: true };
  assert.equal((await rig.put("/v1/node/pools", { Name: "wide", SchedulerConfiguration })).status, 200);
  const { json } = await rig.get("/v1/node/pool/wide");
  assert.deepEqual(
    (json as { SchedulerConfiguration: unknown }).SchedulerConfiguration,
    SchedulerConfiguration,
  );
  const refused = await rig.put("/v1/node/pools", {
    Name: "odd",
    SchedulerConfiguration: { SchedulerAlgorithm: "zigzag" },
  });
  assert.deepEqual([refused.status, /must be binpack or spread/.test(refused.text)], [400, true]);
});

test("only a job that is launched by its times can be forced, and an instance has a priority in bounds", async () => {
  const rig = new Rig();
  const batch = (ID: string, more: Record<string, unknown>) =>
    rig.put("/v1/jobs", { Job: { ...webJob(), ID, Name: ID, Type: "batch", ...more } });
  const Periodic = { Enabled: true, SpecType: "cron", Spec: "0 0 1 1 *" };
  const force = async (id: string) => {
    const { status, text } = await rig.put(`/v1/job/${encodeURIComponent(id)}/periodic/force`);
    return status === 200 ? "launched" : text.trim();
  };
  const untracked = (id: string) =>
    `force launch for job "${id}" failed: can't force run non-tracked job "${id}" (default)`;
  await batch("often", { Periodic });
  assert.equal(await force("often"), "launched");
  await rig.request("DELETE", "/v1/job/often");
  assert.equal(await force("often"), untracked("often"));
  await batch("off", { Periodic: { ...Periodic, Enabled: false } });
  assert.equal(await force("off"), untracked("off"));

  await batch("both", { Periodic, ParameterizedJob: { Payload: "optional" } });
  assert.equal(await force("both"), untracked("both"));
  const dispatched = await rig.put("/v1/job/both/dispatch", {});
  assert.equal(await force((dispatched.json as { DispatchedJobID: string }).DispatchedJobID), "launched");
  const refused = await rig.put("/v1/job/both/dispatch", { Priority: 101 });
  assert.deepEqual(
    [refused.status, refused.text.trim()],
    [500, "dispatch job priority must be between [1, 100]"],
  );
});
