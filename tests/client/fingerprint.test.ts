import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { clientConfigDefaults } from "../../client/config.ts";
import { fingerprintNode, loadIdentity, parseCores, readNuma } from "../../client/fingerprint.ts";
import { inCidr } from "../../client/fingerprint_network.ts";
import { systemRandom } from "../../core/env.ts";
import { FakeDriver, FakeWorld } from "./fake_driver.ts";
import { FakeServer } from "./fake_server.ts";
import { makeDevice } from "./fixtures.ts";

const config = { ...clientConfigDefaults, allocDir: tmpdir(), networkInterface: "lo" };
const identity = { id: "i", secret: "s" };

test("fingerprintNode measures the host and honours overrides and reservations", async () => {
  const plain = await fingerprintNode(config, identity);
  const cores = [...(await readFile("/proc/cpuinfo", "utf8")).matchAll(/^processor\s*:/gm)].length;
  assert.equal(plain.NodeResources.Cpu.TotalCpuCores, cores);
  assert.equal(plain.Attributes["cpu.numcores"], String(cores));
  assert.equal(
    plain.NodeResources.Cpu.CpuShares,
    Number(plain.Attributes["cpu.frequency"]) * cores,
  );
  assert.equal(plain.Attributes["kernel.name"], "linux");
  assert.equal(plain.Attributes["unique.network.ip-address"], "127.0.0.1");
  assert.ok(plain.NodeResources.Disk.DiskMB > 0);
  const set = await fingerprintNode({
    ...config,
    overrides: { cpuTotalCompute: 5000, memoryTotalMb: 2048, diskTotalMb: 9000, diskFreeMb: 10 },
    reserved: { cpuMhz: 100, memoryMb: 128, diskMb: 1, reservedPorts: "22,80", cores: "0" },
    hostVolumes: { data: { path: "/srv", readOnly: true } },
    hostNetworks: { inner: { cidr: "127.0.0.0/8", interface: "", reservedPorts: "1" } },
  }, identity);
  assert.deepEqual(set.NodeResources.Memory, { MemoryMB: 2048 });
  assert.deepEqual(set.NodeResources.Disk, { DiskMB: 9000 });
  assert.equal(set.NodeResources.Cpu.CpuShares, 5000);
  assert.equal(set.Attributes["cpu.usablecompute"], "4900");
  assert.equal(set.Attributes["unique.storage.bytesfree"], String(10 * 1024 * 1024));
  assert.deepEqual(set.ReservedResources, {
    Cpu: { CpuShares: 100, ReservedCpuCores: [0] },
    Memory: { MemoryMB: 128 },
    Disk: { DiskMB: 1 },
    Networks: { ReservedHostPorts: "22,80" },
  });
  assert.equal(set.NodeResources.Cpu.ReservableCpuCores!.includes(0), false);
  assert.deepEqual(set.HostVolumes.data, { ID: "", Name: "data", Path: "/srv", ReadOnly: true });
  const aliases = set.NodeResources.NodeNetworks![0]!.Addresses!.map((a) => a.Alias);
  assert.ok(aliases.includes("default") && aliases.includes("inner"));
});

test("fingerprintNode names the interfaces there are when the configured one is missing", async () => {
  await assert.rejects(
    fingerprintNode({ ...config, networkInterface: "wan7" }, identity),
    /network_interface "wan7" has no usable address; this host has .*lo/,
  );
});

test("loadIdentity keeps who the device is, readable by its user only", async () => {
  const dir = await mkdtemp(join(tmpdir(), "identity-"));
  const options = { newId: () => systemRandom.uuid(), fromHost: false };
  try {
    const first = await loadIdentity(join(dir, "client"), options);
    assert.deepEqual(await loadIdentity(join(dir, "client"), options), first);
    assert.equal((await stat(join(dir, "client/secret-id"))).mode & 0o777, 0o600);
    const fromHost = { ...options, fromHost: true };
    assert.equal((await loadIdentity(null, fromHost)).id, (await loadIdentity(null, fromHost)).id);
    assert.notEqual((await loadIdentity(null, options)).id, (await loadIdentity(null, options)).id);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test("parseCores and inCidr read what configurations say", () => {
  assert.deepEqual(parseCores("0-2,7"), [0, 1, 2, 7]);
  assert.deepEqual(parseCores(""), []);
  assert.equal(inCidr("10.1.2.3", "10.0.0.0/8"), true);
  assert.equal(inCidr("11.1.2.3", "10.0.0.0/8"), false);
  assert.equal(inCidr("192.168.1.130", "192.168.1.128/25"), true);
  assert.equal(inCidr("1.2.3.4", "0.0.0.0/0"), true);
});

test("a driver that falls ill reaches the servers, as record and as event; denied drivers are not there", async () => {
  const server = new FakeServer();
  await server.start();
  const world = new FakeWorld();
  const driver = new FakeDriver(world);
  const device = await makeDevice({
    servers: [server.address],
    drivers: [driver, new FakeDriver(world, { name: "other" })],
    config: { fingerprintIntervalMs: 30, options: { "driver.denylist": "other" } },
  });
  try {
    await device.client.start();
    await server.until(() => server.node !== undefined, "registers");
    assert.deepEqual(Object.keys(server.node!.Drivers), ["fake"]);
    driver.healthy = false;
    await server.until(() => server.node?.Drivers.fake?.Healthy === false, "record");
    await server.until(() => server.events.length > 0, "event");
    assert.deepEqual(server.events, [
      { subsystem: "Driver", message: "its daemon is gone", details: { driver: "fake" } },
    ]);
  } finally {
    await device.end();
    await server.stop();
  }
});

test("readNuma knows which cores are near which memory", async () => {
  const root = await mkdtemp(join(tmpdir(), "numa-"));
  try {
    assert.deepEqual(await readNuma(root), new Map());
    await writeFile(join(root, "online"), "0-1\n");
    for (const [node, cores] of [[0, "0-1,4"], [1, "2-3"]] as const) {
      await mkdir(join(root, `node${node}`));
      await writeFile(join(root, `node${node}/cpulist`), `${cores}\n`);
    }
    assert.deepEqual(await readNuma(root), new Map([[0, 0], [1, 0], [4, 0], [2, 1], [3, 1]]));
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});
