// Each checker is shown a break of its rule and must speak: a checker that cannot fail proves nothing. Servers are stand-ins
// here; that checkers stay silent on the real ones is what every run of the simulation shows.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Allocation, Job, Namespace, Node } from "../../core/types.ts";
import type { Command } from "../../server/commands.ts";
import type { Raft } from "../../server/raft.ts";
import { RaftLog } from "../../server/raft_log.ts";
import type { Configuration, Entry, Role } from "../../server/raft_types.ts";
import type { RequestRow } from "../../server/state_requests.ts";
import { State } from "../../server/state.ts";
import { node as blankNode } from "../scheduler/fixtures.ts";
import { AcknowledgedChecker } from "./check_acknowledged.ts";
import { HistoryChecker } from "./check_history.ts";
import { RaftChecker } from "./check_raft.ts";
import { SchedulerChecker } from "./check_scheduler.ts";
import { StateChecker } from "./check_state.ts";
import {
  type Ask,
  type Operation,
  type Outcome,
  type SimCluster,
  type SimDevice,
  SimFailure,
  type SimServer,
  type SimTask,
} from "./contract.ts";

function breaks(rule: string, run: () => void): void {
  assert.throws(
    run,
    (error) => error instanceof SimFailure && error.rule === rule,
    `rule "${rule}" was not named`,
  );
}

// ---- consensus ----

const IDS = ["a", "b", "c"];
const CONFIG: Configuration = {
  servers: IDS.map((id) => ({ id, rpcAddress: `${id}:1`, httpAddress: `${id}:2`, voter: true })),
};
const entry = (index: number, term: number, data = `${index}/${term}`): Entry => ({
  index,
  term,
  kind: "command",
  data,
});

interface FakeRaft {
  term: number;
  vote: string;
  role: Role;
  log: RaftLog;
  config: Configuration;
  isSoleMember: boolean;
}

/** Three servers whose cores are set by hand. */
class Rafts {
  readonly checker = new RaftChecker();
  readonly rafts = new Map<string, FakeRaft>();
  readonly servers = new Map<string, SimServer>();

  constructor() {
    for (const id of IDS) {
      const log = new RaftLog({ index: 0, term: 0, config: { index: 0, config: CONFIG } });
      const raft: FakeRaft = {
        term: 0,
        vote: "",
        role: "follower",
        log,
        config: CONFIG,
        isSoleMember: false,
      };
      this.rafts.set(id, raft);
      this.servers.set(id, { id, raft: raft as unknown as Raft } as SimServer);
    }
    this.step();
  }

  raft(id: string): FakeRaft {
    return this.rafts.get(id)!;
  }

  step(): void {
    this.checker.onStep({ servers: this.servers } as unknown as SimCluster);
  }

  /** Votes and entries reach the disk. */
  store(ids: string, { vote = "", term = 1, entries = [] as Entry[] }): void {
    for (const id of ids.split(" ")) {
      const raft = this.raft(id);
      raft.term = term;
      if (vote) raft.vote = vote;
      for (const each of entries) raft.log.append(each);
      raft.log.stable = raft.log.offered = raft.log.lastIndex;
      const hard = { term, vote: raft.vote, commit: 0 };
      this.checker.onPersist(this.servers.get(id)!, { hard, entries, install: null });
    }
  }

  lead(id: string): void {
    const raft = this.raft(id);
    raft.role = "leader";
    this.checker.onRole(this.servers.get(id)!, "leader", raft.term);
  }

  commit(id: string, index: number): void {
    this.raft(id).log.commitTo(index);
    this.step();
  }
}

/** a leads term 1 with the votes of a and b, and has committed entries 1 and 2 on them. */
function healthy(): Rafts {
  const rafts = new Rafts();
  rafts.store("a b", { vote: "a" });
  rafts.lead("a");
  rafts.store("a b", { vote: "a", entries: [entry(1, 1), entry(2, 1)] });
  rafts.commit("a", 2);
  rafts.commit("b", 2);
  return rafts;
}

