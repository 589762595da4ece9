// The planted bugs: each is a small edit of the product's sources, of the kind that a hand could slip into. The simulator
// runs on a copy with one of them (bug_runner.ts) and a checker must speak up within SEEDS_MAX seeds; `expect` are the rules
// that may. `firstSeed` is the first seed that finds it, tried first, so that the proof is quick.
//
// An edit whose text is not found exactly once is stale, and the test says so: bring it in line with the source.
import type { Profile } from "./contract.ts";

export interface Edit {
  /** From the project's root. */
  file: string;
  find: string;
  replace: string;
}

export interface PlantedBug {
  name: string;
  /** What goes wrong, and by which sentence it is a bug. */
  why: string;
  profile: Profile;
  events: number;
  edits: readonly Edit[];
  /** Rules by which it may be caught. */
  expect: readonly string[];
  firstSeed: number;
}

export const SEEDS_MAX = 1000;

const RAFT = "server/raft.ts";
const LOG = { profile: "log", events: 4000 } as const;
const FULL = { profile: "full", events: 6000 } as const;

const one = (file: string, find: string, replace: string): Edit[] => [{ file, find, replace }];

export const BUGS: readonly PlantedBug[] = [
  {
    name: "vote before fsync",
    why:
      "a vote is told before it is durable: after a crash the server votes again in the same term (figure 2)",
    ...LOG,
    edits: one(
      RAFT,
      `this.#sendAfter(m.from, { type: "vote.response", granted });`,
      `this.#send(m.from, { type: "vote.response", granted });`,
    ),
    expect: ["vote durable", "election safety"],
    firstSeed: 1,
  },
  {
    name: "vote not stored within a term",
    why:
      "only a new term makes the hard state dirty: a vote in a term that is stored already is never stored",
    ...LOG,
    edits: one(RAFT, "|| durable.vote !== this.vote ||", "||"),
    expect: ["vote durable", "vote", "election safety"],
    firstSeed: 21,
  },
  {
    name: "own vote counted early",
    why: "a candidate asks for votes and counts its own one before that is durable",
    ...LOG,
    edits: [
      ...one(RAFT, "    this.#votes = new Map();\n", "    this.#votes = new Map([[this.id, true]]);\n"),
      ...one(RAFT, `this.#sendAfter(id, { type: "vote",`, `this.#send(id, { type: "vote",`),
    ],
    expect: ["vote durable", "election safety"],
    firstSeed: 1,
  },
  {
    name: "two votes a term",
    why: "a server votes for whoever asks, not only for the one it voted for",
    ...LOG,
    edits: one(RAFT, `const free = this.vote === m.from || (this.vote === "" &&`, `const free = (true &&`),
    expect: ["vote", "election safety"],
    firstSeed: 2,
  },
  {
    name: "skipped log check in votes",
    why: "a vote is given to a candidate whose log is behind (§5.4.1)",
    ...LOG,
    edits: one(RAFT, " && this.log.isUpToDate(m.lastIndex, m.lastTerm)", ""),
    expect: ["leader completeness", "commit"],
    firstSeed: 5,
  },
  {
    name: "append acknowledged before fsync",
    why: "a follower says that it holds entries which are still on their way to its disk",
    ...LOG,
    edits: one(
      RAFT,
      "a.match > match);\n    this.#sendAfter(m.from, {",
      "a.match > match);\n    this.#send(m.from, {",
    ),
    expect: ["commit durable", "leader completeness"],
    firstSeed: 1,
  },
  {
    name: "leader counts itself before fsync",
    why: "the leader's own entries count for the quorum before they are on its disk",
    ...LOG,
    edits: one(
      RAFT,
      "acknowledge(this.log.stable)) this.#maybeCommit()",
      "acknowledge(this.log.lastIndex)) this.#maybeCommit()",
    ),
    expect: ["commit durable"],
    firstSeed: 1,
  },
  {
    name: "commit of an old term's entry",
    why: "a leader commits entries of earlier terms by counting (§5.4.2, figure 8)",
    ...LOG,
    edits: one(
      RAFT,
      "if (this.log.termAt(index) !== this.term || !this.log.commitTo(index)) return;",
      "if (!this.log.commitTo(index)) return;",
    ),
    expect: ["commit own term", "leader completeness"],
    firstSeed: 7,
  },
  {
    name: "skipped check of the entry before",
    why: "a follower appends wherever its log is long enough, whatever term the entry before is of (§5.3)",
    ...LOG,
    edits: one(
      RAFT,
      "if (known === 0 && !log.matches(m.prevIndex, m.prevTerm))",
      "if (known === 0 && m.prevIndex > log.lastIndex)",
    ),
    expect: ["log matching", "commit", "state machine safety", "stopped"],
    firstSeed: 15,
  },
  {
    name: "lost truncation",
    why: "a follower keeps entries that contradict the leader's instead of dropping them",
    ...LOG,
    edits: one(
      RAFT,
      "        log.truncateAfter(fresh.index - 1);\n        this.#clipInflight();",
      "        return this.#acknowledge(m, m.prevIndex + m.entries.length);",
    ),
    expect: ["commit durable", "commit", "state machine safety", "stopped"],
    firstSeed: 5,
  },
  {
    name: "heartbeat commits what was not compared",
    why: "heartbeats carry the leader's commit index, not the part that the follower acknowledged",
    ...LOG,
    edits: one(
      RAFT,
      'const commit = Math.min(p.match, this.log.commit);\n      this.#send(id, { type: "heartbeat"',
      'const commit = this.log.commit;\n      this.#send(id, { type: "heartbeat"',
    ),
    expect: ["commit", "state machine safety"],
    firstSeed: 15,
  },
  {
    name: "applied before it is committed",
    why: "what is durable here is applied and acknowledged, though no quorum holds it",
    ...LOG,
    edits: one(
      "server/raft_log.ts",
      "    const to = Math.min(this.commit, this.stable);\n    if (to <= this.handed) return [];",
      "    const to = this.stable;\n    if (to <= this.handed) return [];",
    ),
    expect: ["state machine safety", "linearizable", "stopped", "acknowledged", "lost write"],
    firstSeed: 2,
  },
  {
    name: "quorum of one half",
    why: "with an even number of voters half of them are taken for a majority",
    ...LOG,
    edits: one("server/raft_types.ts", "return Math.floor(voters / 2) + 1;", "return Math.ceil(voters / 2);"),
    expect: ["vote durable", "commit durable", "election safety"],
    firstSeed: 1,
  },
  {
    name: "learner counted in quorum",
    why: "servers that do not vote count for elections and commits",
    ...LOG,
    edits: one(
      "server/raft_types.ts",
      "config.servers.filter((s) => s.voter).map((s) => s.id)",
      "config.servers.map((s) => s.id)",
    ),
    expect: ["vote durable", "commit durable", "election safety"],
    firstSeed: 7,
  },
  {
    name: "early read lease",
    why:
      "a leader answers consistent reads without asking a quorum whether it still leads (§6.4 of the thesis)",
    ...LOG,
    edits: one(
      RAFT,
      "    if (voterIds(this.config).length === 1 && this.isVoter) {\n      this.#confirmed.push",
      '    if (this.role === "leader") {\n      this.#confirmed.push',
    ),
    expect: ["linearizable"],
    firstSeed: 27,
  },
  {
    name: "membership changed while another change is open",
    why: "two changes of one voter each make majorities that do not meet (§4.1 of the thesis)",
    ...LOG,
    edits: one(
      RAFT,
      `    if (this.log.config.index > this.log.commit) return "another membership change is under way; try again";\n`,
      "",
    ),
    expect: ["election safety", "leader completeness", "commit", "members"],
    firstSeed: 1,
  },
  {
    name: "membership not undone with its entry",
    why: "a dropped entry's membership stays in force",
    ...LOG,
    edits: one(
      "server/raft_log.ts",
      "    while (this.#configs.length > 1 && this.#configs.at(-1)!.index > index) this.#configs.pop();\n",
      "",
    ),
    expect: ["members", "liveness", "vote durable", "commit durable", "stopped", "election safety", "commit"],
    firstSeed: 24,
  },
  {
    name: "snapshot without its membership",
    why: "a server that loads a snapshot keeps the membership it had before",
    ...LOG,
    edits: one(
      RAFT,
      "config: { index: snapshot.configIndex, config: snapshot.config },",
      "config: { index: snapshot.configIndex, config: this.config },",
    ),
    expect: ["members", "liveness", "vote durable", "election safety", "stopped"],
    firstSeed: 8,
  },
  {
    name: "applied twice after a restart",
    why: "entries that the snapshot holds are applied to it again",
    ...LOG,
    edits: one(
      RAFT,
      "    this.log.handed = this.log.applied = this.log.commit;\n",
      "    this.log.handed = this.log.applied = this.log.floorIndex;\n",
    ),
    expect: ["apply once", "stopped"],
    firstSeed: 2,
  },
  {
    name: "repeated request done again",
    why: "a write that is sent again with its id after a lost answer takes effect twice",
    ...LOG,
    edits: one("server/state.ts", "      if (repeated) {", "      if (repeated && index < 0) {"),
    expect: ["request once", "acknowledged", "linearizable"],
    firstSeed: 25,
  },
  {
    name: "requests with an id not in the snapshot",
    why: "a server that loads a snapshot forgets which requests took effect",
    ...LOG,
    edits: one(
      "server/state_snapshot.ts",
      "requests: { rows: tables.requests.rows(), clocks",
      "requests: { rows: [], clocks",
    ),
    expect: ["request once", "state hash", "liveness"],
    firstSeed: 49,
  },
  {
    name: "compare-and-set does not compare",
    why: "a job is registered whatever its modify index is",
    ...LOG,
    edits: one("server/state_jobs.ts", "    if (message) return refuse(500, message);\n  }", "  }"),
    expect: ["linearizable"],
    firstSeed: 1,
  },
  {
    name: "names in use are given again",
    why: "a placement gets a name that a running allocation of its job has",
    ...FULL,
    edits: one(
      "server/name_index.ts",
      "    for (const alloc of allocs) this.#set(indexOfName(alloc.Name));\n",
      "    for (const alloc of allocs) indexOfName(alloc.Name);\n",
    ),
    expect: ["run twice", "liveness"],
    firstSeed: 1,
  },
  {
    name: "time of the server in the state",
    why: "what is applied depends on the server's own clock",
    ...FULL,
    edits: one(
      "server/state.ts",
      `new Write(this.#tables, index, "time" in command ? command.time : 0);`,
      `new Write(this.#tables, index, performance.now());`,
    ),
    expect: ["state hash", "liveness"],
    firstSeed: 1,
  },
];
