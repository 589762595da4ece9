// The podman driver's options and troubles on a real Podman: limits, mounts, ports, archives, a service that restarts,
// containers that somebody else removes. Only pulling is tried against a socket that pretends, because no registry can
// be reached from a test.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Driver, TaskHandle } from "../../drivers/driver.ts";
import { createDrivers, type PluginConfig } from "../../drivers/registry.ts";
import { eventually, makePlace, PATIENCE, type Place, sleep, wait } from "./fixture.ts";
import { podmanService } from "./podman_service.ts";

const image = "localhost/busybox:1";
const service = podmanService();
after(() => service.stop());

function make(more: Record<string, unknown> = {}): Driver {
  const plugins: PluginConfig = { podman: { socket_path: service.socket, ...more } };
  return createDrivers(plugins).get("podman")!;
}

const shell = (text: string, more: Record<string, unknown> = {}) => ({
  image,
  command: "/bin/sh",
  args: ["-c", text],
  ...more,
});
const KILL = { killSignal: "SIGKILL", timeoutMs: 5000 };

function podman(...args: string[]): string {
  const done = spawnSync("podman", args, { encoding: "utf8" });
  assert.equal(done.status, 0, `podman ${args.join(" ")}: ${done.stderr}`);
  return done.stdout;
}

async function output(
  driver: Driver,
  place: Place,
  config: Record<string, unknown>,
  change = {},
): Promise<string> {
  const handle = await driver.start(place.spec(config, change), () => undefined);
  const result = await wait(driver, handle);
  await driver.destroy(handle);
  assert.equal(result.exitCode, 0, place.log("stderr"));
  return place.log("stdout");
}

async function begin(
  driver: Driver,
  place: Place,
  config: Record<string, unknown>,
  change = {},
): Promise<TaskHandle> {
  const handle = await driver.start(place.spec(config, change), () => undefined);
  await eventually("the script begins", () => place.log("stdout").includes("ready"));
  return handle;
}

const FOREVER = "echo ready; trap 'exit 0' TERM; while :; do sleep 0.1; done";

test("podman gives the task its directories, volumes and mounts", PATIENCE, async () => {
  await service.start();
  const place = makePlace();
  writeFileSync(join(place.root, "web", "local", "file"), "from local\n");
  writeFileSync(join(place.root, "alloc", "data", "file"), "from alloc\n");
  const extra = makePlace();
  writeFileSync(join(extra.root, "file"), "from volume\n");
  const text =
    "cat /local/file /alloc/data/file /vol/file /rel/file /m/file; touch /vol/no 2>/dev/null || echo read-only; " +
    "touch /scratch/yes && echo scratch; ls -d /secrets; grep -o 'tmpfs /scratch tmpfs' /proc/mounts";
  const seen = await output(
    make(),
    place,
    shell(text, {
      volumes: [`${extra.root}:/vol:ro`, "local:/rel"],
      mounts: [{ type: "bind", source: extra.root, target: "/m", readonly: true }],
      tmpfs: ["/scratch"],
    }),
  );
  assert.equal(
    seen,
    "from local\nfrom alloc\nfrom volume\nfrom local\nfrom volume\nread-only\nscratch\n/secrets\ntmpfs /scratch tmpfs\n",
  );
  const closed = make({ volumes: [{ enabled: false }] });
  const refused = place.spec(shell("true", { volumes: [`${extra.root}:/vol`] }));
  await assert.rejects(closed.start(refused, () => undefined), /volumes are not enabled on this client/);
  extra.remove();
  place.remove();
});

