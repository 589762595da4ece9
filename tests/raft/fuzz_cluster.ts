// A cluster of cores under faults drawn from a seed, with checkers beside it: lost, doubled, late and reordered messages,
// partitions, crashes that lose the write under way (or not), refused writes, snapshots, membership changes, transfers, and
// disks that lose what was durable (one server's at a time: what two of three have lost nobody can bring back).
//
// Checked after every step: one leader a term; two logs that agree on an entry's index and term agree on everything before;
// a new leader holds everything that was acknowledged; every index is applied with the same text everywhere; a confirmed
// read sees all that was acknowledged before it was asked. And what the paper demands of every single step, so that a
// broken rule is seen where it is broken and not only where it does harm: nothing is told before it is on the disk; a leader
// has its own vote there; it counts only entries of its term; it changes the membership only after a commit in its term.
import assert from "node:assert/strict";
import type { Message, RaftServer } from "../../server/raft_types.ts";
import { type CoreDisk, CoreNode, SeededRandom } from "./core_cluster.ts";

interface PendingRead {
  nodeId: string;
  minimum: number;
}

const NAMES = ["a", "b", "c", "d", "e", "f", "g"];

function server(id: string, voter = true): RaftServer {
  return { id, rpcAddress: `${id}:1`, httpAddress: `${id}:2`, voter };
}

export class FuzzCluster {
  readonly random: SeededRandom;
  readonly nodes = new Map<string, CoreNode>();
  readonly #names: string[];
  readonly #actions: { weight: number; run: (node: CoreNode) => void }[];
  #weights = 0;
  #wires: Message[] = [];
  #cut = new Set<string>();
  #loss: number;
  #double: number;
  #writeFailure: number;
  /** Term → leader; every leader that ever was. */
  #leaders = new Map<number, string>();
  /** Term → its leader's commit index when it was elected. */
  #commits = new Map<number, number>();
  /** `index/term` → what must stand there and before. */
  #entries = new Map<string, string>();
  /** Text applied at each index, by whoever was first. */
  #applied: string[] = [];
  /** Text → who proposed it; acknowledged when applied there while it still leads that term. */
  #proposed = new Map<string, { nodeId: string; term: number }>();
  acknowledged = 0;
  confirmedReads = 0;
  snapshotsInstalled = 0;
  membershipChanges = 0;
  losses = 0;
  #ackIndex = 0;
  #reads = new Map<number, PendingRead>();
  #count = 0;

  /** Copies of disks as they were, for losses that go back in time. */
  #older = new Map<string, CoreDisk>();

  constructor({ seed }: { seed: number }) {
    this.random = new SeededRandom(seed);
    const size = 1 + this.random.int(5);
    this.#names = NAMES.slice(0, size + this.random.int(3));
    const servers = NAMES.slice(0, size).map((id) => server(id));
    // Swarm: each seed has its own mixture of faults, and some have none of a kind.
    this.#loss = this.#some(0.4);
    this.#double = this.#some(0.2);
    this.#writeFailure = this.#some(0.05);
    const appendChars = this.random.chance(0.5) ? 1 : 1000; // 1: every entry travels alone.
    const options = { electionTicks: 6, heartbeatTicks: 2, random: this.random, appendChars };
    for (const id of this.#names) {
      this.nodes.set(id, new CoreNode(id, servers.some((s) => s.id === id) ? { servers } : null, options));
    }
    this.#actions = this.#mixture();
    for (const action of this.#actions) this.#weights += action.weight;
  }

  #some(max: number): number {
    return this.random.chance(0.3) ? 0 : this.random.float() ** 2 * max;
  }

