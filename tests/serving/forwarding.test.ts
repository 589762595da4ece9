// Any server answers any request: through followers, over elections, with the consistency that was asked for.
import assert from "node:assert/strict";
import { test } from "node:test";
import { jobBody, Servers, SLOW, until } from "./servers.ts";

test("writes through any server are read through every other one at once", SLOW, async () => {
  const servers = await Servers.start();
  for (const [i, writer] of servers.all.entries()) {
    const written = await writer.put("/v1/jobs", jobBody(`job-${i}`));
    assert.equal(written.status, 200, written.text);
    assert.equal(Number(written.headers.get("x-nomad-index")), written.json.Index);
    for (const reader of servers.all) {
      for (const mode of ["", "?consistent"]) {
        const read = await reader.get(`/v1/job/job-${i}${mode}`);
        assert.equal(read.status, 200, `${reader.name}: ${read.text}`);
        assert.equal(read.json.JobModifyIndex, written.json.JobModifyIndex);
        assert.equal(read.headers.get("x-nomad-knownleader"), "true");
        assert.equal(read.headers.get("x-nomad-lastcontact"), "0");
      }
    }
  }
  await servers.stop();
});

test(
  "stale reads are answered where they are asked, with the time since the leader was heard",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const leader = await servers.leader();
    const [follower] = await servers.followers();
    await leader.put("/v1/namespace", { Name: "here" });
    await until(
      async () => (await follower!.get("/v1/namespace/here?stale")).status === 200,
      "the follower has it",
    );
    leader.asked.length = 0;
    follower!.cut();
    const first = await follower!.get("/v1/namespaces?stale");
    await until(async () => {
      const read = await follower!.get("/v1/namespaces?stale");
      return Number(read.headers.get("x-nomad-lastcontact")) >
        Number(first.headers.get("x-nomad-lastcontact"));
    }, "LastContact grows");
    await until(
      async () =>
        (await follower!.get("/v1/namespaces?stale")).headers.get("x-nomad-knownleader") === "false",
      "the follower gives its leader up",
    );
    await leader.put("/v1/namespace", { Name: "later" });
    assert.equal(
      (await follower!.get("/v1/namespace/later?stale")).status,
      404,
      "an old answer, as asked for",
    );
    assert.ok(!leader.asked.some((one) => one.startsWith("GET")), "nothing was asked of the leader");
    await servers.stop();
  },
);

test(
  "without a majority reads and writes wait, then say that there is no leader; the rest answers",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const leader = await servers.leader();
    const [a, b] = await servers.followers();
    await leader.kill();
    await b!.kill();
    await until(() => a!.server.log.leader === null, "no leader is known");
    const beganMs = performance.now();
    const answers = await Promise.all([
      a!.get("/v1/jobs"),
      a!.put("/v1/jobs", jobBody("x")),
      a!.get("/v1/status/leader"),
      a!.get("/v1/status/peers"),
    ]);
    assert.ok(performance.now() - beganMs >= 4_900);
    for (const { status, text } of answers) assert.deepEqual([status, text], [500, "No cluster leader"]);
    assert.equal((await a!.get("/v1/status/leader?stale")).json, "");
    assert.equal((await a!.get("/v1/status/peers?stale")).json.length, 3);
    assert.deepEqual((await a!.get("/v1/regions")).json, ["global"]);
    assert.equal((await a!.get("/v1/agent/self")).status, 200);
    assert.deepEqual((await a!.get("/v1/jobs?stale")).json, []);
    await servers.stop();
  },
);

test("what is asked during an election is answered when it is over", SLOW, async () => {
  const servers = await Servers.start();
  const leader = await servers.leader();
  const [a, b] = await servers.followers();
  await leader.kill();
  const answers = await Promise.all([
    a!.put("/v1/jobs", jobBody("during")),
    b!.put("/v1/namespace", { Name: "during" }),
    a!.get("/v1/jobs"),
    b!.get("/v1/status/leader"),
  ]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200],
    answers.map((x) => x.text).join("; "),
  );
  const next = await servers.leader();
  assert.equal(answers[3]!.json, next.rpcAddress);
  assert.equal((await a!.get("/v1/job/during")).status, 200);
  await servers.stop();
});

