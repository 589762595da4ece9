// A server: the state, the log that replicates it, its cluster, the devices' sessions and the leader's work, wired into one
// ServerContext. Knows no socket: the agent hands it requests of the rpc listener and serves its HTTP routes.
//
// Invariants: leader-only work runs exactly while the log says that this server leads; stopping ends that work first,
// then the devices' sessions, then the cluster's loop and the log, so that nothing is proposed into a closing log.
import { statSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Dial, dialer } from "../core/dial.ts";
import { writeDurably } from "../core/durable_file.ts";
import type { Clock, Random } from "../core/env.ts";
import { ApiError, ConfigError, errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { DEVICE_PATH, SERVER_PATH } from "../core/protocol.ts";
import type { RequestInfo } from "../core/runtime.ts";
import type { Job } from "../core/types.ts";
import { Cluster } from "./cluster.ts";
import { answerPeer, CLUSTER_PATH, httpPeerCalls, type PeerCalls } from "./cluster_calls.ts";
import type { Command } from "./commands.ts";
import type { DryRun, ServerConfig, ServerContext } from "./context.ts";
import { EventBuffer, type EventViews } from "./events.ts";
import { Hops } from "./hops.ts";
import { Leader } from "./leader.ts";
import { LeaderWatch } from "./leader_watch.ts";
import type { ApplyResult } from "./log.ts";
import type { Membership } from "./membership.ts";
import { httpTransport } from "./raft_http.ts";
import { createReplica, defaultReplicaTuning, type Replica, type ReplicaOptions } from "./replica.ts";
import { Sessions } from "./sessions.ts";
import { State } from "./state.ts";
import { memoryStorage, type RaftStorage } from "./storage.ts";
import { allocationView, deploymentView, evaluationView, jobView, nodeView } from "./views.ts";
import { Watch } from "./watch.ts";

/** Payloads of the event stream look as the routes show the same records. */
const EVENT_VIEWS: EventViews = {
  job: jobView,
  evaluation: evaluationView,
  deployment: deploymentView,
  allocation: (alloc) => allocationView(alloc, false),
  node: nodeView,
};

const SERVER_HANDSHAKE_MAX_MS = 2_000;

export interface ServerOptions {
  config: ServerConfig;
  storage: RaftStorage;
  clock: Clock;
  random: Random;
  logger: Logger;
  /** Answers API requests that devices and other servers send on over their connections. */
  serveApi(request: Request): Promise<Response> | Response;
  /** Dials other servers' rpc listeners; over WebSocket by default. */
  dialServers?: () => Promise<Dial>;
  /** The same for the connections of devices that this server passes on to the leader. */
  dialLeader?: () => Promise<Dial>;
  /** Gossip, started and stopped by whoever made it; without it the members of the log are all that is known. */
  membership?: Membership;
  /** Asks other servers; over HTTP by default. */
  peerCalls?: PeerCalls;
  /** Replaces parts of the log: the simulation brings its own network and turns. */
  logParts?: Partial<Pick<ReplicaOptions, "bootstrap" | "transport" | "defer" | "onFatal" | "createRaft">>;
}

export class Server implements ServerContext {
  readonly config: ServerConfig;
  readonly state: State;
  readonly watch: Watch;
  readonly events: EventBuffer;
  readonly devices: Sessions;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Replica;
  readonly cluster: Cluster;
  readonly leader: Leader;
  /** The way of requests to other servers. */
  readonly hops: Hops;
  readonly #logger: Logger;
  readonly #leaders: LeaderWatch;
  /** A saved state is about to take this one's place: what is made of this one must not come after it. */
  #replacing = false;

  constructor(options: ServerOptions) {
    const { config, clock, random, logger } = options;
    this.config = config;
    this.clock = clock;
    this.random = random;
    this.#logger = logger;
    this.state = new State({ jobVersionsTracked: config.jobVersionsTracked, region: config.region });
    this.watch = new Watch(clock);
    this.events = new EventBuffer(config.eventBufferSize, EVENT_VIEWS);
    this.log = this.#createLog(options);
    this.cluster = this.#createCluster(options);
    this.leader = new Leader(this, logger);
    this.#leaders = new LeaderWatch(this.log, clock);
    this.devices = new Sessions({
      state: this.state,
      clock,
      random,
      logger,
      propose: (command) => this.propose(command),
      isLeader: () => this.leader.active,
      leaderAddress: () => this.log.leader?.rpcAddress ?? "",
      servers: () => this.log.peers().map((peer) => peer.rpcAddress),
      leaderChange: (timeoutMs) => this.#leaders.change(timeoutMs),
      dial: options.dialLeader ??
        (() => dialer({ path: DEVICE_PATH, handshakeTimeoutMs: SERVER_HANDSHAKE_MAX_MS })),
      beat: (nodeId) => this.leader.beat(nodeId),
      serveApi: options.serveApi,
    });
    this.hops = new Hops({
      dial: options.dialServers ??
        (() => dialer({ path: SERVER_PATH, handshakeTimeoutMs: SERVER_HANDSHAKE_MAX_MS })),
      clock,
      logger,
      serve: options.serveApi,
      ...(options.logParts?.defer ? { defer: options.logParts.defer } : {}),
    });
    this.#listen();
  }

  /** Loads what is stored and takes part in the cluster. */
  async start(): Promise<void> {
    await this.log.start(this.state);
    this.cluster.start();
  }

  /** Takes this server out of its cluster for good; it has to be stopped after. See Cluster.leave. */
  async leave(): Promise<void> {
    await this.cluster.leave();
  }

  /** Stops in order; the state on disk is complete at every moment, so this loses nothing and hurries nothing. */
  async stop(): Promise<void> {
    await this.cluster.handOver();
    this.leader.stop();
    this.devices.closeAll("the server is stopping");
    this.hops.close();
    await Promise.all([this.cluster.stop(), this.log.stop()]);
  }

  /** A request that came to the rpc listener: a device's connection or another server's raft messages. */
  handleRpc(request: Request, info: RequestInfo): Response | Promise<Response> {
    const path = new URL(request.url).pathname;
    if (path === DEVICE_PATH) return this.devices.accept(info);
    if (path === SERVER_PATH) return this.hops.accept(info);
    if (path.startsWith("/v1/raft/")) return this.log.handle(request);
    if (path.startsWith(CLUSTER_PATH)) return answerPeer(request, this.cluster);
    return new Response("This is the rpc port, for devices and servers: the API has a port of its own", {
      status: 404,
    });
  }

  nowNs(): number {
    return this.clock.nowMs() * 1e6;
  }

  async propose(
    command: Command,
    options?: { patient?: boolean },
  ): Promise<{ index: number; result: ApplyResult }> {
    if (this.#replacing) {
      throw new ApiError(503, "The state is being replaced by a saved one: try again in a moment");
    }
    const answer = await this.log.propose(command, options);
    const { refused } = answer.result;
    if (refused) throw new ApiError(refused.status, refused.message);
    return answer;
  }

  snapshotState(): Iterable<string> {
    return this.state.snapshot();
  }

  async replaceState({ id, blocks }: { id: string; blocks: number }): Promise<{ index: number }> {
    this.#replacing = true;
    try {
      const { index, result } = await this.log.propose({
        kind: "state.restore",
        time: this.nowNs(),
        id,
        blocks,
      });
      if (result.refused) throw new ApiError(result.refused.status, result.refused.message);
      this.#logger.warn(`The whole state was replaced by a saved one, at index ${index}`);
      return { index };
    } finally {
      this.#replacing = false;
    }
  }

  dryRun(job: Job, options: { annotate: boolean }): DryRun {
    return this.leader.dryRun(job, options);
  }

  collectGarbage(): Promise<void> {
    return this.leader.collectGarbage();
  }

  #createLog({ config, clock, random, logger, storage, logParts }: ServerOptions): Replica {
    const tell = (level: "debug" | "info" | "warn" | "error", message: string) => logger[level](message);
    const self = { id: config.id, rpcAddress: config.rpcAddress, httpAddress: config.httpAddress };
    return createReplica({
      ...self,
      bootstrap: config.bootstrapExpect === 1 ? [{ ...self, voter: true }] : null,
      storage,
      transport: logParts?.transport ??
        httpTransport({
          id: config.id,
          rpcAddress: config.rpcAddress,
          addressOf: (id) => this.cluster.addressOf(id),
          clock,
          logger: tell,
        }),
      clock,
      random,
      tuning: {
        tickMs: defaultReplicaTuning.tickMs * (config.raftMultiplier ?? 1),
        snapshotThreshold: config.snapshotThreshold,
        snapshotIntervalMs: config.snapshotIntervalMs,
        trailingLogs: config.trailingLogs,
      },
      logger: tell,
      ...logParts,
    });
  }

  /** A restore dies with the leader that was at it: what it staged is of no use to anybody. */
  #dropStaged(): void {
    const id = this.state.stagedId;
    if (id === "") return;
    this.propose({ kind: "state.unstage", time: this.nowNs(), id }).catch((error) =>
      this.#logger.warn("What a restore left half done stays until the next one", { error: errorText(error) })
    );
  }

  /** The leader's work is made of the state: over another one it begins anew, once this one stands. */
  #rebuildLeader(): void {
    if (!this.leader.active) return;
    this.leader.stop();
    const { term } = this.log;
    queueMicrotask(() => {
      this.#replacing = false;
      if (this.leader.active || !this.log.isLeader || this.log.term !== term) return;
      this.leader.start();
      this.devices.expectAll();
    });
  }

  #createCluster({ config, membership, peerCalls, clock, random, logger }: ServerOptions): Cluster {
    return new Cluster({
      config,
      log: this.log,
      state: this.state,
      membership: membership ?? null,
      calls: peerCalls ?? httpPeerCalls,
      clock,
      random,
      logger,
      propose: (command) => this.propose(command),
    });
  }

  #listen(): void {
    // Order matters: the leader's queues first, then the devices, then those who only read.
    this.state.onChanges((changes) => {
      this.leader.onChanges(changes);
      this.devices.onChanges(changes);
      this.watch.notify(changes);
      this.events.add(changes);
    });
    this.state.onRestore(() => {
      this.#rebuildLeader();
      this.watch.wakeAll();
      this.events.reset();
      this.devices.closeAll("the server's state was replaced by a snapshot");
    });
    this.log.onLeadership((leading) => {
      if (leading) {
        this.#logger.info("cluster leadership acquired");
        this.leader.start();
        this.devices.expectAll();
        this.cluster.onLeadership(true);
        this.#dropStaged();
        return;
      }
      this.#logger.info("cluster leadership lost");
      this.leader.stop();
      this.cluster.onLeadership(false);
      this.devices.closeAll("leadership moved to another server");
    });
  }
}

