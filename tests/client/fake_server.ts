// A server for tests of the device: speaks core/protocol.ts over a real socket, keeps what devices report and sends
// what the test says. Not a scheduler and not a store.
import { Mux } from "../../core/mux.ts";
import {
  type AllocDelta,
  type AllocUpdate,
  DEVICE_PATH,
  type DeviceMessage,
  type ServerMessage,
} from "../../core/protocol.ts";
import { listen, type Listener, type ServerSocket } from "../../core/runtime.ts";
import type { Node, ServiceRegistration } from "../../core/types.ts";

export interface FakeServerOptions {
  heartbeatTtlMs?: number;
  /** False: updates are kept but not acknowledged. */
  acknowledge?: boolean;
  /** Answers hello instead of a welcome. */
  onHello?: (hello: Extract<DeviceMessage, { t: "hello" }>) => ServerMessage | undefined;
  /** Sent after the welcome. */
  delta?: () => AllocDelta;
}

export class FakeServer {
  node: Node | undefined;
  hellos: Extract<DeviceMessage, { t: "hello" }>[] = [];
  heartbeats = 0;
  acknowledge: boolean;
  batches: Extract<DeviceMessage, { t: "updates" }>[] = [];
  updates = new Map<string, AllocUpdate>();
  /** Every ClientStatus of an allocation in the order it was told, repeats left out. */
  history = new Map<string, string[]>();
  services = new Map<string, ServiceRegistration>();
  events: Extract<DeviceMessage, { t: "events" }>["events"] = [];
  mux: Mux | undefined;
  #socket: ServerSocket | undefined;
  #listener: Listener | undefined;
  #waiters: (() => void)[] = [];

  constructor(private readonly options: FakeServerOptions = {}) {
    this.acknowledge = options.acknowledge ?? true;
  }

  async start(port = 0): Promise<string> {
    this.#listener = await listen({
      hostname: "127.0.0.1",
      port,
      fetch: (request, info) => {
        if (new URL(request.url).pathname !== DEVICE_PATH) return new Response("not found", { status: 404 });
        return info.upgrade({
          open: (socket) => {
            this.#socket = socket;
            this.mux = new Mux((frame) => socket.send(frame), { dialled: false });
          },
          message: (socket, data) => {
            if (typeof data === "string") this.#receive(socket, JSON.parse(data));
            else this.mux!.receive(data);
          },
          close: (socket) => {
            if (this.#socket !== socket) return;
            this.#socket = undefined;
            this.#wake();
          },
        });
      },
    });
    return this.address;
  }

  get address(): string {
    return `127.0.0.1:${this.#listener!.port}`;
  }

  get port(): number {
    return this.#listener!.port;
  }

  get connected(): boolean {
    return this.#socket !== undefined;
  }

  send(message: ServerMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }

  drop(): void {
    this.#socket?.close(1012, "dropped by the test");
  }

  async stop(): Promise<void> {
    this.drop();
    await this.#listener?.close();
  }

  /** Waits until `ready` holds; looks after every message. Rejects after `timeoutMs`. */
  async until(ready: () => boolean, what: string, timeoutMs = 8000): Promise<void> {
    const end = Date.now() + timeoutMs;
    while (!ready()) {
      if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([
        new Promise<void>((resolve) => this.#waiters.push(resolve)),
        new Promise<void>((resolve) => timer = setTimeout(resolve, 50)),
      ]);
      clearTimeout(timer);
    }
  }

  async status(id: string, status: string): Promise<AllocUpdate> {
    await this.until(
      () => this.updates.get(id)?.ClientStatus === status,
      `allocation ${id.slice(0, 8)} ${status} (is ${JSON.stringify(this.updates.get(id)?.ClientStatus)})`,
    );
    return this.updates.get(id)!;
  }

  #receive(socket: ServerSocket, message: DeviceMessage): void {
    switch (message.t) {
      case "hello": {
        this.hellos.push(message);
        this.node = message.node;
        const other = this.options.onHello?.(message);
        socket.send(JSON.stringify(
          other ?? {
            t: "welcome",
            heartbeatTtlMs: this.options.heartbeatTtlMs ?? 10_000,
            nodeStatus: "ready",
            servers: [],
          },
        ));
        if (!other && this.options.delta) {
          socket.send(JSON.stringify({ t: "allocs", ...this.options.delta() }));
        }
        break;
      }
      case "node":
        this.node = message.node;
        break;
      case "heartbeat":
        this.heartbeats++;
        socket.send(
          JSON.stringify({ t: "heartbeatAck", heartbeatTtlMs: this.options.heartbeatTtlMs ?? 10_000 }),
        );
        break;
      case "updates":
        this.batches.push(message);
        for (const update of message.updates) this.#note(update);
        if (this.acknowledge) socket.send(JSON.stringify({ t: "ack", seq: message.seq }));
        break;
      case "services":
        for (const service of message.upsert) this.services.set(service.ID, service);
        for (const id of message.remove) this.services.delete(id);
        socket.send(JSON.stringify({ t: "ack", seq: message.seq }));
        break;
      case "events":
        this.events.push(...message.events);
        break;
    }
    this.#wake();
  }

  #note(update: AllocUpdate): void {
    this.updates.set(update.ID, update);
    const history = this.history.get(update.ID) ?? [];
    if (history.at(-1) !== update.ClientStatus) history.push(update.ClientStatus);
    this.history.set(update.ID, history);
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
