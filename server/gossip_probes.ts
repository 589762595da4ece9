// The probes under way: pings whose answer is awaited, those made for another server among them (relays). Pure
// bookkeeping for gossip.ts: deadlines come in, nothing is sent from here.
//
// Invariant: a probe ends once: by an answer, by its time, or because nobody is left who could bring one.

/** Whom a relayed probe's outcome is told. */
export interface Relay<Token> {
  token: Token;
  /** The asker's own number. */
  seq: number;
  from: string;
}

export interface Probe<Token> {
  target: string;
  /** When the direct ping counts as unanswered, and when all is over. */
  directMs: number;
  endMs: number;
  /** The direct ping is given up. */
  indirect: boolean;
  /** The target's machine answered that nobody listens there. */
  refused: boolean;
  /** Helpers that were asked, and that said no. */
  asked: number;
  nacks: number;
  /** Helpers that could not be reached themselves. */
  lost: number;
  relay: Relay<Token> | null;
}

/** Relays of others that may be under way. */
const RELAYS_MAX = 256;

export class Probes<Token> {
  readonly #open = new Map<number, Probe<Token>>();
  #seq = 0;

  constructor(readonly self: string) {}

  /** Its number. */
  start(target: string, directMs: number, endMs: number, relay: Relay<Token> | null = null): number {
    const seq = ++this.#seq;
    const probe = {
      target,
      directMs,
      endMs,
      indirect: false,
      refused: false,
      asked: 0,
      nacks: 0,
      lost: 0,
      relay,
    };
    this.#open.set(seq, probe);
    return seq;
  }

  /** No more relays are taken on. */
  get crowded(): boolean {
    return this.#open.size >= RELAYS_MAX;
  }

  get(seq: number): Probe<Token> | undefined {
    return this.#open.get(seq);
  }

  isProbing(target: string): boolean {
    for (const probe of this.#open.values()) if (probe.target === target && !probe.relay) return true;
    return false;
  }

  /** The probe, the first time its direct ping fails. */
  directFailed(seq: number, refused: boolean): Probe<Token> | undefined {
    const probe = this.#open.get(seq);
    if (!probe || probe.indirect) return undefined;
    probe.indirect = true;
    probe.refused = refused;
    return probe;
  }

  asked(seq: number): void {
    const probe = this.#open.get(seq);
    if (probe) probe.asked++;
  }

  nack(seq: number): void {
    const probe = this.#open.get(seq);
    if (probe) probe.nacks++;
  }

  lost(seq: number): void {
    const probe = this.#open.get(seq);
    if (probe) probe.lost++;
  }

  /** Nobody is left whose answer could come. */
  isHopeless(seq: number): boolean {
    const probe = this.#open.get(seq);
    return probe !== undefined && probe.refused && probe.nacks + probe.lost >= probe.asked;
  }

  directOverdue(nowMs: number): number[] {
    return this.#select((probe) => !probe.indirect && probe.directMs <= nowMs);
  }

  overdue(nowMs: number): number[] {
    return this.#select((probe) => probe.endMs <= nowMs);
  }

  end(seq: number): Probe<Token> | undefined {
    const probe = this.#open.get(seq);
    this.#open.delete(seq);
    return probe;
  }

  #select(wanted: (probe: Probe<Token>) => boolean): number[] {
    return [...this.#open].filter(([, probe]) => wanted(probe)).map(([seq]) => seq);
  }
}
