// Simulated time: one queue of events in the order of their time, the processes that they belong to, and the trace. An
// event is one delivered message, timer, disk completion, client step or fault; after each the promises it moved run to
// their end before the next begins. Everything random comes from the seed.
//
// Invariants: time never goes back; events at one moment run in the order in which they were scheduled; an event of a
// process that is dead is dropped, of one that is paused it is held until it runs again.
import type { Clock } from "../../core/env.ts";
import { SimRandom } from "./random.ts";

/** 2026-11-22T04:00:00Z. */
export const EPOCH_MS = 1_795_320_000_000;

const TIMER_MIN_MS = 0.01;

export interface SimEvent {
  readonly atMs: number;
  readonly seq: number;
  /** Null: the world's own. A machine: whichever process runs on it then. */
  readonly owner: Life | Machine | null;
  readonly label: string;
  /** Null when it was cancelled. */
  run: (() => void) | null;
}

/** How a machine's clocks run: rate against true time, and what the wall clock is off. */
export interface Skew {
  rate: number;
  wallOffsetMs: number;
  /** Timers take so many times as long: a process that is starved, but still answers. */
  lateness?: number;
}

/** Something with a name on the network, on which one process runs at a time. */
export class Machine {
  life: Life | null = null;
  /** Switched on: a dead process's peers are told by the system. False after a power cut: nobody is told. */
  powered = true;
  constructor(readonly name: string, readonly skew: Skew) {}
}

/** One run of a process, from its start to its crash. */
export class Life {
  alive = true;
  paused = false;
  readonly held: SimEvent[] = [];
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly #startedMs: number;

  constructor(readonly world: World, readonly machine: Machine) {
    this.random = world.random.fork();
    this.#startedMs = world.nowMs;
    this.clock = {
      nowMs: () => Math.floor(EPOCH_MS + world.nowMs * machine.skew.rate + machine.skew.wallOffsetMs),
      monotonicMs: () => (world.nowMs - this.#startedMs) * machine.skew.rate,
      after: (delayMs, run) => {
        // Time must pass, however little: adding a rounding error to a large number would add nothing.
        const { rate, lateness = 1 } = machine.skew;
        const trueMs = Math.max(TIMER_MIN_MS, delayMs) * lateness / rate;
        const event = world.schedule(trueMs, this, machine.name, run);
        return () => {
          event.run = null;
        };
      },
    };
  }

  get running(): boolean {
    return this.alive && !this.paused;
  }
}

export class World {
  readonly random: SimRandom;
  nowMs = 0;
  /** Events run. */
  step = 0;
  readonly #heap = new EventHeap();
  #seq = 0;
  #deferred: { life: Life; run: () => void }[] = [];
  #hashA = 0x811c9dc5 | 0;
  #hashB = 0x2545f491 | 0;
  /** Takes every line of the trace; null while nobody wants it. */
  print: ((line: string) => void) | null = null;

  constructor(readonly seed: number) {
    this.random = new SimRandom(seed);
  }

  schedule(delayMs: number, owner: Life | Machine | null, label: string, run: () => void): SimEvent {
    const event = { atMs: this.nowMs + delayMs, seq: this.#seq++, owner, label, run };
    this.#heap.push(event);
    return event;
  }

  /** Right after the present event and what it moved, and part of it. */
  defer(life: Life, run: () => void): void {
    this.#deferred.push({ life, run });
  }

  kill(life: Life): void {
    life.alive = false;
    life.held.length = 0;
    if (life.machine.life === life) life.machine.life = null;
  }

  resume(life: Life): void {
    if (!life.alive || !life.paused) return;
    life.paused = false;
    // What the system kept for it comes at once, in the order in which it came.
    for (const event of life.held.splice(0)) {
      if (event.run) this.schedule(0, event.owner, event.label, event.run);
    }
  }

  /** Runs the next event; false when none is left. */
  async next(): Promise<boolean> {
    for (;;) {
      const event = this.#heap.pop();
      if (!event) return false;
      if (!event.run) continue;
      const life = event.owner instanceof Machine ? event.owner.life : event.owner;
      if (event.owner && !life?.alive) continue;
      this.nowMs = Math.max(this.nowMs, event.atMs);
      if (life?.paused) {
        life.held.push(event);
        continue;
      }
      this.step++;
      this.mix(event.label);
      this.#mixNumber(event.atMs * 1000);
      if (this.print) this.note(event.label);
      const { run } = event;
      event.run = null;
      run();
      await this.#settle();
      return true;
    }
  }

  /** Lets every promise that moved come to rest. Only what needs the real world would take longer: nothing may. */
  async #settle(): Promise<void> {
    await turn();
    while (this.#deferred.length > 0) {
      const now = this.#deferred;
      this.#deferred = [];
      for (const { life, run } of now) {
        if (life.running) run();
        else if (life.alive) life.held.push(this.#heldTurn(life, run));
      }
      await turn();
    }
  }

  #heldTurn(life: Life, run: () => void): SimEvent {
    return { atMs: this.nowMs, seq: this.#seq++, owner: life, label: life.machine.name, run };
  }

  note(line: string): void {
    this.print?.(`${String(this.step).padStart(8)} ${this.nowMs.toFixed(3).padStart(14)} ${line}`);
  }

  // ---- the trace ----

  /** Makes `text` part of the trace. */
  mix(text: string): void {
    let a = this.#hashA;
    let b = this.#hashB;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      a = Math.imul(a ^ code, 0x01000193);
      b = Math.imul(b ^ code, 0x5bd1e995) ^ (b >>> 15);
    }
    this.#hashA = a;
    this.#hashB = b;
  }

  #mixNumber(value: number): void {
    this.#hashA = Math.imul(this.#hashA ^ (value | 0), 0x01000193);
    this.#hashB = Math.imul(this.#hashB ^ (value | 0), 0x5bd1e995) ^ (this.#hashB >>> 15);
  }

  get trace(): string {
    return [this.#hashA, this.#hashB].map((h) => (h >>> 0).toString(16).padStart(8, "0")).join("");
  }
}

/** One turn of the real event loop: all microtasks run before it. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A binary heap by (time, order of scheduling). */
class EventHeap {
  readonly #events: SimEvent[] = [];

  push(event: SimEvent): void {
    const events = this.#events;
    let at = events.length;
    events.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, events[parent]!)) break;
      events[at] = events[parent]!;
      at = parent;
    }
    events[at] = event;
  }

  pop(): SimEvent | undefined {
    const events = this.#events;
    const first = events[0];
    const last = events.pop();
    if (!first || !last || events.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && isBefore(events[child + 1]!, events[child]!)) child++;
      if (!isBefore(events[child]!, last)) break;
      events[at] = events[child]!;
      at = child;
    }
    events[at] = last;
    return first;
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.seq < b.seq);
}
