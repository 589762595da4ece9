// Tasks survive the agent: after kill -9 and a new start the same processes run on, their output goes on without a lost
// or doubled line, and the exit code of a task that ended meanwhile is known.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { allocWith, pidFrom, processState, shellJob, TestAgent } from "./harness.ts";

test("kill -9 of the agent: the same pids run on, logs go on, and a meanwhile exit code is known", async () => {
  const agent = new TestAgent({ durable: true });
  const pidFile = join(agent.folder, "pid");
  const gate = join(agent.folder, "gate");
  try {
    await agent.start();
    await agent.put(
      "/v1/jobs",
      shellJob(
        "counter",
        `echo $$ > ${pidFile}; i=0; while true; do echo line $i; i=$((i+1)); sleep 0.05; done`,
      ),
    );
    // Ends with 7 as soon as the gate opens: that is, while no agent is there.
    await agent.put(
      "/v1/jobs",
      shellJob("leaver", `while [ ! -e ${gate} ]; do sleep 0.05; done; exit 7`, {
        type: "batch",
        group: {
          RestartPolicy: { Attempts: 0, Interval: 60e9, Delay: 1e9, Mode: "fail" },
          ReschedulePolicy: { Attempts: 0, Unlimited: false },
        },
      }),
    );
    const alloc = await allocWith(agent, "counter", "running");
    await allocWith(agent, "leaver", "running");
    const pid = await pidFrom(pidFile);

    await agent.end("SIGKILL");
    writeFileSync(gate, "");
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.match(processState(pid) ?? "gone", /[SRD]/, "the task runs without an agent");

    await agent.start();
    const failed = await allocWith(agent, "leaver", "failed");
    const events = failed.TaskStates!["t"]!.Events;
    assert.ok(
      events.some((event) => event.Type === "Terminated" && event.ExitCode === 7),
      JSON.stringify(events),
    );

    assert.match(processState(pid) ?? "gone", /[SRD]/, "the task runs on under the new agent");
    const after = await allocWith(agent, "counter", "running");
    assert.equal(after.ID, alloc.ID);
    assert.equal(after.TaskStates!["t"]!.Restarts, 0);
    const seen = await lines(agent, alloc.ID);
    const numbers = await agent.until(async () => {
      const now = await lines(agent, alloc.ID);
      return now.length > seen.length + 5 ? now : undefined;
    }, "output to go on");
    assert.ok(numbers.length > 15, `only ${numbers.length} lines`);
    numbers.forEach((number, i) => assert.equal(number, i, "lines in order, none lost, none doubled"));

    await agent.call("DELETE", "/v1/job/counter");
    await allocWith(agent, "counter", "complete");
    assert.equal(processState(pid), undefined, "stopped by the agent that found it again");
  } finally {
    await agent.destroy();
  }
});

/** The numbers of the lines that the task has printed. */
async function lines(agent: TestAgent, id: string): Promise<number[]> {
  const response = await fetch(`${agent.address}/v1/client/fs/logs/${id}?task=t&type=stdout&plain=true`);
  return (await response.text()).trimEnd().split("\n").map((line) => Number(line.split(" ")[1]));
}
