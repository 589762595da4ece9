// The simulated network: datagrams for Raft, connections for devices, exchanges for HTTP. A link is one direction
// between two machines and has its own delay, losses and cuts.
//
// What it may do: a datagram is lost, doubled, late and out of order. A connection's frames stay whole and in order, as
// TCP's do; while the link is cut they wait, until the sender gives up: then only the sender knows. A machine whose
// process died answers with a reset, one without power does not answer at all.
import { decodeBody, encodeHeader, encodeMessage } from "../../server/raft_codec.ts";
import type { Message, RaftTransport } from "../../server/raft_types.ts";
import type { Dial } from "../../core/dial.ts";
import type { SimRandom } from "./random.ts";
import { type Life, Machine, type World } from "./world.ts";

export interface LinkFaults {
  latencyMs: number;
  /** Up to this much on top, mostly little. */
  jitterMs: number;
  drop: number;
  double: number;
  /** Chance that a datagram takes many times as long, so that others overtake it. */
  straggle: number;
  /** Datagrams go through the wire's codec, and this share of them is damaged on the way. */
  damage: number;
  codec: boolean;
}

/** A sender retries on a cut link at these intervals and gives up in the end, as TCP does. */
const RETRY_MS = 400;
const GIVE_UP_MS = 12_000;

/** One direction. Its random numbers are its own: who sends first in one event makes no difference to others. */
class Link {
  cut = false;
  constructor(readonly faults: LinkFaults, readonly random: SimRandom) {}

  delay(): number {
    return this.faults.latencyMs + this.random.tail(0, this.faults.jitterMs);
  }

  /** By what is sent, not by the order of sending: which of two requests is ready first is the engine's affair. */
  delayOf(name: string): number {
    return this.faults.latencyMs + this.random.named(name).tail(0, this.faults.jitterMs);
  }
}

export interface Answer {
  status: number;
  headers: Record<string, string>;
  text: string;
}

export interface Call {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: string | null;
}

export class CallError extends Error {
  override readonly name = "CallError";
  /** `arrived`: the other side may have got the request. */
  constructor(message: string, readonly arrived: boolean) {
    super(message);
  }
}

/** What a server's process offers to the network. */
export interface Listening {
  receive?: (message: Message) => void;
  /** A device's connection; null refuses it. */
  accept?: (end: ConnectionEnd) => void;
  http?: (call: Call) => Promise<Answer>;
}

export class Network {
  readonly #links = new Map<string, Link>();
  readonly #listening = new Map<Life, Listening>();
  readonly #machines = new Map<string, Machine>();
  readonly #connections = new Set<Connection>();

  constructor(readonly world: World, readonly faults: LinkFaults) {}

  add(machine: Machine): void {
    this.#machines.set(machine.name, machine);
  }

  listen(life: Life, services: Listening): void {
    this.#listening.set(life, { ...this.#listening.get(life), ...services });
  }

  link(from: string, to: string): Link {
    const key = `${from}>${to}`;
    let link = this.#links.get(key);
    if (!link) this.#links.set(key, link = new Link(this.faults, this.world.random.named(key)));
    return link;
  }

