// raw_exec against what hosts differ in and what goes wrong on them: no cgroups, no exact shell, no split; users, denied
// ids; processes that leave the tree, a killed wrapper, a killed log writer.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../../core/logger.ts";
import {
  cgroupPids,
  findCgroupMounts,
  findControllerMount,
  makeCgroup,
  removeCgroup,
} from "../../drivers/cgroup.ts";
import type { TaskHandle } from "../../drivers/driver.ts";
import { isAlive, listProcesses, readArguments, readStat } from "../../drivers/proc.ts";
import { killTree } from "../../drivers/process_tree.ts";
import { RawExecDriver, type RawExecOptions } from "../../drivers/raw_exec.ts";
import { createDrivers } from "../../drivers/registry.ts";
import { eventually, makePlace, PATIENCE, type Place, sleep, wait } from "./fixture.ts";

function make(change: Partial<RawExecOptions> = {}): RawExecDriver {
  const no = () => false;
  const base = {
    enabled: true,
    deniedUid: no,
    deniedGid: no,
    deniedEnv: [],
    cgroupParent: "nomad",
    log: silentLogger,
  };
  return new RawExecDriver({ ...base, ...change });
}

const shell = (text: string) => ({ command: "/bin/sh", args: ["-c", text] });
const KILL = { killSignal: "SIGKILL", timeoutMs: 1000 };

/** Starts a script and waits for its line "ready <pids>". */
async function begin(
  driver: RawExecDriver,
  place: Place,
  text: string,
): Promise<{ handle: TaskHandle; pids: number[] }> {
  const handle = await driver.start(place.spec(shell(text)), () => undefined);
  await eventually("the script begins", () => /ready.*\n/.test(place.log("stdout")));
  const pids = /ready(.*)\n/.exec(place.log("stdout"))![1]!.trim().split(" ").filter((word) => word !== "")
    .map(Number);
  return { handle, pids };
}

const gone = (pid: number) => !isAlive(readStat(pid));

// A daemon as they are made: a session of its own, its parent gone.
const DAEMON =
  'setsid sh -c \'trap "" TERM; echo $$ >"$1"; while :; do sleep 0.1; done\' sh local/daemon.pid & ' +
  "while [ ! -s local/daemon.pid ]; do sleep 0.02; done; echo ready $(cat local/daemon.pid); ";

for (const [how, parent] of [["with a cgroup", "nomad"], ["by environment and ancestors", ""]] as const) {
  test(`raw_exec stop kills processes that left the session, ${how}`, PATIENCE, async () => {
    const place = makePlace();
    const driver = make({ cgroupParent: parent });
    const { handle, pids } = await begin(driver, place, DAEMON + "while :; do sleep 0.1; done");
    assert.equal(pids.length, 1);
    assert.equal(handle.state["cgroup"] !== "", parent !== "", "this host lets us make cgroups");
    assert.ok(!gone(pids[0]!));
    await driver.stop(handle, { killSignal: "SIGTERM", timeoutMs: 300 });
    assert.ok(gone(pids[0]!), "the daemon is dead");
    await driver.destroy(handle);
    place.remove();
  });

  test(`raw_exec destroy kills what a task that ended left behind, ${how}`, PATIENCE, async () => {
    const place = makePlace();
    const driver = make({ cgroupParent: parent });
    const { handle, pids } = await begin(driver, place, DAEMON + "exit 3");
    assert.equal((await wait(driver, handle)).exitCode, 3);
    assert.ok(!gone(pids[0]!));
    await driver.destroy(handle);
    assert.ok(gone(pids[0]!), "the daemon is dead");
    assert.ok(!existsSync(String(handle.state["runDir"])), "the run directory is gone");
    if (parent !== "") assert.ok(!existsSync(String(handle.state["cgroup"])), "the cgroup is gone");
    place.remove();
  });
}

test(
  "raw_exec tells the main process alone to stop, and kills its children when it is gone",
  PATIENCE,
  async () => {
    const place = makePlace();
    const driver = make();
    const child = `sh -c 'trap "echo child told" TERM; echo up >local/up; while :; do sleep 0.02; done' & `;
    const { handle } = await begin(
      driver,
      place,
      child +
        "trap 'echo main told; sleep 0.3; exit 9' TERM; while [ ! -s local/up ]; do sleep 0.02; done; " +
        "echo ready $!; while :; do sleep 0.02; done",
    );
    const pid = Number(/ready (\d+)/.exec(place.log("stdout"))![1]);
    assert.ok(!gone(pid));
    await driver.stop(handle, { killSignal: "SIGTERM", timeoutMs: 20_000 });
    assert.equal((await wait(driver, handle)).exitCode, 9);
    assert.ok(gone(pid), "the child is dead");
    assert.match(place.log("stdout"), /main told/);
    assert.doesNotMatch(place.log("stdout"), /child told/);
    await driver.destroy(handle);
    place.remove();
  },
);

