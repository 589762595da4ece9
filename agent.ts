// An agent: a server, a device, or both in one process, with their listeners. Made from a resolved configuration (or,
// embedded in another program, from a few options), started and stopped in order. What a process around it does
// (flags, signals, banner) is agent/run.ts.
//
// A server leaves its cluster only when it is told to (`leave`): one that just stops comes back as what it was.
//
// Invariants: listeners are open before anything says that it can be reached; `stop` leaves tasks running, except in
// -dev without a data dir, where nobody could find them again.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AgentConfig,
  type Endpoint,
  joinAddress,
  type RawConfig,
  resolveConfig,
} from "./agent/config.ts";
import { AgentLog, type LogOptions } from "./agent/logging.ts";
import { maybeExecSocket } from "./agent/exec_socket.ts";
import { agentFacade } from "./agent/facade.ts";
import { forwarder } from "./agent/forward.ts";
import { DeviceJoin } from "./agent/join_devices.ts";
import { joinServers } from "./agent/join_servers.ts";
import { LocalApi } from "./agent/local_api.ts";
import { Client, type ClientEvent } from "./client/client.ts";
import { systemClock, systemRandom } from "./core/env.ts";
import { ConfigError, errorText, fileErrorText } from "./core/errors.ts";
import { listen, type Listener, type ListenOptions } from "./core/runtime.ts";
import type { ServerConfig } from "./server/context.ts";
import { createDrivers, type PluginConfig } from "./drivers/registry.ts";
import { serverTags } from "./server/cluster_members.ts";
import { createMembership, type GossipNode } from "./server/gossip_node.ts";
import { maybeRecover } from "./server/raft_recovery.ts";
import { loadServerId, openStorage, Server } from "./server/server.ts";

/** How to embed an agent: the common settings by name, all others as a configuration file would say them. */
export interface AgentOptions {
  /** Server and device in one process, in memory unless there is a data dir. */
  dev?: boolean;
  name?: string;
  region?: string;
  datacenter?: string;
  /** Absolute path. */
  dataDir?: string;
  /** Address of all listeners. */
  bind?: string;
  /** 0: the system chooses. */
  ports?: { http?: number; rpc?: number; serf?: number };
  logLevel?: "TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR" | "OFF";
  /** Takes the log's lines; standard error when it is left out. */
  log?: (line: string) => void;
  /** Anything else, with the keys of a configuration file. */
  config?: RawConfig;
}

/** An allocation of this device changed. */
export interface AllocationEvent {
  id: string;
  name: string;
  jobId: string;
  namespace: string;
  group: string;
  clientStatus: string;
  description: string;
}

export interface AgentEvents {
  allocation: AllocationEvent;
  /** The device's connection to the servers came up or went down. */
  connection: { connected: boolean };
}

/** What a resolved agent is started with. */
export interface AgentSetup {
  config: AgentConfig;
  /** Configuration files that were read. */
  files: string[];
  log: AgentLog;
  /** Reads the configuration again; null when it came from code. */
  reload: (() => Promise<AgentConfig>) | null;
}

type Handle = (request: Request, remoteAddress: string) => Response | Promise<Response>;

/** How long a request waits for the agent's start. */
const STARTING_WAIT_MS = 5_000;

type Listeners = { [E in keyof AgentEvents]: Set<(event: AgentEvents[E]) => void> };

