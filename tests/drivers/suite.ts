// The one suite of all drivers: what the client relies on, in the terms of drivers/driver.ts. A subject says how its
// driver is told to run, exit, print … ; drivers with real processes get the tests of signals, trees and exec too.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Driver, ExitResult, TaskHandle } from "../../drivers/driver.ts";
import { createDrivers, type PluginConfig } from "../../drivers/registry.ts";
import { eventually, makePlace, PATIENCE, type Place, sleep, startElsewhere, wait } from "./fixture.ts";

export interface Subject {
  /** Name of the driver. */
  name: string;
  plugins: () => PluginConfig;
  /** Before every test; does its work once. */
  setUp?: () => Promise<void>;
  tearDown?: () => Promise<void>;
  /** False: the driver knows only the code, 128 + the signal's number. */
  tellsSignals?: boolean;
  /** How a task that obeys SIGTERM ends, where not by the signal. */
  stopped?: ExitResult;
  config: {
    runsFor(seconds: number): Record<string, unknown>;
    exits(code: number): Record<string, unknown>;
    diesBy(signal: number): Record<string, unknown>;
    prints(stdout: string, stderr: string): Record<string, unknown>;
    /** Writes "tick\n" `count` times, one every 20 ms. */
    ticks(count: number): Record<string, unknown>;
    /** Does not end by its kill signal. */
    stubborn(): Record<string, unknown>;
    /** The two above print this once their answer to signals stands; "" where that is from the start. */
    ready: { runsFor: string; stubborn: string };
    /** Cannot be started. */
    fails(): Record<string, unknown>;
    /** A misspelt key, and the right one. */
    misspelt: { config: Record<string, unknown>; meant: string };
    wrongType: Record<string, unknown>;
    /** Runs a shell script; null where there are no processes. */
    script: ((text: string) => Record<string, unknown>) | null;
  };
}

/** A task is started before its shell has read the first line: a signal sent too early finds no answer to it. */
async function saysReady(place: Place, word: string): Promise<void> {
  if (word !== "") await eventually("the task's own word", () => place.log("stdout").includes(word));
}

