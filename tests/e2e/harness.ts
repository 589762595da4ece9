// Real agents for end-to-end tests: processes of the runtime that runs the test, on ports that the system chose, with a
// data dir of their own; and the command line run the same way. Every process is ended by its id.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const isDeno = "Deno" in globalThis;

/** How this runtime runs the program. */
export const program = isDeno
  ? [process.execPath, "run", "-A", "--no-check", join(root, "mod.ts")]
  : [process.execPath, join(root, "mod.ts")];

export interface Output {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end. */
export function run(
  command: readonly string[],
  options: { env?: Record<string, string>; cwd?: string; stdin?: string; timeoutMs?: number } = {},
): Promise<Output> {
  return new Promise((done, fail) => {
    const child = spawn(command[0]!, command.slice(1), {
      cwd: options.cwd ?? root,
      env: { ...process.env, NO_COLOR: "1", NOMAD_CLI_SHOW_HINTS: "false", ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => stdout += chunk);
    child.stderr.on("data", (chunk: Buffer) => stderr += chunk);
    child.on("error", fail);
    child.on("close", (code) => {
      clearTimeout(timer);
      done({ code: code ?? -1, stdout, stderr });
    });
    child.stdin.end(options.stdin ?? "");
  });
}

export interface AgentOptions {
  /** Keep state over restarts of the process; -dev in memory without. */
  durable?: boolean;
  client?: boolean;
  /** Only a device, of the server (or servers) at this rpc address. */
  deviceOf?: string | string[];
  /** Name of the agent and its node. */
  name?: string;
  /** More configuration (HCL). */
  config?: string;
  /** Instead of `program`: another way to run it. */
  command?: readonly string[];
  env?: Record<string, string>;
}

/** One agent, and its successors in the same data dir. */
export class TestAgent {
  readonly folder = mkdtempSync(join(tmpdir(), "e2e-"));
  address = "";
  #ports = { http: 0, rpc: 0 };
  #child: ChildProcess | undefined;
  #log = "";

  constructor(readonly options: AgentOptions = {}) {}

  /** host:port of its rpc listener. */
  get rpcAddress(): string {
    return `127.0.0.1:${this.#ports.rpc}`;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Of the server's listener for devices. */
  get rpcPort(): number {
    return this.#ports.rpc;
  }

  /** Everything that it printed. */
  get log(): string {
    return this.#log;
  }

  /** Starts the process; resolves when the API has a leader and, with a client, a ready node. */
  async start(): Promise<void> {
    const file = join(this.folder, "agent.hcl");
    writeFileSync(file, this.#configuration());
    const [command, ...args] = this.options.command ?? program;
    const flags = ["agent", ...(this.options.durable ? [] : ["-dev"]), "-config", file];
    const child = this.#child = spawn(command!, [...args, ...flags], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...this.options.env },
      cwd: this.folder,
    });
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on("data", (chunk: Buffer) => this.#log += chunk);
    }
    await this.#until(() => /Nomad agent started/.test(this.#log), "the banner");
    const bound = /Bind Addrs: HTTP: \[127\.0\.0\.1:(\d+)\](?:; RPC: 127\.0\.0\.1:(\d+))?/.exec(
      this.#log.slice(this.#log.lastIndexOf("Bind Addrs")),
    )!;
    this.#ports = { http: Number(bound[1]), rpc: Number(bound[2] ?? 0) };
    this.address = `http://127.0.0.1:${bound[1]}`;
    await this.#until(async () => (await this.get<string>("/v1/status/leader")) !== "", "a leader");
    if (this.options.client === false) return;
    await this.#until(async () => {
      const nodes = await this.get<{ Status: string }[]>("/v1/nodes");
      return nodes.some((node) => node.Status === "ready");
    }, "a ready node");
  }

  async get<T>(path: string): Promise<T> {
    return await this.call<T>("GET", path);
  }

  async put<T>(path: string, body?: unknown): Promise<T> {
    return await this.call<T>("PUT", path, body);
  }

  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const init: RequestInit = { method, signal: AbortSignal.timeout(15_000) };
    if (body !== undefined) init.body = JSON.stringify(body);
    const response = await fetch(this.address + path, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text ? JSON.parse(text) : undefined) as T;
  }

  /** Runs a command of the command line against this agent. */
  nomad(...args: string[]): Promise<Output> {
    return run([...program, ...args], { env: { NOMAD_ADDR: this.address } });
  }

  /** Waits until `probe` gives a value. */
  until<T>(probe: () => Promise<T | undefined | false>, what: string, timeoutMs = 30_000): Promise<T> {
    return this.#until(probe, what, timeoutMs);
  }

