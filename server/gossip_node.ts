// One server's part in gossip: drives the pure core (gossip.ts) with time and messages, keeps its keys and the peers it
// knew, joins, leaves, and puts into the log what an operator should read.
//
// Invariants: the core is only touched from here and only synchronously; a peer that hangs holds up nothing but the
// messages to itself; what is refused is said on both sides, once a minute at most for each reason and address.
import { assertNever } from "../core/assert.ts";
import type { Clock, Random } from "../core/env.ts";
import { ApiError, errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { formatHostPort, type Lookup, resolveAddress, systemLookup } from "../core/resolve.ts";
import { Gossip } from "./gossip.ts";
import { GossipFormatError, type WireMessage } from "./gossip_codec.ts";
import { GossipCallError, GossipWire, type Refusal } from "./gossip_http.ts";
import { Keyring, loadKeyRing } from "./gossip_keyring.ts";
import { PeerFile } from "./gossip_peers.ts";
import { sameEndpoint } from "./gossip_table.ts";
import {
  type Endpoint,
  GOSSIP_TUNING,
  type GossipMessage,
  type GossipNotice,
  type GossipTuning,
  type MemberRecord,
  type Outgoing,
} from "./gossip_types.ts";
import type { GossipKeyring, JoinResult, Member, Membership, MemberTags } from "./membership.ts";

export const SERF_PORT = 4648;
const TICK_MS = 100;
const JOIN_DEADLINE_MS = 5_000;
const KEYRING_DEADLINE_MS = 5_000;
const LEAVE_MS = 1_000;
const REJOIN_MIN_MS = 1_000;
const REJOIN_MAX_MS = 60_000;
/** How long the answer to a message may take. */
const DEADLINE_MS: Record<GossipMessage["t"], number> = {
  ping: 3_000,
  probe: 3_000,
  sync: 10_000,
  ack: 0,
  synced: 0,
};
/** How long the core may take to answer: relays wait for a third server. */
const ANSWER_MS = 5_000;
const SAID_EVERY_MS = 60_000;
const SAID_MAX = 512;
const LISTENERS = "a listener of membership failed";

export interface MembershipOptions {
  /** `<agent name>.<region>`. */
  name: string;
  /** Where others reach the serf listener. */
  advertise: Endpoint;
  tags: MemberTags;
  /** The server's own data dir; null: nothing is kept. */
  dataDir: string | null;
  /** Base64 key that seeds the keyring; "": gossip is plain unless there is a keyring already. */
  encrypt: string;
  rejoinAfterLeave: boolean;
  clock: Clock;
  random: Random;
  logger: Logger;
  tuning?: Partial<GossipTuning>;
  lookup?: Lookup;
}

/** Reads the keyring. Throws ConfigError when it, or `encrypt`, cannot be used. */
export async function createMembership(options: MembershipOptions): Promise<GossipNode> {
  return new GossipNode(options, await loadKeyRing(options.dataDir, options.encrypt, options.logger));
}

/** How the core's answer reaches the request that waits for it. */
type Token = (message: GossipMessage) => void;

export class GossipNode implements Membership {
  readonly keyring: GossipKeyring;
  readonly #o: MembershipOptions;
  readonly #core: Gossip<Token>;
  readonly #wire: GossipWire;
  readonly #keyring: Keyring;
  readonly #peers: PeerFile;
  readonly #listeners = new Set<(member: Member) => void>();
  readonly #said = new Map<string, number>();
  #cancelTick: (() => void) | null = null;
  #cancelRejoin: (() => void) | null = null;
  #running = false;
  #left = false;

  constructor(options: MembershipOptions, ring: ConstructorParameters<typeof Keyring>[0]["ring"]) {
    this.#o = options;
    const { name, advertise, tags, clock, random, logger, dataDir } = options;
    this.#core = new Gossip<Token>({
      name,
      host: advertise.host,
      port: advertise.port,
      tags,
      tuning: { ...GOSSIP_TUNING, ...options.tuning },
      random,
      incarnation: 1,
      nowMs: clock.monotonicMs(),
    });
    this.keyring = this.#keyring = new Keyring({
      dataDir,
      ring,
      self: name,
      logger,
      members: () => this.members().filter(({ status }) => status === "alive"),
      call: (member, message) => this.#wire.call(member, message, KEYRING_DEADLINE_MS),
    });
    this.#wire = new GossipWire({
      ring: () => this.#keyring.ring,
      clock,
      onMessage: (message) => this.#onMessage(message),
      onOtherKey: (key) => void this.#keyring.takeOver(key),
      onRefused: (remoteAddress, refusal, text) => this.#onRefused(remoteAddress, refusal, text),
    });
    this.#peers = new PeerFile(dataDir, clock, logger);
  }

  get self(): Member {
    return this.#core.self;
  }

  members(): Member[] {
    return this.#core.members();
  }

  async start(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    this.#tickLater();
    const { left, peers } = await this.#peers.load();
    const others = peers.filter((peer) => !sameEndpoint(peer, this.#o.advertise));
    if (others.length === 0 || (left && !this.#o.rejoinAfterLeave)) return;
    void this.#rejoin(others, 0);
  }

  /** In the background, again and again: the cluster or the network may come up later than this server. */
  async #rejoin(peers: Endpoint[], tries: number): Promise<void> {
    const { logger, clock } = this.#o;
    if (tries === 0) logger.info("joining the servers known before the restart", { peers: peers.length });
    const { joined, errors } = await this.#joinAll(peers);
    if (!this.#running || this.#left) return;
    if (joined > 0) return logger.info("joined the cluster again", { servers: joined });
    if (this.members().length > 1) return;
    if (tries === 0) {
      logger.warn("none of the servers known before the restart answers yet", { error: errors[0]?.message });
    }
    const delayMs = Math.min(REJOIN_MAX_MS, REJOIN_MIN_MS * 2 ** tries);
    this.#cancelRejoin = clock.after(delayMs, () => void this.#rejoin(peers, tries + 1));
  }

  async join(addresses: readonly string[]): Promise<JoinResult> {
    if (this.#left) {
      throw new ApiError(500, "This server has left the cluster and is stopping: it joins nobody");
    }
    const errors: JoinResult["errors"] = [];
    const resolved = await Promise.all(addresses.map(async (address) => {
      try {
        return await resolveAddress(address, SERF_PORT, this.#o.lookup ?? systemLookup);
      } catch (error) {
        errors.push({ address, message: `failed to resolve ${address}: ${errorText(error)}` });
        return [];
      }
    }));
    const { joined, errors: more } = await this.#joinAll(resolved.flat());
    return { joined, errors: [...errors, ...more] };
  }

  async #joinAll(endpoints: Endpoint[]): Promise<JoinResult> {
    const result: JoinResult = { joined: 0, errors: [] };
    const once = new Map(endpoints.map((each) => [formatHostPort(each), each]));
    await Promise.all([...once].map(async ([address, endpoint]) => {
      try {
        await this.#joinOne(endpoint);
        result.joined++;
      } catch (error) {
        result.errors.push({ address, message: `failed to join ${address}: ${errorText(error)}` });
      }
    }));
    return result;
  }

  async #joinOne(endpoint: Endpoint): Promise<void> {
    if (sameEndpoint(endpoint, this.#o.advertise)) return;
    const answer = await this.#wire.call(endpoint, this.#core.syncMessage(true), JOIN_DEADLINE_MS);
    if (answer.t !== "synced") throw new Error("it gave another answer than its members");
    const twin = answer.members.find((record) => this.#isTwin(record));
    this.#step(answer, null);
    if (!twin) return;
    throw new Error(
      `a server named ${twin.name} is there already, at ${formatHostPort(twin)}: give this one another name`,
    );
  }

  /** Another living server with this one's name; with its id as well it is this one before it moved. */
  #isTwin(record: MemberRecord): boolean {
    return record.name === this.#o.name && record.status === "alive" &&
      !sameEndpoint(record, this.#o.advertise) && record.tags["id"] !== this.#o.tags["id"];
  }

  async leave(): Promise<void> {
    if (this.#left || !this.#running) return;
    this.#left = true;
    const told = this.#core.leave();
    const sent = this.#flush();
    await this.#peers.now({ left: true, peers: this.#alivePeers() });
    if (told > 0) await Promise.race([Promise.allSettled(sent), this.#pause(LEAVE_MS)]);
    this.#core.left();
    this.#o.logger.info("left the cluster", { told });
  }

  forceLeave(name: string, options: { prune: boolean }): Promise<void> {
    const outcome = this.#core.forceLeave(name, options.prune);
    this.#flush();
    if (outcome === "unknown" || outcome === "self") {
      return Promise.reject(new ApiError(...FORCE_LEAVE_ERRORS[outcome](name)));
    }
    if (outcome === "later") {
      this.#o.logger.warn("server is to leave but still answers: it counts as left once it fails", {
        server: name,
      });
    }
    return Promise.resolve();
  }

  onMember(listener: (member: Member) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setTags(tags: MemberTags): void {
    this.#core.setTags(tags);
    this.#flush();
  }

  stats(): Record<string, string> {
    const members = this.members();
    const count = (status: Member["status"]) => members.filter((member) => member.status === status).length;
    return {
      coordinate_resets: "0",
      encrypted: String(this.keyring.encrypted),
      event_queue: "0",
      event_time: "1",
      failed: String(count("failed")),
      health_score: String(this.#core.awareness),
      intent_queue: String(this.#core.queued),
      left: String(count("left")),
      member_time: String(this.#core.incarnation),
      members: String(members.length),
      query_queue: "0",
      query_time: "1",
    };
  }

  handle(request: Request, remoteAddress = ""): Promise<Response> {
    return this.#wire.handle(request, remoteAddress);
  }

  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    this.#cancelTick?.();
    this.#cancelRejoin?.();
    this.#wire.stop();
    // One that met nobody this time keeps whom it knew before.
    if (!this.#left && this.#alivePeers().length > 0) await this.#peers.now(this.#known());
  }

  // --- Driving the core ------------------------------------------------------------------------------------------

  /** A server that is alone has no timer. */
  #tickLater(): void {
    if (this.#cancelTick || !this.#running || this.#core.alone) return;
    this.#core.wake(this.#o.clock.monotonicMs());
    this.#scheduleTick();
  }

  #scheduleTick(): void {
    this.#cancelTick = this.#o.clock.after(TICK_MS, () => {
      this.#cancelTick = null;
      if (!this.#running) return;
      this.#core.tick(this.#o.clock.monotonicMs());
      if (!this.#core.alone) this.#scheduleTick();
      this.#flush();
    });
  }

  #step(message: GossipMessage, token: Token | null): void {
    this.#core.step(message, token);
    this.#flush();
  }

  #onMessage(message: WireMessage): Promise<WireMessage> {
    switch (message.t) {
      case "challenge":
      case "keyring":
        return this.#keyring.answer(message);
      case "ping":
      case "probe":
      case "sync":
        return this.#ask(message);
      case "ack":
      case "synced":
      case "challenged":
      case "keys":
        return Promise.reject(new GossipFormatError("an answer that nobody asked for"));
      default:
        return assertNever(message, "gossip message");
    }
  }

  #ask(message: GossipMessage): Promise<WireMessage> {
    return new Promise((resolve, reject) => {
      const cancel = this.#o.clock.after(ANSWER_MS, () => reject(new Error("gossip has no answer")));
      this.#step(message, (answer) => {
        cancel();
        resolve(answer);
      });
    });
  }

  /** Sends and tells what the core has ready. Returns the messages under way. */
  #flush(): Promise<void>[] {
    const { messages, changed, notices } = this.#core.ready();
    for (const notice of notices) this.#tell(notice);
    for (const member of changed) this.#changed(member);
    if (changed.length > 0 && !this.#left) this.#peers.later(() => this.#known());
    this.#tickLater();
    const sent: Promise<void>[] = [];
    for (const outgoing of messages) {
      if (outgoing.replyTo) outgoing.replyTo(outgoing.message);
      else if (outgoing.to && this.#running) sent.push(this.#send(outgoing, outgoing.to));
    }
    return sent;
  }

  async #send({ name, message }: Outgoing<Token>, to: Endpoint): Promise<void> {
    try {
      const answer = await this.#wire.call(to, message, DEADLINE_MS[message.t]);
      if (answer.t === "ack" || answer.t === "synced") this.#step(answer, null);
    } catch (error) {
      if (!(error instanceof GossipCallError)) throw error;
      if (error.kind === "closed") {
        this.#core.refused(message);
        this.#flush();
      }
      if (error.kind !== "refused" || !this.#running) return;
      this.#sayOnce(
        `${name} ${error.refusal}`,
        () =>
          this.#o.logger.warn(`gossip with ${name} fails: ${error.message}`, { server: formatHostPort(to) }),
      );
    }
  }

  #changed(member: Member): void {
    for (const listener of this.#listeners) {
      try {
        listener(member);
      } catch (error) {
        this.#o.logger.error(LISTENERS, { member: member.name, error: errorText(error) });
      }
    }
  }

  #known(): { left: boolean; peers: Endpoint[] } {
    return { left: false, peers: this.#alivePeers() };
  }

  /** Those that failed stay: they may be the only ones to come back. */
  #alivePeers(): Endpoint[] {
    return this.members().slice(1).filter(({ status }) => status !== "left")
      .map(({ host, port }) => ({ host, port }));
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#o.clock.after(ms, resolve));
  }

  // --- The log ---------------------------------------------------------------------------------------------------

  #onRefused(remoteAddress: string, refusal: Refusal, text: string): void {
    this.#sayOnce(
      `${remoteAddress} ${refusal}`,
      () => this.#o.logger.warn(`refused gossip from ${remoteAddress || "a server"}: ${text}`),
    );
  }

  #sayOnce(key: string, say: () => void): void {
    const nowMs = this.#o.clock.monotonicMs();
    if (nowMs < (this.#said.get(key) ?? -Infinity) + SAID_EVERY_MS) return;
    if (this.#said.size >= SAID_MAX) this.#said.clear();
    this.#said.set(key, nowMs);
    say();
  }

  #tell(notice: GossipNotice): void {
    const { logger } = this.#o;
    switch (notice.type) {
      case "conflict":
        return logger.error(conflictText(notice), {
          known: formatHostPort(notice.known),
          other: formatHostPort(notice.other),
        });
      case "refuted":
        return logger.warn(`this server was thought ${notice.status}, and says that it is alive`, {
          by: notice.by,
        });
      case "suspected":
        return logger.debug("server does not answer gossip", { server: notice.member.name, by: notice.by });
      case "failed":
        return logger.warn("server failed: it does not answer gossip", describe(notice.member));
      case "joined":
        return logger.info("server joined", describe(notice.member));
      case "back":
        return logger.info("server is back", describe(notice.member));
      case "left":
        return logger.info("server left", describe(notice.member));
      case "reaped":
        return logger.info("server was gone for long and is forgotten", describe(notice.member));
      case "pruned":
        return logger.info("server is forgotten, as an operator wants", describe(notice.member));
    }
  }
}

const describe = (member: Member) => ({ server: member.name, address: formatHostPort(member) });

function conflictText({ name, known, other, mine }: Extract<GossipNotice, { type: "conflict" }>): string {
  return mine
    ? `another server at ${
      formatHostPort(other)
    } has this server's name ${name} and cannot take part beside it: ` +
      "give one of the two another name"
    : `the server at ${formatHostPort(other)} has the name ${name} of the one at ${
      formatHostPort(known)
    } and is not ` +
      "taken in: give one of the two another name";
}

const FORCE_LEAVE_ERRORS: Record<"unknown" | "self", (name: string) => [number, string]> = {
  unknown: (name) => [404, `No server named ${name} is known: see \`nomad server members\` for the names`],
  self: (name) => [400, `${name} is this server: stop it with leave_on_terminate = true and it leaves`],
};
