// Appends bytes to `<task>.<stream>.<n>` with a cut at exactly `fileSizeMaxBytes`, for drivers whose output passes
// through the agent. Goes on in the newest file, removes the oldest. Its position (file number and size) is the durable
// record of what was written: drivers compare positions instead of keeping counters of their own. One write at a time.
import { open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { logIndexes, type StreamName } from "./log_files.ts";

export interface LogPosition {
  index: number;
  size: number;
}

export class RotatingWriter {
  readonly #place: { dir: string; task: string; filesMax: number; fileSizeMaxBytes: number };
  readonly #stream: StreamName;
  #position: LogPosition | null = null;
  #oldest = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    place: { dir: string; task: string; filesMax: number; fileSizeMaxBytes: number },
    stream: StreamName,
  ) {
    this.#place = place;
    this.#stream = stream;
  }

  /** Where the next byte goes; makes the first file. */
  position(): Promise<LogPosition> {
    return this.#alone(() => this.#locate());
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#alone(() => this.#append(bytes));
  }

  /** Bytes written between two positions of this stream. */
  bytesBetween(from: LogPosition, to: LogPosition): number {
    return (to.index - from.index) * this.#place.fileSizeMaxBytes + to.size - from.size;
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #path(index: number): string {
    return join(this.#place.dir, `${this.#place.task}.${this.#stream}.${index}`);
  }

  async #locate(): Promise<LogPosition> {
    if (this.#position) return { ...this.#position };
    const indexes = logIndexes(this.#place.dir, this.#place.task, this.#stream);
    this.#oldest = indexes[0] ?? 0;
    const index = indexes.at(-1) ?? 0;
    await (await open(this.#path(index), "a")).close();
    this.#position = { index, size: (await stat(this.#path(index))).size };
    return { ...this.#position };
  }

  async #append(bytes: Uint8Array): Promise<void> {
    const at = await this.#locate();
    for (let rest = bytes; rest.length > 0;) {
      if (at.size >= this.#place.fileSizeMaxBytes) {
        at.index++;
        at.size = 0;
        await this.#dropOldest(at.index);
      }
      const part = rest.subarray(0, this.#place.fileSizeMaxBytes - at.size);
      await this.#writeTo(at.index, part);
      at.size += part.length;
      rest = rest.subarray(part.length);
      this.#position = { ...at };
    }
  }

  async #writeTo(index: number, bytes: Uint8Array): Promise<void> {
    const file = await open(this.#path(index), "a");
    try {
      await file.writeFile(bytes);
    } catch (error) {
      // Part of it may stand there (disk full): the size on disk is the truth for the next attempt.
      this.#position = null;
      throw error;
    } finally {
      await file.close();
    }
  }

  async #dropOldest(newest: number): Promise<void> {
    for (; this.#oldest <= newest - Math.max(1, this.#place.filesMax); this.#oldest++) {
      await rm(this.#path(this.#oldest), { force: true });
    }
  }
}