test(
  "podman carries user, hostname, work dir, labels, capabilities, ulimits, sysctl and dns over",
  PATIENCE,
  async () => {
    await service.start();
    const place = makePlace();
    const text =
      "id -u; hostname; pwd; ulimit -n; cat /proc/sys/net/core/somaxconn; grep -c 10.1.2.3 /etc/resolv.conf; " +
      "grep -o 'box' /etc/hosts; grep CapEff /proc/self/status; touch /x 2>/dev/null || echo sealed";
    const config = shell(text, {
      hostname: "web-host",
      working_dir: "/local",
      // nproc too: naming one limit drops the defaults of containers.conf for the others.
      ulimit: [{ nofile: "512:600", nproc: "900" }],
      sysctl: { "net.core.somaxconn": "77" },
      extra_hosts: ["box:10.9.9.9"],
      labels: [{ purpose: "test" }],
      cap_drop: ["ALL"],
      readonly_rootfs: true,
      security_opt: ["no-new-privileges"],
      network_mode: "bridge",
    });
    const dns = { servers: ["10.1.2.3"], searches: [], options: [] };
    const seen = await output(make(), place, config, { user: "nobody", dns });
    assert.equal(seen, "65534\nweb-host\n/local\n512\n77\n1\nbox\nCapEff:\t0000000000000000\nsealed\n");
    place.remove();
  },
);

test("podman sets limits and labels as the job says", PATIENCE, async () => {
  await service.start();
  const place = makePlace();
  const driver = make({ extra_labels: ["task*"] });
  const config = shell(FOREVER, {
    cpu_hard_limit: true,
    pids_limit: 50,
    memory_swap: "200m",
    labels: { a: "b" },
  });
  const resources = { cpuMhz: 250, memoryMb: 32, memoryMaxMb: 48, cores: [] };
  const handle = await begin(driver, place, config, { resources });
  const [seen] = JSON.parse(podman("inspect", String(handle.state["containerId"]))) as [
    { HostConfig: Record<string, number>; Config: { Labels: Record<string, string> }; Name: string },
  ];
  const { Memory, MemorySwap, MemoryReservation, CpuShares, CpuQuota, PidsLimit } = seen.HostConfig;
  assert.deepEqual([Memory, MemoryReservation, MemorySwap], [48 << 20, 32 << 20, 200 << 20]);
  assert.deepEqual([CpuShares, PidsLimit], [250, 50]);
  assert.ok(CpuQuota! >= 1000, `quota ${CpuQuota}`);
  assert.equal(seen.Config.Labels["a"], "b");
  assert.equal(seen.Config.Labels["com.hashicorp.nomad.task_name"], "web");
  assert.equal(seen.Config.Labels["com.hashicorp.nomad.job_id"], undefined);
  assert.match(seen.Name, /^web-[0-9a-f-]{36}$/);
  await driver.stop(handle, KILL);
  await driver.destroy(handle);
  place.remove();
});

test(
  "podman ends a task that takes more than its memory, and tells what Podman says of it",
  PATIENCE,
  async () => {
    await service.start();
    const place = makePlace();
    const driver = make();
    const resources = { cpuMhz: 100, memoryMb: 12, memoryMaxMb: 0, cores: [] };
    const spec = place.spec({ image, command: "awk", args: ['BEGIN { s = "x"; while (1) s = s s }'] }, {
      resources,
    });
    const handle = await driver.start(spec, () => undefined);
    const result = await wait(driver, handle);
    // With cgroups v1 and a new kernel Podman itself does not notice; what it notices must arrive.
    const noticed = podman("inspect", "--format", "{{.State.OOMKilled}}", String(handle.state["containerId"]))
      .trim();
    assert.deepEqual([result.exitCode, String(result.oomKilled)], [137, noticed]);
    await driver.destroy(handle);
    place.remove();
  },
);

