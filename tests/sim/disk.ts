// A simulated disk under a server's log: what storage.ts asks for, with the checksums of its records, a write-back cache and
// faults. Calls take effect in order, each after its own time; what has not been synced when power fails is lost, the
// call under way may have reached the disk, or not, or in part.
//
// Invariant: a call that resolved is durable. A record that does not read back as it was written is never returned.
import { crc32 } from "node:zlib";
import { assert } from "../../core/assert.ts";
import { StorageError } from "../../core/errors.ts";
import type { Entry, HardState, SnapshotMeta } from "../../server/raft_types.ts";
import { blockChecksum, packBlock, unpackBlock } from "../../core/snapshot_codec.ts";
import { judgeLoss, type MarkValue, voteMark } from "../../server/storage_loss.ts";
import {
  EMPTY_FLOOR,
  floorOf,
  isSame,
  type LogFloor,
  missingBlock,
  type RaftStorage,
  type SnapshotBase,
  type SnapshotWriter,
  type StorageWrite,
  type Stored,
  WAY_OUT,
} from "../../server/storage.ts";
import type { SimRandom } from "./random.ts";
import type { Life, World } from "./world.ts";

export interface DiskFaults {
  /** One synced write. */
  latencyMs: number;
  jitterMs: number;
  /** Chance that a write is refused with an I/O error, though nothing is wrong with what is stored. */
  refuse: number;
}

interface Row {
  entry: Entry;
  crc: number;
}

interface SnapshotRow {
  meta: SnapshotMeta;
  state: "writing" | "staged" | "complete";
  blocks: { data: Uint8Array; crc: number }[];
}

/** What is stored, after some number of transactions. Replaced, never changed, so that one can be taken back. */
interface Image {
  hard: { text: string; crc: number } | null;
  floor: { text: string; crc: number } | null;
  rows: Row[];
  snapshots: SnapshotRow[];
  /** Records after an index that the first write removes: they were found damaged. */
  cutAfter: number;
}

interface Job {
  run: () => void;
  done: (error: StorageError | null) => void;
}

/** Outlives the server's processes. */
export class SimDisk {
  #image: Image = { hard: null, floor: null, rows: [], snapshots: [], cutAfter: Infinity };
  /** The disk as it was some writes ago: what is left of a database whose newest pages are gone. */
  #older: Image | null = null;
  #writesSinceOlder = 0;
  /** What was durable last, in a file of its own. */
  mark: MarkValue | null = null;
  #life: Life | null = null;
  #queue: Job[] = [];
  #working = false;
  full = false;
  /** Times slower than usual. */
  slowness = 1;
  /** Something on it was damaged by the simulation: a server that stops because of it is right. */
  damaged = false;
  readonly #random: SimRandom;

  constructor(readonly world: World, readonly faults: DiskFaults) {
    this.#random = world.random.fork();
  }

  /** The disk as one process sees it. */
  open(life: Life, onPersist: (batch: StorageWrite) => void): RaftStorage {
    this.#life = life;
    this.#queue = [];
    this.#working = false;
    return new DiskHandle(this, onPersist);
  }

