// What a server does with each way in which the leader can fail to answer, without sockets: what is sent again, with
// which id, what the caller is told, and the bounds on what waits.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError } from "../../core/errors.ts";
import { HopError } from "../../server/hops.ts";
import type { Api, Handler } from "../../server/http_api.ts";
import { Exchange } from "../../server/http_exchange.ts";
import { Serving } from "../../server/serving.ts";
import { Rig } from "../http/rig.ts";
import { jobBody, until } from "./servers.ts";

const LEADER = "127.0.0.1:9999";
type Turn = (request: Request) => Response | Promise<Response>;

const refused: Turn = () => Promise.reject(new HopError("connection refused", "no"));
const broken: Turn = () => Promise.reject(new HopError("connection lost", "maybe"));
const notLeader: Turn = () =>
  new Response("No cluster leader", { status: 500, headers: { "x-nomad-not-leader": "1" } });
const unknownFate: Turn = () =>
  new Response("not known", { status: 500, headers: { "x-nomad-fate": "unknown" } });
const done: Turn = () => new Response("done");
const failing: Turn = () => new Response("its own error", { status: 500 });

/** A follower whose leader answers the turns one after the other. */
function follower(turns: Turn[]): { rig: Rig; asked: Request[] } {
  const asked: Request[] = [];
  const rig = new Rig({
    forward: async (request, address) => {
      assert.equal(address, LEADER);
      asked.push(request.clone());
      return await (turns.shift() ?? failing)(request);
    },
  });
  rig.log.isLeader = false;
  rig.log.leader = { ...rig.log.peer, id: "other", rpcAddress: LEADER };
  return { rig, asked };
}

const hopId = (request: Request) => request.headers.get("x-nomad-hop-id");

test("a read is sent again whatever happened to it, without an id", async () => {
  const { rig, asked } = follower([refused, broken, notLeader, unknownFate, done]);
  assert.equal((await rig.get("/v1/jobs?namespace=*")).text, "done");
  assert.equal(asked.length, 5);
  for (const request of asked) {
    assert.equal(new URL(request.url).search, "?namespace=*");
    assert.deepEqual([request.headers.get("x-nomad-forwarded"), hopId(request)], ["1", null]);
  }
});

test("a write is sent again whole and under one id", async () => {
  const { rig, asked } = follower([refused, broken, notLeader, unknownFate, done]);
  const body = jobBody("web");
  assert.equal((await rig.put("/v1/jobs", body)).text, "done");
  assert.equal(new Set(asked.map(hopId)).size, 1);
  assert.match(hopId(asked[0]!)!, /^[0-9a-f-]{36}$/);
  for (const request of asked) assert.deepEqual(await request.json(), body);
});

test("a caller's own id is the only one", async () => {
  const { rig, asked } = follower([broken, done]);
  await rig.request("PUT", "/v1/jobs", { body: jobBody("web"), headers: { "Idempotency-Key": "mine" } });
  for (const request of asked) {
    assert.deepEqual([request.headers.get("idempotency-key"), hopId(request)], ["mine", null]);
  }
});

test("an error of the leader's own is its answer", async () => {
  const { rig, asked } = follower([failing]);
  assert.deepEqual((await rig.put("/v1/jobs", jobBody("web"))).text, "its own error");
  assert.equal(asked.length, 1);
});

test("what a device is to do is not sent again once it may have been done", async () => {
  const path = "/v1/client/allocation/6ec1e3a0-0000-0000-0000-000000000000/restart";
  const lost = follower([broken, done]);
  const answer = await lost.rig.put(path, {});
  assert.equal(answer.status, 500);
  assert.match(answer.text, /whether it was done is not known/);
  assert.equal(lost.asked.length, 1);
  const unsent = follower([refused, notLeader, done]);
  assert.equal((await unsent.rig.put(path, {})).text, "done");
});

test(
  "a leader that is known and not reached is what the caller is told of",
  { timeout: 30_000 },
  async () => {
    const { rig } = follower(Array.from({ length: 200 }, () => refused));
    const answer = await rig.get("/v1/jobs");
    assert.deepEqual([answer.status, answer.text], [
      500,
      "rpc error: the leader is not reached: connection refused",
    ]);
  },
);

test("a request is given up at the old leader when another one leads", async () => {
  const { rig, asked } = follower([
    (request) =>
      new Promise((_, reject) =>
        request.signal.addEventListener("abort", () => reject(new HopError("aborted", "maybe")))
      ),
  ]);
  const writing = rig.put("/v1/jobs", jobBody("web"));
  await until(() => asked.length === 1, "it is under way");
  rig.log.leader = rig.log.peer;
  rig.log.isLeader = true;
  const answer = await writing;
  assert.equal(answer.status, 200, "this server leads by now, and does it itself");
  const again = await rig.request("PUT", "/v1/jobs", {
    body: jobBody("web"),
    headers: { "x-nomad-hop-id": hopId(asked[0]!)! },
  });
  assert.equal(again.text, answer.text, "under the id under which it may have been done elsewhere");
});

test("what waits for the leader is bounded in number and size", async () => {
  const { rig } = follower([]);
  const answers: ((response: Response) => void)[] = [];
  const serving = new Serving({
    server: rig.context,
    forward: () => new Promise((resolve) => answers.push(resolve)),
    limits: { inFlight: 2, heldBytes: 100 },
  });
  const handler: Handler = () => assert.fail("this server does not lead");
  const ask = (body: string | null) =>
    serving.answer(
      new Exchange(new Request("http://x/v1/jobs", { method: "PUT", body })),
      {} as Api,
      handler,
    );
  const first = ask("x".repeat(60));
  await until(() => answers.length === 1, "the first is under way");
  await assert.rejects(ask("x".repeat(60)), (error) => error instanceof ApiError && error.status === 503);
  const second = ask(null);
  await until(() => answers.length === 2, "the second is under way");
  const third = await ask(null);
  assert.deepEqual([third.status, third.headers.get("retry-after")], [503, "1"]);
  for (const answer of answers) answer(new Response("done"));
  assert.deepEqual(await Promise.all([(await first).text(), (await second).text()]), ["done", "done"]);
  const later = ask("x".repeat(60));
  await until(() => answers.length === 3, "there is room again");
  answers[2]!(new Response("done"));
  assert.equal((await later).status, 200);
});