export class Agent {
  readonly config: AgentConfig;
  /** The API without a socket: `agent.api.get("/v1/jobs")`. */
  readonly api: LocalApi = new LocalApi((request) => this.fetch(request));
  server: Server | null = null;
  client: Client | null = null;
  /** The server's part in gossip. */
  membership: GossipNode | null = null;
  readonly setup: AgentSetup;
  #listeners: Listeners = { allocation: new Set(), connection: new Set() };
  #open: Listener[] = [];
  #handle: Handle = starting;
  /** Wakes the requests that came while the agent started. */
  #waiting: (() => void)[] = [];
  #temporaryDir: string | null = null;
  #endJoin: (() => void) | null = null;
  #deviceJoin: DeviceJoin | null = null;
  #fail: (reason: string) => void = () => undefined;
  /** Resolves with the reason when the running agent cannot go on (no other server found after retry_max attempts). */
  readonly failure: Promise<string> = new Promise((resolve) => this.#fail = resolve);

  constructor(options: AgentOptions | AgentSetup) {
    this.setup = "files" in options ? options : embedded(options);
    this.config = this.setup.config;
  }

  /** host:port of the API, once started. */
  get httpAddress(): string {
    return joinAddress(this.config.advertise.http);
  }

  /** Calls `listener` for every event of this kind; the returned function ends it. */
  on<E extends keyof AgentEvents>(event: E, listener: (event: AgentEvents[E]) => void): () => void {
    this.#listeners[event].add(listener);
    return () => this.#listeners[event].delete(listener);
  }

  /** Answers a request of the API, as the listener would. */
  fetch(request: Request): Promise<Response> {
    return Promise.resolve(this.#handle(request, "127.0.0.1"));
  }

  /**
   * Opens the listeners, loads what is stored, starts server and device. Rejects with ConfigError in one line when
   * something of it cannot be (port in use, data dir not writable); nothing is left running then.
   */
  async start(): Promise<void> {
    this.#handle = (request, remoteAddress) => this.#whenReady(request, remoteAddress);
    try {
      await this.#listen();
      if (this.config.server) await this.#startServer();
      if (this.config.client) await this.#createClient();
      await this.#serve();
      await this.#joinServers();
      await this.#startClient();
      this.#tellMissingDrivers();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Takes the server out of its cluster for good (leadership handed over, membership, gossip), then stops. */
  async leave(): Promise<void> {
    this.#endJoin?.();
    await this.server?.leave();
    await this.stop();
  }

  /** Stops in order: device, server, gossip, listeners. */
  async stop(): Promise<void> {
    this.#endJoin?.();
    this.#deviceJoin?.stop();
    if (this.client) {
      if (this.config.dev && !this.config.dataDir) await this.client.killAll();
      await this.client.stop();
    }
    await this.server?.stop();
    await this.membership?.stop();
    await Promise.all(this.#open.splice(0).map((listener) => listener.close()));
    if (this.#temporaryDir) await rm(this.#temporaryDir, { recursive: true, force: true });
    this.#temporaryDir = null;
    this.client = null;
    this.server = null;
    this.membership = null;
    this.#handle = starting;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async #listen(): Promise<void> {
    const { bind, advertise, server } = this.config;
    await this.#openPort(
      "http",
      bind.http,
      advertise.http,
      (request, info) =>
        maybeExecSocket(request, info, (post) => this.#handle(post, info.remoteAddress)) ??
          this.#handle(request, info.remoteAddress),
    );
    if (!server) return;
    await this.#openPort(
      "rpc",
      bind.rpc,
      advertise.rpc,
      (request, info) => this.server ? this.server.handleRpc(request, info) : starting(),
    );
    await this.#openPort(
      "serf",
      bind.serf,
      advertise.serf,
      (request, info) => this.membership?.handle(request, info.remoteAddress) ?? starting(),
    );
  }

  /** Listens and writes the port that the system chose into the configuration. */
  async #openPort(
    kind: string,
    bind: Endpoint,
    advertise: Endpoint,
    fetch: ListenOptions["fetch"],
  ): Promise<void> {
    const given = bind.port;
    try {
      const listener = await listen({ hostname: bind.host, port: given, fetch });
      this.#open.push(listener);
      bind.port = listener.port;
      if (advertise.port === 0) advertise.port = listener.port;
    } catch (error) {
      const inUse = /in use|EADDRINUSE/i.test(`${errorText(error)} ${(error as { code?: string }).code}`);
      throw new ConfigError(
        `Cannot listen on ${kind} port ${joinAddress(bind)}: ` +
          (inUse ? `the port is in use: stop what uses it or set ports.${kind}` : errorText(error)),
      );
    }
  }

  async #startServer(): Promise<void> {
    const { config, setup } = this;
    const { storage, join: _, encrypt, rejoinAfterLeave, ...settings } = config.server!;
    const dataDir = storage === "inmem" ? null : settings.dataDir;
    const server: ServerConfig = {
      ...settings,
      id: await loadServerId(dataDir, systemRandom),
      name: `${config.name}.${config.region}`,
      httpAddress: joinAddress(config.advertise.http),
      rpcAddress: joinAddress(config.advertise.rpc),
      serfAddress: joinAddress(config.advertise.serf),
    };
    await this.#recover(server, dataDir);
    this.membership = await createMembership({
      name: server.name,
      advertise: config.advertise.serf,
      tags: serverTags(server),
      dataDir,
      encrypt,
      rejoinAfterLeave,
      clock: systemClock,
      random: systemRandom,
      logger: setup.log.module("nomad"),
    });
    this.server = new Server({
      config: server,
      membership: this.membership,
      storage: await openStorage(dataDir),
      clock: systemClock,
      random: systemRandom,
      logger: setup.log.module("nomad"),
      serveApi: (request) => this.#handle(request, "device"),
    });
    await this.server.start();
    await this.membership.start();
  }

  /** After the loss of most servers: this one goes on alone if an operator says so. */
  async #recover({ id, rpcAddress, httpAddress }: ServerConfig, dataDir: string | null): Promise<void> {
    if (dataDir === null) return;
    await maybeRecover({
      dataDir,
      self: { id, rpcAddress, httpAddress, voter: true },
      openStorage: () => openStorage(dataDir),
      clock: systemClock,
      random: systemRandom,
      logger: this.setup.log.module("nomad"),
    });
  }

  /** Looks for the other servers that the configuration names. */
  async #joinServers(): Promise<void> {
    if (!this.membership) return;
    const { join } = this.config.server!;
    const logger = this.setup.log.module("agent.joiner");
    const onExhausted = (reason: string) => this.#fail(reason);
    this.#endJoin = await joinServers(this.membership, { ...join, clock: systemClock, logger, onExhausted });
  }