export function driverSuite(subject: Subject): void {
  const { name, config } = subject;
  const told = (signal: number) => subject.tellsSignals === false ? 0 : signal;
  const it = (what: string, run: (driver: Driver, place: Place) => Promise<void>) => {
    test(`${name} ${what}`, PATIENCE, async () => {
      await subject.setUp?.();
      const place = makePlace();
      const driver = createDrivers(subject.plugins()).get(name)!;
      const begun: TaskHandle[] = [];
      const start = driver.start.bind(driver);
      driver.start = async (spec, onEvent) => {
        const handle = await start(spec, onEvent);
        begun.push(handle);
        return handle;
      };
      try {
        await run(driver, place);
      } catch (error) {
        // A failed test leaves nothing running either.
        await Promise.allSettled(begun.map((handle) => driver.destroy(handle)));
        throw error;
      } finally {
        place.remove();
      }
    });
  };
  after(async () => await subject.tearDown?.());

  it("is detected, healthy and says so in its attributes", async (driver) => {
    const found = await driver.fingerprint();
    assert.deepEqual([found.detected, found.healthy, found.description], [true, true, "Healthy"]);
    assert.equal(found.attributes[`driver.${name}`], "true");
  });

  it("tells the exit code of a task that ends by itself", async (driver, place) => {
    for (const code of [0, 3, 143]) {
      const handle = await driver.start(place.spec(config.exits(code)), () => undefined);
      assert.deepEqual(await wait(driver, handle), { exitCode: code, signal: 0, oomKilled: false });
      // Any number of times, also after the end.
      assert.equal((await wait(driver, handle)).exitCode, code);
      await driver.destroy(handle);
    }
  });

  it("tells the signal of a task that died by one", async (driver, place) => {
    for (const signal of [9, 11]) {
      const handle = await driver.start(place.spec(config.diesBy(signal)), () => undefined);
      assert.deepEqual(await wait(driver, handle), {
        exitCode: 128 + signal,
        signal: told(signal),
        oomKilled: false,
      });
      await driver.destroy(handle);
    }
  });

  it("writes output to <task>.<stream>.0", async (driver, place) => {
    const handle = await driver.start(
      place.spec(config.prints("to stdout\n", "to stderr\n")),
      () => undefined,
    );
    await wait(driver, handle);
    assert.equal(place.log("stdout"), "to stdout\n");
    assert.equal(place.log("stderr"), "to stderr\n");
    await driver.destroy(handle);
    assert.equal(place.log("stdout"), "to stdout\n", "destroy leaves the logs");
  });

  it("goes on in the log files of an earlier start", async (driver) => {
    const place = makePlace({ fileSizeMaxBytes: 16 });
    for (const text of ["first\n", "second\n", "third\n"]) {
      const handle = await driver.start(place.spec(config.prints(text, "")), () => undefined);
      await wait(driver, handle);
      await driver.destroy(handle);
    }
    const files = place.logBytes("stdout").map((bytes) => new TextDecoder().decode(bytes));
    assert.deepEqual(files, ["first\nsecond\nthi", "rd\n"]);
    place.remove();
  });

  it("stops by the kill signal before the timeout", async (driver, place) => {
    const handle = await driver.start(place.spec(config.runsFor(3600)), () => undefined);
    await saysReady(place, config.ready.runsFor);
    const begun = performance.now();
    await driver.stop(handle, { killSignal: "SIGTERM", timeoutMs: 60_000 });
    assert.ok(performance.now() - begun < 30_000, "long before the timeout");
    assert.deepEqual(
      await wait(driver, handle),
      subject.stopped ?? { exitCode: 143, signal: told(15), oomKilled: false },
    );
    await driver.destroy(handle);
  });

  it("kills what does not obey when the timeout is over", async (driver, place) => {
    const handle = await driver.start(place.spec(config.stubborn()), () => undefined);
    await saysReady(place, config.ready.stubborn);
    const begun = performance.now();
    await driver.stop(handle, { killSignal: "SIGTERM", timeoutMs: 1000 });
    assert.ok(performance.now() - begun >= 950, "not before the timeout");
    assert.deepEqual(await wait(driver, handle), { exitCode: 137, signal: told(9), oomKilled: false });
    await driver.destroy(handle);
  });

  it("rejects a wait that is aborted and keeps the task", async (driver, place) => {
    const handle = await driver.start(place.spec(config.runsFor(3600)), () => undefined);
    const abort = new AbortController();
    const waiting = driver.wait(handle, abort.signal);
    abort.abort();
    await assert.rejects(waiting, { name: "DriverError" });
    assert.ok((await driver.usage(handle)).timestampMs > 0);
    await driver.stop(handle, { killSignal: "SIGKILL", timeoutMs: 5000 });
    await driver.destroy(handle);
  });

  it("refuses a wrong config with the key and what was meant", async (driver, place) => {
    const errors = driver.validate(config.misspelt.config);
    assert.ok(
      errors.some((error) => error.includes(`did you mean "${config.misspelt.meant}"?`)),
      errors.join("\n"),
    );
    assert.equal(driver.validate(config.wrongType).length, 1);
    assert.deepEqual(driver.validate(config.runsFor(1)), []);
    await assert.rejects(driver.start(place.spec(config.wrongType), () => undefined), {
      name: "DriverError",
    });
  });

  it("rejects a start that cannot be", async (driver, place) => {
    await assert.rejects(driver.start(place.spec(config.fails()), () => undefined), { name: "DriverError" });
  });

  it("refuses signals that do not exist", async (driver, place) => {
    const handle = await driver.start(place.spec(config.runsFor(3600)), () => undefined);
    await assert.rejects(driver.signal(handle, "SIGNOPE"), { name: "DriverError" });
    await driver.stop(handle, { killSignal: "SIGKILL", timeoutMs: 5000 });
    await driver.destroy(handle);
  });

  test(
    `${name} recovers a running task after kill -9 of its parent, output and exit code included`,
    PATIENCE,
    async () => {
      await subject.setUp?.();
      const place = makePlace({ fileSizeMaxBytes: 64, filesMax: 100 });
      const spec = place.spec(config.ticks(100));
      const elsewhere = await startElsewhere(name, subject.plugins(), spec);
      await eventually("some output", () => place.log("stdout").length > 20);
      await elsewhere.kill();
      await sleep(300);
      const driver = createDrivers(subject.plugins()).get(name)!;
      assert.equal(await driver.recover(elsewhere.handle), true);
      assert.deepEqual(await wait(driver, elsewhere.handle), { exitCode: 0, signal: 0, oomKilled: false });
      assert.equal(place.log("stdout"), "tick\n".repeat(100));
      const sizes = place.logBytes("stdout").map((bytes) => bytes.length);
      assert.deepEqual(new Set(sizes.slice(0, -1)), new Set([64]), "every file but the last is exactly full");
      await driver.destroy(elsewhere.handle);
      place.remove();
    },
  );

  test(`${name} knows the exit code of a task that ended while nobody was there`, PATIENCE, async () => {
    await subject.setUp?.();
    const place = makePlace();
    const elsewhere = await startElsewhere(name, subject.plugins(), place.spec(config.ticks(25)));
    await elsewhere.kill();
    await sleep(1500);
    const driver = createDrivers(subject.plugins()).get(name)!;
    assert.equal(await driver.recover(elsewhere.handle), true);
    assert.deepEqual(await wait(driver, elsewhere.handle), { exitCode: 0, signal: 0, oomKilled: false });
    assert.equal(place.log("stdout"), "tick\n".repeat(25));
    await driver.destroy(elsewhere.handle);
    place.remove();
  });

  test(
    `${name} recovers a task whose handle nobody lived to store, and else leaves nothing`,
    PATIENCE,
    async () => {
      await subject.setUp?.();
      const place = makePlace();
      const spec = place.spec(config.ticks(50));
      const elsewhere = await startElsewhere(name, subject.plugins(), spec);
      await elsewhere.kill();
      const driver = createDrivers(subject.plugins()).get(name)!;
      // What the client stores before a start.
      const starting = (id: string): TaskHandle => ({
        driver: name,
        id,
        state: { starting: true, logsDir: spec.logs.dir, taskDir: spec.taskDir },
      });
      const handle = starting(spec.id);
      assert.equal(await driver.recover(handle), config.script !== null);
      if (config.script !== null) {
        assert.equal(handle.state["starting"], undefined, "the handle is whole now");
        assert.deepEqual(await wait(driver, handle), { exitCode: 0, signal: 0, oomKilled: false });
        assert.equal(place.log("stdout"), "tick\n".repeat(50));
        await driver.destroy(handle);
      }
      const never = starting(place.spec({}).id);
      assert.equal(await driver.recover(never), false);
      await driver.stop(never, { killSignal: "SIGTERM", timeoutMs: 10 });
      await driver.destroy(never);
      place.remove();
    },
  );

  if (config.script === null) return;
  const { script } = config;
  processTests(it, script);

  test(`${name} rotates exactly, hundreds of files, while nobody is there`, PATIENCE, async () => {
    await subject.setUp?.();
    const place = makePlace({ fileSizeMaxBytes: 3000, filesMax: 100_000 });
    const count = 20_000;
    const text = `i=0; while [ $i -lt ${count} ]; do echo "line $i of a task alone"; i=$((i+1)); ` +
      `if [ $i = 2000 ]; then while [ ! -e "$GO" ]; do sleep 0.02; done; fi; done; echo end >&2; exit 4`;
    // Podman's tasks see the shared directory under another name.
    const go = (dir: string) => `${dir}/data/go`;
    const inside = subject.name === "podman" ? "/alloc" : join(place.root, "alloc");
    const spec = place.spec(script(text), { env: { PATH: "/usr/bin:/bin", GO: go(inside) } });
    const elsewhere = await startElsewhere(name, subject.plugins(), spec);
    await eventually("some files", () => place.logBytes("stdout").length > 5);
    await elsewhere.kill();
    writeFileSync(go(join(place.root, "alloc")), "");
    await sleep(1500);
    const driver = createDrivers(subject.plugins()).get(name)!;
    assert.equal(await driver.recover(elsewhere.handle), true);
    assert.equal((await wait(driver, elsewhere.handle)).exitCode, 4);
    await driver.destroy(elsewhere.handle);
    const expected = Array.from({ length: count }, (_, i) => `line ${i} of a task alone\n`).join("");
    assert.ok(place.log("stdout") === expected, "every line once, in order");
    assert.equal(place.log("stderr"), "end\n");
    const sizes = place.logBytes("stdout").map((bytes) => bytes.length);
    assert.ok(sizes.length > 100);
    assert.deepEqual(new Set(sizes.slice(0, -1)), new Set([3000]));
    place.remove();
  });
}

