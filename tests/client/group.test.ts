// Groups of tasks in a running device: order of the lifecycle, leaders, siblings, health, services, shutdown delays.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { DriverError } from "../../core/errors.ts";
import type { Service, ServiceCheck, Task, TaskLifecycle, UpdateStrategy } from "../../core/types.ts";
import type { ClientConfig } from "../../client/client.ts";
import { FakeDriver, FakeWorld } from "./fake_driver.ts";
import { FakeServer } from "./fake_server.ts";
import { makeDevice, makeGroup, makeJob, makeTask, place, type TestDevice } from "./fixtures.ts";

interface Bench {
  server: FakeServer;
  world: FakeWorld;
  driver: FakeDriver;
  device: TestDevice;
}

async function withDevice(
  run: (bench: Bench) => Promise<void>,
  config: Partial<ClientConfig> = {},
): Promise<void> {
  const server = new FakeServer();
  await server.start();
  const world = new FakeWorld();
  const driver = new FakeDriver(world);
  const device = await makeDevice({ servers: [server.address], drivers: [driver], config });
  try {
    await device.client.start();
    await server.until(() => device.client.session.connected, "device connects");
    await run({ server, world, driver, device });
  } finally {
    await device.end();
    await server.stop();
  }
}

const hook = (Hook: TaskLifecycle["Hook"], Sidecar = false) => ({ Lifecycle: { Hook, Sidecar } });
const once = {
  RestartPolicy: { Attempts: 0, Interval: 1e9, Delay: 1e9, Mode: "fail" as const, RenderTemplates: false },
};

function placeTasks(server: FakeServer, tasks: Partial<Task>[], group: Parameters<typeof makeGroup>[1] = {}) {
  const job = makeJob(makeGroup(tasks.map((task) => makeTask(task)), group), { Type: "batch" });
  const { id, ...delta } = place(job);
  server.send({ t: "allocs", ...delta });
  const stop = () => {
    const { id: _same, ...message } = place(job, { id, DesiredStatus: "stop" });
    server.send({ t: "allocs", ...message });
  };
  const started = (name: string) => server.until(() => hasStarted(name), `${name} starts`);
  const hasStarted = (name: string) => server.updates.get(id)?.TaskStates?.[name]?.StartedAt != null;
  const events = (name: string) => server.updates.get(id)!.TaskStates![name]!.Events.map((e) => e.Type);
  return { id, job, stop, started, hasStarted, events };
}

test("hooks run in order: prestart, main, poststart, poststop", () =>
  withDevice(async ({ server, world }) => {
    const g = placeTasks(server, [
      { Name: "after", ...hook("poststop") },
      { Name: "init", ...hook("prestart") },
      { Name: "side", ...hook("prestart", true) },
      { Name: "main" },
      { Name: "then", ...hook("poststart") },
    ]);
    await server.until(() => world.starts("init") === 1 && world.starts("side") === 1, "prestart");
    assert.equal(world.starts("main"), 0);
    world.end(world.latest("init"));
    await server.until(() => world.starts("then") === 1, "poststart");
    world.end(world.latest("then"));
    await g.started("main");
    assert.equal(world.starts("after"), 0);
    world.end(world.latest("main"));
    await server.until(() => world.starts("after") === 1, "poststop");
    assert.ok(world.latest("side").exit, "the sidecar ends with the main task");
    world.end(world.latest("after"));
    const done = await server.status(g.id, "complete");
    assert.ok(done.TaskStates!.side!.Events.some((e) => e.Type === "Main Tasks Dead"));
  }));

test("a failed prestart hook fails the group before main starts", () =>
  withDevice(async ({ server, world }) => {
    const g = placeTasks(server, [{ Name: "init", ...hook("prestart"), ...once }, { Name: "main" }]);
    await server.until(() => world.starts("init") === 1, "prestart");
    world.end(world.latest("init"), { exitCode: 1 });
    const failed = await server.status(g.id, "failed");
    assert.equal(world.starts("main"), 0);
    await server.until(() => server.updates.get(g.id)!.TaskStates!.main!.State === "dead", "main is dead");
    const event = server.updates.get(g.id)!.TaskStates!.main!.Events.find((e) =>
      e.Type === "Sibling Task Failed"
    )!;
    assert.equal(event.DisplayMessage, 'Task\'s sibling "init" failed');
    assert.equal(failed.ClientDescription, "Failed tasks");
  }));

