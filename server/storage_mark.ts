// PATH.mark: what was durable last, beside the database that holds it. SQLite cannot see that the end of its WAL was
// damaged or removed: to it that is an older database. The mark can.
//
// Invariants: it is written after the write that it tells of, so it is never ahead of the disk; it is not synced, so it
// costs nothing, survives kill -9, and after a power cut an older mark only sees less. A mark that cannot be read is none.
import { closeSync, fdatasyncSync, openSync, readSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import type { MarkValue } from "./storage_loss.ts";

/** Four numbers and their checksum. Older marks hold the index only, and a checksum behind it. */
const BYTES = 36;
const OLD_BYTES = 16;

export class Mark {
  readonly #file: number;
  readonly #view = new DataView(new ArrayBuffer(BYTES));

  constructor(path: string) {
    closeSync(openSync(path, "a", 0o600)); // Secrets stand nowhere in it, but all files here are for this user only.
    this.#file = openSync(path, "r+");
  }

  /** Null when there is none yet, or none that is intact. */
  read(): MarkValue | null {
    const view = this.#view;
    const read = readSync(this.#file, new Uint8Array(view.buffer), 0, BYTES, 0);
    if (read === OLD_BYTES && view.getUint32(8, true) === checksum(view, 8)) {
      return { index: view.getFloat64(0, true), lastTerm: 0, term: 0, vote: 0 };
    }
    if (read < BYTES || view.getUint32(32, true) !== checksum(view, 32)) return null;
    const at = (i: number) => view.getFloat64(8 * i, true);
    return { index: at(0), lastTerm: at(1), term: at(2), vote: at(3) };
  }

  write({ index, lastTerm, term, vote }: MarkValue): void {
    const view = this.#view;
    [index, lastTerm, term, vote].forEach((n, i) => view.setFloat64(8 * i, n, true));
    view.setUint32(32, checksum(view, 32), true);
    writeSync(this.#file, new Uint8Array(view.buffer), 0, BYTES, 0);
  }

  sync(): void {
    fdatasyncSync(this.#file);
  }

  close(): void {
    closeSync(this.#file);
  }
}

function checksum(view: DataView, bytes: number): number {
  return crc32(new Uint8Array(view.buffer, 0, bytes));
}
