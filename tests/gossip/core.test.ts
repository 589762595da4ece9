// The pure core of gossip on a simulated network: every test runs under many seeds, which are in the message of a failure.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Host, World } from "./network.ts";

const SEEDS = Array.from({ length: 24 }, (_, i) => i + 1);

const whole = (hosts: Host[]) => () =>
  hosts.every((host) => hosts.every((other) => host.status(other.name) === "alive"));
const seen = (hosts: Host[], name: string, status: string) => () =>
  hosts.every((host) => host.status(name) === status);

for (const count of [2, 3, 5, 9]) {
  test(`${count} servers that join one of them all know each other within three seconds`, () => {
    for (const seed of SEEDS) {
      const world = new World(seed);
      const hosts = Array.from({ length: count }, (_, i) => world.add(`s${i}`));
      for (const host of hosts.slice(1)) host.join(hosts[0]!);
      world.until(whole(hosts), 3_000, "convergence");
    }
  });
}

test("a chain of joins, over lossy lines, converges all the same", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = Array.from({ length: 6 }, (_, i) => world.add(`s${i}`));
    for (const [i, host] of hosts.slice(1).entries()) host.join(hosts[i]!);
    world.loss = 0.2;
    world.until(whole(hosts), 60_000, "convergence");
  }
});

for (const count of [2, 3, 5]) {
  test(`a killed one of ${count} servers is failed everywhere within 1 to 5 seconds, mostly within 4`, () => {
    const times: number[] = [];
    for (const seed of SEEDS) {
      const world = new World(seed);
      const [dead, ...others] = world.cluster(count);
      world.run(5_000);
      dead!.kill();
      times.push(world.until(seen(others, dead!.name, "failed"), 5_000, "failure"));
    }
    times.sort((a, b) => a - b);
    assert.ok(times[0]! >= 1_000, `never hasty: ${times[0]}`);
    assert.ok(
      times[Math.floor(times.length * 0.9)]! <= 4_000,
      `p90 ${times[Math.floor(times.length * 0.9)]}`,
    );
  });
}

test("a machine that is gone altogether is found out as well", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const [dead, ...others] = world.cluster(5);
    world.run(5_000);
    world.reaches = (from, to) => from !== dead && to !== dead;
    world.until(seen(others, dead!.name, "failed"), 8_000, "failure");
  }
});

test("nobody is called failed in ten quiet minutes, and there is little traffic", () => {
  for (const seed of SEEDS.slice(0, 5)) {
    const world = new World(seed);
    const hosts = world.cluster(5);
    const before = world.messages;
    world.run(600_000);
    assert.deepEqual(hosts.flatMap((host) => [...host.noticed("failed"), ...host.noticed("suspected")]), []);
    // A ping and its answer each half second, a full exchange each half minute.
    assert.ok(world.messages - before < 5 * 600 * 2.2, `${world.messages - before} messages`);
  }
});

test("one message in ten lost makes suspicions, all of them refuted", () => {
  let suspicions = 0;
  for (const seed of SEEDS.slice(0, 20)) {
    const world = new World(seed);
    const hosts = world.cluster(5);
    world.loss = 0.1;
    world.run(300_000);
    suspicions += hosts.reduce((sum, host) => sum + host.noticed("suspected").length, 0);
    assert.deepEqual(hosts.flatMap((host) => host.noticed("failed")), [], `seed ${seed}`);
  }
  assert.ok(suspicions > 0, "the test makes what it is about");
});

test("a server that hangs for a second is not called failed, and does not call others failed", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(3);
    for (let i = 0; i < 20; i++) {
      const host = hosts[i % 3]!;
      host.pausedUntilMs = world.nowMs + 1_000;
      world.run(8_000);
    }
    assert.deepEqual(hosts.flatMap((host) => host.noticed("failed")), [], `seed ${seed}`);
  }
});

