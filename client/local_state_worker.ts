// The worker that owns the device's database (local_state_sqlite.ts starts it). Answers calls one after the other; a
// write is one transaction. An entry point of its own, so that libsql is loaded here and nowhere else.
import { parentPort } from "node:worker_threads";
import { assert, assertNever } from "../core/assert.ts";
import { errorText } from "../core/errors.ts";
import type { StateCall, StateReply, StateRows, StateWrite } from "./local_state_sqlite.ts";

/** The little of libsql that is used. */
interface Statement {
  run(...values: unknown[]): unknown;
  all(...values: unknown[]): unknown[];
}
interface Database {
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS alloc (id TEXT PRIMARY KEY, json TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS task (
    id TEXT NOT NULL, task TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (id, task)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, json TEXT NOT NULL);
`;
const FORMAT = "1";

assert(parentPort, "local_state_worker.ts runs as a worker only");
const port = parentPort;
let db: Database | undefined;
const statements = new Map<string, Statement>();

function prepared(database: Database, sql: string): Statement {
  const known = statements.get(sql);
  if (known) return known;
  const statement = database.prepare(sql);
  statements.set(sql, statement);
  return statement;
}

async function open(path: string): Promise<StateRows> {
  const { default: Libsql } = await import("libsql");
  const Constructor = Libsql as unknown as new (path: string, options: { timeout: number }) => Database;
  const opened = new Constructor(path, { timeout: 5000 });
  opened.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;");
  opened.exec(SCHEMA);
  const meta = new Map(
    (opened.prepare("SELECT key, json FROM meta").all() as { key: string; json: string }[])
      .map(({ key, json }) => [key, json]),
  );
  const format = meta.get("format");
  if (format !== undefined && format !== FORMAT) {
    throw new Error(
      `${path} has format ${format}, this program reads ${FORMAT}: use the newer version that made it`,
    );
  }
  opened.prepare("INSERT OR REPLACE INTO meta (key, json) VALUES ('format', ?)").run(FORMAT);
  db = opened;
  return {
    allocs: opened.prepare("SELECT id, json FROM alloc").all() as StateRows["allocs"],
    tasks: opened.prepare("SELECT id, task, json FROM task").all() as StateRows["tasks"],
    meta: meta.get("dynamic") ?? null,
    servers: meta.get("servers") ?? null,
  };
}

function write(database: Database, writes: StateWrite[]): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    for (const entry of writes) put(database, entry);
    database.exec("COMMIT");
  } catch (error) {
    database.exec("ROLLBACK");
    throw error;
  }
}

function put(database: Database, entry: StateWrite): void {
  switch (entry.kind) {
    case "alloc":
      prepared(database, "INSERT OR REPLACE INTO alloc (id, json) VALUES (?, ?)").run(entry.id, entry.json);
      return;
    case "task":
      prepared(database, "INSERT OR REPLACE INTO task (id, task, json) VALUES (?, ?, ?)")
        .run(entry.id, entry.task, entry.json);
      return;
    case "remove":
      prepared(database, "DELETE FROM task WHERE id = ?").run(entry.id);
      prepared(database, "DELETE FROM alloc WHERE id = ?").run(entry.id);
      return;
    case "meta":
      prepared(database, "INSERT OR REPLACE INTO meta (key, json) VALUES ('dynamic', ?)").run(entry.json);
      return;
    case "servers":
      prepared(database, "INSERT OR REPLACE INTO meta (key, json) VALUES ('servers', ?)").run(entry.json);
      return;
    default:
      assertNever(entry, "state write");
  }
}

async function run(call: StateCall): Promise<unknown> {
  switch (call.op) {
    case "open":
      try {
        return await open(call.path);
      } catch (error) {
        throw new Error(`Cannot open the client's state ${call.path}: ${errorText(error)}`, { cause: error });
      }
    case "write":
      assert(db, "client state is not open");
      return write(db, call.writes);
    case "close":
      db?.close();
      db = undefined;
      return;
    default:
      assertNever(call, "state call");
  }
}

let turn: Promise<void> = Promise.resolve();
port.on("message", ({ id, call }: { id: number; call: StateCall }) => {
  turn = turn.then(async () => {
    let reply: StateReply;
    try {
      reply = { id, value: await run(call) };
    } catch (error) {
      reply = { id, error: errorText(error) };
    }
    port.postMessage(reply);
  });
});
