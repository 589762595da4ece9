import assert from "node:assert/strict";
import { test } from "node:test";
import { createDrivers } from "../../drivers/registry.ts";
import { makePlace, PATIENCE, wait } from "./fixture.ts";
import { driverSuite } from "./suite.ts";

driverSuite({
  name: "mock_driver",
  plugins: () => ({}),
  stopped: { exitCode: 0, signal: 0, oomKilled: false },
  config: {
    runsFor: (seconds) => ({ run_for: `${seconds}s` }),
    exits: (code) => ({ exit_code: code }),
    diesBy: (signal) => ({ exit_signal: signal, exit_code: 128 + signal }),
    prints: (stdout, stderr) => ({ stdout_string: stdout, stderr_string: stderr }),
    ticks: (count) => ({
      run_for: `${count * 20}ms`,
      stdout_string: "tick\n",
      stdout_repeat: count - 1,
      stdout_repeat_duration: "20ms",
    }),
    stubborn: () => ({ run_for: "1h", kill_after: "1h" }),
    ready: { runsFor: "", stubborn: "" },
    fails: () => ({ start_error: "no room" }),
    misspelt: { config: { run_fro: "1s" }, meant: "run_for" },
    wrongType: { run_for: "soon" },
    script: null,
  },
});

const make = () => createDrivers({}).get("mock_driver")!;

test("mock_driver start fails as told, recoverable or not", PATIENCE, async () => {
  const place = makePlace();
  for (const recoverable of [true, false]) {
    const spec = place.spec({ start_error: "no room", start_error_recoverable: recoverable });
    await assert.rejects(make().start(spec, () => undefined), { message: "no room", recoverable });
  }
  place.remove();
});

test("mock_driver start blocks as long as told", PATIENCE, async () => {
  const place = makePlace();
  const driver = make();
  const begun = performance.now();
  const handle = await driver.start(place.spec({ start_block_for: "120ms" }), () => undefined);
  assert.ok(performance.now() - begun >= 115);
  await driver.destroy(handle);
  place.remove();
});

test("mock_driver tells its exit message and refuses signals as told", PATIENCE, async () => {
  const place = makePlace();
  const driver = make();
  const ended = await driver.start(place.spec({ exit_code: 7, exit_err_msg: "crashed" }), () => undefined);
  assert.deepEqual(await wait(driver, ended), { exitCode: 7, signal: 0, oomKilled: false, error: "crashed" });
  const running = await driver.start(place.spec({ run_for: "1h", signal_error: "deaf" }), () => undefined);
  await assert.rejects(driver.signal(running, "SIGHUP"), { message: "deaf" });
  await driver.destroy(running);
  place.remove();
});

test("mock_driver exec answers as exec_command says", PATIENCE, async () => {
  const place = makePlace();
  const driver = make();
  const config = {
    run_for: "1h",
    exec_command: [{ stdout_string: "hi", stderr_string: "oh", exit_code: 3 }],
  };
  const handle = await driver.start(place.spec(config), () => undefined);
  const session = await driver.exec(handle, { command: ["x"], tty: false, env: {} });
  assert.equal(await new Response(session.stdout).text(), "hi");
  assert.equal(await new Response(session.stderr).text(), "oh");
  assert.equal(await session.exitCode, 3);
  await driver.destroy(handle);
  place.remove();
});

test("mock_driver refuses what it cannot pretend, with the reason", () => {
  const errors = make().validate({ plugin_exit_after: "1s" });
  assert.equal(errors.length, 1);
  assert.match(errors[0]!, /plugin_exit_after is not supported: drivers are part of the agent/);
});