test("check_raft: an ordinary election and commit break nothing", () => {
  healthy();
});

test("check_raft: a leader without durable votes of a majority", () => {
  const rafts = new Rafts();
  rafts.store("a", { vote: "a" });
  rafts.raft("b").term = 1;
  rafts.raft("b").vote = "a"; // In memory only.
  breaks("vote durable", () => rafts.lead("a"));
});

test("check_raft: two leaders of one term", () => {
  const rafts = healthy();
  rafts.raft("b").term = 1;
  breaks("election safety", () => rafts.lead("b"));
});

test("check_raft: two votes in one term, in memory and on disk, and a term that goes back", () => {
  const rafts = healthy();
  rafts.raft("b").vote = "c";
  breaks("vote", () => rafts.step());
  const stored = healthy();
  breaks("vote", () => stored.store("b", { vote: "c" }));
  const back = healthy();
  back.raft("b").term = 0;
  breaks("vote", () => back.step());
});

test("check_raft: a leader that lacks what was committed", () => {
  const rafts = healthy();
  rafts.store("c b", { vote: "c", term: 2 });
  breaks("leader completeness", () => rafts.lead("c"));
});

test("check_raft: entries of one index and term that differ, or stand after different ones", () => {
  const rafts = healthy();
  rafts.raft("c").log.append(entry(1, 1, "another"));
  breaks("log matching", () => rafts.step());
  const before = healthy();
  before.raft("c").log.append(entry(1, 0));
  before.raft("c").log.append(entry(2, 1));
  breaks("log matching", () => before.step());
});

test("check_raft: a commit that a majority does not hold durably", () => {
  const rafts = healthy();
  rafts.store("a", { entries: [entry(3, 1)] });
  rafts.raft("b").log.append(entry(3, 1)); // Not on its disk.
  breaks("commit durable", () => rafts.commit("a", 3));
});

test("check_raft: a crash loses what was not durable, and a start may find more than was known", () => {
  const rafts = healthy();
  const { log } = new Rafts().raft("c");
  for (const each of [entry(1, 1), entry(2, 1)]) log.append(each);
  log.stable = 2;
  rafts.servers.set("c", { id: "c", raft: { ...rafts.raft("c"), log, term: 1 } } as unknown as SimServer);
  rafts.step();
  rafts.store("a", { entries: [entry(3, 1)] });
  breaks("commit durable", () => rafts.commit("a", 3));
});

test("check_raft: a leader that counts an earlier term's entry", () => {
  const rafts = healthy();
  rafts.store("a b", { vote: "a", entries: [entry(3, 1)] });
  rafts.store("a b", { vote: "a", term: 2 });
  rafts.lead("a");
  rafts.step();
  breaks("commit own term", () => rafts.commit("a", 3));
});

test("check_raft: a follower that commits before any leader, or something else", () => {
  const rafts = healthy();
  rafts.store("a b", { entries: [entry(3, 1)] });
  breaks("commit", () => rafts.commit("b", 3));
  const other = healthy();
  other.raft("c").log.append(entry(1, 0));
  breaks("commit", () => other.commit("c", 1));
});

// ---- state ----

/** A server with a real state; apply() as the log would. */
class States {
  readonly checker = new StateChecker();
  readonly servers = new Map<string, SimServer>();

  add(id: string): State {
    const state = new State();
    const server = { id, server: { state } } as unknown as SimServer;
    this.servers.set(id, server);
    this.checker.onStart(server);
    return state;
  }

  apply(id: string, index: number, command: Command): void {
    const server = this.servers.get(id)!;
    const result = server.server!.state.apply(index, command);
    this.checker.onApply(server, index, command, result);
  }

  restore(id: string, index: number, chunks: string[]): void {
    const server = this.servers.get(id)!;
    server.server!.state.restore(index, chunks);
    this.checker.onRestore(server, index);
  }
}

