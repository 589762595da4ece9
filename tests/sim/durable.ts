// What each server's disk holds for certain, told by the writes that became durable: the end of its log by terms, its
// term and its votes. Checkers compare with it what servers tell each other. Says nothing of its own.
//
// A write under way when a process dies may have reached the disk: therefore the next process's core, as it was loaded,
// replaces what was known.
import type { Raft } from "../../server/raft.ts";
import { LOST_VOTE } from "../../server/raft_types.ts";
import type { StorageWrite } from "../../server/storage.ts";
import { SimFailure } from "./contract.ts";

/** Votes of so many terms are remembered. */
const TERMS_KEPT = 256;

export class DurableServer {
  /** Everything up to here is in a snapshot, or was compacted. */
  floor = 0;
  last = 0;
  term = 0;
  vote = "";
  /** By index, above the floor. */
  #terms = new Map<number, number>();
  /** What it had and lost: it counts as if it were there, because its server abstains until it is (docs/raft.md). */
  #lost = new Map<number, number>();
  readonly #votes = new Map<number, string>();

  constructor(readonly id: string) {}

  write({ install, entries, hard }: StorageWrite): void {
    if (install) {
      this.#terms.clear();
      this.floor = this.last = install.index;
    }
    const first = entries[0];
    if (first) {
      for (let index = first.index; index <= this.last; index++) this.#terms.delete(index);
      for (const entry of entries) this.#terms.set(entry.index, entry.term);
      this.last = entries.at(-1)!.index;
    }
    if (hard) this.#setHard(hard.term, hard.vote);
    if (hard && !hard.abstain) this.#lost.clear();
  }

  #setHard(term: number, vote: string): void {
    if (term < this.term) {
      throw new SimFailure("vote", `${this.id} stored term ${term} after term ${this.term}`);
    }
    const before = this.#votes.get(term);
    if (before !== undefined && vote !== before && vote !== LOST_VOTE && before !== LOST_VOTE) {
      throw new SimFailure(
        "vote",
        `${this.id} stored a vote for "${vote}" in term ${term}, after "${before}"`,
      );
    }
    this.term = term;
    this.vote = vote;
    if (vote === "") return;
    this.#votes.set(term, vote);
    if (this.#votes.size > TERMS_KEPT) this.#votes.delete(this.#votes.keys().next().value!);
  }

  /** A new process read its disk. */
  loaded(raft: Raft): void {
    const { log } = raft;
    if (raft.abstain) {
      for (const [index, term] of this.#terms) if (index > log.stable) this.#lost.set(index, term);
    } else this.#lost.clear();
    this.#terms.clear();
    this.floor = log.floorIndex;
    this.last = log.stable;
    for (let index = this.floor + 1; index <= this.last; index++) this.#terms.set(index, log.termAt(index)!);
    if (raft.vote !== "") this.#setHard(raft.term, raft.vote);
  }

  holds(index: number, term: number): boolean {
    return index <= this.floor || (index <= this.last && this.#terms.get(index) === term) ||
      this.#lost.get(index) === term;
  }

  votedFor(term: number): string {
    return this.#votes.get(term) ?? "";
  }

  /** Forgets what every server has behind it. */
  forget(index: number): void {
    for (const known of this.#terms.keys()) {
      if (known > index) break;
      this.#terms.delete(known);
    }
    this.floor = Math.max(this.floor, Math.min(index, this.last));
  }
}

export class DurableServers {
  readonly #servers = new Map<string, DurableServer>();

  of(id: string): DurableServer {
    let server = this.#servers.get(id);
    if (!server) this.#servers.set(id, server = new DurableServer(id));
    return server;
  }

  all(): Iterable<DurableServer> {
    return this.#servers.values();
  }
}
