// A server that stands still (stopped, swapped out, busy beyond measure) must not take its own silence for that of its
// devices: a real server process is paused for longer than any device may be silent, again and again.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { WebSocket } from "ws";
import {
  DEVICE_PATH,
  type DeviceMessage,
  PROTOCOL_VERSION,
  type ServerMessage,
} from "../../core/protocol.ts";
import type { Node } from "../../core/types.ts";
import { simulatedNode } from "../../bench/simulated_node.ts";
import { ClusterServer } from "./test_cluster.ts";

const DEVICES = 40;
const BEAT_MS = 200;

const server = new ClusterServer({
  name: "lag",
  host: "127.77.9.1",
  expect: 1,
  join: [],
  server: `min_heartbeat_ttl = "1s"\n  heartbeat_grace = "3s"\n  max_heartbeats_per_second = 1000`,
});

/** A device that does nothing but live. */
class Beating {
  readonly node: Node;
  acks = 0;
  closed = false;
  #socket: WebSocket;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(address: string, number: number) {
    this.node = simulatedNode(number, { cpuMhz: 1000, memoryMb: 1000, datacenter: "dc1" });
    this.#socket = new WebSocket(`ws://${address}${DEVICE_PATH}`);
    this.#socket.on("open", () => {
      this.#send({ t: "hello", version: PROTOCOL_VERSION, node: this.node, allocs: {} });
      this.#timer = setInterval(() => this.#send({ t: "heartbeat" }), BEAT_MS);
    });
    this.#socket.on("message", (data: Uint8Array) => {
      const message = JSON.parse(String(data)) as ServerMessage;
      if (message.t === "heartbeatAck" || message.t === "welcome") this.acks++;
    });
    this.#socket.on("close", () => this.closed = true);
    this.#socket.on("error", () => this.closed = true);
  }

  #send(message: DeviceMessage): void {
    this.#socket.send(JSON.stringify(message));
  }

  /** Goes silent; its connection stays. */
  silence(): void {
    clearInterval(this.#timer);
  }

  end(): void {
    this.silence();
    this.#socket.terminate();
  }
}

const devices: Beating[] = [];
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

after(async () => {
  for (const device of devices) device.end();
  await server.destroy();
});

test("a server never declares a node dead because of its own lag, and still notices one that is silent", async () => {
  await server.start();
  await until(async () => (await server.get("/v1/status/leader")) !== "", "a leader");
  for (let i = 0; i < DEVICES; i++) devices.push(new Beating(server.rpcAddress, i));
  await until(() => Promise.resolve(devices.every(({ acks }) => acks > 0)), "all devices to be welcome");
  // Devices may be silent for 4 to 5 seconds (ttl 1 to 2, 3 of grace): one pause beyond that, then shorter ones in a row.
  for (const [pauseMs, pauses] of [[6500, 1], [1500, 4]] as const) {
    for (let i = 0; i < pauses; i++) {
      server.pause();
      await sleep(pauseMs);
      server.resume();
      await sleep(50);
    }
    const before = devices.map(({ acks }) => acks);
    await until(
      () => Promise.resolve(devices.every(({ acks }, i) => acks > before[i]! + 2)),
      "news of all devices",
    );
  }
  // The silent one is missed: the check above could have failed.
  const silent = devices[0]!;
  silent.silence();
  await until(async () => (await statusOf(silent.node.ID)) === "down", "the silent device to be missed");
  for (const { node, closed } of devices.slice(1)) {
    assert.equal(closed, false, `${node.Name} lost its connection`);
    const { Status, Events } = await server.get<Node>(`/v1/node/${node.ID}`);
    assert.equal(Status, "ready");
    assert.deepEqual(Events.filter(({ Message }) => Message.includes("missed")), [], node.Name);
  }
});

/** Asks again until it holds; the test runner's own limit ends what never does. */
async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    if (tries > 600) throw new Error(`waited a minute for ${what}`);
    await sleep(100);
  }
}

async function statusOf(id: string): Promise<string> {
  return (await server.get<{ Status: string }>(`/v1/node/${id}`)).Status;
}
