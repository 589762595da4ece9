// One simulated cluster: servers, devices, clients and the operator who looks after them, made from a seed. Owns what
// exists and how it is reached; which faults happen to it is faults.ts, when a run is over is run.ts.
import type { Checker, Phase, Plant, Profile, SimCluster } from "./contract.ts";
import { DeviceProcess } from "./device_process.ts";
import { HistoryClient } from "./history_client.ts";
import { drawNode } from "./job_model.ts";
import { type Answer, type Call, Network } from "./network.ts";
import { Operator } from "./operator.ts";
import { HTTP_PORT, RPC_PORT, ServerProcess, type ServerSurroundings } from "./server_process.ts";
import { drawLogSwarm, drawSwarm, type Swarm } from "./swarm.ts";
import { useCluster } from "./traffic.ts";
import { Watchers } from "./watchers.ts";
import { Life, Machine, type Skew, World } from "./world.ts";

/** Clients give an answer this long. */
const CALL_TIMEOUT_MS = 12_000;

export interface ClusterOptions {
  seed: number;
  checkers: Checker[];
  plant: Plant;
  profile: Profile;
}

export class Cluster implements SimCluster {
  readonly seed: number;
  readonly world: World;
  readonly swarm: Swarm;
  readonly network: Network;
  readonly watchers: Watchers;
  readonly servers = new Map<string, ServerProcess>();
  readonly devices = new Map<string, DeviceProcess>();
  readonly operator: Operator;
  phase: Phase = "safety";
  /** The first thing that went wrong outside of the checkers. */
  failure: unknown = null;
  readonly #around: ServerSurroundings;
  readonly #users: Life;
  #operations = 0;
  #stamps = 0;
  #busyClients = 0;

  constructor({ seed, checkers, plant, profile }: ClusterOptions) {
    this.seed = seed;
    this.world = new World(seed);
    const { random } = this.world;
    this.swarm = profile === "log" ? drawLogSwarm(random.fork()) : drawSwarm(random.fork());
    this.network = new Network(this.world, { ...this.swarm.network });
    this.watchers = new Watchers(checkers);
    this.#around = {
      world: this.world,
      network: this.network,
      watchers: this.watchers,
      diskFaults: this.swarm.disk,
      tuning: this.swarm.tuning,
      plant,
      turnDelayMs: this.swarm.turnDelayMs,
      directory: (id) => this.servers.get(id)?.rpcAddress,
      fail: (failure) => this.fail(failure),
    };
    this.#makeServers();
    this.#makeDevices();
    const users = new Machine("users", { rate: 1, wallOffsetMs: 0 });
    this.network.add(users);
    this.#users = users.life = new Life(this.world, users);
    this.operator = new Operator(this, this.#users);
  }

  get nowMs(): number {
    return this.world.nowMs;
  }

  get step(): number {
    return this.world.step;
  }

  note(line: string): void {
    this.world.note(line);
  }

  fail(failure: unknown): void {
    this.failure ??= failure;
  }

  // ---- what there is ----

  #makeServers(): void {
    const names = Array.from({ length: this.swarm.servers }, (_, i) => `s${i + 1}`);
    const members = names.map((id) => ({
      id,
      rpcAddress: `${id}:${RPC_PORT}`,
      httpAddress: `${id}:${HTTP_PORT}`,
      voter: true,
    }));
    for (const id of names) {
      this.servers.set(id, new ServerProcess(id, this.#skew(), this.#around, members));
    }
  }

  /** A new machine, which waits until a leader adds it. */
  addServer(): ServerProcess {
    const id = `s${this.servers.size + 1}`;
    const server = new ServerProcess(id, this.#skew(), this.#around, null);
    this.servers.set(id, server);
    server.start();
    return server;
  }

  #makeDevices(): void {
    const { random } = this.world;
    for (let number = 0; number < this.swarm.devices; number++) {
      const node = drawNode(random, number);
      const device = new DeviceProcess(node, this.#skew(), {
        world: this.world,
        network: this.network,
        watchers: this.watchers,
        faults: this.swarm.device,
        servers: [...this.servers.values()].map((server) => server.rpcAddress),
      });
      this.devices.set(device.id, device);
    }
  }

