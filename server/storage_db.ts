// The libsql database of one server: log, vote and snapshots, every record with its checksum. Runs in the storage
// worker only, because each call blocks until the disk has answered. WAL with synchronous=FULL: a transaction that
// returned is durable, and a torn one is cut by the WAL's own checksums when the file is opened again.
//
// Beside the database stand PATH.lock (held while open: one process a data directory), PATH.mark (storage_mark.ts: what was
// durable last) and, made by an operator only, PATH.accept-loss. A damaged end of the log is found here and told in
// Stored.lost; what is damaged before an intact record stops whoever reads it.
import { closeSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { crc32 } from "node:zlib";
import { assert } from "../core/assert.ts";
import { AssertionError, errorText, StorageError } from "../core/errors.ts";
import type { Entry, EntryKind, HardState, SnapshotMeta } from "./raft_types.ts";
import { blockChecksum, packBlock, unpackBlock } from "../core/snapshot_codec.ts";
import { judgeLoss, type MarkValue, voteMark } from "./storage_loss.ts";
import { Mark } from "./storage_mark.ts";
import {
  EMPTY_FLOOR,
  floorOf,
  isSame,
  type LogFloor,
  missingBlock,
  type SnapshotBase,
  type StorageWrite,
  type Stored,
  WAY_OUT,
} from "./storage.ts";

export interface DbOptions {
  path: string;
  encryptionKey: string;
  /** How long a write waits for another process's lock. */
  lockTimeoutMs: number;
  /** The database may not grow beyond this, 0 for no limit. */
  maxBytes: number;
}

const FORMAT = 1;
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS log (
    idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind INTEGER NOT NULL, data TEXT NOT NULL, crc INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS snapshot (
    id INTEGER PRIMARY KEY AUTOINCREMENT, state INTEGER NOT NULL, meta TEXT NOT NULL, crc INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS block (
    snapshot INTEGER NOT NULL, seq INTEGER NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (snapshot, seq));
`;
const SQL = {
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  rollback: "ROLLBACK",
  putEntry: "INSERT INTO log (idx, term, kind, data, crc) VALUES (?, ?, ?, ?, ?)",
  cutFrom: "DELETE FROM log WHERE idx >= ?",
  cutTo: "DELETE FROM log WHERE idx <= ?",
  lastEntry: "SELECT max(idx) AS idx FROM log",
  entry: "SELECT idx, term, kind, data, crc FROM log WHERE idx = ?",
  entries: "SELECT idx, term, kind, data, crc FROM log WHERE idx BETWEEN ? AND ? ORDER BY idx LIMIT 256",
  getMeta: "SELECT value, crc FROM meta WHERE key = ?",
  putMeta: "INSERT OR REPLACE INTO meta (key, value, crc) VALUES (?, ?, ?)",
  snapshots: "SELECT id, state, meta, crc FROM snapshot ORDER BY id",
  putSnapshot: "INSERT INTO snapshot (state, meta, crc) VALUES (?, ?, ?)",
  setSnapshot: "UPDATE snapshot SET state = ?, meta = ?, crc = ? WHERE id = ?",
  dropSnapshot: "DELETE FROM snapshot WHERE id = ?",
  dropBlocks: "DELETE FROM block WHERE snapshot = ?",
  putBlock: "INSERT INTO block (snapshot, seq, data, crc) VALUES (?, ?, ?, ?)",
  getBlock: "SELECT data, crc FROM block WHERE snapshot = ? AND seq = ?",
  countBlocks: "SELECT count(*) AS n FROM block WHERE snapshot = ?",
} as const;

const KINDS: EntryKind[] = ["command", "noop", "config"];
/** Rows of `snapshot.state`. */
const WRITING = 0;
const STAGED = 1;
const COMPLETE = 2;

/** What we use of libsql's synchronous API. Parameters go in one array: a wrong shape aborts the process there. */
interface Statement {
  run(params: unknown[]): { lastInsertRowid: number | bigint };
  all(params: unknown[]): unknown[];
}
interface Database {
  readonly inTransaction: boolean;
  prepare(sql: string): Statement;
  exec(sql: string): unknown;
  close(): unknown;
}
export type OpenDatabase = (path: string, options: { encryptionKey?: string; timeout: number }) => Database;

interface Damaged {
  after: number;
  floor: LogFloor | null;
}

interface SnapshotRow {
  id: number;
  state: number;
  meta: SnapshotMeta;
}

export class StorageDb {
  readonly #options: DbOptions;
  readonly #openDatabase: OpenDatabase;
  #db: Database | null = null;
  #lock: Database | null = null;
  #statements = new Map<string, Statement>();
  #lastIndex = 0;
  #lastTerm = 0;
  #hard: HardState = { term: 0, vote: "", commit: 0 };
  #snapshots: SnapshotRow[] = [];
  #mark: Mark | null = null;
  /** What the first write removes: records after an index, and everything before a snapshot that goes further. */
  #damaged: Damaged | null = null;

  constructor(options: DbOptions, openDatabase: OpenDatabase) {
    this.#options = options;
    this.#openDatabase = openDatabase;
  }

  open(): Stored {
    return this.#guard("open the database", () => {
      this.#takeLock();
      this.#connect();
      const floor = this.#getMeta<LogFloor>("floor") ?? EMPTY_FLOOR;
      this.#hard = this.#getMeta<HardState>("hard") ?? { term: 0, vote: "", commit: 0 };
      this.#loadSnapshots(floor);
      this.#mark = new Mark(`${this.#options.path}.mark`);
      const stored = this.#checkTail(floor, this.#mark.read());
      if (!stored.lost) this.#writeMark(this.#lastIndex, this.#lastTerm);
      return stored;
    });
  }

  /** A second process on the same directory would corrupt the log. The lock goes with the process, even by kill -9. */
  #takeLock(): void {
    const path = `${this.#options.path}.lock`;
    try {
      createPrivate(path);
      createPrivate(this.#options.path);
      this.#lock = this.#openDatabase(path, { timeout: 100 });
      this.#lock.exec("PRAGMA journal_mode = MEMORY");
      this.#lock.exec("BEGIN EXCLUSIVE");
    } catch (cause) {
      this.#lock?.close();
      this.#lock = null;
      const error = toStorageError(cause, "lock the data directory");
      if (error.kind !== "locked") throw error;
      throw new StorageError(
        "locked",
        `Another process uses ${this.#options.path}: stop the other agent or give this one its own data_dir`,
        { cause },
      );
    }
  }

  #connect(): void {
    const { path, encryptionKey, lockTimeoutMs, maxBytes } = this.#options;
    const db = this.#openDatabase(path, {
      timeout: lockTimeoutMs,
      ...(encryptionKey ? { encryptionKey } : {}),
    });
    this.#db = db;
    this.#statements.clear();
    db.prepare("PRAGMA journal_mode = WAL").all([]);
    db.exec("PRAGMA synchronous = FULL");
    db.prepare("PRAGMA journal_size_limit = 67108864").all([]);
    db.exec(SCHEMA);
    if (maxBytes > 0) {
      const page = (db.prepare("PRAGMA page_size").all([])[0] as { page_size: number }).page_size;
      db.prepare(`PRAGMA max_page_count = ${Math.max(1, Math.floor(maxBytes / page))}`).all([]);
    }
    const format = this.#getMeta<number>("format");
    if (format === undefined) this.#transaction(() => this.#putMeta("format", FORMAT));
    else if (format !== FORMAT) {
      throw new StorageError(
        "io",
        `${path} has format ${format}, this program reads ${FORMAT}: use the program that wrote it`,
      );
    }
  }

  /**
   * A snapshot whose description is damaged is dropped where an intact one and the log hold everything: it may be half
   * received or an older one. Otherwise it stops the server.
   */
  #loadSnapshots(floor: LogFloor): void {
    const rows = this.#query<{ id: number; state: number; meta: string; crc: number }>(SQL.snapshots, []);
    const intact = rows.filter((row) => crc32(row.meta) === row.crc);
    this.#snapshots = intact.map(({ id, state, meta }) => ({ id, state, meta: JSON.parse(meta) }));
    const damaged = rows.filter((row) => !intact.includes(row));
    if (damaged[0] && (this.#newest()?.meta.index ?? 0) < floor.index) {
      throw corrupt(`The description of snapshot row ${damaged[0].id}`);
    }
    const useless = [...this.#snapshots.filter((s) => s.state === WRITING), ...damaged];
    if (useless.length > 0) this.#transaction(() => useless.forEach((s) => this.#dropSnapshot(s)));
  }

  // ---- the end of the log ----

  /** Where the intact log ends, and whether more than that was durable here once. */
  #checkTail(floor: LogFloor, mark: MarkValue | null): Stored {
    const end = this.#findEnd(floor, mark?.index ?? 0);
    const newest = this.#newest()?.meta;
    const hard = this.#hard;
    const to = Math.max(end.seen, mark?.index ?? 0, hard.commit);
    // All that is missing may stand in the snapshot: the log then goes on behind it.
    const covered = newest !== undefined && newest.index > end.index && to > end.index;
    this.#lastIndex = covered ? newest.index : end.index;
    this.#lastTerm = covered ? newest.term : end.term;
    const stored: Stored = {
      hard: { ...hard },
      snapshot: newest ?? null,
      floor: covered ? floorOf(newest) : floor,
      lastIndex: this.#lastIndex,
    };
    const lost = judgeLoss(mark, {
      hard,
      lastIndex: this.#lastIndex,
      seen: to,
      what: end.what,
      termOf: (index) => this.#termOf(index),
      path: this.#options.path,
      accepted: this.#isAccepted(),
    });
    if (lost) stored.lost = lost;
    if (lost || covered) this.#damaged = { after: end.index, floor: covered ? stored.floor : null };
    return stored;
  }

  /** The last intact entry, going back over what is damaged; `seen` is the last one of which anything is there. */
  #findEnd(
    floor: LogFloor,
    marked: number,
  ): { index: number; term: number; seen: number; what: string } {
    let last: number;
    let what = "";
    try {
      last = this.#query<{ idx: number | null }>(SQL.lastEntry, [])[0]?.idx ?? 0;
    } catch (error) {
      if (toStorageError(error, "").kind !== "corrupt" || marked === 0) throw error;
      last = marked; // The last page of the log cannot be read.
    }
    for (let index = last; index > floor.index; index--) {
      const entry = this.#tryEntry(index);
      if (typeof entry !== "string") return { index, term: entry.term, seen: last, what };
      what = entry;
    }
    return { index: floor.index, term: floor.term, seen: Math.max(last, floor.index), what };
  }

  /** The entry, or what is wrong with it. */
  #tryEntry(index: number): Entry | string {
    try {
      const row = this.#query<EntryRow>(SQL.entry, [index])[0];
      return row ? checkEntry(row, index) : `Log entry ${index} is missing`;
    } catch (error) {
      if (toStorageError(error, "").kind !== "corrupt") throw error;
      return error instanceof StorageError
        ? error.message.slice(0, error.message.indexOf(":"))
        : `Log entry ${index} cannot be read (${errorText(error)})`;
    }
  }

  #termOf(index: number): number {
    if (index === this.#lastIndex) return this.#lastTerm;
    const entry = this.#tryEntry(index);
    return typeof entry === "string" ? Infinity : entry.term; // Compacted: it stands in the snapshot.
  }

  #isAccepted(): boolean {
    try {
      return readFileSync(`${this.#options.path}.accept-loss`, "utf8").trim() === String(this.#lastIndex);
    } catch (error) {
      if ((error as { code?: unknown }).code === "ENOENT") return false;
      throw error;
    }
  }

  /** In the first write's transaction. */
  #removeDamaged({ after, floor }: Damaged): void {
    this.#run(SQL.cutFrom, [after + 1]);
    if (!floor) return;
    this.#run(SQL.cutTo, [floor.index]);
    this.#putMeta("floor", floor);
  }

  #writeMark(index: number, lastTerm: number): void {
    const { term, vote } = this.#hard;
    try {
      this.#mark?.write({ index, lastTerm, term, vote: voteMark(vote) });
    } catch (error) {
      // The entries are durable already. A full disk (copy-on-write) leaves an older mark, which only sees less.
      if (toStorageError(error, "write the mark").kind !== "full") throw error;
    }
  }

  // ---- the log ----

  read(from: number, charsMax: number): Entry[] {
    return this.#guard(`read the log from entry ${from}`, () => {
      const page: Entry[] = [];
      let chars = 0;
      let at = from;
      while (at <= this.#lastIndex && chars < charsMax) {
        const rows = this.#page(at);
        if (rows.length === 0) throw corrupt(`Log entry ${at} (of ${this.#lastIndex}) is missing: it`);
        for (const row of rows) {
          page.push(checkEntry(row, at++));
          chars += row.data.length;
        }
      }
      return page;
    });
  }

  /** Where a page of the file is damaged, the entries before it are given, and the first one in it is named. */
  #page(from: number): EntryRow[] {
    try {
      return this.#query<EntryRow>(SQL.entries, [from, this.#lastIndex]);
    } catch (error) {
      if (toStorageError(error, "").kind !== "corrupt") throw error;
    }
    const rows: EntryRow[] = [];
    for (let index = from; index <= this.#lastIndex; index++) {
      const entry = this.#tryEntry(index);
      if (typeof entry === "string" && rows.length > 0) return rows;
      if (typeof entry === "string") throw new StorageError("corrupt", `${entry}. ${WAY_OUT}`);
      rows.push(...this.#query<EntryRow>(SQL.entry, [index]));
    }
    return rows;
  }

  write(batch: StorageWrite): void {
    this.#guard("write to the log", () => {
      const first = batch.entries[0]?.index;
      const kept = batch.install ? 0 : Math.min(this.#lastIndex, (first ?? Infinity) - 1);
      if (kept < this.#lastIndex) {
        // Before entries are cut, or a crash in between would look like a loss.
        this.#writeMark(kept, 0);
        this.#mark?.sync();
      }
      let last = batch.install?.index ?? this.#lastIndex;
      try {
        this.#transaction(() => {
          if (this.#damaged) this.#removeDamaged(this.#damaged);
          if (batch.install) this.#install(batch.install);
          if (first !== undefined) {
            assert(first <= last + 1, `write leaves a gap: ${first} after ${last}`);
            if (first <= last) this.#run(SQL.cutFrom, [first]);
            for (const e of batch.entries) {
              this.#run(SQL.putEntry, [e.index, e.term, KINDS.indexOf(e.kind), e.data, entryChecksum(e)]);
            }
            last = first + batch.entries.length - 1;
          }
          if (batch.hard) this.#putMeta("hard", batch.hard);
        });
      } catch (error) {
        if (kept < this.#lastIndex) this.#writeMark(this.#lastIndex, this.#lastTerm);
        throw error;
      }
      this.#lastIndex = last;
      this.#lastTerm = batch.entries.at(-1)?.term ?? batch.install?.term ?? this.#lastTerm;
      if (batch.hard) this.#hard = batch.hard;
      this.#writeMark(last, this.#lastTerm);
      if (this.#damaged) rmSync(`${this.#options.path}.accept-loss`, { force: true });
      this.#damaged = null;
    });
  }

  #install(meta: SnapshotMeta): void {
    const staged = this.#snapshots.find((s) => s.state === STAGED && isSame(s.meta, meta));
    assert(staged, `snapshot ${meta.index} was not received`);
    this.#setSnapshot(staged, COMPLETE, meta);
    for (const old of this.#snapshots.filter((s) => s !== staged && s.state !== WRITING)) {
      this.#dropSnapshot(old);
    }
    this.#run(SQL.cutFrom, [0]);
    this.#putMeta("floor", floorOf(meta));
  }

  compact(floor: LogFloor, keep: readonly SnapshotMeta[]): void {
    this.#guard("compact the log", () =>
      this.#transaction(() => {
        const newest = this.#newest();
        for (const s of this.#snapshots.filter((s) => s.state === COMPLETE && s !== newest)) {
          if (!keep.some((k) => isSame(k, s.meta))) this.#dropSnapshot(s);
        }
        const current = this.#getMeta<LogFloor>("floor") ?? EMPTY_FLOOR;
        if (floor.index <= current.index) return;
        this.#run(SQL.cutTo, [floor.index]);
        this.#putMeta("floor", floor);
      }));
  }

  // ---- snapshots ----

  beginSnapshot(base: SnapshotBase): number {
    return this.#guard("begin a snapshot", () =>
      this.#transaction(() => {
        for (const left of this.#snapshots.filter((s) => s.state === WRITING)) this.#dropSnapshot(left);
        const meta = { ...base, blocks: 0, bytes: 0, checksum: 0 };
        return this.#addSnapshot(WRITING, meta).id;
      }));
  }

  writeBlock(id: number, chunks: string[]): void {
    this.#guard("write a snapshot", () => {
      const row = this.#row(id);
      const block = packBlock(chunks);
      this.#transaction(() => this.#putBlock(id, row.meta.blocks, block));
      row.meta.blocks++;
      row.meta.bytes += block.length;
      row.meta.checksum = blockChecksum(block, row.meta.checksum);
    });
  }

  finishSnapshot(id: number): SnapshotMeta {
    return this.#guard("finish a snapshot", () => {
      const row = this.#row(id);
      this.#transaction(() => this.#setSnapshot(row, COMPLETE, row.meta));
      return row.meta;
    });
  }

  abortSnapshot(id: number): void {
    this.#guard("drop a snapshot", () => this.#transaction(() => this.#dropSnapshot(this.#row(id))));
  }

  readBlock(snapshot: SnapshotMeta, block: number): Uint8Array | null {
    return this.#guard(`read block ${block} of snapshot ${snapshot.index}`, () => {
      const row = this.#snapshots.find((s) => s.state === COMPLETE && isSame(s.meta, snapshot));
      return row ? this.#getBlock(row, block) : null;
    });
  }

  readChunks(snapshot: SnapshotMeta, block: number): string[] {
    const data = this.readBlock(snapshot, block);
    if (!data) throw missingBlock(snapshot, block);
    return unpackBlock(data);
  }

  stageBlock(snapshot: SnapshotMeta, block: number, data: Uint8Array): number {
    return this.#guard("store a received snapshot", () =>
      this.#transaction(() => {
        let row = this.#snapshots.find((s) => s.state === STAGED && isSame(s.meta, snapshot));
        if (!row) {
          for (const old of this.#snapshots.filter((s) => s.state === STAGED)) this.#dropSnapshot(old);
          row = this.#addSnapshot(STAGED, snapshot);
        }
        const held = this.#query<{ n: number }>(SQL.countBlocks, [row.id])[0]!.n;
        if (block !== held) return held;
        this.#putBlock(row.id, block, data);
        return held + 1;
      }));
  }

  #getBlock(row: SnapshotRow, seq: number): Uint8Array {
    const found = this.#query<{ data: ArrayBuffer; crc: number }>(SQL.getBlock, [row.id, seq])[0];
    if (!found) throw missingBlock(row.meta, seq);
    const data = new Uint8Array(found.data);
    if (crc32(data) !== found.crc) throw corrupt(`Block ${seq} of snapshot ${row.meta.index}`);
    return data;
  }

  #putBlock(id: number, seq: number, data: Uint8Array): void {
    this.#run(SQL.putBlock, [id, seq, Buffer.from(data.buffer, data.byteOffset, data.length), crc32(data)]);
  }

  #addSnapshot(state: number, meta: SnapshotMeta): SnapshotRow {
    const text = JSON.stringify(meta);
    const { lastInsertRowid } = this.#run(SQL.putSnapshot, [state, text, crc32(text)]);
    const row = { id: Number(lastInsertRowid), state, meta: { ...meta } };
    this.#snapshots.push(row);
    return row;
  }

  #setSnapshot(row: SnapshotRow, state: number, meta: SnapshotMeta): void {
    const text = JSON.stringify(meta);
    this.#run(SQL.setSnapshot, [state, text, crc32(text), row.id]);
    row.state = state;
  }

  #dropSnapshot({ id }: { id: number }): void {
    this.#run(SQL.dropBlocks, [id]);
    this.#run(SQL.dropSnapshot, [id]);
    this.#snapshots = this.#snapshots.filter((s) => s.id !== id);
  }

  #row(id: number): SnapshotRow {
    const row = this.#snapshots.find((s) => s.id === id);
    assert(row, `snapshot row ${id} is gone`);
    return row;
  }

  #newest(): SnapshotRow | undefined {
    return this.#snapshots.filter((s) => s.state === COMPLETE).sort((a, b) => a.meta.index - b.meta.index).at(
      -1,
    );
  }

  // ---- below everything ----

  size(): number {
    const sizes = ["", "-wal"].map((end) =>
      statSync(this.#options.path + end, { throwIfNoEntry: false })?.size ?? 0
    );
    return sizes.reduce((a, b) => a + b, 0);
  }

  close(): void {
    this.#checkpoint();
    this.#db?.close();
    this.#lock?.exec("ROLLBACK");
    this.#lock?.close();
    this.#mark?.close();
    this.#db = this.#lock = this.#mark = null;
    this.#damaged = null;
  }

  /** libsql closes the file only when its statements are collected, so the WAL is written back here. */
  #checkpoint(): void {
    if (!this.#db) return;
    try {
      this.#query("PRAGMA wal_checkpoint(TRUNCATE)", []);
    } catch (error) {
      // It stays in the WAL, which is read at the next start just as well.
      if (!["full", "locked"].includes(toStorageError(error, "checkpoint").kind)) throw error;
    }
  }

  #getMeta<T>(key: string): T | undefined {
    const row = this.#query<{ value: string; crc: number }>(SQL.getMeta, [key])[0];
    if (!row) return undefined;
    if (crc32(row.value) !== row.crc) throw corrupt(`The record "${key}"`);
    return JSON.parse(row.value) as T;
  }

  #putMeta(key: string, value: unknown): void {
    const text = JSON.stringify(value);
    this.#run(SQL.putMeta, [key, text, crc32(text)]);
  }

  /** What is kept in memory beside the tables goes back with a transaction that fails. */
  #transaction<T>(run: () => T): T {
    const before = this.#snapshots.map((s) => ({ ...s }));
    this.#run(SQL.begin, []);
    try {
      const result = run();
      this.#run(SQL.commit, []);
      return result;
    } catch (error) {
      this.#snapshots = before;
      this.#rollBack();
      throw error;
    }
  }

  #rollBack(): void {
    if (!this.#db?.inTransaction) return; // SQLite rolled back by itself, as it does when the disk is full.
    try {
      this.#run(SQL.rollback, []);
    } catch (cause) {
      // A connection that cannot even roll back is replaced; closing it ends its transaction.
      this.#db.close();
      this.#db = null;
      this.#statements.clear();
      throw toStorageError(cause, "roll back");
    }
  }

  #statement(sql: string): Statement {
    if (!this.#db) this.#connect();
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, statement = this.#db!.prepare(sql));
    return statement;
  }

  #run(sql: string, params: unknown[]): { lastInsertRowid: number | bigint } {
    return this.#statement(sql).run(params);
  }

  #query<T>(sql: string, params: unknown[]): T[] {
    return this.#statement(sql).all(params) as T[];
  }

  #guard<T>(what: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      throw error instanceof AssertionError ? error : toStorageError(error, what);
    }
  }
}

