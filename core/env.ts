// The only ways out of pure code: clock, random numbers and timers, as values that a caller passes in. The real
// ones stand here; the simulation brings its own. Disk and network have contracts of their own (server/log.ts,
// core/protocol.ts, drivers/driver.ts).
import { randomFillSync } from "node:crypto";

/** Wall-clock time and timers. */
export interface Clock {
  /** Milliseconds since 1970, may jump. */
  nowMs(): number;
  /** Milliseconds since some start, never jumps. */
  monotonicMs(): number;
  /** Runs `run` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, run: () => void): () => void;
}

/** A source of random bytes and numbers; deterministic in the simulation. */
export interface Random {
  /** Uniform in [0, 1). */
  float(): number;
  /** Uniform integer in [0, below). */
  int(below: number): number;
  /** A version-4 UUID in lower case. */
  uuid(): string;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, run) {
    // Longer timers would fire at once (32 bits): 24 days must do.
    const timer = setTimeout(run, Math.min(delayMs, 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
};

/** Runs something after what is ready to run now. */
export type Defer = (run: () => void) => void;

export const nextTurn: Defer = (run) => void setImmediate(run);

/** Cryptographically random, drawn in blocks because a system call per id is slow at 100,000 ids a second. */
class SystemRandom implements Random {
  #pool = new Uint8Array(4096);
  #used = 4096;

  /** Position of `count` fresh bytes in the pool. */
  #draw(count: number): number {
    if (this.#used + count > this.#pool.length) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    this.#used += count;
    return this.#used - count;
  }

  float(): number {
    const at = this.#draw(6);
    const b = this.#pool;
    return (((b[at]! << 16) | (b[at + 1]! << 8) | b[at + 2]!) * 2 ** 24 +
      ((b[at + 3]! << 16) | (b[at + 4]! << 8) | b[at + 5]!)) / 2 ** 48;
  }

  int(below: number): number {
    return Math.floor(this.float() * below);
  }

  uuid(): string {
    return formatUuid(this.#pool, this.#draw(16));
  }
}

/** Code units of the two hex digits of every byte. */
const HIGH = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0").charCodeAt(0));
const LOW = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0").charCodeAt(1));
const DASH = "-".charCodeAt(0);
const VERSION = "4".charCodeAt(0);

/**
 * Sixteen random bytes, from `at` on → version-4 UUID text. Made of code units at once: a text that was put together from
 * parts stays a rope in V8, larger to keep, and whatever holds one is encoded as JSON at half the speed.
 */
export function formatUuid(b: Uint8Array, at = 0): string {
  const high = (i: number) => HIGH[b[at + i]!]!;
  const low = (i: number) => LOW[b[at + i]!]!;
  const variant = HIGH[(b[at + 8]! & 0x3f) | 0x80]!;
  // deno-fmt-ignore
  return String.fromCharCode(
    high(0), low(0), high(1), low(1), high(2), low(2), high(3), low(3), DASH,
    high(4), low(4), high(5), low(5), DASH,
    VERSION, low(6), high(7), low(7), DASH,
    variant, low(8), high(9), low(9), DASH,
    high(10), low(10), high(11), low(11), high(12), low(12), high(13), low(13), high(14), low(14), high(15), low(15),
  );
}

export const systemRandom: Random = new SystemRandom();
