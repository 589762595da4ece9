// Data of ephemeral disks between devices: what is packed, what is refused, how long it is waited for, and the whole way
// between two agents through their server.
import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pack } from "tar-stream";
import { type AllocDirs, allocDirs } from "../../client/alloc_dir.ts";
import { fetchDisk, packDisk, unpackDisk } from "../../client/disk_transfer.ts";
import { systemClock } from "../../core/env.ts";
import { shellJob, TestAgent } from "../e2e/harness.ts";

const TASKS = ["main", "side"];

async function withDirs(use: (from: AllocDirs, to: AllocDirs) => Promise<void>): Promise<void> {
  const parent = await mkdtemp(join(tmpdir(), "disk-"));
  const [from, to] = [allocDirs(parent, "from"), allocDirs(parent, "to")];
  await mkdir(from.data, { recursive: true });
  for (const task of TASKS) await mkdir(join(from.root, task, "local"), { recursive: true });
  try {
    await use(from, to);
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
}

async function* piecesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  for (let step = await reader.read(); !step.done; step = await reader.read()) yield step.value;
}

test("packDisk takes data and local directories as they are, and nothing else", () =>
  withDirs(async (from, to) => {
    await mkdir(join(from.data, "deep/er"), { recursive: true });
    await writeFile(join(from.data, "deep/er/rows"), "x".repeat(300_000));
    await writeFile(join(from.data, "empty"), "");
    await writeFile(join(from.root, "main/local/run.sh"), "#!/bin/sh\n");
    await chmod(join(from.root, "main/local/run.sh"), 0o750);
    await symlink("run.sh", join(from.root, "main/local/start"));
    await symlink("/etc/passwd", join(from.root, "main/local/host"));
    await symlink("../../side/local", join(from.root, "main/local/sibling"));
    await mkdir(join(from.root, "main/secrets"));
    await writeFile(join(from.root, "main/secrets/key"), "secret");
    await mkdir(from.logs);
    await writeFile(join(from.logs, "main.stdout.0"), "log");

    await unpackDisk(piecesOf(packDisk(from, TASKS)), to, TASKS);

    assert.equal((await readFile(join(to.data, "deep/er/rows"))).length, 300_000);
    assert.equal((await readFile(join(to.data, "empty"))).length, 0);
    const script = join(to.root, "main/local/run.sh");
    assert.equal(await readFile(script, "utf8"), "#!/bin/sh\n");
    assert.equal((await stat(script)).mode & 0o777, 0o750);
    assert.equal(await readlink(join(to.root, "main/local/start")), "run.sh");
    for (const left of ["main/local/host", "main/local/sibling", "main/secrets", "alloc/logs"]) {
      await assert.rejects(stat(join(to.root, left)), { code: "ENOENT" }, left);
    }
  }));

test("unpackDisk refuses what does not belong to a disk", () =>
  withDirs(async (_from, to) => {
    for (
      const name of ["main/secrets/key", "alloc/data/../../x", "other/local/x", "/etc/x", "alloc/database"]
    ) {
      const tar = pack();
      tar.entry({ name }, "evil");
      tar.finalize();
      await assert.rejects(
        unpackDisk(tar as unknown as AsyncIterable<Uint8Array>, to, TASKS),
        /does not belong|leads out/,
        name,
      );
    }
  }));

/** Answers as servers do, from a list of statuses of the predecessor. */
function servers(statuses: string[], snapshot: () => Response) {
  const asked: string[] = [];
  return {
    asked,
    source: {
      clock: systemClock,
      isWanted: () => true,
      fetch: (request: Request) => {
        const { pathname, search } = new URL(request.url);
        asked.push(pathname + search);
        if (pathname.endsWith("/snapshot")) return Promise.resolve(snapshot());
        const ClientStatus = statuses.shift()!;
        return Promise.resolve(
          Response.json({ ClientStatus }, { headers: { "X-Nomad-Index": String(10 - statuses.length) } }),
        );
      },
    },
  };
}

