// The operator of a simulated cluster: starts what is down, replaces servers that lost their disk, grows and shrinks the
// cluster, and at the end brings everything back to work. Does what a person would do with the tools of the product.
//
// Invariant: never more servers without their data at a time than the cluster can bear: one, and only of three or more.
import type { RaftServer } from "../../server/raft_types.ts";
import type { Cluster } from "./cluster.ts";
import type { ServerProcess } from "./server_process.ts";
import type { Life } from "./world.ts";

/** The operator looks at the cluster this often. */
const ROUND_MS = 1500;
const PATIENCE_MS = 8000;

export class Operator {
  /** What was lost → what takes its place. */
  readonly #replacements = new Map<ServerProcess, ServerProcess>();
  #busy = false;
  readonly #renewed = new Set<string>();

  constructor(private readonly cluster: Cluster, private readonly life: Life) {
    this.#round();
  }

  /** Every server's data is where it should be. */
  get isIdle(): boolean {
    return !this.#busy && this.#replacements.size === 0 && this.#brokenOnes().length === 0;
  }

  /** Whether one more server may lose its data. */
  mayLoseDisk(server: ServerProcess): boolean {
    const leader = this.cluster.leader;
    const voters = leader?.raft?.config.servers.filter(({ voter }) => voter) ?? [];
    // The others hold everything that was acknowledged: all of them are up, and none waits for what it lost itself.
    const others = voters.filter(({ id }) => id !== server.id).map(({ id }) => this.cluster.servers.get(id)!);
    return this.isIdle && leader !== undefined && leader.raft!.committedInTerm && voters.length >= 3 &&
      voters.some(({ id }) => id === server.id) &&
      others.every((other) => other.ready && !other.raft?.abstain);
  }

