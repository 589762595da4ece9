// Three servers in this process with real sockets: each its HTTP and rpc listener, the API, raft over HTTP, storage in
// memory. Tests kill one, cut it off, hold back its answers, and ask any of them.
import { type Agent } from "../../agent.ts";
import { maybeExecSocket } from "../../agent/exec_socket.ts";
import { forwarder } from "../../agent/forward.ts";
import { systemClock, systemRandom } from "../../core/env.ts";
import { type Logger, silentLogger } from "../../core/logger.ts";
import { listen, type Listener } from "../../core/runtime.ts";
import type { HttpDeps } from "../../server/http_api.ts";
import { createHttpApp } from "../../server/http.ts";
import { httpTransport } from "../../server/raft_http.ts";
import type { RaftServer, RaftTransport } from "../../server/raft_types.ts";
import { Server } from "../../server/server.ts";
import { memoryStorage, type RaftStorage } from "../../server/storage.ts";
import { AGENT, CONFIG } from "../http/rig.ts";

/** Limit of a test that waits for elections: bun allows 5 s by default, too little on a busy machine. */
export const SLOW = { timeout: 120_000 };

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // deno-lint-ignore no-explicit-any -- tests look into answers freely
  json: any;
}

export interface CallOptions {
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** One server. What is started anew on the same storage is another one. */
export class TestServer {
  server!: Server;
  #http!: Listener;
  #rpc!: Listener;
  #handle: (request: Request) => Response | Promise<Response> = () =>
    new Response("starting", { status: 503 });
  #isCut = false;
  #holding: Promise<void> | null = null;
  #release: () => void = () => undefined;
  running = false;
  /** Requests of the API that came here, sent on by others or not: "GET /v1/jobs". */
  readonly asked: string[] = [];
  /** Those of them that have no answer yet. */
  underWay = 0;

  constructor(readonly name: string, readonly storage: RaftStorage = memoryStorage()) {}

  get rpcAddress(): string {
    return `127.0.0.1:${this.#rpc.port}`;
  }

  get httpAddress(): string {
    return `127.0.0.1:${this.#http.port}`;
  }

  get url(): string {
    return `http://${this.httpAddress}`;
  }

  get isLeader(): boolean {
    return this.running && this.server.log.isLeader;
  }

  async listen(ports: { http?: number; rpc?: number } = {}): Promise<void> {
    const hostname = "127.0.0.1";
    this.#http = await listen({
      hostname,
      port: ports.http ?? 0,
      fetch: (request, info) =>
        maybeExecSocket(request, info, (post) => this.#api(post)) ?? this.#api(request),
    });
    this.#rpc = await listen({
      hostname,
      port: ports.rpc ?? 0,
      fetch: (request, info) => this.server.handleRpc(request, info),
    });
  }

  async start(
    bootstrap: RaftServer[] | null,
    more: Partial<HttpDeps> = {},
    logger: Logger = silentLogger,
  ): Promise<void> {
    const { name, rpcAddress, httpAddress } = this;
    const config = {
      ...CONFIG,
      id: name,
      name: `${name}.global`,
      bootstrapExpect: 3,
      rpcAddress,
      httpAddress,
      heartbeatTtlMinMs: 1000,
    };
    const transport = httpTransport({ id: name, rpcAddress, clock: systemClock });
    this.server = new Server({
      config,
      storage: this.storage,
      clock: systemClock,
      random: systemRandom,
      logger,
      serveApi: (request) => this.#api(request),
      logParts: { bootstrap, transport: this.#cuttable(transport) },
    });
    const app = createHttpApp({
      server: this.server,
      localClient: null,
      agent: AGENT,
      region: "global",
      clock: systemClock,
      logger,
      forward: forwarder({ server: this.server, client: null } as unknown as Agent),
      ui: null,
      ...more,
    });
    this.#handle = (request) => app.fetch(request);
    this.running = true;
    await this.server.start();
  }

  async #api(request: Request): Promise<Response> {
    this.asked.push(`${request.method} ${new URL(request.url).pathname}`);
    this.underWay++;
    try {
      const response = await this.#handle(request);
      if (request.method !== "GET") await this.#holding;
      return response;
    } finally {
      this.underWay--;
    }
  }

  /** Other servers hear nothing of its raft messages, and it nothing of theirs. */
  cut(): void {
    this.#isCut = true;
  }

  heal(): void {
    this.#isCut = false;
  }

  /** Writes are done here, but their answers do not leave. */
  holdAnswers(): void {
    this.#holding ??= new Promise((release) => this.#release = release);
  }

  /** Ends as a process does that is killed: its connections break, nothing is said. */
  async kill(): Promise<void> {
    if (!this.running) return;
    this.running = false;
    await Promise.all([this.#http.close(), this.#rpc.close()]);
    await this.server.stop();
    this.#release();
  }

  #cuttable(inner: RaftTransport): RaftTransport {
    return {
      start: (receive) => inner.start((message) => this.#isCut || receive(message)),
      send: (message, address) => this.#isCut || inner.send(message, address),
      handle: (request) => inner.handle(request),
      stop: () => inner.stop(),
    };
  }

  async call(method: string, path: string, { body, headers, signal }: CallOptions = {}): Promise<Answer> {
    const init: RequestInit = { method, headers: headers ?? {} };
    if (body !== undefined) init.body = JSON.stringify(body);
    if (signal) init.signal = signal;
    const response = await fetch(this.url + path, init);
    const text = await response.text();
    const isJson = response.headers.get("content-type") === "application/json" && text !== "";
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: isJson ? JSON.parse(text) : undefined,
    };
  }

  get = (path: string, options: CallOptions = {}) => this.call("GET", path, options);
  put = (path: string, body: unknown, options: CallOptions = {}) =>
    this.call("PUT", path, { ...options, body });
}