const namespaceOf = (Name: string, Description: string): Namespace => ({
  Name,
  Description,
  Quota: "",
  Capabilities: null,
  NodePoolConfiguration: null,
  VaultConfiguration: null,
  Meta: null,
  CreateIndex: 0,
  ModifyIndex: 0,
} as never);
const namespace = (name: string, description: string): Command => ({
  kind: "namespace.upsert",
  time: 0,
  namespaces: [namespaceOf(name, description)],
});
const register = (node: Node, time: number): Command => ({ kind: "node.register", time, node });

test("check_state: the same commands on two servers, and by snapshot on a third", () => {
  const states = new States();
  const first = states.add("a");
  states.add("b");
  states.add("c");
  const node = blankNode(1);
  const commands = [namespace("x", "1"), register(node, 5e9), namespace("y", "2")];
  for (const id of ["a", "b"]) commands.forEach((command, i) => states.apply(id, i + 1, command));
  states.restore("c", 3, [...first.snapshot()]);
  for (const id of ["a", "b", "c"]) states.apply(id, 4, namespace("x", "3"));
});

test("check_state: another command at an index, an index left out, an index twice", () => {
  const states = new States();
  states.add("a");
  states.add("b");
  states.apply("a", 1, namespace("x", "1"));
  breaks("state machine safety", () => states.apply("b", 1, namespace("x", "2")));
  breaks("apply once", () => states.apply("a", 3, namespace("x", "2")));
  const twice = new States();
  twice.add("a");
  twice.checker.onApply(twice.servers.get("a")!, 1, namespace("x", "1"), {});
  breaks("apply once", () => twice.checker.onApply(twice.servers.get("a")!, 1, namespace("x", "1"), {}));
});

test("check_state: the same command that changes something else, at once and by the whole state's hash", () => {
  const states = new States();
  states.add("a");
  const other = states.add("b");
  const command = namespace("x", "1");
  states.apply("a", 1, command);
  other.apply(1, namespace("x", "hidden")); // Behind the checker's back.
  breaks("state hash", () => states.checker.onApply(states.servers.get("b")!, 1, command, {}));

  const hidden = new States();
  hidden.add("a");
  const changed = hidden.add("b");
  const quota = { ...command, namespaces: [{ ...namespaceOf("x", "1"), Quota: "q" }] } as Command;
  hidden.apply("a", 1, command);
  changed.apply(1, quota); // The chain does not look at this field.
  hidden.checker.onApply(hidden.servers.get("b")!, 1, command, {});
  breaks("state hash", () => {
    for (let index = 2; index <= 64; index++) {
      for (const id of ["a", "b"]) hidden.apply(id, index, namespace("z", `${index}`));
    }
  });
});

test("check_state: a snapshot that holds something else, and one that goes back", () => {
  const states = new States();
  const source = states.add("a");
  states.add("b");
  states.apply("a", 1, namespace("x", "1"));
  states.apply("a", 2, namespace("y", "1"));
  const changed = [...source.snapshot()].map((chunk) =>
    chunk.replace('"Description":"1"', '"Description":"2"')
  );
  breaks("state hash", () => states.restore("b", 2, changed));
  const back = new States();
  const state = back.add("a");
  back.apply("a", 1, namespace("x", "1"));
  const old = [...state.snapshot()];
  back.apply("a", 2, namespace("x", "2"));
  breaks("apply once", () => back.restore("a", 1, old));
});

// ---- clients ----

let operations = 0;

function operation(ask: Ask): Operation {
  return {
    id: ++operations,
    client: "c1",
    server: "a",
    ask,
    invokedMs: 0,
    invokedStep: 0,
    outcome: null,
    finishedMs: 0,
    finishedStep: 0,
  };
}

const KEY = "namespace/x";
const write = (value: string): Ask => ({ kind: "write", key: KEY, value });
const read = (consistency: "consistent" | "stale"): Ask => ({ kind: "read", key: KEY, consistency });
const ok = (value: string | null, index = 0): Outcome => ({ kind: "ok", value, index });

function run(checker: HistoryChecker, ask: Ask, outcome: Outcome): void {
  const each = operation(ask);
  checker.onOperationStarted(each);
  each.outcome = outcome;
  checker.onOperationFinished(each);
}

