// The monitors: what `job run` and its relatives print while a scheduler works, compared with the recordings after
// their ids and times were made equal, and the exit codes that follow.
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Answer, HINTS, type Routes, type Run, runCli, type RunOptions, withAgent } from "./harness.ts";
import { FILES, RECORDED_ADDRESS, recording, shellWords } from "./recording.ts";

const directory = mkdtempSync(join(tmpdir(), "nomad-cli-monitor-"));
cpSync(FILES, directory, { recursive: true });
after(() => rmSync(directory, { recursive: true, force: true }));

type Json = Record<string, unknown>;
const json = (value: unknown): Answer => ({ json: value });

/** Times and short ids stand for themselves in neither text: the n-th different one is called n. */
function plain(text: string): string {
  return text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, "TIME");
}

async function follow(number: string, routes: Routes, options: RunOptions = {}): Promise<Run> {
  return await withAgent({ ...HINTS, ...routes }, async (agent) => {
    const run = await runCli(shellWords(recording(number).command), {
      cwd: directory,
      nowMs: Date.parse("2026-11-22T04:17:37Z"),
      ...options,
      env: { NOMAD_ADDR: agent.address, ...options.env },
    });
    const own = (text: string) => text.replaceAll(agent.address, RECORDED_ADDRESS);
    return { ...run, stdout: own(run.stdout), stderr: own(run.stderr) };
  });
}

async function sameAs(number: string, routes: Routes, options: RunOptions = {}): Promise<void> {
  const recorded = recording(number);
  const run = await follow(number, routes, options);
  assert.equal(plain(run.stdout), plain(recorded.stdout));
  assert.equal(run.stderr, recorded.stderr);
  assert.equal(run.code, recorded.code);
}

const WARNING =
  '1 warning:\n\n* group "app" defines services, but neither the group nor any of its tasks have shutdown_delay set';
const id = (short: string) => `${short}-0000-0000-0000-000000000000`;

function evaluation(short: string, job: string, more: Json = {}): Json {
  return {
    ID: id(short),
    JobID: job,
    Status: "pending",
    CreateIndex: 100,
    TriggeredBy: "job-register",
    ...more,
  };
}

function alloc(short: string, node: string, status: string, more: Json = {}): Json {
  return {
    ID: id(short),
    NodeID: id(node),
    TaskGroup: "app",
    DesiredStatus: "run",
    ClientStatus: status,
    ClientDescription: status === "running" ? "Tasks are running" : "",
    CreateIndex: 101,
    ...more,
  };
}

function deployment(short: string, job: string, healthy: number, more: Json = {}): Json {
  return {
    ID: id(short),
    JobID: job,
    JobVersion: 0,
    Status: "running",
    StatusDescription: "Deployment is running",
    TaskGroups: {
      app: {
        AutoRevert: false,
        Promoted: false,
        DesiredCanaries: 0,
        DesiredTotal: 2,
        PlacedAllocs: 2,
        HealthyAllocs: healthy,
        UnhealthyAllocs: 0,
        ProgressDeadline: 40e9,
        RequireProgressBy: "2026-11-22T04:18:20Z",
      },
    },
    ...more,
  };
}

const SUCCESS = { Status: "successful", StatusDescription: "Deployment completed successfully" };

function runRoutes(short: string, warnings: string): Routes {
  return {
    "PUT /v1/jobs": json({ EvalID: id(short), EvalCreateIndex: 100, JobModifyIndex: 99, Warnings: warnings }),
  };
}

