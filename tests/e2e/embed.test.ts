// The library inside another program: examples/embed.ts as it stands, and the typed events and API of Agent.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Agent, type AllocationEvent, ApiError, parseJob } from "../../mod.ts";
import { program, root, run } from "./harness.ts";

test("examples/embed.ts runs a job inside its own program and ends by itself", async () => {
  const command = program.map((word) => word.endsWith("mod.ts") ? join(root, "examples", "embed.ts") : word);
  const output = await run(command);
  assert.equal(output.code, 0, output.stderr);
  assert.match(output.stdout, /API at http:\/\/127\.0\.0\.1:\d+/);
  assert.match(output.stdout, /tick\.g\[0\] is complete/);
});

test("Agent: starts, tells events, answers its API without a socket, stops, and starts again", async () => {
  for (let round = 0; round < 2; round++) {
    const events: AllocationEvent[] = [];
    const agent = new Agent({ dev: true, name: "box", ports: { http: 0, rpc: 0, serf: 0 }, logLevel: "OFF" });
    agent.on("allocation", (event) => events.push(event));
    const complete = new Promise<void>((done) => {
      agent.on("allocation", (event) => event.clientStatus === "complete" && done());
    });
    await agent.start();
    try {
      const job = parseJob(`job "one" {
        type = "batch"
        group "g" {
          task "t" {
            driver = "mock_driver"
            config { run_for = "50ms" }
          }
        }
      }`);
      await agent.api.put("/v1/jobs", { Job: job });
      await complete;
      assert.equal(events[0]!.jobId, "one");
      assert.equal(events[0]!.name, "one.g[0]");
      await assert.rejects(
        agent.api.get("/v1/job/none"),
        (error: unknown) =>
          error instanceof ApiError && error.status === 404 && /not found/.test(error.message),
      );
      const viaSocket = await fetch(`http://${agent.httpAddress}/v1/job/one`);
      assert.equal(((await viaSocket.json()) as { ID: string }).ID, "one");
    } finally {
      await agent.stop();
    }
    await assert.rejects(fetch(`http://${agent.httpAddress}/v1/jobs`), "nothing listens after stop");
  }
});
