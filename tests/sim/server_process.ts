// A server under simulation: the real Server on a simulated clock, random, disk and network. A crash drops the object, a
// start makes a new one on the same disk. Nothing of a server stands here, only what surrounds its process.
//
// Invariant: a process that stops by itself does so only because its disk was damaged by the simulation.
import type { Hono } from "hono";
import { ApiError, StorageError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { DEVICE_PATH } from "../../core/protocol.ts";
import type { ServerSocket, SocketHandlers } from "../../core/runtime.ts";
import type { ServerConfig } from "../../server/context.ts";
import {
  CLUSTER_PATH,
  type OfferAnswer,
  type PeerCalls,
  type PeerStatus,
} from "../../server/cluster_calls.ts";
import { HopError } from "../../server/hops.ts";
import { createHttpApp } from "../../server/http.ts";
import { Raft, type RaftOptions } from "../../server/raft.ts";
import type { RaftServer, Role } from "../../server/raft_types.ts";
import { Server } from "../../server/server.ts";
import { AGENT } from "../http/rig.ts";
import { type Plant, SimFailure, type SimServer } from "./contract.ts";
import { type DiskFaults, SimDisk } from "./disk.ts";
import { type Answer, type Call, CallError, type ConnectionEnd, type Network } from "./network.ts";
import type { SimRandom } from "./random.ts";
import type { Watchers } from "./watchers.ts";
import { Life, Machine, type Skew, type World } from "./world.ts";

export const RPC_PORT = 4647;
export const HTTP_PORT = 4646;
/** A server waits this long for the answer of another one to a request that it sent on. */
const FORWARD_TIMEOUT_MS = 10_000;
const PEER_TIMEOUT_MS = 2000;

export interface ServerTuning {
  snapshotThreshold: number;
  snapshotIntervalMs: number;
  trailingLogs: number;
}

/** What all servers of a run share. */
export interface ServerSurroundings {
  world: World;
  network: Network;
  watchers: Watchers;
  diskFaults: DiskFaults;
  tuning: ServerTuning;
  plant: Plant;
  /** Longest a turn of the event loop is late, 0 for never. */
  turnDelayMs: number;
  /** rpc address of a server by its id. */
  directory: (id: string) => string | undefined;
  fail: (failure: unknown) => void;
}

export class ServerProcess implements SimServer {
  readonly machine: Machine;
  readonly disk: SimDisk;
  incarnation = 0;
  ready = false;
  server: Server | null = null;
  raft: Raft | null = null;
  applied = 0;
  /** It stopped because of its disk, and will not start again. */
  broken = false;
  /** An operator removed it for good. */
  retired = false;
  #life: Life | null = null;
  #role: Role = "follower";
  #term = 0;
  readonly #turns: SimRandom;

  constructor(
    readonly id: string,
    skew: Skew,
    private readonly around: ServerSurroundings,
    private readonly bootstrap: RaftServer[] | null,
  ) {
    this.machine = new Machine(id, skew);
    this.disk = new SimDisk(around.world, around.diskFaults);
    this.#turns = around.world.random.named(`${id} turns`);
    around.network.add(this.machine);
  }

  get rpcAddress(): string {
    return `${this.id}:${RPC_PORT}`;
  }

  get httpAddress(): string {
    return `${this.id}:${HTTP_PORT}`;
  }

  get up(): boolean {
    return this.#life !== null;
  }

  get paused(): boolean {
    return this.#life?.paused ?? false;
  }

  get life(): Life | null {
    return this.#life;
  }

  start(): void {
    if (this.#life || this.broken || this.retired) return;
    const { world, network, plant, watchers } = this.around;
    const life = new Life(world, this.machine);
    this.#life = life;
    this.machine.life = life;
    this.machine.powered = true;
    this.incarnation++;
    this.#role = "follower";
    this.#term = 0;
    const disk = this.disk.open(life, (batch) => life.alive && watchers.persist(this, batch));
    const server = new Server({
      config: serverConfig(this, this.around.tuning),
      storage: plant.storage?.(disk) ?? disk,
      clock: life.clock,
      random: life.random,
      logger: this.#logger(),
      serveApi: (request) => this.#app!.fetch(request),
      dialLeader: () => Promise.resolve(network.dialFrom(life)),
      dialServers: () =>
        Promise.reject(new Error("servers send requests on as HttpDeps.forward of the simulation does")),
      peerCalls: this.#peerCalls(life),
      logParts: {
        bootstrap: this.bootstrap,
        transport: network.transport(life, this.around.directory),
        defer: (run) => this.#defer(life, run),
        onFatal: (error) => this.#stopped(life, error),
        createRaft: (options) => this.#createRaft(options),
      },
    });
    this.server = server;
    this.#watchState(server);
    this.#app = this.#createApp(server, life);
    watchers.start(this);
    server.start().then(() => this.#begin(life, server), (error) => this.#stopped(life, error));
  }

  #app: Hono | null = null;

  #begin(life: Life, server: Server): void {
    if (!life.alive) return;
    this.ready = true;
    this.around.network.listen(life, {
      http: (call) => this.#answer(call),
      accept: (end) => acceptDevice(server, end),
    });
  }

  async #answer(call: Call): Promise<Answer> {
    const { body } = call;
    // Without its length a body is read as a stream, for which engines take different numbers of turns.
    const length = body ? { "content-length": String(Buffer.byteLength(body)) } : {};
    const request = new Request(`http://${this.httpAddress}${call.path}`, {
      method: call.method,
      headers: { ...call.headers, ...length },
      ...(body ? { body } : {}),
    });
    const response =
      await (call.path.startsWith(CLUSTER_PATH)
        ? this.server!.handleRpc(request, { remoteAddress: "", upgrade: () => new Response(null) })
        : this.#app!.fetch(request));
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      text: await response.text(),
    };
  }

  /** kill -9, or with `power` a machine that goes off: nobody is told then. */
  crash(options: { power: boolean }): void {
    const life = this.#life;
    if (!life) return;
    const { world, network, watchers } = this.around;
    world.kill(life);
    this.disk.crash();
    this.machine.powered = !options.power;
    network.died(life, this.machine);
    this.#life = null;
    this.#app = null;
    this.server = null;
    this.raft = null;
    this.ready = false;
    this.applied = 0;
    watchers.crash(this);
  }

  pause(): void {
    if (this.#life) this.#life.paused = true;
  }

  resume(): void {
    if (this.#life) this.around.world.resume(this.#life);
  }

  /** After each event: what raft became. */
  watchRole(): void {
    const { raft } = this;
    if (!raft || (raft.role === this.#role && raft.term === this.#term)) return;
    this.#role = raft.role;
    this.#term = raft.term;
    this.around.world.note(`${this.id} is ${raft.role} in term ${raft.term}`);
    this.around.watchers.role(this, raft.role, raft.term);
  }

  #createRaft(options: RaftOptions): Raft {
    return this.raft = this.around.plant.raft?.(options) ?? new Raft(options);
  }

  #watchState(server: Server): void {
    const { state } = server;
    const { world, watchers } = this.around;
    const apply = state.apply.bind(state);
    state.apply = (index, command) => {
      const result = apply(index, command);
      this.applied = index;
      world.mix(command.kind);
      if (world.print) world.note(`${this.id} applied ${index} ${command.kind}`);
      watchers.apply(this, index, command, result);
      return result;
    };
    state.onRestore(() => {
      this.applied = state.index;
      watchers.restore(this, state.index);
    });
  }

  #defer(life: Life, run: () => void): void {
    const { world, turnDelayMs } = this.around;
    if (turnDelayMs === 0) return world.defer(life, run);
    world.schedule(this.#turns.tail(0, turnDelayMs), life, `${this.id} turn`, run);
  }

  #stopped(life: Life, error: unknown): void {
    if (!life.alive) return;
    if (!(error instanceof StorageError)) return this.around.fail(asFailure(this.id, error));
    this.around.world.note(`${this.id} stops: ${error.message}`);
    // A disk that takes no writes may end a start: whoever watches the process tries again.
    const mayRestart = error.kind !== "corrupt" && !this.ready;
    if (!mayRestart && !this.disk.damaged) return this.around.fail(asFailure(this.id, error));
    this.broken = !mayRestart;
    this.around.watchers.count(mayRestart ? "starts refused" : "stopped by damage");
    // The rest of the turn is the dead process's own.
    this.around.world.schedule(0, null, `${this.id} exits`, () => this.crash({ power: false }));
    if (mayRestart) this.around.world.schedule(3000, null, `${this.id} starts`, () => this.start());
  }

  #createApp(server: Server, life: Life): Hono {
    return createHttpApp({
      server,
      localClient: null,
      agent: AGENT,
      region: "global",
      clock: life.clock,
      logger: this.#logger(),
      ui: null,
      forward: (request, address) => this.#forward(life, request, address ?? ""),
    });
  }

  /** Stands for the connections that servers have among themselves (server/hops.ts). */
  async #forward(life: Life, request: Request, address: string): Promise<Response> {
    const url = new URL(request.url);
    const body = request.body === null ? null : await request.text();
    const headers = Object.fromEntries(request.headers);
    const call = { method: request.method, path: url.pathname + url.search, headers, body };
    const given = new Promise<never>((_, reject) => {
      const giveUp = () => reject(request.signal.reason);
      if (request.signal.aborted) giveUp();
      else request.signal.addEventListener("abort", giveUp, { once: true });
    });
    try {
      const answer = await Promise.race([
        given,
        this.around.network.call(life, address, call, FORWARD_TIMEOUT_MS),
      ]);
      return new Response(answer.text === "" ? null : answer.text, {
        status: answer.status,
        headers: answer.headers,
      });
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      throw new HopError(error.message, error.arrived ? "maybe" : "no");
    }
  }

  #peerCalls(life: Life): PeerCalls {
    const ask = async (address: string, name: string, body: unknown): Promise<unknown> => {
      const method = body === null ? "GET" : "POST";
      const call = { method, path: CLUSTER_PATH + name, body: body === null ? null : JSON.stringify(body) };
      const { status, text } = await this.around.network.call(life, address, call, PEER_TIMEOUT_MS);
      if (status >= 300) throw new ApiError(status, `${address} answers ${status} ${text}`);
      return JSON.parse(text || "null");
    };
    return {
      status: async (address) => await ask(address, "status", null) as PeerStatus,
      offer: async (address, offer) => await ask(address, "offer", offer) as OfferAnswer,
      leave: async (address, id) => void await ask(address, "leave", { id }),
    };
  }

  #logger(): Logger {
    const { world } = this.around;
    const say = (level: string) => (message: string, fields?: Record<string, unknown>) => {
      if (world.print) world.note(`${this.id} ${level}: ${message} ${fields ? JSON.stringify(fields) : ""}`);
    };
    return { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
  }
}