/** For drivers that run real processes. */
function processTests(
  it: (what: string, run: (driver: Driver, place: Place) => Promise<void>) => void,
  script: (text: string) => Record<string, unknown>,
): void {
  const begin = async (driver: Driver, place: Place, text: string): Promise<TaskHandle> => {
    const handle = await driver.start(place.spec(script(text)), () => undefined);
    await eventually("the script begins", () => place.log("stdout").includes("ready"));
    return handle;
  };
  const end = async (driver: Driver, handle: TaskHandle) => {
    await driver.stop(handle, { killSignal: "SIGKILL", timeoutMs: 1000 });
    await driver.destroy(handle);
  };

  it("passes signals to the task", async (driver, place) => {
    const handle = await begin(
      driver,
      place,
      "trap 'echo got hup' HUP; trap 'echo got int; exit 7' INT; echo ready; while :; do sleep 0.05; done",
    );
    await driver.signal(handle, "SIGHUP");
    await eventually("the signal arrives", () => place.log("stdout").includes("got hup"));
    await driver.stop(handle, { killSignal: "SIGINT", timeoutMs: 20_000 });
    assert.deepEqual(await wait(driver, handle), { exitCode: 7, signal: 0, oomKilled: false });
    assert.equal(place.log("stdout"), "ready\ngot hup\ngot int\n");
    await assert.rejects(driver.signal(handle, "SIGHUP"), { name: "DriverError" });
    await driver.destroy(handle);
  });

  it("gives the task its environment and directory", async (driver, place) => {
    const handle = await begin(driver, place, 'echo "$GREETING"; pwd; echo ready');
    await wait(driver, handle);
    assert.ok(place.log("stdout").startsWith('it\'s "here"\n'), place.log("stdout"));
    await driver.destroy(handle);
  });

  it("measures memory, CPU and processes", async (driver, place) => {
    const handle = await begin(driver, place, "echo ready; while :; do :; done");
    const usage = await eventually("CPU time is counted", async () => {
      const now = await driver.usage(handle);
      return now.cpuUserNs + now.cpuSystemNs > 50e6 ? now : null;
    });
    assert.ok(usage.memoryRssBytes > 50_000, `rss ${usage.memoryRssBytes}`);
    assert.ok(usage.pids.length >= 1);
    await end(driver, handle);
  });

  it("runs commands in the task's context with pipes", async (driver, place) => {
    const handle = await begin(driver, place, "echo ready; while :; do sleep 0.1; done");
    const session = await driver.exec(handle, {
      command: ["/bin/sh", "-c", 'read line; echo "out $line $GREETING $MORE"; echo err >&2; exit 5'],
      tty: false,
      env: { MORE: "and more" },
    });
    const output = Promise.all([new Response(session.stdout).text(), new Response(session.stderr).text()]);
    const input = session.stdin.getWriter();
    await input.write(new TextEncoder().encode("hello\n"));
    await input.close();
    assert.deepEqual(await output, ['out hello it\'s "here" and more\n', "err\n"]);
    assert.equal(await session.exitCode, 5);
    await end(driver, handle);
  });

  it("runs commands on a terminal that can be resized", async (driver, place) => {
    const handle = await begin(driver, place, "echo ready; while :; do sleep 0.1; done");
    const session = await driver.exec(handle, {
      command: ["/bin/sh", "-c", "read line; stty size; tty >/dev/null && exit 6"],
      tty: true,
      env: place.spec({}).env,
    });
    const output = new Response(session.stdout).text();
    await sleep(300);
    await session.resize(101, 31);
    const input = session.stdin.getWriter();
    await input.write(new TextEncoder().encode("\n"));
    assert.match(await output, /31 101/);
    assert.equal(await session.exitCode, 6);
    await end(driver, handle);
  });

  it("kills an exec session", async (driver, place) => {
    const handle = await begin(driver, place, "echo ready; while :; do sleep 0.1; done");
    const session = await driver.exec(handle, {
      command: ["/bin/sh", "-c", "echo on; sleep 3600"],
      tty: false,
      env: place.spec({}).env,
    });
    const reader = session.stdout.getReader();
    assert.equal(new TextDecoder().decode((await reader.read()).value), "on\n");
    await session.kill();
    assert.notEqual(await session.exitCode, 0);
    await end(driver, handle);
  });

  it("loses and doubles no byte of a loud task over many files", async (driver) => {
    const place = makePlace({ fileSizeMaxBytes: 100_000, filesMax: 1000 });
    const count = 60_000;
    const text =
      `i=0; while [ $i -lt ${count} ]; do echo "line $i of the loud task"; i=$((i+1)); done; echo end >&2`;
    const handle = await driver.start(place.spec(script(text)), () => undefined);
    assert.equal((await wait(driver, handle)).exitCode, 0);
    const lines = place.log("stdout").split("\n");
    assert.equal(lines.length, count + 1);
    for (let i = 0; i < count; i++) assert.equal(lines[i], `line ${i} of the loud task`);
    const sizes = place.logBytes("stdout").map((bytes) => bytes.length);
    assert.ok(sizes.length > 10);
    assert.deepEqual(new Set(sizes.slice(0, -1)), new Set([100_000]));
    assert.equal(place.log("stderr"), "end\n");
    await driver.destroy(handle);
    place.remove();
  });

  it("keeps only the newest files", async (driver) => {
    const place = makePlace({ fileSizeMaxBytes: 1000, filesMax: 3 });
    const text = "i=0; while [ $i -lt 1000 ]; do echo 123456789; i=$((i+1)); done";
    const handle = await driver.start(place.spec(script(text)), () => undefined);
    await wait(driver, handle);
    assert.deepEqual(place.logBytes("stdout").map((bytes) => bytes.length), [1000, 1000, 1000]);
    await driver.destroy(handle);
    place.remove();
  });

  it("throws output away when logging is disabled", async (driver, place) => {
    const spec = place.spec(script("echo nobody reads this; exit 4"));
    const handle = await driver.start({ ...spec, logs: { ...spec.logs, disabled: true } }, () => undefined);
    assert.equal((await wait(driver, handle)).exitCode, 4);
    assert.equal(place.log("stdout"), "");
    await driver.destroy(handle);
  });
}
