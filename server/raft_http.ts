// How raft messages travel: batches posted to the other server's rpc listener at /v1/raft/messages. The one place that
// dials peers and checks what they send; knows nothing of terms. `post` is where TLS with client certificates fits.
//
// Each peer has three lanes with one request under way in each, so that a large append or a snapshot never delays a
// heartbeat, and a dead peer costs one waiting request. Lanes are bounded: what does not fit is dropped, and raft
// sends it again. Everything queued while a request runs goes into the next one.
import { Agent, request as httpRequest } from "node:http";
import type { Clock } from "../core/env.ts";
import { errorText } from "../core/errors.ts";
import {
  BODY_BYTES,
  decodeBody,
  encodeHeader,
  encodeMessage,
  MESSAGE_MAX_BYTES,
  WireError,
} from "./raft_codec.ts";
import type { Message, RaftTransport } from "./raft_types.ts";

export const RAFT_PATH = "/v1/raft/messages";

/** Posts `body` and resolves with the status and the text of an answer that is no success. Rejects when unreachable. */
export type PostFunction = (
  address: string,
  path: string,
  body: Uint8Array[],
) => Promise<{ status: number; text: string }>;

export interface HttpTransportOptions {
  id: string;
  /** host:port at which other servers reach this one: told to them with every batch. */
  rpcAddress: string;
  /** Where another server is now, for one that moved since the membership was written. */
  addressOf?: (id: string) => string | undefined;
  clock: Clock;
  logger?: (level: "debug" | "info" | "warn" | "error", message: string) => void;
  /** Posts over plain HTTP by default. */
  post?: PostFunction & { close?: () => void };
}

/** Messages and bytes that may wait in one lane. */
const LANE_MAX_MESSAGES = 4096;
const LANE_MAX_BYTES = 64 * 1024 * 1024;
/** Addresses learned from those who write to us, and peers of which is known whether they can be reached. */
const LEARNED_MAX = 1024;
/** The same refusal is said again after this long only: a server of another version writes ten times a second. */
const REFUSED_EVERY_MS = 60_000;
/** A peer that makes no progress for this long is given up for this request. */
const IDLE_TIMEOUT_MS = 2000;

type LaneName = "control" | "append" | "snapshot";

export function httpTransport(options: HttpTransportOptions): RaftTransport {
  return new HttpTransport(options);
}

class HttpTransport implements RaftTransport {
  readonly #o: HttpTransportOptions;
  readonly #post: PostFunction & { close?: () => void };
  #receive: ((message: Message) => void) | null = null;
  /** Those with something under way. */
  #lanes = new Map<string, Lane>();
  #learned = new Map<string, string>();
  #reachable = new Map<string, boolean>();
  #refusal = { text: "", untilMs: -Infinity };
  #stopped = false;

  constructor(options: HttpTransportOptions) {
    this.#o = options;
    this.#post = options.post ?? plainPost();
  }

  start(receive: (message: Message) => void): void {
    this.#receive = receive;
  }