test("job run follows evaluation and deployment on a pipe (recording 038)", async () => {
  const done = { Status: "complete", DeploymentID: id("6ace5816") };
  const [a, b] = [alloc("8d98e7ea", "224d62fe", "pending"), alloc("e4b5fb55", "4f42ada6", "pending")];
  const running = [a, b].map((each) => ({
    ...each,
    ClientStatus: "running",
    ClientDescription: "Tasks are running",
  }));
  await sameAs("038", {
    ...runRoutes("19d9e112", WARNING),
    [`GET /v1/evaluation/${id("19d9e112")}`]: [
      json(evaluation("19d9e112", "cweb")),
      json(evaluation("19d9e112", "cweb", done)),
    ],
    [`GET /v1/evaluation/${id("19d9e112")}/allocations`]: [json([a, b]), json(running)],
    [`GET /v1/deployment/${id("6ace5816")}`]: [
      json(deployment("6ace5816", "cweb", 0)),
      json(deployment("6ace5816", "cweb", 1)),
      json(deployment("6ace5816", "cweb", 2)),
      json(deployment("6ace5816", "cweb", 2, SUCCESS)),
    ],
  });
});

test("job run says that allocations were modified in place (recording 048)", async () => {
  const old = { CreateIndex: 50 };
  await sameAs("048", {
    ...runRoutes("e98d929b", WARNING),
    [`GET /v1/evaluation/${id("e98d929b")}`]: [
      json(evaluation("e98d929b", "cweb")),
      json(evaluation("e98d929b", "cweb", { Status: "complete", DeploymentID: id("00dc7187") })),
    ],
    [`GET /v1/evaluation/${id("e98d929b")}/allocations`]: [
      json([]),
      json([alloc("8d98e7ea", "224d62fe", "running", old), alloc("e4b5fb55", "4f42ada6", "running", old)]),
    ],
    [`GET /v1/deployment/${id("00dc7187")}`]: [0, 1, 2].map((healthy) =>
      json(deployment("00dc7187", "cweb", healthy, { JobVersion: 1 }))
    ).concat(json(deployment("00dc7187", "cweb", 2, { JobVersion: 1, ...SUCCESS }))),
  });
});

test("job run exits 2 when a batch job cannot be placed (recording 500)", async () => {
  await sameAs("500", {
    ...runRoutes("11512fb7", ""),
    [`GET /v1/evaluation/${id("11512fb7")}`]: json(evaluation("11512fb7", "ctoobigb", {
      Status: "complete",
      BlockedEval: id("e22cae9b"),
      FailedTGAllocs: {
        g: {
          NodesEvaluated: 2,
          NodesExhausted: 2,
          ClassExhausted: { "class-a": 1, "class-b": 1 },
          DimensionExhausted: { memory: 2 },
          CoalescedFailures: 0,
        },
      },
    })),
    [`GET /v1/evaluation/${id("11512fb7")}/allocations`]: json([]),
  });
});

test("job run exits 1 when the deployment fails (recording 233)", async () => {
  const state = (unhealthy: number) => ({
    TaskGroups: {
      app: {
        DesiredCanaries: 0,
        DesiredTotal: 2,
        PlacedAllocs: 1,
        HealthyAllocs: 0,
        UnhealthyAllocs: unhealthy,
        ProgressDeadline: 40e9,
        RequireProgressBy: "2026-11-22T04:21:35Z",
      },
    },
    JobVersion: 8,
  });
  const failed = { Status: "failed", StatusDescription: "Failed due to progress deadline", ...state(1) };
  await sameAs("233", {
    ...runRoutes("d4074e4e", WARNING),
    [`GET /v1/evaluation/${id("d4074e4e")}`]: [
      json(evaluation("d4074e4e", "cweb")),
      json(evaluation("d4074e4e", "cweb", { Status: "complete", DeploymentID: id("ff88aa2e") })),
    ],
    [`GET /v1/evaluation/${id("d4074e4e")}/allocations`]: json([alloc("ae6d9a48", "4f42ada6", "pending")]),
    [`GET /v1/deployment/${id("ff88aa2e")}`]: [
      json(deployment("ff88aa2e", "cweb", 0, state(0))),
      json(deployment("ff88aa2e", "cweb", 0, state(1))),
      json(deployment("ff88aa2e", "cweb", 0, failed)),
    ],
  });
});

