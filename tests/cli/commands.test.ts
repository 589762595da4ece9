// What commands send, where they take their settings from, and how they fail; each against a small agent of the test.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { WebSocketServer } from "ws";
import type { AgentFlags } from "../../cli/agent.ts";
import { allCommands } from "../../cli/tree.ts";
import { type Answer, HINTS, type Routes, type Run, runCli, type RunOptions, withAgent } from "./harness.ts";

const directory = mkdtempSync(join(tmpdir(), "nomad-cli-commands-"));
after(() => rmSync(directory, { recursive: true, force: true }));
const json = (value: unknown): Answer => ({ json: value });
const JOB_FILE = join(directory, "web.hcl");
writeFileSync(
  JOB_FILE,
  `variable "x" {\n  default = "1"\n}\njob "web" {\n  group "g" {\n    task "t" {\n      driver = "raw_exec"\n      env {\n        X = var.x\n      }\n    }\n  }\n}\n`,
);

async function ask(routes: Routes, argv: string[], options: RunOptions = {}) {
  return await withAgent(routes, async (agent) => {
    const run = await runCli(argv, {
      cwd: directory,
      ...options,
      env: { NOMAD_ADDR: agent.address, ...options.env },
    });
    return { run, asked: agent.asked };
  });
}

// --- The tree ----------------------------------------------------------------------------------------------------------