export class Servers {
  readonly all: TestServer[] = [];
  #bootstrap: RaftServer[] = [];

  static async start(count = 3, more: Partial<HttpDeps> = {}): Promise<Servers> {
    const servers = new Servers();
    for (let i = 0; i < count; i++) {
      const server = new TestServer(`s${i + 1}`);
      await server.listen();
      servers.all.push(server);
    }
    servers.#bootstrap = servers.all.map(({ name, rpcAddress, httpAddress }) => ({
      id: name,
      rpcAddress,
      httpAddress,
      voter: true,
    }));
    await Promise.all(servers.all.map((server) => server.start(servers.#bootstrap, more)));
    await servers.leader();
    return servers;
  }

  get running(): TestServer[] {
    return this.all.filter((server) => server.running);
  }

  /** Waits until all of `among` agree who leads. */
  async leader(among = this.running): Promise<TestServer> {
    const found = () =>
      among.find((one) => one.isLeader && among.every((other) => other.server.log.leader?.id === one.name));
    await until(() => found() !== undefined, "one leader that all know");
    return found()!;
  }

  async followers(): Promise<TestServer[]> {
    const leader = await this.leader();
    return this.running.filter((one) => one !== leader);
  }

  /** A killed server comes back with its storage, on its addresses. */
  async restart(dead: TestServer): Promise<TestServer> {
    const http = Number(dead.httpAddress.split(":")[1]);
    const rpc = Number(dead.rpcAddress.split(":")[1]);
    const fresh = new TestServer(dead.name, dead.storage);
    await fresh.listen({ http, rpc });
    this.all[this.all.indexOf(dead)] = fresh;
    await fresh.start(this.#bootstrap);
    return fresh;
  }

  async stop(): Promise<void> {
    for (const server of this.all) await server.kill();
  }
}

/** Waits until `condition` holds; the deadline is far beyond what a busy machine needs. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 30_000;
  while (!await condition()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A job that asks for nothing that is there: it stays pending. */
export function jobBody(id: string, more: Record<string, unknown> = {}): { Job: Record<string, unknown> } {
  return {
    Job: {
      ID: id,
      Name: id,
      Type: "service",
      Datacenters: ["dc1"],
      TaskGroups: [{
        Name: "g",
        Count: 1,
        Tasks: [{ Name: "t", Driver: "raw_exec", Config: { command: "/bin/true" } }],
      }],
      ...more,
    },
  };
}