test("job run redraws the deployment on a terminal and ends with its result", async () => {
  const run = await follow("239", {
    ...runRoutes("22e35521", ""),
    [`GET /v1/evaluation/${id("22e35521")}`]: json(
      evaluation("22e35521", "cweb", { Status: "complete", DeploymentID: id("70f762bd") }),
    ),
    [`GET /v1/evaluation/${id("22e35521")}/allocations`]: json([]),
    [`GET /v1/deployment/${id("70f762bd")}`]: [
      json(deployment("70f762bd", "cweb", 0)),
      json(deployment("70f762bd", "cweb", 2, SUCCESS)),
    ],
  }, { tty: true });
  const frames = run.terminal.split("\x1b[0G\x1b[2K  ");
  assert.match(frames[0]!, /⠙ Deployment "70f762bd" in progress\.\.\.$/);
  const recordedEnd = recording("239").terminal.split("  ✓ ")[1]!;
  const end = run.terminal.split("  ✓ ")[1]!;
  assert.equal(
    plain(end).replace("Job Version = 0 ", "Job Version = 11"),
    plain(recordedEnd).replace("Job Version = 11", "Job Version = 0"),
  );
});

test("job run -detach names the evaluation (recording 049)", async () => {
  const run = await follow("049", {
    "PUT /v1/jobs": json({ EvalID: "cb530b3e-7582-31af-9c2f-6e391e268ce1", Warnings: WARNING }),
  });
  assert.equal(run.stdout, recording("049").stdout);
  assert.equal(run.stderr, recording("049").stderr);
});

test("job run of parameterized and periodic jobs (recordings 055 and 056)", async () => {
  const nowMs = Date.parse("2026-11-22T04:18:25Z");
  const routes: Routes = {
    "PUT /v1/jobs": json({ EvalID: "" }),
    "GET /v1/job/ccron": json({
      Periodic: { Enabled: true, Specs: ["0 0 1 1 *"], TimeZone: "UTC", SpecType: "cron" },
    }),
  };
  for (const number of ["055", "056"]) {
    const run = await follow(number, routes, { nowMs });
    assert.equal(run.stdout, recording(number).stdout);
    assert.equal(run.stderr, recording(number).stderr);
  }
});

test("deployment status -monitor (recording 527)", async () => {
  const short = "b5973cf5";
  const state = deployment(short, "cweb", 2, { JobVersion: 1, ...SUCCESS });
  await sameAs("527", {
    "GET /v1/deployments": json([state]),
    [`GET /v1/deployment/${id(short)}`]: json(state),
  });
});

test("job dispatch follows the instance (recording 240)", async () => {
  const child = "cparam/dispatch-1795321312-9edb7f80";
  await sameAs("240", {
    "GET /v1/jobs": json([{ ID: "cparam", Namespace: "default", ParameterizedJob: true }]),
    "PUT /v1/job/cparam/dispatch": json({ DispatchedJobID: child, EvalID: id("8db904a8") }),
    [`GET /v1/evaluation/${id("8db904a8")}`]: [
      json(evaluation("8db904a8", child)),
      json(evaluation("8db904a8", child, { Status: "complete" })),
    ],
    [`GET /v1/evaluation/${id("8db904a8")}/allocations`]: [
      json([]),
      json([alloc("7816de73", "4f42ada6", "pending", { TaskGroup: "g" })]),
    ],
  });
});

test("job restart goes in batches and waits between them (recording 249)", async () => {
  const running = (short: string, index: number) =>
    alloc(short, "4f42ada6", "running", { CreateIndex: index });
  const routes: Routes = {
    "GET /v1/jobs": json([{ ID: "cweb", Namespace: "default" }]),
    "GET /v1/job/cweb/allocations": json([running("8a5e64d5", 1), running("77262782", 2)]),
    [`PUT /v1/client/allocation/${id("8a5e64d5")}/restart`]: json({}),
    [`PUT /v1/client/allocation/${id("77262782")}/restart`]: json({}),
  };
  await sameAs("249", routes);
});

