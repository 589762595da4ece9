// Starting and stopping an agent: what cannot be is said in one line, signals do what they should, the README's
// permissions are enough.
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import {
  allocWith,
  isDeno,
  pidFrom,
  processState,
  program,
  root,
  run,
  shellJob,
  TestAgent,
} from "./harness.ts";

const LOOPBACK =
  'bind_addr = "127.0.0.1"\nadvertise {\n http = "127.0.0.1"\n rpc = "127.0.0.1"\n serf = "127.0.0.1"\n}\n';

/** Runs `agent` with this configuration until it ends by itself. */
async function failsToStart(configuration: string, ...flags: string[]) {
  const folder = mkdtempSync(join(tmpdir(), "start-"));
  const file = join(folder, "agent.hcl");
  writeFileSync(file, configuration);
  try {
    return await run([...program, "agent", "-config", file, ...flags]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("agent: a port in use is one line that names it, exit 1", async () => {
  const blocker = createServer();
  await new Promise<void>((done) => blocker.listen(0, "127.0.0.1", done));
  const { port } = blocker.address() as { port: number };
  const output = await failsToStart(`ports {\n http = ${port}\n rpc = 0\n serf = 0\n}`, "-dev");
  blocker.close();
  assert.equal(output.code, 1);
  assert.match(
    output.stderr,
    new RegExp(`^==> Cannot listen on http port 127\\.0\\.0\\.1:${port}: the port is in use`, "m"),
  );
  assert.doesNotMatch(output.stderr, /\bat .*\.ts/, "no stack trace");
});

test("agent: a data dir that cannot be written is one line that names it, exit 1", async () => {
  const folder = mkdtempSync(join(tmpdir(), "start-"));
  // Root may write anywhere, but nobody makes a folder below a file.
  const blocked = join(folder, "file");
  writeFileSync(blocked, "");
  chmodSync(blocked, 0o400);
  const output = await failsToStart(
    `ports {\n http = 0\n rpc = 0\n serf = 0\n}\nbind_addr = "127.0.0.1"\nadvertise {\n http = "127.0.0.1"\n rpc = "127.0.0.1"\n serf = "127.0.0.1"\n}
server {\n enabled = true\n bootstrap_expect = 1\n}\ndata_dir = "${blocked}/data"`,
  );
  const device = await failsToStart(
    `ports {\n http = 0\n}\n${LOOPBACK}client {\n enabled = true\n servers = ["127.0.0.1:1"]\n}\ndata_dir = "${blocked}"`,
  );
  rmSync(folder, { recursive: true });
  assert.equal(output.code, 1);
  assert.match(output.stderr, /==> Cannot use data_dir .*file\/data/);
  assert.doesNotMatch(output.stderr, /\bat .*\.ts/, "no stack trace");
  assert.equal(device.code, 1);
  assert.match(device.stderr, /==> Cannot use the device's directories: .*file\/alloc: not a directory/);
});

test("agent: a second agent on the same data dir is one line, the first goes on", async () => {
  const first = new TestAgent({ durable: true });
  try {
    await first.start();
    const second = await failsToStart(
      `ports {\n http = 0\n rpc = 0\n}\n${LOOPBACK}server {\n enabled = true\n bootstrap_expect = 1\n}\ndata_dir = "${first.folder}/data"`,
    );
    assert.equal(second.code, 1);
    assert.match(second.stderr, /^(==> |Error: )Another process uses .*give this one its own data_dir$/m);
    assert.notEqual(await first.get("/v1/status/leader"), "");
  } finally {
    await first.destroy();
  }
});

test("agent: an unknown key stops the start with file, line and suggestion", async () => {
  const output = await failsToStart(`server {\n  enabled = true\n  bootsrap_expect = 1\n}`);
  assert.equal(output.code, 1);
  assert.match(
    output.stderr,
    /agent\.hcl:3: unexpected keys bootsrap_expect in server: did you mean bootstrap_expect\?/,
  );
});

test("agent: an unknown flag is refused with a suggestion", async () => {
  const output = await run([...program, "agent", "-devv"]);
  assert.equal(output.code, 1);
  assert.match(output.stderr, /flag provided but not defined: -devv/);
  assert.match(output.stderr + output.stdout, /-dev/);
});

test("agent: SIGHUP takes over the log level, SIGTERM stops in order with exit 1", async () => {
  const agent = new TestAgent({ durable: true });
  try {
    await agent.start();
    agent.signal("SIGHUP");
    await agent.until(() => Promise.resolve(/Configuration was read again/.test(agent.log)), "the reload");
    assert.equal(await agent.end("SIGTERM"), 1);
    assert.match(agent.log, /==> Caught signal: terminated/);
  } finally {
    await agent.destroy();
  }
});

test("agent: leave_on_interrupt makes SIGINT a graceful stop with exit 0", async () => {
  const agent = new TestAgent({ durable: true, config: "leave_on_interrupt = true" });
  try {
    await agent.start();
    assert.equal(await agent.end("SIGINT"), 0);
    assert.match(agent.log, /==> Gracefully shutting down agent/);
  } finally {
    await agent.destroy();
  }
});

test("agent -dev: its tasks end with it, because nobody could find them again", async () => {
  const agent = new TestAgent();
  const pidFile = join(agent.folder, "pid");
  try {
    await agent.start();
    await agent.put("/v1/jobs", shellJob("sleeper", `echo $$ > ${pidFile}; exec sleep 1000`));
    await allocWith(agent, "sleeper", "running");
    const pid = await pidFrom(pidFile);
    await agent.end("SIGTERM");
    assert.equal(processState(pid), undefined);
  } finally {
    await agent.destroy();
  }
});

test("agent -log-json: every line of the log is JSON", async () => {
  const agent = new TestAgent({ config: "log_json = true" });
  try {
    await agent.start();
    const stream = agent.log.slice(agent.log.indexOf("Log data will stream in below:") + 30).trim();
    const lines = stream.split("\n").filter((line) => line.startsWith("{"));
    assert.ok(lines.length > 0);
    for (const line of lines) assert.ok("@message" in JSON.parse(line));
  } finally {
    await agent.destroy();
  }
});

if (isDeno) {
  test("agent: the permissions that the README names are enough for Deno", async () => {
    const flags = "net read write run env sys ffi".split(" ").map((name) => `--allow-${name}`);
    const command = [process.execPath, "run", "--no-prompt", "--no-check", ...flags, join(root, "mod.ts")];
    const agent = new TestAgent({ durable: true, command });
    try {
      await agent.start();
      await agent.put("/v1/jobs", shellJob("once", "echo ran", { type: "batch" }));
      await allocWith(agent, "once", "complete");
    } finally {
      await agent.destroy();
    }
  });
}
