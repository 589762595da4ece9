// The vocabulary of gossip: who is in the cluster, as the servers tell each other on the serf port. Only shapes stand
// here: gossip.ts fills them, cluster.ts (who belongs to the log) and the agent's API read them.
//
// Invariants: a member is known by its name; `left` is a decision of that server or of an operator, `failed` an
// observation of the others, which ends by itself when the server is heard again.

export type MemberStatus = "alive" | "leaving" | "left" | "failed";

/** What a server says of itself: Nomad's tags (role, region, dc, id, rpc_addr, port, expect, …) and `http_addr`. */
export type MemberTags = Readonly<Record<string, string>>;

export interface Member {
  /** `<agent name>.<region>`. */
  readonly name: string;
  /** Advertised address of its serf listener. */
  readonly host: string;
  readonly port: number;
  readonly status: MemberStatus;
  readonly tags: MemberTags;
}

export interface JoinResult {
  /** How many of the addresses answered and took this server in. */
  joined: number;
  /** The others, with what to do about them. */
  errors: { address: string; message: string }[];
}

/** What each member says to a change of the keyring; `Messages` by member name, as Nomad's API shows it. */
export interface KeyringAnswer {
  /** Base64 key → number of members that have it. */
  keys: Record<string, number>;
  /** Base64 key → number of members that encrypt with it. */
  primaryKeys: Record<string, number>;
  members: number;
  /** Member name → error text. Empty when all did it. */
  messages: Record<string, string>;
}

/** Changes of the key that gossip is encrypted with, on every living member. Rejects with ApiError when it is off. */
export interface GossipKeyring {
  /** False: gossip is plain, and every change is refused. */
  readonly encrypted: boolean;
  list(): Promise<KeyringAnswer>;
  install(key: string): Promise<KeyringAnswer>;
  use(key: string): Promise<KeyringAnswer>;
  /** Refused for the key in use. */
  remove(key: string): Promise<KeyringAnswer>;
}

/** One server's part in gossip. */
export interface Membership {
  /** Takes part from now on; joins nobody by itself, except those it knew before it was stopped. */
  start(): Promise<void>;
  readonly self: Member;
  /** All that are known, this server first, those that left until they are reaped. */
  members(): Member[];
  /** host:port or host of other servers' serf listeners; a name may stand for several addresses. */
  join(addresses: readonly string[]): Promise<JoinResult>;
  /** Tells the others that this server goes for good; resolves when they know or a second is over. */
  leave(): Promise<void>;
  /** Turns a failed member into one that left; `prune` forgets it at once. Rejects with ApiError for an unknown one. */
  forceLeave(name: string, options: { prune: boolean }): Promise<void>;
  /** Called for every member that is new, changed its status or its tags. The returned function ends it. */
  onMember(listener: (member: Member) => void): () => void;
  /** Replaces what this server says of itself, and spreads it. */
  setTags(tags: MemberTags): void;
  readonly keyring: GossipKeyring;
  /** Nomad's names (agent-info, block serf). */
  stats(): Record<string, string>;
  /** A request that came to the serf listener; who sent it stands in the log when it is refused. */
  handle(request: Request, remoteAddress?: string): Promise<Response>;
  stop(): Promise<void>;
}
