// The storage worker: one thread that owns the database and answers calls in the order they come. It is an entry point
// of its own (storage_libsql.ts starts it), so that the main thread never waits for a disk and never loads libsql.
import { parentPort, workerData } from "node:worker_threads";
import { assert, assertNever } from "../core/assert.ts";
import { AssertionError, errorText } from "../core/errors.ts";
import { type OpenDatabase, StorageDb, toStorageError } from "./storage_db.ts";
import type { StorageCall, StorageReply } from "./storage_libsql.ts";
import type { DbOptions } from "./storage_db.ts";

assert(parentPort, "storage_worker.ts runs as a worker only");
const port = parentPort;
let db: StorageDb | null = null;

async function openDb(): Promise<StorageDb> {
  const options = workerData as DbOptions;
  const { default: Database } = await import("libsql").catch((cause) => {
    throw new Error(`The libsql package cannot be loaded: ${errorText(cause)}`, { cause });
  });
  const open = Database as unknown as new (...args: Parameters<OpenDatabase>) => ReturnType<OpenDatabase>;
  return new StorageDb(options, (path, opts) => new open(path, opts));
}

async function run(call: StorageCall): Promise<unknown> {
  if (call.op === "open") {
    db = await openDb();
    return db.open();
  }
  assert(db, "storage is not open");
  switch (call.op) {
    case "read":
      return db.read(call.from, call.charsMax);
    case "write":
      return db.write(call.batch);
    case "compact":
      return db.compact(call.floor, call.keep);
    case "snapshot.begin":
      return db.beginSnapshot(call.base);
    case "snapshot.block":
      return db.writeBlock(call.snapshot, call.chunks);
    case "snapshot.finish":
      return db.finishSnapshot(call.snapshot);
    case "snapshot.abort":
      return db.abortSnapshot(call.snapshot);
    case "block.read":
      return db.readBlock(call.snapshot, call.block);
    case "block.chunks":
      return db.readChunks(call.snapshot, call.block);
    case "block.stage":
      return db.stageBlock(call.snapshot, call.block, call.data);
    case "size":
      return db.size();
    case "close":
      return db.close();
    default:
      assertNever(call, "storage call");
  }
}

function describe(error: unknown, op: string): NonNullable<StorageReply["error"]> {
  if (error instanceof AssertionError) return { kind: "assertion", message: error.message };
  const { kind, message } = toStorageError(error, op);
  return { kind, message };
}

/** Calls are answered strictly one after the other, also while the first one loads libsql. */
let turn: Promise<void> = Promise.resolve();
port.on("message", ({ id, call }: { id: number; call: StorageCall }) => {
  turn = turn.then(async () => {
    let reply: StorageReply;
    try {
      reply = { id, value: await run(call) };
    } catch (error) {
      reply = { id, error: describe(error, call.op) };
    }
    port.postMessage(reply);
  });
});
