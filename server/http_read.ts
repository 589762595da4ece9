// Reads: blocking queries and lists that are encoded once. A read names what it depends on (tables, keys of the
// watch) and how its answer is made; waiting, timeouts, headers and sharing are done here.
//
// Invariants: an answer is never older than the index it is sent with; between reading the index and waiting nothing
// is awaited; the cache holds at most CACHE_MAX_LENGTH and only answers of the current index of their tables.
import type { ServerContext } from "./context.ts";
import { type Exchange, gzip, readHeaders, type ReadMeta, textReply } from "./http_exchange.ts";
import type { Table } from "./state_reader.ts";

const WAIT_MAX_MS = 5 * 60_000;
const CACHE_MAX_LENGTH = 32 * 1024 * 1024;
const CACHE_MAX_ENTRIES = 256;
/** The longest duration of 64 bits in nanoseconds. */
const NEVER_MS = 9_223_372_036_854;

export interface Dependencies {
  tables?: readonly Table[];
  keys?: readonly string[];
}

/** An object or its absence; `index` is what the answer is true at. */
export type Answer =
  | { index: number; value: () => unknown }
  | { index: number; missing: string };

export interface ListAnswer {
  value: unknown;
  nextToken?: string;
}

interface Encoded {
  index: number;
  text: string;
  zipped: Uint8Array | null;
  nextToken: string;
}

/** Reads of one server. */
export class Reads {
  #encoded = new Map<string, Encoded>();
  #encodedLength = 0;

  constructor(readonly server: ServerContext) {}

  /** A single object (or a list that is cheap to make): waits on its keys, answers 404 where it is missing. */
  async object(q: Exchange, on: Dependencies, answer: () => Answer): Promise<Response> {
    const { minIndex } = q.options;
    let found = answer();
    if (minIndex > 0) {
      const deadline = this.#deadline(q);
      while (found.index <= minIndex && await this.#wait(q, on, minIndex, deadline)) found = answer();
      if (found.index <= minIndex) found = answer();
    }
    const meta = this.meta(q, found.index);
    if ("missing" in found) return textReply(404, found.missing, readHeaders(meta));
    return q.read(found.value(), meta);
  }

  /**
   * A list that follows whole tables. `make` runs once per (path, parameters, index), whoever asks and however many
   * wait. With a prefix or filter a change that leaves the answer as it was wakes nobody.
   */
  async list(q: Exchange, tables: readonly Table[], make: () => ListAnswer): Promise<Response> {
    const { minIndex, prefix, filter } = q.options;
    const key = cacheKey(q);
    let found = this.#list(q, key, tables, make);
    if (minIndex > 0 && found.index <= minIndex) {
      const deadline = this.#deadline(q);
      const before = prefix !== "" || filter !== "" ? found.text : null;
      let floor = minIndex;
      while (await this.#wait(q, { tables }, floor, deadline)) {
        found = this.#list(q, key, tables, make);
        if (found.index > floor && before !== found.text) break;
        floor = Math.max(floor, found.index);
      }
    }
    const headers = readHeaders({ ...this.meta(q, found.index), nextToken: found.nextToken });
    return q.reply(found.text, headers, () => found.zipped ??= gzip(found.text));
  }

  meta(q: Exchange, index: number): ReadMeta {
    const { log } = this.server;
    const stale = q.options.stale && !log.isLeader;
    return {
      index,
      knownLeader: log.isLeader || log.leader !== null,
      // What was never heard is as long ago as Nomad can say.
      lastContactMs: stale ? Math.min(log.lastContactMs, NEVER_MS) : 0,
    };
  }

  #list(q: Exchange, key: string, tables: readonly Table[], make: () => ListAnswer): Encoded {
    const index = this.server.state.tableIndex(...tables);
    const known = this.#encoded.get(key);
    if (known?.index === index) return known;
    const { value, nextToken = "" } = make();
    const entry: Encoded = { index, text: q.encode(value), zipped: null, nextToken };
    if (known) this.#forget(key, known);
    this.#remember(key, entry);
    return entry;
  }

  #remember(key: string, entry: Encoded): void {
    if (entry.text.length > CACHE_MAX_LENGTH / 4) return;
    this.#encoded.set(key, entry);
    this.#encodedLength += entry.text.length;
    for (const [oldest, old] of this.#encoded) {
      if (this.#encodedLength <= CACHE_MAX_LENGTH && this.#encoded.size <= CACHE_MAX_ENTRIES) break;
      this.#forget(oldest, old);
    }
  }

  #forget(key: string, entry: Encoded): void {
    this.#encoded.delete(key);
    this.#encodedLength -= entry.text.length;
  }

  #deadline(q: Exchange): number {
    const asked = q.options.waitMs;
    const wait = asked > 0 ? Math.min(asked, WAIT_MAX_MS) : WAIT_MAX_MS;
    // Spread, so that a thousand readers that began together do not end together.
    return this.server.clock.monotonicMs() + wait + this.server.random.float() * wait / 16;
  }

  /** True when something changed, false when the time is over. */
  async #wait(q: Exchange, on: Dependencies, minIndex: number, deadline: number): Promise<boolean> {
    const timeoutMs = deadline - this.server.clock.monotonicMs();
    if (timeoutMs <= 0) return false;
    const spec = { ...on, minIndex, timeoutMs, signal: q.request.signal };
    return await this.server.watch.wait(spec) === "changed";
  }
}

const UNCACHED = new Set(["index", "wait", "stale", "consistent", "region"]);

/** Everything of the request that decides the answer, but not how long it waits for it. */
function cacheKey(q: Exchange): string {
  if (q.query.size === 0) return q.path;
  const kept = new URLSearchParams();
  for (const [name, value] of q.query) {
    if (!UNCACHED.has(name)) {
      kept.append(name, value);
    }
  }
  return kept.size === 0 ? q.path : `${q.path}?${kept}`;
}
