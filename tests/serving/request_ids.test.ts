// Writes that carry an id: done once and answered alike, through any server, over lost answers, failovers, restarts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Rig } from "../http/rig.ts";
import { type Answer, jobBody, Servers, SLOW, until } from "./servers.ts";

const withId = (id: string) => ({ headers: { "Idempotency-Key": id } });

function same(a: Answer, b: Answer): void {
  assert.deepEqual([b.status, b.text], [a.status, a.text]);
  for (const name of ["x-nomad-index", "content-type", "x-nomad-knownleader"]) {
    assert.equal(b.headers.get(name), a.headers.get(name), name);
  }
}

/** Evaluations that a write made: the scheduler makes others of them. */
function asked(evals: Iterable<{ PreviousEval: string }>): number {
  return [...evals].filter((one) => one.PreviousEval === "").length;
}

test("a repeated write gets the same answer from every server and changes nothing", SLOW, async () => {
  const servers = await Servers.start();
  const [first, ...others] = servers.all;
  const written = await first!.put("/v1/jobs", jobBody("web"), withId("one"));
  assert.equal(written.status, 200);
  // Something else happens in between.
  await first!.put("/v1/jobs", jobBody("web", { Priority: 60 }));
  for (const server of [first!, ...others]) {
    same(written, await server.put("/v1/jobs", jobBody("web"), withId("one")));
  }
  const job = await first!.get("/v1/job/web?consistent");
  assert.deepEqual([job.json.Priority, job.json.Version], [60, 1]);
  assert.equal(asked((await servers.leader()).server.state.evalsByJob("default", "web")), 2);
  await servers.stop();
});

test(
  "the answer survives the leader, and then the restart of every server from its snapshot",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const leader = await servers.leader();
    const [a] = await servers.followers();
    const written = await a!.put("/v1/jobs", jobBody("web"), withId("one"));
    const refused = await a!.put(
      "/v1/jobs",
      { ...jobBody("web"), EnforceIndex: true, JobModifyIndex: 0 },
      withId("refused"),
    );
    assert.match(refused.text, /job already exists/);
    await leader.kill();
    same(written, await a!.put("/v1/jobs", jobBody("web"), withId("one")));
    await servers.restart(leader);
    await servers.leader();
    const at = Math.max(...servers.all.map((one) => one.server.state.index));
    await until(() => servers.all.every((one) => one.server.state.index >= at), "all have everything");
    for (const one of servers.all) await one.server.log.snapshotNow();
    for (const one of [...servers.all]) await one.kill();
    await Promise.all([...servers.all].map((one) => servers.restart(one)));
    await servers.leader();
    for (const one of servers.all) {
      same(written, await one.put("/v1/jobs", jobBody("web"), withId("one")));
      same(
        refused,
        await one.put(
          "/v1/jobs",
          { ...jobBody("web"), EnforceIndex: true, JobModifyIndex: 0 },
          withId("refused"),
        ),
      );
    }
    await servers.stop();
  },
);

test(
  "an answer that is lost with its leader: the follower repeats the write, which is done once",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const leader = await servers.leader();
    const [a] = await servers.followers();
    leader.holdAnswers();
    const writing = a!.put("/v1/jobs", jobBody("once"));
    await until(() => a!.server.state.job("default", "once") !== undefined, "it was done");
    await leader.kill();
    const answer = await writing;
    assert.equal(answer.status, 200, answer.text);
    const next = await servers.leader();
    const job = next.server.state.job("default", "once")!;
    assert.deepEqual([job.Version, job.JobModifyIndex], [0, answer.json.JobModifyIndex]);
    const evals = [...next.server.state.evalsByJob("default", "once")];
    assert.ok(evals.some((one) => one.ID === answer.json.EvalID));
    assert.equal(asked(evals), 1);
    await servers.stop();
  },
);

test(
  "an answer that is lost with the majority: the follower says that the fate is not known",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const leader = await servers.leader();
    const [a, b] = await servers.followers();
    leader.holdAnswers();
    const writing = a!.put("/v1/jobs", jobBody("lost"));
    await until(() => a!.server.state.job("default", "lost") !== undefined, "it was done");
    await Promise.all([leader.kill(), b!.kill()]);
    const answer = await writing;
    assert.equal(answer.status, 500);
    assert.match(answer.text, /whether it was done is not known/);
    assert.equal(answer.headers.get("x-nomad-fate"), "unknown");
    await servers.stop();
  },
);

test(
  "asked directly, a leader that is lost in the middle says that the fate is not known; with an id it may be repeated",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const old = await servers.leader();
    old.cut();
    const [bare, named] = await Promise.all([
      old.put("/v1/jobs", jobBody("bare")),
      Promise.race([
        old.put("/v1/jobs", jobBody("named"), withId("n")),
        // It is back among the others when the old leader has noticed.
        until(() => !old.server.log.isLeader, "it gives up").then(async () => {
          old.heal();
          return await new Promise<never>(() => undefined);
        }),
      ]),
    ]);
    assert.equal(bare.status, 500);
    assert.match(bare.text, /whether it was done is not known/);
    assert.match(bare.text, /Idempotency-Key/);
    assert.equal(named.status, 200, named.text);
    const next = await servers.leader();
    assert.equal(next.server.state.job("default", "named")!.Version, 0);
    same(named, await next.put("/v1/jobs", jobBody("named"), withId("n")));
    await servers.stop();
  },
);