  async #createClient(): Promise<void> {
    const { config, setup } = this;
    const client = config.client!;
    if (client.allocDir === "") {
      this.#temporaryDir = await mkdtemp(join(tmpdir(), "nomad-dev-"));
      client.allocDir = join(this.#temporaryDir, "alloc");
    }
    client.httpAddress = joinAddress(config.advertise.http);
    if (this.server) client.servers = [reachable(config.bind.rpc), ...client.servers];
    const drivers = createDrivers(config.plugins as PluginConfig, {
      log: setup.log.module("client.driver_mgr"),
    });
    // A driver that only pretends has no place on a device unless somebody asked for it.
    if (!("mock_driver" in config.plugins)) drivers.delete("mock_driver");
    this.client = new Client({
      config: client,
      drivers,
      clock: systemClock,
      random: systemRandom,
      logger: setup.log.module("client"),
      serveAgent: (request) => this.#handle(request, "server"),
    });
    this.client.onEvent((event) => this.#onClientEvent(event));
  }

  /** A directory that cannot be used is said in one line, with what to do. */
  async #startClient(): Promise<void> {
    try {
      await this.client?.start();
      this.#findServers();
    } catch (error) {
      const { code, path } = error as NodeJS.ErrnoException;
      if (!["EACCES", "EROFS", "ENOTDIR", "EPERM", "ENOSPC"].includes(code ?? "") || path === undefined) {
        throw error;
      }
      const text = fileErrorText("write", path, error);
      throw new ConfigError(
        `Cannot use the device's directories: ${text}: set data_dir to a writable folder`,
      );
    }
  }

