// Servers of gossip on a simulated network and clock, under a seed: messages are delayed, lost, cut off by partitions;
// servers are killed, started again, paused. Every message goes through the codec.
import type { Random } from "../../core/env.ts";
import { Gossip } from "../../server/gossip.ts";
import { decodeMessage, encodeMessage } from "../../server/gossip_codec.ts";
import {
  GOSSIP_TUNING,
  type GossipMessage,
  type GossipNotice,
  type GossipTuning,
} from "../../server/gossip_types.ts";

/** Deterministic numbers (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const float = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    float,
    int: (below) => Math.floor(float() * below),
    uuid: () => `seeded-${Math.floor(float() * 2 ** 32)}`,
  };
}

/** How an answer goes back: to the server that asked, as it was then. */
interface Token {
  to: Host;
  life: number;
  via: Host;
}

export class Host {
  core: Gossip<Token>;
  up = true;
  /** Raised at every start: answers to an earlier life are lost. */
  life = 1;
  pausedUntilMs = 0;
  inbox: (() => void)[] = [];
  notices: GossipNotice[] = [];
  changes: string[] = [];
  constructor(
    readonly world: World,
    readonly name: string,
    readonly port: number,
    tags: Record<string, string>,
  ) {
    this.core = this.#create(tags);
  }

  #create(tags: Record<string, string>): Gossip<Token> {
    return new Gossip<Token>({
      name: this.name,
      host: "10.0.0.1",
      port: this.port,
      tags: { id: `${this.name}-${this.port}`, ...tags },
      tuning: this.world.tuning,
      random: this.world.random,
      incarnation: 1,
      nowMs: this.world.nowMs,
    });
  }

  kill(): void {
    this.up = false;
    this.inbox = [];
  }

  /** A new process: knows nobody, with incarnation 1 again. */
  restart(tags: Record<string, string> = {}): void {
    this.up = true;
    this.life++;
    this.core = this.#create(tags);
  }

  join(other: Host): void {
    this.world.send(this, other.port, this.core.syncMessage(true));
  }

  status(name: string): string {
    return this.core.members().find((member) => member.name === name)?.status ?? "unknown";
  }

  get view(): string {
    return this.core.members().map(({ name, status }) => `${name}=${status}`).sort().join(" ");
  }

  noticed(type: GossipNotice["type"]): GossipNotice[] {
    return this.notices.filter((notice) => notice.type === type);
  }
}

export class World {
  nowMs = 1_000;
  readonly random: Random;
  readonly tuning: GossipTuning;
  readonly hosts: Host[] = [];
  /** Part of the messages that are lost. */
  loss = 0;
  delayMaxMs = 10;
  /** False: nothing gets from the first to the second. */
  reaches: (from: Host, to: Host) => boolean = () => true;
  #queue: { atMs: number; seq: number; run: () => void }[] = [];
  #seq = 0;
  messages = 0;

  constructor(readonly seed: number, tuning: Partial<GossipTuning> = {}) {
    this.random = seeded(seed);
    this.tuning = { ...GOSSIP_TUNING, ...tuning };
  }

  add(name: string, port = 1000 + this.hosts.length, tags: Record<string, string> = {}): Host {
    const host = new Host(this, name, port, tags);
    this.hosts.push(host);
    const tick = () => {
      if (host.up && this.nowMs >= host.pausedUntilMs) {
        // A process that goes on sees first that it is late, and only then what came meanwhile.
        host.core.tick(this.nowMs);
        this.flush(host);
        for (const run of host.inbox.splice(0)) run();
      }
      this.#later(95 + this.random.int(10), tick);
    };
    this.#later(this.random.int(100), tick);
    return host;
  }

  /** `count` servers that all know each other. */
  cluster(count: number): Host[] {
    const hosts = Array.from({ length: count }, (_, i) => this.add(`s${i}`));
    for (const host of hosts.slice(1)) host.join(hosts[0]!);
    this.until(() => hosts.every((host) => host.core.members().length === count), 20_000, "a whole cluster");
    return hosts;
  }

  /** Runs until `condition` holds; the time that it took. Throws after `limitMs`. */
  until(condition: () => boolean, limitMs: number, what: string): number {
    const startMs = this.nowMs;
    while (!condition()) {
      if (this.nowMs - startMs > limitMs) {
        const views = this.hosts.filter(({ up }) => up).map((host) => `\n${host.name}: ${host.view}`).join(
          "",
        );
        throw new Error(`seed ${this.seed}: no ${what} within ${limitMs} ms${views}`);
      }
      this.run(20);
    }
    return this.nowMs - startMs;
  }

  run(ms: number): void {
    const endMs = this.nowMs + ms;
    for (;;) {
      const next = this.#queue[0];
      if (!next || next.atMs > endMs) break;
      this.#queue.shift();
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = endMs;
  }

  flush(host: Host): void {
    const { messages, changed, notices } = host.core.ready();
    host.notices.push(...notices);
    host.changes.push(...changed.map(({ name, status }) => `${name}=${status}`));
    for (const { to, replyTo, message } of messages) {
      if (replyTo) this.#answer(host, replyTo, message);
      else if (to) this.send(host, to.port, message);
    }
  }

  send(from: Host, port: number, message: GossipMessage): void {
    this.messages++;
    const bytes = encodeMessage(message);
    const to = this.hosts.find((host) => host.port === port && host.up);
    const life = from.life;
    if (!to) {
      // Nobody listens: the machine says so, unless the line is cut.
      const gone = this.hosts.find((host) => host.port === port);
      if (gone && !this.reaches(from, gone)) return;
      return this.#later(1, () => {
        if (!from.up || from.life !== life) return;
        from.core.refused(message);
        this.flush(from);
      });
    }
    if (!this.reaches(from, to) || this.random.float() < this.loss) return;
    this.#deliver(to, () => {
      to.core.step(decodeMessage(bytes) as GossipMessage, { to: from, life, via: to });
      this.flush(to);
    });
  }

  #answer(from: Host, token: Token, message: GossipMessage): void {
    const bytes = encodeMessage(message);
    if (!this.reaches(from, token.to) || this.random.float() < this.loss) return;
    this.#deliver(token.to, () => {
      if (token.to.life !== token.life) return;
      token.to.core.step(decodeMessage(bytes) as GossipMessage, null);
      this.flush(token.to);
    });
  }

  #deliver(to: Host, run: () => void): void {
    this.#later(1 + this.random.int(this.delayMaxMs), () => {
      if (!to.up) return;
      // A paused process takes its messages when it goes on, in their order.
      if (this.nowMs < to.pausedUntilMs || to.inbox.length > 0) to.inbox.push(run);
      else run();
    });
  }

  #later(ms: number, run: () => void): void {
    const item = { atMs: this.nowMs + ms, seq: this.#seq++, run };
    let at = this.#queue.length;
    while (at > 0 && this.#queue[at - 1]!.atMs > item.atMs) at--;
    this.#queue.splice(at, 0, item);
  }
}
