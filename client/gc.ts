// Removes what is left of terminal allocations: the oldest when there are more than gc_max_allocs, more of them while
// the disk is too full, all on request. Running allocations are never touched. Wakes on its interval only while there
// is something it could remove.
import type { Clock } from "../core/env.ts";
import { errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { AllocationRunner } from "./allocation.ts";
import type { ClientConfig } from "./config.ts";
import { diskSpace } from "./stats.ts";

export interface GarbageOptions {
  config: ClientConfig;
  clock: Clock;
  logger: Logger;
  runners(): AllocationRunner[];
  /** Servers know how the allocation ended: before that it is kept. */
  isConfirmed(id: string): boolean;
  destroy(runner: AllocationRunner): Promise<void>;
}

export class GarbageCollector {
  #cancel: (() => void) | undefined;
  #running = false;

  constructor(private readonly options: GarbageOptions) {}

  start(): void {
    this.#running = true;
    this.onConfirmed();
  }

  stop(): void {
    this.#running = false;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** Servers know of another end: sees to the limits now and looks at the disk later. */
  onConfirmed(): void {
    if (!this.#running) return;
    void this.#collect(this.#terminal().length - this.options.config.gc.maxAllocs);
    if (this.#cancel || this.#terminal().length === 0) return;
    this.#cancel = this.options.clock.after(this.options.config.gc.intervalMs, () => {
      this.#cancel = undefined;
      void this.#checkDisk().finally(() => this.onConfirmed());
    });
  }

  async collectAll(): Promise<void> {
    await this.#collect(Infinity);
  }

  /** Oldest end first. */
  #terminal(): AllocationRunner[] {
    return this.options.runners()
      .filter((runner) => runner.isTerminal && this.options.isConfirmed(runner.id))
      .sort((a, b) => a.finishedAtMs - b.finishedAtMs);
  }

  async #collect(count: number): Promise<void> {
    const queue = this.#terminal().slice(0, Math.max(0, Math.min(count, 1e9)));
    const worker = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) await this.options.destroy(next);
    };
    await Promise.all(Array.from({ length: this.options.config.gc.parallelDestroys }, worker));
  }

  async #checkDisk(): Promise<void> {
    const { gc, allocDir } = this.options.config;
    try {
      while (this.#running && this.#terminal().length > 0) {
        const disk = await diskSpace(allocDir);
        if (disk.usedPercent < gc.diskUsagePercent && disk.inodesUsedPercent < gc.inodeUsagePercent) return;
        await this.#collect(gc.parallelDestroys);
      }
    } catch (error) {
      this.options.logger.warn("cannot check the disk for garbage collection", { error: errorText(error) });
    }
  }
}
