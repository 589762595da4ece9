// The device's agent is killed with SIGKILL at awkward moments: every task runs exactly once afterwards.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { AllocDelta } from "../../core/protocol.ts";
import { FakeServer } from "./fake_server.ts";
import { makeGroup, makeJob, makeTask, place } from "./fixtures.ts";

/** Several agents start one after the other on a busy machine. */
const LONG = { timeout: 60_000 };
const MAIN = new URL("./device_main.ts", import.meta.url).pathname;

function startDevice(dir: string, server: FakeServer): ChildProcess {
  const run = process.execPath.includes("deno") ? ["run", "-A", "--no-check"] : [];
  const child = spawn(process.execPath, [...run, MAIN, dir, server.address], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}

/** Processes that are `sleep mark`; with `all` the driver's wrappers and what is about to become it, too. */
async function processes(mark: string, all = false): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (all ? line.includes(`\0${mark}\0`) : line === `/bin/sleep\0${mark}\0`) found.push(Number(pid));
  }
  return found;
}

/** Ends everything that holds a mark, until nothing does. */
async function sweep(marks: string[]): Promise<void> {
  for (let round = 0; round < 50; round++) {
    const left = (await Promise.all(marks.map((mark) => processes(mark, true)))).flat();
    if (left.length === 0) return;
    for (const pid of left) {
      try {
        process.kill(pid, "SIGKILL");
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, "ESRCH");
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

interface Fleet {
  dir: string;
  server: FakeServer;
  jobs: { mark: string; id: string; delta: AllocDelta }[];
  /** Processes of all jobs; waits until there are as many as jobs, and gives up after a while. */
  pids(): Promise<number[]>;
  start(): void;
  kill(): Promise<void>;
}

/** A server that hands out `count` jobs to every device that says hello, and an agent that can be killed. */
async function withFleet(count: number, run: (fleet: Fleet) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "kill-"));
  const jobs = Array.from({ length: count }, (_, i) => {
    // A length of sleep nobody else uses marks the process.
    const mark = `86${process.pid}.${Math.floor(Math.random() * 1e6)}`;
    const task = makeTask({
      Driver: "raw_exec",
      Config: { command: "/bin/sleep", args: [mark] },
      KillTimeout: 1e9,
    });
    const { id, ...delta } = place(makeJob(makeGroup([task]), { ID: `job${i}` }));
    return { mark, id, delta };
  });
  const server = new FakeServer({
    delta: () => ({
      index: 1,
      jobs: Object.fromEntries(jobs.map(({ delta }, i) => [`j${i}`, delta.jobs.job!])),
      resources: jobs.map(({ delta }) => delta.resources[0]!),
      upserts: jobs.map(({ delta }, i) => ({ ...delta.upserts[0]!, job: `j${i}`, resources: i })),
      removed: [],
    }),
  });
  await server.start();
  const find = async () => (await Promise.all(jobs.map((job) => processes(job.mark)))).flat();
  let agent: ChildProcess | undefined;
  const fleet: Fleet = {
    dir,
    server,
    jobs,
    async pids() {
      let found = await find();
      // A wrapper that just started is not yet the task itself.
      for (let i = 0; found.length < count && i < 100; i++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        found = await find();
      }
      return found;
    },
    start: () => agent = startDevice(dir, server),
    async kill() {
      if (agent) await end(agent);
      agent = undefined;
      server.updates.clear();
    },
  };
  try {
    await run(fleet);
  } finally {
    await fleet.kill();
    await sweep(jobs.map((job) => job.mark));
    await server.stop();
    await rm(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
}

test(
  "tasks survive SIGKILL of the agent: the same processes, and their ends are reported",
  LONG,
  () =>
    withFleet(3, async ({ server, jobs, pids, start, kill }) => {
      start();
      // What servers know, the device knows after any death: killed the moment the last one is reported.
      for (const job of jobs) await server.status(job.id, "running");
      const before = await pids();
      assert.equal(before.length, jobs.length);
      await kill();
      start();
      for (const job of jobs) await server.status(job.id, "running");
      assert.deepEqual(await pids(), before);
      await kill();
      process.kill(before[0]!, "SIGTERM");
      start();
      const restarted = () => server.updates.get(jobs[0]!.id)?.TaskStates?.web?.Restarts === 1;
      await server.until(restarted, "restart", 15_000);
      const { Events } = server.updates.get(jobs[0]!.id)!.TaskStates!.web!;
      assert.equal(Events.find((e) => e.Type === "Terminated")!.DisplayMessage, "Exit Code: 143, Signal: 15");
    }),
);

test(
  "tasks run once each although the agent was killed in the middle of their starts",
  LONG,
  () =>
    withFleet(6, async ({ server, jobs, pids, start, kill }) => {
      for (const afterMs of [0, 25]) {
        const hellos = server.hellos.length;
        start();
        await server.until(() => server.hellos.length > hellos, "hello", 15_000);
        await new Promise((resolve) => setTimeout(resolve, afterMs));
        await kill();
      }
      start();
      for (const job of jobs) await server.status(job.id, "running");
      await pids();
      for (const job of jobs) assert.equal((await processes(job.mark)).length, 1, `processes of ${job.mark}`);
    }),
);