  /** The process is gone: the call under way reached the disk or did not; those behind it did not. */
  crash(): void {
    const job = this.#working ? this.#queue[0] : undefined;
    if (job && this.#random.chance(0.5)) job.run();
    this.#queue = [];
    this.#working = false;
    this.#life = null;
  }

  /** Flips a bit in a stored record. False when there is nothing to damage. */
  rot(): boolean {
    const { rows } = this.#image;
    if (rows.length === 0) return false;
    const at = this.#random.int(rows.length);
    const row = rows[at]!;
    this.#image.rows = [...rows];
    this.#image.rows[at] = { ...row, entry: { ...row.entry, data: flipBit(row.entry.data, this.#random) } };
    this.damaged = true;
    return true;
  }

  /** The last records are damaged: all that a power cut may have left half written, and more. False without any. */
  tear(): boolean {
    const { rows } = this.#image;
    if (rows.length === 0) return false;
    const from = Math.max(0, rows.length - 1 - this.#random.int(5));
    // A server whose whole log is gone knows of no cluster any more.
    if (from === 0) this.damaged = true;
    this.#image.rows = rows.map((row, at) => at < from ? row : { ...row, crc: -1 });
    return true;
  }

  /** The newest writes are gone as if they had never been. False when nothing older is known. */
  revert(): boolean {
    if (!this.#older) return false;
    this.#image = this.#older;
    this.#older = null;
    if (this.#image.rows.length === 0) this.damaged = true;
    return true;
  }

  /** Called for each durable write of log and vote. */
  written(): void {
    const { rows, hard } = this.#image;
    const last = rows.at(-1)?.entry;
    const floor = readMeta<LogFloor>(this.#image.floor, "floor") ?? EMPTY_FLOOR;
    const { term, vote } = readMeta<HardState>(hard, "hard") ?? { term: 0, vote: "" };
    const { index, term: lastTerm } = last ?? floor;
    this.mark = { index, lastTerm, term, vote: voteMark(vote) };
    if (++this.#writesSinceOlder % 16 > 0) return;
    const snapshots = this.#image.snapshots.map((row) => ({ ...row, blocks: [...row.blocks] }));
    this.#older = { ...this.#image, rows: [...rows], snapshots };
  }

  /** Queues one call. `work` runs when it takes effect, and what it returns is the call's answer. */
  submit<T>(options: { writes: boolean }, work: (image: Image) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      let result: T;
      this.#queue.push({
        run: () => {
          result = work(this.#image);
        },
        done: (error) => error ? reject(error) : resolve(result),
      });
      if (!this.#working) this.#next(options.writes);
      else this.#writes.set(this.#queue.at(-1)!, options.writes);
    });
  }

  readonly #writes = new WeakMap<Job, boolean>();

  #next(writes: boolean): void {
    const job = this.#queue[0];
    const life = this.#life;
    if (!job || !life) return;
    this.#working = true;
    const { latencyMs, jitterMs, refuse } = this.faults;
    const tookMs = writes ? (latencyMs + this.#random.tail(0, jitterMs)) * this.slowness : latencyMs / 4;
    this.world.schedule(tookMs, life, `${life.machine.name} disk`, () => {
      this.#queue.shift();
      this.#working = false;
      let error: StorageError | null = null;
      if (writes && this.full) error = refusal("full", "no space left on the simulated disk");
      else if (writes && refuse > 0 && this.#random.chance(refuse)) {
        error = refusal("io", "simulated I/O error");
      }
      try {
        if (!error) job.run();
      } catch (thrown) {
        if (!(thrown instanceof StorageError)) throw thrown;
        error = thrown;
      }
      job.done(error);
      const after = this.#queue[0];
      if (after) this.#next(this.#writes.get(after) ?? true);
    });
  }
}

class DiskHandle implements RaftStorage {
  readonly durable = true;

  constructor(private readonly disk: SimDisk, private readonly onPersist: (batch: StorageWrite) => void) {}

  open(): Promise<Stored> {
    return this.#read((image) => {
      image.snapshots = image.snapshots.filter((row) => row.state !== "writing");
      const floor = readMeta<LogFloor>(image.floor, "floor") ?? EMPTY_FLOOR;
      const hard = readMeta<HardState>(image.hard, "hard") ?? { term: 0, vote: "", commit: 0 };
      return this.#checkTail(image, floor, hard);
    });
  }

  /** As storage_db.ts does it. */
  #checkTail(image: Image, floor: LogFloor, hard: HardState): Stored {
    const { mark } = this.disk;
    const { rows } = image;
    let intact = rows.length;
    while (intact > 0 && entryChecksum(rows[intact - 1]!.entry) !== rows[intact - 1]!.crc) intact--;
    const end = rows[intact - 1]?.entry ?? floor;
    const damaged = rows[intact]?.entry;
    const what = damaged ? `Log entry ${damaged.index} (term ${damaged.term}) is damaged` : "";
    const seen = Math.max(rows.at(-1)?.entry.index ?? floor.index, mark?.index ?? 0, hard.commit);
    const snapshot = newest(image)?.meta ?? null;
    // All that is missing may stand in the snapshot: the log then goes on behind it.
    const covered = snapshot !== null && snapshot.index > end.index && seen > end.index;
    const last = covered ? snapshot : end;
    const termOf = (index: number) =>
      index === last.index
        ? last.term
        : rows.find(({ entry }) => entry.index === index)?.entry.term ?? Infinity;
    const lost = judgeLoss(mark, {
      hard,
      lastIndex: last.index,
      seen,
      what,
      termOf,
      path: "disk",
      accepted: false,
    });
    if (lost) image.cutAfter = end.index;
    if (covered) {
      image.floor = metaOf(floorOf(snapshot));
      image.rows = [];
    }
    const stored = { hard, snapshot, floor: covered ? floorOf(snapshot) : floor, lastIndex: last.index };
    return lost ? { ...stored, lost } : stored;
  }

  read(from: number, charsMax: number): Promise<Entry[]> {
    return this.#read(({ rows, cutAfter }) => {
      const page: Entry[] = [];
      let chars = 0;
      for (let at = from - (rows[0]?.entry.index ?? 0); at < rows.length && chars < charsMax; at++) {
        const { entry, crc } = rows[at]!;
        if (entry.index > cutAfter) break;
        if (entryChecksum(entry) !== crc) throw corrupt(`Log entry ${entry.index} (term ${entry.term})`);
        page.push(entry);
        chars += entry.data.length;
      }
      return page;
    });
  }

  async write(batch: StorageWrite): Promise<void> {
    // A batch is taken as it is now: its owner may go on using the arrays.
    const entries = batch.entries.map((entry) => ({ entry, crc: entryChecksum(entry) }));
    const hard = batch.hard ? metaOf(batch.hard) : null;
    await this.#write((image) => {
      image.rows = image.cutAfter === Infinity
        ? image.rows
        : image.rows.filter(({ entry }) => entry.index <= image.cutAfter);
      image.cutAfter = Infinity;
      if (batch.install) install(image, batch.install);
      if (entries.length > 0) append(image, entries);
      if (hard) image.hard = hard;
      this.disk.written();
    });
    this.onPersist(batch);
  }

  compact(floor: LogFloor, keep: readonly SnapshotMeta[]): Promise<void> {
    return this.#write((image) => {
      const last = newest(image);
      image.snapshots = image.snapshots.filter((row) =>
        row.state !== "complete" || row === last || keep.some((meta) => isSame(meta, row.meta))
      );
      const current = readMeta<LogFloor>(image.floor, "floor") ?? EMPTY_FLOOR;
      if (floor.index <= current.index) return;
      image.rows = image.rows.filter((row) => row.entry.index > floor.index);
      image.floor = metaOf(floor);
    });
  }

  async writeSnapshot(base: SnapshotBase): Promise<SnapshotWriter> {
    const row: SnapshotRow = {
      meta: { ...base, blocks: 0, bytes: 0, checksum: 0 },
      state: "writing",
      blocks: [],
    };
    await this.#write((image) => void image.snapshots.push(row));
    return {
      write: (chunks) =>
        this.#write(() => {
          const data = packBlock(chunks);
          row.blocks.push({ data, crc: crc32(data) });
          row.meta.blocks++;
          row.meta.bytes += data.length;
          row.meta.checksum = blockChecksum(data, row.meta.checksum);
        }),
      finish: () =>
        this.#write(() => {
          row.state = "complete";
          return row.meta;
        }),
      abort: () =>
        this.#write((image) => {
          image.snapshots = image.snapshots.filter((other) => other !== row);
        }),
    };
  }

  readBlock(snapshot: SnapshotMeta, block: number): Promise<Uint8Array | null> {
    return this.#read((image) => getBlock(image, snapshot, block));
  }

  readChunks(snapshot: SnapshotMeta, block: number): Promise<string[]> {
    return this.#read((image) => {
      const data = getBlock(image, snapshot, block);
      if (!data) throw missingBlock(snapshot, block);
      return unpackBlock(data);
    });
  }

  stageBlock(snapshot: SnapshotMeta, block: number, data: Uint8Array): Promise<number> {
    return this.#write((image) => {
      let row = image.snapshots.find((each) => each.state === "staged" && isSame(each.meta, snapshot));
      if (!row) {
        row = { meta: snapshot, state: "staged", blocks: [] };
        image.snapshots = [...image.snapshots.filter((each) => each.state !== "staged"), row];
      }
      if (block === row.blocks.length) row.blocks.push({ data, crc: crc32(data) });
      return row.blocks.length;
    });
  }

  size(): Promise<number> {
    return this.#read((image) => image.rows.length * 100);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #read<T>(work: (image: Image) => T): Promise<T> {
    return this.disk.submit({ writes: false }, work);
  }

  #write<T>(work: (image: Image) => T): Promise<T> {
    return this.disk.submit({ writes: true }, work);
  }
}