  heal(): void {
    for (const link of this.#links.values()) link.cut = false;
    Object.assign(this.faults, { drop: 0, double: 0, straggle: 0, damage: 0 });
  }

  mendLinks(): void {
    for (const link of this.#links.values()) link.cut = false;
  }

  #services(machine: Machine): Listening | undefined {
    return machine.life ? this.#listening.get(machine.life) : undefined;
  }

  // ---- datagrams ----

  /** Raft's way out of one process. Addresses are `<machine>:<port>`. */
  transport(life: Life, directory: (id: string) => string | undefined): RaftTransport {
    return {
      start: (receive) => this.listen(life, { receive }),
      send: (message, address) => {
        const to = address ?? directory(message.to);
        if (to && life.running) this.#sendDatagram(life.machine.name, hostOf(to), message);
      },
      handle: () => Promise.resolve(new Response(null, { status: 404 })),
      stop: () => {
        this.listen(life, { receive: () => undefined });
        return Promise.resolve();
      },
    };
  }

  #sendDatagram(from: string, to: string, message: Message): void {
    const machine = this.#machines.get(to);
    if (!machine || from === to) return;
    const { faults } = this;
    const link = this.link(from, to);
    const { random } = link;
    let copies = 1;
    if (faults.drop > 0 && random.chance(faults.drop)) return;
    if (faults.double > 0 && random.chance(faults.double)) copies = 2;
    const carry = faults.codec ? this.#encode(message, random) : message;
    for (; copies > 0; copies--) {
      let delayMs = link.delay();
      if (faults.straggle > 0 && random.chance(faults.straggle)) delayMs *= 2 + random.int(60);
      this.world.schedule(delayMs, machine, `${from}>${to} ${message.type}`, () => {
        if (link.cut) return;
        const arrived = carry instanceof Uint8Array ? this.#decode(carry) : carry;
        if (arrived) this.#services(machine)?.receive?.(arrived);
      });
    }
  }