for (const { path, definition } of allCommands()) {
  test(`nomad ${path.join(" ")} -h prints its usage`, async () => {
    const run = await runCli([...path, "-h"]);
    assert.equal(run.code, 0, run.stderr);
    assert.equal(run.stderr, "");
    assert.doesNotMatch(run.stdout, /undefined|\[object|NaN/);
    for (const line of run.stdout.split("\n")) assert.ok(line.length <= 140, line);
    if (definition.subCommands) {
      assert.match(run.stdout, /^Usage: nomad .* <subcommand> \[options\] \[args\]\n/);
    }
  });
}

test("an unknown flag comes with a suggestion, the usage and exit 1", async () => {
  const run = await runCli(["job", "run", "-detahc", "x.hcl"]);
  assert.equal(run.code, 1);
  assert.equal(run.stderr, "flag provided but not defined: -detahc\nDid you mean -detach?\n");
  assert.match(run.stdout, /^Usage: nomad job run \[options\] <path>\n/);
});

test("commands of later versions say so instead of guessing", async () => {
  const run = await runCli(["acl", "token", "create"]);
  assert.equal(run.code, 1);
  assert.match(run.stderr, /^Access control lists are not part of this version\./);
});

// --- Settings ----------------------------------------------------------------------------------------------------------

test("namespace, region and token come from the environment and flags win", async () => {
  const env = { NOMAD_NAMESPACE: "a", NOMAD_REGION: "r", NOMAD_TOKEN: "t", NOMAD_HTTP_AUTH: "u:p" };
  const first = await ask({ "GET /v1/jobs": json([]) }, ["job", "status"], {
    env: { ...env, NOMAD_CLI_SHOW_HINTS: "0" },
  });
  const [asked] = first.asked;
  assert.equal(asked!.query.get("namespace"), "a");
  assert.equal(asked!.query.get("region"), "r");
  assert.equal(asked!.headers["x-nomad-token"], "t");
  assert.equal(asked!.headers["authorization"], `Basic ${Buffer.from("u:p").toString("base64")}`);
  assert.equal(first.asked.length, 1, "without hints nothing else is asked");
  const argv = ["job", "status", "-namespace=b", "-token", "s"];
  const second = await ask({ "GET /v1/jobs": json([]) }, argv, { env });
  const jobs = second.asked.find((each) => each.path === "/v1/jobs")!;
  assert.equal(jobs.query.get("namespace"), "b");
  assert.equal(jobs.headers["x-nomad-token"], "s");
});

test("unix:// addresses work", async () => {
  const path = join(directory, "agent.sock");
  const server = createServer((request, response) => {
    response.end(request.url === "/v1/namespaces" ? '[{"Name":"over-socket","Description":""}]' : "null");
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  try {
    const run = await runCli(["namespace", "list", "-address", `unix://${path}`]);
    assert.equal(run.stdout, "Name         Description\nover-socket  <none>\n");
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test("a lost connection says what to check", async () => {
  const cases: [string, RegExp][] = [
    [
      "http://127.0.0.1:9",
      /connect: connection refused\nCheck that an agent is running there and that -address or NOMAD_ADDR names it\./,
    ],
    ["unix:///nowhere/agent.sock", /connect: no such file or directory\nCheck that an agent/],
    ["http://no-such-host.invalid:4646", /lookup no-such-host\.invalid: no such host\nCheck that an agent/],
  ];
  for (const [address, expected] of cases) {
    const run = await runCli(["node", "status"], { env: { NOMAD_ADDR: address } });
    assert.equal(run.code, 1);
    assert.match(run.stderr, expected);
  }
});

test("https against a plain agent says which scheme to use", async () => {
  await withAgent({}, async (agent) => {
    const address = agent.address.replace("http:", "https:");
    const run = await runCli(["job", "status"], {
      env: { NOMAD_ADDR: address, NOMAD_CLI_SHOW_HINTS: "false" },
    });
    assert.equal(run.code, 1);
    assert.equal(
      run.stderr.split("\n")[0],
      `Error querying jobs: Get "${address}/v1/jobs": http: server gave HTTP response to HTTPS client`,
    );
  });
});

test("wrong TLS settings are refused before anything is asked", async () => {
  const run = await runCli(["job", "status", "-address=https://127.0.0.1:1", "-client-cert=x"]);
  assert.equal(run.code, 1);
  assert.match(run.stderr, /needs both -client-cert and -client-key/);
});

// --- Colours and hints ---------------------------------------------------------------------------------------------------

const HEAD: Routes = {
  "GET /v1/jobs": json([{ ID: "web", Namespace: "default" }]),
  "GET /v1/job/web": json({
    ID: "web",
    Name: "web",
    Datacenters: ["dc1"],
    Namespace: "default",
    SubmitTime: 1e18,
  }),
};

test("colours only on a terminal, unless forced or turned off", async () => {
  const routes = {
    "GET /v1/jobs": json([{ ID: "web", Namespace: "default" }]),
    "GET /v1/job/web/versions": json({ Versions: [{ Version: 0, SubmitTime: 0 }] }),
  };
  const shown = async (options: RunOptions, ...flags: string[]) =>
    (await ask(routes, ["job", "history", ...flags, "web"], options)).run.stdout.includes("\x1b[");
  assert.equal(await shown({}), false);
  assert.equal(await shown({ tty: true }), true);
  assert.equal(await shown({ tty: true }, "-no-color"), false);
  assert.equal(await shown({ tty: true, env: { NOMAD_CLI_NO_COLOR: "1" } }), false);
  assert.equal(await shown({}, "-force-color"), true);
  assert.equal(await shown({ env: { NOMAD_CLI_FORCE_COLOR: "1" } }), true);
  assert.equal(await shown({}, "-force-color", "-no-color"), false);
});

test("the web page is named unless the user or the agent does not want it", async () => {
  const hinted = async (self: Answer, env: Record<string, string> = {}) =>
    (await ask({ ...HEAD, "GET /v1/agent/self": self }, ["job", "status", "-short", "web"], { env })).run
      .stderr;
  const wants = HINTS["GET /v1/agent/self"]!;
  assert.match(
    await hinted(wants),
    /^\n\n==> View job details and metrics in the Web UI: http:\/\/127\.0\.0\.1:\d+\/ui\/jobs\/web@default\n$/,
  );
  assert.equal(await hinted(wants, { NOMAD_CLI_SHOW_HINTS: "false" }), "");
  assert.equal(await hinted(json({ config: { UI: { Enabled: true, ShowCLIHints: false } } })), "");
  assert.match(
    await hinted(json({ config: { UI: { Enabled: true, ShowCLIHints: false } } }), {
      NOMAD_CLI_SHOW_HINTS: "1",
    }),
    /Web UI/,
  );
  assert.equal(await hinted({ status: 403, text: "Permission denied" }), "");
});

// --- job run and its relatives ----------------------------------------------------------------------------------------------

test("job run sends job, source, variables and the checked index", async () => {
  writeFileSync(join(directory, "v.hcl"), 'x = "3"\n');
  const argv = [
    "job",
    "run",
    "-detach",
    "-check-index=7",
    "-eval-priority=60",
    "-preserve-counts",
    "-var",
    "x=2",
    "-var-file=v.hcl",
    "web.hcl",
  ];
  const { run, asked } = await ask({ "PUT /v1/jobs": json({ EvalID: "e" }) }, argv);
  assert.equal(run.stdout, "Job registration successful\nEvaluation ID: e\n");
  const body = JSON.parse(asked.find((each) => each.path === "/v1/jobs")!.body);
  assert.equal(body.Job.ID, "web");
  assert.equal(body.Job.TaskGroups[0].Tasks[0].Env.X, "2");
  assert.equal(body.EnforceIndex, true);
  assert.equal(body.JobModifyIndex, 7);
  assert.equal(body.EvalPriority, 60);
  assert.equal(body.PreserveCounts, true);
  assert.equal(body.PreserveResources, undefined);
  assert.deepEqual(body.Submission, {
    Source: readFileSync(JOB_FILE, "utf8"),
    Format: "hcl2",
    VariableFlags: { x: "2" },
    Variables: 'x = "3"\n',
  });
});

test("job run reads the standard input and NOMAD_VAR_ variables", async () => {
  const stdin = readFileSync(JOB_FILE, "utf8");
  const { run } = await ask({}, ["job", "run", "-output", "-"], { stdin, env: { NOMAD_VAR_x: "9" } });
  assert.equal(JSON.parse(run.stdout).Job.TaskGroups[0].Tasks[0].Env.X, "9");
});

test("job run -json keeps big integers and takes the job out of its wrapper", async () => {
  writeFileSync(
    join(directory, "j.json"),
    '{"Job":{"ID":"big","Meta":null,"SubmitTime":1795321057622614933}}',
  );
  const { asked } = await ask({ "PUT /v1/jobs": json({ EvalID: "e" }) }, [
    "run",
    "-detach",
    "-json",
    "j.json",
  ]);
  assert.match(asked.find((each) => each.path === "/v1/jobs")!.body, /"SubmitTime": ?1795321057622614933/);
});

test("job run refuses a directory, an address and a broken -check-index", async () => {
  assert.match((await runCli(["run", "."], { cwd: directory })).stderr, /source path must be a file/);
  assert.match(
    (await runCli(["run", "https://x.example/j.hcl"])).stderr,
    /job files are read from this machine only/,
  );
  const run = await runCli(["run", "-check-index", "x", "web.hcl"], { cwd: directory });
  assert.equal(
    run.stderr,
    'Error parsing check-index value "x": strconv.ParseUint: parsing "x": invalid syntax\n',
  );
  assert.equal(run.code, 1);
});

test("job plan exits 255 on errors of any kind", async () => {
  assert.equal((await runCli(["job", "plan"])).code, 255);
  assert.equal((await runCli(["job", "plan", "nope.hcl"], { cwd: directory })).code, 255);
  const { run } = await ask({ "PUT /v1/job/web/plan": { status: 500, text: "no" } }, ["plan", "web.hcl"]);
  assert.equal(run.code, 255);
  assert.equal(run.stderr, "Error during plan: Unexpected response code: 500 (no)\n");
});

test("job validate without an agent checks the file and says what was not checked", async () => {
  const run = await runCli(["validate", "web.hcl"], {
    cwd: directory,
    env: { NOMAD_ADDR: "http://127.0.0.1:9" },
  });
  assert.equal(run.code, 0);
  assert.match(run.stdout, /Driver configuration not validated[\s\S]*Job validation successful/);
  assert.match(run.stderr, /connection refused/);
});

test("job inspect -hcl makes HCL of a job that was sent as JSON", async () => {
  const routes: Routes = {
    "GET /v1/jobs": json([{ ID: "web", Namespace: "default" }]),
    "GET /v1/job/web": json({ ID: "web", Name: "web", Type: "batch", Version: 0, TaskGroups: [] }),
    "GET /v1/job/web/submission": { status: 404, text: "job source not found" },
  };
  const { run } = await ask(routes, ["job", "inspect", "-hcl", "web"]);
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stdout, /^job "web" \{\n {2}type\s+= "batch"\n/);
  assert.match(run.stderr, /was not submitted as HCL/);
});

const STOP: Routes = {
  "GET /v1/jobs": json([{ ID: "website", Namespace: "default" }]),
  "DELETE /v1/job/website": json({ EvalID: "11111111-0000-0000-0000-000000000000" }),
};

test("job stop asks before it stops what a prefix named", async () => {
  const argv = ["job", "stop", "-detach", "web"];
  const stopped = async (stdin: string) => {
    const { run, asked } = await ask(STOP, argv, { stdin });
    return { run, deleted: asked.some((each) => each.method === "DELETE") };
  };
  const yes = await stopped("y\n");
  assert.equal(yes.deleted, true);
  const no = await stopped("n\n");
  assert.deepEqual([no.deleted, no.run.code], [false, 0]);
  assert.equal(no.run.stdout, 'Are you sure you want to stop job "website"? [y/N] Cancelling job stop\n');
  const unclear = await stopped("maybe\n");
  assert.deepEqual([unclear.deleted, unclear.run.code], [false, 1]);
  assert.equal((await stopped("")).run.code, 1);
});

test("job stop passes its flags on and tries every job", async () => {
  const argv = ["stop", "-detach", "-purge", "-global", "-no-shutdown-delay", "-eval-priority=3", "website"];
  const { asked } = await ask(STOP, argv);
  const { query } = asked.find((each) => each.method === "DELETE")!;
  assert.deepEqual(
    ["purge", "global", "no_shutdown_delay", "eval_priority"].map((name) => query.get(name)),
    ["true", "true", "true", "3"],
  );
  const both = await ask({
    ...STOP,
    "GET /v1/jobs": [json([]), json([{ ID: "website", Namespace: "default" }])],
  }, ["stop", "-detach", "nope", "website"]);
  assert.equal(both.run.code, 1);
  assert.equal(both.run.stderr, 'No job(s) with prefix or ID "nope" found\n');
  assert.equal(both.run.stdout, "11111111-0000-0000-0000-000000000000\n");
});

test("job start sends the stopped job again with its source", async () => {
  const routes: Routes = {
    "GET /v1/jobs": json([{ ID: "web", Namespace: "default" }]),
    "GET /v1/job/web": json({ ID: "web", Stop: true, Version: 4, Namespace: "default" }),
    "GET /v1/job/web/submission": json({ Source: "job {}", Format: "hcl2" }),
    "PUT /v1/jobs": json({ EvalID: "e" }),
  };
  const { run, asked } = await ask(routes, ["job", "start", "-detach", "web"]);
  assert.equal(run.stdout, "Evaluation ID: e\n");
  const body = JSON.parse(asked.at(-1)!.body);
  assert.equal(body.Job.Stop, false);
  assert.equal(body.Submission.Source, "job {}");
  const running = await ask({ ...routes, "GET /v1/job/web": json({ ID: "web", Stop: false }) }, [
    "job",
    "start",
    "web",
  ]);
  assert.equal(running.run.stderr, 'Job "web" has not been stopped\n');
});

test("job scale finds the only group and refuses others", async () => {
  const routes: Routes = {
    "GET /v1/jobs": json([{ ID: "web", Namespace: "default" }]),
    "GET /v1/job/web/scale": json({ TaskGroups: { app: {} } }),
    "PUT /v1/job/web/scale": json({ EvalID: "e" }),
  };
  const { run, asked } = await ask(routes, ["job", "scale", "-detach", "web", "3"]);
  assert.equal(run.stdout, "Job scale successful\nEvaluation ID: e\n");
  const body = JSON.parse(asked.at(-1)!.body);
  assert.deepEqual([body.Count, body.Target.Group], [3, "app"]);
  assert.equal(
    (await ask(routes, ["job", "scale", "web", "nope", "3"])).run.stderr,
    "Group nope not found within job\n",
  );
});

test("lists name the next page in the words that were typed", async () => {
  const routes: Routes = { "GET /v1/nodes": { json: [], nextToken: "T" } };
  const { run, asked } = await ask(routes, [
    "node",
    "status",
    "-filter",
    'Name == "a b"',
    "-page-token=old",
    "-per-page",
    "1",
  ]);
  assert.equal(asked.find((each) => each.path === "/v1/nodes")!.query.get("next_token"), "old");
  assert.match(run.stdout, /\nnomad node status -filter 'Name == "a b"' -per-page 1 -page-token T\n$/);
});

test("-json and -t exclude each other", async () => {
  const { run } = await ask({ "GET /v1/nodes": json([]) }, ["node", "status", "-json", "-t", "x"]);
  assert.equal(run.stderr, "Both json and template formatting are not allowed\n");
  assert.equal(run.code, 1);
});

test("an odd prefix is cut by one digit", async () => {
  const { asked } = await ask({ "GET /v1/allocations": json([]) }, ["alloc", "status", "abc"]);
  assert.equal(asked[0]!.query.get("prefix"), "ab");
});

// --- Logs and exec -----------------------------------------------------------------------------------------------------------

const ALLOC_ID = "aabbccdd-1111-2222-3333-444444444444";
const ALLOC: Routes = {
  "GET /v1/allocations": json([{ ID: ALLOC_ID, Namespace: "default" }]),
  [`GET /v1/allocation/${ALLOC_ID}`]: json({
    ID: ALLOC_ID,
    Namespace: "default",
    TaskGroup: "g",
    Job: { TaskGroups: [{ Name: "g", Tasks: [{ Name: "a" }, { Name: "b" }] }] },
  }),
};

test("alloc logs asks for the task when there are several", async () => {
  const { run } = await ask(ALLOC, ["alloc", "logs", "aabbccdd"]);
  assert.equal(
    run.stderr,
    'Failed to validate task: Allocation "aabbccdd" is running the following tasks:\n  * a\n  * b\n\nPlease specify the task.\n',
  );
});

test("alloc logs -stderr and -c go to stdout, from the end", async () => {
  const routes = { ...ALLOC, [`GET /v1/client/fs/logs/${ALLOC_ID}`]: { status: 200, text: "tail" } };
  const { run, asked } = await ask(routes, ["alloc", "logs", "-stderr", "-tail", "-c", "4", "aabbccdd", "a"]);
  assert.equal(run.stdout, "tail");
  const { query } = asked.at(-1)!;
  assert.deepEqual(
    ["type", "origin", "offset", "follow", "task"].map((name) => query.get(name)),
    ["stderr", "end", "4", "false", "a"],
  );
  const whole = await ask(routes, ["alloc", "logs", "-n", "1", "-c", "4", "aabbccdd", "a"]);
  assert.equal(whole.asked.at(-1)!.query.get("origin"), "start", "without -tail they say nothing");
  const both = await ask(routes, ["alloc", "logs", "-tail", "-n", "1", "-c", "4", "aabbccdd", "a"]);
  assert.deepEqual([both.run.code, both.run.stderr], [1, "Failed to read stdout file: both -n and -c set\n"]);
});

test("service info of an unknown service is an error", async () => {
  const { run } = await ask({ "GET /v1/services": json([]) }, ["service", "info", "nope"]);
  assert.deepEqual([run.code, run.stderr], [
    1,
    'Error listing service registrations: No service registrations with prefix "nope" found\n',
  ]);
});

test("alloc logs -f shows both streams and ends with Ctrl-C, exit 0", async () => {
  const server = createServer((request, response) => {
    const url = new URL(request.url!, "http://x");
    const key = `GET ${url.pathname}`;
    if (url.pathname.startsWith("/v1/client/fs/logs/")) {
      response.write(url.searchParams.get("type") === "stdout" ? "out\n" : "err\n");
      return;
    }
    const answer = ALLOC[key];
    response.end(answer && "json" in answer ? JSON.stringify(answer.json) : "null");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  try {
    let interrupt: (() => void) | undefined;
    const running = runCli(["logs", "-f", "aabbccdd", "a"], {
      env: { NOMAD_ADDR: `http://127.0.0.1:${port}` },
      onInterrupt: (listener) => interrupt = listener,
    });
    setTimeout(() => interrupt?.(), 300);
    const run: Run = await running;
    assert.deepEqual([run.stdout, run.stderr, run.code], ["out\n", "err\n", 0]);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** An exec WebSocket that echoes: what it was asked, stdin back on stdout, then the given code. */
async function withExec(
  work: (address: string, frames: unknown[], urls: string[]) => Promise<void>,
  close?: string,
) {
  const frames: unknown[] = [];
  const urls: string[] = [];
  const server = createServer((request, response) => {
    const answer = ALLOC[`GET ${new URL(request.url!, "http://x").pathname}`];
    response.end(answer && "json" in answer ? JSON.stringify(answer.json) : "null");
  });
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket, request) => {
    urls.push(request.url!);
    if (close) return socket.close(1011, close);
    socket.on("message", (data) => {
      const frame = JSON.parse(String(data)) as { stdin?: { data?: string; close?: boolean } };
      frames.push(frame);
      if (frame.stdin?.data) socket.send(JSON.stringify({ stdout: { data: frame.stdin.data } }));
      if (frame.stdin?.close) {
        socket.send(JSON.stringify({ stderr: { data: Buffer.from("bye\n").toString("base64") } }));
        socket.send(JSON.stringify({ exited: true, result: { exit_code: 5 } }));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await work(`http://127.0.0.1:${(server.address() as { port: number }).port}`, frames, urls);
  } finally {
    for (const client of sockets.clients) client.terminate();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

test("alloc exec passes streams and the exit code on", async () => {
  await withExec(async (address, frames, urls) => {
    const argv = ["alloc", "exec", "-task", "a", "aabbccdd", "/bin/sh", "-c", "cat -n"];
    const run = await runCli(argv, { env: { NOMAD_ADDR: address, NOMAD_TOKEN: "tok" }, stdin: "typed\n" });
    assert.deepEqual([run.code, run.stdout, run.stderr], [5, "typed\n", "bye\n"]);
    assert.deepEqual(frames[0], { version: 1, auth_token: "tok", input_count: true });
    const query = new URL(urls[0]!, "http://x").searchParams;
    assert.deepEqual(JSON.parse(query.get("command")!), ["/bin/sh", "-c", "cat -n"]);
    assert.equal(query.get("tty"), "false");
  });
});

test("alloc exec tells why a session was refused", async () => {
  await withExec(async (address) => {
    const run = await runCli(["exec", "-task", "a", "aabbccdd", "ls"], { env: { NOMAD_ADDR: address } });
    assert.deepEqual([run.code, run.stderr], [1, "failed to exec into task: task not found\n"]);
  }, "task not found");
});

test("alloc exec on a terminal sends its size, and ~. ends the session", async () => {
  await withExec(async (address, frames) => {
    const argv = ["exec", "-task", "a", "aabbccdd", "sh"];
    const run = await runCli(argv, {
      env: { NOMAD_ADDR: address },
      stdin: "ls\n~.",
      tty: true,
      stdinTty: true,
    });
    assert.deepEqual(frames[1], { tty_size: { width: 120, height: 40 } });
    assert.deepEqual(frames[2], { stdin: { data: Buffer.from("ls\n").toString("base64") } });
    assert.equal(run.code, 1);
  });
});

// --- The agent's flags and the formatter ----------------------------------------------------------------------------------

test("agent hands its flags over and returns the agent's code", async () => {
  let seen: AgentFlags | undefined;
  const argv = [
    "agent",
    "-dev",
    "-config",
    "a.hcl",
    "--config=b",
    "-bind=0.0.0.0",
    "-meta",
    "k=v",
    "-consul-ssl=true",
  ];
  const run = await runCli(argv, {
    runAgent: (flags) => {
      seen = flags;
      flags.stdout("==> started\n");
      return Promise.resolve(3);
    },
  });
  assert.equal(run.code, 3);
  assert.equal(run.stdout, "==> started\n");
  assert.deepEqual(seen!.values["config"], ["a.hcl", "b"]);
  assert.deepEqual(seen!.values["meta"], ["k=v"]);
  assert.equal(seen!.values["dev"], true);
  assert.equal(seen!.values["consul-ssl"], true);
  assert.deepEqual(seen!.given, ["dev", "config", "bind", "meta", "consul-ssl"]);
});

test("fmt writes, lists, checks and goes into directories when told to", async () => {
  const root = mkdtempSync(join(directory, "fmt-"));
  const { mkdirSync } = await import("node:fs");
  mkdirSync(join(root, "sub"));
  const ugly = 'job "x" {\n group "g" {\ncount=1\n}\n}\n';
  writeFileSync(join(root, "a.hcl"), ugly);
  writeFileSync(join(root, "sub/b.nomad"), ugly);
  const check = await runCli(["fmt", "-check", "-recursive", "."], { cwd: root });
  assert.deepEqual([check.code, check.stdout], [1, "a.hcl\nsub/b.nomad\n"]);
  assert.equal(readFileSync(join(root, "a.hcl"), "utf8"), ugly);
  const write = await runCli(["fmt", "."], { cwd: root });
  assert.deepEqual([write.code, write.stdout], [0, "a.hcl\n"]);
  assert.match(readFileSync(join(root, "a.hcl"), "utf8"), /^ {4}count = 1$/m);
  assert.equal(readFileSync(join(root, "sub/b.nomad"), "utf8"), ugly);
  writeFileSync(join(root, "bad.hcl"), "job {");
  const bad = await runCli(["fmt", "bad.hcl"], { cwd: root });
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /bad\.hcl:1/);
});

test("operator api sends what it is told and prints the answer as it is", async () => {
  const routes: Routes = { "POST /v1/search": { status: 500, text: "as it is" } };
  const argv = ["operator", "api", "-H", "X-A: b", "/v1/search?x=1"];
  const { run, asked } = await ask(routes, argv, { stdin: "{}" });
  assert.deepEqual([run.code, run.stdout], [0, "as it is"]);
  assert.equal(asked[0]!.headers["x-a"], "b");
  assert.equal(asked[0]!.body, "{}");
  assert.equal(asked[0]!.query.get("x"), "1");
});

test("files and addresses that cannot be are told in the same words on every runtime", async () => {
  const cases: [argv: string[], message: string][] = [
    [
      ["job", "init", "-short", "/nope/x"],
      "Failed to write '/nope/x': open /nope/x: no such file or directory\n",
    ],
    [
      ["status", "-address", "no scheme"],
      "Error initializing client: invalid address 'no scheme': unsupported protocol scheme \"\"\n",
    ],
  ];
  for (const [argv, message] of cases) {
    const run = await runCli(argv, { cwd: directory });
    assert.equal(run.code, 1);
    assert.ok(run.stderr.startsWith(message), run.stderr);
  }
});