function install(image: Image, meta: SnapshotMeta): void {
  const staged = image.snapshots.find((row) => row.state === "staged" && isSame(row.meta, meta));
  assert(staged, `snapshot ${meta.index} was not received`);
  staged.state = "complete";
  image.snapshots = image.snapshots.filter((row) => row === staged || row.state === "writing");
  image.rows = [];
  image.floor = metaOf(floorOf(meta));
}

function append(image: Image, rows: Row[]): void {
  const first = rows[0]!.entry.index;
  const floor = readMeta<LogFloor>(image.floor, "floor") ?? EMPTY_FLOOR;
  const last = image.rows.at(-1)?.entry.index ?? floor.index;
  assert(first <= last + 1 && first > floor.index, `write leaves a gap: ${first} after ${last}`);
  if (first <= last) image.rows.length = first - floor.index - 1;
  for (const row of rows) image.rows.push(row);
}

function newest(image: Image): SnapshotRow | undefined {
  let found: SnapshotRow | undefined;
  for (const row of image.snapshots) {
    if (row.state === "complete" && (!found || row.meta.index > found.meta.index)) found = row;
  }
  return found;
}

function getBlock(image: Image, snapshot: SnapshotMeta, seq: number): Uint8Array | null {
  const row = image.snapshots.find((each) => each.state === "complete" && isSame(each.meta, snapshot));
  if (!row) return null;
  const block = row.blocks[seq];
  if (!block) throw missingBlock(snapshot, seq);
  if (crc32(block.data) !== block.crc) throw corrupt(`Block ${seq} of snapshot ${snapshot.index}`);
  return block.data;
}

function metaOf(value: unknown): { text: string; crc: number } {
  const text = JSON.stringify(value);
  return { text, crc: crc32(text) };
}

function readMeta<T>(record: { text: string; crc: number } | null, key: string): T | undefined {
  if (!record) return undefined;
  if (crc32(record.text) !== record.crc) throw corrupt(`The record "${key}"`);
  return JSON.parse(record.text) as T;
}

function entryChecksum(e: Entry): number {
  return crc32(e.data, crc32(`${e.index}:${e.term}:${e.kind}:`));
}

function flipBit(text: string, random: SimRandom): string {
  if (text === "") return "\u0001";
  const at = random.int(text.length);
  return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1);
}

function refusal(kind: "full" | "io", why: string): StorageError {
  return new StorageError(kind, `Cannot write to the log: ${why}; the write was refused`);
}

function corrupt(what: string): StorageError {
  return new StorageError(
    "corrupt",
    `${what} is damaged: its checksum is wrong or it cannot be read. ${WAY_OUT}`,
  );
}
