// Finding the others: what start_join, retry_join and client.servers name, turned into addresses and tried until
// somebody answers. The same for servers (who join gossip) and devices (who dial the servers' rpc ports); what a try
// is, the caller says.
//
// Invariants: one attempt at a time; an entry that can never work is said once and left out, the others go on;
// between two attempts a whole retry_interval passes.
import type { Clock } from "../core/env.ts";
import { errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { formatHostPort, type Lookup, resolveAddress, systemLookup } from "../core/resolve.ts";
import {
  entryName,
  findProvider,
  isProviderEntry,
  type JoinProviders,
  parseProviderEntry,
  UnknownProviderError,
} from "./join_provider.ts";

export interface Discovery {
  /** host:port, each once. */
  addresses: string[];
  /** Entries that gave none, and why. */
  errors: string[];
}

export interface DiscoverOptions {
  defaultPort: number;
  lookup?: Lookup;
  providers?: JoinProviders;
}

/**
 * The addresses that entries stand for: `host`, `host:port`, IPv6, names with several addresses, and the cloud form
 * "provider=… key=value …". Throws UnknownProviderError for a provider that does not exist.
 */
export async function discover(entries: readonly string[], options: DiscoverOptions): Promise<Discovery> {
  const found: Discovery = { addresses: [], errors: [] };
  const lists = await Promise.all(entries.map(async (entry) => {
    try {
      return await addressesOf(entry, options);
    } catch (error) {
      if (error instanceof UnknownProviderError) throw error;
      found.errors.push(`${entryName(entry)}: ${errorText(error)}`);
      return [];
    }
  }));
  found.addresses = [...new Set(lists.flat())];
  return found;
}

async function addressesOf(entry: string, options: DiscoverOptions): Promise<string[]> {
  const named = isProviderEntry(entry)
    ? await findProvider(entry, options.providers)(parseProviderEntry(entry))
    : [entry];
  if (named.length === 0) throw new Error("the provider knows no address");
  const lookup = options.lookup ?? systemLookup;
  const resolved = await Promise.all(named.map((each) => resolveAddress(each, options.defaultPort, lookup)));
  return resolved.flat().map(formatHostPort);
}

/**
 * What became of an attempt. `alone`: the addresses are this server's own; behind a name or a provider others may show up
 * later, so it is looked again, without a word and without counting.
 */
export type Attempt = "joined" | "alone" | { failed: string };

export interface JoinerOptions extends DiscoverOptions {
  entries: readonly string[];
  retryIntervalMs: number;
  retryMax: number;
  clock: Clock;
  logger: Logger;
  attempt(addresses: string[]): Promise<Attempt>;
  /** retry_max attempts were in vain. */
  onExhausted(message: string): void;
}

/** Tries again and again, in the background. */
export class Joiner {
  readonly #o: JoinerOptions;
  /** Entries that can work. */
  #entries: string[];
  #attempts = 0;
  #cancel: (() => void) | null = null;
  #stopped = false;
  #running = false;

  constructor(options: JoinerOptions) {
    this.#o = options;
    this.#entries = [...options.entries];
  }

  /** Begins at once; after it has come to its end, begins anew. */
  start(): void {
    if (this.#running || this.#stopped || this.#cancel) return;
    this.#leaveOutUnknown();
    this.#attempts = 0;
    if (this.#entries.length === 0 && this.#o.retryMax === 0) return;
    this.#o.logger.info("starting retry join", { servers: this.#entries.map(entryName).join(", ") });
    void this.#run();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  #leaveOutUnknown(): void {
    for (const entry of this.#entries.filter(isProviderEntry)) {
      try {
        findProvider(entry, this.#o.providers);
      } catch (error) {
        this.#o.logger.error(`${errorText(error)}; the entry is left out`);
        this.#entries = this.#entries.filter((each) => each !== entry);
      }
    }
  }

  async #run(): Promise<void> {
    this.#running = true;
    const outcome = await this.#attempt();
    this.#running = false;
    if (this.#stopped) return;
    const { logger, retryIntervalMs, clock } = this.#o;
    if (outcome === "joined") return logger.info("retry join completed");
    if (outcome !== "alone" && this.#isLast(outcome.failed)) return;
    this.#cancel = clock.after(retryIntervalMs, () => {
      this.#cancel = null;
      void this.#run();
    });
  }

  /** Says that an attempt failed; true when there is no other. */
  #isLast(why: string): boolean {
    const { logger, retryMax, retryIntervalMs } = this.#o;
    logger.warn("join failed", { error: why, retry: `${retryIntervalMs / 1000}s` });
    if (retryMax === 0 || ++this.#attempts <= retryMax) return false;
    logger.error("max join retry exhausted, exiting");
    this.#o.onExhausted(`Joining failed ${this.#attempts} times (retry_max = ${retryMax}): ${why}`);
    return true;
  }

  async #attempt(): Promise<Attempt> {
    try {
      const { addresses, errors } = await discover(this.#entries, this.#o);
      if (addresses.length === 0) return { failed: errors.join("; ") || "no join address can be used" };
      for (const error of errors) this.#o.logger.warn("discovering join addresses failed", { error });
      return await this.#o.attempt(addresses);
    } catch (error) {
      return { failed: errorText(error) };
    }
  }
}
