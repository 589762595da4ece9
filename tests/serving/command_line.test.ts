// The command line and its API client over several agents: the next one is asked where one is gone or knows no leader,
// and a write whose answer was lost is done once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Api } from "../../cli/api.ts";
import { RequestError } from "../../cli/errors.ts";
import { listen } from "../../core/runtime.ts";
import { program, run } from "../e2e/harness.ts";
import { jobBody, Servers, SLOW, until } from "./servers.ts";

/** An address where nobody listens. */
async function deadAddress(): Promise<string> {
  const listener = await listen({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  await listener.close();
  return `http://127.0.0.1:${listener.port}`;
}

test(
  "Api asks the next agent where one does not listen or knows no leader, and stays with the one that answered",
  SLOW,
  async () => {
    const asked: string[] = [];
    const answering = (name: string, answer: () => Response) =>
      listen({
        hostname: "127.0.0.1",
        port: 0,
        fetch: (request) => {
          asked.push(`${name} ${request.method} ${request.headers.get("idempotency-key")}`);
          return answer();
        },
      });
    const leaderless = await answering(
      "leaderless",
      () => new Response("No cluster leader", { status: 500 }),
    );
    const failing = await answering("failing", () => new Response("its own error", { status: 500 }));
    const at = (listener: { port: number }) => `http://127.0.0.1:${listener.port}`;
    const api = new Api({ address: `${await deadAddress()}, ${at(leaderless)},${at(failing)}` });
    for (let turn = 0; turn < 2; turn++) {
      await assert.rejects(api.get("/v1/jobs"), (error: RequestError) => error.body === "its own error");
    }
    assert.deepEqual(asked, ["leaderless GET null", "failing GET null", "failing GET null"]);
    asked.length = 0;
    await assert.rejects(
      new Api({ address: `${at(leaderless)},${at(failing)}` }).put("/v1/jobs", {}),
      RequestError,
    );
    assert.equal(asked.length, 2);
    const ids = asked.map((line) => line.split(" ")[2]);
    assert.match(ids[0]!, /^[0-9a-f-]{36}$/);
    assert.equal(ids[0], ids[1], "one write, one id");
    await Promise.all([leaderless.close(), failing.close()]);
    await assert.rejects(
      new Api({ address: `${await deadAddress()},${await deadAddress()}` }).get("/v1/jobs"),
      (error: RequestError) => error.status === 0 && /connection refused/.test(error.message),
    );
  },
);

test(
  "Api: the leader dies before its answer; the write is repeated at the next agent and done once",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const leader = await servers.leader();
    const others = await servers.followers();
    const api = new Api({ address: [leader, ...others].map((one) => one.url).join(",") });
    leader.holdAnswers();
    const writing = api.put<{ EvalID: string; JobModifyIndex: number }>("/v1/jobs", jobBody("once"));
    await until(
      () => others.every((one) => one.server.state.job("default", "once") !== undefined),
      "it was done",
    );
    await leader.kill();
    const { data } = await writing;
    const next = await servers.leader();
    const { state } = next.server;
    assert.equal(state.job("default", "once")!.JobModifyIndex, data.JobModifyIndex);
    assert.equal(state.eval(data.EvalID)?.JobID, "once");
    assert.equal([...state.evalsByJob("default", "once")].filter((one) => one.PreviousEval === "").length, 1);
    await servers.stop();
  },
);

test("nomad with several addresses in NOMAD_ADDR works while one of them answers", SLOW, async () => {
  const servers = await Servers.start();
  const [follower] = await servers.followers();
  const env = { NOMAD_ADDR: `${await deadAddress()},${follower!.url}` };
  const applied = await run([...program, "namespace", "apply", "-description", "d", "far"], { env });
  assert.equal(applied.code, 0, applied.stderr);
  const status = await run([...program, "namespace", "status", "far"], { env });
  assert.match(status.stdout, /Description\s+= d/);
  const lone = await run([...program, "namespace", "list"], { env: { NOMAD_ADDR: await deadAddress() } });
  assert.equal(lone.code, 1);
  assert.match(lone.stderr, /connection refused/);
  await servers.stop();
});