  #mixture(): { weight: number; run: (node: CoreNode) => void }[] {
    const action = (weight: number, run: (node: CoreNode) => void) => ({
      weight: weight * 4 ** (this.random.float() * 2 - 1),
      run,
    });
    // Some seeds are all elections: clocks that run ahead, crashes at every moment.
    const storm = this.random.chance(0.4) ? 15 : 1;
    return [
      action(40, () => this.#deliverOne()),
      action(15, (node) => node.raft.tick()),
      action(20, (node) => this.#finishWrite(node)),
      action(10, (node) => this.#propose(node)),
      action(3, (node) => this.#read(node)),
      action(0.5, () => this.#changeMembers()),
      action(0.2, () => this.#transfer()),
      action(0.5, (node) => this.#snapshot(node)),
      action(0.3, () => this.#partition()),
      action(0.5, () => this.#cut.clear()),
      action(this.#some(2) + (storm > 1 ? 3 : 0), (node) => this.#crash(node)),
      action(0.2 * storm, (node) => this.#runOut(node)),
      action(0.1, () => this.#wires.splice(0)),
      action(1, (node) => this.#older.set(node.id, structuredClone(node.disk))),
      action(this.#some(6), (node) => this.#lose(node)),
    ];
  }

  step(): void {
    const node = this.#pick([...this.nodes.values()]);
    let dice = this.random.float() * this.#weights;
    const action = this.#actions.find((a) => (dice -= a.weight) < 0) ?? this.#actions[0]!;
    action.run(node);
    for (const each of this.nodes.values()) this.#pump(each);
    this.check(++this.#count % 16 === 0);
  }

  #snapshot(node: CoreNode): void {
    node.snapshot(node.raft.log.applied);
    node.compact(this.random.int(10));
  }

  /** Its clock runs ahead: the election timer fires. */
  #runOut(node: CoreNode): void {
    for (let i = this.random.int(20); i > 0; i--) {
      node.raft.tick();
      this.#pump(node);
    }
  }

  #pick<T>(from: T[]): T {
    return from[this.random.int(from.length)]!;
  }

  #leader(): CoreNode | undefined {
    const leaders = [...this.nodes.values()].filter((n) => n.raft.role === "leader");
    return leaders.length > 0 ? this.#pick(leaders) : undefined;
  }

  #deliverOne(): void {
    if (this.#wires.length === 0) return;
    // Mostly in order, sometimes not.
    const at = this.random.chance(0.8) ? 0 : this.random.int(this.#wires.length);
    const [m] = this.#wires.splice(at, 1);
    if (!this.random.chance(this.#loss)) this.#deliver(m!);
  }

  #deliver(m: Message): void {
    if (this.#cut.has(`${m.from} ${m.to}`)) return;
    const node = this.nodes.get(m.to);
    if (!node) return;
    node.raft.step(structuredClone(m));
    this.#pump(node);
  }

  #finishWrite(node: CoreNode): void {
    if (node.write) node.finishWrite(!this.random.chance(this.#writeFailure));
  }

  #pump(node: CoreNode): void {
    const before = node.raft.log.applied;
    const restored = node.raft.log.floorIndex > before;
    for (const m of node.pump()) {
      this.#checkDurable(node, m);
      if (this.#wires.length < 500) this.#wires.push(m);
      if (this.random.chance(this.#double)) this.#wires.push(m);
    }
    if (restored && node.raft.log.applied > before) this.snapshotsInstalled++;
    for (let index = before + 1; index <= node.raft.log.applied; index++) this.#checkApplied(node, index);
    for (const { context, index } of node.reads.splice(0)) {
      const read = this.#reads.get(context);
      if (!read || read.nodeId !== node.id) continue;
      this.#reads.delete(context);
      this.confirmedReads++;
      assert.ok(
        index >= read.minimum,
        `${node.id} confirmed a read at ${index}, ${read.minimum} was acknowledged before`,
      );
    }
  }

  /** Figure 2: "updated on stable storage before responding". */
  #checkDurable({ id, disk }: CoreNode, m: Message): void {
    const { hard, floor, entries } = disk;
    if (m.type === "vote.response" && m.granted) {
      assert.deepEqual([hard.term, hard.vote], [m.term, m.to], `${id} tells a vote that is not durable`);
    }
    if (m.type === "vote") {
      assert.deepEqual(
        [hard.term, hard.vote],
        [m.term, id],
        `${id} asks for votes before its own is durable`,
      );
    }
    if (m.type === "append.response" && m.ok) {
      const last = Math.max(floor.index + entries.length, disk.snapshots.at(-1)?.meta.index ?? 0);
      assert.ok(last >= m.match, `${id} acknowledges ${m.match}, its disk ends at ${last}`);
    }
  }

  #checkApplied(node: CoreNode, index: number): void {
    const text = node.state[index - 1];
    assert.ok(text !== undefined, `${node.id} has applied nothing at ${index}`);
    this.#applied[index] ??= text;
    assert.equal(text, this.#applied[index], `${node.id} applied something else at ${index}`);
    const proposed = this.#proposed.get(text);
    if (proposed?.nodeId === node.id && node.raft.role === "leader" && node.raft.term === proposed.term) {
      this.acknowledged++;
      this.#ackIndex = Math.max(this.#ackIndex, index);
      this.#proposed.delete(text);
    }
  }

  #propose(node: CoreNode): void {
    const target = node.raft.role === "leader" ? node : this.#leader();
    if (!target) return;
    const data = `v${this.#count}`;
    const entry = target.raft.propose(data);
    if (entry) this.#proposed.set(`${entry.term}:command:${data}`, { nodeId: target.id, term: entry.term });
  }

  #read(node: CoreNode): void {
    const target = this.random.chance(0.5) ? node : this.#leader();
    if (target?.raft.role !== "leader") return;
    this.#reads.set(this.#count, { nodeId: target.id, minimum: this.#ackIndex });
    target.raft.readIndex(this.#count);
  }

  #changeMembers(): void {
    const leader = this.#leader();
    if (!leader || this.#someAbstain()) return;
    const { servers } = leader.raft.config;
    const id = this.#pick(this.#names);
    const others = servers.filter((s) => s.id !== id);
    const known = others.length < servers.length;
    const next = known && this.random.chance(0.5) ? others : [...others, server(id, this.random.chance(0.7))];
    const { committedInTerm } = leader.raft;
    const { commit, config } = leader.raft.log;
    if (typeof leader.raft.proposeConfig({ servers: next }) === "string") return;
    this.membershipChanges++;
    assert.ok(committedInTerm, `${leader.id} changes the membership before it committed in its term`);
    assert.ok(config.index <= commit, `${leader.id} changes the membership while a change is open`);
  }

  #transfer(): void {
    this.#leader()?.raft.transferLeadership(this.#pick(this.#names));
  }

  #partition(): void {
    const side = new Set(this.#names.filter(() => this.random.chance(0.5)));
    const oneWay = this.random.chance(0.3);
    for (const x of this.#names) {
      for (const y of this.#names) {
        if (side.has(x) && !side.has(y)) {
          this.#cut.add(`${x} ${y}`);
          if (!oneWay) this.#cut.add(`${y} ${x}`);
        }
      }
    }
  }

  /** Power fails: the write under way is lost or was just finished; nothing else in memory stays. */
  #crash(node: CoreNode): void {
    if (node.write && this.random.chance(0.5)) node.applyWrite(node.write);
    for (const [context, read] of this.#reads) if (read.nodeId === node.id) this.#reads.delete(context);
    const { applied } = node.raft.log;
    node.restart();
    assert.ok(node.raft.log.lastIndex >= 0 && applied >= 0);
    // A server alone serves all it acknowledged right after its start.
    for (let index = 1; index <= node.raft.log.applied; index++) this.#checkApplied(node, index);
  }

  #someAbstain(): boolean {
    return [...this.nodes.values()].some((n) => n.disk.hard.abstain !== undefined || n.raft.abstain !== null);
  }

  /** The disk loses what was durable. At least two others must be there to elect without this one. */
  #lose(node: CoreNode): void {
    const logs = [...this.nodes.values()].map((n) => n.raft.log.config);
    const { index, config } = logs.reduce((newest, c) => c.index > newest.index ? c : newest);
    const members = config.servers.filter((s) => s.id !== node.id);
    const known = members.every((s) => this.nodes.get(s.id)!.raft.log.config.index === index);
    if (!known || members.filter((s) => s.voter).length < 2 || this.#someAbstain()) return;
    this.#crash(node);
    const older = this.random.chance(0.3) ? this.#older.get(node.id) : undefined;
    const { disk } = node;
    if (older && older.hard.commit <= disk.hard.commit) node.lose({ older });
    else {
      const least = Math.max(disk.floor.index, disk.snapshots.at(-1)?.meta.index ?? 0);
      node.lose({ after: least + this.random.int(disk.floor.index + disk.entries.length - least + 1) });
    }
    this.losses++;
  }

  /** `deep` compares whole logs, too. */
  check(deep: boolean): void {
    for (const node of this.nodes.values()) {
      const { raft } = node;
      if (raft.role === "leader") {
        const known = this.#leaders.get(raft.term);
        assert.ok(
          known === undefined || known === node.id,
          `${known} and ${node.id} both lead term ${raft.term}`,
        );
        if (known === undefined) this.#checkNewLeader(node);
        this.#leaders.set(raft.term, node.id);
        this.#checkCommit(node);
      }
      if (raft.abstain && !node.write) {
        assert.ok(node.disk.hard.abstain, `${node.id} would forget over a restart that it abstains`);
      }
      if (deep) this.#checkLog(node);
    }
  }

  /** §5.4.2: a leader's commit index stands where it stood at its election, or at an entry of its own term. */
  #checkCommit({ id, raft }: CoreNode): void {
    const { commit } = raft.log;
    const before = this.#commits.get(raft.term);
    if (before === undefined) this.#commits.set(raft.term, commit);
    else if (commit !== before) {
      assert.equal(
        raft.log.termAt(commit),
        raft.term,
        `${id} commits entry ${commit} of an older term by counting`,
      );
    }
  }

  /** Leader completeness: all that was ever applied anywhere is in a new leader's log. */
  #checkNewLeader({ id, raft, state, disk }: CoreNode): void {
    assert.deepEqual(
      [disk.hard.term, disk.hard.vote],
      [raft.term, id],
      `${id} leads without its own vote on disk`,
    );
    for (let index = 1; index < this.#applied.length; index++) {
      const entry = raft.log.entryAt(index);
      const text = entry ? `${entry.term}:${entry.kind}:${entry.data}` : state[index - 1];
      assert.equal(
        text,
        this.#applied[index],
        `leader ${id} of term ${raft.term} lacks committed entry ${index}`,
      );
    }
  }

  #checkLog({ id, raft }: CoreNode): void {
    const { log } = raft;
    // A server alone may drop what it could not write and use the same index again: nobody else saw it.
    const last = raft.isSoleMember ? log.stable : log.lastIndex;
    for (let index = log.floorIndex + 1; index <= last; index++) {
      const entry = log.entryAt(index)!;
      const key = `${index}/${entry.term}`;
      const text = `${log.termAt(index - 1)} ${entry.kind} ${entry.data}`;
      const known = this.#entries.get(key);
      if (known === undefined) this.#entries.set(key, text);
      else assert.equal(text, known, `${id} holds something else at ${key}`);
    }
  }

  /** After the faults: everyone hears everyone, disks work; the cluster must elect, commit and agree. */
  converge(): void {
    this.#cut.clear();
    this.#loss = this.#double = this.#writeFailure = 0;
    const done = () => {
      const leader = [...this.nodes.values()].find((n) => n.raft.role === "leader" && n.raft.committedInTerm);
      if (!leader) return false;
      const members = leader.raft.config.servers.map((s) => this.nodes.get(s.id)!);
      const last = leader.raft.log.lastIndex;
      const config = JSON.stringify(leader.raft.config);
      if (members.some((n) => JSON.stringify(n.raft.config) !== config)) return false;
      return members.every((n) =>
        n.raft.log.applied === last && n.raft.log.commit === last && n.raft.term === leader.raft.term
      );
    };
    for (let round = 0; round < 2000; round++) {
      if (done()) return;
      for (const node of this.nodes.values()) {
        if (round % 3 === 0) node.raft.tick();
        node.finishWrite(true);
        this.#pump(node);
      }
      for (const m of this.#wires.splice(0)) this.#deliver(m);
      this.check(round % 16 === 0);
    }
    assert.fail("the cluster did not converge after the faults stopped");
  }
}
