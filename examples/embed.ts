// An appliance's own program with the orchestrator inside: starts an agent, hears its events, runs a job, stops.
//   deno run -A examples/embed.ts     or     bun examples/embed.ts
import { Agent, parseJob } from "../mod.ts";

const agent = new Agent({
  dev: true,
  name: "appliance",
  ports: { http: 0, rpc: 0, serf: 0 },
  logLevel: "WARN",
});
agent.on("allocation", (event) => console.log(`${event.name} is ${event.clientStatus}`));
await agent.start();
console.log(`API at http://${agent.httpAddress}`);

const job = parseJob(`
  job "tick" {
    type = "batch"
    group "g" {
      task "t" {
        driver = "raw_exec"
        config {
          command = "/bin/sh"
          args    = ["-c", "echo tick"]
        }
      }
    }
  }
`);
const ended = new Promise<void>((resolve) => {
  agent.on("allocation", (event) => event.jobId === "tick" && event.clientStatus === "complete" && resolve());
});
await agent.api.put("/v1/jobs", { Job: job });
await ended;
await agent.stop();
