// Random numbers of a simulation: small integers only (sfc32), so that every engine draws the same ones from a seed.
// `fork` gives each process a stream of its own: one more draw in one of them does not move the others.
import { formatUuid, type Random } from "../../core/env.ts";

export class SimRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;
  #forks = 0;

  constructor(private readonly seed: number) {
    this.#a = seed | 0;
    this.#b = (seed / 2 ** 32) | 0;
    this.#c = 0x9e3779b9 | 0;
    for (let i = 0; i < 15; i++) this.next();
  }

  /** 32 bits. */
  next(): number {
    const t = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + t) | 0;
    return t >>> 0;
  }

  float(): number {
    return this.next() / 2 ** 32;
  }

  int(below: number): number {
    return Math.floor(this.float() * below);
  }

  uuid(): string {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < 4; i++) view.setUint32(i * 4, this.next());
    return formatUuid(bytes);
  }

  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** Uniform in [low, high). */
  between(low: number, high: number): number {
    return low + this.float() * (high - low);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.int(from.length)]!;
  }

  /** Mostly small, sometimes large: a queue's tail without a logarithm, which engines round differently. */
  tail(low: number, high: number): number {
    const x = this.float();
    return low + (high - low) * x * x * x * x;
  }

  /** A stream that depends on the seed and the name only, not on when it is asked for. */
  named(name: string): SimRandom {
    let hash = this.seed | 0;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    return new SimRandom(this.seed + (hash >>> 0) * 2 ** 20);
  }

  fork(): SimRandom {
    return new SimRandom((this.seed ^ Math.imul(++this.#forks, 0x85ebca6b)) + this.next() * 2 ** 20);
  }
}
