// What the membership of the log has to become, by what gossip says: as values.
import assert from "node:assert/strict";
import { test } from "node:test";
import { membershipChanges } from "../../server/cluster_changes.ts";
import { type ServerMember, serverMember, serverTags } from "../../server/cluster_members.ts";
import type { ServerConfig } from "../../server/context.ts";
import type { RaftServer } from "../../server/raft_types.ts";

function member(id: string, more: Partial<ServerMember> = {}): ServerMember {
  return {
    id,
    name: `${id}.global`,
    region: "global",
    status: "alive",
    rpcAddress: `${id}:4647`,
    httpAddress: `${id}:4646`,
    expect: 3,
    nonVoter: false,
    build: "2.0.5",
    ...more,
  };
}

function server(id: string, voter = true): RaftServer {
  return { id, rpcAddress: `${id}:4647`, httpAddress: `${id}:4646`, voter };
}

/** The changes in short: "add b", "remove c", "move b d:4647". */
function changes(servers: RaftServer[], members: ServerMember[], held: string[] = []): string[] {
  return membershipChanges({ selfId: "a", servers, members, held: new Set(held) }).map((change) => {
    if (change.kind === "remove") return `remove ${change.id}`;
    const { id, rpcAddress, voter } = change.server;
    return `${change.kind} ${id} ${rpcAddress} ${voter ? "voter" : "learner"}`;
  });
}

test("nothing changes where log and gossip agree", () => {
  assert.deepEqual(changes([server("a"), server("b", false)], [member("a"), member("b")]), []);
});

test("a new server is added as a learner, a held one is not", () => {
  assert.deepEqual(changes([server("a")], [member("a"), member("b")]), ["add b b:4647 learner"]);
  assert.deepEqual(changes([server("a")], [member("a"), member("b")], ["b"]), []);
});

test("a server that left is removed, one that failed or is leaving is not", () => {
  const servers = [server("a"), server("b"), server("c"), server("d")];
  const members = [
    member("a"),
    member("b", { status: "left" }),
    member("c", { status: "failed" }),
    member("d", { status: "leaving" }),
  ];
  assert.deepEqual(changes(servers, members), ["remove b"]);
});

test("the leader never removes itself", () => {
  assert.deepEqual(changes([server("a"), server("b")], [member("a", { status: "left" }), member("b")]), []);
});

test("a server that came back elsewhere keeps its place and its vote", () => {
  const moved = member("b", { rpcAddress: "d:4647" });
  assert.deepEqual(changes([server("a"), server("b")], [member("a"), moved]), ["move b d:4647 voter"]);
});

test("two living servers with one id (a copied data_dir) do not take the place from each other", () => {
  const copy = member("b", { name: "copy.global", rpcAddress: "d:4647" });
  assert.deepEqual(changes([server("a"), server("b")], [member("a"), member("b"), copy]), []);
  assert.deepEqual(changes([server("a")], [member("a"), member("b"), copy]), [], "nor is one of them added");
  const gone = member("b", { status: "failed" });
  assert.deepEqual(changes([server("a"), server("b")], [member("a"), gone, copy]), ["move b d:4647 voter"]);
});

test("a server that lost its data takes the place of what it was", () => {
  const fresh = member("new", { name: "b.global", rpcAddress: "b:4647" });
  const servers = [server("a"), server("b"), server("c")];
  assert.deepEqual(changes(servers, [member("a"), fresh, member("c")]), ["remove b"]);
  assert.deepEqual(changes([server("a"), server("c")], [member("a"), fresh, member("c")]), [
    "add new b:4647 learner",
  ]);
});

test("an address is not taken from a server that lives", () => {
  const twin = member("new", { rpcAddress: "b:4647" });
  const result = changes([server("a"), server("b")], [member("a"), member("b"), twin]);
  assert.deepEqual(result, ["add new b:4647 learner"]);
});

test("tags say who a server is, and are read back", () => {
  const config = {
    id: "1d",
    region: "eu",
    datacenter: "dc2",
    rpcAddress: "[::1]:4647",
    httpAddress: "h:80",
    bootstrapExpect: 3,
    nonVoter: true,
  } as ServerConfig;
  const tags = serverTags(config);
  assert.equal(tags["rpc_addr"], "::1");
  const read = serverMember({ name: "s.eu", host: "::1", port: 4648, status: "alive", tags });
  assert.deepEqual(read, {
    id: "1d",
    name: "s.eu",
    region: "eu",
    status: "alive",
    rpcAddress: "[::1]:4647",
    httpAddress: "h:80",
    expect: 3,
    nonVoter: true,
    build: tags["build"],
  });
  assert.equal(
    serverMember({ name: "x", host: "h", port: 1, status: "alive", tags: { role: "consul" } }),
    null,
  );
});
