import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { FakeDriver, FakeWorld } from "./fake_driver.ts";
import { FakeServer } from "./fake_server.ts";
import { makeDevice, makeGroup, makeJob, makeTask, place, type TestDevice } from "./fixtures.ts";

interface Bench {
  server: FakeServer;
  world: FakeWorld;
  driver: FakeDriver;
  device: TestDevice;
}

async function withDevice(run: (bench: Bench) => Promise<void>): Promise<void> {
  const server = new FakeServer();
  await server.start();
  const world = new FakeWorld();
  const driver = new FakeDriver(world);
  const device = await makeDevice({ servers: [server.address], drivers: [driver] });
  try {
    await device.client.start();
    await server.until(() => device.client.session.connected, "device connects");
    await run({ server, world, driver, device });
  } finally {
    await device.end();
    await server.stop();
  }
}

const types = (events: { Type: string }[]) => events.map((event) => event.Type);

test("Client registers its node with fingerprints and drivers", () =>
  withDevice(async ({ server }) => {
    const node = server.node!;
    assert.equal(node.Name, "test-device");
    assert.match(node.ID, /^[0-9a-f-]{36}$/);
    assert.notEqual(node.SecretID, "");
    assert.equal(node.Attributes["driver.fake"], "1");
    assert.equal(node.Attributes["nomad.service_discovery"], "true");
    assert.equal(node.Drivers.fake!.Healthy, true);
    assert.ok(node.NodeResources.Cpu.CpuShares > 100);
    assert.ok(node.NodeResources.Memory.MemoryMB > 100);
    await Promise.resolve();
  }));

test("Client runs a task to its end and reports every status", () =>
  withDevice(async ({ server, world, device }) => {
    const job = makeJob(makeGroup([makeTask()]), { Type: "batch" });
    const { id, ...delta } = place(job);
    server.send({ t: "allocs", ...delta });
    const running = await server.status(id, "running");
    assert.deepEqual(types(running.TaskStates!.web!.Events), ["Received", "Task Setup", "Started"]);
    assert.equal(running.ClientDescription, "Tasks are running");
    const root = join(device.config.allocDir, id);
    for (const dir of ["alloc/data", "alloc/logs", "alloc/tmp", "web/local", "web/secrets", "web/tmp"]) {
      assert.ok((await stat(join(root, dir))).isDirectory(), dir);
    }
    assert.equal((await stat(join(root, "web/secrets"))).mode & 0o777, 0o700);
    assert.equal(world.latest("web").spec.env.NOMAD_ALLOC_ID, id);
    world.end(world.latest("web"));
    const complete = await server.status(id, "complete");
    const state = complete.TaskStates!.web!;
    assert.equal(state.State, "dead");
    assert.equal(state.Failed, false);
    assert.equal(state.Events.at(-1)!.DisplayMessage, "Exit Code: 0");
    await server.until(() => world.latest("web").destroyed, "driver cleans up");
  }));

test("Client stops a task when the servers want it", () =>
  withDevice(async ({ server, world }) => {
    const job = makeJob(makeGroup([makeTask({ KillTimeout: 2e9 })]));
    const { id, ...delta } = place(job);
    server.send({ t: "allocs", ...delta });
    await server.status(id, "running");
    const { id: _same, ...stop } = place(job, { id, DesiredStatus: "stop" });
    server.send({ t: "allocs", ...stop });
    const complete = await server.status(id, "complete");
    const events = complete.TaskStates!.web!.Events;
    assert.deepEqual(types(events).slice(3), ["Killing", "Terminated", "Killed"]);
    assert.equal(events[3]!.DisplayMessage, "Sent interrupt. Waiting 2s before force killing");
    assert.deepEqual(world.latest("web").stops, [{ killSignal: "SIGINT", timeoutMs: 2000 }]);
  }));

test("Client restarts a failing task under its policy, then reports it failed", () =>
  withDevice(async ({ server, world }) => {
    const job = makeJob(
      makeGroup([makeTask()], {
        RestartPolicy: { Attempts: 1, Interval: 600e9, Delay: 10e6, Mode: "fail", RenderTemplates: false },
      }),
    );
    const { id, ...delta } = place(job);
    server.send({ t: "allocs", ...delta });
    await server.status(id, "running");
    world.end(world.latest("web"), { exitCode: 3 });
    await server.until(() => world.starts("web") === 2, "second start");
    await server.status(id, "running");
    world.end(world.latest("web"), { exitCode: 3 });
    const failed = await server.status(id, "failed");
    const state = failed.TaskStates!.web!;
    assert.equal(state.Restarts, 1);
    assert.equal(state.Failed, true);
    assert.equal(
      state.Events.at(-1)!.DisplayMessage,
      'Exceeded allowed attempts 1 in interval 10m0s and mode is "fail"',
    );
  }));

test("Client removes an allocation that the servers forgot", () =>
  withDevice(async ({ server, world, device }) => {
    const { id, ...delta } = place(makeJob(makeGroup([makeTask()])));
    server.send({ t: "allocs", ...delta });
    await server.status(id, "running");
    server.send({ t: "allocs", index: 99, jobs: {}, resources: [], upserts: [], removed: [id] });
    await server.until(() => !device.client.allocations.has(id), "allocation is gone");
    assert.ok(world.latest("web").exit);
    let exists = true;
    for (let i = 0; exists && i < 50; i++) {
      exists = await stat(join(device.config.allocDir, id)).then(() => true, () => false);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(exists, false);
  }));

test("Client tells servers that gave an allocation up that it lives", () =>
  withDevice(async ({ server }) => {
    const job = makeJob(makeGroup([makeTask()]));
    const { id, ...delta } = place(job);
    server.send({ t: "allocs", ...delta });
    await server.status(id, "running");
    const told = server.batches.length;
    const { id: _same, ...unknown } = place(job, { id, ClientStatus: "unknown" });
    server.send({ t: "allocs", ...unknown });
    await server.until(() => server.batches.length > told, "another report");
    assert.equal(server.batches.at(-1)!.updates[0]!.ClientStatus, "running");
  }));
