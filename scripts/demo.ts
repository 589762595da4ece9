// `deno task demo`: what a first look should show. Sets up, starts a dev agent, runs examples/hello.nomad.hcl with the
// command line that users have, shows status, allocations and logs, and goes on until Ctrl-C.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { root, setUp } from "./setup.ts";

const tools = setUp();
const port = await choosePort(4646);
const address = `http://127.0.0.1:${port}`;
const env = { ...process.env, PATH: tools.path, NOMAD_ADDR: address, NOMAD_CLI_SHOW_HINTS: "false" };
const entry = ["run", "-A", "--no-check", join(root, "mod.ts")];

console.log(`\n$ nomad agent -dev   (API on ${address})`);
// A group of its own: Ctrl-C reaches this script, which then stops the agent in order.
const agent = spawn(
  tools.deno,
  [...entry, "agent", "-dev", "-log-level=WARN", ...(await portFlags())],
  { env, stdio: ["ignore", "ignore", "inherit"], detached: true },
);
agent.once("exit", (code) => {
  if (!stopping) {
    console.error(`The agent ended with exit code ${code}: its messages stand above`);
    process.exit(1);
  }
});
let stopping = false;
process.once("SIGINT", () => void stop());
process.once("SIGTERM", () => void stop());
await untilReady();

nomad("node", "status");
nomad("job", "run", join(root, "examples", "hello.nomad.hcl"));
nomad("job", "status", "hello");
await new Promise((resolve) => setTimeout(resolve, 2500));
nomad("alloc", "logs", "-job", "hello");
console.log(`\nThe API: ${address}/v1/job/hello/allocations`);
console.log(`The command line: NOMAD_ADDR=${address} deno run -A mod.ts job status hello`);
console.log("Ctrl-C stops the job and the agent.");
await new Promise(() => setInterval(() => undefined, 60_000));

/** Runs one command as a user would, its output on this terminal. */
function nomad(...args: string[]): void {
  console.log(`\n$ nomad ${args.map((arg) => arg.replace(`${root}/`, "")).join(" ")}`);
  spawnSync(tools.deno, [...entry, ...args], { env, stdio: "inherit" });
}

async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  nomad("job", "stop", "-purge", "-detach", "hello");
  await new Promise((resolve) => setTimeout(resolve, 1000));
  agent.once("exit", () => process.exit(0));
  agent.kill("SIGINT");
  setTimeout(() => {
    agent.kill("SIGKILL");
    process.exit(0);
  }, 5000).unref();
}

async function untilReady(): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const nodes = await fetch(`${address}/v1/nodes`).then((answer) => answer.json()).catch(() => []) as {
      Status: string;
    }[];
    if (Array.isArray(nodes) && nodes.some((node) => node.Status === "ready")) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("The agent was not ready after 30 s: run `deno run -A mod.ts agent -dev` to see why");
}

/** Nomad's own port if it is free, else one that the system chooses. */
async function choosePort(wanted: number): Promise<number> {
  for (const candidate of [wanted, 0]) {
    const chosen = await new Promise<number | undefined>((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(undefined));
      server.listen(candidate, "127.0.0.1", () => {
        const { port } = server.address() as { port: number };
        server.close(() => resolve(port));
      });
    });
    if (chosen !== undefined) return chosen;
  }
  throw new Error("No port is free on 127.0.0.1");
}

/** Ports for the agent: a configuration file, because Nomad has no flag for them. */
async function portFlags(): Promise<string[]> {
  const file = join(mkdtempSync(join(tmpdir(), "nomad-demo-")), "ports.hcl");
  const standard = port === 4646;
  writeFileSync(
    file,
    `ports {\n  http = ${port}\n  rpc  = ${standard ? await choosePort(4647) : 0}\n  serf = 0\n}\n`,
  );
  return ["-config", file];
}
