// Services on a real agent: registered while they run, gone when they end, and a group whose service has no check
// becomes healthy by its tasks alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { allocWith, shellJob, TestAgent } from "./harness.ts";

test("a service without checks: registered, healthy after min_healthy_time, gone after the stop", async () => {
  const agent = new TestAgent();
  try {
    await agent.start();
    await agent.put(
      "/v1/jobs",
      shellJob("svc", "exec sleep 1000", {
        group: {
          Networks: [{ DynamicPorts: [{ Label: "p" }] }],
          Services: [{ Name: "x", PortLabel: "p", Provider: "nomad" }],
          Update: { MaxParallel: 1, MinHealthyTime: 300e6, HealthyDeadline: 10e9, ProgressDeadline: 20e9 },
        },
      }),
    );
    await allocWith(agent, "svc", "running");
    await agent.until(async () => {
      const deployment = await agent.get<{ Status: string }>("/v1/job/svc/deployment");
      assert.notEqual(deployment.Status, "failed");
      return deployment.Status === "successful";
    }, "the deployment");
    const [registration] = await agent.get<{ ServiceName: string; Port: number }[]>("/v1/service/x");
    assert.equal(registration!.ServiceName, "x");
    assert.ok(registration!.Port > 0);
    await agent.call("DELETE", "/v1/job/svc");
    await allocWith(agent, "svc", "complete");
    assert.deepEqual(await agent.get("/v1/services"), []);
  } finally {
    await agent.destroy();
  }
});