test("check_history: a consistent read of what was overwritten", () => {
  const checker = new HistoryChecker();
  run(checker, write("1"), ok("1"));
  run(checker, write("2"), ok("2"));
  run(checker, read("stale"), ok("1"));
  run(checker, read("consistent"), ok("2"));
  breaks("linearizable", () => run(checker, read("consistent"), ok("1")));
});

test("check_history: a violation waits for the outcomes that could explain it", () => {
  const checker = new HistoryChecker();
  run(checker, write("1"), ok("1"));
  const slow = operation(write("2"));
  checker.onOperationStarted(slow);
  run(checker, read("consistent"), ok("2"));
  run(checker, read("consistent"), ok("1"));
  slow.outcome = { kind: "unknown", message: "" };
  breaks("linearizable", () => checker.onOperationFinished(slow));
});

test("check_history: a stale read of what nobody wrote, an index with two values", () => {
  const checker = new HistoryChecker();
  run(checker, write("1"), ok("1"));
  breaks("invented", () => run(checker, read("stale"), ok("9")));
  const job: Ask = { kind: "read", key: "job/default/reg-1", consistency: "stale" };
  const registerOf = (value: string): Ask => ({ kind: "write", key: job.key, value });
  run(checker, registerOf("a"), ok("a", 5));
  run(checker, registerOf("b"), ok("b", 6));
  breaks("invented", () => run(checker, job, ok("b", 5)));
});

test("check_acknowledged: a write that the log does not hold, and one that the state lost", () => {
  const checker = new AcknowledgedChecker();
  const state = new State();
  const server = { id: "a", ready: true, server: { state } } as unknown as SimServer;
  const command = namespace("x", "1");
  checker.onApply(server, 1, command, state.apply(1, command));
  const acknowledged = { ...operation(write("1")), outcome: ok("1", 1) };
  checker.onOperationFinished(acknowledged);
  breaks(
    "acknowledged",
    () => checker.onOperationFinished({ ...operation(write("2")), outcome: ok("2", 1) }),
  );
  breaks(
    "acknowledged",
    () => checker.onOperationFinished({ ...operation(write("1")), outcome: ok("1", 2) }),
  );
  const cluster = { servers: new Map([["a", server]]) } as unknown as SimCluster;
  checker.end(cluster);
  state.apply(2, { kind: "namespace.delete", names: ["x"] }); // Nobody was told.
  breaks("lost write", () => checker.end(cluster));
});

test("check_acknowledged: a request with an id that takes effect twice, or is answered by another", () => {
  const checker = new AcknowledgedChecker();
  const server = { id: "a" } as SimServer;
  const request = { key: "k", digest: "", time: 1e9, answer: { body: null } };
  const command: Command = { ...namespace("x", "1"), request };
  checker.onApply(server, 1, command, {});
  checker.onApply(server, 2, command, { repeated: { index: 1 } as RequestRow });
  breaks("request once", () => checker.onApply(server, 3, command, { repeated: { index: 2 } as RequestRow }));
  breaks("request once", () => checker.onApply(server, 4, command, {}));
});

// ---- the scheduler ----

const NODE = blankNode(1, { cpu: 1000, memory: 1000 });
const ELSEWHERE = blankNode(2, { cpu: 1000, memory: 1000 });

interface AllocSpec {
  id: string;
  node?: Node;
  name?: string;
  cpu?: number;
  port?: number;
  type?: string;
  fields?: Partial<Allocation>;
  group?: Record<string, unknown>;
}

