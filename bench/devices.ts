// Simulated devices: thousands of nodes in one process, each with its own connection speaking the real device protocol
// (core/protocol.ts) to the servers' rpc port. Simulated is only what runs on them: nothing.
//   deno run -A bench/devices.ts -servers 127.0.0.1:4647 -count 1000 [-timeline instant|nomad]
// Timelines of a new allocation: `instant` reports it running (and healthy, under a deployment) in the turn in which it
// arrives; `nomad` as the reference's simulated nodes do, running after 0.7 s and healthy after 1.0 s.
// Prints `ready N` when all are registered, then a line of counters as JSON for each line read on standard input.
import process from "node:process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { WebSocket } from "ws";
import {
  type AllocUpdate,
  DEVICE_PATH,
  type DeviceMessage,
  PROTOCOL_VERSION,
  type ServerMessage,
} from "../core/protocol.ts";
import type { Node, TaskState } from "../core/types.ts";
import { simulatedNode } from "./simulated_node.ts";
import { Ticks } from "./ticks.ts";

const { values: flags } = parseArgs({
  options: {
    servers: { type: "string", default: "127.0.0.1:4647" },
    count: { type: "string", default: "1000" },
    timeline: { type: "string", default: "instant" },
    cpu: { type: "string", default: "16000" },
    memory: { type: "string", default: "32768" },
    datacenter: { type: "string", default: "dc1" },
  },
});

/** Milliseconds from an allocation's arrival to what is reported of it. */
interface Timeline {
  runningMs: number;
  healthyMs: number;
}

const TIMELINES: Record<string, Timeline> = {
  instant: { runningMs: 0, healthyMs: 0 },
  nomad: { runningMs: 700, healthyMs: 1000 },
};

/** What an allocation's task is, as far as a report needs it. */
interface Assigned {
  id: string;
  tasks: readonly string[];
  deployed: boolean;
  startedAt: string;
}

const counters = { ready: 0, assigned: 0, running: 0, healthy: 0, stopped: 0, messages: 0, lost: 0 };
/** Timers of all devices together: one timer an allocation would cost more than the allocation. */
const ticks = new Ticks(20);

/** One device: a connection, what it was told to run, and reports on their way. */
class Device {
  #socket: WebSocket;
  #reports: AllocUpdate[] = [];
  #seq = 0;
  #planned = false;
  #assigned = new Map<string, Assigned>();

