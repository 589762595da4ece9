// The shapes of gossip between servers: what is known of a member, the messages, and what the pure core (gossip.ts)
// takes and gives. The shell that sends and receives is gossip_node.ts, the bytes are gossip_codec.ts's.
//
// Invariant: of two records of one member the one with the higher incarnation holds; at the same incarnation the
// one with the higher rank of status. Only a member itself raises its incarnation.
import type { Random } from "../core/env.ts";
import type { Member, MemberTags } from "./membership.ts";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** `suspect`: somebody could not reach it and waits for its word; the outside still sees it alive. */
export type RecordStatus = "alive" | "suspect" | "failed" | "left";

/** What servers tell each other of one member. */
export interface MemberRecord extends Endpoint {
  readonly name: string;
  readonly tags: MemberTags;
  readonly incarnation: number;
  readonly status: RecordStatus;
  /** Who says so, for `suspect` and `failed`; "" otherwise. */
  readonly by: string;
  /** An operator wants it forgotten: kept without being shown, so that no late word brings it back. */
  readonly pruned: boolean;
  /** How long the status has stood where the record comes from: all servers reap at the same time. */
  readonly ageMs: number;
}

/** Asks for a sign of life. `target` is the name that is expected at the address. */
export interface PingMessage {
  t: "ping";
  from: string;
  seq: number;
  target: string;
  updates: MemberRecord[];
}
/** Asks a third server to ping `target`, at the address that it knows, for the sender. */
export interface ProbeMessage {
  t: "probe";
  from: string;
  seq: number;
  target: string;
  updates: MemberRecord[];
}
/** The answer to a ping or probe. `ok`: the target was heard. */
export interface AckMessage {
  t: "ack";
  from: string;
  seq: number;
  ok: boolean;
  updates: MemberRecord[];
}
/** Everything the sender knows; answered by `synced`. `join`: the first contact of a server that wants to belong. */
export interface SyncMessage {
  t: "sync";
  from: string;
  join: boolean;
  members: MemberRecord[];
}
export interface SyncedMessage {
  t: "synced";
  from: string;
  members: MemberRecord[];
}
export type GossipMessage = PingMessage | ProbeMessage | AckMessage | SyncMessage | SyncedMessage;

/** A message to send: to an address, or as the answer to a message that came with `replyTo`. */
export interface Outgoing<Token> {
  to: Endpoint | null;
  replyTo: Token | null;
  /** Member it is meant for, "" when unknown. */
  name: string;
  message: GossipMessage;
}

/** What an operator should read in the log. */
export type GossipNotice =
  | { type: "joined" | "failed" | "left" | "back" | "reaped" | "pruned"; member: Member }
  | { type: "suspected"; member: Member; by: string }
  | { type: "refuted"; status: RecordStatus; by: string }
  /** Two servers use one name. `mine`: it is this server's own name. */
  | { type: "conflict"; name: string; known: Endpoint; other: Endpoint; mine: boolean };

export interface Ready<Token> {
  messages: Outgoing<Token>[];
  /** Members whose visible state changed, as they are now. */
  changed: Member[];
  notices: GossipNotice[];
}

export interface GossipTuning {
  probeIntervalMs: number;
  /** Until a direct ping counts as unanswered, and once more for the indirect ones. */
  probeTimeoutMs: number;
  indirectProbes: number;
  /** Suspicion lasts this times the probe interval at least. */
  suspicionMult: number;
  /** Without confirmation by others it lasts this times longer. */
  suspicionMaxMult: number;
  gossipIntervalMs: number;
  gossipTargets: number;
  /** A change is sent this times log10(members + 1) times. */
  retransmitMult: number;
  syncIntervalMs: number;
  reconnectIntervalMs: number;
  failedReapMs: number;
  leftReapMs: number;
  /** A server that has moved is at two addresses until the old one has failed: no word of it for so long. */
  conflictGraceMs: number;
}

/** For servers of one site or between sites with round trips below 200 ms. */
export const GOSSIP_TUNING: GossipTuning = {
  probeIntervalMs: 500,
  probeTimeoutMs: 500,
  indirectProbes: 3,
  suspicionMult: 4,
  suspicionMaxMult: 6,
  gossipIntervalMs: 200,
  gossipTargets: 3,
  retransmitMult: 4,
  syncIntervalMs: 30_000,
  reconnectIntervalMs: 5_000,
  failedReapMs: 24 * 3600_000,
  leftReapMs: 24 * 3600_000,
  conflictGraceMs: 8_000,
};

export interface GossipOptions extends Endpoint {
  name: string;
  tags: MemberTags;
  tuning: GossipTuning;
  random: Random;
  /** Where its incarnation begins: one that was used before is raised as soon as others tell. */
  incarnation: number;
  nowMs: number;
}
