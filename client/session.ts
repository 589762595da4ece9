// The device's one connection to the servers: registers with `hello`, keeps the heartbeat, takes changed allocations,
// and brings status up in batches until they are acknowledged. Tries the servers in turn with backoff and jitter,
// follows redirects, and loses nothing over a reconnect: what was not acknowledged is sent again in its latest state.
//
// Invariants: at most one socket; nothing is sent before `welcome`; an update that changes a status leaves within one
// turn when the line is idle, everything else within BATCH_MS; at most IN_FLIGHT_MAX batches wait for their ack.
import { assertNever } from "../core/assert.ts";
import type { Clock, Random } from "../core/env.ts";
import type { Logger } from "../core/logger.ts";
import { Mux } from "../core/mux.ts";
import {
  type AllocDelta,
  type AllocUpdate,
  type DeviceMessage,
  PROTOCOL_VERSION,
  type ServerMessage,
} from "../core/protocol.ts";
import type { Node, ServiceRegistration } from "../core/types.ts";
import type { ServiceSink } from "./services.ts";
import type { DeviceSocket, Dial } from "./session_socket.ts";

/** Changes of a status gather this long while the line is busy. */
const BATCH_MS = 10;
/** Changes that no server acts on (a line of history) gather this long. */
const QUIET_MS = 200;
const IN_FLIGHT_MAX = 8;
const UPDATES_PER_BATCH_MAX = 512;
/** From dialling to an open connection, and from there to the welcome (a server waits for an election in between). */
const OPEN_TIMEOUT_MS = 3_000;
const WELCOME_TIMEOUT_MS = 10_000;
/** After a good connection is lost the next server is tried within this, chosen by chance. */
const FIRST_RETRY_MAX_MS = 100;
/** For how long a leader that could not be dialled is asked for through another server. */
const UNREACHABLE_MS = 300_000;
const BACKOFF_MIN_MS = 200;
const BACKOFF_MAX_MS = 30_000;
const REDIRECTS_MAX = 3;
/** After a refusal that only an operator can lift. Never for ever: a device in the field has nobody to restart it. */
const REFUSED_MS = 300_000;

export interface SessionOptions {
  servers: string[];
  dial: Dial;
  clock: Clock;
  random: Random;
  logger: Logger;
  node(): Node;
  /** Allocations the device has: id → AllocModifyIndex. */
  known(): Record<string, number>;
  /** The present state of an allocation, undefined when it is gone. */
  update(id: string): AllocUpdate | undefined;
  onAllocs(delta: AllocDelta): void;
  onConnection(connected: boolean): void;
  /** The cluster's servers are others than were known: worth remembering for the next start. */
  onServers?(servers: string[]): void;
  /** Servers confirmed updates that were sent. */
  onConfirmed(): void;
  /** Answers requests that servers send down the connection. */
  serve(request: Request): Promise<Response> | Response;
}

export class Session implements ServiceSink {
  #socket: DeviceSocket | undefined;
  #mux: Mux | undefined;
  #welcomed = false;
  #stopped = true;
  #generation = 0;
  #servers: string[];
  /** What was found for it since: outlives a server's list of members, as the configured ones do. */
  #found: string[] = [];
  #next = 0;
  #failures = 0;
  #redirect = "";
  /** In a row. */
  #redirects = 0;
  /** The server that named the leader which is dialled now, "" for none. */
  #redirectedBy = "";
  /** The next hello asks to be passed on to the leader. */
  #relay = false;
  /** Leaders that could not be dialled from here → until when (monotonic) that is believed. */
  #unreachable = new Map<string, number>();
  #opened = false;
  /** What a server said last of who the servers are. */
  #told = "";
  #refused = false;
  #cancelDial: (() => void) | undefined;
  #cancelTimeout: (() => void) | undefined;
  #cancelHeartbeat: (() => void) | undefined;
  #cancelFlush: (() => void) | undefined;
  #flushAtMs = Infinity;
  #lastFlushMs = -Infinity;
  #lastContactMs = -Infinity;
  #ttlMs = 0;
  /** Records are replaced, never changed: the same object says nothing new. */
  #sentNode: Node | undefined;
  #seq = 0;
  #dirty = new Set<string>();
  #inFlight = new Map<number, string[]>();
  /** What servers last saw of an allocation: tells urgent changes from others. */
  #sent = new Map<string, string>();
  #services = new Map<string, ServiceRegistration | null>();
  #servicesInFlight: { seq: number; sent: Map<string, ServiceRegistration | null> } | undefined;
  /** The server the session is connected to, "" without one. */
  server = "";

  constructor(private readonly options: SessionOptions) {
    this.#servers = [...options.servers];
  }

  get connected(): boolean {
    return this.#welcomed;
  }

