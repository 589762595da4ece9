import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openSqliteState } from "../../client/local_state_sqlite.ts";
import type { DeviceAllocation } from "../../client/local_state.ts";
import { createTask } from "../../client/task.ts";
import { silentLogger } from "../../core/logger.ts";
import { makeGroup, makeJob, makeTask, place } from "./fixtures.ts";

async function withDir(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "state-"));
  try {
    await run(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function makeAllocation(): DeviceAllocation {
  const delta = place(makeJob(makeGroup([makeTask()])));
  const { job: _job, resources: _resources, ...rest } = delta.upserts[0]!;
  return { ...rest, Job: delta.jobs.job!, AllocatedResources: delta.resources[0]! };
}

const machine = () =>
  createTask({
    policy: { Attempts: 1, Interval: 1e9, Delay: 1e9, Mode: "fail", RenderTemplates: false },
    restartOnSuccess: true,
    killTimeoutNs: 5e9,
    shutdownDelayNs: 0,
  }, 1000);

test("openSqliteState gives back what was put, after it was opened again", () =>
  withDir(async (dir) => {
    const first = await openSqliteState(dir, silentLogger);
    assert.deepEqual(await first.load(), { allocations: [], meta: {}, servers: [] });
    const alloc = makeAllocation();
    const other = makeAllocation();
    const handle = { driver: "fake", id: "x", state: { pid: 7 } };
    first.putAllocation(alloc, null);
    first.putTask(alloc.ID, "web", { machine: machine(), handle: null, templateEnv: {} });
    first.putTask(alloc.ID, "web", { machine: machine(), handle, templateEnv: { A: "1" } });
    first.putAllocation(other, null);
    first.putAllocation(alloc, { Healthy: true, Timestamp: "t" });
    first.putMeta({ rack: "r1", gone: null });
    first.putServers(["a:1"]);
    first.putServers(["a:1", "b:1"]);
    await first.flush();
    first.removeAllocation(other.ID);
    await first.flush();
    await first.close();

    const second = await openSqliteState(dir, silentLogger);
    const loaded = await second.load();
    await second.close();
    assert.equal(loaded.allocations.length, 1);
    const stored = loaded.allocations[0]!;
    assert.deepEqual(stored.alloc, alloc);
    assert.deepEqual(stored.health, { Healthy: true, Timestamp: "t" });
    assert.deepEqual(stored.tasks.web, { machine: machine(), handle, templateEnv: { A: "1" } });
    assert.deepEqual(loaded.meta, { rack: "r1", gone: null });
    assert.deepEqual(loaded.servers, ["a:1", "b:1"]);
  }));

test("openSqliteState refuses a directory that another agent uses", () =>
  withDir(async (dir) => {
    const stat = await readFile("/proc/1/stat", "utf8");
    const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    await writeFile(join(dir, "client.lock"), `1 ${ticks}`);
    await assert.rejects(openSqliteState(dir, silentLogger), /the agent with pid 1 uses it/);
    await writeFile(join(dir, "client.lock"), "1 12345678901");
    const state = await openSqliteState(dir, silentLogger);
    assert.deepEqual((await state.load()).allocations, []);
    await state.close();
  }));

test("openSqliteState takes over from an agent that was killed and that nobody reaped", () =>
  withDir(async (dir) => {
    // The child of a process that does not wait for it stays a zombie.
    const parent = spawn("/bin/sh", ["-c", "sleep 0.01 & echo $!; exec sleep 60"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    try {
      const [line] = await once(parent.stdout!, "data") as [Buffer];
      const pid = String(line).trim();
      let fields: string[];
      do {
        const stat = await readFile(`/proc/${pid}/stat`, "utf8");
        fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      } while (fields[0] !== "Z");
      await writeFile(join(dir, "client.lock"), `${pid} ${fields[19]}`);
      const state = await openSqliteState(dir, silentLogger);
      await state.close();
    } finally {
      parent.kill("SIGKILL");
    }
  }));