test("raw_exec refuses files that the kernel cannot execute", PATIENCE, async () => {
  const place = makePlace();
  const driver = make();
  const foreign = Buffer.alloc(64);
  foreign.write("\x7fELF", "latin1");
  foreign.writeUInt16LE(0x16, 18);
  for (const [name, content] of [["plain", Buffer.from("echo junk\n")], ["foreign", foreign]] as const) {
    const path = join(place.spec({ command: "x" }).taskDir, name);
    writeFileSync(path, content, { mode: 0o755 });
    await assert.rejects(driver.start(place.spec({ command: path }), () => undefined), /exec format error/);
  }
  place.remove();
});

test(
  "raw_exec leaves the wrapper's and log writers' work to the end when it stops a task",
  PATIENCE,
  async () => {
    const place = makePlace();
    const driver = make();
    const { handle } = await begin(
      driver,
      place,
      "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.02; done",
    );
    await driver.stop(handle, { killSignal: "SIGTERM", timeoutMs: 20_000 });
    assert.equal((await wait(driver, handle)).exitCode, 9);
    assert.equal(place.log("stdout"), "ready\nbye\n");
    await driver.destroy(handle);
    const left = listProcesses().filter(({ pid }) =>
      readArguments(pid).some((word) => word.startsWith(place.root))
    );
    assert.deepEqual(left, [], "neither wrapper nor writers stay");
    place.remove();
  },
);

test("raw_exec takes signal numbers from exit codes where the shell tells no more", PATIENCE, async () => {
  const place = makePlace();
  const driver = make({ tools: { exact: false } });
  for (
    const [text, exitCode, signal] of [["exit 5", 5, 0], ["kill -TERM $$", 143, 15], [
      "kill -INT $$",
      130,
      2,
    ]] as const
  ) {
    const handle = await driver.start(place.spec(shell(text)), () => undefined);
    assert.deepEqual(await wait(driver, handle), { exitCode, signal, oomKilled: false });
    await driver.destroy(handle);
  }
  const sleeping = await driver.start(place.spec({ command: "/bin/sleep", args: ["3600"] }), () => undefined);
  await driver.stop(sleeping, { killSignal: "SIGINT", timeoutMs: 30_000 });
  assert.equal((await wait(driver, sleeping)).signal, 2);
  await driver.destroy(sleeping);
  place.remove();
});

test("raw_exec rotates exactly where there is no split", PATIENCE, async () => {
  const place = makePlace({ fileSizeMaxBytes: 700, filesMax: 100 });
  const driver = make({ tools: { split: null } });
  const text = 'i=100; while [ $i -lt 400 ]; do echo "line $i"; i=$((i+1)); done; echo oops >&2';
  const handle = await driver.start(place.spec(shell(text)), () => undefined);
  await wait(driver, handle);
  await driver.destroy(handle);
  assert.equal(place.log("stdout"), Array.from({ length: 300 }, (_, i) => `line ${i + 100}\n`).join(""));
  assert.deepEqual(place.logBytes("stdout").map((bytes) => bytes.length), [700, 700, 700, 600]);
  assert.equal(place.log("stderr"), "oops\n");
  place.remove();
});

test("raw_exec puts a log writer that died back in its place", PATIENCE, async () => {
  const place = makePlace();
  const driver = make();
  const { handle } = await begin(
    driver,
    place,
    "echo ready; while [ ! -e local/go ]; do sleep 0.02; done; echo after; sleep 0.3; exit 2",
  );
  const runDir = String(handle.state["runDir"]);
  const [first = 0] = readFileSync(join(runDir, "loggers"), "utf8").split(" ").map(Number);
  process.kill(first, "SIGKILL");
  await eventually(
    "a new writer",
    () => Number(readFileSync(join(runDir, "loggers"), "utf8").split(" ")[0]) !== first,
  );
  writeFileSync(join(place.root, "web", "local", "go"), "");
  assert.equal((await wait(driver, handle)).exitCode, 2, "the task never noticed");
  assert.equal(place.log("stdout"), "ready\nafter\n");
  await driver.destroy(handle);
  place.remove();
});

test(
  "raw_exec says that it does not know when its wrapper was killed, and still kills the tree",
  PATIENCE,
  async () => {
    const place = makePlace();
    const driver = make();
    const { handle, pids } = await begin(driver, place, "echo ready $$; while :; do sleep 0.1; done");
    process.kill(Number(handle.state["pid"]), "SIGKILL");
    const result = await wait(driver, handle);
    assert.equal(result.exitCode, -1);
    assert.match(result.error ?? "", /was killed/);
    assert.ok(!gone(pids[0]!));
    await driver.destroy(handle);
    assert.ok(gone(pids[0]!));
    assert.equal(await make().recover(handle), false, "nothing is left to recover");
    place.remove();
  },
);

