// Who is in the cluster, found out by gossip: SWIM with the Lifeguard extensions, as a pure core of four calls: `tick`
// (time passed), `step` (a message came), `refused` (nobody listens where one was sent) and `ready` (what to send and
// tell). No clock, socket or randomness of its own: gossip_node.ts drives it, tests simulate it.
//
// Invariants: this server never calls itself anything but alive until it leaves; nobody is `failed` here who was not
// suspected here first for the whole of a suspicion; time in which this server did not run counts for nothing;
// a living member's name is never taken over from another address.
import { assertNever } from "../core/assert.ts";
import type { Random } from "../core/env.ts";
import type { Member, MemberTags } from "./membership.ts";
import { MEMBERS_MAX } from "./gossip_codec.ts";
import { Probes } from "./gossip_probes.ts";
import {
  ageAt,
  Broadcasts,
  isUp,
  type Known,
  MemberTable,
  memberView,
  sameEndpoint,
  supersedes,
} from "./gossip_table.ts";
import type {
  AckMessage,
  GossipMessage,
  GossipNotice,
  GossipOptions,
  GossipTuning,
  MemberRecord,
  Outgoing,
  PingMessage,
  ProbeMessage,
  Ready,
  RecordStatus,
  SyncMessage,
} from "./gossip_types.ts";

/** More time than this between two ticks means that this process did not run: it is not held against others. */
const TICK_MAX_MS = 250;
/** A tick later than this says that this server is slow. */
const LAG_MS = 400;
const AWARENESS_MAX = 8;
const CONFLICT_EVERY_MS = 60_000;
const CONFLICTS_MAX = 256;
/** After a conflict was seen, whoever has the name is told who else does. */
const CONTESTED_MS = 2_000;
const FORCE_LEAVE_MS = 600_000;
/** Confirmations by others that shorten a suspicion to its minimum. */
const CONFIRMATIONS = 2;

export class Gossip<Token> {
  readonly #tuning: GossipTuning;
  readonly #random: Random;
  readonly #table = new MemberTable();
  readonly #broadcasts = new Broadcasts();
  readonly #probes: Probes<Token>;
  #self: MemberRecord;
  #leaving: "no" | "leaving" | "left" = "no";
  /** Time as this server lived it: stands still while the process is held up. */
  #nowMs: number;
  #lastTickMs: number;
  /** Lifeguard's local health: 0 is well, every step makes this server slower to accuse others. */
  #awareness = 0;
  #nextProbeMs: number;
  #nextGossipMs: number;
  #nextSyncMs: number;
  #nextReconnectMs: number;
  #probeOrder: string[] = [];
  /** To be asked first: others suspect them. */
  #probeFirst = new Set<string>();
  #syncSoon = new Set<string>();
  #reconnects = 0;
  /** Names that two servers use: since when, when seen last, when said last. */
  #conflicts = new Map<string, { firstMs: number; lastMs: number; saidMs: number }>();
  /** Members that an operator wants gone while they still answer. */
  #toLeave = new Map<string, { prune: boolean; untilMs: number }>();
  #messages: Outgoing<Token>[] = [];
  #changed = new Map<string, Member>();
  #notices: GossipNotice[] = [];

  constructor(options: GossipOptions) {
    const { name, host, port, tags, tuning, random, incarnation, nowMs } = options;
    this.#tuning = tuning;
    this.#random = random;
    this.#self = { name, host, port, tags, incarnation, status: "alive", by: "", pruned: false, ageMs: 0 };
    this.#probes = new Probes(name);
    this.#nowMs = this.#lastTickMs = nowMs;
    this.#nextProbeMs = nowMs + random.float() * tuning.probeIntervalMs;
    this.#nextGossipMs = nowMs;
    this.#nextSyncMs = nowMs + (0.5 + random.float() / 2) * tuning.syncIntervalMs;
    this.#nextReconnectMs = nowMs + tuning.reconnectIntervalMs;
  }

  // --- What is asked -------------------------------------------------------------------------------------------