test("podman publishes the group's ports and refuses unknown ones", PATIENCE, async () => {
  await service.start();
  const place = makePlace();
  const driver = make();
  const port = await freePort();
  const ports = [{ label: "http", hostIp: "127.0.0.1", value: port, to: 8080 }];
  const config = shell("echo ready; while :; do echo hello | nc -l -p 8080; done", { ports: ["http"] });
  const handle = await begin(driver, place, config, { ports });
  const answer = await eventually("the port answers", () => ask(port));
  assert.equal(answer, "hello\n");
  await driver.stop(handle, KILL);
  await driver.destroy(handle);
  const wrong = place.spec(shell("true", { ports: ["https"] }), { ports });
  await assert.rejects(driver.start(wrong, () => undefined), /the group's network has no port "https"/);
  place.remove();
});

test("podman joins the network of the host or of another task", PATIENCE, async () => {
  await service.start();
  const place = makePlace();
  const driver = make();
  assert.match(
    await output(driver, place, shell("ls /sys/class/net | wc -l; hostname", { network_mode: "none" })),
    /^1\n/,
  );
  const first = await begin(driver, place, shell("nc -l -p 7777 -e echo joined & " + FOREVER));
  const second = makePlace();
  const spec = second.spec(shell("nc 127.0.0.1 7777", { network_mode: "task:web" }), { task: "side" });
  const handle = await driver.start(
    { ...spec, allocId: String(first.id.split("/")[0]), task: "side" },
    () => undefined,
  );
  assert.equal((await wait(driver, handle)).exitCode, 0);
  assert.equal(readFileSync(join(second.root, "alloc", "logs", "side.stdout.0"), "utf8"), "joined\n");
  await driver.destroy(handle);
  await driver.stop(first, KILL);
  await driver.destroy(first);
  place.remove();
  second.remove();
});

test("podman loads images from archives that an artifact brought", PATIENCE, async () => {
  await service.start();
  for (const kind of ["docker-archive", "oci-archive"]) {
    const place = makePlace();
    const name = `localhost/${kind}-${process.pid}:1`;
    podman("tag", image, name);
    podman("save", "--quiet", `--format=${kind}`, "-o", join(place.root, "web", "local", "image.tar"), name);
    podman("rmi", name);
    const events: string[] = [];
    const driver = make();
    const config = { image: `${kind}:local/image.tar`, command: "echo", args: [kind] };
    const handle = await driver.start(place.spec(config), (message) => events.push(message));
    await wait(driver, handle);
    assert.equal(place.log("stdout"), `${kind}\n`);
    assert.deepEqual(events, ["Loading image"]);
    await driver.destroy(handle);
    spawnSync("podman", ["rmi", name]);
    await assert.rejects(
      driver.start(place.spec({ image: `${kind}:local/none.tar` }), () => undefined),
      /image archive .*none\.tar: no such file/,
    );
    place.remove();
  }
});

test("podman carries bytes of any value, with and without newlines", PATIENCE, async () => {
  await service.start();
  const place = makePlace({ fileSizeMaxBytes: 10_000, filesMax: 1000 });
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const source = join(place.root, "web", "local", "bytes");
  writeFileSync(source, bytes);
  const driver = make();
  const handle = await driver.start(place.spec(shell("cat /local/bytes; printf end >&2")), () => undefined);
  await wait(driver, handle);
  await driver.destroy(handle);
  assert.deepEqual(Buffer.concat(place.logBytes("stdout")), Buffer.from(bytes));
  assert.equal(place.log("stderr"), "end");
  place.remove();
});

test("podman goes on waiting when Podman's service restarts", PATIENCE, async () => {
  await service.start();
  const place = makePlace();
  const driver = make();
  const handle = await begin(
    driver,
    place,
    shell("echo ready; while [ ! -e /local/go ]; do sleep 0.05; done; echo over; exit 6"),
  );
  const waiting = wait(driver, handle);
  await service.restart();
  writeFileSync(join(place.root, "web", "local", "go"), "");
  assert.deepEqual(await waiting, { exitCode: 6, signal: 0, oomKilled: false });
  assert.equal(place.log("stdout"), "ready\nover\n");
  await driver.destroy(handle);
  place.remove();
});

test("podman says so when somebody else removed the container", PATIENCE, async () => {
  await service.start();
  const place = makePlace();
  const driver = make();
  const handle = await begin(driver, place, shell(FOREVER));
  const waiting = wait(driver, handle);
  await sleep(100);
  podman("rm", "-f", "-t", "0", String(handle.state["containerId"]));
  const result = await waiting;
  // Podman may still tell the exit code of the killed container, or no more know it.
  assert.ok(
    result.exitCode === 137 || /removed by somebody else/.test(result.error ?? ""),
    JSON.stringify(result),
  );
  assert.equal(await make().recover(handle), false);
  await driver.destroy(handle);
  place.remove();
});

test("podman replaces the container that an earlier start of the task left", PATIENCE, async () => {
  await service.start();
  const place = makePlace();
  const first = make();
  const left = await begin(first, place, shell(FOREVER));
  const driver = make();
  const spec = place.spec(shell("echo second"), { allocId: left.id.split("/")[0]! });
  const handle = await driver.start(spec, () => undefined);
  assert.equal((await wait(driver, handle)).exitCode, 0);
  assert.match(place.log("stdout"), /second\n$/);
  await driver.destroy(handle);
  await first.destroy(left);
  place.remove();
});

test("podman keeps containers when gc.container is false", PATIENCE, async () => {
  await service.start();
  const place = makePlace();
  const driver = make({ gc: [{ container: false }] });
  const handle = await begin(driver, place, shell(FOREVER));
  await driver.destroy(handle);
  const id = String(handle.state["containerId"]);
  assert.equal(podman("inspect", "--format", "{{.State.Status}}", id).trim(), "exited");
  podman("rm", id);
  place.remove();
});

test("podman that is missing is said in one line with what to do", PATIENCE, async () => {
  await service.start();
  const place = makePlace();
  const socket = join(place.root, "none.sock");
  const driver = createDrivers({ podman: { socket_path: `unix://${socket}` } }).get("podman")!;
  const found = await driver.fingerprint();
  assert.deepEqual([found.detected, found.healthy], [false, false]);
  assert.match(
    found.description,
    /^podman missing: nothing answers on .*none\.sock; start it .* or set socket_path/,
  );
  await assert.rejects(
    driver.start(place.spec(shell("true")), () => undefined),
    (error: Error & { hint?: string }) => {
      assert.equal(error.name, "DriverError");
      assert.match(error.message, /^podman missing/);
      assert.match(error.hint ?? "", /systemctl enable --now podman\.socket/);
      return true;
    },
  );
  place.remove();
});

test(
  "podman pulls with the job's credentials, tells progress and the registry's error",
  PATIENCE,
  async () => {
    await service.start();
    const place = makePlace();
    const path = join(place.root, "pretends.sock");
    const seen: { url: string; auth: string }[] = [];
    const server = http.createServer((request, response) => {
      if (request.url!.endsWith("/exists")) return void response.writeHead(404).end();
      seen.push({ url: request.url!, auth: String(request.headers["x-registry-auth"]) });
      response.writeHead(200);
      response.write('{"stream":"Trying to pull…\\n"}\n');
      response.end('{"error":"denied: wrong password"}\n');
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const driver = createDrivers({ podman: { socket_path: path } }).get("podman")!;
    const events: string[] = [];
    const config = { image: "docker://registry.example/app:2", auth: [{ username: "me", password: "p/w" }] };
    await assert.rejects(
      driver.start(place.spec(config), (message) => events.push(message)),
      { message: "Failed to pull registry.example/app:2: denied: wrong password", recoverable: true },
    );
    assert.deepEqual(events, ["Downloading image"]);
    assert.deepEqual(seen.map(({ url }) => url), [
      "/v4.0.0/libpod/images/pull?reference=registry.example%2Fapp%3A2",
    ]);
    const auth = JSON.parse(Buffer.from(seen[0]!.auth, "base64url").toString()) as unknown;
    assert.deepEqual(auth, { username: "me", password: "p/w" });
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    place.remove();
  },
);

test("podman gives up a pull after image_pull_timeout", PATIENCE, async () => {
  await service.start();
  const place = makePlace();
  const path = join(place.root, "silent.sock");
  const server = http.createServer((request, response) => {
    if (request.url!.endsWith("/exists")) response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const driver = createDrivers({ podman: { socket_path: path } }).get("podman")!;
  const spec = place.spec({ image: "registry.example/slow", image_pull_timeout: "200ms" });
  await assert.rejects(driver.start(spec, () => undefined), /no answer within 0.2 s/);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  place.remove();
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function ask(port: number): Promise<string | null> {
  return new Promise((resolve) => {
    let text = "";
    const socket = net.connect(port, "127.0.0.1");
    socket.on("data", (chunk: Uint8Array) => text += new TextDecoder().decode(chunk));
    socket.on("close", () => resolve(text || null));
    socket.on("error", () => resolve(null));
    socket.end();
  });
}
