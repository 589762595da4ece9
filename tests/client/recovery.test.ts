// Tasks survive the device: real processes of raw_exec, a client that goes away and another that comes.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createDrivers } from "../../drivers/registry.ts";
import { FakeDriver, FakeWorld } from "./fake_driver.ts";
import { FakeServer } from "./fake_server.ts";
import { makeDevice, makeGroup, makeJob, makeTask, place, type TestDevice } from "./fixtures.ts";

const makeDrivers = () => [...createDrivers({}, { rawExecEnabled: true }).values()];

async function withWorld(run: (server: FakeServer, dir: string) => Promise<void>): Promise<void> {
  const server = new FakeServer();
  await server.start();
  const dir = await mkdtemp(join(tmpdir(), "recovery-"));
  try {
    await run(server, dir);
  } finally {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

const device = (server: FakeServer, dir: string) =>
  makeDevice({
    servers: [server.address],
    drivers: makeDrivers(),
    dir,
    config: { stateDir: join(dir, "client") },
  });

const shell = (script: string) =>
  makeTask({ Driver: "raw_exec", Config: { command: "/bin/sh", args: ["-c", script] }, KillTimeout: 1e9 });

test("a running task goes on under the next client, with the same process and node", () =>
  withWorld(async (server, dir) => {
    const first = await device(server, dir);
    await first.client.start();
    await server.until(() => first.client.session.connected, "connect");
    const { id, ...delta } = place(makeJob(makeGroup([shell('echo "pid $$"; exec sleep 300')])));
    server.send({ t: "allocs", ...delta });
    await server.status(id, "running");
    const log = join(dir, "alloc", id, "alloc/logs/web.stdout.0");
    let pid = "";
    for (let i = 0; pid === "" && i < 100; i++) {
      pid = /pid (\d+)/.exec(await readFile(log, "utf8").catch(() => ""))?.[1] ?? "";
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.notEqual(pid, "");
    const nodeId = first.client.node.ID;
    await first.client.stop();

    const second = await device(server, dir);
    await second.client.start();
    await server.until(() => server.hellos.length === 2, "second hello");
    assert.equal(server.hellos[1]!.node.ID, nodeId);
    assert.equal(server.hellos[1]!.node.SecretID, server.hellos[0]!.node.SecretID);
    assert.equal(server.hellos[1]!.allocs[id], delta.upserts[0]!.AllocModifyIndex);
    const update = await server.status(id, "running");
    assert.deepEqual(update.TaskStates!.web!.Events.map((e) => e.Type), [
      "Received",
      "Task Setup",
      "Started",
    ]);
    assert.match(await readFile(`/proc/${pid}/stat`, "utf8"), /sleep/);
    const { id: _same, ...stop } = place(makeJob(makeGroup([shell("")])), { id, DesiredStatus: "stop" });
    server.send({ t: "allocs", ...stop });
    await server.status(id, "complete");
    await assert.rejects(readFile(`/proc/${pid}/stat`, "utf8"));
    await second.client.stop();
  }));

test("the exit code of a task that ended while there was no client is known", () =>
  withWorld(async (server, dir) => {
    const first = await device(server, dir);
    await first.client.start();
    await server.until(() => first.client.session.connected, "connect");
    const flag = join(dir, "go");
    const job = makeJob(
      makeGroup([shell(`while [ ! -e ${flag} ]; do sleep 0.05; done; exit 7`)], {
        RestartPolicy: { Attempts: 0, Interval: 1e9, Delay: 1e9, Mode: "fail", RenderTemplates: false },
      }),
      { Type: "batch" },
    );
    const { id, ...delta } = place(job);
    server.send({ t: "allocs", ...delta });
    await server.status(id, "running");
    await first.client.stop();
    const { writeFile } = await import("node:fs/promises");
    await writeFile(flag, "");
    await new Promise((resolve) => setTimeout(resolve, 400));

    const second = await device(server, dir);
    await second.client.start();
    const failed = await server.status(id, "failed");
    const events = failed.TaskStates!.web!.Events;
    assert.equal(events.find((e) => e.Type === "Terminated")?.DisplayMessage, "Exit Code: 7");
    assert.equal(events.at(-1)!.DisplayMessage, "Policy allows no restarts");
    await second.client.stop();
  }));

/** Two devices after each other on one state directory, with the tasks of one world. */
async function withFakes(
  run: (
    context: { server: FakeServer; world: FakeWorld; next(driver?: FakeDriver): Promise<TestDevice> },
  ) => Promise<void>,
): Promise<void> {
  await withWorld(async (server, dir) => {
    const world = new FakeWorld();
    const devices: TestDevice[] = [];
    const next = async (driver = new FakeDriver(world)) => {
      await devices.at(-1)?.client.stop();
      const config = { stateDir: join(dir, "client") };
      const made = await makeDevice({ servers: [server.address], drivers: [driver], dir, config });
      devices.push(made);
      const hellos = server.hellos.length;
      await made.client.start();
      await server.until(() => server.hellos.length > hellos, "hello");
      return made;
    };
    try {
      await run({ server, world, next });
    } finally {
      await devices.at(-1)?.client.stop();
    }
  });
}

test("a task whose start the agent did not live to see is found, not started twice", () =>
  withFakes(async ({ server, world, next }) => {
    const driver = new FakeDriver(world);
    driver.hangs = true;
    await next(driver);
    const { id, ...delta } = place(makeJob(makeGroup([makeTask()])));
    server.send({ t: "allocs", ...delta });
    await server.until(() => world.starts("web") === 1, "start");
    // The first client's start never returns, as if it had been killed there.
    const second = await next();
    const update = await server.status(id, "running");
    assert.deepEqual(update.TaskStates!.web!.Events.map((e) => e.Type), [
      "Received",
      "Task Setup",
      "Started",
    ]);
    const [runner] = second.client.allocations.values();
    assert.deepEqual(runner!.tasks.get("web")!.handle!.state, { known: true });
    await next();
    assert.equal(world.starts("web"), 1);
  }));

test("a task that is gone after a restart of the device is prepared and started again, without a penalty", () =>
  withFakes(async ({ server, world, next }) => {
    await next();
    const group = makeGroup([makeTask()], {
      RestartPolicy: { Attempts: 0, Interval: 1e9, Delay: 1e9, Mode: "fail", RenderTemplates: false },
    });
    const { id, ...delta } = place(makeJob(group));
    server.send({ t: "allocs", ...delta });
    await server.status(id, "running");
    await server.until(() => world.starts("web") === 1, "start");
    world.tasks.clear();
    await next();
    await server.until(() => world.starts("web") === 1, "second start");
    await server.until(() => server.updates.get(id)!.TaskStates!.web!.Restarts === 1, "reported");
    const update = await server.status(id, "running");
    assert.equal(update.TaskStates!.web!.Failed, false);
  }));

test("metadata set at run time and the node's identity outlive the agent", () =>
  withFakes(async ({ server, next }) => {
    const first = await next();
    first.client.applyMetadata({ dyn: "1" });
    await server.until(() => server.node?.Meta.dyn === "1", "metadata");
    const { ID, SecretID } = server.node!;
    await next();
    assert.deepEqual([server.node!.ID, server.node!.SecretID, server.node!.Meta.dyn], [ID, SecretID, "1"]);
  }));
