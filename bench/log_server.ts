// One server of the log's benchmark, as a process of its own: the real replica with its storage on disk, its HTTP
// listener and the real state behind it; no API, no scheduler. Writes its port on its first line; then takes lines of JSON:
// the members, and, at the leader, how many callers are to propose for how long.
import { createInterface } from "node:readline";
import process from "node:process";
import { systemClock, systemRandom } from "../core/env.ts";
import { listen } from "../core/runtime.ts";
import type { Command } from "../server/commands.ts";
import { httpTransport } from "../server/raft_http.ts";
import type { RaftServer } from "../server/raft_types.ts";
import { createReplica, type Replica } from "../server/replica.ts";
import { State } from "../server/state.ts";
import { libsqlStorage } from "../server/storage_libsql.ts";
import { percentile } from "./measure.ts";

/** What a leader is asked to do. */
export interface Load {
  callers: number;
  seconds: number;
}

export interface LoadAnswer {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

const say = (value: unknown) => void process.stdout.write(JSON.stringify(value) + "\n");

/** A real command of 1 KB: a namespace with a long description. Every caller has one that it writes again and again. */
function command(caller: number): Command {
  const Name = `team-${caller}`;
  return {
    kind: "namespace.upsert",
    time: 1,
    namespaces: [
      {
        Name,
        Description: "x".repeat(850),
        Quota: "",
        Capabilities: { EnabledTaskDrivers: [], DisabledTaskDrivers: [] },
        Meta: null,
        NodePoolConfiguration: null,
        CreateIndex: 0,
        ModifyIndex: 0,
      } as unknown as Extract<Command, { kind: "namespace.upsert" }>["namespaces"][number],
    ],
  };
}

async function run(replica: Replica, { callers, seconds }: Load): Promise<LoadAnswer> {
  const waits: number[] = [];
  const began = performance.now();
  const endMs = began + seconds * 1000;
  await Promise.all(Array.from({ length: callers }, async (_, caller) => {
    const own = command(caller);
    for (let at = began; at < endMs;) {
      await replica.propose(own);
      const now = performance.now();
      waits.push(now - at);
      at = now;
    }
  }));
  const took = (performance.now() - began) / 1000;
  return {
    perSecond: waits.length / took,
    p50Ms: percentile(waits, 50),
    p99Ms: percentile(waits, 99),
  };
}

const [id, path] = process.argv.slice(2) as [string, string];
let replica: Replica | null = null as Replica | null;
const listener = await listen({
  hostname: "127.0.0.1",
  port: 0,
  fetch: (request) => replica?.handle(request) ?? new Response("starting", { status: 503 }),
});
say({ port: listener.port });

async function start(members: RaftServer[]): Promise<void> {
  const { rpcAddress, httpAddress } = members.find((m) => m.id === id)!;
  replica = createReplica({
    id,
    rpcAddress,
    httpAddress,
    bootstrap: members,
    storage: libsqlStorage({ path }),
    transport: httpTransport({ id, rpcAddress, clock: systemClock }),
    clock: systemClock,
    random: systemRandom,
  });
  replica.onLeadership((leading) => leading && say({ leader: id }));
  await replica.start(new State());
}

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line) as { members: RaftServer[] } | Load;
  if ("members" in message) await start(message.members);
  else say(await run(replica!, message));
}
await replica?.stop();
process.exit();
