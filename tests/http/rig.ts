// A small real server for the tests of the HTTP room: State, Watch and EventBuffer of the project, a log in memory that
// applies at once, devices that are answered by the test. No sockets: requests go straight into the app.
import type { Hono } from "hono";
import type { Random } from "../../core/env.ts";
import { systemClock } from "../../core/env.ts";
import { ApiError, NotLeaderError } from "../../core/errors.ts";
import { silentLogger } from "../../core/logger.ts";
import type { AllocUpdate } from "../../core/protocol.ts";
import type { Job, Node } from "../../core/types.ts";
import { NO_TRANSITION } from "../../core/types.ts";
import { Cluster, type ClusterLog } from "../../server/cluster.ts";
import { httpPeerCalls } from "../../server/cluster_calls.ts";
import type { Command, PlanResult } from "../../server/commands.ts";
import type { Devices, ServerConfig, ServerContext } from "../../server/context.ts";
import { newEvaluation } from "../../server/evaluations.ts";
import { EventBuffer } from "../../server/events.ts";
import { type AgentFacade, createHttpApp, type HttpDeps } from "../../server/http.ts";
import type { LogPeer, ReplicatedLog, StateMachine } from "../../server/log.ts";
import { State } from "../../server/state.ts";
import { allocationView, deploymentView, evaluationView, jobView, nodeView } from "../../server/views.ts";
import { Watch } from "../../server/watch.ts";

/** A log that is its own quorum: applies what is proposed in the same turn. */
export class InstantLog implements ReplicatedLog, ClusterLog {
  isLeader = true;
  handingOver = false;
  term = 1;
  lastContactMs = 0;
  /** Set to make the next proposals fail. */
  failure: Error | null = null;
  #index = 0;
  #machine: StateMachine | undefined;
  readonly peer: LogPeer = {
    id: "5a1e7c1e-0000-4000-8000-000000000001",
    rpcAddress: "127.0.0.1:4647",
    httpAddress: "127.0.0.1:4646",
    voter: true,
    leader: true,
  };
  leader: LogPeer | null = this.peer;

  start(machine: StateMachine): Promise<void> {
    this.#machine = machine;
    return Promise.resolve();
  }