  #brokenOnes(): ServerProcess[] {
    return [...this.cluster.servers.values()].filter((server) => server.broken && !server.retired);
  }

  #round(): void {
    this.cluster.world.schedule(ROUND_MS, this.life, "operator", () => {
      if (this.cluster.phase !== "done") this.#round();
      if (this.#busy) return;
      this.#busy = true;
      this.#within(this.#look()).catch((error: Error) => this.cluster.note(`operator: ${error.message}`))
        .finally(() => {
          this.#busy = false;
        });
    });
  }

  async #look(): Promise<void> {
    for (const broken of this.#brokenOnes()) {
      if (!this.#replacements.has(broken)) this.#replacements.set(broken, this.cluster.addServer());
    }
    for (const [broken, fresh] of this.#replacements) await this.#replace(broken, fresh);
  }

  /** One step of it; the next round takes the next one. */
  async #replace(broken: ServerProcess, fresh: ServerProcess): Promise<void> {
    const leader = this.cluster.leader;
    if (!leader?.server) return;
    const { log } = leader.server;
    const has = (server: ServerProcess) =>
      log.configuration().config.servers.some(({ id }) => id === server.id);
    const isVoter = log.configuration().config.servers.some(({ id, voter }) => id === fresh.id && voter);
    if (!isVoter) return await log.addServer(memberOf(fresh, true));
    if (has(broken)) return await log.removeServer(broken.id);
    broken.retired = true;
    this.#replacements.delete(broken);
    this.cluster.watchers.count("servers replaced");
  }

  /** Grows or shrinks the cluster by one, as chance has it. */
  async changeMembers(): Promise<void> {
    const { cluster } = this;
    const { random } = cluster.world;
    const leader = cluster.leader;
    if (!leader?.server || !this.isIdle) return;
    const { log } = leader.server;
    const { servers } = log.configuration().config;
    const learner = servers.find(({ voter }) => !voter);
    const change = () => {
      if (learner) return log.addServer({ ...learner, voter: true });
      if (servers.length > 3 && random.chance(0.6)) return this.#remove(leader, random.pick(servers).id);
      if (cluster.servers.size >= 12 || servers.length >= 7) return Promise.resolve();
      return log.addServer(memberOf(cluster.addServer(), random.chance(0.5)));
    };
    this.#busy = true;
    try {
      await this.#within(change());
      cluster.watchers.count("membership changes");
    } finally {
      this.#busy = false;
    }
  }

  /** A server that dies never answers. */
  #within(work: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.life.clock.after(PATIENCE_MS, () => reject(new Error("no answer in time")));
      work.then(resolve, reject);
    });
  }

  /** Someone who does not wait, and asks whoever says that it leads: two changes at once, of which one must be refused. */
  async hurryMembers(): Promise<void> {
    const { cluster } = this;
    const { random } = cluster.world;
    const leaders = [...cluster.servers.values()].filter((each) => !each.paused && each.server?.log.isLeader);
    if (leaders.length === 0 || !this.isIdle) return;
    const leader = random.pick(leaders);
    this.#busy = true;
    try {
      const { log } = leader.server!;
      const { servers } = log.configuration().config;
      const voters = servers.filter(({ voter }) => voter).length;
      const mayGrow = cluster.servers.size < 9 && random.chance(0.3);
      const newcomer = mayGrow ? [memberOf(cluster.addServer(), random.chance(0.5))] : [];
      const toggled = [random.pick(servers), random.pick(servers)].map((server) =>
        server.voter && voters < 3 ? server : { ...server, voter: !server.voter }
      );
      const changes = [...newcomer, ...toggled].map((server) => log.addServer(server));
      await this.#within(Promise.allSettled(changes).then(() => undefined));
      cluster.watchers.count("members changed in a hurry");
    } finally {
      this.#busy = false;
    }
  }

  async #remove(leader: ServerProcess, id: string): Promise<void> {
    await leader.server!.log.removeServer(id);
    const gone = this.cluster.servers.get(id)!;
    gone.retired = true;
    gone.crash({ power: false });
  }

  // ---- when the faults are over ----

  /** Everything is switched on and let run; what an operator would undo by hand is undone. */
  healAll(): void {
    const { network, servers, devices, swarm } = this.cluster;
    network.heal();
    swarm.disk.refuse = 0;
    swarm.device.taskFailure = 0;
    for (const server of servers.values()) {
      server.disk.full = false;
      server.disk.slowness = 1;
      server.machine.skew.wallOffsetMs = 0;
      server.resume();
      server.start();
    }
    const members = this.cluster.members().map(({ rpcAddress }) => rpcAddress);
    for (const device of devices.values()) {
      device.resume();
      device.start();
      // All servers that it ever knew may be gone for good.
      if (members.length > 0 && !device.knows(members)) device.setServers(members);
    }
  }

  /** Nodes are let work again, paused deployments go on. Rejects while nobody answers. */
  async tidyUp(): Promise<void> {
    const { cluster } = this;
    const leader = cluster.leader;
    if (!leader) throw new Error("no leader yet");
    const put = async (path: string, body: unknown) => {
      const { status, text } = await cluster.call(leader.id, {
        method: "PUT",
        path,
        body: JSON.stringify(body),
      });
      if (status !== 200) throw new Error(`PUT ${path}: ${status} ${text}`);
    };
    const { state } = leader.server!;
    for (const node of state.nodes()) {
      if (node.DrainStrategy || node.SchedulingEligibility !== "eligible") {
        await put(`/v1/node/${node.ID}/drain`, { NodeID: node.ID, DrainSpec: null, MarkEligible: true });
        await put(`/v1/node/${node.ID}/eligibility`, { NodeID: node.ID, Eligibility: "eligible" });
      }
    }
    for (const job of state.jobs()) {
      if (job.Type !== "service" || job.Stop || this.#renewed.has(job.ID)) continue;
      this.#renewed.add(job.ID);
      // A version whose deployment failed gets no further allocations: it is given another chance.
      const latest = state.latestDeployment(job.Namespace, job.ID);
      if (latest && latest.Status !== "failed") continue;
      await put("/v1/jobs", { Job: { ...job, Meta: { ...job.Meta, renewed: "yes" } } });
    }
    for (const deployment of state.deployments()) {
      if (deployment.Status !== "paused") continue;
      await put(`/v1/deployment/pause/${deployment.ID}`, { DeploymentID: deployment.ID, Pause: false });
    }
  }
}

function memberOf(server: ServerProcess, voter: boolean): RaftServer {
  const { id, rpcAddress, httpAddress } = server;
  return { id, rpcAddress, httpAddress, voter };
}
