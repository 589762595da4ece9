// A restore of a saved state and the leader: it dies with the one that was at it, and what others write meanwhile is told to
// come back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SLOW } from "../raft/helpers.ts";
import { Servers, until } from "./servers.ts";

test("restore: the next leader drops what a dead one had staged", SLOW, async () => {
  const servers = await Servers.start(3);
  try {
    const old = await servers.leader();
    await old.server.propose({ kind: "state.stage", time: 1, id: "half", first: 0, blocks: ["AAAA"] });
    const others = servers.all.filter((server) => server !== old);
    await until(() => others.every((s) => s.server.state.stagedId === "half"), "everybody to have it");
    await old.kill();
    await until(() => others.every((s) => s.server.state.stagedId === ""), "the next leader to drop it");
  } finally {
    await servers.stop();
  }
});

test("restore: writes are refused while the state is being replaced, and go on after", SLOW, async () => {
  const servers = await Servers.start(1);
  try {
    const leader = await servers.leader();
    await leader.put("/v1/namespace/before", { Name: "before" });
    const saved = await fetch(`${leader.url}/v1/operator/snapshot`);
    const file = new Uint8Array(await saved.arrayBuffer());
    await leader.put("/v1/namespace/lost", { Name: "lost" });
    const restored = fetch(`${leader.url}/v1/operator/snapshot`, { method: "PUT", body: file });
    // Whatever comes while the last entry is under way is refused or was written before it: nothing of it is half done.
    const seen = new Set<number>();
    let done = false;
    void restored.then(() => done = true);
    for (let i = 0; !done; i++) seen.add((await leader.put(`/v1/namespace/n${i}`, { Name: `n${i}` })).status);
    assert.equal((await restored).status, 200);
    for (const status of seen) assert.ok([200, 503].includes(status), String(status));
    assert.equal((await leader.put("/v1/namespace/after", { Name: "after" })).status, 200);
    const names = (await leader.get("/v1/namespaces")).json.map((n: { Name: string }) => n.Name);
    assert.ok(names.includes("before") && names.includes("after") && !names.includes("lost"), names.join());
  } finally {
    await servers.stop();
  }
});
