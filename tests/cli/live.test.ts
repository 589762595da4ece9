// The command line as a user has it: real processes against a real agent, through a job's life.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { program, run, TestAgent } from "../e2e/harness.ts";

const JOB = (text: string, count: number) => `
job "hello" {
  update {
    min_healthy_time = "0s"
  }
  group "g" {
    count = ${count}
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo ${text}; echo problem >&2; exec sleep 600"]
      }
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
`;

test("a job's life from plan to purge, told by the command line", async () => {
  const agent = new TestAgent();
  try {
    await agent.start();
    const file = join(agent.folder, "hello.nomad.hcl");
    writeFileSync(file, JOB("hello", 1));

    const planned = await agent.nomad("plan", file);
    assert.equal(planned.code, 1, planned.stderr);
    assert.match(
      planned.stdout,
      /^\+ Job: "hello"\n\+ Task Group: "g" \(1 create\)\n {2}\+ Task: "t" \(forces create\)\n/,
    );

    const started = await agent.nomad("job", "run", file);
    assert.equal(started.code, 0, started.stdout + started.stderr);
    assert.match(started.stdout, /Evaluation triggered by job "hello"\n/);
    assert.match(started.stdout, /Status {6}= successful\n/);

    const again = await agent.nomad("plan", file);
    assert.equal(again.code, 0, again.stdout);

    const status = await agent.nomad("status", "hello");
    assert.match(status.stdout, /^g {11}0 {7}0 {9}1 {8}0 {7}0 {9}0 {5}0$/m);
    const list = await agent.nomad("job", "allocs", "-t", "{{range .}}{{.ID}}{{end}}", "hello");
    const alloc = list.stdout.trim();
    assert.match(alloc, /^[0-9a-f-]{36}$/);

    const shown = await agent.nomad("alloc", "status", alloc.slice(0, 8));
    assert.match(shown.stdout, /^Task "t" is "running"$/m);
    assert.match(shown.stdout, /Started {5}Task started by client$/m);

    assert.equal((await agent.nomad("alloc", "logs", alloc)).stdout, "hello\n");
    assert.equal(
      (await agent.nomad("alloc", "logs", "-stderr", "-tail", "-n", "1", alloc)).stdout,
      "problem\n",
    );
    assert.match((await agent.nomad("alloc", "fs", alloc)).stdout, / alloc\/\n.* t\/\n$/);
    assert.equal((await agent.nomad("alloc", "fs", alloc, "alloc/logs/t.stdout.0")).stdout, "hello\n");

    writeFileSync(file, JOB("changed", 2));
    const changed = await agent.nomad("plan", file);
    assert.equal(changed.code, 1);
    assert.match(changed.stdout, /\+\/- Count: "1" => "2" \(forces create\)/);
    const stale = await agent.nomad("run", "-check-index", "1", file);
    assert.equal(stale.code, 1);
    assert.match(
      stale.stderr,
      /^Enforcing job modify index 1: job exists with conflicting job modify index: \d+\nJob not updated\n$/,
    );

    const unplaceable = await agent.nomad("run", "-json", hugeBatch(agent.folder));
    assert.equal(unplaceable.code, 2, unplaceable.stdout + unplaceable.stderr);
    assert.match(unplaceable.stdout, /\* Dimension "memory" exhausted on 1 nodes\n/);

    const stopped = await agent.nomad("job", "stop", "-purge", "hello");
    assert.equal(stopped.code, 0, stopped.stderr);
    assert.equal(
      (await agent.nomad("job", "status", "hello")).stderr,
      'No job(s) with prefix or ID "hello" found\n',
    );

    assert.match((await agent.nomad("node", "status")).stdout, / eligible {5}ready\n$/);
    assert.match((await agent.nomad("server", "members")).stdout, / alive {3}true /);
    assert.match((await agent.nomad("agent-info")).stdout, /^raft$/m);
  } finally {
    await agent.destroy();
  }
});

function hugeBatch(folder: string): string {
  const file = join(folder, "huge.json");
  const task = {
    Name: "t",
    Driver: "raw_exec",
    Config: { command: "/bin/true" },
    Resources: { MemoryMB: 99_999_999 },
  };
  const job = { ID: "huge", Type: "batch", TaskGroups: [{ Name: "g", Count: 1, Tasks: [task] }] };
  writeFileSync(file, JSON.stringify({ Job: job }));
  return file;
}

test("a closed pipe is no error", async () => {
  const output = await run([
    "/bin/sh",
    "-c",
    `${program.map((word) => `'${word}'`).join(" ")} --help | head -1`,
  ]);
  assert.equal(output.stderr, "");
  assert.equal(
    output.stdout,
    "Usage: nomad [-version] [-help] [-autocomplete-(un)install] <command> [args]\n",
  );
});
