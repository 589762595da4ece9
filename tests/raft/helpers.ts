// What the replica tests share: a replica on real or fake parts, alone or on a network inside this process.
import { systemClock, systemRandom } from "../../core/env.ts";
import type { Message, RaftServer, RaftTransport } from "../../server/raft_types.ts";
import {
  createReplica,
  type Replica,
  type ReplicaOptions,
  type ReplicaTuning,
} from "../../server/replica.ts";
import { memoryStorage, type RaftStorage } from "../../server/storage.ts";

/** Limit for tests that wait for disks and elections: bun allows 5 s by default, too little on a busy machine. */
export const SLOW = { timeout: 60_000 };

export function server(id: string, voter = true): RaftServer {
  return { id, rpcAddress: `${id}:4647`, httpAddress: `${id}:4646`, voter };
}

/** A network of replicas in this process; links can be cut. */
export class Network {
  readonly #receivers = new Map<string, (message: Message) => void>();
  readonly #cut = new Set<string>();

  transport(id: string): RaftTransport {
    return {
      start: (receive) => {
        this.#receivers.set(id, receive);
      },
      send: (message) => {
        if (this.#cut.has(id) || this.#cut.has(message.to)) return;
        const copy = structuredClone(message);
        setImmediate(() => this.#receivers.get(message.to)?.(copy));
      },
      handle: () => Promise.resolve(new Response(null, { status: 404 })),
      stop: () => {
        this.#receivers.delete(id);
        return Promise.resolve();
      },
    };
  }

  cut(id: string): void {
    this.#cut.add(id);
  }

  heal(id: string): void {
    this.#cut.delete(id);
  }
}

export interface TestReplicaOptions {
  id?: string;
  storage?: RaftStorage;
  bootstrap?: string[] | null;
  network?: Network;
  tuning?: Partial<ReplicaTuning>;
  onFatal?: (error: unknown) => void;
  logger?: NonNullable<ReplicaOptions["logger"]>;
}

/** Quick elections, so that the tests are. */
export const QUICK = { tickMs: 10, heartbeatTicks: 2, electionTicks: 10 };

export function testReplica(options: TestReplicaOptions = {}): Replica {
  const id = options.id ?? "a";
  const bootstrap = options.bootstrap === undefined ? [id] : options.bootstrap;
  return createReplica({
    id,
    rpcAddress: `${id}:4647`,
    httpAddress: `${id}:4646`,
    bootstrap: bootstrap?.map((b) => server(b)) ?? null,
    storage: options.storage ?? memoryStorage(),
    transport: (options.network ?? new Network()).transport(id),
    clock: systemClock,
    random: systemRandom,
    tuning: { ...QUICK, snapshotIntervalMs: 0, ...options.tuning },
    ...(options.onFatal ? { onFatal: options.onFatal } : {}),
    ...(options.logger ? { logger: options.logger } : {}),
  });
}

/** Waits until `condition` holds; the deadline is far beyond what a busy machine needs. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