test("the end of a leader ends the others", () =>
  withDevice(async ({ server, world }) => {
    const g = placeTasks(server, [{ Name: "boss", Leader: true }, { Name: "helper" }]);
    await g.started("boss");
    await g.started("helper");
    world.end(world.latest("boss"));
    const done = await server.status(g.id, "complete");
    assert.deepEqual(done.TaskStates!.helper!.Events.slice(3).map((e) => e.Type), [
      "Leader Task Dead",
      "Killing",
      "Terminated",
      "Killed",
    ]);
  }));

test("a leader is stopped before the others", () =>
  withDevice(async ({ server, world, driver }) => {
    driver.stubborn.add("boss");
    const g = placeTasks(server, [{ Name: "helper" }, { Name: "boss", Leader: true }]);
    await g.started("boss");
    await g.started("helper");
    g.stop();
    await server.until(() => world.latest("boss").stops.length === 1, "boss is stopped");
    assert.equal(world.latest("helper").stops.length, 0);
    world.end(world.latest("boss"), { exitCode: 137, signal: 9 });
    await server.status(g.id, "complete");
    assert.equal(world.latest("helper").stops.length, 1);
  }));

test("group shutdown_delay is waited for, and skipped on request", () =>
  withDevice(async ({ server, world }) => {
    const g = placeTasks(server, [{ Name: "main" }], { ShutdownDelay: 300e6 });
    await g.started("main");
    const begin = Date.now();
    g.stop();
    await server.status(g.id, "complete");
    assert.ok(Date.now() - begin >= 290, `waited ${Date.now() - begin} ms`);
    const h = placeTasks(server, [{ Name: "other" }], { ShutdownDelay: 60e9 });
    await h.started("other");
    const { id: _same, ...message } = place(h.job, {
      id: h.id,
      DesiredStatus: "stop",
      DesiredTransition: {
        Migrate: null,
        Reschedule: null,
        ForceReschedule: null,
        NoShutdownDelay: true,
        MigrateDisablePlacement: null,
      },
    });
    server.send({ t: "allocs", ...message });
    await server.status(h.id, "complete");
    assert.ok(world.latest("other").exit);
  }));

test("start failures follow the restart policy, and say what to do", () =>
  withDevice(async ({ server, world, driver }) => {
    driver.failures.push(new DriverError("start", "image is missing", true, "pull it"));
    const g = placeTasks(server, [{ Name: "main" }]);
    await g.started("main");
    assert.deepEqual(g.events("main"), ["Received", "Task Setup", "Driver Failure", "Restarting", "Started"]);
    const events = server.updates.get(g.id)!.TaskStates!.main!.Events;
    assert.equal(events[2]!.DisplayMessage, "image is missing: pull it");
    world.end(world.latest("main"));
    const bad = placeTasks(server, [{ Name: "bad", Config: { bad: 1 } }]);
    const failed = await server.status(bad.id, "failed");
    assert.deepEqual(failed.TaskStates!.bad!.Events.slice(2).map((e) => e.DisplayMessage), [
      '2 errors occurred:\n\t* failed to parse config: \n\t* unknown key "bad"\n\n',
      "Error was unrecoverable",
    ]);
    const none = placeTasks(server, [{ Name: "x", Driver: "nope" }]);
    const lost = await server.status(none.id, "failed");
    assert.match(lost.TaskStates!.x!.Events.at(-2)!.DisplayMessage, /has no driver "nope"/);
  }));

test("what the device cannot do is refused in the task's history", () =>
  withDevice(async ({ server, world }) => {
    const volume = {
      Volume: "data",
      Destination: "/d",
      ReadOnly: false,
      PropagationMode: "private",
      SELinuxLabel: "",
    };
    const g = placeTasks(server, [{ Name: "main", VolumeMounts: [volume] }]);
    const failed = await server.status(g.id, "failed");
    const events = failed.TaskStates!.main!.Events;
    assert.equal(events[2]!.Type, "Task hook failed");
    assert.equal(
      events[2]!.DisplayMessage,
      'volumes: task driver "fake" for "main" does not support host volumes',
    );
    assert.equal(events[3]!.DisplayMessage, "Error was unrecoverable");
    const network = {
      Mode: "bridge",
      Device: "",
      CIDR: "",
      IP: "",
      Hostname: "",
      MBits: null,
      DNS: null,
      ReservedPorts: null,
      DynamicPorts: null,
      CNI: null,
    };
    const b = placeTasks(server, [{ Name: "b" }], { Networks: [network] });
    const refused = await server.status(b.id, "failed");
    assert.match(refused.TaskStates!.b!.Events[2]!.DisplayMessage, /mode "bridge" is not available/);
    assert.equal(world.tasks.size, 0);
  }));