  get heartbeatTtlMs(): number {
    return this.#ttlMs;
  }

  /** Milliseconds since a server was last heard, Infinity for never. */
  get sinceContactMs(): number {
    return this.options.clock.monotonicMs() - this.#lastContactMs;
  }

  get servers(): string[] {
    return [...this.#servers];
  }

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#dial();
  }

  /** Ends the connection; sends first what a turn has gathered. */
  stop(): void {
    if (this.#stopped) return;
    this.#flush();
    this.#stopped = true;
    this.#cancelDial?.();
    this.#cancelFlush?.();
    this.#closed(this.#generation, "the device's agent is stopping");
  }

  /** Replaces the servers to try (the agent's configuration was read again). */
  setServers(servers: string[]): void {
    this.#servers = [...servers];
    this.#next = 0;
    this.#dialIfIdle();
  }

  /** Servers that were found by name or provider: tried beside the known ones, and first where those do not answer. */
  offerServers(found: readonly string[]): void {
    this.#found = [...found];
    const fresh = found.filter((server) => !this.#servers.includes(server));
    this.#servers = this.#welcomed ? [...this.#servers, ...fresh] : [...fresh, ...this.#servers];
    if (fresh.length === 0 || this.#welcomed) return;
    this.#next = 0;
    this.#failures = 0;
    this.#dialIfIdle();
  }

  /** The state of an allocation changed. */
  changed(id: string): void {
    this.#dirty.add(id);
    const update = this.options.update(id);
    this.#flushIn(update && signature(update) === (this.#sent.get(id) ?? UNTOLD) ? QUIET_MS : 0);
  }

  /** Servers think something else of an allocation than what they were told last: says it again. */
  repeat(id: string): void {
    this.#sent.delete(id);
    this.changed(id);
  }

  /** Servers know the present state of an allocation. */
  isConfirmed(id: string): boolean {
    const update = this.options.update(id);
    return update !== undefined && signature(update) === this.#sent.get(id) && !this.#dirty.has(id) &&
      ![...this.#inFlight.values()].some((ids) => ids.includes(id));
  }

  /** An allocation is gone. */
  forget(id: string): void {
    this.#dirty.delete(id);
    this.#sent.delete(id);
  }

  /** The node record changed. */
  nodeChanged(): void {
    const node = this.options.node();
    if (!this.#welcomed || node === this.#sentNode) return;
    this.#sentNode = node;
    this.#send({ t: "node", node });
  }

  upsert(registrations: ServiceRegistration[]): void {
    for (const registration of registrations) this.#services.set(registration.ID, registration);
    this.#flushIn(0);
  }

  remove(ids: string[]): void {
    for (const id of ids) this.#services.set(id, null);
    this.#flushIn(0);
  }

  /** A line for the node's history, dropped while there is no connection. */
  event(subsystem: string, message: string, details: Record<string, string> = {}): void {
    if (this.#welcomed) this.#send({ t: "events", events: [{ subsystem, message, details }] });
  }

  /** Sends a request to the server this device is connected to. */
  fetch(request: Request): Promise<Response> {
    if (!this.#mux || !this.#welcomed) {
      return Promise.reject(new Error("No server can be reached: this device has no connection to one"));
    }
    return this.#mux.fetch(request);
  }

  // --- Connecting ----------------------------------------------------------------------------------------------

  #dial(): void {
    if (this.#stopped) return;
    const server = this.#redirect || this.#servers[this.#next % Math.max(1, this.#servers.length)];
    if (!server) {
      this.options.logger.warn(
        "no server is known yet: name some in client.servers or client.server_join.retry_join",
      );
      return;
    }
    if (!this.#redirect) {
      this.#next++;
      this.#redirects = 0;
      this.#redirectedBy = "";
    }
    this.#redirect = "";
    this.#opened = false;
    const generation = ++this.#generation;
    const mine = () => generation === this.#generation;
    this.server = server;
    this.#cancelTimeout = this.options.clock.after(
      OPEN_TIMEOUT_MS,
      () => mine() && this.#closed(generation, "no connection in time"),
    );
    const socket = this.options.dial(server, {
      open: () => mine() && this.#hello(),
      text: (data) => mine() && this.#receive(data),
      bytes: (data) => mine() && this.#receiveBytes(data),
      close: (reason) => this.#closed(generation, reason),
    });
    if (mine()) this.#socket = socket;
  }

  /** Ends the wait for the next attempt. */
  #dialIfIdle(): void {
    if (this.#stopped || this.#socket) return;
    this.#cancelDial?.();
    this.#dial();
  }

  #hello(): void {
    const generation = this.#generation;
    this.#opened = true;
    this.#cancelTimeout?.();
    this.#cancelTimeout = this.options.clock.after(
      WELCOME_TIMEOUT_MS,
      () => this.#closed(generation, "no welcome in time"),
    );
    const mux = new Mux((frame) => this.#socket?.send(frame), {
      dialled: true,
      backlog: () => this.#socket?.bufferedBytes ?? 0,
    });
    mux.serve((request) => this.options.serve(request));
    this.#mux = mux;
    const node = this.options.node();
    this.#sentNode = node;
    const relay = this.#relay ? { relay: true } : {};
    this.#relay = false;
    this.#send({ t: "hello", version: PROTOCOL_VERSION, node, allocs: this.options.known(), ...relay });
  }

  #closed(generation: number, reason: string): void {
    if (generation !== this.#generation) return;
    this.#generation++;
    const wasConnected = this.#welcomed;
    this.#welcomed = false;
    this.#cancelTimeout?.();
    this.#cancelHeartbeat?.();
    this.#mux?.close(`the connection to the server was lost: ${reason}`);
    this.#mux = undefined;
    this.#socket?.close(reason);
    this.#socket = undefined;
    this.#takeBackUnacked();
    if (wasConnected) this.options.onConnection(false);
    if (this.#stopped) return;
    if (!this.#opened && this.#redirectedBy) this.#askForRelay(this.server);
    const delayMs = this.#refused
      ? REFUSED_MS * (0.5 + this.options.random.float())
      : wasConnected && !this.#redirect
      ? FIRST_RETRY_MAX_MS * this.options.random.float()
      : this.#backoffMs();
    this.#refused = false;
    const log = { server: this.server, reason, retryMs: Math.round(delayMs) };
    if (wasConnected || this.#failures === 1) this.options.logger.warn("connection to server lost", log);
    else this.options.logger.debug("cannot reach server", log);
    this.server = "";
    this.#cancelDial = this.options.clock.after(delayMs, () => this.#dial());
  }

  /** The leader cannot be dialled from here (it is behind NAT, or only one server is published): another passes it on. */
  #askForRelay(leader: string): void {
    this.#unreachable.set(leader, this.options.clock.monotonicMs() + UNREACHABLE_MS);
    this.#redirect = this.#redirectedBy;
    this.#redirectedBy = "";
    this.#relay = true;
  }

  /** Every server is tried once before the device waits; then ever longer, with half of it by chance. */
  #backoffMs(): number {
    if (this.#redirect) return 0;
    const rounds = Math.floor(this.#failures++ / Math.max(1, this.#servers.length));
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** rounds);
    return ceiling / 2 + this.options.random.float() * ceiling / 2;
  }

  /** What no server confirmed goes out again, in its latest state. */
  #takeBackUnacked(): void {
    for (const ids of this.#inFlight.values()) for (const id of ids) this.#dirty.add(id);
    this.#inFlight.clear();
    for (const [id, registration] of this.#servicesInFlight?.sent ?? []) {
      if (!this.#services.has(id)) this.#services.set(id, registration);
    }
    this.#servicesInFlight = undefined;
  }

  // --- Receiving -----------------------------------------------------------------------------------------------

  #receive(data: string): void {
    this.#lastContactMs = this.options.clock.monotonicMs();
    let message: ServerMessage;
    try {
      message = JSON.parse(data) as ServerMessage;
    } catch (error) {
      this.options.logger.error("server sent what is not JSON", {
        server: this.server,
        error: String(error),
      });
      return this.#closed(this.#generation, "malformed message");
    }
    this.#onMessage(message);
  }

  #receiveBytes(data: Uint8Array): void {
    this.#lastContactMs = this.options.clock.monotonicMs();
    try {
      this.#mux?.receive(data);
    } catch (error) {
      this.#closed(this.#generation, String(error));
    }
  }

  #onMessage(message: ServerMessage): void {
    switch (message.t) {
      case "welcome":
        return this.#onWelcome(message);
      case "heartbeatAck":
        this.#ttlMs = message.heartbeatTtlMs;
        return this.#learnServers(message.servers ?? []);
      case "allocs":
        return this.options.onAllocs(message);
      case "ack":
        return this.#onAck(message.seq);
      case "redirect":
        return this.#onRedirect(message.leader);
      case "refused":
        return this.#onRefused(message);
      default:
        return assertNever(message, "server message");
    }
  }

  #onWelcome(message: Extract<ServerMessage, { t: "welcome" }>): void {
    this.#cancelTimeout?.();
    this.#welcomed = true;
    this.#failures = 0;
    this.#ttlMs = message.heartbeatTtlMs;
    this.#redirectedBy = "";
    this.#learnServers(message.servers);
    this.options.logger.info("connected to server", { server: this.server, status: message.nodeStatus });
    this.options.onConnection(true);
    this.#heartbeatLater();
    // It may have changed between hello and welcome.
    this.nodeChanged();
    this.#flush();
  }

  #onRedirect(leader: string): void {
    // Two servers that send a device to each other must not make it spin; one that comes back to a cluster after a
    // long time must not wait, however often it failed before.
    this.#failures++;
    const follow = leader !== "" && this.#redirects++ < REDIRECTS_MAX;
    this.#redirect = follow ? leader : "";
    this.#redirectedBy = follow ? this.server : "";
    const until = this.#unreachable.get(leader) ?? -Infinity;
    if (follow && until > this.options.clock.monotonicMs()) this.#askForRelay(leader);
    this.#closed(this.#generation, `redirected to ${leader || "another server"}`);
  }

