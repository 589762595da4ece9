// The words of consensus: entries, the durable vote, memberships, messages between servers and what raft.ts hands to
// its driver. Only shapes stand here. Everything is plain data, so that the wire (raft_codec.ts), the storage
// (storage.ts) and the simulation can carry it.

/** `noop` opens a leader's term, `config` changes the membership; both reach the state machine as a no-op. */
export type EntryKind = "command" | "noop" | "config";

/** One record of the log. `data` is JSON text: a Command, a Configuration, or "" for a noop. */
export interface Entry {
  readonly index: number;
  readonly term: number;
  readonly kind: EntryKind;
  readonly data: string;
}

/** What must be durable before any message that tells of it leaves (Raft paper, figure 2). */
export interface HardState {
  term: number;
  /** Id voted for in `term`, "" for none. */
  vote: string;
  /** A hint: everything up to it was committed. May lag; saves a restarted server from waiting for a leader. */
  commit: number;
  /** Entries that this server may have acknowledged were lost by its disk: until it has them again it does not vote. */
  abstain?: Abstain;
}

/**
 * Up to which entry a lost end of the log may have been acknowledged, and the newest term in which that can have been.
 * It ends when a leader has brought the log to `index`, or an entry of a later term than `term`.
 */
export interface Abstain {
  index: number;
  term: number;
}

/** Stands for a vote that may have been given and was lost: nobody else gets it in that term. */
export const LOST_VOTE = "(lost)";

export interface RaftServer {
  id: string;
  /** host:port of its rpc listener. */
  rpcAddress: string;
  /** host:port of its HTTP API. */
  httpAddress: string;
  /** False: a learner, which gets the log but neither votes nor counts. */
  voter: boolean;
}

export interface Configuration {
  servers: RaftServer[];
}

/** Names a snapshot: state after `index`. Two snapshots of the same (index, term) hold the same state. */
export interface SnapshotMeta {
  index: number;
  term: number;
  config: Configuration;
  /** Index of the entry that made `config`. */
  configIndex: number;
  /** Number of blocks it is stored and sent in. */
  blocks: number;
  /** Stored size of all blocks. */
  bytes: number;
  /** CRC-32 over all blocks: two packings of one state have different blocks, which must not be mixed. */
  checksum: number;
}

interface Envelope {
  from: string;
  to: string;
  term: number;
}

export type Message = Envelope & MessageBody;

export type MessageBody =
  | { type: "prevote"; lastIndex: number; lastTerm: number }
  | { type: "prevote.response"; granted: boolean }
  /** `force`: the leader asked for it (leadership transfer), so nobody's lease stands against it. */
  | { type: "vote"; lastIndex: number; lastTerm: number; force: boolean }
  | { type: "vote.response"; granted: boolean }
  | { type: "append"; prevIndex: number; prevTerm: number; entries: Entry[]; commit: number }
  /**
   * ok: everything up to `match` is durable there. Otherwise `match` and `hintTerm` say where to try next. `lost`: its
   * disk lost entries that it acknowledged; no more than `match` is there for certain.
   */
  | {
    type: "append.response";
    ok: boolean;
    prevIndex: number;
    match: number;
    hintTerm: number;
    lost?: boolean;
  }
  /** `read` names the latest round of ReadIndex, 0 for none. */
  | { type: "heartbeat"; commit: number; read: number }
  | { type: "heartbeat.response"; read: number }
  /** `data` is null between raft.ts and its driver, which fills it from storage before sending. */
  | { type: "snapshot"; snapshot: SnapshotMeta; block: number; data: Uint8Array | null }
  /** `next`: the first block still missing there. */
  | { type: "snapshot.response"; index: number; snapshotTerm: number; next: number }
  | { type: "timeout.now" };

export type MessageOf<T extends MessageBody["type"]> = Envelope & Extract<MessageBody, { type: T }>;

/** A write for storage, in order. `messages` may leave only when all of it is durable. */
export interface Persist {
  hard: HardState | null;
  /** First entry's index truncates everything stored at and after it. */
  entries: Entry[];
  /** Replaces the whole stored log by this snapshot, whose blocks are already stored. */
  install: SnapshotMeta | null;
  messages: Message[];
}

export interface Ready {
  /** Send at once. */
  messages: Message[];
  /** At most one is outstanding; answer with `advance({ persisted: true })` or `persistFailed()`. */
  persist: Persist | null;
  /** Apply in order, then `advance({ applied })`. Handed out once. */
  committed: Entry[];
  /** Durable snapshot to load into the state machine before anything in `committed`; then `advance({ applied })`. */
  restore: SnapshotMeta | null;
  /** Reads confirmed by a quorum: serve them when everything up to `index` is applied. */
  reads: { context: number; index: number }[];
  /** Blocks received: store them, then `blockStored`. */
  blocks: MessageOf<"snapshot">[];
  /** A peer is behind the log's start and no stored snapshot reaches it: take one of at least this index. */
  snapshotWanted: number | null;
  /** There is more to send, but not yet: call ready() again soon, after what it gave was handled. */
  again: boolean;
}

/** How messages travel: raft_http.ts, or a simulated network. Messages may be lost, doubled, late and out of order. */
export interface RaftTransport {
  start(receive: (message: Message) => void): void;
  /** Never blocks, never throws. `address` is host:port; undefined when only the transport can know it. */
  send(message: Message, address: string | undefined): void;
  /** A request that another server's transport made. */
  handle(request: Request): Promise<Response>;
  stop(): Promise<void>;
}

export type Role = "follower" | "precandidate" | "candidate" | "leader";

export function voterIds(config: Configuration): string[] {
  return config.servers.filter((s) => s.voter).map((s) => s.id);
}

export function quorumOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}