  #encode(message: Message, random: SimRandom): Uint8Array {
    const header = encodeHeader({ from: message.from, to: message.to, address: "" });
    const body = encodeMessage(message);
    const bytes = new Uint8Array(header.length + body.length);
    bytes.set(header);
    bytes.set(body, header.length);
    // The header names sender and receiver and is guarded by the connection; the frames guard themselves.
    if (random.chance(this.faults.damage)) {
      bytes[header.length + random.int(body.length)]! ^= 1 << random.int(8);
    }
    return bytes;
  }

  #decode(bytes: Uint8Array): Message | null {
    try {
      return decodeBody(bytes).messages[0] ?? null;
    } catch (error) {
      if ((error as Error).name === "WireError") return null;
      throw error;
    }
  }

  // ---- exchanges ----

  /** One HTTP request and its answer. Rejects with CallError when the other side refuses, dies or is too slow. */
  call(life: Life, address: string, call: Call, timeoutMs: number): Promise<Answer> {
    const from = life.machine.name;
    const to = hostOf(address);
    const machine = this.#machines.get(to);
    return new Promise((resolve, reject) => {
      let over = false;
      const end = (settle: () => void) => {
        if (over) return;
        over = true;
        cancel();
        settle();
      };
      const fail = (why: string, arrived = true) =>
        end(() => reject(new CallError(`${call.method} ${call.path}: ${why}`, arrived)));
      const cancel = life.clock.after(timeoutMs, () => fail(`no answer from ${to} in time`));
      if (!machine) return fail(`no route to ${to}`, false);
      const [there, home] = [this.link(from, to), this.link(to, from)];
      const name = `${call.method} ${call.path} ${call.body ?? ""} ${this.world.nowMs}`;
      const homeMs = home.delayOf(name);
      const back = (run: () => void) =>
        this.world.schedule(homeMs, life, `${to}>${from} http`, () => {
          if (!home.cut) run();
        });
      this.world.schedule(there.delayOf(name), null, `${from}>${to} http`, () => {
        if (there.cut || !machine.powered) return;
        const server = machine.life;
        const http = server && this.#listening.get(server)?.http;
        if (!server || !http) return void back(() => fail("connection refused", false));
        const handle = () => {
          http(call).then(
            (answer) => server.alive && back(() => end(() => resolve(answer))),
            (error) => server.alive && back(() => fail(String(error))),
          );
        };
        if (server.paused) {
          server.held.push({ atMs: 0, seq: 0, owner: server, label: `${to} http`, run: handle });
        } else handle();
      });
    });
  }

  // ---- connections ----

  /** Dialling as devices and servers do it. */
  dialFrom(life: Life): Dial {
    return (server, events) => {
      const end = this.connect(life, server);
      end.onOpen = () => events.open();
      end.onMessage = (data) => typeof data === "string" ? events.text(data) : events.bytes(data);
      end.onClose = (reason) => events.close(reason);
      return {
        send: (data) => end.send(data),
        close: (reason) => end.close(reason),
        get bufferedBytes() {
          return end.bufferedBytes;
        },
      };
    };
  }

  /** Dials a server. Everything that happens comes through the events of its end. */
  connect(life: Life, address: string): ConnectionEnd {
    const machine = this.#machines.get(hostOf(address));
    const connection = new Connection(this, life, machine ?? null, hostOf(address));
    this.#connections.add(connection);
    return connection.near;
  }

  accept(machine: Machine, connection: Connection): boolean {
    const accept = this.#services(machine)?.accept;
    if (!accept) return false;
    connection.far.life = machine.life;
    accept(connection.far);
    return true;
  }

  forget(connection: Connection): void {
    this.#connections.delete(connection);
  }

  /** A process died: its system resets its connections, unless power went with it. */
  died(life: Life, machine: Machine): void {
    this.#listening.delete(life);
    for (const connection of this.#connections) connection.lifeEnded(life, machine.powered);
  }

  /** The network equipment forgets a connection: both ends are told, sooner or later. */
  breakSome(share: number): void {
    for (const connection of [...this.#connections]) {
      if (this.world.random.chance(share)) connection.reset("connection reset");
    }
  }
}

type Frame = { data: string | Uint8Array } | { fin: string };

/** One side of a connection. */
export class ConnectionEnd {
  life: Life | null = null;
  onOpen: () => void = () => undefined;
  onMessage: (data: string | Uint8Array) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  /** `closing`: it has said goodbye and still hears what the other had sent. */
  state: "connecting" | "open" | "closing" | "closed" = "connecting";
  readonly queue: { frame: Frame; readyMs: number; bytes: number }[] = [];
  bufferedBytes = 0;
  busy = false;
  stalledMs = -1;
  peer!: ConnectionEnd;

  constructor(readonly connection: Connection, readonly machineName: string) {}

  send(data: string | Uint8Array): void {
    if (this.state === "open") this.connection.enqueue(this, { data });
  }

  close(reason: string): void {
    if (this.state === "connecting") return this.connection.end(this, reason);
    if (this.state !== "open") return;
    this.state = "closing";
    this.connection.enqueue(this, { fin: reason });
  }
}

export class Connection {
  readonly near: ConnectionEnd;
  readonly far: ConnectionEnd;

  constructor(readonly network: Network, life: Life, readonly machine: Machine | null, to: string) {
    this.near = new ConnectionEnd(this, life.machine.name);
    this.far = new ConnectionEnd(this, to);
    this.near.peer = this.far;
    this.far.peer = this.near;
    this.near.life = life;
    this.#dial();
  }

  #dial(): void {
    const { world } = this.network;
    const [from, to] = [this.near.machineName, this.far.machineName];
    const [there, home] = [this.network.link(from, to), this.network.link(to, from)];
    const answer = (run: () => void) =>
      world.schedule(home.delay(), this.near.life, `${to}>${from} dial`, () => {
        if (!home.cut && this.near.state === "connecting") run();
      });
    world.schedule(there.delay(), this.machine, `${from}>${to} dial`, () => {
      if (!this.machine || this.near.state !== "connecting" || there.cut) return;
      this.far.state = "open";
      if (!this.network.accept(this.machine, this)) {
        return void answer(() => this.end(this.near, "connection refused"));
      }
      answer(() => {
        this.near.state = "open";
        this.near.onOpen();
        this.#pump(this.far);
      });
    });
  }

  enqueue(end: ConnectionEnd, frame: Frame): void {
    const bytes = "data" in frame ? frame.data.length : 0;
    const link = this.network.link(end.machineName, end.peer.machineName);
    end.queue.push({ frame, readyMs: this.network.world.nowMs + link.delay(), bytes });
    end.bufferedBytes += bytes;
    this.#pump(end);
  }

  /** One event is on its way for a direction; it takes along what is ready then. */
  #pump(sender: ConnectionEnd): void {
    const first = sender.queue[0];
    if (!first || sender.busy || sender.peer.state === "connecting") return;
    sender.busy = true;
    const { world } = this.network;
    const label = `${sender.machineName}>${sender.peer.machineName} frames`;
    const receiver = sender.peer.life;
    const waitMs = Math.max(0, first.readyMs - world.nowMs) + (sender.stalledMs >= 0 ? RETRY_MS : 0);
    // A dead receiver's events would be dropped: its system answers for it, see lifeEnded.
    world.schedule(waitMs, receiver?.alive ? receiver : null, label, () => {
      sender.busy = false;
      this.#deliver(sender);
    });
  }

  #deliver(sender: ConnectionEnd): void {
    const { world } = this.network;
    const receiver = sender.peer;
    const isLost = this.network.link(sender.machineName, receiver.machineName).cut ||
      !this.#isPowered(receiver);
    if (isLost) {
      if (sender.stalledMs < 0) sender.stalledMs = world.nowMs;
      if (world.nowMs - sender.stalledMs > GIVE_UP_MS) return this.end(sender, "connection timed out");
      return this.#pump(sender);
    }
    sender.stalledMs = -1;
    if (!receiver.life?.alive || receiver.state === "closed") return this.end(sender, "connection reset");
    while (
      sender.queue.length > 0 && sender.queue[0]!.readyMs <= world.nowMs && !isClosed(receiver)
    ) {
      const { frame, bytes } = sender.queue.shift()!;
      sender.bufferedBytes -= bytes;
      if ("data" in frame) receiver.onMessage(frame.data);
      else this.#onFin(receiver, frame.fin);
    }
    this.#pump(sender);
  }

  #onFin(receiver: ConnectionEnd, reason: string): void {
    const sender = receiver.peer;
    if (receiver.state === "open") this.enqueue(receiver, { fin: reason });
    this.#close(receiver, reason);
    if (receiver.queue.length === 0) this.#close(sender, reason);
  }

  #isPowered(end: ConnectionEnd): boolean {
    return (end.life?.machine ?? this.machine)?.powered ?? false;
  }

  /** This side knows that it is over. */
  end(end: ConnectionEnd, reason: string): void {
    end.queue.length = 0;
    end.bufferedBytes = 0;
    this.#close(end, reason);
  }

  #close(end: ConnectionEnd, reason: string): void {
    if (end.state === "closed") return;
    end.state = "closed";
    if (end.life?.alive) end.onClose(reason);
    if (end.peer.state === "closed") this.network.forget(this);
  }

  lifeEnded(life: Life, told: boolean): void {
    for (const end of [this.near, this.far]) {
      if (end.life !== life || end.state === "closed") continue;
      end.state = "closed";
      end.queue.length = 0;
      if (told) this.#tell(end.peer, "connection reset");
      // What was on its way to the process is the system's now.
      end.peer.busy = false;
      this.#pump(end.peer);
      if (end.peer.state === "closed") this.network.forget(this);
    }
  }

  reset(reason: string): void {
    this.#tell(this.near, reason);
    this.#tell(this.far, reason);
  }

  /** After a moment, if the way is open. */
  #tell(end: ConnectionEnd, reason: string): void {
    if (end.state === "closed" || !end.life?.alive) return;
    const label = `${end.peer.machineName}>${end.machineName} reset`;
    const link = this.network.link(end.peer.machineName, end.machineName);
    this.network.world.schedule(link.delay(), end.life, label, () => {
      if (!link.cut) this.end(end, reason);
    });
  }
}

function isClosed(end: ConnectionEnd): boolean {
  return end.state === "closed";
}

export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":"));
}