  #learnServers(servers: readonly string[]): void {
    const told = servers.join(",");
    if (told === "" || told === this.#told) return;
    this.#told = told;
    // Configured servers stay at the end: they may be names that outlive today's members.
    this.#servers = [...new Set([...servers, ...this.options.servers, ...this.#found])];
    this.options.onServers?.([...servers]);
  }

  #onRefused(message: Extract<ServerMessage, { t: "refused" }>): void {
    this.options.logger.error("server refused this device", { server: this.server, reason: message.reason });
    this.#refused = message.fatal;
    this.#closed(this.#generation, message.reason);
  }

  #onAck(seq: number): void {
    const updates = this.#inFlight.delete(seq);
    if (this.#servicesInFlight?.seq === seq) this.#servicesInFlight = undefined;
    if (this.#dirty.size > 0 || this.#services.size > 0) this.#flushIn(0);
    if (updates) this.options.onConfirmed();
  }

  #heartbeatLater(): void {
    const delayMs = this.#ttlMs * (0.3 + 0.2 * this.options.random.float());
    this.#cancelHeartbeat = this.options.clock.after(delayMs, () => {
      if (this.sinceContactMs > this.#ttlMs) return this.#closed(this.#generation, "server is silent");
      this.#send({ t: "heartbeat" });
      this.#heartbeatLater();
    });
  }

  // --- Sending -------------------------------------------------------------------------------------------------

  /** Sees to a flush within `delayMs`, or BATCH_MS after the last one if that is later. */
  #flushIn(delayMs: number): void {
    if (!this.#welcomed) return;
    const now = this.options.clock.monotonicMs();
    const due = Math.max(now + delayMs, this.#lastFlushMs + BATCH_MS);
    if (due >= this.#flushAtMs) return;
    this.#cancelFlush?.();
    this.#flushAtMs = due;
    if (due > now) {
      this.#cancelFlush = this.options.clock.after(due - now, () => this.#flush());
      return;
    }
    // At the end of this turn: what happens together leaves together.
    let cancelled = false;
    this.#cancelFlush = () => cancelled = true;
    queueMicrotask(() => {
      if (!cancelled) this.#flush();
    });
  }

  #flush(): void {
    this.#cancelFlush?.();
    this.#flushAtMs = Infinity;
    if (!this.#welcomed) return;
    this.#lastFlushMs = this.options.clock.monotonicMs();
    while (this.#dirty.size > 0 && this.#inFlight.size < IN_FLIGHT_MAX) this.#sendBatch();
    if (this.#services.size > 0 && !this.#servicesInFlight) this.#sendServices();
  }

  #sendBatch(): void {
    const updates: AllocUpdate[] = [];
    const ids: string[] = [];
    for (const id of this.#dirty) {
      if (ids.length === UPDATES_PER_BATCH_MAX) break;
      this.#dirty.delete(id);
      const update = this.options.update(id);
      if (!update) {
        this.#sent.delete(id);
        continue;
      }
      ids.push(id);
      updates.push(update);
      this.#sent.set(id, signature(update));
    }
    if (updates.length === 0) return;
    const seq = ++this.#seq;
    this.#inFlight.set(seq, ids);
    this.#send({ t: "updates", seq, updates });
  }

  #sendServices(): void {
    const sent = this.#services;
    this.#services = new Map();
    const seq = ++this.#seq;
    this.#servicesInFlight = { seq, sent };
    const upsert: ServiceRegistration[] = [];
    const remove: string[] = [];
    for (const [id, registration] of sent) {
      if (registration) upsert.push(registration);
      else remove.push(id);
    }
    this.#send({ t: "services", seq, upsert, remove });
  }

  #send(message: DeviceMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }
}

/** What servers think of an allocation that they were told nothing of. */
const UNTOLD = "pending ";

/** What servers act on: anything else may wait a little. */
function signature(update: AllocUpdate): string {
  return `${update.ClientStatus} ${update.DeploymentStatus?.Healthy ?? ""}`;
}
