// A machine that can reach the servers' port for devices and wishes them ill: what it says is refused with the place,
// nothing of it reaches the log, and other devices' allocations and services stay theirs.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { shellJob, TestAgent } from "./harness.ts";

type Fields = Record<string, unknown>;

/** One connection; resolves with what came until it closed, or until `message` was seen. */
class Hostile {
  readonly heard: Fields[] = [];
  readonly closed: Promise<void>;

  private constructor(readonly socket: WebSocket) {
    socket.onmessage = (event) => {
      if (typeof event.data === "string") this.heard.push(JSON.parse(event.data));
    };
    this.closed = new Promise((done) => socket.onclose = () => done());
  }

  static open(port: number): Promise<Hostile> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/device`);
    const hostile = new Hostile(socket);
    return new Promise((done, fail) => {
      socket.onopen = () => done(hostile);
      socket.onerror = () => fail(new Error("no connection"));
    });
  }

  say(message: unknown): this {
    this.socket.send(
      typeof message === "string" || message instanceof Uint8Array
        ? message as string
        : JSON.stringify(message),
    );
    return this;
  }

  /** Waits until the connection was refused; returns the reason. */
  async refusal(): Promise<string> {
    await this.closed;
    return String(this.heard.find((message) => message["t"] === "refused")?.["reason"]);
  }

  async until(kind: string): Promise<void> {
    while (!this.heard.some((message) => message["t"] === kind)) {
      await new Promise((wake) => setTimeout(wake, 10));
    }
  }
}

/** What an engine says of its own mistakes, which no caller is to read. */
const ENGINE = /TypeError|undefined|is not a function|evaluating|Cannot read|Unexpected|\bat /;

const GARBAGE: unknown[] = [
  "no json",
  "null",
  "[]",
  '{"t":5}',
  "[".repeat(100_000),
  { t: "hello" },
  { t: "hello", version: 1, node: null, allocs: {} },
  { t: "hello", version: 1, node: {}, allocs: {} },
  { t: "hello", version: 1, node: {}, allocs: 5 },
  { t: "heartbeat" },
  new Uint8Array([1]),
  new Uint8Array([1, 0, 0, 0, 1, 123]),
  new Uint8Array([1, 0, 0, 0, 2, 123, 125]),
];

/** Fields of a node that no server can use. */
const BAD_NODES: Fields[] = [
  { ID: "../x" },
  { HTTPAddr: 7 },
  { Name: "a\u001b[2Jb" },
  { Name: "x".repeat(10_000) },
  { NodePool: "../x" },
  { Links: 5 },
  { HostVolumes: null },
  { HostVolumes: { a: null } },
  { CSINodePlugins: "x" },
  { ReservedResources: { Cpu: { CpuShares: 0 }, Memory: { MemoryMB: 0 }, Disk: { DiskMB: 0 } } },
];

const UPDATE = {
  ClientStatus: "running",
  ClientDescription: "",
  TaskStates: {},
  DeploymentStatus: null,
  NetworkStatus: null,
};
const BAD_UPDATES: Fields[] = [
  { ClientStatus: "wizard" },
  { ClientDescription: {} },
  { TaskStates: "x" },
  { TaskStates: { t: null } },
  { TaskStates: { t: { State: "dead", Failed: true, Restarts: 0, FinishedAt: "yesterday" } } },
  { TaskStates: { t: { State: "dead", Failed: true, Restarts: 0, Events: [null] } } },
  { DeploymentStatus: { Healthy: "no", Timestamp: 7 } },
  { NetworkStatus: 7 },
];

test("what a hostile device says is refused and changes nothing", async () => {
  const agent = new TestAgent();
  try {
    await agent.start();
    const hostile = () => Hostile.open(agent.rpcPort);
    const [stub] = await agent.get<{ ID: string }[]>("/v1/nodes");
    const real = await agent.get<Fields>(`/v1/node/${stub!.ID}`);
    const evil: Fields = { ...real, ID: randomUUID(), SecretID: randomUUID(), Name: "evil" };
    const hello = (node: Fields) => ({ t: "hello", version: 1, node, allocs: {} });

    for (const garbage of GARBAGE) {
      assert.doesNotMatch(await (await hostile()).say(garbage).refusal(), ENGINE);
    }
    for (const wrong of BAD_NODES) {
      const reason = await (await hostile()).say(hello({ ...evil, ...wrong })).refusal();
      assert.match(reason, new RegExp(`^Node registration refused: ${Object.keys(wrong)[0]}`));
    }
    const stolen = (await hostile()).say(hello({ ...evil, ID: real["ID"] }));
    assert.match(await stolen.refusal(), /another secret/);

    // A victim: a task with a service on the real device.
    await agent.put("/v1/jobs", victim());
    const service = await agent.until(async () => {
      const found = await agent.get<Fields[]>("/v1/service/victim");
      return found[0];
    }, "the victim's service");
    const known = (await hostile()).say(hello(evil));
    await known.until("welcome");
    known.say({
      t: "updates",
      seq: 1,
      updates: [{ ...UPDATE, ID: service["AllocID"], ClientStatus: "failed" }],
    });
    known.say({ t: "services", seq: 2, upsert: [], remove: [service["ID"]] });
    const taken = { ...service, NodeID: evil["ID"], Address: "192.0.2.1" };
    known.say({ t: "services", seq: 3, upsert: [taken], remove: [] });
    await agent.until(
      () => Promise.resolve(known.heard.some((message) => message["seq"] === 3)),
      "the last answer",
    );
    assert.deepEqual(await agent.get("/v1/service/victim"), [service]);
    const alloc = await agent.get<{ ClientStatus: string }>(`/v1/allocation/${service["AllocID"]}`);
    assert.equal(alloc.ClientStatus, "running");
    known.socket.close();

    for (const wrong of BAD_UPDATES) {
      const bad = (await hostile()).say(hello(evil));
      await bad.until("welcome");
      bad.say({ t: "updates", seq: 1, updates: [{ ...UPDATE, ID: randomUUID(), ...wrong }] });
      assert.doesNotMatch(await bad.refusal(), ENGINE);
    }
    for (const path of ["/v1/nodes", "/v1/allocations", "/v1/jobs", "/v1/services"]) await agent.get(path);
  } finally {
    await agent.destroy();
  }
});

function victim(): { Job: Fields } {
  const job = shellJob("victim", "exec sleep 1000", {
    group: {
      Networks: [{ DynamicPorts: [{ Label: "p" }] }],
      Services: [{ Name: "victim", PortLabel: "p", Provider: "nomad" }],
    },
  });
  job.Job["Constraints"] = [{ LTarget: "${node.unique.name}", RTarget: "evil", Operand: "!=" }];
  return job;
}
