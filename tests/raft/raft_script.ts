// The language of testdata/*.txt: one command a line, each leaving lines of trace.
//
//   cluster a b c [learner d] [empty e]   new cores that know each other; `empty` ones know nobody yet
//   log a 1/1 2/1 3/2 [term=T]            core a is stored with this log (index/term) instead; before anything else
//   tick a [n] | campaign a | propose a TEXT … | read a N | transfer a b
//   member a add d | learner d | remove d membership change proposed on a
//   run                                   everything moves until nothing does: writes finish, messages arrive
//   step                                  like run, one round
//   deliver a b [n]                       what waits (the first n) from a to b arrives
//   ack a b N                             b hears from a that everything up to N is durable there
//   drop a b | cut a b | heal             lose what waits; lose everything between a and b from now on
//   hold a | release a | fail a           a's writes stay under way / finish / fail once
//   restart a | snapshot a [trailing=N]
//   quiet | loud                          whether messages are traced
//   state [a …]                           where each core stands
//   applied a                             what a has applied
import type { Entry, Message, RaftServer } from "../../server/raft_types.ts";
import { type CoreDisk, CoreNode } from "./core_cluster.ts";

const OPTIONS = { electionTicks: 10, heartbeatTicks: 3, random: { int: () => 0 } };

function server(id: string, voter: boolean): RaftServer {
  return { id, rpcAddress: `${id}:1`, httpAddress: `${id}:2`, voter };
}

export class ScriptCluster {
  #nodes = new Map<string, CoreNode>();
  #servers: RaftServer[] = [];
  #wires: Message[] = [];
  #cut = new Set<string>();
  #held = new Set<string>();
  #loud = true;
  #trace: string[] = [];

  run(commands: string): string {
    this.#trace = [];
    for (const line of commands.split("\n").filter((l) => l.trim() && !l.startsWith("#"))) {
      const [name, ...args] = line.trim().split(/\s+/);
      this.#command(name!, args);
    }
    return this.#trace.join("\n") || "ok";
  }