  propose(command: Command) {
    if (this.failure) return Promise.reject(this.failure);
    if (!this.isLeader) return Promise.reject(new NotLeaderError(""));
    const index = ++this.#index;
    return Promise.resolve({ index, result: this.#machine!.apply(index, command) });
  }

  barrier = () => Promise.resolve(this.#index);
  peers = () => [this.peer];
  configuration = () => ({ index: 1, config: { servers: [this.peer] } });
  addServer = () => Promise.resolve();
  removeServer = () => Promise.resolve();
  transferLeadership = () => Promise.resolve();
  bootstrap = () => undefined;
  onLeadership = () => undefined;
  stats = () => ({});
  handle = () => Promise.resolve(new Response(null, { status: 404 }));
  stop = () => Promise.resolve();
}

export const CONFIG: ServerConfig = {
  id: "5a1e7c1e-0000-4000-8000-000000000001",
  name: "test.global",
  region: "global",
  datacenter: "dc1",
  dataDir: null,
  httpAddress: "127.0.0.1:4646",
  rpcAddress: "127.0.0.1:4647",
  serfAddress: "127.0.0.1:4648",
  bootstrapExpect: 1,
  schedulers: 2,
  enabledSchedulers: ["service", "batch", "system", "sysbatch"],
  heartbeatTtlMinMs: 10_000,
  heartbeatGraceMs: 10_000,
  heartbeatsPerSecondMax: 50,
  heartbeatTtlFailoverMs: 300_000,
  jobPriorityDefault: 50,
  jobPriorityMax: 100,
  jobCountMax: 50_000,
  jobSourceMaxBytes: 1_000_000,
  jobVersionsTracked: 6,
  gc: { intervalMs: 300_000, jobMs: 0, evalMs: 0, batchEvalMs: 0, deploymentMs: 0, nodeMs: 0 },
  eventBufferSize: 100,
  snapshotThreshold: 8192,
  snapshotIntervalMs: 120_000,
  trailingLogs: 10_240,
  schedulerConfig: {},
};

/** Ids that count up: readable and the same every time. */
export class CountingRandom implements Random {
  #next = 0;
  float = () => 0.5;
  int = () => 0;
  uuid(): string {
    return `00000000-0000-4000-8000-${(++this.#next).toString(16).padStart(12, "0")}`;
  }
}

const noKeys = () => Promise.reject(new Error("gossip is plain"));

export const AGENT: AgentFacade = {
  self: () => ({ config: {}, member: {}, stats: {} }),
  members: () => ({ ServerName: "test", ServerRegion: "global", ServerDC: "dc1", Members: [] }),
  health: () => ({ client: null, server: { ok: true, message: "ok" } }),
  servers: () => null,
  setServers: () => undefined,
  join: () => Promise.resolve({ num_joined: 1, error: "", warning: "" }),
  forceLeave: () => Promise.resolve(),
  gossipKeyring: () => ({ encrypted: false, list: noKeys, install: noKeys, use: noKeys, remove: noKeys }),
  reload: () => Promise.resolve(),
  hostInfo: () => null,
  schedulers: () => [],
  async *monitor(_options, signal) {
    yield "first line\n";
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  },
  metrics: () => ({ Timestamp: "", Gauges: [], Points: [], Counters: [], Samples: [] }),
  metricsPrometheus: () => null,
};

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // deno-lint-ignore no-explicit-any -- tests look into answers freely
  json: any;
}

export class Rig {
  readonly state = new State();
  readonly log = new InstantLog();
  readonly watch = new Watch(systemClock);
  readonly events = new EventBuffer(100, {
    job: jobView,
    evaluation: evaluationView,
    deployment: deploymentView,
    allocation: (alloc) => allocationView(alloc, false),
    node: nodeView,
  });
  readonly random = new CountingRandom();
  readonly context: ServerContext;
  /** Node id → what its device answers. */
  readonly deviceAnswers = new Map<string, (request: Request) => Response | Promise<Response>>();
  app: Hono;

  constructor(more: Partial<HttpDeps> = {}) {
    const devices: Devices = {
      connected: (id) => this.deviceAnswers.has(id),
      expected: (id) => Promise.resolve(this.deviceAnswers.has(id)),
      fetch: async (id, request) => await this.deviceAnswers.get(id)!(request),
    };
    void this.log.start(this.state);
    this.state.onChanges((changes) => {
      this.watch.notify(changes);
      this.events.add(changes);
    });
    const cluster = new Cluster({
      config: CONFIG,
      log: this.log,
      state: this.state,
      membership: null,
      calls: httpPeerCalls,
      clock: systemClock,
      random: this.random,
      logger: silentLogger,
      propose: (command) => this.propose(command),
    });
    this.context = {
      cluster,
      config: CONFIG,
      state: this.state,
      log: this.log,
      clock: systemClock,
      random: this.random,
      watch: this.watch,
      events: this.events,
      devices,
      nowNs: () => Date.now() * 1e6,
      propose: (command) => this.propose(command),
      dryRun: (job) => ({
        plan: null,
        failed: {},
        createdEvals: [],
        evaluation: newEvaluation({
          ID: this.random.uuid(),
          Namespace: job.Namespace,
          Priority: 50,
          Type: job.Type,
          TriggeredBy: "job-register",
          JobID: job.ID,
          CreateTime: 0,
        }),
      }),
      collectGarbage: () => Promise.resolve(),
      snapshotState: () => this.state.snapshot(),
      replaceState: (staged) => this.propose({ kind: "state.restore", time: 0, ...staged }),
    };
    this.app = createHttpApp({
      server: this.context,
      localClient: null,
      agent: AGENT,
      region: "global",
      clock: systemClock,
      logger: silentLogger,
      forward: () => Promise.reject(new Error("no other server in this test")),
      ui: null,
      ...more,
    });
  }

  async propose(command: Command) {
    const answer = await this.log.propose(command);
    if (answer.result.refused) {
      throw new ApiError(answer.result.refused.status, answer.result.refused.message);
    }
    return answer;
  }

  async request(
    method: string,
    path: string,
    options: { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<Answer> {
    const response = await this.raw(method, path, options);
    const text = await response.text();
    const isJson = response.headers.get("content-type") === "application/json" && text !== "";
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: isJson ? JSON.parse(text) : undefined,
    };
  }

  async raw(
    method: string,
    path: string,
    { body, headers, signal }: { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal } =
      {},
  ): Promise<Response> {
    const init: RequestInit = { method, headers: headers ?? {} };
    if (signal) init.signal = signal;
    if (body !== undefined) init.body = typeof body === "string" ? body : JSON.stringify(body);
    return await this.app.fetch(new Request(`http://localhost${path}`, init));
  }

  get = (path: string, headers?: Record<string, string>) =>
    this.request("GET", path, headers ? { headers } : {});
  put = (path: string, body?: unknown) => this.request("PUT", path, { body });

  /** Places one allocation of a registered job on a node, as the scheduler would. */
  async place(job: Job, nodeId: string, name = `${job.ID}.${job.TaskGroups[0]!.Name}[0]`): Promise<string> {
    const id = this.random.uuid();
    const group = job.TaskGroups[0]!;
    const plan: PlanResult = {
      evalId: this.random.uuid(),
      namespace: job.Namespace,
      jobId: job.ID,
      jobs: [{ version: job.Version }],
      resources: [{
        Tasks: {
          [group.Tasks[0]!.Name]: {
            Cpu: { CpuShares: 50, ReservedCores: null },
            Memory: { MemoryMB: 32, MemoryMaxMB: 0 },
            Networks: null,
            Devices: null,
          },
        },
        TaskLifecycles: { [group.Tasks[0]!.Name]: null },
        Shared: {
          DiskMB: 300,
          Networks: [{
            Mode: "",
            Device: "",
            CIDR: "",
            IP: "192.0.2.2",
            Hostname: "",
            MBits: 0,
            DNS: null,
            ReservedPorts: null,
            DynamicPorts: [{
              Label: "http",
              Value: 21554,
              To: 0,
              HostNetwork: "default",
              IgnoreCollision: false,
            }],
            CNI: null,
          }],
          Ports: [{ Label: "http", Value: 21554, To: 0, HostIP: "192.0.2.2", IgnoreCollision: false }],
        },
      }],
      metrics: [{
        NodesEvaluated: 1,
        NodesFiltered: 0,
        NodesInPool: 1,
        NodePool: "default",
        NodesAvailable: { dc1: 1 },
        ClassFiltered: null,
        ConstraintFiltered: null,
        NodesExhausted: 0,
        ClassExhausted: null,
        DimensionExhausted: null,
        QuotaExhausted: null,
        ResourcesExhausted: null,
        Scores: null,
        ScoreMetaData: [{ NodeID: nodeId, Scores: { binpack: 0.5 }, NormScore: 0.5 }],
        AllocationTime: 1000,
        CoalescedFailures: 0,
      }],
      placements: [{
        id,
        name,
        group: group.Name,
        nodeId,
        job: 0,
        resources: 0,
        metrics: 0,
        deploymentId: "",
        canary: false,
        previous: "",
      }],
      stops: [],
      inPlace: [],
      preemptions: [],
      deployment: null,
      deploymentUpdates: [],
      evals: [],
    };
    await this.propose({ kind: "plan", time: Date.now() * 1e6, plan });
    return id;
  }

  /** A device's report on one allocation. */
  async report(id: string, more: Partial<AllocUpdate> = {}): Promise<void> {
    const update: AllocUpdate = {
      ID: id,
      ClientStatus: "running",
      ClientDescription: "Tasks are running",
      TaskStates: null,
      DeploymentStatus: null,
      NetworkStatus: null,
      ...more,
    };
    await this.propose({ kind: "alloc.client", time: Date.now() * 1e6, updates: [update], evals: [] });
  }

  async addNode(fields: Partial<Node> = {}): Promise<Node> {
    const node = testNode({ ID: this.random.uuid(), ...fields });
    await this.propose({ kind: "node.register", time: Date.now() * 1e6, node });
    return this.state.node(node.ID)!;
  }
}

export { NO_TRANSITION };

export function testNode(fields: Partial<Node>): Node {
  return {
    ID: "",
    SecretID: "5ec2e700-0000-4000-8000-000000000000",
    Name: "node-a",
    Datacenter: "dc1",
    NodeClass: "class-a",
    NodePool: "default",
    ComputedClass: "v1:1",
    HTTPAddr: "127.0.0.1:4646",
    TLSEnabled: false,
    Attributes: {
      "kernel.name": "linux",
      "nomad.version": "2.0.5",
      "os.name": "debian",
      "driver.raw_exec": "1",
    },
    Meta: { rack: "r1" },
    Links: {},
    NodeResources: {
      Cpu: { CpuShares: 4600, TotalCpuCores: 2, ReservableCpuCores: [0, 1] },
      Memory: { MemoryMB: 24_105 },
      Disk: { DiskMB: 258_019 },
      Networks: [{ Mode: "host", Device: "eth0", CIDR: "192.0.2.2/32", IP: "192.0.2.2", MBits: 1000 }],
      NodeNetworks: null,
      Devices: null,
      MinDynamicPort: 20_000,
      MaxDynamicPort: 32_000,
      Processors: { Topology: null },
    },
    ReservedResources: {
      Cpu: { CpuShares: 0, ReservedCpuCores: null },
      Memory: { MemoryMB: 0 },
      Disk: { DiskMB: 0 },
      Networks: { ReservedHostPorts: "" },
    },
    Drivers: {
      raw_exec: {
        Attributes: { "driver.raw_exec": "true" },
        Detected: true,
        Healthy: true,
        HealthDescription: "Healthy",
        UpdateTime: "2026-11-22T03:59:36.169905509Z",
      },
    },
    HostVolumes: {},
    HostNetworks: null,
    CSIControllerPlugins: {},
    CSINodePlugins: {},
    CgroupParent: "nomad.slice",
    NodeMaxAllocs: 0,
    GCVolumesOnNodeGC: false,
    Status: "ready",
    StatusDescription: "",
    StatusUpdatedAt: 0,
    SchedulingEligibility: "eligible",
    Drain: false,
    DrainStrategy: null,
    LastDrain: null,
    Events: [],
    IdentitySigningKeyID: "",
    LastMissedHeartbeatIndex: 0,
    LastAllocUpdateIndex: 0,
    CreateIndex: 0,
    ModifyIndex: 0,
    ...fields,
  };
}

/** A small job as a client sends it. */
export function webJob(id = "web", more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    ID: id,
    Name: id,
    Type: "service",
    Datacenters: ["dc1"],
    Meta: { owner: "team-a" },
    TaskGroups: [{
      Name: "app",
      Count: 1,
      Networks: [{ DynamicPorts: [{ Label: "http" }] }],
      Tasks: [{
        Name: "server",
        Driver: "raw_exec",
        Config: { command: "/bin/sleep", args: ["3600"] },
        Resources: { CPU: 50, MemoryMB: 32 },
      }],
    }],
    ...more,
  };
}
