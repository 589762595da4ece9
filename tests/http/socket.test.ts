// The app behind the project's real listener: what only a socket can show.
import test from "node:test";
import assert from "node:assert/strict";
import http from "node:http";
import { gunzipSync } from "node:zlib";
import { listen } from "../../core/runtime.ts";
import { Rig, webJob } from "./rig.ts";

async function served<T>(rig: Rig, use: (port: number) => Promise<T>): Promise<T> {
  const listener = await listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => rig.app.fetch(request),
  });
  try {
    return await use(listener.port);
  } finally {
    await listener.close();
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    assert.ok(tries < 500, `waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

interface Got {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Buffer;
}

function request(port: number, method: string, path: string, body?: string | Buffer): Promise<Got> {
  return new Promise((resolve, reject) => {
    const headers = { "accept-encoding": "gzip" };
    const sent = http.request(
      { host: "127.0.0.1", port, path, method, headers, agent: false },
      (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on(
          "end",
          () =>
            resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts) }),
        );
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

test("a client that hangs up ends its wait and its event stream", async () => {
  const rig = new Rig();
  await rig.put("/v1/jobs", { Job: webJob() });
  await served(rig, async (port) => {
    const waiting = http.get({ host: "127.0.0.1", port, path: "/v1/jobs?index=1000&wait=60s", agent: false });
    waiting.on("error", () => undefined);
    const stream = http.get({ host: "127.0.0.1", port, path: "/v1/event/stream", agent: false });
    stream.on("error", () => undefined);
    stream.on("response", (response) => {
      response.on("error", () => undefined);
      response.resume();
    });
    await until("both wait", () => rig.watch.waiting === 1 && rig.events.readers === 1);
    waiting.destroy();
    stream.destroy();
    await until("nobody waits", () => rig.watch.waiting === 0 && rig.events.readers === 0);
  });
});

test("compressed lists, escaped ids, HEAD and big bodies over a socket", async () => {
  const rig = new Rig();
  await served(rig, async (port) => {
    const job = JSON.stringify({ Job: webJob("a/b", { Meta: { pad: "x".repeat(2000) } }) });
    assert.equal((await request(port, "PUT", "/v1/jobs", job)).status, 200);
    const list = await request(port, "GET", "/v1/jobs?meta=true");
    assert.equal(list.headers["content-encoding"], "gzip");
    assert.equal(list.headers["x-nomad-index"], String(rig.state.index));
    assert.equal(JSON.parse(gunzipSync(list.body).toString())[0].ID, "a/b");
    assert.equal((await request(port, "GET", "/v1/job/a%2Fb/summary")).status, 200);
    assert.equal((await request(port, "GET", "/v1/job/a/b/summary")).status, 200);
    const head = await request(port, "HEAD", "/v1/jobs");
    assert.deepEqual([head.status, head.body.length], [405, 0]);
    const index = rig.state.index;
    const big = await request(port, "PUT", "/v1/jobs", Buffer.alloc(11 * 1024 * 1024, " ")).catch(() => null);
    // A server may close the connection while the rest of a refused body is still being sent.
    assert.ok(big === null || big.status === 413);
    assert.equal(rig.state.index, index);
  });
});
