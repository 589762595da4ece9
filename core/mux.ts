// HTTP exchanges over one message connection, in both directions: how a server reaches the API of a device behind
// NAT (logs, files, exec) and how a client-only agent reaches its servers. Either side may `fetch` and `serve`.
// Bodies stream both ways at once (exec needs that), each direction with its own window, so one slow reader holds up
// nobody else. Knows nothing of WebSockets: it takes a function that sends bytes and is fed what arrives.
//
// Frame: type (1 byte), stream id (4 bytes, big endian; odd from the side that dialled, even from the other), payload.
// Invariants: two open streams have two ids; data in flight per stream and direction never exceeds WINDOW_BYTES; after END or
// RESET of a direction nothing follows on it.
import { errorText } from "./errors.ts";

const enum Frame {
  /** JSON {method, url, headers, body: boolean}. */
  Open = 1,
  /** JSON {status, headers}. */
  Head = 2,
  Data = 3,
  End = 4,
  /** Text: why. Ends both directions. */
  Reset = 5,
  /** 4 bytes: how many more the other side may send. */
  Credit = 6,
}

const WINDOW_BYTES = 256 * 1024;
const CHUNK_BYTES = 32 * 1024;
/** Ids have 32 bits and begin anew at their end: a busy connection between servers comes to it within days. */
const IDS = 2 ** 32;
/** Open at once on a connection, unless it was made for more. */
const STREAMS_MAX = 1024;
/** Bodies wait while the connection has this much to send: many streams together must not fill this side's memory. */
const BACKLOG_MAX_BYTES = 8 * 1024 * 1024;
const BACKLOG_POLL_MS = 5;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export type FetchHandler = (request: Request) => Promise<Response> | Response;

/** One request and its response. */
class Exchange {
  /** What may still be sent. */
  credit = WINDOW_BYTES;
  wake: (() => void) | undefined;
  controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  onHead: ((head: { status: number; headers: [string, string][] }) => void) | undefined;
  onFail: ((error: Error) => void) | undefined;
  readonly abort = new AbortController();
  received = false;
  sent = false;
  /** Bytes handed to the reader that were not yet credited back. */
  consumed = 0;

  constructor(readonly id: number) {}
}

export class Mux {
  #exchanges = new Map<number, Exchange>();
  #nextId: number;
  readonly #streamsMax: number;
  readonly #backlog: () => number;
  #handler: FetchHandler = () => new Response("Nothing is served on this connection", { status: 404 });
  #closed: Error | undefined;

  /** `dialled`: true on the side that opened the connection. `send` must copy or transmit the frame at once. */
  constructor(
    private readonly send: (frame: Uint8Array) => void,
    options: {
      dialled: boolean;
      streamsMax?: number;
      /** Bytes handed to `send` that the network has not taken yet. */
      backlog?: () => number;
      /** How many requests went before. */
      asked?: number;
    },
  ) {
    this.#nextId = ((options.dialled ? 1 : 2) + 2 * (options.asked ?? 0)) % IDS;
    this.#streamsMax = options.streamsMax ?? STREAMS_MAX;
    this.#backlog = options.backlog ?? (() => 0);
  }

  /** Exchanges that are under way. */
  get open(): number {
    return this.#exchanges.size;
  }

  /** Answers the other side's requests from now on. */
  serve(handler: FetchHandler): void {
    this.#handler = handler;
  }

