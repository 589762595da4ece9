// How a request of the API gets from one server to another: one connection to each peer's rpc listener, held open, with
// all requests on it side by side (core/mux.ts), what is said in one turn as one message. Bodies stream both ways; a
// caller who goes away ends his exchange only.
//
// Invariants: an error says whether the request can have been executed (`HopError.executed`); a connection that is
// silent for SILENCE_MAX_MS while somebody waits is given up; a request never waits longer than CONNECT_MAX_MS for it.
import type { Dial, DialledSocket } from "../core/dial.ts";
import { type Clock, type Defer, nextTurn } from "../core/env.ts";
import type { Logger } from "../core/logger.ts";
import { errorText } from "../core/errors.ts";
import { Mux } from "../core/mux.ts";
import type { RequestInfo, ServerSocket } from "../core/runtime.ts";

const CONNECT_MAX_MS = 2_000;
const PING_MS = 2_000;
const SILENCE_MAX_MS = 10_000;
const PING_PATH = "/ping";
/** Blocking queries of many clients may come through one server. */
const STREAMS_MAX = 16_384;

/** Before each frame of a message. */
const LENGTH_BYTES = 4;
const BATCH_MAX_BYTES = 256 * 1024;

/** A request did not get its answer. `executed` "no": it cannot have reached the other server's API. */
export class HopError extends Error {
  override readonly name = "HopError";
  constructor(message: string, readonly executed: "no" | "maybe") {
    super(message);
  }
}

export interface HopsOptions {
  dial(): Promise<Dial>;
  clock: Clock;
  logger: Logger;
  /** When the frames of a turn go out; after it by default. */
  defer?: Defer;
  /** Answers what other servers send on. */
  serve(request: Request): Promise<Response> | Response;
}

export class Hops {
  #peers = new Map<string, Peer>();
  #accepted = new Set<ServerSocket>();
  #dial: Promise<Dial> | undefined;
  #closed = false;

  constructor(private readonly options: HopsOptions) {}

