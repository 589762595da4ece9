// `alloc exec` and `job action` with real agents, the real command line and real processes: through pipes, on a
// terminal, over the WebSocket itself, and through a server to a device that only dials out (api 361-367, cli 192-205).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { Agent } from "../../agent.ts";
import { allocWith, type Output, program, run, shellJob, TestAgent } from "./harness.ts";

const ACTIONS = [
  { Name: "hi", Command: "/bin/echo", Args: ["hi", "${NOMAD_TASK_NAME}"] },
  { Name: "fail", Command: "/bin/sh", Args: ["-c", "exit 9"] },
];

/** A job that stays, with an ended task beside it. */
function execJob(id: string) {
  const job = shellJob(id, "exec sleep 1000", { task: { Actions: ACTIONS } });
  const [group] = job.Job.TaskGroups as { Tasks: Record<string, unknown>[] }[];
  group!.Tasks.push({ ...group!.Tasks[0], Name: "early", Lifecycle: { Hook: "prestart", Sidecar: false } });
  Object.assign(group!.Tasks[1]!, { Config: { command: "/bin/true" }, Actions: null });
  return job;
}

/** Whether a process with exactly these words runs. */
function runs(...words: string[]): boolean {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).some((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8") === `${words.join("\0")}\0`;
    } catch (gone) {
      void gone;
      return false;
    }
  });
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    assert.ok(tries < 1000, `waited in vain until ${what}`);
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

interface Session {
  frames: Record<string, unknown>[];
  /** All of stdout. */
  stdout: string;
  code: number;
  reason: string;
}

/** Opens the WebSocket, sends the frames and reads to its end. */
function talk(address: string, path: string, frames: unknown[]): Promise<Session> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address.replace("http", "ws") + path);
    const session: Session = { frames: [], stdout: "", code: 0, reason: "" };
    socket.on("open", () => frames.forEach((frame) => socket.send(JSON.stringify(frame))));
    socket.on("message", (data) => {
      const frame = JSON.parse(String(data)) as { stdout?: { data?: string } };
      session.frames.push(frame);
      session.stdout += atob(frame.stdout?.data ?? "");
    });
    socket.on("error", reject);
    socket.on("close", (code, reason) => resolve({ ...session, code, reason: String(reason) }));
  });
}

const execPath = (id: string, command: string[], more: Record<string, string> = {}) =>
  `/v1/client/allocation/${id}/exec?` +
  new URLSearchParams({ task: "t", tty: "false", command: JSON.stringify(command), ...more });

const CLOSE_STDIN = { stdin: { close: true } };
const UNKNOWN = "6ec1e3a0-0000-0000-0000-000000000000";