  /** Sends a signal and waits for the end of the process; its exit code, or null when a signal ended it. */
  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<number | null> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = new Promise<number | null>((done) => child.once("exit", (code) => done(code)));
    // Not child.kill: after that Deno reports the signal instead of the exit code.
    process.kill(child.pid!, signal);
    return await ended;
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Stops every job, then the agent, and removes what it left. */
  async destroy(): Promise<void> {
    if (this.#child && this.#child.exitCode === null && this.#child.signalCode === null) {
      if (this.options.deviceOf === undefined) {
        await this.#stopJobs().catch((error) => console.error(`jobs were not stopped: ${error}`));
      }
      await this.end("SIGTERM");
    }
    this.#killTasks();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Tasks outlive their agent: those of a device whose servers are gone are ended by the pids that raw_exec keeps. */
  #killTasks(): void {
    const allocs = join(this.folder, "data", "alloc");
    for (const id of existsSync(allocs) ? readdirSync(allocs) : []) {
      const logs = join(allocs, id, "alloc", "logs");
      for (const run of existsSync(logs) ? readdirSync(logs).filter((name) => name.startsWith(".")) : []) {
        const file = join(logs, run, "pid");
        const pid = existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
        if (pid > 1 && processState(pid)?.match(/[SRD]/)) process.kill(pid, "SIGKILL");
      }
    }
  }

  async #stopJobs(): Promise<void> {
    const jobs = await this.get<{ ID: string; Namespace: string }[]>("/v1/jobs?namespace=*");
    for (const job of jobs) {
      await this.call("DELETE", `/v1/job/${encodeURIComponent(job.ID)}?namespace=${job.Namespace}`);
    }
    await this.until(
      async () => {
        const allocs = await this.get<{ ClientStatus: string }[]>("/v1/allocations?namespace=*");
        return allocs.every((alloc) => !["pending", "running"].includes(alloc.ClientStatus));
      },
      "all tasks to end",
      20_000,
    );
  }

  async #until<T>(
    probe: () => T | Promise<T>,
    what: string,
    timeoutMs = 30_000,
  ): Promise<Exclude<T, undefined | false>> {
    const end = performance.now() + timeoutMs;
    let last: unknown;
    while (performance.now() < end) {
      if (this.#child && this.#child.exitCode !== null) {
        throw new Error(
          `The agent ended with ${this.#child.exitCode} while waiting for ${what}:\n${this.#log}`,
        );
      }
      try {
        const value = await probe();
        if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
      } catch (error) {
        last = error;
      }
      await new Promise((wake) => setTimeout(wake, 20));
    }
    throw new Error(`Waited ${timeoutMs} ms for ${what} (${last ?? "no error"}):\n${this.#log.slice(-4000)}`);
  }

  #configuration(): string {
    return `
bind_addr = "127.0.0.1"
log_level = "DEBUG"
ports {
  http = ${this.#ports.http}
  rpc  = ${this.#ports.rpc}
  serf = 0
}
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
${this.options.durable ? `data_dir = "${this.folder}/data"` : ""}
${this.options.name ? `name = "${this.options.name}"` : ""}
server {
  enabled          = ${this.options.deviceOf === undefined}
  bootstrap_expect = ${this.options.deviceOf === undefined ? 1 : 0}
}
client {
  enabled = ${this.options.client !== false}
  ${this.options.deviceOf ? `servers = ${JSON.stringify([this.options.deviceOf].flat())}` : ""}
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
${this.options.config ?? ""}
`;
  }
}

/** A job with one group and one raw_exec task that runs `script` in /bin/sh. */
export function shellJob(
  id: string,
  script: string,
  more: { type?: string; group?: Record<string, unknown>; task?: Record<string, unknown> } = {},
): { Job: Record<string, unknown> } {
  return {
    Job: {
      ID: id,
      Name: id,
      Type: more.type ?? "service",
      Datacenters: ["*"],
      TaskGroups: [{
        Name: "g",
        Count: 1,
        ...more.group,
        Tasks: [{
          Name: "t",
          Driver: "raw_exec",
          Config: { command: "/bin/sh", args: ["-c", script] },
          Resources: { CPU: 20, MemoryMB: 20 },
          ...more.task,
        }],
      }],
    },
  };
}

export interface AllocStub {
  ID: string;
  ClientStatus: string;
  TaskStates:
    | Record<
      string,
      {
        State: string;
        Failed: boolean;
        Restarts: number;
        Events: { Type: string; ExitCode: number; DisplayMessage: string }[];
      }
    >
    | null;
}

/** The allocations of a job, once one of them has this status. */
export function allocWith(agent: TestAgent, job: string, status: string): Promise<AllocStub> {
  return agent.until(async () => {
    const allocs = await agent.get<AllocStub[]>(`/v1/job/${job}/allocations`);
    return allocs.find((alloc) => alloc.ClientStatus === status);
  }, `${job} ${status}`);
}

/** The state letter of a process in /proc, undefined when it does not exist. */
export function processState(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]![0];
  } catch (gone) {
    void gone;
    return undefined;
  }
}

/** The pid that a task writes into `file`; it may be reported running before its first line has run. */
export async function pidFrom(file: string): Promise<number> {
  for (const end = performance.now() + 10_000; performance.now() < end;) {
    const text = existsSync(file) ? readFileSync(file, "utf8").trim() : "";
    if (text) return Number(text);
    await new Promise((wake) => setTimeout(wake, 10));
  }
  throw new Error(`No pid was written to ${file}`);
}