  /** Sends a request to the server at `address` (host:port of its rpc listener). Rejects with HopError. */
  async fetch(address: string, request: Request): Promise<Response> {
    const dial = await (this.#dial ??= this.options.dial());
    let peer = this.#peers.get(address);
    if (!peer || peer.ended) {
      if (this.#closed) throw new HopError("This server is stopping", "no");
      peer = new Peer(address, dial, this.options);
      this.#peers.set(address, peer);
    }
    return await peer.fetch(request);
  }

  /** Takes over a request to SERVER_PATH on the rpc listener. */
  accept(info: RequestInfo): Response {
    let mux: Mux | undefined;
    return info.upgrade({
      open: (socket) => {
        this.#accepted.add(socket);
        const batch = new Batch((frames) => socket.send(frames), this.options.defer);
        mux = new Mux((frame) => batch.add(frame), {
          dialled: false,
          streamsMax: STREAMS_MAX,
          backlog: () => socket.bufferedBytes,
        });
        mux.serve((request) =>
          isPing(request) ? new Response(null, { status: 204 }) : this.options.serve(request)
        );
      },
      message: (socket, data) => {
        try {
          if (typeof data === "string") throw new Error("text is not spoken here");
          if (mux) eachFrame(data, mux);
        } catch (error) {
          this.options.logger.warn(`A server's connection is refused: ${errorText(error)}`);
          socket.close(1008, "refused");
        }
      },
      close: (socket) => {
        this.#accepted.delete(socket);
        mux?.close("the connection to the other server was lost");
      },
    });
  }

  close(): void {
    this.#closed = true;
    for (const peer of this.#peers.values()) peer.end("this server is stopping");
    this.#peers.clear();
    for (const socket of this.#accepted) socket.close(1001, "the server is stopping");
  }
}

function isPing(request: Request): boolean {
  return request.method === "HEAD" && new URL(request.url).pathname === PING_PATH;
}

/** Frames of one turn of the event loop go as one message: a small answer is three frames, and many go at once. */
class Batch {
  #frames: Uint8Array[] = [];
  #bytes = 0;

  constructor(private readonly send: (frames: Uint8Array) => void, private readonly defer = nextTurn) {}

  add(frame: Uint8Array): void {
    if (this.#frames.length === 0) this.defer(() => this.#flush());
    this.#frames.push(frame);
    this.#bytes += frame.length + LENGTH_BYTES;
    if (this.#bytes >= BATCH_MAX_BYTES) this.#flush();
  }

  #flush(): void {
    if (this.#frames.length === 0) return;
    const message = new Uint8Array(this.#bytes);
    const view = new DataView(message.buffer);
    let at = 0;
    for (const frame of this.#frames) {
      view.setUint32(at, frame.length);
      message.set(frame, at + LENGTH_BYTES);
      at += LENGTH_BYTES + frame.length;
    }
    this.#frames = [];
    this.#bytes = 0;
    this.send(message);
  }
}

/** Feeds the frames of a message. Throws for one that is cut off. */
function eachFrame(message: Uint8Array, mux: Mux): void {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  for (let at = 0; at < message.length;) {
    const end = at + LENGTH_BYTES <= message.length ? at + LENGTH_BYTES + view.getUint32(at) : Infinity;
    if (end > message.length) throw new Error("Malformed message: a frame is cut off");
    mux.receive(message.subarray(at + LENGTH_BYTES, end));
    at = end;
  }
}

/** The connection to one server, from its dialling to its end. */
class Peer {
  ended = false;
  readonly #mux: Mux;
  /** Undefined only while it is dialled. */
  #socket: DialledSocket | undefined;
  readonly #opened: Promise<void>;
  #isOpen = false;
  #heardMs: number;
  #cancelPing: (() => void) | null = null;
  #end!: (reason: string) => void;

  constructor(readonly address: string, dial: Dial, private readonly options: HopsOptions) {
    const { clock } = options;
    this.#heardMs = clock.monotonicMs();
    const batch = new Batch((frames) => this.#socket?.send(frames), options.defer);
    this.#mux = new Mux((frame) => batch.add(frame), {
      dialled: true,
      streamsMax: STREAMS_MAX,
      backlog: () => this.#socket?.bufferedBytes ?? 0,
    });
    this.#opened = new Promise((resolve, reject) => {
      this.#end = (reason) => reject(new HopError(`Server ${address} cannot be reached: ${reason}`, "no"));
      this.#socket = dial(address, {
        open: () => {
          this.#isOpen = true;
          resolve();
        },
        text: () => undefined,
        bytes: (data) => this.#receive(data),
        close: (reason) => this.end(reason),
      });
    });
    // Who waits hears of it; a connection that nobody waits for any more may fail in silence.
    this.#opened.catch((heardByWhoWaits) => void heardByWhoWaits);
    clock.after(CONNECT_MAX_MS, () => this.#isOpen || this.end(`no connection within ${CONNECT_MAX_MS} ms`));
  }

  async fetch(request: Request): Promise<Response> {
    if (!this.#isOpen) await this.#opened;
    if (this.ended) throw new HopError(`The connection to server ${this.address} was lost`, "no");
    if (request.signal.aborted) throw new HopError("The caller went away", "no");
    if (this.#mux.open >= STREAMS_MAX) {
      throw new HopError(`Too many requests are under way to server ${this.address}`, "no");
    }
    this.#watch();
    try {
      return await this.#mux.fetch(request);
    } catch (error) {
      throw new HopError(`Server ${this.address}: ${errorText(error)}`, "maybe");
    }
  }

  end(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    this.#cancelPing?.();
    this.#end(reason);
    this.#mux.close(`the connection to server ${this.address} was lost: ${reason}`);
    this.#socket?.close(reason);
  }

  #receive(data: Uint8Array): void {
    this.#heardMs = this.options.clock.monotonicMs();
    try {
      eachFrame(data, this.#mux);
    } catch (error) {
      this.end(errorText(error));
    }
  }

  #watch(): void {
    if (this.#cancelPing) return;
    this.#heardMs = this.options.clock.monotonicMs();
    this.#cancelPing = this.options.clock.after(PING_MS, () => this.#ping());
  }

  /** While somebody waits for an answer, the other side must be heard of. */
  #ping(): void {
    this.#cancelPing = null;
    if (this.ended || this.#mux.open === 0) return;
    const silentMs = this.options.clock.monotonicMs() - this.#heardMs;
    if (silentMs > SILENCE_MAX_MS) return this.end(`silent for ${Math.round(silentMs)} ms`);
    this.#cancelPing = this.options.clock.after(PING_MS, () => this.#ping());
    if (silentMs < PING_MS) return;
    this.#mux.fetch(new Request(`http://peer${PING_PATH}`, { method: "HEAD" })).then(
      (response) => void response.body?.cancel(),
      (lost) => this.options.logger.debug(`No answer to a ping: ${errorText(lost)}`),
    );
  }
}