interface EntryRow {
  idx: number;
  term: number;
  kind: number;
  data: string;
  crc: number;
}

function checkEntry(row: EntryRow, expected: number): Entry {
  if (row.idx !== expected) {
    throw corrupt(`Log entry ${expected} is missing (the next one is ${row.idx}): it`);
  }
  const kind = KINDS[row.kind];
  const entry = { index: row.idx, term: row.term, kind: kind!, data: row.data };
  if (!kind || typeof row.data !== "string" || entryChecksum(entry) !== row.crc) {
    throw corrupt(`Log entry ${expected} (term ${row.term})`);
  }
  return entry;
}

function entryChecksum(e: Entry): number {
  return crc32(e.data, crc32(`${e.index}:${e.term}:${e.kind}:`));
}

/** The state holds secrets: its files are for this user only. SQLite gives the WAL the same mode. */
function createPrivate(path: string): void {
  closeSync(openSync(path, "a", 0o600));
}

function corrupt(what: string): StorageError {
  return new StorageError(
    "corrupt",
    `${what} is damaged: its checksum is wrong or it cannot be read. ${WAY_OUT}`,
  );
}

/** libsql's errors → ours, by SQLite's result codes. */
export function toStorageError(error: unknown, what: string): StorageError {
  if (error instanceof StorageError) return error;
  const code = String((error as { code?: unknown } | null)?.code ?? "");
  const text = errorText(error);
  const cannot = `Cannot ${what}: ${text}`;
  if (code.startsWith("SQLITE_FULL") || code === "ENOSPC" || code === "EDQUOT") {
    return new StorageError(
      "full",
      `${cannot}. Make room on the disk of the data directory; the write was refused`,
    );
  }
  if (code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED")) {
    return new StorageError("locked", `${cannot}. Another process holds the database; the write was refused`);
  }
  if (code.startsWith("SQLITE_CORRUPT")) return new StorageError("corrupt", `${cannot}. ${WAY_OUT}`);
  if (code.startsWith("SQLITE_NOTADB")) {
    return new StorageError(
      "corrupt",
      `${cannot}. The encryption key is wrong, or the file is damaged. ${WAY_OUT}`,
    );
  }
  return new StorageError("io", cannot, { cause: error });
}