  /** Looks for the servers that the device is to dial. */
  #findServers(): void {
    const { clientJoin } = this.config;
    if (!this.client || !clientJoin) return;
    this.#deviceJoin = new DeviceJoin(this.client.session, {
      ...clientJoin,
      clock: systemClock,
      logger: this.setup.log.module("agent.joiner"),
      onExhausted: (reason) => this.#fail(reason),
    });
    this.#deviceJoin.start();
  }

  /** A driver that the configuration names and that this machine cannot run is said at once, in one line. */
  #tellMissingDrivers(): void {
    const named = Object.keys(this.config.raw.plugin ?? {});
    for (const name of named) {
      const info = this.client?.node.Drivers[name];
      if (!info || info.Healthy) continue;
      this.setup.log.module("client.driver_mgr").warn(
        `driver ${name} cannot run tasks: ${info.HealthDescription}`,
      );
    }
  }

  /** From here on the API answers. */
  async #serve(): Promise<void> {
    const { createHttpApp } = await import("./server/http.ts");
    const { client } = this;
    const app = createHttpApp({
      server: this.server,
      localClient: client && {
        get nodeId() {
          return client.node.ID;
        },
        hasAllocation: (id) => client.allocations.has(id),
        fetch: (request) => client.fetch(request),
      },
      agent: agentFacade(this),
      region: this.config.region,
      clock: systemClock,
      logger: this.setup.log.module("http"),
      forward: forwarder(this),
      ui: null,
      responseHeaders: this.config.responseHeaders,
    });
    this.#handle = (request) => app.fetch(request);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** What is asked while the agent starts waits for it as it would for an election. */
  async #whenReady(request: Request, remoteAddress: string): Promise<Response> {
    const before = this.#handle;
    await new Promise<void>((wake) => {
      const timer = setTimeout(wake, STARTING_WAIT_MS);
      this.#waiting.push(() => {
        clearTimeout(timer);
        wake();
      });
    });
    return this.#handle === before ? starting() : await this.#handle(request, remoteAddress);
  }

  #onClientEvent(event: ClientEvent): void {
    if (event.type === "connected" || event.type === "disconnected") {
      this.#deviceJoin?.onConnection(event.type === "connected");
      this.#emit("connection", { connected: event.type === "connected" });
    }
    if (event.type !== "allocation") return;
    const alloc = this.client?.allocations.get(event.id)?.alloc;
    if (!alloc) return;
    this.#emit("allocation", {
      id: event.id,
      name: alloc.Name,
      jobId: alloc.JobID,
      namespace: alloc.Namespace,
      group: alloc.TaskGroup,
      clientStatus: event.status,
      description: event.description,
    });
  }

  #emit<E extends keyof AgentEvents>(kind: E, event: AgentEvents[E]): void {
    for (const listener of this.#listeners[kind]) listener(event);
  }
}

/** What is answered before everything stands. */
function starting(): Response {
  return new Response("The agent is starting: try again in a moment", {
    status: 503,
    headers: { "Retry-After": "1" },
  });
}

/** An address on which this process reaches its own listener. */
function reachable(endpoint: Endpoint): string {
  const any = endpoint.host === "0.0.0.0" || endpoint.host === "::";
  return joinAddress({ host: any ? "127.0.0.1" : endpoint.host, port: endpoint.port });
}

function embedded(options: AgentOptions): AgentSetup {
  const raw: RawConfig = { ...options.config };
  if (options.name !== undefined) raw.name = options.name;
  if (options.region !== undefined) raw.region = options.region;
  if (options.datacenter !== undefined) raw.datacenter = options.datacenter;
  if (options.dataDir !== undefined) raw.data_dir = options.dataDir;
  if (options.bind !== undefined) raw.bind_addr = options.bind;
  if (options.ports !== undefined) raw.ports = { ...raw.ports, ...options.ports };
  if (options.logLevel !== undefined) raw.log_level = options.logLevel;
  const config = resolveConfig(raw, { dev: options.dev ?? false });
  const write: LogOptions["write"] = options.log ?? ((line) => void process.stderr.write(line));
  const log = new AgentLog({ ...config.log, write });
  return { config, files: [], log, reload: null };
}
