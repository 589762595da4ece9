// Durable commands per second through one replica, and how long a single caller waits. Run with either runtime:
// `deno run -A bench/raft.ts`, `bun bench/raft.ts`. Prints one line a case.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "../core/env.ts";
import type { Command } from "../server/commands.ts";
import type { StateMachine } from "../server/log.ts";
import { httpTransport } from "../server/raft_http.ts";
import { createReplica } from "../server/replica.ts";
import { memoryStorage, type RaftStorage } from "../server/storage.ts";
import { libsqlStorage } from "../server/storage_libsql.ts";

const SECONDS = 3;
const ADDRESS = "127.0.0.1:4647";

function nullMachine(): StateMachine {
  let index = 0;
  return {
    get index() {
      return index;
    },
    apply(at) {
      index = at;
      return {};
    },
    *snapshot() {
      yield "x".repeat(1000);
    },
    restore(at) {
      index = at;
    },
  };
}

/** About the size of a small job registration. */
const command: Command = {
  kind: "job.periodicLaunch",
  time: 0,
  namespace: "default",
  id: "x".repeat(1000),
  launchMs: 1,
};

async function measure(name: string, storage: RaftStorage, callers: number): Promise<void> {
  const replica = createReplica({
    id: "bench",
    rpcAddress: ADDRESS,
    httpAddress: ADDRESS,
    bootstrap: [{ id: "bench", rpcAddress: ADDRESS, httpAddress: ADDRESS, voter: true }],
    storage,
    transport: httpTransport({ id: "bench", rpcAddress: ADDRESS, clock: systemClock }),
    clock: systemClock,
    random: systemRandom,
  });
  const began = performance.now();
  await replica.start(nullMachine());
  const startMs = performance.now() - began;
  const endMs = performance.now() + SECONDS * 1000;
  const waits: number[] = [];
  await Promise.all(Array.from({ length: callers }, async () => {
    while (performance.now() < endMs) {
      const at = performance.now();
      await replica.propose(command);
      waits.push(performance.now() - at);
    }
  }));
  await replica.stop();
  waits.sort((a, b) => a - b);
  const quantile = (q: number) => waits[Math.floor(waits.length * q)]!.toFixed(2);
  console.log(
    `${name} ${callers} callers: ${Math.round(waits.length / SECONDS)} commands/s, ` +
      `p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms, start ${startMs.toFixed(1)} ms`,
  );
}

const dir = mkdtempSync(join(tmpdir(), "nomad-bench-raft-"));
try {
  for (const callers of [1, 32, 256]) {
    await measure("libsql", libsqlStorage({ path: join(dir, `${callers}.db`) }), callers);
  }
  for (const callers of [1, 32]) await measure("memory", memoryStorage(), callers);
} finally {
  rmSync(dir, { recursive: true });
}