test("two at once with one id: done once, answered alike", SLOW, async () => {
  const servers = await Servers.start();
  for (let round = 0; round < 5; round++) {
    const body = jobBody(`twin-${round}`);
    const answers = await Promise.all(
      [...servers.all, ...servers.all].map((one) => one.put("/v1/jobs", body, withId(`twin-${round}`))),
    );
    for (const answer of answers) same(answers[0]!, answer);
    const leader = await servers.leader();
    assert.equal(leader.server.state.job("default", `twin-${round}`)!.Version, 0);
    assert.equal(asked(leader.server.state.evalsByJob("default", `twin-${round}`)), 1);
  }
  await servers.stop();
});

test("one id for another request is refused; other namespaces and tokens do not meet", async () => {
  const rig = new Rig();
  const put = (path: string, body: unknown, id: string, headers: Record<string, string> = {}) =>
    rig.request("PUT", path, { body, headers: { "Idempotency-Key": id, ...headers } });
  await rig.put("/v1/namespace", { Name: "other" });
  const first = await put("/v1/jobs", jobBody("a"), "k");
  assert.equal(first.status, 200);
  const differing = [
    put("/v1/jobs", jobBody("b"), "k"),
    put("/v1/job/a", jobBody("a"), "k"),
    put("/v1/jobs?region=global", jobBody("a"), "k"),
    rig.request("DELETE", "/v1/job/a", { headers: { "Idempotency-Key": "k" } }),
  ];
  for (const answer of await Promise.all(differing)) {
    assert.equal(answer.status, 422);
    assert.match(answer.text, /was used for another request/);
  }
  assert.equal((await rig.get("/v1/jobs")).json.length, 1);
  const elsewhere = await put("/v1/jobs?namespace=other", {
    Job: { ...jobBody("a").Job, Namespace: "other" },
  }, "k");
  assert.equal(elsewhere.status, 200);
  assert.notEqual(elsewhere.json.EvalID, first.json.EvalID);
  const someone = await put("/v1/jobs", jobBody("c"), "k", { "X-Nomad-Token": "someone" });
  assert.equal(someone.status, 200);
  const bearer = await put("/v1/jobs", jobBody("d"), "k", { Authorization: "Bearer other" });
  assert.equal(bearer.status, 200);
  assert.equal((await put("/v1/jobs?pretty", jobBody("a"), "k")).json.EvalID, first.json.EvalID);
  for (const bad of ["", "a b", "ü", "x".repeat(256)]) {
    // What is no header value cannot be sent at all.
    const headers = { "Idempotency-Key": encodeURI(bad) === bad || bad.includes(" ") ? bad : "\u00fc" };
    assert.equal((await rig.request("PUT", "/v1/jobs", { body: jobBody("d"), headers })).status, 400);
  }
});

test("every kind of write is answered alike when it is repeated", async () => {
  const rig = new Rig();
  const { ID: node } = await rig.addNode();
  const job = jobBody("web").Job;
  const steps: [method: string, path: string, body?: unknown][] = [
    ["PUT", "/v1/jobs", { Job: job }],
    ["PUT", "/v1/job/web", { Job: { ...job, Priority: 55 } }],
    ["PUT", "/v1/job/web/evaluate", { JobID: "web" }],
    ["PUT", "/v1/job/web/scale", { Count: 3, Target: { Group: "g" } }],
    ["PUT", "/v1/job/web/scale", { Message: "a note", Target: { Group: "g" } }],
    ["PUT", "/v1/job/web/stable", { JobID: "web", JobVersion: 0, Stable: true }],
    ["PUT", "/v1/job/web/versions/v1/tag", { Version: 0, Description: "d" }],
    ["DELETE", "/v1/job/web/versions/v1/tag"],
    ["PUT", "/v1/job/web/revert", { JobID: "web", JobVersion: 0 }],
    ["PUT", "/v1/jobs", { Job: { ...job, ID: "param", Name: "param", Type: "batch", ParameterizedJob: {} } }],
    ["PUT", "/v1/job/param/dispatch", {}],
    ["PUT", "/v1/jobs", {
      Job: {
        ...job,
        ID: "cron",
        Name: "cron",
        Type: "batch",
        Periodic: { Enabled: true, Spec: "0 0 1 1 *" },
      },
    }],
    ["PUT", "/v1/job/cron/periodic/force"],
    ["PUT", "/v1/namespace", { Name: "n" }],
    ["DELETE", "/v1/namespace/n"],
    ["PUT", "/v1/node/pools", { Name: "p" }],
    ["DELETE", "/v1/node/pool/p"],
    ["PUT", "/v1/operator/scheduler/configuration", { SchedulerAlgorithm: "spread" }],
    ["PUT", "/v1/system/reconcile/summaries"],
    ["PUT", "/v1/operator/autopilot/configuration", { MaxTrailingLogs: 300 }],
    ["PUT", `/v1/node/${node}/eligibility`, { Eligibility: "ineligible" }],
    ["PUT", `/v1/node/${node}/drain`, { DrainSpec: { Deadline: 0 } }],
    ["PUT", `/v1/node/${node}/evaluate`],
    ["PUT", `/v1/node/${node}/purge`],
    ["DELETE", "/v1/job/web?purge=true"],
  ];
  for (const [i, [method, path, body]] of steps.entries()) {
    const send = () =>
      rig.request(method, path, {
        ...(body === undefined ? {} : { body }),
        headers: { "Idempotency-Key": `step-${i}` },
      });
    const first = await send();
    assert.equal(first.status, 200, `${method} ${path}: ${first.text}`);
    const before = rig.state.index;
    same(first, await send());
    assert.equal(rig.state.index, before, `${method} ${path}: repeated, and nothing was written`);
  }
});