  #node(id: string | undefined): CoreNode {
    const node = this.#nodes.get(id ?? "");
    if (!node) throw new Error(`no core "${id}"`);
    return node;
  }

  #command(name: string, args: string[]): void {
    const [a, b] = args;
    switch (name) {
      case "cluster":
        return this.#cluster(args);
      case "log":
        return this.#storedLog(a!, args.slice(1));
      case "tick":
        for (let i = 0; i < Number(b ?? 1); i++) this.#node(a).raft.tick();
        return this.#pump(this.#node(a));
      case "campaign":
        this.#node(a).raft.campaign();
        return this.#pump(this.#node(a));
      case "propose":
        for (const text of args.slice(1)) if (!this.#node(a).raft.propose(text)) this.#say(`${a} refuses`);
        return this.#pump(this.#node(a));
      case "read":
        this.#node(a).raft.readIndex(Number(b));
        return this.#pump(this.#node(a));
      case "transfer":
        if (!this.#node(a).raft.transferLeadership(b!)) this.#say(`${a} refuses`);
        return this.#pump(this.#node(a));
      case "member":
        return this.#member(args);
      case "run":
        for (let round = 0; this.#round(); round++) {
          if (round > 200) throw new Error("the cluster does not come to rest");
        }
        return;
      case "step":
        this.#round();
        return;
      case "deliver":
        return this.#deliverSome(a!, b!, Number(args[2] ?? Infinity));
      case "ack": {
        const term = this.#node(b).raft.term;
        const match = Number(args[2]);
        return this.#deliver({
          type: "append.response",
          from: a!,
          to: b!,
          term,
          ok: true,
          prevIndex: match,
          match,
          hintTerm: 0,
        });
      }
      case "drop":
        for (const m of this.#take((m) => m.from === a && m.to === b)) this.#say(`lost ${describe(m)}`);
        return;
      case "cut":
        this.#cut.add(`${a} ${b}`).add(`${b} ${a}`);
        return;
      case "heal":
        return this.#cut.clear();
      case "hold":
        this.#held.add(a!);
        return;
      case "release":
        this.#held.delete(a!);
        return this.#finish(this.#node(a), true);
      case "fail":
        return this.#finish(this.#node(a), false);
      case "restart":
        this.#node(a).restart();
        return this.#pump(this.#node(a));
      case "snapshot":
        this.#node(a).snapshot(this.#node(a).raft.log.applied);
        return this.#node(a).compact(Number(b?.split("=")[1] ?? 0));
      case "quiet":
      case "loud":
        this.#loud = name === "loud";
        return;
      case "state":
        for (const id of args.length > 0 ? args : this.#nodes.keys()) this.#say(describeNode(this.#node(id)));
        return;
      case "applied":
        this.#say(
          `${a}: ${
            this.#node(a).state.map((t, i) => `${i + 1}=${t.split(":").slice(2).join(":") || "noop"}`)
              .filter((t) => !t.includes("servers")).join(" ")
          }`,
        );
        return;
      default:
        throw new Error(`unknown command ${name}`);
    }
  }

  #cluster(args: string[]): void {
    let role = "voter";
    this.#nodes.clear();
    this.#wires = [];
    this.#cut.clear();
    this.#held.clear();
    const roles = new Map<string, string>();
    for (const arg of args) {
      if (arg === "learner" || arg === "empty") role = arg;
      else roles.set(arg, role);
    }
    this.#servers = [...roles].filter(([, r]) => r !== "empty").map(([id, r]) => server(id, r === "voter"));
    for (const [id, r] of roles) {
      this.#nodes.set(id, new CoreNode(id, r === "empty" ? null : { servers: this.#servers }, OPTIONS));
    }
  }

  #storedLog(id: string, words: string[]): void {
    const term = Number(words.find((w) => w.startsWith("term="))?.slice(5) ?? 0);
    const entries = words.filter((w) => w.includes("/")).map((word, i): Entry => {
      const [index, entryTerm] = word.split("/").map(Number);
      if (i === 0) {
        return { index: 1, term: 1, kind: "config", data: JSON.stringify({ servers: this.#servers }) };
      }
      return { index: index!, term: entryTerm!, kind: "command", data: `${word}` };
    });
    const disk: Partial<CoreDisk> = {
      entries,
      hard: { term: Math.max(term, entries.at(-1)?.term ?? 0), vote: "", commit: 0 },
    };
    this.#nodes.set(id, new CoreNode(id, null, OPTIONS, disk));
  }

  #member([a, how, id]: string[]): void {
    const { raft } = this.#node(a);
    const others = raft.config.servers.filter((s) => s.id !== id);
    const servers = how === "remove" ? others : [...others, server(id!, how === "add")];
    const entry = raft.proposeConfig({ servers });
    if (typeof entry === "string") this.#say(`${a} refuses: ${entry}`);
    this.#pump(this.#node(a));
  }

  /** One exchange: all writes finish, all messages that were on their way arrive. Returns whether anything happened. */
  #round(): boolean {
    let moved = false;
    for (const node of this.#nodes.values()) {
      this.#pump(node);
      if (node.write && !this.#held.has(node.id)) {
        this.#finish(node, true);
        moved = true;
      }
    }
    for (const m of this.#take(() => true)) {
      this.#deliver(m);
      moved = true;
    }
    return moved;
  }

  #finish(node: CoreNode, ok: boolean): void {
    if (!ok) this.#say(`${node.id} write failed`);
    node.finishWrite(ok);
    this.#pump(node);
  }

  #deliverSome(from: string, to: string, countMax: number): void {
    let left = countMax;
    for (const m of this.#take((m) => m.from === from && m.to === to && left-- > 0)) this.#deliver(m);
  }

  #take(wanted: (m: Message) => boolean): Message[] {
    const { yes = [], no = [] } = Object.groupBy(this.#wires, (m) => wanted(m) ? "yes" : "no");
    this.#wires = no;
    return yes;
  }

  #deliver(m: Message): void {
    if (this.#loud) this.#say(describe(m));
    const node = this.#nodes.get(m.to);
    if (!node) return;
    const before = roleOf(node);
    node.raft.step(structuredClone(m));
    this.#pump(node);
    if (roleOf(node) !== before) this.#say(`  ${roleOf(node)}`);
  }

  #pump(node: CoreNode): void {
    for (const m of node.pump()) if (!this.#cut.has(`${m.from} ${m.to}`)) this.#wires.push(m);
    for (const read of node.reads.splice(0)) {
      this.#say(`  ${node.id} read ${read.context} confirmed at ${read.index}`);
    }
  }

  #say(line: string): void {
    this.#trace.push(line);
  }
}

function roleOf({ id, raft }: CoreNode): string {
  return `${id} is ${raft.role} in term ${raft.term}`;
}

function describeNode({ id, raft, write }: CoreNode): string {
  const { log } = raft;
  const members = raft.config.servers.map((s) => s.voter ? s.id : `${s.id}(learner)`).join(" ");
  return `${id} ${raft.role} term=${raft.term} leader=${raft.leaderId || "-"} floor=${log.floorIndex} ` +
    `last=${log.lastIndex}/${log.lastTerm} commit=${log.commit} applied=${log.applied} members=[${members}]` +
    (write ? " writing" : "");
}

function describe(m: Message): string {
  const head = `${m.from}->${m.to} ${m.type} term=${m.term}`;
  switch (m.type) {
    case "prevote":
    case "vote":
      return `${head} last=${m.lastIndex}/${m.lastTerm}${m.type === "vote" && m.force ? " forced" : ""}`;
    case "prevote.response":
    case "vote.response":
      return `${head} ${m.granted ? "granted" : "refused"}`;
    case "append": {
      const entries = m.entries.map((e) => `${e.index}/${e.term}`).join(" ");
      return `${head} prev=${m.prevIndex}/${m.prevTerm} entries=[${entries}] commit=${m.commit}`;
    }
    case "append.response":
      return m.ok
        ? `${head} match=${m.match}`
        : `${head} refused prev=${m.prevIndex} try=${m.match}/${m.hintTerm}`;
    case "heartbeat":
      return `${head} commit=${m.commit} read=${m.read}`;
    case "heartbeat.response":
      return `${head} read=${m.read}`;
    case "snapshot":
      return `${head} snapshot=${m.snapshot.index}/${m.snapshot.term} block=${m.block}/${m.snapshot.blocks}`;
    case "snapshot.response":
      return `${head} snapshot=${m.index}/${m.snapshotTerm} next=${m.next}`;
    case "timeout.now":
      return head;
  }
}