test("raw_exec recover refuses a pid that another process has now", PATIENCE, async () => {
  const place = makePlace();
  const driver = make();
  const { handle } = await begin(driver, place, "echo ready; while :; do sleep 0.1; done");
  const stranger = { ...handle, id: "other", state: { ...handle.state, startTicks: 1 } };
  assert.equal(await make().recover(stranger), false);
  const otherBoot = { ...handle, id: "boot", state: { ...handle.state, bootId: "another" } };
  assert.equal(await make().recover(otherBoot), false);
  await driver.stop(handle, KILL);
  await driver.destroy(handle);
  place.remove();
});

test("raw_exec passes every environment name and value on", PATIENCE, async () => {
  const place = makePlace();
  const driver = make({ deniedEnv: ["AWS_*", "*_TOKEN"] });
  const env = {
    PATH: "/usr/bin:/bin",
    "dotted.name-x": 'it\'s "odd"\nand long',
    LD_DEBUG_OUTPUT: "x",
    IFS: "ab",
    AWS_KEY: "secret",
    VAULT_TOKEN: "secret",
    PWD: "/mine",
  };
  const spec = place.spec({ command: "/usr/bin/env", args: ["-0"] });
  const handle = await driver.start({ ...spec, env }, () => undefined);
  assert.equal((await wait(driver, handle)).exitCode, 0);
  const { AWS_KEY: _a, VAULT_TOKEN: _b, ...expected } = env;
  const seen = Object.fromEntries(
    place.log("stdout").split("\0").filter((entry) => entry !== "").map((
      entry,
    ) => [entry.split("=", 1)[0]!, entry.slice(entry.indexOf("=") + 1)]),
  );
  assert.deepEqual(seen, expected);
  const wrapper = readdirSync(String(handle.state["runDir"]));
  assert.ok(wrapper.includes("env"));
  await driver.destroy(handle);
  place.remove();
});

test("raw_exec runs as another user and refuses denied ones", PATIENCE, async () => {
  assert.equal(process.getuid?.(), 0, "these tests run as root, as the agent does");
  const place = makePlace();
  chmodSync(place.root, 0o755);
  const handle = await make().start({ ...place.spec({ command: "id" }), user: "nobody" }, () => undefined);
  const driver = make();
  await wait(driver, handle);
  assert.match(place.log("stdout"), /^uid=65534\(nobody\) gid=65534\(nogroup\)/);
  await driver.destroy(handle);
  const deny = createDrivers({ raw_exec: { enabled: true, denied_host_uids: "1-10,65534" } }).get(
    "raw_exec",
  )!;
  const start = (user: string) => deny.start({ ...place.spec({ command: "id" }), user }, () => undefined);
  await assert.rejects(start("nobody"), /uid 65534 \("nobody"\) is denied on this client/);
  await assert.rejects(start("no-such-user"), /this host has no such user/);
  place.remove();
});

test("raw_exec carries out work_dir, oom_score_adj and cgroup_v2_override", PATIENCE, async () => {
  const place = makePlace();
  const driver = make();
  const dir = join(place.root, "else where");
  mkdirSync(dir);
  const text = "pwd; cat /proc/self/oom_score_adj; grep ^0:: /proc/self/cgroup";
  const mount = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/mounts", "utf8"))?.[1];
  assert.ok(mount, "this host mounts the unified hierarchy");
  const group = join(mount, `override-${process.pid}`);
  mkdirSync(group);
  const config = { ...shell(text), work_dir: dir, oom_score_adj: 17, cgroup_v2_override: group };
  const handle = await driver.start(place.spec(config), () => undefined);
  assert.equal((await wait(driver, handle)).exitCode, 0, place.log("stderr"));
  assert.equal(place.log("stdout"), `${dir}\n17\n0::/override-${process.pid}\n`);
  await driver.destroy(handle);
  rmdirSync(group);
  const missing = { ...shell(text), cgroup_v2_override: "no-such-group" };
  await assert.rejects(driver.start(place.spec(missing), () => undefined), /no such cgroup/);
  place.remove();
});

test(
  "raw_exec carries out cgroup_v1_override, or says that this host has no such controller",
  PATIENCE,
  async () => {
    const place = makePlace();
    const driver = make();
    const mount = findControllerMount(readFileSync("/proc/mounts", "utf8"), "pids");
    const name = `override-v1-${process.pid}`;
    const config = { ...shell("grep :pids: /proc/self/cgroup"), cgroup_v1_override: [{ pids: name }] };
    if (mount === null) {
      const message = /this host mounts no v1 controller "pids"/;
      await assert.rejects(driver.start(place.spec(config), () => undefined), message);
    } else {
      mkdirSync(join(mount, name));
      const handle = await driver.start(place.spec(config), () => undefined);
      await wait(driver, handle);
      assert.match(place.log("stdout"), new RegExp(`:pids:/${name}\n`));
      await driver.destroy(handle);
      rmdirSync(join(mount, name));
    }
    place.remove();
  },
);