const UPDATE: UpdateStrategy = {
  Stagger: 30e9,
  MaxParallel: 1,
  HealthCheck: "task_states",
  MinHealthyTime: 50e6,
  HealthyDeadline: 10e9,
  ProgressDeadline: 60e9,
  AutoRevert: false,
  AutoPromote: false,
  Canary: 0,
};

test("an allocation of a deployment is healthy after min_healthy_time, and unhealthy when a task fails", () =>
  withDevice(async ({ server, world }) => {
    const job = makeJob(makeGroup([makeTask(once)], { Update: UPDATE }));
    const good = place(job, { DeploymentID: "d1" });
    server.send({ t: "allocs", ...good });
    await server.until(() => server.updates.get(good.id)?.DeploymentStatus?.Healthy === true, "healthy");
    const { id, ...delta } = place(job, { DeploymentID: "d1" });
    server.send({ t: "allocs", ...delta });
    await server.until(() => world.starts("web") === 2, "second starts");
    world.end(world.latest("web"), { exitCode: 1 });
    await server.until(() => server.updates.get(id)?.DeploymentStatus?.Healthy === false, "unhealthy");
    const last = server.updates.get(id)!.TaskStates!.web!.Events.at(-1)!;
    assert.deepEqual([last.Type, last.DisplayMessage], [
      "Alloc Unhealthy",
      "Unhealthy because of failed task",
    ]);
  }));

test("an allocation that is not up by healthy_deadline is unhealthy", () =>
  withDevice(async ({ server }) => {
    const update = { ...UPDATE, HealthyDeadline: 100e6 };
    const tasks = [makeTask({ Name: "init", ...hook("prestart") }), makeTask()];
    const { id, ...delta } = place(makeJob(makeGroup(tasks, { Update: update })), { DeploymentID: "d1" });
    server.send({ t: "allocs", ...delta });
    // The hook runs and does not end, so the main task never starts.
    await server.until(() => server.updates.get(id)?.DeploymentStatus?.Healthy === false, "unhealthy");
    assert.equal(
      server.updates.get(id)!.TaskStates!.web!.Events.at(-1)!.DisplayMessage,
      "Task not running by healthy_deadline of 100ms",
    );
    assert.equal(
      server.updates.get(id)!.TaskStates!.init!.Events.at(-1)!.DisplayMessage,
      "Task not running for min_healthy_time of 50ms by healthy_deadline of 100ms",
    );
  }));

function makeCheck(fields: Partial<ServiceCheck>): ServiceCheck {
  return {
    Name: "alive",
    Type: "http",
    Command: "",
    Args: null,
    Path: "/",
    Protocol: "",
    PortLabel: "",
    Expose: false,
    AddressMode: "",
    Interval: 1e9,
    Timeout: 1e9,
    InitialStatus: "",
    Notes: "",
    TLSServerName: "",
    TLSSkipVerify: false,
    Method: "",
    Header: null,
    CheckRestart: null,
    GRPCService: "",
    GRPCUseTLS: false,
    TaskName: "",
    SuccessBeforePassing: 0,
    FailuresBeforeCritical: 0,
    FailuresBeforeWarning: 0,
    Body: "",
    OnUpdate: "require_healthy",
    ...fields,
  };
}

function makeService(fields: Partial<Service>): Service {
  return {
    Name: "web-http",
    TaskName: "",
    PortLabel: "http",
    AddressMode: "auto",
    Address: "",
    Provider: "nomad",
    Tags: ["v1", "${NOMAD_GROUP_NAME}"],
    CanaryTags: null,
    Meta: null,
    CanaryMeta: null,
    TaggedAddresses: null,
    EnableTagOverride: false,
    Checks: null,
    Connect: null,
    OnUpdate: "require_healthy",
    Namespace: "default",
    Cluster: "default",
    Identity: null,
    Kind: "",
    Weights: null,
    ...fields,
  };
}