  send(message: Message, address: string | undefined): void {
    const to = this.#o.addressOf?.(message.to) ?? address ?? this.#learned.get(message.to);
    if (!to || this.#stopped) return;
    const name = laneOf(message);
    const key = `${message.to} ${name}`;
    let lane = this.#lanes.get(key);
    if (!lane) {
      const header = encodeHeader({ from: this.#o.id, to: message.to, address: this.#o.rpcAddress });
      lane = new Lane(header, this.#post, {
        report: (error) => this.#report(message.to, error),
        idle: () => this.#lanes.delete(key),
      });
      this.#lanes.set(key, lane);
    }
    lane.push(message, to);
  }

  /** Says once that a peer is lost, and once that it is back. */
  #report(peer: string, error: string | null): void {
    const before = this.#reachable.get(peer);
    remember(this.#reachable, peer, error === null);
    if (this.#stopped || before === (error === null)) return;
    if (error !== null) this.#o.logger?.("warn", `Server ${peer} cannot be reached: ${error}`);
    else if (before === false) this.#o.logger?.("info", `Server ${peer} can be reached again`);
  }

  async handle(request: Request): Promise<Response> {
    if (new URL(request.url).pathname !== RAFT_PATH) {
      return new Response("Unknown raft path", { status: 404 });
    }
    if (request.method !== "POST") return new Response("Post raft messages here", { status: 405 });
    const receive = this.#receive;
    if (!receive || this.#stopped) {
      return new Response("This server does not take part in raft", { status: 503 });
    }
    const body = await readBody(request);
    if (!body) return new Response("The batch is too large", { status: 413 });
    try {
      const { header, messages } = decodeBody(body);
      if (header.to !== this.#o.id) {
        return new Response(`This is server ${this.#o.id}, not ${header.to}`, { status: 409 });
      }
      remember(this.#learned, header.from, header.address);
      for (const message of messages) receive(message);
      return new Response(null, { status: 204 });
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#tellRefusal(error.message);
      return new Response(error.message, { status: 400 });
    }
  }

  #tellRefusal(text: string): void {
    const nowMs = this.#o.clock.monotonicMs();
    if (text === this.#refusal.text && nowMs < this.#refusal.untilMs) return;
    this.#refusal = { text, untilMs: nowMs + REFUSED_EVERY_MS };
    this.#o.logger?.("warn", `Refused a batch of raft messages: ${text}`);
  }

  stop(): Promise<void> {
    this.#stopped = true;
    this.#receive = null;
    for (const lane of this.#lanes.values()) lane.stop();
    this.#lanes.clear();
    this.#post.close?.();
    return Promise.resolve();
  }
}

/** Who writes to this server decides how much there is to remember: it has an end. */
function remember<T>(map: Map<string, T>, id: string, value: T): void {
  if (map.size >= LEARNED_MAX && !map.has(id)) map.clear();
  map.set(id, value);
}

function laneOf(message: Message): LaneName {
  if (message.type === "snapshot") return "snapshot";
  return message.type === "append" && message.entries.length > 0 ? "append" : "control";
}

class Lane {
  #queue: Uint8Array[] = [];
  #bytes = 0;
  #running = false;
  #stopped = false;
  #address = "";

  constructor(
    readonly header: Uint8Array,
    readonly post: PostFunction,
    readonly tell: { report(error: string | null): void; idle(): void },
  ) {}

  push(message: Message, address: string): void {
    this.#address = address;
    if (this.#queue.length >= LANE_MAX_MESSAGES || this.#bytes >= LANE_MAX_BYTES) return;
    const bytes = encodeMessage(message);
    this.#queue.push(bytes);
    this.#bytes += bytes.length;
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    await Promise.resolve(); // Whatever is sent in the same turn goes into the first body.
    while (this.#queue.length > 0 && !this.#stopped) {
      const body = this.#takeBody();
      try {
        const { status, text } = await this.post(this.#address, RAFT_PATH, body);
        this.tell.report(status < 300 ? null : `it answers ${status} ${text}`);
      } catch (error) {
        // What waits is old by now: raft sends what is still needed.
        this.#queue = [];
        this.#bytes = 0;
        this.tell.report(errorText(error));
      }
    }
    this.#running = false;
    this.tell.idle();
  }

  #takeBody(): Uint8Array[] {
    let count = 0;
    for (let bytes = 0; count < this.#queue.length; count++) {
      bytes += this.#queue[count]!.length;
      if (count > 0 && bytes > BODY_BYTES) break;
    }
    const taken = this.#queue.splice(0, count);
    for (const bytes of taken) this.#bytes -= bytes.length;
    return [this.header, ...taken];
  }

  stop(): void {
    this.#stopped = true;
    this.#queue = [];
  }
}

/** Null when the body is larger than any batch of ours. */
async function readBody(request: Request): Promise<Uint8Array | null> {
  const max = MESSAGE_MAX_BYTES + BODY_BYTES;
  if (Number(request.headers.get("content-length") ?? 0) > max) return null;
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = request.body?.getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > max) {
      await reader.cancel();
      return null;
    }
    parts.push(value);
  }
  if (parts.length === 1) return parts[0]!;
  return new Uint8Array(Buffer.concat(parts));
}

/** Plain HTTP with keep-alive connections. */
function plainPost(): PostFunction & { close: () => void } {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 16 });
  const post: PostFunction = (address, path, body) => {
    const { hostname, port } = new URL(`http://${address}`);
    const length = body.reduce((sum, part) => sum + part.length, 0);
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        agent,
        hostname: hostname.replace(/^\[|\]$/g, ""),
        port,
        path,
        method: "POST",
        headers: { "content-type": "application/octet-stream", "content-length": length },
      }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => text = (text + chunk).slice(0, 300));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text: text.trim() }));
        response.on("error", reject);
      });
      request.setTimeout(IDLE_TIMEOUT_MS, () => {
        request.destroy(new Error(`no answer within ${IDLE_TIMEOUT_MS} ms`));
      });
      request.on("error", reject);
      for (const part of body) request.write(part);
      request.end();
    });
  };
  return Object.assign(post, { close: () => agent.destroy() });
}