  #skew(): Skew {
    const { random } = this.world;
    const { driftMax, wallOffsetMaxMs } = this.swarm;
    return {
      rate: 1 + driftMax * (2 * random.float() - 1),
      wallOffsetMs: Math.floor(wallOffsetMaxMs * (2 * random.float() - 1)),
    };
  }

  begin(): void {
    this.watchers.begin(this);
    for (const server of this.servers.values()) server.start();
    for (const device of this.devices.values()) device.start();
    const { clients, readers } = this.swarm;
    for (let i = 0; i < clients + readers; i++) this.#runClient(`c${i + 1}`, { readsOnly: i >= clients });
    if (this.devices.size > 0) this.#runTraffic();
  }

  /** After every event. */
  afterStep(): void {
    for (const server of this.servers.values()) server.watchRole();
    this.watchers.step(this);
  }

  // ---- who leads ----

  /** The leader that the cluster agrees on, if there is one now. */
  get leader(): ServerProcess | undefined {
    let found: ServerProcess | undefined;
    for (const server of this.servers.values()) {
      if (!server.paused && server.server?.log.isLeader && (found?.raft?.term ?? 0) < server.raft!.term) {
        found = server;
      }
    }
    return found;
  }

  /** Servers that belong to the cluster as its leader (or, without one, the newest membership known) has it. */
  members(): ServerProcess[] {
    let newest: ServerProcess | undefined;
    for (const server of this.servers.values()) {
      if (!server.raft) continue;
      if (!newest || server.raft.log.config.index > newest.raft!.log.config.index) newest = server;
    }
    const { raft } = this.leader ?? newest ?? {};
    return raft?.config.servers.flatMap(({ id }) => this.servers.get(id) ?? []) ?? [];
  }

  // ---- clients ----

  call(server: string, call: Call): Promise<Answer> {
    return this.network.call(this.#users, `${server}:${HTTP_PORT}`, call, CALL_TIMEOUT_MS);
  }

  askable(): string[] {
    return [...this.servers.values()].filter((server) => !server.retired && !server.broken).map(({ id }) =>
      id
    );
  }

  get quiet(): boolean {
    return this.#busyClients === 0;
  }

  #runClient(name: string, { readsOnly }: { readsOnly: boolean }): void {
    const random = this.#users.random.fork();
    const client = new HistoryClient(name, {
      random,
      readsOnly,
      triesAgain: this.swarm.triesAgain,
      nowMs: () => this.world.nowMs,
      step: () => this.world.step,
      nextId: () => ++this.#operations,
      servers: () => this.askable(),
      call: (server, call) => this.call(server, call),
      started: (operation) => this.watchers.operationStarted(operation),
      finished: (operation) => this.watchers.operationFinished(operation),
    });
    this.#repeat(name, () => random.tail(1, 4 * this.swarm.thinkMs), () => client.run());
  }

  #runTraffic(): void {
    const random = this.#users.random.fork();
    const nodes = [...this.devices.keys()];
    const host = {
      random,
      call: (call: Call) => this.call(random.pick(this.askable()), call),
      nodes: () => nodes,
    };
    const once = () =>
      useCluster(host, `r${++this.#stamps}`).catch((error: Error) => this.note(`traffic: ${error.message}`));
    this.#repeat("traffic", () => random.tail(1, 4 * this.swarm.trafficMs), once);
  }

  /** One after the other, until the safety phase is over. */
  #repeat(name: string, pauseMs: () => number, run: () => Promise<void>): void {
    this.world.schedule(pauseMs(), this.#users, name, () => {
      if (this.phase !== "safety") return;
      this.#busyClients++;
      run().catch((error) => this.fail(error)).finally(() => {
        this.#busyClients--;
        this.#repeat(name, pauseMs, run);
      });
    });
  }
}