test("services are registered while they run; checks decide the allocation's health", () =>
  withDevice(async ({ server, device }) => {
    let status = 500;
    const http = createServer((_request, response) => {
      response.writeHead(status);
      response.end("body");
    });
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = http.address() as AddressInfo;
      const group = makeGroup([makeTask()], {
        Update: { ...UPDATE, HealthCheck: "checks", MinHealthyTime: 10e6 },
        Services: [makeService({ Checks: [makeCheck({})] })],
      });
      const job = makeJob(group);
      const options = { ports: [{ label: "http", value: port }], DeploymentID: "d1" };
      const { id, ...delta } = place(job, options);
      server.send({ t: "allocs", ...delta });
      const serviceId = `_nomad-task-${id}-group-app-web-http-http`;
      await server.until(() => server.services.has(serviceId), "service is registered");
      const service = server.services.get(serviceId)!;
      assert.deepEqual([service.Address, service.Port, service.Tags, service.NodeID], [
        "127.0.0.1",
        port,
        ["v1", "app"],
        device.client.node.ID,
      ]);
      const checks = async () =>
        Object.values(
          await (await device.client.fetch(new Request(`http://d/v1/client/allocation/${id}/checks`))).json(),
        ) as Record<string, unknown>[];
      await server.until(() => device.client.allocations.get(id)!.services !== undefined, "checks run");
      for (let i = 0; (await checks())[0]?.Status !== "failure" && i < 100; i++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const [failing] = await checks();
      assert.deepEqual([failing!.Status, failing!.StatusCode, failing!.Output], ["failure", 500, "body"]);
      assert.equal(server.updates.get(id)?.DeploymentStatus ?? null, null);
      status = 200;
      await server.until(() => server.updates.get(id)?.DeploymentStatus?.Healthy === true, "healthy");
      const [passing] = await checks();
      assert.deepEqual(
        [passing!.Status, passing!.Output, passing!.Check, passing!.Service, passing!.Group, passing!.Mode],
        ["success", "nomad: http ok", "alive", "web-http", "web.app[0]", "healthiness"],
      );
      const { id: _same, ...stop } = place(job, { id, ...options, DesiredStatus: "stop" });
      server.send({ t: "allocs", ...stop });
      await server.until(() => !server.services.has(serviceId), "service is removed");
      await server.status(id, "complete");
    } finally {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    }
  }));

test("check_restart restarts the task when its check fails too often", () =>
  withDevice(async ({ server, world }) => {
    const check = makeCheck({ Type: "tcp", CheckRestart: { Limit: 1, Grace: 0, IgnoreWarnings: false } });
    const group = makeGroup([makeTask({ Services: [makeService({ TaskName: "web", Checks: [check] })] })]);
    // Nobody listens on port 1.
    const { id, ...delta } = place(makeJob(group), { ports: [{ label: "http", value: 1 }] });
    server.send({ t: "allocs", ...delta });
    await server.until(() => world.starts("web") >= 2, "restart");
    await server.until(
      () => server.updates.get(id)!.TaskStates!.web!.Events.some((e) => e.Type === "Restart Signaled"),
      "reported",
    );
    const event = server.updates.get(id)!.TaskStates!.web!.Events.find((e) => e.Type === "Restart Signaled")!;
    assert.equal(event.DisplayMessage, 'healthcheck: check "alive" unhealthy');
  }));

test("a sticky disk moves to the successor, which waits for its predecessor", () =>
  withDevice(async ({ server, world, device }) => {
    const disk = { EphemeralDisk: { Sticky: true, Migrate: false, SizeMB: 300 } };
    const first = placeTasks(server, [{ Name: "main" }], disk);
    await first.started("main");
    const root = (id: string) => join(device.config.allocDir, id);
    await writeFile(join(root(first.id), "alloc/data/db"), "rows");
    await writeFile(join(root(first.id), "main/local/cache"), "warm");
    const { id, ...delta } = place(first.job, { PreviousAllocation: first.id });
    server.send({ t: "allocs", ...delta });
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(world.starts("main"), 1);
    first.stop();
    await server.status(id, "running");
    assert.equal(await readFile(join(root(id), "alloc/data/db"), "utf8"), "rows");
    assert.equal(await readFile(join(root(id), "main/local/cache"), "utf8"), "warm");
  }));