test("a server that was stopped for a minute is failed meanwhile, blames nobody when it goes on, and is back at once", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(3);
    const [stopped, ...others] = hosts as [Host, Host, Host];
    stopped.pausedUntilMs = world.nowMs + 60_000;
    world.until(seen(others, stopped.name, "failed"), 10_000, "failure");
    world.run(60_000);
    world.until(whole(hosts), 8_000, "return");
    assert.deepEqual(stopped.noticed("failed"), [], `seed ${seed}`);
  }
});

test("a suspicion does not run out while the one who has it hangs", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const [slow, other, third] = world.cluster(3) as [Host, Host, Host];
    world.reaches = (from, to) => from !== other && to !== other;
    world.until(() => slow.noticed("suspected").length > 0, 10_000, "a suspicion");
    slow.pausedUntilMs = world.nowMs + 60_000;
    world.reaches = () => true;
    world.run(70_000);
    assert.deepEqual(slow.noticed("failed"), [], `seed ${seed}`);
    assert.ok(whole([slow, other, third])(), `seed ${seed}`);
  }
});

test("nobody fails on the word of one other server", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(3);
    const [liar, judge, accused] = hosts as [Host, Host, Host];
    world.run(5_000);
    const record = judge.core.syncMessage(false).members.find(({ name }) => name === accused.name)!;
    const updates = [{ ...record, status: "failed" as const, by: liar.name, ageMs: 0 }];
    world.send(liar, judge.port, { t: "ping", from: liar.name, seq: 0, target: judge.name, updates });
    world.run(30_000);
    assert.deepEqual(hosts.flatMap((host) => host.noticed("failed")), [], `seed ${seed}`);
    assert.equal(accused.noticed("refuted").length, 1, `seed ${seed}`);
  }
});

test("a server that is held up doubts itself, and trusts itself again when it is well", () => {
  const world = new World(3);
  const [slow] = world.cluster(3) as [Host, Host, Host];
  world.run(10_000);
  assert.equal(slow.core.awareness, 0);
  for (let i = 0; i < 5; i++) {
    slow.pausedUntilMs = world.nowMs + 900;
    world.run(1_000);
  }
  assert.ok(slow.core.awareness >= 2, `${slow.core.awareness}`);
  world.until(() => slow.core.awareness === 0, 60_000, "trust");
});

test("one direction of one line broken: the others vouch, nobody fails", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(4);
    world.reaches = (from, to) => !(from === hosts[0] && to === hosts[1]);
    world.run(60_000);
    assert.deepEqual(hosts.flatMap((host) => host.noticed("failed")), [], `seed ${seed}`);
  }
});

test("a partition makes two halves that fail each other, and heals by itself", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(5);
    const left = new Set(hosts.slice(0, 2));
    world.reaches = (from, to) => left.has(from) === left.has(to);
    world.until(
      () =>
        hosts.every((host) =>
          hosts.every((o) => host.status(o.name) === (left.has(host) === left.has(o) ? "alive" : "failed"))
        ),
      20_000,
      "two halves",
    );
    world.run(120_000);
    world.reaches = () => true;
    world.until(whole(hosts), 20_000, "healing");
  }
});

test("two clusters become one when one server of each meets", () => {
  for (const seed of SEEDS.slice(0, 10)) {
    const world = new World(seed);
    const a = world.cluster(3);
    const b = ["x", "y", "z"].map((name) => world.add(name));
    for (const host of b.slice(1)) host.join(b[0]!);
    world.until(whole(b), 5_000, "the second cluster");
    a[1]!.join(b[2]!);
    world.until(whole([...a, ...b]), 10_000, "one cluster");
  }
});

test("a server that leaves has left, is never failed, and can come back under its name", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(4);
    const [gone, ...others] = hosts as [Host, ...Host[]];
    gone.core.leave();
    world.flush(gone);
    world.run(300);
    gone.kill();
    world.until(seen(others, gone.name, "left"), 3_000, "leave");
    world.run(30_000);
    assert.ok(seen(others, gone.name, "left")(), `seed ${seed}`);
    assert.deepEqual(others.flatMap((host) => host.noticed("failed")), [], `seed ${seed}`);
    gone.restart();
    gone.join(others[0]!);
    world.until(whole(hosts), 5_000, "return");
  }
});