function asFailure(id: string, error: unknown): unknown {
  if (error instanceof SimFailure) return error;
  const failure = new SimFailure("stopped", `server ${id} stopped by itself: ${(error as Error).message}`);
  if ((error as Error).stack) failure.stack = (error as Error).stack!;
  return failure;
}

/** Hands a device's connection to the server as its runtime would. */
function acceptDevice(server: Server, end: ConnectionEnd): void {
  const request = new Request(`http://server${DEVICE_PATH}`);
  void server.handleRpc(request, {
    remoteAddress: end.peer.machineName,
    upgrade: (handlers) => {
      bind(handlers, end);
      return new Response(null);
    },
  });
}

function bind(handlers: SocketHandlers, end: ConnectionEnd): void {
  const socket: ServerSocket = {
    send: (data) => end.send(data),
    close: (_code, reason) => end.close(reason),
    get bufferedBytes() {
      return end.bufferedBytes;
    },
  };
  end.onMessage = (data) => handlers.message(socket, data);
  end.onClose = () => handlers.close(socket);
  handlers.open(socket);
}

function serverConfig(server: ServerProcess, tuning: ServerTuning): ServerConfig {
  return {
    id: server.id,
    name: `${server.id}.global`,
    region: "global",
    datacenter: "dc1",
    dataDir: null,
    httpAddress: server.httpAddress,
    rpcAddress: server.rpcAddress,
    serfAddress: `${server.id}:4648`,
    bootstrapExpect: 3,
    schedulers: 2,
    enabledSchedulers: ["service", "batch", "system", "sysbatch"],
    // Shorter than in the field, so that a run sees many of them.
    heartbeatTtlMinMs: 3000,
    heartbeatGraceMs: 2000,
    heartbeatsPerSecondMax: 50,
    heartbeatTtlFailoverMs: 15_000,
    jobPriorityDefault: 50,
    jobPriorityMax: 100,
    jobCountMax: 1000,
    jobSourceMaxBytes: 100_000,
    jobVersionsTracked: 6,
    gc: {
      intervalMs: 20_000,
      jobMs: 60_000,
      evalMs: 60_000,
      batchEvalMs: 90_000,
      deploymentMs: 60_000,
      nodeMs: 600_000,
    },
    eventBufferSize: 20,
    ...tuning,
    schedulerConfig: {},
  };
}
