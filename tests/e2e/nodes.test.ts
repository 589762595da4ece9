// A server and its devices as processes of their own: a device that dies is down after its heartbeat's time, its
// allocations are lost and run elsewhere; a device whose server goes away keeps its tasks and comes back to it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { allocWith, pidFrom, processState, shellJob, TestAgent } from "./harness.ts";

interface Alloc {
  ID: string;
  NodeName: string;
  ClientStatus: string;
  DesiredStatus: string;
}

const QUICK = `server {
  min_heartbeat_ttl = "1s"
  heartbeat_grace   = "1s"
}`;

test("a device that dies: node down, allocations lost and placed on the other device; it comes back ready", async () => {
  const server = new TestAgent({ durable: true, client: false, config: QUICK });
  const devices: TestAgent[] = [];
  try {
    await server.start();
    for (const name of ["left", "right"]) {
      const device = new TestAgent({ durable: true, deviceOf: server.rpcAddress, name });
      devices.push(device);
      await device.start();
    }
    await server.put("/v1/jobs", shellJob("web", "exec sleep 1000", { group: { Count: 2 } }));
    // A node is down before the scheduler has answered it: who waits for two elsewhere has to say so.
    const running = (exceptOn = "") =>
      server.until(async () => {
        const allocs = await server.get<Alloc[]>("/v1/job/web/allocations");
        const live = allocs.filter((alloc) =>
          alloc.ClientStatus === "running" && alloc.DesiredStatus === "run" && alloc.NodeName !== exceptOn
        );
        return live.length === 2 ? live : undefined;
      }, "two running allocations");
    const first = await running();
    const victim = devices.find((device) => device.options.name === first[0]!.NodeName)!;

    await victim.end("SIGKILL");
    await server.until(async () => {
      const nodes = await server.get<{ Name: string; Status: string }[]>("/v1/nodes");
      return nodes.some((node) => node.Name === victim.options.name && node.Status === "down");
    }, "the node to be down");
    await running(victim.options.name);
    const all = await server.get<Alloc[]>("/v1/job/web/allocations");
    assert.ok(all.some((alloc) => alloc.ClientStatus === "lost"));

    await victim.start();
    await server.until(async () => {
      const nodes = await server.get<{ Name: string; Status: string }[]>("/v1/nodes");
      return nodes.every((node) => node.Status === "ready");
    }, "the node to be ready again");
    // What was lost meanwhile is stopped on the device that kept it running.
    assert.equal((await running()).length, 2);
  } finally {
    await server.destroy();
    for (const device of devices) await device.destroy();
  }
});

test("a server that is killed: the device keeps its tasks, comes back by itself, and its API forwards again", async () => {
  const server = new TestAgent({ durable: true, client: false });
  let device: TestAgent | undefined;
  try {
    await server.start();
    device = new TestAgent({ durable: true, deviceOf: server.rpcAddress, name: "edge" });
    await device.start();
    const pidFile = `${device.folder}/pid`;
    await device.put("/v1/jobs", shellJob("keeper", `echo $$ > ${pidFile}; exec sleep 1000`));
    const alloc = await allocWith(device, "keeper", "running");
    const pid = await pidFrom(pidFile);

    await server.end("SIGKILL");
    const response = await fetch(`${device.address}/v1/jobs`);
    assert.equal(response.status, 500);
    assert.match(await response.text(), /server/i);
    assert.match(processState(pid) ?? "gone", /[SRD]/);

    await server.start();
    const after = await device.until(async () => {
      const allocs = await device!.get<Alloc[]>("/v1/job/keeper/allocations");
      return allocs.find((each) => each.ClientStatus === "running");
    }, "the device to be back");
    assert.equal(after.ID, alloc.ID);
    assert.match(processState(pid) ?? "gone", /[SRD]/);
    // Through the server and down the device's own connection.
    const files = await server.get<{ Name: string }[]>(`/v1/client/fs/ls/${alloc.ID}?path=/`);
    assert.ok(files.some((file) => file.Name === "alloc"));
  } finally {
    await server.destroy();
    await device?.destroy();
  }
});
