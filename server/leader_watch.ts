// Tells when another server leads, or none: what requests under way at the leader, requests that wait for an election
// and devices that ask for the way are woken by. One look every POLL_MS for all of them, and none while nobody waits.
import type { Clock } from "../core/env.ts";
import type { ReplicatedLog } from "./log.ts";

const POLL_MS = 20;

type Log = Pick<ReplicatedLog, "isLeader" | "leader" | "term">;

export class LeaderWatch {
  #listeners = new Set<() => void>();
  #seen = "";
  #cancel: (() => void) | null = null;

  constructor(private readonly log: Log, private readonly clock: Clock) {}

  /** Calls `listener` at every change until the returned function is called. */
  onChange(listener: () => void): () => void {
    if (this.#listeners.size === 0) this.#seen = this.#look();
    this.#listeners.add(listener);
    this.#cancel ??= this.clock.after(POLL_MS, () => this.#poll());
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Resolves at the next change, after `timeoutMs`, or when `signal` fires. */
  change(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        end();
        cancel();
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const end = this.onChange(done);
      const cancel = this.clock.after(timeoutMs, done);
      signal?.addEventListener("abort", done);
      if (signal?.aborted) done();
    });
  }

  #look(): string {
    const { log } = this;
    return log.isLeader ? `self ${log.term}` : log.leader ? `${log.leader.id} ${log.leader.rpcAddress}` : "";
  }

  #poll(): void {
    this.#cancel = null;
    const now = this.#look();
    if (now !== this.#seen) {
      this.#seen = now;
      for (const listener of [...this.#listeners]) listener();
    }
    if (this.#listeners.size > 0) this.#cancel = this.clock.after(POLL_MS, () => this.#poll());
  }
}
