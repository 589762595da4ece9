// Runs the command line inside the test's process: captured streams, a fixed clock, a directory of its own, and a small
// HTTP server that answers from a table and remembers what it was asked.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { main } from "../../cli/main.ts";
import type { AgentFlags } from "../../cli/agent.ts";
import type { CliIo, OutputStream } from "../../cli/io.ts";

export interface Run {
  code: number;
  stdout: string;
  stderr: string;
  /** Both streams in the order of writing, as a terminal would show them. */
  terminal: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  stdin?: string;
  cwd?: string;
  nowMs?: number;
  /** Standard output and error are a terminal. */
  tty?: boolean;
  stdinTty?: boolean;
  runAgent?: (flags: AgentFlags) => Promise<number>;
  validateConfig?: CliIo["validateConfig"];
  /** Called with the listener of Ctrl-C. */
  onInterrupt?: (listener: () => void) => void;
}

/** One command line, split into words. */
export async function runCli(argv: string[], options: RunOptions = {}): Promise<Run> {
  const run: Run = { code: -1, stdout: "", stderr: "", terminal: "" };
  const output = (name: "stdout" | "stderr"): OutputStream => ({
    isTty: options.tty ?? false,
    write(data) {
      const text = typeof data === "string" ? data : Buffer.from(data).toString("utf8");
      run[name] += text;
      run.terminal += text;
    },
  });
  const io: CliIo = {
    stdout: output("stdout"),
    stderr: output("stderr"),
    stdin: {
      isTty: options.stdinTty ?? false,
      async *read() {
        if (options.stdin) yield await Promise.resolve(Buffer.from(options.stdin));
      },
      setRawMode: () => undefined,
    },
    env: options.env ?? {},
    cwd: options.cwd ?? process.cwd(),
    terminalSize: () => ({ columns: 120, rows: 40 }),
    onResize: () => () => undefined,
    onInterrupt(listener) {
      options.onInterrupt?.(listener);
      return () => undefined;
    },
    nowMs: () => options.nowMs ?? Date.now(),
    sleep: () => new Promise((resolve) => setTimeout(resolve, 1)),
    openBrowser: () => Promise.resolve(),
    runAgent: options.runAgent ?? (() => Promise.reject(new Error("no agent in this test"))),
    validateConfig: options.validateConfig ?? (() => Promise.reject(new Error("no agent in this test"))),
  };
  run.code = await main(argv, io);
  return run;
}

/** A route's answer: a status with a text, a value to send as JSON, or several of them, one a call (the last stays). */
export type Answer =
  | { status: number; text: string }
  | { json: unknown; index?: number; nextToken?: string }
  | Answer[];
export type Routes = Record<string, Answer>;

export interface Asked {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  body: string;
}

/** Answers "METHOD /path" from a table; anything else is 404. */
export class FakeAgent {
  readonly asked: Asked[] = [];
  readonly #routes: Routes;
  readonly #server: Server;
  readonly #served = new Map<string, number>();

  constructor(routes: Routes) {
    this.#routes = routes;
    this.#server = createServer((request, response) => {
      const chunks: Uint8Array[] = [];
      request.on("data", (chunk: Uint8Array) => chunks.push(chunk));
      request.on("end", () => this.#answer(request, response, Buffer.concat(chunks).toString("utf8")));
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this.address;
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse, body: string): void {
    const url = new URL(request.url!, "http://x");
    this.asked.push({
      method: request.method!,
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body,
    });
    const key = `${request.method} ${url.pathname}`;
    let answer = this.#routes[key];
    let index = 10;
    if (Array.isArray(answer)) {
      const served = Math.min(this.#served.get(key) ?? 0, answer.length - 1);
      this.#served.set(key, served + 1);
      answer = answer[served]!;
      index += served;
    }
    if (!answer || Array.isArray(answer)) {
      response.writeHead(404, { "Content-Type": "text/plain" }).end(`no answer for ${key}`);
    } else if ("status" in answer) {
      response.writeHead(answer.status, { "Content-Type": "text/plain" }).end(answer.text);
    } else {
      response.writeHead(200, {
        "Content-Type": "application/json",
        "X-Nomad-Index": String(answer.index ?? index),
        ...(answer.nextToken ? { "X-Nomad-Nexttoken": answer.nextToken } : {}),
      }).end(
        typeof answer.json === "string" && answer.json.startsWith("RAW:")
          ? answer.json.slice(4)
          : JSON.stringify(answer.json),
      );
    }
  }
}

/** Starts a fake agent, hands it over, stops it. */
export async function withAgent<T>(routes: Routes, work: (agent: FakeAgent) => Promise<T>): Promise<T> {
  const agent = new FakeAgent(routes);
  await agent.start();
  try {
    return await work(agent);
  } finally {
    await agent.stop();
  }
}

/** Agent's own answer that turns the web page hints on. */
export const HINTS: Routes = {
  "GET /v1/agent/self": { json: { config: { UI: { Enabled: true, ShowCLIHints: true } }, stats: {} } },
};
