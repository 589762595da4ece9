// `job wait` against a real agent: jobs that complete, fail, are tried again, are stopped, run on; and what has no end.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestAgent } from "../e2e/harness.ts";

const agent = new TestAgent();

before(async () => await agent.start());
after(async () => await agent.destroy());

interface Shape {
  type?: string;
  /** Lines of the job besides its group. */
  head?: string;
  reschedule?: string;
  count?: number;
}

/** Registers a job whose task runs the script, without waiting for it. */
async function start(id: string, script: string, shape: Shape = {}): Promise<void> {
  const file = join(agent.folder, `${id}.nomad.hcl`);
  writeFileSync(
    file,
    `
job "${id}" {
  type = "${shape.type ?? "batch"}"
  ${shape.head ?? ""}
  group "g" {
    count = ${shape.count ?? 1}
    restart {
      attempts = 0
      mode     = "fail"
    }
    ${
      shape.reschedule ??
        (shape.type === "sysbatch" ? "" : "reschedule {\n attempts = 0\n unlimited = false\n}")
    }
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", ${JSON.stringify(script)}]
      }
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
`,
  );
  const answer = await agent.nomad("job", "run", "-detach", file);
  assert.equal(answer.code, 0, answer.stderr);
}

test("job wait ends with 0 when every allocation completed", async () => {
  await start("good", "sleep 1", { count: 2 });
  const waited = await agent.nomad("job", "wait", "good");
  assert.deepEqual(
    [waited.code, waited.stdout],
    [0, 'Job "good" ended: 2 allocations complete\n'],
    waited.stderr,
  );
  // It has ended long ago: the answer is there at once.
  assert.equal((await agent.nomad("job", "wait", "-timeout", "30s", "good")).code, 0);
});

test("job wait ends with the failed task's exit code", async () => {
  await start("bad", "exit 7");
  const waited = await agent.nomad("job", "wait", "bad");
  assert.equal(waited.code, 7, waited.stdout + waited.stderr);
  assert.match(waited.stderr, /^Allocation "[0-9a-f]{8}" \(bad\.g\[0\]\) failed in task "t": Exit Code: 7\n/);
  assert.match(waited.stderr, /Job "bad" failed\n$/);
});

test("job wait is not deceived by a failure that is tried again", async () => {
  const marker = join(agent.folder, "second-try");
  const reschedule =
    'reschedule {\n attempts = 1\n interval = "1h"\n delay = "5s"\n delay_function = "constant"\n}';
  await start("again", `test -e ${marker} || { touch ${marker}; exit 1; }`, { reschedule });
  const waited = await agent.nomad("job", "wait", "again");
  assert.deepEqual(
    [waited.code, waited.stdout],
    [0, 'Job "again" ended: 1 allocation complete\n'],
    waited.stderr,
  );
});

test("job wait gives up after -timeout and the job runs on", async () => {
  await start("long", "exec sleep 600");
  const waited = await agent.nomad("job", "wait", "-timeout=300ms", "long");
  assert.equal(waited.code, 124, waited.stderr);
  assert.match(waited.stderr, /still runs/);

  const waiting = agent.nomad("job", "wait", "long");
  await agent.nomad("job", "stop", "-detach", "long");
  const stopped = await waiting;
  assert.equal(stopped.code, 1, stopped.stdout);
  assert.equal(stopped.stderr, 'Job "long" was stopped before its end\n');
});

test("job wait waits for instances, sysbatch jobs too, and refuses what has no end", async () => {
  await start("every", "exit 0", { type: "sysbatch" });
  assert.equal((await agent.nomad("job", "wait", "every")).code, 0);

  await start("template", "exit 3", { head: "parameterized {}" });
  const parent = await agent.nomad("job", "wait", "template");
  assert.deepEqual(
    [parent.code, /is parameterized and never ends/.test(parent.stderr)],
    [1, true],
    parent.stderr,
  );
  const dispatched = await agent.nomad("job", "dispatch", "-detach", "template");
  const instance = /Dispatched Job ID += (\S+)/.exec(dispatched.stdout)![1]!;
  assert.equal((await agent.nomad("job", "wait", instance)).code, 3);

  await start("service", "exec sleep 600", { type: "service" });
  const service = await agent.nomad("job", "wait", "service");
  assert.deepEqual([service.code, /has no end of its own/.test(service.stderr)], [1, true], service.stderr);
  assert.equal((await agent.nomad("job", "wait", "nothing")).code, 1);
});
