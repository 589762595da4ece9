// Simulated devices: thousands of nodes in one process, each with its own connection speaking the real device
// protocol (core/protocol.ts) to the servers' rpc port. They report every allocation running at once (or after
// `-delay` ms), and stopped ones complete. Simulated is only what runs on them: nothing.
//   deno run -A bench/devices.ts -servers 127.0.0.1:4647 -count 1000
// Prints `ready N` when all are registered, then a line of counters as JSON for each line read on standard input.
import process from "node:process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { WebSocket } from "ws";
import { NOMAD_VERSION } from "../core/version.ts";
import { systemRandom } from "../core/env.ts";
import {
  type AllocUpdate,
  DEVICE_PATH,
  type DeviceMessage,
  PROTOCOL_VERSION,
  type ServerMessage,
} from "../core/protocol.ts";
import type { Node, TaskState } from "../core/types.ts";

const { values: flags } = parseArgs({
  options: {
    servers: { type: "string", default: "127.0.0.1:4647" },
    count: { type: "string", default: "1000" },
    delay: { type: "string", default: "0" },
    cpu: { type: "string", default: "16000" },
    memory: { type: "string", default: "32768" },
    datacenter: { type: "string", default: "dc1" },
  },
});

const counters = { ready: 0, assigned: 0, running: 0, stopped: 0, messages: 0 };

/** One device: a connection, what it was told to run, and reports on their way. */
class Device {
  #socket: WebSocket;
  #reports: AllocUpdate[] = [];
  #seq = 0;
  #planned = false;
  #running = new Set<string>();

  constructor(private readonly node: Node, address: string, private readonly delayMs: number) {
    this.#socket = new WebSocket(`ws://${address}${DEVICE_PATH}`);
    this.#socket.on("open", () => this.#send({ t: "hello", version: PROTOCOL_VERSION, node, allocs: {} }));
    this.#socket.on("message", (data: Buffer) => this.#receive(JSON.parse(data.toString()) as ServerMessage));
    this.#socket.on("close", (code, reason) => {
      console.error(`device ${this.node.Name} lost its connection: ${code} ${reason}`);
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
          this.#onAlloc(alloc.ID, alloc.DesiredStatus, message.jobs[alloc.job]!, alloc.TaskGroup);
        }
    }
  }

  #heartbeat(ttlMs: number): void {
    setTimeout(() => this.#send({ t: "heartbeat" }), ttlMs / 2).unref();
  }

  #onAlloc(
    id: string,
    desired: string,
    job: { TaskGroups: { Name: string; Tasks: { Name: string }[] }[] },
    group: string,
  ): void {
    const tasks = job.TaskGroups.find((each) => each.Name === group)!.Tasks;
    if (desired !== "run") {
      if (!this.#running.delete(id)) return;
      counters.stopped++;
      return this.#report(id, "complete", tasks, "dead");
    }
    if (this.#running.has(id)) return;
    this.#running.add(id);
    counters.assigned++;
    const run = () => {
      counters.running++;
      this.#report(id, "running", tasks, "running");
    };
    if (this.delayMs > 0) setTimeout(run, this.delayMs);
    else run();
  }

  #report(
    id: string,
    status: AllocUpdate["ClientStatus"],
    tasks: { Name: string }[],
    state: TaskState["State"],
  ): void {
    const now = new Date().toISOString();
    const states: Record<string, TaskState> = {};
    for (const task of tasks) {
      states[task.Name] = {
        State: state,
        Failed: false,
        Restarts: 0,
        LastRestart: null,
        StartedAt: now,
        FinishedAt: state === "dead" ? now : null,
        Paused: "",
        Events: [],
      };
    }
    this.#reports.push({
      ID: id,
      ClientStatus: status,
      ClientDescription: status === "running" ? "Tasks are running" : "All tasks have completed",
      TaskStates: states,
      DeploymentStatus: status === "running" ? { Healthy: true, Timestamp: now } : null,
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

function simulatedNode(number: number): Node {
  const cpu = Number(flags.cpu);
  const memory = Number(flags.memory);
  return {
    ID: systemRandom.uuid(),
    SecretID: systemRandom.uuid(),
    Name: `sim-${number}`,
    Datacenter: flags.datacenter,
    NodeClass: "",
    NodePool: "default",
    ComputedClass: "",
    HTTPAddr: "127.0.0.1:0",
    TLSEnabled: false,
    Attributes: {
      "cpu.arch": "amd64",
      "kernel.name": "linux",
      "driver.raw_exec": "1",
      "driver.mock_driver": "1",
      "nomad.version": NOMAD_VERSION,
      "os.name": "debian",
    },
    Meta: { rack: `r${number % 50}` },
    Links: {},
    NodeResources: {
      Cpu: { CpuShares: cpu, TotalCpuCores: 8, ReservableCpuCores: [] },
      Memory: { MemoryMB: memory },
      Disk: { DiskMB: 500_000 },
      Networks: [{ Mode: "host", Device: "eth0", CIDR: "127.0.0.1/32", IP: "127.0.0.1", MBits: 1000 }],
      NodeNetworks: [],
      Devices: null,
      MinDynamicPort: 20000,
      MaxDynamicPort: 32000,
      Processors: { Topology: null },
    },
    ReservedResources: {
      Cpu: { CpuShares: 0, ReservedCpuCores: null },
      Memory: { MemoryMB: 0 },
      Disk: { DiskMB: 0 },
      Networks: { ReservedHostPorts: "" },
    },
    Drivers: Object.fromEntries(["raw_exec", "mock_driver"].map((name) => [name, {
      Attributes: {},
      Detected: true,
      Healthy: true,
      HealthDescription: "Healthy",
      UpdateTime: new Date(0).toISOString(),
    }])),
    HostVolumes: {},
    HostNetworks: null,
    CSIControllerPlugins: {},
    CSINodePlugins: {},
    CgroupParent: "",
    NodeMaxAllocs: 0,
    GCVolumesOnNodeGC: false,
    Status: "initializing",
    StatusDescription: "",
    StatusUpdatedAt: 0,
    SchedulingEligibility: "eligible",
    Drain: false,
    DrainStrategy: null,
    LastDrain: null,
    Events: [],
    IdentitySigningKeyID: "",
    LastMissedHeartbeatIndex: 0,
    LastAllocUpdateIndex: 0,
    CreateIndex: 0,
    ModifyIndex: 0,
  };
}

const count = Number(flags.count);
const devices: Device[] = [];
for (let number = 0; number < count; number++) {
  devices.push(new Device(simulatedNode(number), flags.servers, Number(flags.delay)));
  // A hundred handshakes at a time, so that listen queues do not overflow.
  if (number % 100 === 99) {
    while (counters.ready < number - 400) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
while (counters.ready < count) await new Promise((resolve) => setTimeout(resolve, 5));
console.log(`ready ${count}`);

const lines = createInterface({ input: process.stdin });
lines.on("line", () => {
  const { user, system } = process.cpuUsage();
  console.log(
    JSON.stringify({
      ...counters,
      cpuSeconds: (user + system) / 1e6,
      rssMb: process.memoryUsage().rss / 1e6,
    }),
  );
});
lines.on("close", () => {
  for (const device of devices) device.close();
  process.exit();
});