  constructor(private readonly node: Node, address: string, private readonly timeline: Timeline) {
    this.#socket = new WebSocket(`ws://${address}${DEVICE_PATH}`, { perMessageDeflate: false });
    this.#socket.on("open", () => this.#send({ t: "hello", version: PROTOCOL_VERSION, node, allocs: {} }));
    this.#socket.on("message", (data: Buffer) => this.#receive(JSON.parse(data.toString()) as ServerMessage));
    this.#socket.on("close", (code, reason) => {
      // One line tells why; a server that ends would make thousands.
      if (counters.lost++ === 0) {
        console.error(`device ${this.node.Name} lost its connection: ${code} ${reason}`);
      }
      process.exitCode = 1;
    });
    this.#socket.on("error", (error) => console.error(`device ${this.node.Name}: ${error.message}`));
  }

  close(): void {
    this.#socket.removeAllListeners("close");
    this.#socket.terminate();
  }

  #send(message: DeviceMessage): void {
    this.#socket.send(JSON.stringify(message));
  }

  #receive(message: ServerMessage): void {
    counters.messages++;
    switch (message.t) {
      case "welcome":
        counters.ready++;
        return this.#heartbeat(message.heartbeatTtlMs);
      case "heartbeatAck":
        return this.#heartbeat(message.heartbeatTtlMs);
      case "refused":
        throw new Error(`device ${this.node.Name} was refused: ${message.reason}`);
      case "allocs":
        for (const alloc of message.upserts) {
          if (alloc.DesiredStatus !== "run") this.#stop(alloc.ID);
          else if (!this.#assigned.has(alloc.ID)) {
            const group = message.jobs[alloc.job]!.TaskGroups.find(({ Name }) => Name === alloc.TaskGroup)!;
            this.#start({
              id: alloc.ID,
              tasks: group.Tasks.map(({ Name }) => Name),
              deployed: alloc.DeploymentID !== "",
              startedAt: "",
            });
          }
        }
    }
  }

  #heartbeat(ttlMs: number): void {
    setTimeout(() => this.#send({ t: "heartbeat" }), ttlMs / 2).unref();
  }

  #start(assigned: Assigned): void {
    this.#assigned.set(assigned.id, assigned);
    counters.assigned++;
    const { runningMs, healthyMs } = this.timeline;
    if (runningMs === 0) return this.#onRunning(assigned, true);
    ticks.after(runningMs, () => this.#onRunning(assigned, false));
    if (assigned.deployed) ticks.after(healthyMs, () => this.#onHealthy(assigned));
  }

  #onRunning(assigned: Assigned, healthy: boolean): void {
    if (!this.#assigned.has(assigned.id)) return;
    assigned.startedAt = new Date().toISOString();
    counters.running++;
    if (healthy && assigned.deployed) counters.healthy++;
    this.#report(assigned, "running", healthy && assigned.deployed);
  }

  #onHealthy(assigned: Assigned): void {
    if (!this.#assigned.has(assigned.id)) return;
    counters.healthy++;
    this.#report(assigned, "running", true);
  }

  #stop(id: string): void {
    const assigned = this.#assigned.get(id);
    if (!assigned) return;
    this.#assigned.delete(id);
    counters.stopped++;
    this.#report(assigned, "complete", false);
  }

  #report(assigned: Assigned, status: "running" | "complete", healthy: boolean): void {
    const states: Record<string, TaskState> = {};
    for (const task of assigned.tasks) states[task] = stateOf(assigned, status === "running");
    this.#reports.push({
      ID: assigned.id,
      ClientStatus: status,
      ClientDescription: status === "running" ? "Tasks are running" : "All tasks have completed",
      TaskStates: states,
      DeploymentStatus: healthy ? { Healthy: true, Timestamp: new Date().toISOString() } : null,
      NetworkStatus: null,
    });
    if (this.#planned) return;
    this.#planned = true;
    setImmediate(() => {
      this.#planned = false;
      this.#send({ t: "updates", seq: ++this.#seq, updates: this.#reports.splice(0) });
    });
  }
}

function stateOf({ startedAt }: Assigned, runs: boolean): TaskState {
  return {
    State: runs ? "running" : "dead",
    Failed: false,
    Restarts: 0,
    LastRestart: null,
    StartedAt: startedAt === "" ? null : startedAt,
    FinishedAt: runs ? null : new Date().toISOString(),
    Paused: "",
    Events: [],
  };
}

const timeline = TIMELINES[flags.timeline];
if (!timeline) {
  console.error(`Unknown timeline ${flags.timeline}: choose from ${Object.keys(TIMELINES).join(", ")}`);
  process.exit(1);
}
const count = Number(flags.count);
const size = { cpuMhz: Number(flags.cpu), memoryMb: Number(flags.memory), datacenter: flags.datacenter };
const devices: Device[] = [];
for (let number = 0; number < count; number++) {
  devices.push(new Device(simulatedNode(number, size), flags.servers, timeline));
  // A hundred handshakes at a time, so that listen queues do not overflow.
  if (number % 100 === 99) {
    while (counters.ready < number - 400) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
while (counters.ready < count) await new Promise((resolve) => setTimeout(resolve, 5));
console.log(`ready ${count}`);

const lines = createInterface({ input: process.stdin });
lines.on("line", () => console.log(JSON.stringify(counters)));
lines.on("close", () => {
  for (const device of devices) device.close();
  process.exit();
});