  /** Sends a request to the other side. Rejects when the connection ends or the request's signal fires first. */
  fetch(request: Request): Promise<Response> {
    if (this.#closed) return Promise.reject(this.#closed);
    if (this.#exchanges.size >= this.#streamsMax) {
      return Promise.reject(
        new Error(`Cannot open a stream: ${this.#streamsMax} are open on this connection`),
      );
    }
    const exchange = new Exchange(this.#takeId());
    this.#exchanges.set(exchange.id, exchange);
    const { pathname, search } = new URL(request.url);
    const body = request.body;
    this.#sendJson(Frame.Open, exchange.id, {
      method: request.method,
      url: pathname + search,
      headers: [...request.headers],
      body: body !== null,
    });
    if (body) void this.#pump(exchange, body);
    else exchange.sent = true;
    request.signal.addEventListener("abort", () => this.#reset(exchange, "request was aborted"), {
      once: true,
    });
    return new Promise<Response>((resolve, reject) => {
      exchange.onFail = reject;
      exchange.onHead = (head) => {
        const empty = head.status === 204 || head.status === 304;
        const stream = this.#incoming(exchange);
        resolve(new Response(empty ? null : stream, { status: head.status, headers: head.headers }));
      };
    });
  }

  /** The next id that no open stream has. */
  #takeId(): number {
    let id = this.#nextId;
    while (this.#exchanges.has(id)) id = (id + 2) % IDS;
    this.#nextId = (id + 2) % IDS;
    return id;
  }

  /** Feeds one frame that arrived. A malformed one throws: the connection is then to be closed. */
  receive(frame: Uint8Array): void {
    if (frame.length < 5) throw new Error("Malformed stream frame: shorter than its header");
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const id = view.getUint32(1);
    const payload = frame.subarray(5);
    if (view.getUint8(0) === Frame.Open) return this.#onOpen(id, payload);
    const exchange = this.#exchanges.get(id);
    // Frames may cross a reset: what comes for a stream that has ended here is dropped.
    if (!exchange) return;
    switch (view.getUint8(0)) {
      case Frame.Head:
        exchange.onHead?.(JSON.parse(decoder.decode(payload)));
        exchange.onHead = undefined;
        return;
      case Frame.Data:
        return this.#onData(exchange, payload);
      case Frame.End:
        exchange.received = true;
        closeQuietly(exchange);
        return this.#settle(exchange);
      case Frame.Reset:
        return this.#fail(exchange, new Error(decoder.decode(payload)));
      case Frame.Credit:
        if (payload.length !== 4) throw new Error("Malformed stream frame: credit is not four bytes");
        exchange.credit += view.getUint32(5);
        exchange.wake?.();
        return;
      default:
        throw new Error(`Malformed stream frame: type ${view.getUint8(0)}`);
    }
  }

  /** Ends every stream: the connection is gone. */
  close(reason: string): void {
    this.#closed = new Error(reason);
    for (const exchange of [...this.#exchanges.values()]) this.#fail(exchange, this.#closed);
  }

  #onOpen(id: number, payload: Uint8Array): void {
    const theirs = id % 2 !== this.#nextId % 2;
    if (!theirs || this.#exchanges.has(id)) {
      throw new Error(`Malformed stream frame: stream ${id} cannot be opened`);
    }
    const exchange = new Exchange(id);
    if (this.#exchanges.size >= this.#streamsMax) {
      return this.#sendText(Frame.Reset, id, "too many streams are open");
    }
    const open = readOpen(payload);
    this.#exchanges.set(id, exchange);
    const init: RequestInit & { duplex?: "half" } = {
      method: open.method,
      headers: open.headers,
      signal: exchange.abort.signal,
    };
    if (open.body) {
      init.body = this.#incoming(exchange);
      init.duplex = "half";
    } else exchange.received = true;
    void this.#answer(exchange, () => new Request(`http://mux${open.url}`, init));
  }

  /** `request` may throw: a method or a header that cannot be. */
  async #answer(exchange: Exchange, request: () => Request): Promise<void> {
    try {
      const response = await this.#handler(request());
      // Who asked went away meanwhile: nothing would ever take the answer.
      if (!this.#exchanges.has(exchange.id)) return await response.body?.cancel();
      this.#sendJson(Frame.Head, exchange.id, { status: response.status, headers: [...response.headers] });
      if (response.body) await this.#pump(exchange, response.body);
      else this.#finish(exchange);
    } catch (error) {
      this.#reset(exchange, errorText(error));
    }
  }

  /** The body that arrives on a stream; bytes are credited back as they are read. */
  #incoming(exchange: Exchange): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        exchange.controller = controller;
        if (exchange.received) closeQuietly(exchange);
      },
      pull: () => {
        if (exchange.consumed === 0 || exchange.received) return;
        const credit = new Uint8Array(4);
        new DataView(credit.buffer).setUint32(0, exchange.consumed);
        exchange.consumed = 0;
        this.#sendBytes(Frame.Credit, exchange.id, credit);
      },
      cancel: () => this.#reset(exchange, "reader went away"),
    }, { highWaterMark: 0 });
  }

  #onData(exchange: Exchange, payload: Uint8Array): void {
    exchange.consumed += payload.length;
    // A sender that does not keep to its window would fill this side's memory.
    if (exchange.consumed > WINDOW_BYTES) {
      return this.#reset(exchange, "more was sent than the window allows");
    }
    // The frame's buffer may belong to the socket: keep a copy.
    exchange.controller?.enqueue(payload.slice());
  }

  async #pump(exchange: Exchange, body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    exchange.abort.signal.addEventListener("abort", () => void reader.cancel().catch(() => undefined), {
      once: true,
    });
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        for (let at = 0; at < value.length;) {
          while (exchange.credit <= 0) {
            await new Promise<void>((resolve) => exchange.wake = resolve);
            if (exchange.abort.signal.aborted) return;
          }
          while (this.#backlog() > BACKLOG_MAX_BYTES) {
            await new Promise((resolve) => setTimeout(resolve, BACKLOG_POLL_MS));
            if (exchange.abort.signal.aborted) return;
          }
          const size = Math.min(value.length - at, CHUNK_BYTES, exchange.credit);
          exchange.credit -= size;
          this.#sendBytes(Frame.Data, exchange.id, value.subarray(at, at + size));
          at += size;
        }
        if (exchange.abort.signal.aborted) return;
      }
      this.#finish(exchange);
    } catch (error) {
      this.#reset(exchange, errorText(error));
    }
  }

  #finish(exchange: Exchange): void {
    if (exchange.sent || !this.#exchanges.has(exchange.id)) return;
    exchange.sent = true;
    this.#sendBytes(Frame.End, exchange.id, new Uint8Array(0));
    this.#settle(exchange);
  }

  #settle(exchange: Exchange): void {
    if (exchange.sent && exchange.received) this.#exchanges.delete(exchange.id);
  }

  #reset(exchange: Exchange, reason: string): void {
    if (!this.#exchanges.has(exchange.id)) return;
    if (!this.#closed) this.#sendText(Frame.Reset, exchange.id, reason);
    this.#fail(exchange, new Error(reason));
  }

  #fail(exchange: Exchange, error: Error): void {
    this.#exchanges.delete(exchange.id);
    exchange.abort.abort(error);
    exchange.wake?.();
    exchange.onFail?.(error);
    if (!exchange.received) {
      exchange.received = true;
      try {
        exchange.controller?.error(error);
      } catch (alreadyEnded) {
        // The reader cancelled first: there is nobody left to tell.
        void alreadyEnded;
      }
    }
  }

  #sendJson(type: Frame, id: number, value: unknown): void {
    this.#sendText(type, id, JSON.stringify(value));
  }

  #sendText(type: Frame, id: number, text: string): void {
    this.#sendBytes(type, id, encoder.encode(text));
  }

  #sendBytes(type: Frame, id: number, payload: Uint8Array): void {
    if (this.#closed) return;
    const frame = new Uint8Array(5 + payload.length);
    frame[0] = type;
    new DataView(frame.buffer).setUint32(1, id);
    frame.set(payload, 5);
    this.send(frame);
  }
}

interface Open {
  method: string;
  url: string;
  headers: [string, string][];
  body: boolean;
}

function readOpen(payload: Uint8Array): Open {
  const malformed = () => new Error("Malformed stream frame: what is asked cannot be read");
  let open: Open;
  try {
    open = JSON.parse(decoder.decode(payload));
  } catch (error) {
    throw error instanceof SyntaxError ? malformed() : error;
  }
  const { method, url, headers } = open ?? {};
  if (typeof method !== "string" || typeof url !== "string" || !url.startsWith("/")) throw malformed();
  const pair = (header: unknown) =>
    Array.isArray(header) && header.length === 2 && header.every((part) => typeof part === "string");
  if (!Array.isArray(headers) || !headers.every(pair)) throw malformed();
  return open;
}

/** Ends the incoming body unless its reader already did. */
function closeQuietly(exchange: Exchange): void {
  try {
    exchange.controller?.close();
  } catch (alreadyEnded) {
    void alreadyEnded;
  }
}
