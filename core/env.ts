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

/** Cryptographically random, drawn in blocks because a system call per id is slow at 100,000 ids a second. */
class SystemRandom implements Random {
  #pool = new Uint8Array(4096);
  #used = 4096;

  #take(count: number): Uint8Array {
    if (this.#used + count > this.#pool.length) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    this.#used += count;
    return this.#pool.subarray(this.#used - count, this.#used);
  }

  float(): number {
    const b = this.#take(6);
    return (((b[0]! << 16) | (b[1]! << 8) | b[2]!) * 2 ** 24 + ((b[3]! << 16) | (b[4]! << 8) | b[5]!)) /
      2 ** 48;
  }

  int(below: number): number {
    return Math.floor(this.float() * below);
  }

  uuid(): string {
    return formatUuid(this.#take(16));
  }
}

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));

/** Sixteen random bytes → version-4 UUID text. */
export function formatUuid(b: Uint8Array): string {
  const h = (i: number) => HEX[b[i]!]!;
  const v4 = HEX[(b[6]! & 0x0f) | 0x40]!;
  const variant = HEX[(b[8]! & 0x3f) | 0x80]!;
  return `${h(0)}${h(1)}${h(2)}${h(3)}-${h(4)}${h(5)}-${v4}${h(7)}-${variant}${h(9)}-` +
    `${h(10)}${h(11)}${h(12)}${h(13)}${h(14)}${h(15)}`;
}

export const systemRandom: Random = new SystemRandom();