  get self(): Member {
    const status = this.#leaving === "no" ? "alive" : this.#leaving;
    return { ...memberView(this.#self), status };
  }

  /** This server first, then the others by name; without those that are to be forgotten. */
  members(): Member[] {
    const others = this.#table.filter((record) => !record.pruned);
    return [this.self, ...others.sort((a, b) => a.name < b.name ? -1 : 1).map(memberView)];
  }

  /** Nobody else is known: time may stand still until somebody is. */
  get alone(): boolean {
    return this.#table.size === 0;
  }

  get awareness(): number {
    return this.#awareness;
  }

  get incarnation(): number {
    return this.#self.incarnation;
  }

  get queued(): number {
    return this.#broadcasts.size;
  }

  /** Everything known, as the first word to a server or as the answer to one. */
  syncMessage(join: boolean): SyncMessage {
    return { t: "sync", from: this.#self.name, join, members: this.#everything() };
  }

  // --- What an operator or this server decides -------------------------------------------------------------------

  setTags(tags: MemberTags): void {
    if (this.#leaving !== "no" || sameTags(tags, this.#self.tags)) return;
    this.#raiseSelf(this.#self.incarnation, { tags });
  }

  /** Tells everybody that this server goes. Returns how many are told. */
  leave(): number {
    this.#leaving = "leaving";
    this.#raiseSelf(this.#self.incarnation, { status: "left" });
    const up = this.#table.filter(isUp);
    for (const record of up) this.#ping(record);
    return up.length;
  }

  left(): void {
    this.#leaving = "left";
  }

  /**
   * Makes a member that failed one that left. A living one cannot be talked out of being alive: it counts as one that
   * left as soon as it fails, if that is within ten minutes ("later").
   */
  forceLeave(name: string, prune: boolean): "done" | "later" | "unknown" | "self" {
    if (name === this.#self.name) return "self";
    const known = this.#table.get(name);
    if (!known || (known.record.pruned && !prune)) return "unknown";
    if (isUp(known.record)) {
      this.#toLeave.set(name, { prune, untilMs: this.#nowMs + FORCE_LEAVE_MS });
      return "later";
    }
    this.#makeLeave(known, prune);
    return "done";
  }

  #makeLeave(known: Known, prune: boolean): void {
    if (known.record.status === "left" && !prune) return;
    this.#replace({ ...known.record, status: "left", by: this.#self.name, pruned: prune, ageMs: 0 });
  }

  /** Time begins to pass again after this server was alone. */
  wake(nowMs: number): void {
    this.#lastTickMs = nowMs;
  }

  // --- The four calls --------------------------------------------------------------------------------------------

  tick(nowMs: number): void {
    const passedMs = Math.max(0, nowMs - this.#lastTickMs);
    this.#lastTickMs = nowMs;
    this.#nowMs += Math.min(passedMs, TICK_MAX_MS);
    if (passedMs > LAG_MS) this.#aware(1);
    this.#expireProbes();
    this.#endSuspicions();
    if (this.#leaving === "no") {
      this.#maybeProbe();
      this.#maybeSync();
      this.#maybeReconnect();
    }
    this.#maybeGossip();
    this.#reap();
  }

  /** A message came; `token` is how it can be answered, null for an answer. */
  step(message: GossipMessage, token: Token | null): void {
    switch (message.t) {
      case "ping":
        return this.#onPing(message, token);
      case "probe":
        return this.#onProbe(message, token);
      case "ack":
        return this.#onAck(message);
      case "sync":
        this.#merge(message.members, message.from);
        if (token !== null) {
          this.#answer(token, { t: "synced", from: this.#self.name, members: this.#everything() });
        }
        return;
      case "synced":
        return this.#merge(message.members, message.from);
      default:
        return assertNever(message, "gossip message");
    }
  }

  /** The other machine says that nobody listens there: no need to wait until the message's time has run out. */
  refused(message: GossipMessage): void {
    if (message.t === "ping") this.#directFailed(message.seq, true);
    if (message.t !== "probe") return;
    this.#probes.lost(message.seq);
    if (this.#probes.isHopeless(message.seq)) this.#probeFailed(message.seq);
  }

  ready(): Ready<Token> {
    const ready = { messages: this.#messages, changed: [...this.#changed.values()], notices: this.#notices };
    this.#messages = [];
    this.#changed = new Map();
    this.#notices = [];
    return ready;
  }

  // --- Probing ---------------------------------------------------------------------------------------------------

  #scale(): number {
    return 1 + this.#awareness;
  }

  #aware(by: number): void {
    this.#awareness = Math.max(0, Math.min(AWARENESS_MAX, this.#awareness + by));
  }

  #maybeProbe(): void {
    if (this.#nowMs < this.#nextProbeMs) return;
    this.#nextProbeMs = this.#nowMs + this.#tuning.probeIntervalMs * this.#scale();
    const target = this.#nextTarget();
    if (target) this.#startProbe(target);
  }

  /** Those that others suspect first, then everybody in turn, in an order that is drawn anew for each round. */
  #nextTarget(): MemberRecord | undefined {
    for (const list of [this.#probeFirst, this.#probeOrder]) {
      for (const name of list) {
        if (list instanceof Set) list.delete(name);
        else this.#probeOrder = this.#probeOrder.slice(1);
        const record = this.#table.get(name)?.record;
        if (record && isUp(record) && !this.#probes.isProbing(name)) return record;
      }
    }
    this.#probeOrder = this.#shuffled(this.#table.filter(isUp)).map(({ name }) => name);
    const first = this.#probeOrder.findIndex((name) => !this.#probes.isProbing(name));
    if (first < 0) return undefined;
    const [name] = this.#probeOrder.splice(first, 1);
    return this.#table.get(name!)?.record;
  }

  #startProbe(target: MemberRecord): void {
    const timeoutMs = this.#tuning.probeTimeoutMs * this.#scale();
    const seq = this.#probes.start(target.name, this.#nowMs + timeoutMs, this.#nowMs + 2 * timeoutMs);
    this.#ping(target, seq);
  }

  #ping(target: MemberRecord, seq = 0): void {
    this.#send(target, {
      t: "ping",
      from: this.#self.name,
      seq,
      target: target.name,
      updates: this.#updatesFor(target.name),
    });
  }

  /** Asks others to try; the direct answer may still come. */
  #directFailed(seq: number, refused: boolean): void {
    const probe = this.#probes.directFailed(seq, refused);
    if (!probe) return;
    if (probe.relay) return this.#endRelay(seq, false);
    const target = this.#table.get(probe.target)?.record;
    if (!target) return;
    const helpers = this.#shuffled(
      this.#table.filter((record) => record.status === "alive" && record.name !== probe.target),
    );
    for (const helper of helpers.slice(0, this.#tuning.indirectProbes)) {
      this.#probes.asked(seq);
      this.#send(helper, {
        t: "probe",
        from: this.#self.name,
        seq,
        target: target.name,
        updates: this.#updatesFor(helper.name),
      });
    }
    if (this.#probes.isHopeless(seq)) this.#probeFailed(seq);
  }

