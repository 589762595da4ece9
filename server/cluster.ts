// This server's part in its cluster: founding it with others, and, on the leader, keeping the membership of the log as
// gossip and Autopilot want it. Decides by cluster_forming.ts, cluster_changes.ts and autopilot.ts; here is the loop that
// asks, decides and acts, and what the operator's routes call.
//
// Invariants: the membership is changed on the leader only and one change after the other; a server that belongs to
// another cluster is never added; a server that stands alone and knows nobody has no timer.
import type { Clock, Random } from "../core/env.ts";
import { ApiError, errorText, NotLeaderError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { AutopilotConfiguration } from "../core/types.ts";
import { NOMAD_VERSION } from "../core/version.ts";
import {
  assessHealth,
  type AutopilotChange,
  type ClusterHealth,
  nextAutopilotChange,
  scaled,
  type ServerReport,
} from "./autopilot.ts";
import type { Offer, OfferAnswer, PeerAnswers, PeerCalls, PeerStatus } from "./cluster_calls.ts";
import { type MembershipChange, membershipChanges, twinIds } from "./cluster_changes.ts";
import { Forming } from "./cluster_forming.ts";
import { type ServerMember, serverMember } from "./cluster_members.ts";
import type { Command } from "./commands.ts";
import type { ServerConfig } from "./context.ts";
import type { Member, Membership } from "./membership.ts";
import type { RaftServer } from "./raft_types.ts";
import type { Replica } from "./replica.ts";
import type { StateReader } from "./state_reader.ts";
import { DEFAULT_AUTOPILOT_CONFIG } from "./state_tables.ts";

/** What the cluster needs of the log. */
export type ClusterLog = Pick<
  Replica,
  | "isLeader"
  | "leader"
  | "lastContactMs"
  | "term"
  | "peers"
  | "stats"
  | "configuration"
  | "addServer"
  | "removeServer"
  | "transferLeadership"
  | "bootstrap"
>;

export interface ClusterOptions {
  config: ServerConfig;
  log: ClusterLog;
  state: StateReader;
  /** Null: nobody but the members of the log is known, and they stay as they are. */
  membership: Membership | null;
  calls: PeerCalls;
  clock: Clock;
  random: Random;
  logger: Logger;
  propose(command: Command): Promise<unknown>;
}

/** A round of the loop, as long as there is anybody else. */
const ROUND_MS = 1000;
/** Changes in one round. */
const CHANGES_MAX = 16;
/** How long a server that leaves waits to be taken out of the membership. */
const LEAVE_MS = 5000;
/** How long a server that was taken out and goes on running stays out: it may have been restarted meanwhile. */
const HOLD_MS = 20_000;
const LEAVE_RETRY_MS = 100;

export class Cluster implements PeerAnswers {
  readonly #o: ClusterOptions;
  readonly #forming: Forming;
  /** Where living servers are by gossip: asked for with every message of the log. */
  #addresses = new Map<string, string>();
  /** Servers that were taken out: not added again until they have been away, or until this time. */
  #held = new Map<string, number>();
  /** Removals under way, by id. */
  #removals = new Map<string, Promise<void>>();
  /** Servers that were told to have left, also those that gossip has forgotten since (`-prune`). */
  #departed = new Map<string, ServerMember>();
  #health: ClusterHealth | null = null;
  /** Since when a member of the log has been unknown to gossip while this server leads, by id. */
  #unknownSince = new Map<string, number>();
  /** What was said of a server, so that it is said once. */
  #told = new Map<string, string>();
  #working: Promise<void> | null = null;
  #again = false;
  #cancelRound: (() => void) | null = null;
  #endMembers: (() => void) | null = null;
  #started = false;
  #stopped = false;
  #leaving = false;

  constructor(options: ClusterOptions) {
    this.#o = options;
    const { config, clock, logger, calls, log } = options;
    this.#forming = new Forming({
      id: config.id,
      expect: config.bootstrapExpect,
      clock,
      logger,
      calls,
      isFresh: () => !this.#hasState(),
      alive: () => this.servers().filter((server) => server.status === "alive"),
      bootstrap: (servers) => log.bootstrap(servers),
    });
  }

  // ---- life ----

  /** The log has been started. */
  start(): void {
    this.#started = true;
    this.#noteAddresses();
    this.#endMembers = this.#o.membership?.onMember((member) => this.#onMember(member)) ?? null;
    this.#kick();
  }

  /** Ends the loop; resolves when nothing of it is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#forming.stop();
    this.#endMembers?.();
    this.#cancelRound?.();
    await this.#working;
  }

  onLeadership(leading: boolean): void {
    this.#held.clear();
    this.#unknownSince.clear();
    this.#told.clear();
    this.#health = null;
    if (leading) this.#kick();
  }

  /**
   * Takes this server out of the cluster for good: hands leadership over, is removed from the membership, leaves gossip.
   * Gives up on what does not come about in some seconds, and says so in the log; the server still runs after it.
   */
  async leave(): Promise<void> {
    const { log, config, logger, membership } = this.#o;
    this.#leaving = true;
    this.#forming.stop();
    const members = log.configuration().config.servers;
    if (members.length > 1 && members.some((s) => s.id === config.id)) {
      await this.handOver();
      try {
        await this.#askToBeRemoved();
      } catch (error) {
        logger.error("leaves without having been removed from the log's members", {
          error: errorText(error),
        });
      }
    }
    await membership?.leave();
  }

  /** Gives leadership to another server, if there is one, so that nobody has to notice the silence of this one. */
  async handOver(): Promise<void> {
    const { log, logger } = this.#o;
    if (!log.isLeader || log.configuration().config.servers.length === 1) return;
    try {
      await log.transferLeadership();
      logger.info("handed leadership over");
    } catch (error) {
      logger.warn("stops without having handed leadership over", { error: errorText(error) });
    }
  }

  async #askToBeRemoved(): Promise<void> {
    const { log, config, clock, calls } = this.#o;
    let last = "no other server leads";
    for (const endMs = clock.monotonicMs() + LEAVE_MS; clock.monotonicMs() < endMs;) {
      const { leader } = log;
      try {
        if (leader && leader.id !== config.id) return await calls.leave(this.#addressOf(leader), config.id);
      } catch (error) {
        last = errorText(error);
      }
      await new Promise<void>((resolve) => clock.after(LEAVE_RETRY_MS, resolve));
    }
    throw new Error(`not removed within ${LEAVE_MS} ms: ${last}`);
  }

  // ---- what others ask ----

  status(): PeerStatus {
    this.#demandStarted();
    const { config, state, log } = this.#o;
    const { lastTerm, lastIndex } = this.#lastEntry();
    return {
      id: config.id,
      region: config.region,
      clusterId: state.clusterId,
      hasState: this.#hasState(),
      servers: log.configuration().config.servers.map((s) => s.id),
      lastContactMs: Number.isFinite(log.lastContactMs) ? log.lastContactMs : null,
      lastTerm,
      lastIndex,
    };
  }

  onOffer(offer: Offer): OfferAnswer {
    this.#demandStarted();
    return this.#forming.onOffer(offer);
  }

  async onLeave(id: string): Promise<void> {
    const { log } = this.#o;
    this.#demandStarted();
    if (!log.isLeader) throw new NotLeaderError(log.leader?.httpAddress ?? "");
    await this.#takeOut(id);
  }

  /** It may be asked for twice, by the server itself and by a request that is sent again: it is done once. */
  #takeOut(id: string): Promise<void> {
    const { log } = this.#o;
    this.#hold(id);
    const before = this.#removals.get(id);
    if (before || !log.configuration().config.servers.some((s) => s.id === id)) {
      return before ?? Promise.resolve();
    }
    const removal = log.removeServer(id).finally(() => this.#removals.delete(id));
    this.#removals.set(id, removal);
    return removal;
  }

  #demandStarted(): void {
    if (!this.#started) throw new ApiError(503, "This server is starting: ask again in a moment");
  }

  // ---- what the operator's routes and the agent ask ----

  /** Servers of this region that gossip knows. */
  servers(): ServerMember[] {
    const { membership, config } = this.#o;
    const members = (membership?.members() ?? []).map(serverMember);
    return members.filter((member) => member !== null && member.region === config.region) as ServerMember[];
  }

  /** Name of a member of the log; "(unknown)" when gossip has none for it. */
  nameOf(id: string): string {
    const { config } = this.#o;
    if (id === config.id) return config.name;
    return this.#memberOf(id)?.name ?? "(unknown)";
  }

  /** The rpc address at which gossip knows the server, which may be newer than the log's. */
  addressOf(id: string): string | undefined {
    return this.#addresses.get(id);
  }

  /** Takes a server out of the membership. One that goes on running comes back after a while: it is to be stopped. */
  async removePeer(id: string): Promise<void> {
    const { log, config } = this.#o;
    // What a leader did that removed itself is asked again of the next one: it is no mistake that it is done.
    if (this.#held.has(id)) return await this.#takeOut(id);
    this.#demandMember((server) => server.id === id, `id ${JSON.stringify(id)}`, 500);
    // A leader does not see the end of its own removal: the next one does it.
    if (id === config.id) await this.handOver();
    if (!log.isLeader) return await this.#askToBeRemoved();
    await this.#takeOut(id);
  }

  /** Hands leadership to the server with this id or rpc address. */
  async transferTo(
    target: { id: string } | { address: string },
  ): Promise<{ from: RaftServer; to: RaftServer }> {
    const { log, config } = this.#o;
    const from = this.#demandMember((server) => server.id === config.id, `id "${config.id}"`, 500);
    const to = "id" in target
      ? this.#demandMember((server) => server.id === target.id, `id ${JSON.stringify(target.id)}`, 400)
      : this.#demandMember(
        (server) => server.rpcAddress === target.address,
        `address ${JSON.stringify(target.address)}`,
        400,
      );
    if (to.id !== from.id) await log.transferLeadership(to.id);
    return { from, to };
  }

  #hold(id: string): void {
    this.#held.set(id, this.#o.clock.monotonicMs() + HOLD_MS);
  }

  #demandMember(is: (server: RaftServer) => boolean, what: string, status: number): RaftServer {
    const server = this.#o.log.configuration().config.servers.find(is);
    if (!server) throw new ApiError(status, `${what} was not found in the Raft configuration`);
    return server;
  }

  /** The latest judgement; on a server that does not lead, without servers. */
  health(): ClusterHealth {
    if (!this.#o.log.isLeader) return { servers: [], healthy: false, failureTolerance: 0 };
    const { servers } = this.#o.log.configuration().config;
    const judged = this.#health;
    const current = judged?.servers.length === servers.length &&
      servers.every((s) => judged.servers.some((one) => one.id === s.id && one.voter === s.voter));
    if (current && servers.length > 1) return judged;
    // Nobody is asked in this call: who is new stands as unhealthy until the next round.
    const health = this.#judge(this.#lastStatuses());
    if (servers.length === 1) this.#health = health;
    return health;
  }

  // ---- the loop ----

  #onMember(member: Member): void {
    const server = serverMember(member);
    this.#noteAddresses();
    if (server && server.status !== "alive") this.#held.delete(server.id);
    if (server?.status === "left") this.#departed.set(server.id, server);
    else if (server) this.#departed.delete(server.id);
    this.#kick();
  }

  #noteAddresses(): void {
    const alive = this.servers().filter((server) => server.status === "alive");
    const twins = twinIds(alive);
    for (const [id, servers] of twins) this.#tellTwins(id, servers);
    const clear = alive.filter((server) => !twins.has(server.id));
    this.#addresses = new Map(clear.map((server) => [server.id, server.rpcAddress]));
  }

  /** Both would vote: the log's messages go to the one that its membership names. */
  #tellTwins(id: string, servers: readonly ServerMember[]): void {
    this.#tellOnce(
      id,
      `servers ${
        servers.map(({ name }) => name).sort().join(" and ")
      } have one id, ${id}: a data_dir was copied. ` +
        "Stop the copy, remove the server folder of its data_dir and start it again",
    );
  }

  /** Runs a round now, or once more after the one under way. */
  #kick(): void {
    if (!this.#started || this.#stopped) return;
    if (this.#working) {
      this.#again = true;
      return;
    }
    this.#cancelRound?.();
    this.#cancelRound = null;
    this.#working = this.#round().catch((error) => {
      if (error instanceof NotLeaderError) return; // Lost while it was under way: the next leader goes on.
      if (!this.#stopped) {
        this.#o.logger.error("the round over the cluster's members failed", { error: errorText(error) });
      }
    }).finally(() => {
      this.#working = null;
      if (this.#again) {
        this.#again = false;
        this.#kick();
      } else this.#armRound();
    });
  }

  #armRound(): void {
    const { log, state } = this.#o;
    const others = log.configuration().config.servers.length > 1 || this.servers().length > 1;
    const wanted = log.isLeader ? others || state.clusterId === "" : this.#forming.pending;
    if (this.#stopped || !wanted) return;
    this.#cancelRound = this.#o.clock.after(ROUND_MS, () => this.#kick());
  }

  async #round(): Promise<void> {
    if (!this.#o.log.isLeader) return await this.#forming.check();
    await this.#init();
    if (this.#o.membership === null) return;
    const statuses = await this.#askMembers();
    if (!this.#leads) return;
    this.#health = this.#judge(statuses);
    await this.#follow();
    await this.#pilot();
  }

  get #leads(): boolean {
    return this.#o.log.isLeader && !this.#stopped && !this.#leaving;
  }

  /** The first leader of a cluster gives it its id. */
  async #init(): Promise<void> {
    const { state, random, clock, config, propose } = this.#o;
    if (state.clusterId !== "") return;
    const autopilot: AutopilotConfiguration = { ...DEFAULT_AUTOPILOT_CONFIG, ...config.autopilot };
    await propose({ kind: "cluster.init", time: clock.nowMs() * 1e6, id: random.uuid(), autopilot });
  }

  async #askMembers(): Promise<Map<string, PeerStatus>> {
    const { log, config } = this.#o;
    const statuses = new Map<string, PeerStatus>();
    await Promise.all(
      log.configuration().config.servers.map(async (server) => {
        if (server.id === config.id) return;
        const status = await this.#ask(this.addressOf(server.id) ?? server.rpcAddress);
        if (status?.id === server.id) statuses.set(server.id, status);
      }),
    );
    return statuses;
  }

  async #ask(address: string): Promise<PeerStatus | null> {
    try {
      return await this.#o.calls.status(address);
    } catch (error) {
      this.#o.logger.debug("failed retrieving server health", { address, error: errorText(error) });
      return null;
    }
  }

  #judge(statuses: Map<string, PeerStatus>): ClusterHealth {
    const { log, config, state, clock } = this.#o;
    const own = { lastContactMs: 0, ...this.#lastEntry() };
    const reports = log.configuration().config.servers.map((server): ServerReport => {
      const self = server.id === config.id;
      const member = this.#memberOf(server.id);
      return {
        id: server.id,
        name: this.nameOf(server.id),
        rpcAddress: server.rpcAddress,
        voter: server.voter,
        leader: self,
        gossip: self ? "alive" : member?.status ?? "none",
        build: self ? NOMAD_VERSION : member?.build ?? "",
        nonVoter: self ? config.nonVoter ?? false : member?.nonVoter ?? false,
        log: self ? own : statuses.get(server.id) ?? null,
        unknownMs: self || member ? this.#known(server.id) : this.#unknownFor(server.id),
      };
    });
    return assessHealth(
      reports,
      this.#health,
      scaled(state.autopilotConfig(), config.raftMultiplier),
      clock.nowMs(),
    );
  }

  #known(id: string): number {
    this.#unknownSince.delete(id);
    return 0;
  }

  #unknownFor(id: string): number {
    const nowMs = this.#o.clock.monotonicMs();
    const sinceMs = this.#unknownSince.get(id) ?? nowMs;
    this.#unknownSince.set(id, sinceMs);
    return nowMs - sinceMs;
  }

  /** Makes the membership follow gossip. */
  async #follow(): Promise<void> {
    for (let made = 0; made < CHANGES_MAX && this.#leads;) {
      let progress = false;
      for (const change of this.#wanted()) {
        if (!this.#leads || !await this.#change(change)) continue;
        progress = true;
        made++;
        break; // The others were found before this one was made.
      }
      if (!progress) return;
    }
  }

  #wanted(): MembershipChange[] {
    const { log, config, clock } = this.#o;
    const nowMs = clock.monotonicMs();
    for (const [id, untilMs] of this.#held) if (nowMs >= untilMs) this.#held.delete(id);
    const { servers } = log.configuration().config;
    for (const id of this.#departed.keys()) if (!servers.some((s) => s.id === id)) this.#departed.delete(id);
    const members = this.servers();
    const forgotten = [...this.#departed.values()].filter(({ id }) => !members.some((m) => m.id === id));
    return membershipChanges({
      selfId: config.id,
      servers,
      members: [...members, ...forgotten],
      held: new Set(this.#held.keys()),
    });
  }

  /** Returns whether the change was made. */
  async #change(change: MembershipChange): Promise<boolean> {
    const { log, logger } = this.#o;
    switch (change.kind) {
      case "remove":
        return await this.#remove(change);
      case "move":
        logger.info("a server has another address", {
          server: change.name,
          address: change.server.rpcAddress,
        });
        return await this.#attempt("change the address of", change.name, () => log.addServer(change.server));
      case "add": {
        const { member, server } = change;
        const status = await this.#ask(member.rpcAddress);
        if (!status || status.id !== member.id || !this.#belongs(member, status)) return false;
        logger.info("adds a server as a learner", { server: member.name, id: member.id });
        return await this.#attempt("add", member.name, () => log.addServer(server));
      }
    }
  }

  /** A server with the log of another cluster must not lose it to ours. */
  #belongs(member: ServerMember, status: PeerStatus): boolean {
    const { state, config } = this.#o;
    if (status.clusterId === state.clusterId || !status.hasState) return true;
    if (status.clusterId === "" && (status.servers.length === 0 || status.servers.includes(config.id))) {
      return true;
    }
    this.#tellOnce(
      member.id,
      `server ${member.name} is not added: it belongs to another cluster. To bring it into this one, stop it, remove ` +
        "the server folder of its data_dir and start it with bootstrap_expect = 0",
    );
    return false;
  }

  /** Lets Autopilot act. */
  async #pilot(): Promise<void> {
    const { state, clock } = this.#o;
    for (let made = 0; made < CHANGES_MAX && this.#leads && this.#health; made++) {
      const change = nextAutopilotChange(this.#health, state.autopilotConfig(), clock.nowMs());
      if (!change || !await this.#steer(change)) return;
      this.#health = this.#judge(this.#lastStatuses());
    }
  }

  async #steer(change: AutopilotChange): Promise<boolean> {
    const { log, logger } = this.#o;
    if (change.kind === "remove") return await this.#remove(change);
    const server = log.configuration().config.servers.find((s) => s.id === change.id);
    if (!server) return false;
    logger.info("promotes a server to voter", { server: change.name, id: change.id });
    return await this.#attempt("promote", change.name, () => log.addServer({ ...server, voter: true }));
  }

  async #remove({ id, name, reason }: { id: string; name: string; reason: string }): Promise<boolean> {
    this.#o.logger.info("removes a server from the log's members", { server: name, id, reason });
    return await this.#attempt("remove", name, () => this.#o.log.removeServer(id));
  }

  async #attempt(what: string, name: string, change: () => Promise<void>): Promise<boolean> {
    try {
      await change();
      return true;
    } catch (error) {
      if (this.#leads) this.#o.logger.warn(`cannot ${what} server ${name} now`, { error: errorText(error) });
      return false;
    }
  }

  /** What the members answered in this round. */
  #lastStatuses(): Map<string, PeerStatus> {
    const statuses = new Map<string, PeerStatus>();
    for (const { id, log } of this.#health?.servers ?? []) if (log) statuses.set(id, log as PeerStatus);
    return statuses;
  }

  // ---- small things ----

  #memberOf(id: string): ServerMember | undefined {
    const members = this.servers().filter((member) => member.id === id);
    return members.find((member) => member.status === "alive") ?? members[0];
  }

  #addressOf({ id, rpcAddress }: { id: string; rpcAddress: string }): string {
    return this.addressOf(id) ?? rpcAddress;
  }

  #hasState(): boolean {
    const { log } = this.#o;
    return log.term > 0 || this.#lastEntry().lastIndex > 0;
  }

  #lastEntry(): { lastTerm: number; lastIndex: number } {
    const stats = this.#o.log.stats();
    return { lastTerm: Number(stats["last_log_term"] ?? 0), lastIndex: Number(stats["last_log_index"] ?? 0) };
  }

  #tellOnce(about: string, message: string): void {
    if (this.#told.get(about) === message) return;
    this.#told.set(about, message);
    this.#o.logger.error(message);
  }
}