test("fetchDisk waits until the predecessor has ended, with blocking queries", () =>
  withDirs(async (from, to) => {
    await writeFile(join(from.data, "rows"), "1");
    const { source, asked } = servers(
      ["running", "running", "complete"],
      () => new Response(packDisk(from, TASKS)),
    );
    assert.equal(await fetchDisk(source, "prev", to, TASKS), null);
    assert.deepEqual(asked, [
      "/v1/allocation/prev?index=0&wait=60000ms",
      "/v1/allocation/prev?index=8&wait=60000ms",
      "/v1/allocation/prev?index=9&wait=60000ms",
      "/v1/client/allocation/prev/snapshot",
    ]);
    assert.equal(await readFile(join(to.data, "rows"), "utf8"), "1");
  }));

test("fetchDisk says why there is no data, and leaves nothing half behind", () =>
  withDirs(async (from, to) => {
    const lost = servers(["lost"], () => new Response());
    assert.equal(await fetchDisk(lost.source, "prev", to, TASKS), "its device cannot be reached");

    const refused = servers(["complete"], () => new Response("No path to node", { status: 404 }));
    assert.equal(await fetchDisk(refused.source, "prev", to, TASKS), "No path to node");

    await writeFile(join(from.data, "rows"), "x".repeat(200_000));
    const cut = servers(["complete"], () => {
      const pieces = piecesOf(packDisk(from, TASKS));
      let sent = 0;
      return new Response(
        new ReadableStream({
          async pull(controller) {
            const { value } = await pieces.next();
            if (sent++ < 3 && value) return controller.enqueue(value);
            controller.error(new Error("the connection was lost"));
          },
        }),
      );
    });
    assert.match((await fetchDisk(cut.source, "prev", to, TASKS))!, /connection was lost/);
    await assert.rejects(stat(to.data), { code: "ENOENT" });

    const dead = servers(["complete"], () => {
      return new Response(new ReadableStream({ start: (controller) => controller.error(new Error("gone")) }));
    });
    assert.equal(await fetchDisk(dead.source, "prev", to, TASKS), "gone");
    const short = servers(["complete"], () => new Response(new Uint8Array(1000)));
    assert.notEqual(await fetchDisk(short.source, "prev", to, TASKS), null);
  }));

test("a migrating disk follows its allocation to another device when its node is drained", async () => {
  const server = new TestAgent({ durable: true, client: false });
  const devices: TestAgent[] = [];
  try {
    await server.start();
    for (const name of ["left", "right"]) {
      const device = new TestAgent({ durable: true, deviceOf: server.rpcAddress, name });
      devices.push(device);
      await device.start();
    }
    const script = "test -e $NOMAD_ALLOC_DIR/data/rows || echo first > $NOMAD_ALLOC_DIR/data/rows; " +
      "cat $NOMAD_ALLOC_DIR/data/rows; exec sleep 1000";
    const disk = { EphemeralDisk: { Sticky: true, Migrate: true, SizeMB: 150 } };
    await server.put(
      "/v1/jobs",
      shellJob("db", script, { group: { Count: 1, Update: { MaxParallel: 0 }, ...disk } }),
    );
    type Alloc = {
      ID: string;
      NodeID: string;
      NodeName: string;
      ClientStatus: string;
      DesiredStatus: string;
    };
    const running = (notOn = "") =>
      server.until(async () => {
        const allocs = await server.get<Alloc[]>("/v1/job/db/allocations");
        return allocs.find((alloc) => alloc.ClientStatus === "running" && alloc.NodeID !== notOn);
      }, "a running allocation");
    const first = await running();
    const data = (id: string) => server.nomad("alloc", "fs", id, "alloc/data/rows");
    await server.until(async () => (await data(first.ID)).stdout === "first\n", "the first data");
    // The task itself would write "first" again: what the second device has must have travelled.
    const written = await server.nomad(
      "alloc",
      "exec",
      first.ID,
      "/bin/sh",
      "-c",
      "echo more >> $NOMAD_ALLOC_DIR/data/rows",
    );
    assert.equal(written.code, 0, written.stderr);

    await server.put(`/v1/node/${first.NodeID}/drain`, { DrainSpec: { Deadline: 3600e9 } });
    const second = await running(first.NodeID);
    assert.notEqual(second.ID, first.ID);
    assert.equal((await data(second.ID)).stdout, "first\nmore\n");
  } finally {
    await server.destroy();
    for (const device of devices) await device.destroy();
  }
});
