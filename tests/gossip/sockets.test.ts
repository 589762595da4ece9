// Gossip between real listeners: joining, failing, coming back, leaving, being made to leave.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { killServer, startServer, stopAll, until, untilWhole } from "./rig.ts";

after(stopAll);

test("three servers that join one of them know each other, with their tags", async () => {
  const [a, b, c] = [await startServer("a"), await startServer("b"), await startServer("c")];
  assert.deepEqual(await b.node.join([a.address]), { joined: 1, errors: [] });
  assert.deepEqual(await c.node.join([a.address]), { joined: 1, errors: [] });
  await untilWhole([a, b, c]);
  a.node.setTags({ role: "nomad", id: "a", expect: "3" });
  await until(
    () =>
      [b, c].every(({ node }) =>
        node.members().find(({ name }) => name === "a.global")?.tags["expect"] === "3"
      ),
    "the new tags of a",
  );
});

test("a server that is killed fails, and is back under the same name after a restart", async () => {
  const servers = [await startServer("a"), await startServer("b"), await startServer("c")];
  const [a, b, c] = servers as [typeof servers[0], typeof servers[0], typeof servers[0]];
  const seen: string[] = [];
  a.node.onMember((member) => seen.push(`${member.name} ${member.status}`));
  for (const other of [b, c]) await other.node.join([a.address]);
  await untilWhole(servers);
  await killServer(c);
  await until(() => a.view.includes("c.global=failed") && b.view.includes("c.global=failed"), "c failed");
  const again = await startServer("c", { port: c.listener.port });
  await until(() => a.view.includes("c.global=alive") && b.view.includes("c.global=alive"), "c back");
  await untilWhole([a, b, again]);
  assert.deepEqual(seen.filter((line) => line.startsWith("c")), [
    "c.global alive",
    "c.global failed",
    "c.global alive",
  ]);
});
