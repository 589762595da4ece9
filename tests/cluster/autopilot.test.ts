// Autopilot's decisions on reports as values: health, failure tolerance, promotion, removal of the dead.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  assessHealth,
  type ClusterHealth,
  nextAutopilotChange,
  scaled,
  type ServerReport,
} from "../../server/autopilot.ts";
import { DEFAULT_AUTOPILOT_CONFIG } from "../../server/state_tables.ts";

const CONFIG = DEFAULT_AUTOPILOT_CONFIG;
const MINUTE_MS = 60_000;

/** A healthy follower, unless said otherwise. */
function report(id: string, more: Partial<ServerReport> = {}): ServerReport {
  return {
    id,
    name: `${id}.global`,
    rpcAddress: `${id}:4647`,
    voter: true,
    leader: false,
    gossip: "alive",
    build: "2.0.5",
    nonVoter: false,
    log: { lastContactMs: 50, lastTerm: 3, lastIndex: 1000 },
    unknownMs: 0,
    ...more,
  };
}

const leader = report("a", { leader: true, log: { lastContactMs: 0, lastTerm: 3, lastIndex: 1000 } });
const dead = (id: string, more: Partial<ServerReport> = {}) =>
  report(id, { gossip: "failed", log: null, ...more });

function assess(reports: ServerReport[], nowMs = 0, before: ClusterHealth | null = null) {
  return assessHealth(reports, before, CONFIG, nowMs);
}

/** What is decided when everything has been as it is since `sinceMs` ago. */
function decide(reports: ServerReport[], sinceMs: number, config = CONFIG) {
  return nextAutopilotChange(assess(reports), config, sinceMs);
}

test("a follower is unhealthy that is silent, behind, in an older term or unheard", () => {
  const healthy = (more: Partial<ServerReport>) => assess([leader, report("b", more)]).servers[1]!.healthy;
  const log = { lastContactMs: 50, lastTerm: 3, lastIndex: 1000 };
  assert.equal(healthy({}), true);
  assert.equal(healthy({ log: null }), false);
  assert.equal(healthy({ gossip: "failed" }), false);
  assert.equal(healthy({ log: { ...log, lastContactMs: 201 } }), false);
  assert.equal(healthy({ log: { ...log, lastContactMs: null } }), false);
  assert.equal(healthy({ log: { ...log, lastTerm: 2 } }), false);
  assert.equal(healthy({ log: { ...log, lastIndex: 749 } }), false);
  assert.equal(healthy({ log: { ...log, lastIndex: 750 } }), true);
});

test("a follower whose heartbeats are rarer (raft_multiplier) may have heard none for as much longer", () => {
  const heard = (lastContactMs: number) =>
    report("b", { log: { lastContactMs, lastTerm: 3, lastIndex: 1000 } });
  const healthy = (ms: number) => assessHealth([leader, heard(ms)], null, scaled(CONFIG, 5), 0).healthy;
  assert.deepEqual([healthy(500), healthy(1000), healthy(1001)], [true, true, false]);
});

test("one late heartbeat is no illness, two in a row are", () => {
  const late = () => report("b", { log: { lastContactMs: 300, lastTerm: 3, lastIndex: 1000 } });
  const well = assess([leader, report("b")], 1000);
  const once = assess([leader, late()], 2000, well);
  assert.deepEqual([once.healthy, once.servers[1]!.sinceMs], [true, 1000]);
  const again = assess(once.servers.map(({ healthy: _, ...same }) => same), 2001, once);
  assert.equal(again.healthy, true, "the same report judged again");
  const twice = assess([leader, late()], 3000, once);
  assert.deepEqual([twice.healthy, twice.servers[1]!.sinceMs], [false, 3000]);
});

test("health keeps the time of its last change", () => {
  const first = assess([leader, report("b")], 1000);
  const second = assess([leader, report("b")], 5000, first);
  assert.deepEqual(second.servers.map((server) => server.sinceMs), [1000, 1000]);
  const third = assess([leader, dead("b")], 7000, second);
  assert.deepEqual(third.servers.map((server) => server.sinceMs), [1000, 7000]);
  assert.equal(third.healthy, false);
});

test("failure tolerance counts healthy voters beyond the quorum", () => {
  const tolerance = (...reports: ServerReport[]) => assess(reports).failureTolerance;
  const five = [leader, report("b"), report("c"), report("d"), report("e")];
  assert.equal(tolerance(leader), 0);
  assert.equal(tolerance(...five.slice(0, 3)), 1);
  assert.equal(tolerance(...five.slice(0, 4)), 1);
  assert.equal(tolerance(...five), 2);
  assert.equal(tolerance(...five.slice(0, 4), dead("e")), 1);
  assert.equal(tolerance(leader, report("b", { voter: false })), 0);
  assert.equal(tolerance(leader, dead("b"), dead("c")), 0);
});

test("a learner is promoted when it has been healthy for the stabilization time", () => {
  const learner = report("b", { voter: false });
  assert.equal(decide([leader, learner], 9_999), null);
  assert.deepEqual(decide([leader, learner], 10_000), { kind: "promote", id: "b", name: "b.global" });
  assert.equal(decide([leader, { ...learner, nonVoter: true }], MINUTE_MS), null);
  assert.equal(decide([leader, { ...learner, log: null }], 10_000), null);
});

test("a dead voter is removed soon when that lets the cluster bear one more failure", () => {
  const four = [leader, report("b"), report("c"), dead("d")];
  assert.equal(decide(four, 9_999), null);
  assert.deepEqual(decide(four, 10_000), { kind: "remove", id: "d", name: "d.global", reason: "it failed" });
  const five = [leader, report("b"), report("c"), dead("d"), dead("e")];
  assert.equal(decide(five, 10_000)?.kind, "remove");
});

test("a dead voter whose removal changes nothing is given longer to come back", () => {
  const three = [leader, report("b"), dead("c")];
  assert.equal(decide(three, 29_999), null);
  assert.equal(decide(three, 30_000)?.id, "c");
  assert.equal(decide([leader, report("b"), dead("c", { voter: false })], 30_000)?.id, "c");
});

test("nobody is removed where it costs the majority, goes below MinQuorum, or is switched off", () => {
  const half = [leader, report("b"), dead("c"), dead("d")];
  assert.equal(decide(half, MINUTE_MS), null);
  assert.equal(decide([leader, dead("b")], MINUTE_MS), null);
  const three = [leader, report("b"), dead("c")];
  assert.equal(decide(three, MINUTE_MS, { ...CONFIG, MinQuorum: 3 }), null);
  assert.equal(decide(three, MINUTE_MS, { ...CONFIG, MinQuorum: 2 })?.id, "c");
  assert.equal(decide(three, MINUTE_MS, { ...CONFIG, CleanupDeadServers: false }), null);
});

test("only who failed or has long been unknown is dead, and nobody who answers", () => {
  const fate = (more: Partial<ServerReport>) =>
    decide([leader, report("b"), report("c", { log: null, ...more })], MINUTE_MS);
  assert.equal(fate({ gossip: "alive" }), null);
  assert.equal(fate({ gossip: "leaving" }), null);
  assert.equal(fate({ gossip: "none", unknownMs: 59_999 }), null);
  assert.equal(fate({ gossip: "none", unknownMs: 60_000 })?.id, "c");
  assert.equal(fate({ gossip: "failed", log: { lastContactMs: 10, lastTerm: 3, lastIndex: 1000 } }), null);
});