  #expireProbes(): void {
    for (const seq of this.#probes.directOverdue(this.#nowMs)) this.#directFailed(seq, false);
    for (const seq of this.#probes.overdue(this.#nowMs)) this.#probeFailed(seq);
  }

  #probeFailed(seq: number): void {
    const probe = this.#probes.end(seq);
    if (!probe || probe.relay) return;
    // Helpers that say "I cannot reach it either" vouch for this server's own line.
    if (probe.asked > 0) this.#aware(probe.asked - probe.nacks - probe.lost);
    else if (!probe.refused) this.#aware(1);
    const known = this.#table.get(probe.target);
    if (known && isUp(known.record)) this.#suspect(known, this.#self.name);
  }

  #onPing(message: PingMessage, token: Token | null): void {
    const stranger = !this.#table.get(message.from);
    this.#merge(message.updates, message.from);
    if (stranger && this.#table.get(message.from)) this.#syncSoon.add(message.from);
    if (token !== null) this.#answer(token, this.#ack(message, message.target === this.#self.name));
  }

  #ack(message: PingMessage | ProbeMessage, ok: boolean): AckMessage {
    return { t: "ack", from: this.#self.name, seq: message.seq, ok, updates: this.#updatesFor(message.from) };
  }

  #onProbe(message: ProbeMessage, token: Token | null): void {
    this.#merge(message.updates, message.from);
    if (token === null) return;
    // Only known members are pinged for others: nobody can send this server's messages anywhere else.
    const target = this.#table.get(message.target)?.record;
    if (!target || this.#probes.crowded) return this.#answer(token, this.#ack(message, false));
    const endMs = this.#nowMs + this.#tuning.probeTimeoutMs * 0.8;
    const relay = { token, seq: message.seq, from: message.from };
    this.#ping(target, this.#probes.start(target.name, endMs, endMs, relay));
  }

