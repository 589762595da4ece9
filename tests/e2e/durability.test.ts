// `kill -9` at any moment loses nothing that was acknowledged: writers register jobs and stop them while the server is
// killed again and again; after each restart every acknowledged write is read back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { shellJob, TestAgent } from "./harness.ts";

const ROUNDS = 5;
const WRITERS = 8;

test("kill -9 in a loop under writes: every acknowledged write is there after the restart", async () => {
  const agent = new TestAgent({ durable: true, client: false });
  /** Job → what was last acknowledged: its version's marker, or null once deleted. */
  const acknowledged = new Map<string, string | null>();
  /** Writes whose answer was lost: both outcomes are right. */
  const unknown = new Map<string, string | null>();
  let writes = 0;
  try {
    await agent.start();
    for (let round = 0; round < ROUNDS; round++) {
      let stop = false;
      const writers = Array.from({ length: WRITERS }, async (_, writer) => {
        for (let n = 0; !stop; n++) {
          const id = `w${writer}-${n % 7}`;
          const marker = n % 11 === 10 ? null : `${round}-${n}`;
          unknown.set(id, marker);
          try {
            if (marker === null) await agent.call("DELETE", `/v1/job/${id}?purge=true`);
            else await agent.put("/v1/jobs", withMarker(id, marker));
          } catch (lost) {
            void lost;
            return;
          }
          acknowledged.set(id, marker);
          unknown.delete(id);
          writes++;
        }
      });
      await new Promise((resolve) => setTimeout(resolve, 150 + round * 97));
      await agent.end("SIGKILL");
      stop = true;
      await Promise.all(writers);
      await agent.start();
      for (const [id, marker] of acknowledged) await check(agent, id, marker, unknown);
      for (const [id, marker] of unknown) {
        acknowledged.set(id, await markerOf(agent, id) === marker ? marker : acknowledged.get(id) ?? null);
      }
      unknown.clear();
    }
    assert.ok(writes > ROUNDS * WRITERS, `only ${writes} writes were acknowledged`);
  } finally {
    await agent.end("SIGKILL");
    await agent.destroy();
  }
});

function withMarker(id: string, marker: string) {
  const body = shellJob(id, "true");
  body.Job["Meta"] = { marker };
  return body;
}

async function markerOf(agent: TestAgent, id: string): Promise<string | null> {
  const response = await fetch(`${agent.address}/v1/job/${id}`);
  if (response.status === 404) {
    await response.text();
    return null;
  }
  return ((await response.json()) as { Meta: { marker: string } }).Meta.marker;
}

/** What is read is what was acknowledged last, or the write after it whose answer was lost. */
async function check(
  agent: TestAgent,
  id: string,
  marker: string | null,
  unknown: Map<string, string | null>,
) {
  const found = await markerOf(agent, id);
  const allowed = unknown.has(id) ? [marker, unknown.get(id)] : [marker];
  assert.ok(allowed.includes(found), `${id}: acknowledged ${marker}, found ${found}`);
}