test("a failed server that an operator makes leave has left everywhere, also after syncs, until it is back", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(4);
    const [gone, ...others] = hosts as [Host, ...Host[]];
    gone.kill();
    world.until(seen(others, gone.name, "failed"), 6_000, "failure");
    assert.equal(others[1]!.core.forceLeave(gone.name, false), "done");
    world.until(seen(others, gone.name, "left"), 3_000, "leave");
    world.run(90_000);
    assert.ok(seen(others, gone.name, "left")());
    gone.restart();
    gone.join(others[2]!);
    world.until(whole(hosts), 5_000, "return");
  }
});

test("a living server that is made to leave leaves when it fails, and stays while it lives", () => {
  const world = new World(7);
  const hosts = world.cluster(3);
  const [gone, ...others] = hosts as [Host, Host, Host];
  assert.equal(others[0].core.forceLeave(gone.name, false), "later");
  world.run(30_000);
  assert.ok(whole(hosts)());
  gone.kill();
  world.until(seen(others, gone.name, "left"), 8_000, "leave");
  assert.equal(others[0].core.forceLeave("nobody", false), "unknown");
  assert.equal(others[0].core.forceLeave(others[0].name, false), "self");
});

test("a pruned server is forgotten by all, by newcomers too, until it is back", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(4);
    const [gone, ...others] = hosts as [Host, ...Host[]];
    gone.kill();
    world.until(seen(others, gone.name, "failed"), 6_000, "failure");
    others[0]!.core.forceLeave(gone.name, true);
    world.until(seen(others, gone.name, "unknown"), 3_000, "oblivion");
    const fresh = world.add("fresh");
    fresh.join(others[2]!);
    world.run(120_000);
    assert.ok(seen([...others, fresh], gone.name, "unknown")(), `seed ${seed}`);
    gone.restart();
    gone.join(others[1]!);
    world.until(whole([...hosts, fresh]), 5_000, "return");
  }
});

test("failed and left servers are forgotten after their time, everywhere at once, and do not come back from each other", () => {
  for (const seed of SEEDS.slice(0, 8)) {
    const world = new World(seed, { failedReapMs: 60_000, leftReapMs: 40_000 });
    const hosts = world.cluster(5);
    const [failed, left, ...others] = hosts as [Host, Host, ...Host[]];
    failed.kill();
    left.core.leave();
    world.flush(left);
    world.run(500);
    left.kill();
    world.until(seen(others, failed.name, "failed"), 6_000, "failure");
    assert.ok(seen(others, left.name, "left")());
    world.run(30_000);
    assert.ok(seen(others, left.name, "left")());
    const late = world.add("late");
    late.join(others[0]!);
    const all = [...others, late];
    world.until(seen(all, left.name, "unknown"), 30_000, "first reap");
    assert.ok(seen(all, failed.name, "failed")(), `seed ${seed}: still known, to the newcomer too`);
    world.until(seen(all, failed.name, "unknown"), 60_000, "second reap");
    world.run(200_000);
    assert.ok(all.every((host) => host.core.members().length === 4), `seed ${seed}`);
    assert.ok(others.every((host) => host.noticed("reaped").length === 2), `seed ${seed}`);
  }
});

test("a restart with a lower incarnation and new tags wins at once, before anybody saw it fail", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(4);
    const [again, ...others] = hosts as [Host, ...Host[]];
    for (let i = 0; i < 5; i++) again.core.setTags({ id: "s0-1000", round: String(i) });
    world.run(3_000);
    assert.ok(again.core.incarnation > 5);
    again.kill();
    world.run(200);
    again.restart({ round: "new" });
    again.join(others[1]!);
    world.until(
      () =>
        others.every((host) =>
          host.core.members().find(({ name }) => name === again.name)?.tags["round"] === "new"
        ),
      5_000,
      "new tags",
    );
    assert.ok(whole(hosts)());
  }
});