function alloc(
  { id, node = NODE, name = "j.g[0]", cpu = 100, port, type = "service", fields, group }: AllocSpec,
) {
  const job = {
    Namespace: "default",
    ID: "j",
    Type: type,
    Version: 0,
    CreateIndex: 1,
    Constraints: null,
    TaskGroups: [{ Name: "g", ...group }],
  } as unknown as Job;
  return {
    ID: id,
    Name: name,
    Namespace: "default",
    JobID: "j",
    Job: job,
    TaskGroup: "g",
    NodeID: node.ID,
    DesiredStatus: "run",
    ClientStatus: "running",
    PreviousAllocation: "",
    DeploymentStatus: null,
    CreateIndex: 1,
    AllocatedResources: {
      Tasks: { t: { Cpu: { CpuShares: cpu }, Memory: { MemoryMB: 10 } } },
      Shared: { DiskMB: 1, Ports: port === undefined ? null : [{ Value: port }] },
    },
    ...fields,
  } as unknown as Allocation;
}

/** Shows the checker a plan that placed `placed`, in a state that holds `all`. */
function plan(all: Allocation[], placed: Allocation): () => void {
  const others = all.map((each) => ({ ...each }));
  const latest = { ...placed, CreateIndex: 9 };
  const allocs = [...others, latest];
  const state = {
    node: (id: string) => [NODE, ELSEWHERE].find((node) => node.ID === id),
    alloc: (id: string) => allocs.find((each) => each.ID === id),
    allocsByNode: (id: string) => allocs.filter((each) => each.NodeID === id),
    allocsByJob: () => allocs,
  };
  const server = { id: "a", server: { state } } as unknown as SimServer;
  const command = {
    kind: "plan",
    time: 0,
    plan: { namespace: "default", jobId: "j", placements: [{ id: placed.ID }], inPlace: [], stops: [] },
  } as unknown as Command;
  return () => new SchedulerChecker().onApply(server, 9, command);
}

test("check_scheduler: what fits, and what is on its way out, breaks nothing", () => {
  plan([alloc({ id: "1", cpu: 900 })], alloc({ id: "2", cpu: 100, name: "j.g[1]" }))();
  const leaving = alloc({ id: "1", cpu: 900, fields: { DesiredStatus: "stop" } });
  plan([leaving], alloc({ id: "2", cpu: 900 }))();
});

test("check_scheduler: a node over its capacity, a port used twice", () => {
  breaks("capacity", plan([alloc({ id: "1", cpu: 901 })], alloc({ id: "2", name: "j.g[1]" })));
  breaks("capacity", plan([alloc({ id: "1", port: 80 })], alloc({ id: "2", port: 80, name: "j.g[1]" })));
});

test("check_scheduler: a name that runs already, a batch task that succeeded, a node shared against the rule", () => {
  breaks("run twice", plan([alloc({ id: "1" })], alloc({ id: "2", node: ELSEWHERE })));
  const done = alloc({ id: "1", type: "batch", fields: { ClientStatus: "complete" } });
  breaks("run twice", plan([done], alloc({ id: "2", type: "batch", node: ELSEWHERE })));
  const cutOff = alloc({
    id: "1",
    fields: { ClientStatus: "unknown" },
    group: { Disconnect: { Replace: false } },
  });
  const stays = { group: { Disconnect: { Replace: false } } };
  breaks("run twice", plan([cutOff], alloc({ id: "2", node: ELSEWHERE, ...stays })));
  plan([cutOff], alloc({ id: "2", node: ELSEWHERE }))();
  plan([alloc({ id: "1", fields: { ClientStatus: "unknown" } })], alloc({ id: "2", node: ELSEWHERE }))();
  const apart = { Constraints: [{ Operand: "distinct_hosts" }] };
  breaks(
    "distinct hosts",
    plan([alloc({ id: "1", group: apart })], alloc({ id: "2", name: "j.g[1]", group: apart })),
  );
});

test("check_scheduler: one allocation on two devices", () => {
  const checker = new SchedulerChecker();
  const task = {
    allocId: "1",
    job: "default/j",
    allocName: "j.g[0]",
    startedMs: 0,
    stoppedMs: null,
  } as SimTask;
  const [here, there] = ["d1", "d2"].map((name) => ({ id: name, name }) as SimDevice);
  checker.onTaskStarted(here!, task);
  checker.onTaskStopped(here!, task);
  checker.onTaskStarted(there!, task);
  breaks("run twice", () => checker.onTaskStarted(here!, task));
});