test("killTree ends a v1 group by freezing it first, and does without cgroup.kill", PATIENCE, async () => {
  const mounts = findCgroupMounts(readFileSync("/proc/mounts", "utf8"));
  assert.ok(mounts.length > 0, "this host has cgroups");
  // The last is v1's freezer where there is one; on a host with v2 alone, the same is tried there.
  const cgroup = join(mounts.at(-1)!.path, `kill-test-${process.pid}`);
  assert.ok(makeCgroup(cgroup));
  const text = 'echo 0 >"$0"/cgroup.procs; setsid sleep 3600 & setsid sleep 3600 & exec sleep 3600';
  const child = spawn("/bin/sh", ["-c", text, cgroup], { stdio: "ignore" });
  await eventually("three processes in the group", () => cgroupPids(cgroup).length === 3);
  const tree = { cgroup, mainPid: child.pid!, marker: "", sinceTicks: 0, spared: [] };
  assert.equal(killTree(tree), 3);
  await eventually("the group is empty", () => killTree(tree) === 0 && removeCgroup(cgroup));
});

test("raw_exec finds commands in local/, then the task's directory, then PATH", PATIENCE, async () => {
  const place = makePlace();
  const driver = make();
  const write = (path: string, text: string, mode = 0o755) => {
    writeFileSync(join(place.root, "web", path), `#!/bin/sh\necho ${text}\n`);
    chmodSync(join(place.root, "web", path), mode);
  };
  write("id", "from its directory");
  write("plain=text", "not to run", 0o644);
  const run = async (command: string) => {
    const handle = await driver.start(place.spec({ command }), () => undefined);
    await wait(driver, handle);
    await driver.destroy(handle);
  };
  await run("id");
  write("local/id", "from local");
  await run("id");
  await run("local/id");
  assert.equal(place.log("stdout"), "from its directory\nfrom local\nfrom local\n");
  await assert.rejects(run("plain=text"), /it is not an executable file/);
  await assert.rejects(run("no-such-command"), /no such file in the task's local/);
  place.remove();
});

test("raw_exec that is disabled says so and starts nothing", PATIENCE, async () => {
  const place = makePlace();
  const driver = createDrivers({}).get("raw_exec")!;
  const found = await driver.fingerprint();
  assert.deepEqual([found.detected, found.healthy, found.description], [false, false, "disabled"]);
  await assert.rejects(
    driver.start(place.spec(shell("exit 0")), () => undefined),
    /raw_exec is disabled on this client/,
  );
  place.remove();
});

test("raw_exec start leaves nothing behind when the process cannot be made", PATIENCE, async () => {
  const place = makePlace();
  const driver = make({ tools: { shell: ["/no/such/shell"] } });
  await assert.rejects(driver.start(place.spec(shell("exit 0")), () => undefined), { name: "DriverError" });
  await sleep(50);
  const left = readdirSync(join(place.root, "alloc", "logs")).filter((name) => name.startsWith("."));
  assert.deepEqual(left, []);
  place.remove();
});

test("raw_exec stop right after start meets the task, not the steps before it", PATIENCE, async () => {
  const place = makePlace();
  const driver = make();
  for (let i = 0; i < 5; i++) {
    const handle = await driver.start(place.spec({ command: "/bin/sleep", args: ["3600"] }), () => undefined);
    await driver.stop(handle, { killSignal: "SIGINT", timeoutMs: 60_000 });
    assert.deepEqual(await wait(driver, handle), { exitCode: 130, signal: 2, oomKilled: false });
    await driver.destroy(handle);
  }
  place.remove();
});

test("raw_exec binds a task with whole cores to them, and says so where it cannot", PATIENCE, async () => {
  const place = makePlace();
  const resources = { cpuMhz: 100, memoryMb: 64, memoryMaxMb: 0, cores: [0] };
  const spec = () => place.spec(shell("grep Cpus_allowed_list /proc/self/status"), { resources });
  try {
    const driver = make();
    const handle = await driver.start(spec(), () => undefined);
    assert.equal((await wait(driver, handle)).exitCode, 0);
    assert.equal(place.log("stdout"), "Cpus_allowed_list:\t0\n");
    await driver.destroy(handle);
    await assert.rejects(
      make({ tools: { taskset: null } }).start(spec(), () => undefined),
      /taskset is missing/,
    );
  } finally {
    place.remove();
  }
});
