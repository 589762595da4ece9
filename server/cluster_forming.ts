// How a new cluster gets its first members: when bootstrap_expect servers that want the same number see each other and
// none has a log, the one with the lowest id asks all of them for a promise, and when everybody gave it, all begin
// with the same first membership. Found again in every round; leaves no trace where it does not come about.
//
// Invariants: no server begins beside a cluster that one of those it sees belongs to; a promise is for one membership
// and its end is later than the last moment at which it can be used, so that two memberships that share a server
// can never both begin.
import type { Clock } from "../core/env.ts";
import { errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Offer, OfferAnswer, PeerCalls, PeerStatus } from "./cluster_calls.ts";
import { raftServer, type ServerMember } from "./cluster_members.ts";
import type { RaftServer } from "./raft_types.ts";

/** A promise binds this long; whoever collected promises uses them within USE_MS or not at all. */
const PROMISE_MS = 6000;
const USE_MS = 3000;

export interface FormingOptions {
  id: string;
  /** bootstrap_expect; below 2 this server founds nothing here. */
  expect: number;
  clock: Clock;
  logger: Logger;
  calls: PeerCalls;
  /** Neither log nor term: it may still found a cluster. */
  isFresh(): boolean;
  /** Living servers of the region, this one included. */
  alive(): ServerMember[];
  bootstrap(servers: RaftServer[]): void;
}

export class Forming {
  readonly #o: FormingOptions;
  #promise: { key: string; from: string; untilMs: number } | null = null;
  #running = false;
  #stopped = false;
  #told = "";

  constructor(options: FormingOptions) {
    this.#o = options;
  }

  /** Whether this server may still have to found a cluster. */
  get pending(): boolean {
    return !this.#stopped && this.#o.expect > 1 && this.#o.isFresh();
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Begins when everything is there for it; called in every round and whenever a member changes. */
  async check(): Promise<void> {
    if (!this.pending || this.#running) return;
    const founders = this.#founders();
    if (!founders || founders[0]!.id !== this.#o.id) return;
    this.#running = true;
    try {
      await this.#found(founders);
    } finally {
      this.#running = false;
    }
  }

  /** The servers that would be the first members now, in order of id; null while something is missing or wrong. */
  #founders(): RaftServer[] | null {
    const { expect, id } = this.#o;
    const alive = this.#o.alive();
    const wrong = alive.find((m) => m.id !== id && m.expect !== 0 && m.expect !== expect);
    if (wrong) {
      this.#tellWrong(wrong);
      return null;
    }
    const voters = alive.filter((m) => m.expect === expect && !m.nonVoter);
    if (new Set(voters.map((m) => m.id)).size < voters.length) {
      this.#tell(
        "error",
        "no cluster is formed: two servers have one id: stop the one with the copied data_dir and remove its server folder",
      );
      return null;
    }
    if (voters.length < expect || !voters.some((m) => m.id === id)) return null;
    return voters.map((m) => raftServer(m, true)).sort((a, b) => a.id < b.id ? -1 : 1);
  }

  #tellWrong({ name, expect }: ServerMember): void {
    if (expect === 1) {
      this.#tell(
        "info",
        `server ${name} leads on its own (bootstrap_expect = 1): this server waits to be added to it`,
      );
      return;
    }
    this.#tell(
      "error",
      `no cluster is formed: server ${name} expects another number of servers (bootstrap_expect ${expect} there, ` +
        `${this.#o.expect} here): set the same on all`,
    );
  }

  async #found(servers: RaftServer[]): Promise<void> {
    const { id, clock, logger } = this.#o;
    const endMs = clock.monotonicMs() + USE_MS;
    const others = this.#o.alive().filter((m) => m.id !== id);
    const statuses = await Promise.all(others.map((m) => this.#status(m)));
    const member = statuses.findIndex((status) => status?.hasState);
    if (member >= 0) {
      this.#tell(
        "info",
        `server ${others[member]!.name} belongs to a cluster already: no new one is formed, ` +
          "this server waits to be added to it",
      );
      return;
    }
    const silent = statuses.findIndex((status) => status === null);
    if (silent >= 0) {
      logger.debug("the first membership has to wait", { reason: `no answer from ${others[silent]!.name}` });
      return;
    }
    const offer: Offer = { phase: "prepare", from: id, servers };
    const answers = await Promise.all(
      servers.map((s) => s.id === id ? this.onOffer(offer) : this.#offer(s, offer)),
    );
    const refusal = answers.find((answer) => !answer.ok);
    if (refusal) {
      logger.debug("the first membership has to wait", { reason: refusal.reason });
      return;
    }
    // Everything that follows happens in this very turn: nobody can have changed their mind meanwhile.
    const now = this.#founders();
    if (!this.pending || clock.monotonicMs() > endMs || !now || keyOf(now) !== keyOf(servers)) return;
    logger.info("found expected number of peers, attempting to bootstrap cluster", {
      peers: servers.map((s) => s.rpcAddress).join(","),
    });
    this.#o.bootstrap(servers);
    const commit: Offer = { ...offer, phase: "commit" };
    await Promise.all(servers.filter((s) => s.id !== id).map((s) => this.#offer(s, commit)));
  }

  /** What another server founds. Answers in the same turn. */
  onOffer({ phase, from, servers }: Offer): OfferAnswer {
    const no = (reason: string): OfferAnswer => ({ ok: false, reason });
    const key = keyOf(servers);
    const promise = this.#promise && this.#promise.untilMs > this.#o.clock.monotonicMs()
      ? this.#promise
      : null;
    if (!this.pending) return no("this server has a log, or does not expect others");
    if (phase === "commit") {
      if (!promise || promise.key !== key || promise.from !== from) {
        return no("this was not promised, or long ago");
      }
      this.#o.bootstrap(servers);
      return { ok: true, reason: "" };
    }
    const own = this.#founders();
    if (!own || keyOf(own) !== key) return no("this server sees other members");
    // Who asks again has given up what it asked before.
    if (promise && promise.from !== from) {
      return no(`this server promised ${promise.from} another membership`);
    }
    this.#promise = { key, from, untilMs: this.#o.clock.monotonicMs() + PROMISE_MS };
    return { ok: true, reason: "" };
  }

  async #status(member: ServerMember): Promise<PeerStatus | null> {
    try {
      return await this.#o.calls.status(member.rpcAddress);
    } catch (error) {
      this.#o.logger.debug("cannot ask a server for its log", {
        server: member.name,
        error: errorText(error),
      });
      return null;
    }
  }

  async #offer(server: RaftServer, offer: Offer): Promise<OfferAnswer> {
    try {
      return await this.#o.calls.offer(server.rpcAddress, offer);
    } catch (error) {
      return { ok: false, reason: `${server.rpcAddress} cannot be asked: ${errorText(error)}` };
    }
  }

  /** Says a thing once, until there is another to say. */
  #tell(level: "info" | "error", message: string): void {
    if (this.#told === message) return;
    this.#told = message;
    this.#o.logger[level](message);
  }
}

function keyOf(servers: RaftServer[]): string {
  return servers.map((s) => `${s.id} ${s.rpcAddress}`).join(",");
}