test("a server that comes back knowing nobody is found again by those who ping it", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(3);
    hosts[0]!.kill();
    world.run(300);
    hosts[0]!.restart();
    world.until(whole(hosts), 10_000, "the cluster");
  }
});

test("tags reach everybody, and the outside hears of every change once", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(5);
    for (const host of hosts) host.changes = [];
    hosts[2]!.core.setTags({ id: "s2", role: "new" });
    world.until(
      () =>
        hosts.every((host) => host.core.members().find(({ name }) => name === "s2")?.tags["role"] === "new"),
      3_000,
      "tags",
    );
    world.run(60_000);
    for (const host of hosts) assert.deepEqual(host.changes, ["s2=alive"], `seed ${seed} ${host.name}`);
  }
});

test("a second server of one name is not taken in, both hear of it, and the first one stays", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(3);
    const twin = world.add("s1", 2000);
    twin.join(hosts[0]!);
    world.run(40_000);
    for (const host of hosts) {
      assert.equal(host.core.members().find(({ name }) => name === "s1")!.port, 1001, `seed ${seed}`);
      assert.equal(host.core.members().length, 3);
    }
    const said = (host: Host) =>
      host.noticed("conflict").map((notice) => notice.type === "conflict" && notice.mine);
    assert.deepEqual(said(hosts[1]!), [true], `seed ${seed}: the first one is told`);
    assert.deepEqual(said(twin), [true], `seed ${seed}: and the second`);
  }
});

test("a server that has moved takes its name along within seconds, and nobody speaks of two servers", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(3);
    const [old, ...others] = hosts as [Host, Host, Host];
    for (let i = 0; i < 3; i++) old.core.setTags({ id: "s0-id", round: String(i) });
    world.run(3_000);
    old.kill();
    const moved = world.add(old.name, 2000, { id: "s0-id" });
    moved.join(others[0]);
    world.until(
      () =>
        others.every((host) => {
          const member = host.core.members().find(({ name }) => name === old.name);
          return member?.port === 2000 && member.status === "alive";
        }),
      10_000,
      "the new address",
    );
    world.run(30_000);
    assert.deepEqual([...others, moved].flatMap((host) => host.noticed("conflict")), [], `seed ${seed}`);
  }
});

test("a name becomes free for another address once its server has failed", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(3);
    const [old, ...others] = hosts as [Host, Host, Host];
    old.kill();
    world.run(100);
    const heir = world.add(old.name, 2000);
    heir.join(others[0]);
    world.until(
      () =>
        others.every((host) => {
          const member = host.core.members().find(({ name }) => name === old.name);
          return member?.port === 2000 && member.status === "alive";
        }),
      40_000,
      "inheritance",
    );
  }
});

test("chaos: kills, restarts, pauses, partitions and loss for two minutes, then everybody agrees", () => {
  for (const seed of SEEDS) {
    const world = new World(seed);
    const hosts = world.cluster(5);
    for (let i = 0; i < 24; i++) {
      const host = hosts[world.random.int(hosts.length)]!;
      const what = world.random.int(5);
      if (what === 0 && host.up) host.kill();
      if (what === 1) host.pausedUntilMs = world.nowMs + world.random.int(10_000);
      if (what === 2) world.loss = world.random.float() * 0.5;
      if (what === 3) {
        const side = new Set(hosts.filter(() => world.random.float() < 0.5));
        world.reaches = (from, to) => side.has(from) === side.has(to);
      }
      if (what === 4 && !host.up) {
        host.restart();
        host.join(hosts[world.random.int(hosts.length)]!);
      }
      world.run(5_000);
    }
    world.loss = 0;
    world.reaches = () => true;
    for (const host of hosts) {
      host.pausedUntilMs = 0;
      if (host.up) continue;
      host.restart();
      for (const other of hosts) if (other !== host) host.join(other);
    }
    world.until(whole(hosts), 60_000, "agreement");
  }
});