test(
  "a blocking query through a follower wakes on a change, and outlives the leader it waited at",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const leader = await servers.leader();
    const [a, b] = await servers.followers();
    const { headers } = await a!.get("/v1/namespaces");
    const index = Number(headers.get("x-nomad-index"));
    const query = (wait: string) => a!.get(`/v1/namespaces?index=${index}&wait=${wait}`);
    const woken = query("60s");
    await until(
      () => leader.asked.filter((one) => one === "GET /v1/namespaces").length === 2,
      "it waits at the leader",
    );
    await b!.put("/v1/namespace", { Name: "one" });
    assert.deepEqual((await woken).json.map((one: { Name: string }) => one.Name), ["default", "one"]);
    const later = (await woken).headers.get("x-nomad-index");
    const outliving = a!.get(`/v1/namespaces?index=${later}&wait=60s`);
    await until(
      () => leader.asked.filter((one) => one === "GET /v1/namespaces").length === 3,
      "it waits again",
    );
    await leader.kill();
    await b!.put("/v1/namespace", { Name: "two" });
    assert.deepEqual((await outliving).json.map((one: { Name: string }) => one.Name), [
      "default",
      "one",
      "two",
    ]);
    await servers.stop();
  },
);

test("a caller who goes away ends what was sent on for him", SLOW, async () => {
  const servers = await Servers.start();
  const leader = await servers.leader();
  const [follower] = await servers.followers();
  const index = (await follower!.get("/v1/namespaces")).headers.get("x-nomad-index");
  const abort = new AbortController();
  const query = follower!.get(`/v1/namespaces?index=${index}&wait=300s`, { signal: abort.signal });
  await until(() => leader.underWay === 1, "it waits at the leader");
  abort.abort();
  await assert.rejects(query);
  await until(() => leader.underWay === 0, "nobody waits at the leader any more");
  await servers.stop();
});

test("the event stream of a follower tells what is written through another", SLOW, async () => {
  const servers = await Servers.start();
  const [a, b] = await servers.followers();
  const abort = new AbortController();
  const response = await fetch(`${a!.url}/v1/event/stream?topic=Job`, { signal: abort.signal });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  await b!.put("/v1/jobs", jobBody("told"));
  let text = "";
  while (!text.includes('"told"')) text += (await reader.read()).value ?? assert.fail("the stream ended");
  assert.match(text, /"Type":"JobRegistered"/);
  abort.abort();
  await servers.stop();
});

test("a request that was sent on once is not sent on again", SLOW, async () => {
  const servers = await Servers.start();
  const leader = await servers.leader();
  const [follower] = await servers.followers();
  leader.asked.length = 0;
  const answer = await follower!.get("/v1/jobs", { headers: { "x-nomad-forwarded": "1" } });
  assert.deepEqual([answer.status, answer.text], [500, "No cluster leader"]);
  assert.equal(answer.headers.get("x-nomad-not-leader"), "1");
  assert.deepEqual(leader.asked, []);
  await servers.stop();
});

test(
  "a leader that is cut off confirms no consistent read, and a read after a write elsewhere is never older",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const old = await servers.leader();
    await old.put("/v1/namespace", { Name: "n", Description: "before" });
    old.cut();
    const others = servers.all.filter((one) => one !== old);
    const next = await servers.leader(others);
    await next.put("/v1/namespace", { Name: "n", Description: "after" });
    for (const reader of others) {
      assert.equal((await reader.get("/v1/namespace/n?consistent")).json.Description, "after");
    }
    const answers = await Promise.all([old.get("/v1/namespace/n?consistent"), old.get("/v1/namespace/n")]);
    for (const { status } of answers) assert.equal(status, 500, "it may not answer with what it has");
    old.heal();
    await servers.leader();
    assert.equal((await old.get("/v1/namespace/n?consistent")).json.Description, "after");
    await servers.stop();
  },
);

test("the log of any server is watched through another one", SLOW, async () => {
  const servers = await Servers.start();
  const leader = await servers.leader();
  const [follower] = await servers.followers();
  for (const name of ["leader", leader.name]) {
    leader.asked.length = 0;
    const abort = new AbortController();
    const response = await fetch(`${follower!.url}/v1/agent/monitor?server_id=${name}&plain=true`, {
      signal: abort.signal,
    });
    const { value } = await response.body!.pipeThrough(new TextDecoderStream()).getReader().read();
    assert.equal(value, "first line\n");
    assert.deepEqual(leader.asked, ["GET /v1/agent/monitor"]);
    abort.abort();
  }
  const unknown = await follower!.get("/v1/agent/monitor?server_id=nobody");
  assert.deepEqual([unknown.status, unknown.text], [400, "unknown Nomad server nobody"]);
  await servers.stop();
});
