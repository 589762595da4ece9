import assert from "node:assert/strict";
import { symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { FakeDriver, FakeWorld } from "./fake_driver.ts";
import { FakeServer } from "./fake_server.ts";
import { makeDevice, makeGroup, makeJob, makeTask, place, type TestDevice } from "./fixtures.ts";

interface Bench {
  server: FakeServer;
  world: FakeWorld;
  device: TestDevice;
  /** A running allocation with one task "web". */
  id: string;
  root: string;
  get(path: string, init?: RequestInit): Promise<Response>;
}

async function withAllocation(run: (bench: Bench) => Promise<void>): Promise<void> {
  const server = new FakeServer();
  await server.start();
  const world = new FakeWorld();
  const device = await makeDevice({
    servers: [server.address],
    drivers: [new FakeDriver(world)],
    config: { meta: { rack: "r1", "unset.me": "x" } },
  });
  try {
    await device.client.start();
    await server.until(() => device.client.session.connected, "device connects");
    const { id, ...delta } = place(makeJob(makeGroup([makeTask()])));
    server.send({ t: "allocs", ...delta });
    await server.status(id, "running");
    const root = join(device.config.allocDir, id);
    await writeFile(join(root, "web/local/info.txt"), "alloc=one\n");
    await writeFile(join(root, "web/local/index.html"), "<p>hi</p>\n");
    await writeFile(join(root, "web/secrets/key"), "hidden");
    const get = (path: string, init: RequestInit = {}) =>
      device.client.fetch(new Request(`http://device${path}`, init));
    await run({ server, world, device, id, root, get });
  } finally {
    await device.end();
    await server.stop();
  }
}

const text = async (response: Promise<Response>) => {
  const { status, ...rest } = await response;
  void rest;
  return `${status} ${await (await response).text()}`;
};

test("fs/ls lists names, modes and sizes in order", () =>
  withAllocation(async ({ id, get }) => {
    const rows = await (await get(`/v1/client/fs/ls/${id}`)).json();
    assert.deepEqual(rows.map((r: { Name: string; FileMode: string }) => `${r.FileMode} ${r.Name}`), [
      "drwxrwxrwx alloc",
      "drwxrwxrwx web",
    ]);
    const local = await (await get(`/v1/client/fs/ls/${id}?path=/web/local`)).json();
    assert.deepEqual(local.map((r: { Name: string; Size: number }) => [r.Name, r.Size]), [
      ["index.html", 10],
      [
        "info.txt",
        10,
      ],
    ]);
    assert.match(local[0].ModTime, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  }));

test("fs answers what is wrong with status and text of the reference", () =>
  withAllocation(async ({ id, root, get }) => {
    const unknown = "6ec1e3a0-0000-0000-0000-000000000000";
    const cases: [string, string][] = [
      [`ls/${id}?path=/zzz`, `404 open ${root}/zzz: no such file or directory`],
      [`ls/${id}?path=/../../..`, "500 Path escapes the alloc directory"],
      [`ls/${unknown}`, `404 Unknown allocation "${unknown}"`],
      ["ls/", "400 must provide a valid alloc id"],
      [`stat/${id}`, "400 must provide a file name"],
      [`cat/${id}?path=/web/local`, '200 file "/web/local" is a directory'],
      [`cat/${id}?path=/zzz`, `200 stat ${root}/zzz: no such file or directory`],
      [`cat/${id}?path=/web/secrets/key`, "200 Reading secret file prohibited: /web/secrets/key"],
      [`stream/${id}?path=/web/secrets/key`, "403 Reading secret file prohibited: /web/secrets/key"],
      [
        `readat/${id}?path=/web/local/info.txt`,
        '200 error parsing offset: strconv.ParseInt: parsing "": invalid syntax',
      ],
      [`logs/${id}?type=stdout`, "400 must provide task name"],
      [`logs/${id}?task=web`, "400 must provide log type (stdout/stderr)"],
      [`logs/${id}?task=zzz&type=stdout&plain=true`, '400 unknown task name "zzz"'],
      [`logs/${id}?task=web&type=stdout&origin=mid`, "400 origin must be start or end"],
      [`zzz/${id}`, "404 Invalid method"],
    ];
    for (const [path, expected] of cases) {
      assert.equal(await text(get(`/v1/client/fs/${path}`)), expected, path);
    }
  }));

test("fs never leaves the allocation through a symbolic link and never reads secrets through one", () =>
  withAllocation(async ({ id, root, get }) => {
    await symlink("/etc", join(root, "web/local/out"));
    await symlink("../secrets", join(root, "web/local/in"));
    assert.equal(
      await text(get(`/v1/client/fs/ls/${id}?path=/web/local/out`)),
      "500 Path escapes the alloc directory",
    );
    assert.equal(
      await text(get(`/v1/client/fs/cat/${id}?path=/web/local/out/hostname`)),
      "200 Path escapes the alloc directory",
    );
    assert.match(await text(get(`/v1/client/fs/cat/${id}?path=/web/local/in/key`)), /prohibited/);
  }));

test("fs/cat and readat give bytes and never let a browser run them", () =>
  withAllocation(async ({ id, get }) => {
    const html = await get(`/v1/client/fs/cat/${id}?path=/web/local/index.html`);
    assert.equal(html.headers.get("content-type"), "text/plain");
    assert.match(html.headers.get("content-security-policy")!, /sandbox/);
    assert.equal(await html.text(), "<p>hi</p>\n");
    const part = await get(`/v1/client/fs/readat/${id}?path=/web/local/info.txt&offset=3&limit=5`);
    assert.equal(await part.text(), "oc=on");
    const stat = await (await get(`/v1/client/fs/stat/${id}?path=/web/local/info.txt`)).json();
    assert.equal(stat.ContentType, "text/plain; charset=utf-8");
    assert.equal(stat.Name, "info.txt");
  }));

test("fs/logs reads over rotated files from start and end, framed and plain", () =>
  withAllocation(async ({ id, root, get }) => {
    const logs = join(root, "alloc/logs");
    await writeFile(join(logs, "web.stdout.3"), "first ");
    await writeFile(join(logs, "web.stdout.10"), "second");
    await writeFile(join(logs, "web.stderr.0"), "oops");
    const url = `/v1/client/fs/logs/${id}?task=web&type=stdout`;
    assert.equal(await (await get(`${url}&plain=true`)).text(), "first second");
    assert.equal(await (await get(`${url}&plain=true&origin=end&offset=8`)).text(), "t second");
    assert.equal(await (await get(`${url}&plain=true&offset=8`)).text(), "cond");
    const framed = await get(url);
    assert.equal(framed.headers.get("content-type"), "application/json");
    assert.equal(
      await framed.text(),
      '{"Data":"Zmlyc3Qg","File":"alloc/logs/web.stdout.3","Offset":6}' +
        '{"Data":"c2Vjb25k","File":"alloc/logs/web.stdout.10","Offset":6}',
    );
  }));

test("fs/logs follows what is written and goes over to the next file", () =>
  withAllocation(async ({ id, root, get }) => {
    const logs = join(root, "alloc/logs");
    await writeFile(join(logs, "web.stdout.0"), "one ");
    const response = await get(`/v1/client/fs/logs/${id}?task=web&type=stdout&plain=true&follow=true`);
    const reader = response.body!.getReader();
    let seen = "";
    const read = async (until: string) => {
      while (!seen.includes(until)) {
        const { done, value } = await reader.read();
        assert.equal(done, false);
        seen += new TextDecoder().decode(value);
      }
    };
    await read("one ");
    await writeFile(join(logs, "web.stdout.0"), "one two ");
    await read("two ");
    await writeFile(join(logs, "web.stdout.1"), "three");
    await read("three");
    assert.equal(seen, "one two three");
    await reader.cancel();
  }));

test("fs/stream follows by default and keeps the line alive with empty frames", () =>
  withAllocation(async ({ id, get }) => {
    const response = await get(`/v1/client/fs/stream/${id}?path=/web/local/info.txt`);
    const reader = response.body!.getReader();
    const next = async () => new TextDecoder().decode((await reader.read()).value);
    assert.equal(await next(), '{"Data":"YWxsb2M9b25lCg==","File":"/web/local/info.txt","Offset":10}');
    assert.equal(await next(), "{}");
    await reader.cancel();
    const once = await get(`/v1/client/fs/stream/${id}?path=/web/local/info.txt&follow=false`);
    assert.match(await once.text(), /^\{"Data":"[^"]+","File":"[^"]+","Offset":10\}$/);
  }));

test("allocation restart and signal reach the task and are written into its history", () =>
  withAllocation(async ({ id, get, server, world }) => {
    const put = (path: string, body: unknown) =>
      get(`/v1/client/allocation/${id}/${path}`, { method: "PUT", body: JSON.stringify(body) });
    assert.equal(await text(put("signal", { Signal: "SIGHUP", Task: "web" })), '200 {"Index":0}');
    assert.deepEqual(world.latest("web").signals, ["SIGHUP"]);
    assert.equal(await text(put("signal", { Signal: "SIGHUP", Task: "zzz" })), "500 Task not found");
    assert.equal(await text(put("signal", { Signal: "SIGNOPE", Task: "web" })), "500 unknown signal SIGNOPE");
    assert.equal(
      await text(put("restart", { TaskName: "zzz" })),
      "500 Could not find task runner for task: zzz",
    );
    assert.equal(await text(put("restart", { TaskName: "web" })), '200 {"Index":0}');
    await server.until(() => world.starts("web") === 2, "second start");
    await server.until(() => server.updates.get(id)?.TaskStates?.web?.Restarts === 1, "restart is reported");
    const update = await server.status(id, "running");
    const lines = update.TaskStates!.web!.Events.map((e) => `${e.Type}: ${e.DisplayMessage}`);
    assert.deepEqual(lines.slice(3), [
      "Signaling: Task being sent a signal",
      "Signaling: Task being sent a signal",
      "Restart Signaled: User requested task to restart",
      "Terminated: Exit Code: 130, Signal: 2",
      "Restarting: Task restarting in 0s",
      "Started: Task started by client",
    ]);
    assert.equal(await text(get(`/v1/client/allocation/${id}/signal`)), "405 Invalid method");
    world.end(world.latest("web"));
  }));

test("allocation routes answer like the reference", () =>
  withAllocation(async ({ id, get }) => {
    const base = `/v1/client/allocation/${id}`;
    const stats = await (await get(`${base}/stats`)).json();
    assert.deepEqual(Object.keys(stats).sort(), ["ResourceUsage", "Tasks", "Timestamp"]);
    assert.equal(stats.ResourceUsage.MemoryStats.RSS, 1000);
    assert.deepEqual(stats.ResourceUsage.DeviceStats, []);
    assert.deepEqual(stats.Tasks.web.ResourceUsage.CpuStats.Measured, [
      "System Mode",
      "User Mode",
      "Percent",
    ]);
    assert.equal(await text(get(`${base}/checks`)), "200 {}");
    assert.equal(await text(get(`${base}/zzz`)), "404 resource not found");
    assert.equal(await text(get(`${base}/pause?task=web`)), "500 Enterprise only");
    assert.equal(
      await text(get(`${base}/pause`, { method: "PUT", body: '{"Task":"web","ScheduleState":"zzz"}' })),
      "400 Not a valid task schedule state",
    );
    assert.equal(
      await text(get(`${base}/gc`)),
      "500 No such allocation on client, or allocation not eligible for GC",
    );
    assert.equal(await text(get(`${base}/exec?task=web`)), "500 websocket connection not found in context");
    const unknown = "6ec1e3a0-0000-0000-0000-000000000000";
    assert.equal(
      await text(get(`/v1/client/allocation/${unknown}/stats`)),
      `404 Unknown allocation "${unknown}"`,
    );
  }));

test("client stats have the host's CPU, memory and disks", () =>
  withAllocation(async ({ get }) => {
    const stats = await (await get("/v1/client/stats")).json();
    assert.deepEqual(Object.keys(stats).sort(), [
      "AllocDirStats",
      "CPU",
      "CPUTicksConsumed",
      "DeviceStats",
      "DiskStats",
      "Memory",
      "Timestamp",
      "Uptime",
    ]);
    assert.ok(stats.Memory.Total > stats.Memory.Available);
    assert.equal(stats.CPU[0].CPU, "cpu0");
    assert.ok(stats.AllocDirStats.Size > 0);
  }));

test("client metadata is applied, kept apart from the configured, and reaches the servers", () =>
  withAllocation(async ({ get, server }) => {
    const post = (body: string) => get("/v1/client/metadata", { method: "POST", body });
    const answer = await (await post('{"Meta":{"dyn":"1","unset.me":null}}')).json();
    assert.deepEqual(answer, {
      Meta: { rack: "r1", dyn: "1" },
      Dynamic: { dyn: "1", "unset.me": null },
      Static: { rack: "r1", "unset.me": "x" },
    });
    await server.until(() => server.node?.Meta.dyn === "1", "node update");
    assert.equal(
      await text(post('{"Meta":{"a b..":"1"}}')),
      '400 "a b.." is invalid; metadata keys must be valid dotted hcl identifiers',
    );
    assert.equal(await text(get("/v1/client/metadata", { method: "PUT", body: "{}" })), "405 Invalid method");
  }));

test("the device answers servers over its own connection", () =>
  withAllocation(async ({ id, server }) => {
    const response = await server.mux!.fetch(
      new Request(`http://device/v1/client/fs/cat/${id}?path=/web/local/info.txt`),
    );
    assert.equal(await response.text(), "alloc=one\n");
  }));

test("client gc removes terminal allocations only", () =>
  withAllocation(async ({ id, get, server, world, device }) => {
    const { id: other, ...delta } = place(makeJob(makeGroup([makeTask({ Name: "job" })]), { Type: "batch" }));
    server.send({ t: "allocs", ...delta });
    await server.status(other, "running");
    world.end(world.latest("job"));
    await server.status(other, "complete");
    await server.until(() => device.client.session.isConfirmed(other), "end is confirmed");
    assert.equal(await text(get("/v1/client/gc")), "200 ");
    assert.deepEqual([...device.client.allocations.keys()], [id]);
  }));
