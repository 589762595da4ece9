// The devices' connections: registration, heartbeats, assignments down, reports up, and HTTP exchanges with the
// device's own API (core/mux.ts). Only the leader keeps devices; another server answers `hello` with a redirect, or
// passes the whole connection on where the device cannot follow one.
//
// Invariants: one session a node, a newer connection ends the older; a session exists only after its node is
// registered durably; a device gets every change of its allocations after what it named in `hello`, in order.
import type { Dial } from "../core/dial.ts";
import type { Clock, Random } from "../core/env.ts";
import { ApiError, errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { Mux } from "../core/mux.ts";
import { type DeviceMessage, PROTOCOL_VERSION, type ServerMessage } from "../core/protocol.ts";
import type { RequestInfo, ServerSocket } from "../core/runtime.ts";
import type { Allocation, Node, NodeEvent } from "../core/types.ts";
import { isClientTerminal } from "./alloc_sets.ts";
import type { Command } from "./commands.ts";
import type { Devices } from "./context.ts";
import { DeltaEncoder } from "./deltas.ts";
import { readDeviceMessage } from "./device_messages.ts";
import { nodeEvaluations } from "./evaluations.ts";
import { Inbox } from "./inbox.ts";
import { checkNode, sameRegistration } from "./node_registration.ts";
import { Relay } from "./relay.ts";
import { Reports } from "./reports.ts";
import type { Changes, StateReader } from "./state_reader.ts";
import { Turns, type TurnTask } from "./turns.ts";

/** A device that does not take its data this far behind is disconnected; it resumes when it can. */
const BUFFERED_MAX_BYTES = 32 * 1024 * 1024;
/** What one device may have said that is not handled yet; beyond it the connection ends. */
const UNHANDLED_MAX_BYTES = 64 * 1024 * 1024;
/** A greeting waits this long for an election; the device gives a server 10 s. */
const ELECTION_WAIT_MS = 4_000;
/** Time in a turn of the event loop for what devices say and for what they are told. */
const TURN_BUDGET_MS = 6;
/** How long after an election devices may need to come here. */
const ARRIVAL_MS = 5_000;
const ARRIVAL_POLL_MS = 25;
const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

export interface SessionsOptions {
  state: StateReader;
  clock: Clock;
  random: Random;
  logger: Logger;
  propose(command: Command): Promise<unknown>;
  isLeader(): boolean;
  /** rpc address of the leader, "" when unknown. */
  leaderAddress(): string;
  /** rpc addresses of all servers, for the device to try. */
  servers(): string[];
  /** Resolves when another server leads than before, or after `timeoutMs`. */
  leaderChange(timeoutMs: number): Promise<void>;
  /** Dials the leader for devices that cannot. */
  dial(): Promise<Dial>;
  /** Notes that the node lives; returns the time to its next heartbeat. */
  beat(nodeId: string): number;
  /** The servers' own API, for client-only agents that forward what they are asked. */
  serveApi(request: Request): Promise<Response> | Response;
}

class Session {
  node: Node | undefined;
  readonly dirty: Allocation[] = [];
  readonly removed: string[] = [];
  unhandledBytes = 0;
  /** The servers that the device was told of. */
  told = "";
  /** Everything after the greeting goes to the leader. */
  relay: Relay | undefined;
  /** Set with the first message that cannot be accepted: what comes after it is not looked at. */
  refused = false;

  constructor(readonly socket: ServerSocket, readonly mux: Mux) {}

  send(message: ServerMessage): void {
    this.socket.send(JSON.stringify(message));
  }
}

export class Sessions implements Devices {
  #byNode = new Map<string, Session>();
  #open = new Set<Session>();
  #dirty = new Set<Session>();
  #deltas = new DeltaEncoder();
  #reports: Reports;
  #flushPlanned = false;
  /** Until when (monotonic) a device that is not here may be on its way. */
  #expectUntilMs = -Infinity;
  #flush: TurnTask;
  /** Messages of a device are handled one after the other: a report must not overtake the registration. */
  #inbox: Inbox<Session, string | Uint8Array>;

  constructor(private readonly options: SessionsOptions) {
    this.#reports = new Reports(options);
    const turns = new Turns(options.clock, TURN_BUDGET_MS);
    this.#flush = turns.task(() => this.#flushOne());
    this.#inbox = new Inbox(turns, {
      handle: (session, data) => {
        session.unhandledBytes -= data.length;
        if (!session.refused) return this.#receive(session, data);
      },
      onError: (session, error) => this.#refuse(session, error),
    });
  }

  get count(): number {
    return this.#byNode.size;
  }

  connected(nodeId: string): boolean {
    return this.#byNode.has(nodeId);
  }

  /** From now on devices come here that were connected elsewhere: this server leads. */
  expectAll(): void {
    this.#expectUntilMs = this.options.clock.monotonicMs() + ARRIVAL_MS;
  }

  async expected(nodeId: string): Promise<boolean> {
    const { clock, state } = this.options;
    while (!this.#byNode.has(nodeId)) {
      if (clock.monotonicMs() >= this.#expectUntilMs || state.node(nodeId)?.Status !== "ready") return false;
      await new Promise<void>((wake) => clock.after(ARRIVAL_POLL_MS, wake));
    }
    return true;
  }

  fetch(nodeId: string, request: Request): Promise<Response> {
    const session = this.#byNode.get(nodeId);
    if (!session) return Promise.reject(new ApiError(500, `No path to node`));
    return session.mux.fetch(request);
  }

  /** Takes over a request to DEVICE_PATH on the rpc listener. */
  accept(info: RequestInfo): Response {
    // None when the caller was gone before its connection was open.
    let session: Session | undefined;
    return info.upgrade({
      open: (socket) => {
        const mux = new Mux((frame) => socket.send(frame), {
          dialled: false,
          backlog: () => socket.bufferedBytes,
        });
        mux.serve((request) => this.options.serveApi(request));
        session = new Session(socket, mux);
        this.#open.add(session);
      },
      message: (_socket, data) => {
        if (session?.relay) session.relay.send(data);
        else if (session) this.#queue(session, data);
      },
      close: () => session && this.#end(session, "the device's connection was lost"),
    });
  }

  /** Brings the changes of one applied command on their way to the devices. */
  onChanges(changes: Changes): void {
    for (const alloc of changes.allocs) this.#mark(alloc.NodeID)?.dirty.push(alloc);
    for (const alloc of changes.removedAllocs) this.#mark(alloc.NodeID)?.removed.push(alloc.ID);
    for (const node of changes.removedNodes) this.#byNode.get(node.ID)?.socket.close(1000, "node was purged");
    if (this.#dirty.size === 0 || this.#flushPlanned) return;
    this.#flushPlanned = true;
    // After the command's other listeners, and once for the commands of one turn.
    queueMicrotask(() => {
      this.#flushPlanned = false;
      this.#flush.wake();
    });
  }

  /** Ends every connection: leadership went elsewhere, or the server stops. */
  closeAll(reason: string): void {
    this.#reports.clear();
    for (const session of [...this.#open]) session.socket.close(1012, reason);
  }

  #mark(nodeId: string): Session | undefined {
    const session = this.#byNode.get(nodeId);
    if (session) this.#dirty.add(session);
    return session;
  }

  /** Tells one device what changed; returns whether another waits. */
  #flushOne(): boolean {
    for (const session of this.#dirty) {
      this.#dirty.delete(session);
      const { dirty, removed } = session;
      session.socket.send(this.#deltas.encode(this.options.state.index, dirty.splice(0), removed.splice(0)));
      if (session.socket.bufferedBytes > BUFFERED_MAX_BYTES) session.socket.close(1013, "too far behind");
      break;
    }
    return this.#dirty.size > 0;
  }

  /** Has a message handled after those before it. */
  #queue(session: Session, data: string | Uint8Array): void {
    if (session.refused) return;
    session.unhandledBytes += data.length;
    if (session.unhandledBytes > UNHANDLED_MAX_BYTES) {
      return this.#refuse(session, new Error("the device says more than can be handled"));
    }
    // Whatever it says, it lives: that must not wait for its turn.
    if (session.node) this.options.beat(session.node.ID);
    this.#inbox.add(session, data);
  }

  #refuse(session: Session, error: unknown): void {
    if (session.refused) return;
    session.refused = true;
    this.#inbox.drop(session);
    this.options.logger.warn(`Device connection refused: ${errorText(error)}`);
    session.send({ t: "refused", reason: errorText(error), fatal: isFinal(error) });
    session.socket.close(1008, "refused");
  }

  #receive(session: Session, data: string | Uint8Array): void | Promise<void> {
    if (typeof data !== "string") return session.mux.receive(data);
    const message = readDeviceMessage(data);
    if (message.t === "hello") return this.#onHello(session, message);
    if (!session.node) throw new ApiError(400, "The first message of a device must be hello");
    switch (message.t) {
      case "heartbeat":
        return this.#onHeartbeat(session, session.node.ID);
      case "node":
        return this.#onNode(session, message.node);
      case "updates":
        return this.#onUpdates(session, message);
      case "services":
        return this.#onServices(session, message);
      case "events":
        return this.#onEvents(session.node.ID, message.events);
      default:
        // A newer device may say more than this server knows.
        this.options.logger.debug(`Unknown device message ${(message as { t: string }).t} was passed over`);
    }
  }

  async #onHello(session: Session, hello: Extract<DeviceMessage, { t: "hello" }>): Promise<void> {
    if (hello.version < PROTOCOL_VERSION) {
      throw new ApiError(400, `Device protocol ${hello.version} is too old`);
    }
    if (session.node) throw new ApiError(400, "A device says hello once in a connection");
    await this.#leaderKnown(session);
    if (!this.#open.has(session)) return;
    if (!this.options.isLeader()) return await this.#sendAway(session, hello);
    const node = await this.#register(hello.node);
    // Gone while its registration was written: it must not count as connected, nor end the one that it has by now.
    if (!this.#open.has(session)) return;
    this.#byNode.get(node.ID)?.socket.close(1000, "the device opened another connection");
    session.node = node;
    this.#byNode.set(node.ID, session);
    const heartbeatTtlMs = this.options.beat(node.ID);
    const servers = this.options.servers();
    session.told = servers.join(",");
    session.send({ t: "welcome", heartbeatTtlMs, nodeStatus: node.Status, servers });
    this.#sendMissing(session, node.ID, hello.allocs);
  }

  /** During an election the device waits here instead of asking one server after the other. */
  async #leaderKnown(session: Session): Promise<void> {
    const { clock, isLeader, leaderAddress, leaderChange } = this.options;
    const end = clock.monotonicMs() + ELECTION_WAIT_MS;
    while (!isLeader() && leaderAddress() === "" && this.#open.has(session)) {
      const leftMs = end - clock.monotonicMs();
      if (leftMs <= 0) return;
      await leaderChange(leftMs);
    }
  }

  /** To the leader: by its address, or, where the device could not dial that, through this server. */
  async #sendAway(session: Session, hello: Extract<DeviceMessage, { t: "hello" }>): Promise<void> {
    const leader = this.options.leaderAddress();
    if (hello.relay === true && leader !== "") {
      const dial = await this.options.dial();
      if (this.#open.has(session)) session.relay = new Relay(dial, leader, session.socket, hello);
      return;
    }
    session.send({ t: "redirect", leader });
    session.socket.close(1013, "not the leader");
  }

  #onHeartbeat(session: Session, nodeId: string): void {
    const heartbeatTtlMs = this.options.beat(nodeId);
    const servers = this.options.servers();
    const told = servers.join(",");
    session.send({ t: "heartbeatAck", heartbeatTtlMs, ...(told === session.told ? {} : { servers }) });
    session.told = told;
  }

  /** Sends what the device does not have, and names what does not exist any more. */
  #sendMissing(session: Session, nodeId: string, known: Record<string, number>): void {
    const gone = new Map(Object.entries(known));
    const news: Allocation[] = [];
    for (const alloc of this.options.state.allocsByNode(nodeId)) {
      // A device that lost its memory need not hear of what has ended long ago.
      if (gone.get(alloc.ID) !== alloc.AllocModifyIndex && (gone.has(alloc.ID) || !isClientTerminal(alloc))) {
        news.push(alloc);
      }
      gone.delete(alloc.ID);
    }
    session.socket.send(this.#deltas.encode(this.options.state.index, news, [...gone.keys()]));
  }

  async #register(input: Node): Promise<Node> {
    const state = this.options.state;
    const known = state.node(input.ID);
    const node = checkNode(input, known);
    if (known && known.Status === "ready" && sameRegistration(known, node)) return known;
    const time = this.options.clock.nowMs() * 1e6;
    const wasReady = known?.Status === "ready";
    const stamp = { random: this.options.random, nowNs: time };
    const evals = wasReady ? [] : nodeEvaluations(state, known ?? node, stamp);
    await this.options.propose({ kind: "node.register", time, node: { ...node, Status: "ready" }, evals });
    return state.node(node.ID)!;
  }

  async #onNode(session: Session, node: Node): Promise<void> {
    if (node.ID !== session.node!.ID) throw new ApiError(400, "A device cannot change its node ID");
    session.node = await this.#register(node);
  }

  #onUpdates(session: Session, message: Extract<DeviceMessage, { t: "updates" }>): void {
    const nodeId = session.node!.ID;
    const own = message.updates.filter((update) => this.options.state.alloc(update.ID)?.NodeID === nodeId);
    const acknowledge = () => session.send({ t: "ack", seq: message.seq });
    if (own.length === 0) return acknowledge();
    this.#reports.add(own, acknowledge);
  }

  async #onServices(session: Session, message: Extract<DeviceMessage, { t: "services" }>): Promise<void> {
    const nodeId = session.node!.ID;
    const services = message.upsert.filter((service) =>
      service.NodeID === nodeId && service.ID.includes(service.AllocID) &&
      this.#ownsService(nodeId, service.ID)
    );
    if (services.length > 0) await this.options.propose({ kind: "service.upsert", services });
    const ids = message.remove.filter((id) => this.#ownsService(nodeId, id));
    if (ids.length > 0) await this.options.propose({ kind: "service.delete", ids });
    session.send({ t: "ack", seq: message.seq });
  }

  /** A device speaks for the services of its own allocations only; a service's id carries its allocation's. */
  #ownsService(nodeId: string, serviceId: string): boolean {
    const allocId = UUID.exec(serviceId)?.[0];
    return allocId !== undefined && this.options.state.alloc(allocId)?.NodeID === nodeId;
  }

  async #onEvents(
    id: string,
    events: Extract<DeviceMessage, { t: "events" }>["events"],
  ): Promise<void> {
    const nowMs = this.options.clock.nowMs();
    const stamped = events.map((event): { id: string; event: NodeEvent } => ({
      id,
      event: {
        Message: event.message,
        Subsystem: event.subsystem,
        Details: event.details,
        Timestamp: new Date(nowMs).toISOString(),
        CreateIndex: 0,
      },
    }));
    await this.options.propose({ kind: "node.events", time: nowMs * 1e6, events: stamped });
  }

  #end(session: Session, reason: string): void {
    this.#open.delete(session);
    this.#dirty.delete(session);
    session.mux.close(reason);
    session.relay?.end(reason);
    if (session.node && this.#byNode.get(session.node.ID) === session) this.#byNode.delete(session.node.ID);
  }
}

/** What trying again cannot mend: the device's own message is wrong, or it is not who it says. */
function isFinal(error: unknown): boolean {
  return error instanceof ApiError && error.status < 500;
}