  #endRelay(seq: number, ok: boolean): void {
    const relay = this.#probes.end(seq)?.relay;
    if (!relay) return;
    this.#answer(relay.token, {
      t: "ack",
      from: this.#self.name,
      seq: relay.seq,
      ok,
      updates: this.#updatesFor(relay.from),
    });
  }

  #onAck(message: AckMessage): void {
    this.#merge(message.updates, message.from);
    const probe = this.#probes.get(message.seq);
    if (!probe) return;
    if (!message.ok) {
      if (message.from === probe.target) return;
      this.#probes.nack(message.seq);
      if (probe.relay) this.#endRelay(message.seq, false);
      else if (this.#probes.isHopeless(message.seq)) this.#probeFailed(message.seq);
      return;
    }
    if (probe.relay) return this.#endRelay(message.seq, true);
    this.#probes.end(message.seq);
    this.#aware(-1);
  }

  // --- Suspicion -------------------------------------------------------------------------------------------------

  #suspect(known: Known, by: string): void {
    const { record } = known;
    if (record.status === "suspect") {
      if (known.accusers.has(by)) return;
      known.accusers.add(by);
      if (known.accusers.size <= CONFIRMATIONS + 1) this.#broadcasts.add({ ...record, by });
      return;
    }
    this.#probeFirst.add(record.name);
    this.#replace({ ...record, status: "suspect", by, ageMs: 0 });
  }

  /** How long a suspicion stands: shorter with every other server that shares it, longer while this one is slow. */
  #suspicionMs(known: Known): number {
    const { suspicionMult, suspicionMaxMult, probeIntervalMs } = this.#tuning;
    const count = this.#table.size + 1;
    const minMs = suspicionMult * Math.max(1, Math.log10(count)) * probeIntervalMs;
    const witnesses = this.#table.filter(({ status }) => status === "alive").length;
    const expected = Math.min(CONFIRMATIONS, witnesses);
    const confirmed = Math.min(expected, known.accusers.size - 1);
    const part = expected === 0 ? 1 : Math.log(confirmed + 1) / Math.log(expected + 1);
    // With one witness there is nobody independent of the two ends of a broken line: its word shortens nothing.
    const maxMs = expected < CONFIRMATIONS ? minMs : minMs * suspicionMaxMult;
    return (maxMs - (maxMs - minMs) * part) * this.#scale();
  }

  #endSuspicions(): void {
    for (const known of [...this.#table.all()]) {
      if (known.record.status !== "suspect") continue;
      if (this.#nowMs - known.sinceMs < this.#suspicionMs(known)) continue;
      this.#replace({ ...known.record, status: "failed", by: this.#self.name, ageMs: 0 });
    }
  }

  // --- Records ---------------------------------------------------------------------------------------------------

  #merge(records: readonly MemberRecord[], from: string): void {
    for (const record of records) {
      if (record.name === this.#self.name) this.#aboutSelf(record);
      else this.#about(record, from);
    }
  }

  #about(record: MemberRecord, from: string): void {
    const known = this.#table.get(record.name);
    if (!known) {
      if (this.#table.size >= MEMBERS_MAX || this.#isReapable(record.status, record.ageMs)) return;
      this.#replace(record.status === "suspect" ? { ...record, ageMs: 0 } : record);
      return;
    }
    const before = known.record;
    if (!sameEndpoint(record, before) && isUp(before) && isUp(record) && !isMove(before, record)) {
      if (record.name === from) this.#conflict(before, record, false);
      return;
    }
    if (
      record.status === "suspect" && before.status === "suspect" && record.incarnation === before.incarnation
    ) {
      return this.#suspect(known, record.by);
    }
    if (!supersedes(record, before)) return;
    // Nobody fails on the word of one other server: it is suspected here too, and asked.
    if (record.status === "failed" && before.status === "alive") {
      this.#table.put({ ...before, incarnation: record.incarnation }, this.#nowMs);
      return this.#suspect(this.#table.get(record.name)!, record.by);
    }
    if (record.status === "suspect") this.#probeFirst.add(record.name);
    this.#replace(record.status === "suspect" ? { ...record, ageMs: 0 } : record);
  }

  /** What others say of this server: anything but "alive, as it is" is put right with a higher incarnation. */
  #aboutSelf(record: MemberRecord): void {
    const self = this.#self;
    if (isUp(record) && !sameEndpoint(record, self)) {
      if (record.status === "alive") this.#conflict(self, record, true);
      return;
    }
    if (record.incarnation < self.incarnation) return;
    if (self.status === "left") {
      if (record.status !== "left" || record.incarnation > self.incarnation) {
        this.#raiseSelf(record.incarnation, {});
      }
      return;
    }
    if (record.status === "alive") {
      const same = record.incarnation === self.incarnation && sameTags(record.tags, self.tags);
      if (!same) this.#raiseSelf(record.incarnation, {});
      return;
    }
    if (record.status !== "left") this.#aware(1);
    this.#notices.push({ type: "refuted", status: record.status, by: record.by });
    this.#raiseSelf(record.incarnation, {});
  }

  #raiseSelf(above: number, changes: { tags?: MemberTags; status?: RecordStatus }): void {
    this.#self = { ...this.#self, ...changes, incarnation: Math.max(above, this.#self.incarnation) + 1 };
    this.#broadcasts.add(this.#self);
    if (changes.tags || changes.status) this.#changed.set(this.#self.name, this.self);
  }

  /** Two servers use one name: said on both, once in a while, when it is not over in a few seconds as a move is. */
  #conflict(known: MemberRecord, other: MemberRecord, mine: boolean): void {
    if (this.#isNewConflict(known.name)) {
      this.#notices.push({ type: "conflict", name: known.name, known, other, mine });
    }
    if (mine) return;
    // The one that was there first learns it only from those whom the other one asked.
    this.#send(known, {
      t: "ping",
      from: this.#self.name,
      seq: 0,
      target: known.name,
      updates: [this.#self, other],
    });
  }

  #isContested(name: string): boolean {
    return this.#nowMs < (this.#conflicts.get(name)?.lastMs ?? -Infinity) + CONTESTED_MS;
  }

  #isNewConflict(name: string): boolean {
    const nowMs = this.#nowMs;
    let seen = this.#conflicts.get(name);
    if (!seen || nowMs > seen.lastMs + CONFLICT_EVERY_MS) {
      if (this.#conflicts.size > CONFLICTS_MAX) this.#conflicts.clear();
      seen = { firstMs: nowMs, lastMs: nowMs, saidMs: -Infinity };
      this.#conflicts.set(name, seen);
    }
    seen.lastMs = nowMs;
    if (nowMs < seen.firstMs + this.#tuning.conflictGraceMs || nowMs < seen.saidMs + CONFLICT_EVERY_MS) {
      return false;
    }
    seen.saidMs = nowMs;
    return true;
  }

  /** Takes a record in, tells it on, and tells the outside what it can see of it. */
  #replace(record: MemberRecord): void {
    const before = this.#table.get(record.name)?.record;
    this.#table.put(record, this.#nowMs);
    this.#broadcasts.add(record);
    if (record.status === "suspect") {
      this.#notices.push({ type: "suspected", member: memberView(record), by: record.by });
    }
    const visible = !before || before.pruned !== record.pruned ||
      memberView(before).status !== memberView(record).status || !sameTags(before.tags, record.tags) ||
      !sameEndpoint(before, record);
    if (!visible) return;
    const member = memberView(record);
    if (!record.pruned || before) this.#changed.set(record.name, member);
    const notice = noticeOf(before, record);
    if (notice) this.#notices.push({ type: notice, member });
    const wish = this.#toLeave.get(record.name);
    if (!wish || isUp(record)) return;
    this.#toLeave.delete(record.name);
    if (this.#nowMs <= wish.untilMs) this.#makeLeave(this.#table.get(record.name)!, wish.prune);
  }

  #isReapable(status: RecordStatus, ageMs: number): boolean {
    if (status === "failed") return ageMs >= this.#tuning.failedReapMs;
    return status === "left" && ageMs >= this.#tuning.leftReapMs;
  }

  #reap(): void {
    for (const { record, sinceMs } of [...this.#table.all()]) {
      if (!this.#isReapable(record.status, this.#nowMs - sinceMs)) continue;
      this.#table.delete(record.name);
      if (!record.pruned) this.#notices.push({ type: "reaped", member: memberView(record) });
    }
  }

  // --- Telling ---------------------------------------------------------------------------------------------------

  #maybeGossip(): void {
    if (this.#leaving === "left" || this.#nowMs < this.#nextGossipMs || this.#broadcasts.size === 0) return;
    this.#nextGossipMs = this.#nowMs + this.#tuning.gossipIntervalMs;
    const targets = this.#shuffled(this.#table.filter(isUp)).slice(0, this.#tuning.gossipTargets);
    for (const target of targets) this.#ping(target);
  }

  #maybeSync(): void {
    for (const name of this.#syncSoon) {
      const record = this.#table.get(name)?.record;
      if (record && isUp(record)) this.#send(record, this.syncMessage(false));
    }
    this.#syncSoon.clear();
    if (this.#nowMs < this.#nextSyncMs) return;
    this.#nextSyncMs = this.#nowMs + this.#tuning.syncIntervalMs * (0.75 + this.#random.float() / 2);
    const [target] = this.#shuffled(this.#table.filter(isUp));
    if (target) this.#send(target, this.syncMessage(false));
  }

  /** Failed members are asked one by one whether they are back: an exchange of all ends a partition at once. */
  #maybeReconnect(): void {
    if (this.#nowMs < this.#nextReconnectMs) return;
    this.#nextReconnectMs = this.#nowMs +
      this.#tuning.reconnectIntervalMs * (0.75 + this.#random.float() / 2);
    const failed = this.#table.filter(({ status }) => status === "failed");
    const target = failed[this.#reconnects++ % Math.max(1, failed.length)];
    if (target) this.#send(target, this.syncMessage(false));
  }

  #everything(): MemberRecord[] {
    return [this.#self, ...this.#table.told(this.#nowMs)];
  }

  /** What a message takes along: its sender, what the receiver is called if that is wrong, and queued changes. */
  #updatesFor(name: string): MemberRecord[] {
    const limit = this.#tuning.retransmitMult * Math.ceil(Math.log10(this.#table.size + 2));
    const updates = [this.#self, ...this.#broadcasts.take(limit).filter((record) => record !== this.#self)];
    const known = this.#table.get(name);
    const isWrong = known && (known.record.status !== "alive" || this.#isContested(name));
    if (isWrong && !updates.some((record) => record.name === name)) {
      updates.push({ ...known.record, ageMs: ageAt(this.#nowMs, known.sinceMs) });
    }
    return updates;
  }

  #send(to: MemberRecord, message: GossipMessage): void {
    this.#messages.push({ to: { host: to.host, port: to.port }, replyTo: null, name: to.name, message });
  }

  #answer(token: Token, message: GossipMessage): void {
    this.#messages.push({ to: null, replyTo: token, name: "", message });
  }

  #shuffled<T>(list: T[]): T[] {
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.#random.int(i + 1);
      [list[i], list[j]] = [list[j]!, list[i]!];
    }
    return list;
  }
}

/** The same server under a new address, as its id shows, and not a second one with its name. */
function isMove(before: MemberRecord, now: MemberRecord): boolean {
  return supersedes(now, before) && before.tags["id"] !== undefined && before.tags["id"] === now.tags["id"];
}

function noticeOf(
  before: MemberRecord | undefined,
  now: MemberRecord,
): "joined" | "failed" | "left" | "back" | "pruned" | null {
  if (now.pruned) return before ? "pruned" : null;
  if (now.status === "failed" || now.status === "left") {
    return before?.status === now.status ? null : now.status;
  }
  if (!before || before.pruned || before.status === "left") return "joined";
  return before.status === "failed" ? "back" : null;
}

function sameTags(a: MemberTags, b: MemberTags): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
