// Streams over a message connection: requests both ways, flow control, resets.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Mux } from "../../core/mux.ts";

/** Two ends joined by queues that deliver on later turns, as a network would. */
function pair(): { near: Mux; far: Mux; framesSent: () => number } {
  let frames = 0;
  const later = (to: () => Mux) => (frame: Uint8Array) => {
    frames++;
    setTimeout(() => to().receive(frame), 0);
  };
  const near: Mux = new Mux(later(() => far), { dialled: true });
  const far: Mux = new Mux(later(() => near), { dialled: false });
  return { near, far, framesSent: () => frames };
}

async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    if (turns > 2000) throw new Error("waited in vain");
    await new Promise((wake) => setTimeout(wake, 2));
  }
}

test("Mux.fetch: a request with a body reaches the other side's handler and its answer comes back", async () => {
  const { near, far } = pair();
  far.serve(async (request) => {
    const text = await request.text();
    return new Response(
      `${request.method} ${new URL(request.url).pathname}${new URL(request.url).search} ${text}`,
      {
        status: 201,
        headers: { "X-Test": request.headers.get("x-test") ?? "" },
      },
    );
  });
  const response = await near.fetch(
    new Request("http://any/v1/x?y=1", { method: "PUT", body: "hello", headers: { "X-Test": "7" } }),
  );
  assert.equal(response.status, 201);
  assert.equal(response.headers.get("x-test"), "7");
  assert.equal(await response.text(), "PUT /v1/x?y=1 hello");
});

test("Mux.fetch: both sides may ask", async () => {
  const { near, far } = pair();
  near.serve(() => new Response("near"));
  far.serve(() => new Response("far"));
  assert.equal(await (await near.fetch(new Request("http://x/"))).text(), "far");
  assert.equal(await (await far.fetch(new Request("http://x/"))).text(), "near");
});

test("Mux: a body larger than the window arrives whole and in order", async () => {
  const { near, far } = pair();
  const size = 3_000_000;
  const bytes = new Uint8Array(size).map((_, i) => i % 251);
  far.serve(() => new Response(bytes));
  const got = new Uint8Array(await (await near.fetch(new Request("http://x/"))).arrayBuffer());
  assert.equal(got.length, size);
  assert.ok(got.every((byte, i) => byte === i % 251));
});

test("Mux: a reader that stops reading stops the sender at the window", async () => {
  const { near, far } = pair();
  let produced = 0;
  far.serve(() =>
    new Response(
      new ReadableStream({
        pull(controller) {
          produced += 10_000;
          controller.enqueue(new Uint8Array(10_000));
        },
      }),
    )
  );
  const response = await near.fetch(new Request("http://x/"));
  const reader = response.body!.getReader();
  await reader.read();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(produced < 400_000, `produced ${produced} bytes for a reader that took one chunk`);
  await reader.cancel();
});

test("Mux: a handler that throws rejects the fetch with its message", async () => {
  const { near, far } = pair();
  far.serve(() => {
    throw new Error("no such thing");
  });
  await assert.rejects(near.fetch(new Request("http://x/")), /no such thing/);
});

test("Mux: aborting a request ends the handler's signal", async () => {
  const { near, far } = pair();
  const aborted = new Promise<void>((resolve) => {
    far.serve((request) => {
      request.signal.addEventListener("abort", () => resolve());
      return new Response(new ReadableStream({}));
    });
  });
  const stop = new AbortController();
  const response = await near.fetch(new Request("http://x/", { signal: stop.signal }));
  stop.abort();
  await aborted;
  await assert.rejects(response.text());
});

test("Mux: an answer that comes after its request was aborted is let go of", async () => {
  const { near, far } = pair();
  let answer!: (response: Response) => void;
  far.serve(() => new Promise<Response>((resolve) => answer = resolve));
  const abort = new AbortController();
  const asked = near.fetch(new Request("http://x/", { signal: abort.signal }));
  await until(() => far.open === 1);
  abort.abort();
  await assert.rejects(asked, /aborted/);
  await until(() => far.open === 0);
  let cancelled = false;
  answer(new Response(new ReadableStream({ cancel: () => void (cancelled = true) })));
  await until(() => cancelled);
});

test("Mux: ids begin anew at their end, and pass over those that are open", async () => {
  const far: Mux = new Mux((frame) => near.receive(frame), { dialled: false });
  const near: Mux = new Mux((frame) => far.receive(frame), { dialled: true, asked: 2 ** 31 - 2 });
  let finish!: (response: Response) => void;
  far.serve((request) =>
    request.url.endsWith("/slow")
      ? new Promise<Response>((resolve) => finish = resolve)
      : new Response(new URL(request.url).pathname)
  );
  const slow = near.fetch(new Request("http://x/slow"));
  for (const path of ["/a", "/b", "/c", "/d"]) {
    assert.equal(await (await near.fetch(new Request(`http://x${path}`))).text(), path);
  }
  finish(new Response("slow"));
  assert.equal(await (await slow).text(), "slow");
});

test("Mux.close: every open stream fails with the reason", async () => {
  const { near, far } = pair();
  far.serve(() => new Promise<Response>(() => undefined));
  const pending = near.fetch(new Request("http://x/"));
  near.close("connection lost");
  await assert.rejects(pending, /connection lost/);
  await assert.rejects(near.fetch(new Request("http://x/")), /connection lost/);
});

test("Mux.receive: a malformed frame is refused", () => {
  const { near } = pair();
  assert.throws(() => near.receive(new Uint8Array([3, 0])), /Malformed stream frame/);
});

test("Mux: bodies wait while the connection is behind, and end when it is gone", async () => {
  let backlog = 64 * 1024 * 1024;
  let sent = 0;
  const near: Mux = new Mux((frame) => void setTimeout(() => far.receive(frame)), { dialled: true });
  const far: Mux = new Mux((frame) => {
    sent += frame.length;
    setTimeout(() => near.receive(frame));
  }, { dialled: false, backlog: () => backlog });
  far.serve(() => new Response(new Uint8Array(100_000)));
  const response = await near.fetch(new Request("http://x/"));
  const body = response.arrayBuffer();
  await new Promise((wake) => setTimeout(wake, 30));
  assert.ok(sent < 1000, "the answer's head goes out, its body waits");
  backlog = 0;
  assert.equal((await body).byteLength, 100_000);
  backlog = 64 * 1024 * 1024;
  const lost = (await near.fetch(new Request("http://x/"))).arrayBuffer();
  lost.catch((seenBelow) => void seenBelow);
  far.close("gone");
  near.close("gone");
  await assert.rejects(lost, /gone/);
});