describe("exec on an agent", () => {
  const agent = new TestAgent();
  let id = "";
  /** With something for its stdin. */
  const typed = (stdin: string, ...args: string[]): Promise<Output> =>
    run([...program, ...args], { env: { NOMAD_ADDR: agent.address }, stdin });
  const check = (output: Output, expected: Output) => assert.deepEqual(output, expected);

  before(async () => {
    await agent.start();
    await agent.put("/v1/jobs", execJob("web"));
    id = (await allocWith(agent, "web", "running")).ID;
    // The group runs as soon as its first task does; the tests need the one that stays.
    await agent.until(
      async () => (await allocWith(agent, "web", "running")).TaskStates?.t?.State === "running",
      "the main task",
    );
  });
  after(() => agent.destroy());

  test("alloc exec: streams and exit code through pipes", async () => {
    const script = "echo out; echo err >&2; exit 5";
    check(
      await agent.nomad("alloc", "exec", "-task", "t", id.slice(0, 8), "/bin/sh", "-c", script),
      { code: 5, stdout: "out\n", stderr: "err\n" },
    );
    check(
      await typed("from stdin\n", "alloc", "exec", "-i", "-task", "t", id, "/bin/cat"),
      { code: 0, stdout: "from stdin\n", stderr: "" },
    );
    check(
      await typed("unread", "exec", "-t=false", "-i=false", "-job", "-task", "t", "web", "/bin/cat"),
      { code: 0, stdout: "", stderr: "" },
    );
  });

  test("alloc exec runs in the task's environment", async () => {
    const script = 'echo "$NOMAD_TASK_NAME $NOMAD_ALLOC_ID"; pwd';
    const output = await agent.nomad("alloc", "exec", "-task", "t", id, "/bin/sh", "-c", script);
    assert.match(output.stdout, new RegExp(`^t ${id}\n.*/${id}/t\n$`));
  });

  test("alloc exec says why it cannot", async () => {
    const refused = async (...args: string[]) => {
      const { code, stdout, stderr } = await agent.nomad(...args);
      assert.deepEqual([code, stdout], [1, ""]);
      return stderr;
    };
    assert.equal(
      await refused("alloc", "exec", "-task", "zzz", id, "/bin/true"),
      "Could not find task named: zzz, found:\nt\nearly\n",
    );
    assert.equal(
      await refused("alloc", "exec", "-task", "t", id, "/no/such/command"),
      "failed to exec into task: rpc error: code = Unknown desc = failed to start command: " +
        "fork/exec /no/such/command: no such file or directory\n",
    );
    assert.equal(
      await refused("alloc", "exec", "-task", "early", id, "/bin/true"),
      'failed to exec into task: task "early" is not running.\n',
    );
  });

  test("job action: in a group's allocation, in a named one, and unknown", async () => {
    const action = (...args: string[]) => agent.nomad("job", "action", "-job", "web", "-task", "t", ...args);
    // The reference interpolates nothing in an action.
    const greeted = { code: 0, stdout: "hi ${NOMAD_TASK_NAME}\n", stderr: "" };
    check(await action("-group", "g", "hi"), greeted);
    check(await action("-alloc", id, "hi"), greeted);
    check(await action("-alloc", id, "fail"), { code: 9, stdout: "", stderr: "" });
    check(await action("-alloc", id, "zzz"), {
      code: 1,
      stdout: "",
      stderr: "failed to exec into task: action zzz not found in task t\n",
    });
  });

  test("alloc exec on a terminal has its size and its exit code", async () => {
    const words = [...program, "alloc", "exec", "-t", "-task", "t", id, "/bin/sh", "-c"];
    const line = `stty rows 40 cols 120; exec ${words.join(" ")} 'tty >/dev/null && echo is-a-tty; ` +
      `while [ "$(stty size)" != "40 120" ]; do sleep 0.05; done; stty size; exit 3'`;
    const output = await run(["script", "-qfec", line, "/dev/null"], { env: { NOMAD_ADDR: agent.address } });
    // The runtime clears the line, and `script` types the end of its input: neither is the command's.
    // deno-lint-ignore no-control-regex
    const said = output.stdout.replace(/\x1b\[\d*[A-Z]|\^@/g, "").replace(/\r+/g, "");
    assert.equal(said, "is-a-tty\n40 120\n");
    assert.equal(output.code, 3);
  });

  test("exec's frames are those that were recorded", async () => {
    const script = "echo out; cat; echo err >&2; exit 7";
    const input = [{ version: 1, auth_token: "" }, { stdin: { data: btoa("typed\n") } }, CLOSE_STDIN];
    const full = await talk(
      agent.address,
      execPath(id, ["/bin/sh", "-c", script], { ws_handshake: "true" }),
      input,
    );
    assert.equal(full.stdout, "out\ntyped\n");
    assert.deepEqual(full.frames.filter((frame) => "stderr" in frame)[0], {
      stderr: { data: btoa("err\n") },
    });
    assert.deepEqual(full.frames.slice(-3), [
      { stderr: { close: true } },
      { stdout: { close: true } },
      { exited: true, result: { exit_code: 7 } },
    ]);
    const short = await talk(agent.address, execPath(id, ["/bin/echo", "x"]), [CLOSE_STDIN]);
    assert.deepEqual(short.frames, [
      { stdout: { data: btoa("x\n") } },
      { stderr: { close: true } },
      { stdout: { close: true } },
      { exited: true, result: {} },
    ]);
    const sized = await talk(
      agent.address,
      execPath(id, ["/bin/sh", "-c", "read go; stty size"], { tty: "true" }),
      [{ tty_size: { height: 33, width: 99 } }, { stdin: { data: btoa("\n") } }],
    );
    assert.match(sized.stdout, /33 99\r\n$/);
    assert.deepEqual(sized.frames.slice(-2), [{ stdout: { close: true } }, { exited: true, result: {} }]);
  });

  test("exec's refusals are those that were recorded", async () => {
    const refused = async (path: string) => {
      const { code, reason, frames } = await talk(agent.address, path, [CLOSE_STDIN]);
      assert.deepEqual(frames, []);
      return `${code} ${reason}`;
    };
    const echo = ["/bin/echo", "x"];
    assert.equal(await refused(execPath(id, echo, { task: "zzz" })), "1011 task not found");
    assert.equal(await refused(execPath(id, echo, { task: "" })), "1008 must provide task name");
    assert.equal(await refused(execPath(id, echo, { task: "early" })), '1008 task "early" is not running.');
    assert.equal(await refused(execPath(UNKNOWN, echo)), `1008 Unknown allocation "${UNKNOWN}"`);
    assert.equal(
      await refused(execPath("abc", echo)),
      "1011 alloc lookup failed: index error: UUID must be 36 characters",
    );
    assert.equal(await refused(execPath(id, [])), "1008 command is not present");
    assert.match(await refused(execPath(id, echo, { tty: "zz" })), /^1011 tty value is not a boolean/);
    const action = (query: Record<string, string>, job = "web") =>
      refused(
        `/v1/job/${job}/action?${new URLSearchParams({ task: "t", action: "hi", allocID: id, ...query })}`,
      );
    assert.equal(await action({ allocID: "" }), "1008 missing AllocID");
    assert.equal(await action({ allocID: UNKNOWN }), `1008 Unknown allocation "${UNKNOWN}"`);
    assert.equal(await action({ task: "zz" }), `1008 task zz not found in allocation ${id}`);
    assert.equal(await action({}, "other"), `1008 job other does not have allocation ${id}`);
    for (const path of [execPath(id, echo), "/v1/job/web/action?task=t"]) {
      const plain = await fetch(agent.address + path);
      assert.equal(`${plain.status} ${await plain.text()}`, "500 websocket connection not found in context");
    }
  });

  test("exec carries more input than anybody holds, to a task that reads late, and back", async () => {
    const size = 40 * 1024 * 1024;
    const words = ["alloc", "exec", "-task", "t", id, "/bin/sh", "-c"];
    const big = "0123456789abcde\n".repeat(size / 16);
    const counted = await typed(big, ...words, "sleep 1; wc -c");
    check(counted, { code: 0, stdout: `${size}\n`, stderr: "" });
    const small = big.slice(0, 4 * 1024 * 1024);
    const echoed = await typed(small, ...words, "cat");
    assert.equal(echoed.code, 0, echoed.stderr);
    assert.ok(echoed.stdout === small, `${echoed.stdout.length} of ${small.length} characters came back`);
  });

  test("exec's command ends with its user, its session with its task", async () => {
    const mark = `8123${process.pid}`;
    const [command, ...args] = program;
    const child = spawn(command!, [...args, "alloc", "exec", "-task", "t", id, "/bin/sleep", mark], {
      stdio: ["pipe", "ignore", "ignore"],
      env: { ...process.env, NOMAD_ADDR: agent.address },
    });
    const gone = new Promise((done) => child.once("exit", done));
    await until(() => runs("/bin/sleep", mark), "the command runs");
    process.kill(child.pid!, "SIGKILL");
    await gone;
    await until(() => !runs("/bin/sleep", mark), "the command was killed");

    const session = talk(agent.address, execPath(id, ["/bin/sleep", mark]), []);
    await until(() => runs("/bin/sleep", mark), "the second command runs");
    await agent.put(`/v1/client/allocation/${id}/restart`, { TaskName: "t" });
    assert.deepEqual((await session).frames.at(-1), { exited: true, result: { exit_code: 137 } });
  });
});

test("exec reaches a device behind its servers, and from a client-only agent any other", async () => {
  const folder = mkdtempSync(join(tmpdir(), "exec-"));
  const common = { ports: { http: 0, rpc: 0, serf: 0 }, bind: "127.0.0.1", logLevel: "OFF" as const };
  const advertise = { http: "127.0.0.1", rpc: "127.0.0.1", serf: "127.0.0.1" };
  const server = new Agent({
    ...common,
    name: "server",
    dataDir: join(folder, "server"),
    config: { advertise, server: { enabled: true, bootstrap_expect: 1 } },
  });
  const devices: Agent[] = [];
  try {
    await server.start();
    const rpc = server.config.bind.rpc;
    for (const name of ["one", "two"]) {
      const device = new Agent({
        ...common,
        name,
        dataDir: join(folder, name),
        config: {
          advertise,
          client: { enabled: true, servers: [`127.0.0.1:${rpc.port}`], meta: { name } },
          plugin: { raw_exec: { config: { enabled: true } } },
        },
      });
      devices.push(device);
      await device.start();
    }
    const job = shellJob("far", "exec sleep 1000", {
      group: { Constraints: [{ LTarget: "${meta.name}", RTarget: "one", Operand: "=" }] },
      task: { Actions: ACTIONS },
    });
    const address = `http://${server.httpAddress}`;
    let id = "";
    const call = async <T>(method: string, path: string, body?: unknown) => {
      const init: RequestInit = { method };
      if (body !== undefined) init.body = JSON.stringify(body);
      const response = await fetch(address + path, init);
      const text = await response.text();
      assert.ok(response.ok, `${path}: ${response.status} ${text}`);
      return JSON.parse(text) as T;
    };
    for (let tries = 0; id === ""; tries++) {
      assert.ok(tries < 300, "the job never ran");
      // Before there is a leader the API refuses.
      if (tries === 0) await new Promise((wake) => setTimeout(wake, 200));
      if (tries === 0) await call("PUT", "/v1/jobs", job);
      const allocs = await call<{ ID: string; ClientStatus: string }[]>("GET", "/v1/job/far/allocations");
      id = allocs.find((alloc) => alloc.ClientStatus === "running")?.ID ?? "";
      await new Promise((wake) => setTimeout(wake, 50));
    }
    const mark = `8124${process.pid}`;
    // By the server, by the device itself, and by a device that knows nothing of it.
    for (const agent of [server, ...devices]) {
      const at = `http://${agent.httpAddress}`;
      const script = "echo out; cat; exit 4";
      const input = [{ version: 1, auth_token: "" }, { stdin: { data: btoa("typed\n") } }, CLOSE_STDIN];
      const session = await talk(
        at,
        execPath(id, ["/bin/sh", "-c", script], { ws_handshake: "true" }),
        input,
      );
      assert.equal(session.stdout, "out\ntyped\n", agent.config.name);
      assert.deepEqual(session.frames.at(-1), { exited: true, result: { exit_code: 4 } });
      const action = `/v1/job/far/action?${new URLSearchParams({ task: "t", action: "hi", allocID: id })}`;
      assert.equal((await talk(at, action, [CLOSE_STDIN])).stdout, "hi ${NOMAD_TASK_NAME}\n");
      const refused = await talk(at, execPath(id, ["x"], { task: "zzz" }), []);
      assert.equal(`${refused.code} ${refused.reason}`, "1011 task not found");

      const socket = new WebSocket(at.replace("http", "ws") + execPath(id, ["/bin/sleep", mark]));
      socket.on("error", () => undefined);
      await until(() => runs("/bin/sleep", mark), `the command runs by ${agent.config.name}`);
      socket.terminate();
      await until(() => !runs("/bin/sleep", mark), `the command ends by ${agent.config.name}`);
    }
    await call("DELETE", "/v1/job/far");
  } finally {
    for (const device of devices) {
      await device.client?.killAll();
      await device.stop();
    }
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
