// Founding a cluster: servers that see each other through lists the test sets, and that ask each other directly.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../core/env.ts";
import type { Logger } from "../../core/logger.ts";
import { Forming } from "../../server/cluster_forming.ts";
import type { ServerMember } from "../../server/cluster_members.ts";

/** Several servers; `sees` is who each of them knows to be alive. */
class Founders {
  nowMs = 0;
  readonly servers = new Map<string, Founder>();
  readonly clock = { monotonicMs: () => this.nowMs } as Clock;

  add(id: string, expect = 3, more: Partial<ServerMember> = {}): Founder {
    const founder = new Founder(this, id, expect, more);
    this.servers.set(id, founder);
    return founder;
  }

  /** Everybody sees everybody. */
  meet(): void {
    for (const founder of this.servers.values()) founder.sees = [...this.servers.keys()];
  }

  async checkAll(): Promise<void> {
    for (const founder of this.servers.values()) await founder.forming.check();
  }

  /** Id → ids of its first membership. */
  get result(): Record<string, string> {
    return Object.fromEntries([...this.servers].map(([id, founder]) => [id, founder.members]));
  }
}

class Founder {
  sees: string[] = [];
  members = "";
  hasState = false;
  /** Runs before this server answers an offer of another. */
  onOffer = () => {};
  readonly lines: string[] = [];
  readonly member: ServerMember;
  readonly forming: Forming;

  constructor(readonly all: Founders, readonly id: string, expect: number, more: Partial<ServerMember>) {
    const at = (address: string) => {
      const server = all.servers.get(address.split(":")[0]!);
      if (!server) throw new Error("unreachable");
      return server;
    };
    this.member = {
      id,
      name: `${id}.global`,
      region: "global",
      status: "alive",
      rpcAddress: `${id}:4647`,
      httpAddress: `${id}:4646`,
      expect,
      nonVoter: false,
      build: "",
      ...more,
    };
    const say = (message: string, fields?: unknown) =>
      void this.lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
    const logger: Logger = { debug: say, info: say, warn: say, error: say };
    this.forming = new Forming({
      id,
      expect,
      clock: all.clock,
      logger,
      isFresh: () => !this.hasState && this.members === "",
      alive: () => this.sees.map((other) => all.servers.get(other)!.member),
      bootstrap: (servers) => this.members = servers.map((s) => s.id).join(),
      calls: {
        status: async (address) => {
          const { id, hasState, members } = await Promise.resolve(at(address));
          return {
            id,
            region: "global",
            clusterId: "",
            hasState: hasState || members !== "",
            servers: [],
            lastContactMs: null,
            lastTerm: 0,
            lastIndex: 0,
          };
        },
        offer: async (address, offer) => {
          const server = await Promise.resolve(at(address));
          server.onOffer();
          return server.forming.onOffer(offer);
        },
        leave: () => Promise.reject(new Error("nobody leaves")),
      },
    });
  }
}

function three(): Founders {
  const all = new Founders();
  for (const id of ["a", "b", "c"]) all.add(id);
  all.meet();
  return all;
}

test("three that see each other begin with one membership", async () => {
  const all = three();
  await all.checkAll();
  assert.deepEqual(all.result, { a: "a,b,c", b: "a,b,c", c: "a,b,c" });
});

test("nobody begins before all are there", async () => {
  const all = new Founders();
  all.add("a");
  all.add("b");
  all.meet();
  await all.checkAll();
  assert.deepEqual(all.result, { a: "", b: "" });
});

test("nobody begins while the members differ from view to view", async () => {
  const all = three();
  all.add("d");
  all.servers.get("b")!.sees = ["a", "b", "c", "d"];
  await all.checkAll();
  assert.deepEqual(all.result, { a: "", b: "", c: "", d: "" });
  all.meet();
  await all.checkAll();
  assert.equal(all.result["a"], "a,b,c,d");
});

test("nobody begins beside a cluster, be it only one server that waits", async () => {
  const all = three();
  all.add("old", 0).hasState = true;
  all.meet();
  await all.checkAll();
  assert.deepEqual(all.result, { a: "", b: "", c: "", old: "" });
  assert.match(all.servers.get("a")!.lines.join("\n"), /old\.global belongs to a cluster already/);
});

test("different numbers are an error in the log and form nothing", async () => {
  const all = three();
  all.add("d", 5);
  all.meet();
  await all.checkAll();
  await all.checkAll();
  const lines = all.servers.get("a")!.lines;
  assert.equal(lines.length, 1, "it is said once");
  assert.match(
    lines[0]!,
    /no cluster is formed: server d\.global expects another number of servers \(bootstrap_expect 5 there, 3 here\)/,
  );
  assert.deepEqual(all.result, { a: "", b: "", c: "", d: "" });
});

test("a server that leads on its own is waited for", async () => {
  const all = three();
  all.add("d", 1);
  all.meet();
  await all.checkAll();
  assert.match(all.servers.get("a")!.lines[0]!, /d\.global leads on its own .* waits to be added/);
});

test("those that wait to be added and those that do not vote are no first members", async () => {
  const all = three();
  all.add("d", 0);
  all.add("e", 3, { nonVoter: true });
  all.meet();
  await all.checkAll();
  assert.deepEqual(all.result, { a: "a,b,c", b: "a,b,c", c: "a,b,c", d: "", e: "" });
});

test("a promise binds: whoever gave one gives no second to another founder", () => {
  const all = new Founders();
  for (const id of ["a", "b", "c", "d"]) all.add(id);
  const c = all.servers.get("c")!;
  const prepare = (from: string, ids: string[]) => {
    c.sees = ids;
    const servers = ids.map((id) => ({
      id,
      rpcAddress: `${id}:4647`,
      httpAddress: `${id}:4646`,
      voter: true,
    }));
    return c.forming.onOffer({ phase: "prepare", from, servers });
  };
  assert.equal(prepare("a", ["a", "c", "d"]).ok, true);
  const second = prepare("b", ["b", "c", "d"]);
  assert.deepEqual(second, { ok: false, reason: "this server promised a another membership" });
  assert.equal(prepare("a", ["a", "b", "c", "d"]).ok, true, "the same founder may ask anew");
  all.nowMs += 6001;
  assert.equal(prepare("b", ["b", "c", "d"]).ok, true);
});

test("a promise that was not used in time is worth nothing", async () => {
  const all = three();
  all.servers.get("c")!.onOffer = () => all.nowMs += 4000;
  await all.servers.get("a")!.forming.check();
  assert.deepEqual(all.result, { a: "", b: "", c: "" });
});

test("a commit without a promise, or long after it, is refused", () => {
  const all = three();
  const b = all.servers.get("b")!;
  const servers = ["a", "b", "c"].map((id) => ({
    id,
    rpcAddress: `${id}:4647`,
    httpAddress: `${id}:4646`,
    voter: true,
  }));
  assert.equal(b.forming.onOffer({ phase: "commit", from: "a", servers }).ok, false);
  assert.equal(b.forming.onOffer({ phase: "prepare", from: "a", servers }).ok, true);
  assert.equal(b.forming.onOffer({ phase: "commit", from: "c", servers }).ok, false);
  all.nowMs += 7000;
  assert.equal(b.forming.onOffer({ phase: "commit", from: "a", servers }).ok, false);
  assert.equal(b.members, "");
});