/** The raft storage for a data dir, or in memory for none. Throws ConfigError when the directory cannot be used. */
export async function openStorage(dataDir: string | null): Promise<RaftStorage> {
  if (dataDir === null) return memoryStorage();
  const { libsqlStorage } = await import("./storage_libsql.ts");
  return libsqlStorage({ path: join(dataDir, "raft.db") });
}

/**
 * This server's stable id: kept in its data dir, made once; a new one every time without a data dir. A server whose log
 * was removed has forgotten its votes and what it acknowledged: it must not come back under the same id. Nor may one
 * with a log take another id: its vote would be missing for ever. Throws ConfigError.
 */
export async function loadServerId(dataDir: string | null, random: Random): Promise<string> {
  if (dataDir === null) return random.uuid();
  const file = join(dataDir, "node-id");
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    const hasLog = (statSync(join(dataDir, "raft.db"), { throwIfNoEntry: false })?.size ?? 0) > 0;
    if (hasLog) return await knownId(file, dataDir);
    const id = random.uuid();
    await writeDurably(file, id);
    return id;
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(
      `Cannot use data_dir ${dataDir}: ${errorText(error)}: make it writable for this user`,
    );
  }
}

async function knownId(file: string, dataDir: string): Promise<string> {
  const known = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  if (known.trim()) return known.trim();
  throw new ConfigError(
    `Cannot tell which server this is: ${file} is missing or empty, but its log is there. Write its id into that ` +
      `file (nomad operator raft list-peers on another server names it), or remove ${dataDir} to let it join as a new one`,
  );
}
