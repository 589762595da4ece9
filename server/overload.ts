// When this server has more to do than it can: reads of the API are turned away first, then its writes, so that
// heartbeats, reports of devices and the log's messages are never behind them. Measured as the delay that everything
// has in common: how late a timer fires.
//
// Invariants: one long moment (a large snapshot, a busy machine) sheds nothing: only a delay that no sample of the window
// was without is overload; while nobody asks, no timer runs.
import type { Clock } from "../core/env.ts";
import type { Logger } from "../core/logger.ts";

const SAMPLE_MS = 250;
const WINDOW = 4;
/** Delays from which reads, and from which writes are turned away. */
const READS_MS = 1_000;
const WRITES_MS = 4_000;
/** Measuring ends after this long without a request. */
const IDLE_MS = 10_000;

export class Overload {
  /** The newest delays, oldest first. */
  #delays: number[] = [];
  #dueMs = 0;
  #askedMs = 0;
  #running = false;
  #shedding = false;

  constructor(private readonly clock: Clock, private readonly logger: Logger) {}

  /** Whether a request of this kind is to be turned away now. */
  sheds(kind: "read" | "write"): boolean {
    this.#askedMs = this.clock.monotonicMs();
    if (!this.#running) this.#plan();
    return this.delayMs >= (kind === "read" ? READS_MS : WRITES_MS);
  }

  /** What everything waits at least, for some seconds already; 0 when it is not known to. */
  get delayMs(): number {
    return this.#delays.length < WINDOW ? 0 : Math.min(...this.#delays);
  }

  #plan(): void {
    this.#running = true;
    this.#dueMs = this.clock.monotonicMs() + SAMPLE_MS;
    this.clock.after(SAMPLE_MS, () => this.#sample());
  }

  #sample(): void {
    const nowMs = this.clock.monotonicMs();
    this.#delays.push(nowMs - this.#dueMs);
    if (this.#delays.length > WINDOW) this.#delays.shift();
    this.#tell();
    if (nowMs - this.#askedMs < IDLE_MS) return this.#plan();
    this.#running = false;
    this.#delays = [];
  }

  #tell(): void {
    const shedding = this.delayMs >= READS_MS;
    if (shedding === this.#shedding) return;
    this.#shedding = shedding;
    if (shedding) {
      this.logger.warn("The server is overloaded: reads of the API are turned away", {
        delayMs: Math.round(this.delayMs),
      });
    } else this.logger.info("The server is not overloaded any more");
  }
}