test("job restart -reschedule waits for the replacements", async () => {
  const routes: Routes = {
    "GET /v1/jobs": json([{ ID: "cweb", Namespace: "default" }]),
    "GET /v1/job/cweb/allocations": json([alloc("77262782", "4f42ada6", "running")]),
    [`PUT /v1/allocation/${id("77262782")}/stop`]: json({ EvalID: "x" }),
    [`GET /v1/allocation/${id("77262782")}`]: [json({}), json({ NextAllocation: id("b9d0e8df") })],
    [`GET /v1/allocation/${id("b9d0e8df")}`]: [
      json({ ClientStatus: "pending" }),
      json({ ClientStatus: "running" }),
    ],
  };
  const run = await withAgent(
    routes,
    (agent) =>
      runCli(["job", "restart", "-yes", "-reschedule", "cweb"], { env: { NOMAD_ADDR: agent.address } }),
  );
  assert.equal(run.code, 0);
  assert.match(
    plain(run.stdout),
    /TIME: Allocation "77262782" replaced by "b9d0e8df", waiting for "b9d0e8df" to start running\n.*TIME: Allocation "b9d0e8df" is "running"\n/,
  );
});

test("job restart tells what failed and exits 1", async () => {
  const routes: Routes = {
    "GET /v1/jobs": json([{ ID: "cbatch", Namespace: "default" }]),
    "GET /v1/job/cbatch/allocations": json([alloc("cb27f564", "4f42ada6", "running", { TaskGroup: "g" })]),
    [`PUT /v1/client/allocation/${id("cb27f564")}/restart`]: { status: 500, text: "Task not running" },
  };
  const run = await withAgent(
    routes,
    (agent) =>
      runCli(["job", "restart", "-yes", "-on-error=fail", "cbatch"], { env: { NOMAD_ADDR: agent.address } }),
  );
  assert.equal(run.code, 1);
  assert.match(
    run.stderr,
    /1 error occurred while restarting job:\n\* Error restarting allocation "cb27f564": Unexpected response code: 500 \(Task not running\)/,
  );
});

test("node drain follows the node and its allocations (recording 159, in our order)", async () => {
  const node = "224d62fe-c41d-f25c-736f-01c70cc64f5d";
  const one = (status: string, desired: string, migrate: boolean | null) => ({
    ID: "8d98e7ea-dae3-5c2a-a844-2464976c2ec2",
    Job: { Type: "service" },
    ClientStatus: status,
    DesiredStatus: desired,
    DesiredTransition: { Migrate: migrate },
  });
  const routes: Routes = {
    "GET /v1/nodes": json([{ ID: node }]),
    [`PUT /v1/node/${node}/drain`]: json({ NodeModifyIndex: 5 }),
    [`GET /v1/node/${node}`]: [
      json({ ModifyIndex: 5, DrainStrategy: { Deadline: 10e9 } }),
      json({ ModifyIndex: 6, DrainStrategy: null }),
    ],
    [`GET /v1/node/${node}/allocations`]: [
      json([one("running", "run", null)]),
      json([one("running", "stop", true)]),
      json([one("complete", "stop", true)]),
    ],
  };
  await withAgent(routes, async (agent) => {
    const run = await runCli(shellWords(recording("159").command), { env: { NOMAD_ADDR: agent.address } });
    assert.equal(run.code, 0);
    const said = plain(run.stdout).split("\n").filter((line) => !line.includes("Drain complete"));
    const recorded = plain(recording("159").stdout).split("\n")
      .filter((line) => !line.includes("Drain complete") && !line.includes("f3ea8b8b"));
    assert.deepEqual(said, recorded);
    assert.match(plain(run.stdout), /TIME: Drain complete for node 224d62fe/);
    const sent = JSON.parse(agent.asked.find((asked) => asked.method === "PUT")!.body);
    assert.deepEqual(sent.DrainSpec, { Deadline: 10e9, IgnoreSystemJobs: false });
    assert.deepEqual(sent.Meta, { message: "maintenance" });
  });
});