test("a group that runs longer than max_run_duration is ended without having failed", () =>
  withDevice(async ({ server }) => {
    const g = placeTasks(server, [{ Name: "main" }], { MaxRunDuration: 100e6 });
    await server.status(g.id, "complete");
    const update = server.updates.get(g.id)!;
    assert.equal(update.ClientDescription, "allocation exceeded max_run_duration");
    const task = update.TaskStates!.main!;
    assert.equal(task.Failed, false);
    const killing = task.Events.filter((event) => event.Type === "Killing");
    assert.deepEqual(killing.map((event) => event.DisplayMessage), ["allocation exceeded max_run_duration"]);
  }));

test("tasks with stop_on_client_after end when the servers are gone for that long", () =>
  withDevice(async ({ server, world }) => {
    const disconnect = { LostAfter: null, StopOnClientAfter: 100e6, Replace: null, Reconcile: "" };
    const g = placeTasks(server, [{ Name: "main" }], { Disconnect: disconnect });
    const h = placeTasks(server, [{ Name: "other" }]);
    await g.started("main");
    await h.started("other");
    await server.stop();
    for (let i = 0; !world.latest("main").exit && i < 100; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok(world.latest("main").exit);
    assert.equal(world.latest("other").exit, null);
  }));

test("the oldest terminal allocations are removed beyond gc_max_allocs", () =>
  withDevice(async ({ server, world, device }) => {
    const ids: string[] = [];
    for (let i = 0; i < 4; i++) {
      const g = placeTasks(server, [{ Name: `t${i}` }]);
      await g.started(`t${i}`);
      world.end(world.latest(`t${i}`));
      await server.status(g.id, "complete");
      ids.push(g.id);
    }
    await server.until(() => device.client.allocations.size === 2, "two are left");
    assert.deepEqual([...device.client.allocations.keys()], ids.slice(2));
  }, {
    gc: {
      intervalMs: 60_000,
      maxAllocs: 2,
      diskUsagePercent: 100,
      inodeUsagePercent: 100,
      parallelDestroys: 1,
    },
  }));

test("a job updated in place takes its new rules to the running task", () =>
  withDevice(async ({ server, world }) => {
    const g = placeTasks(server, [{ Name: "main", KillTimeout: 5e9 }]);
    await g.started("main");
    const changed = makeJob(makeGroup([makeTask({ Name: "main", KillTimeout: 1e9 })]), {
      Type: "batch",
      Version: 1,
    });
    const { id: _same, ...message } = place(changed, { id: g.id });
    server.send({ t: "allocs", ...message });
    const { id: _again, ...stop } = place(changed, { id: g.id, DesiredStatus: "stop" });
    server.send({ t: "allocs", ...stop });
    await server.status(g.id, "complete");
    assert.equal(world.starts("main"), 1);
    assert.equal(world.latest("main").stops[0]!.timeoutMs, 1000);
  }));

test("an allocation that is stopped before it began leaves without running anything", () =>
  withDevice(async ({ server, world }) => {
    const first = placeTasks(server, [{ Name: "main" }]);
    await first.started("main");
    world.latest("main");
    const tasks = [makeTask({ Name: "next" }), makeTask({ Name: "after", ...hook("poststop") })];
    const job = makeJob(makeGroup(tasks));
    // Its predecessor is told to end in the same message, and takes its time.
    const { id, ...delta } = place(job, { PreviousAllocation: first.id });
    const { id: _same, ...stop } = place(first.job, { id: first.id, DesiredStatus: "stop" });
    server.send({
      t: "allocs",
      index: delta.index,
      jobs: { a: delta.jobs.job!, b: stop.jobs.job! },
      resources: [delta.resources[0]!, stop.resources[0]!],
      upserts: [{ ...delta.upserts[0]!, job: "a", resources: 0 }, {
        ...stop.upserts[0]!,
        job: "b",
        resources: 1,
      }],
      removed: [],
    });
    await server.status(id, "running");
    const { id: _again, ...end } = place(job, { PreviousAllocation: id });
    const stopNext = place(job, { id: end.upserts[0]!.ID, PreviousAllocation: id, DesiredStatus: "stop" });
    server.send({ t: "allocs", ...end });
    server.send({ t: "allocs", ...stopNext });
    await server.status(stopNext.id, "complete");
    assert.equal(world.starts("next"), 1);
    assert.equal(world.starts("after"), 0);
  }));

test("an allocation waits for one that ends and holds its port, not for a predecessor that runs on", () =>
  withDevice(async ({ server, world, driver }) => {
    const ports = [{ label: "http", value: 18080 }];
    driver.stubborn.add("old");
    const old = makeJob(makeGroup([makeTask({ Name: "old" })]));
    const first = place(old, { ports });
    server.send({ t: "allocs", ...first });
    await server.status(first.id, "running");
    const canary = place(makeJob(makeGroup([makeTask({ Name: "canary" })])), {
      PreviousAllocation: first.id,
    });
    server.send({ t: "allocs", ...canary });
    await server.status(canary.id, "running");
    const stop = place(old, { id: first.id, ports, DesiredStatus: "stop" });
    const next = place(makeJob(makeGroup([makeTask({ Name: "next" })])), { ports });
    server.send({ t: "allocs", ...stop });
    server.send({ t: "allocs", ...next });
    await server.until(() => world.latest("old").stops.length === 1, "old is stopped");
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(world.starts("next"), 0);
    world.end(world.latest("old"), { exitCode: 137, signal: 9 });
    await server.status(next.id, "running");
  }));

test("templates are rendered again on restart when the policy says so, artifacts and payload are not", () =>
  withDevice(async ({ server, world, device }) => {
    const template = {
      SourcePath: "",
      DestPath: "local/copy",
      EmbeddedTmpl: '{{ file "local/payload" }}',
      ChangeMode: "restart",
      ChangeSignal: "",
      ChangeScript: null,
      Once: false,
      Splay: 0,
      Perms: "0644",
      Uid: null,
      Gid: null,
      LeftDelim: "{{",
      RightDelim: "}}",
      Envvars: false,
      VaultGrace: 0,
      Wait: null,
      ErrMissingKey: false,
    };
    const task = makeTask({ DispatchPayload: { File: "payload" }, Templates: [template] });
    const policy = {
      Attempts: 2,
      Interval: 600e9,
      Delay: 10e6,
      Mode: "fail" as const,
      RenderTemplates: true,
    };
    const job = makeJob(makeGroup([task], { RestartPolicy: policy }), { Payload: btoa("first") });
    const { id, ...delta } = place(job);
    server.send({ t: "allocs", ...delta });
    await server.status(id, "running");
    const local = join(device.config.allocDir, id, "web/local");
    assert.equal(await readFile(join(local, "copy"), "utf8"), "first");
    await writeFile(join(local, "payload"), "changed");
    world.end(world.latest("web"), { exitCode: 1 });
    await server.until(() => world.starts("web") === 2, "restart");
    assert.equal(await readFile(join(local, "copy"), "utf8"), "changed");
  }));

test("services and checks that this device cannot serve are refused", () =>
  withDevice(async ({ server }) => {
    const refused = async (service: Partial<Service>) => {
      const g = placeTasks(server, [{ Name: "main" }], { Services: [makeService(service)] });
      const failed = await server.status(g.id, "failed");
      return failed.TaskStates!.main!.Events[2]!.DisplayMessage;
    };
    assert.match(await refused({ Provider: "consul" }), /provider "nomad" only/);
    assert.match(await refused({ AddressMode: "driver" }), /address_mode "driver" is not available/);
    assert.match(
      await refused({ Checks: [makeCheck({ Type: "grpc" })] }),
      /check type "grpc" is not supported/,
    );
  }));

test("a group's services stay registered while its task restarts, a task's own do not", () =>
  withDevice(async ({ server, world }) => {
    const own = makeService({ Name: "own", TaskName: "web" });
    const group = makeGroup([makeTask({ Services: [own] })], {
      Services: [makeService({ Name: "shared" })],
      RestartPolicy: { Attempts: 1, Interval: 600e9, Delay: 300e6, Mode: "fail", RenderTemplates: false },
    });
    const { id, ...delta } = place(makeJob(group), { ports: [{ label: "http", value: 4711 }] });
    server.send({ t: "allocs", ...delta });
    const names = () => [...server.services.values()].map((service) => service.ServiceName).sort();
    await server.until(() => names().length === 2, "registered");
    assert.deepEqual([...server.services.keys()].sort(), [
      `_nomad-task-${id}-group-app-shared-http`,
      `_nomad-task-${id}-web-own-http`,
    ]);
    world.end(world.latest("web"), { exitCode: 1 });
    await server.until(() => names().length === 1, "task's own is removed");
    assert.deepEqual(names(), ["shared"]);
    await server.until(() => names().length === 2, "and comes back");
  }));
