// How gossip travels: one message in a POST to the other server's serf listener, its answer in the response. The one
// place that frames, seals and checks both; knows nothing of members. Where TLS with certificates fits: `agent`.
//
// A frame is four bytes (magic, version, kind, direction) and a message, plain or sealed (gossip_crypto.ts). The answer
// is sealed for its question, so an old answer cannot be played back. With a key plain frames are refused, and without
// one sealed ones; a refusal is a short code, which each side puts into words for its own log.
//
// Invariants: every call ends by its deadline; a peer has a bounded number of calls under way; bodies are bounded.
import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { randomBytes } from "node:crypto";
import type { Clock } from "../core/env.ts";
import { errorText } from "../core/errors.ts";
import { formatHostPort } from "../core/resolve.ts";
import { type KeyRing, SEAL_BYTES } from "./gossip_crypto.ts";
import { decodeMessage, encodeMessage, GossipFormatError, type WireMessage } from "./gossip_codec.ts";
import type { Endpoint } from "./gossip_types.ts";

export const GOSSIP_PATH = "/v1/gossip";
const MAGIC = 0x67;
export const GOSSIP_VERSION = 1;
const PLAIN = 0;
const SEALED = 1;
const REQUEST = 0;
const RESPONSE = 1;
const HEADER_BYTES = 4;
/** Ties an answer to its question. */
const NONCE_BYTES = 16;
const NONCE_HEADER = "x-gossip-nonce";
const BODY_MAX_BYTES = 2 * 1024 * 1024;
const BODY_DEADLINE_MS = 5_000;
/** Messages that are being taken in at once. */
const INBOUND_MAX = 256;
/** Calls to one peer under way: more means that it does not answer. */
const PER_PEER_MAX = 16;

/** Why a server does not take a message: short words for the wire. */
export const REFUSALS = ["plain", "sealed", "key", "version", "malformed", "busy", "stopped"] as const;
export type Refusal = (typeof REFUSALS)[number];

/** A message did not get through. */
export class GossipCallError extends Error {
  override readonly name = "GossipCallError";
  constructor(
    /** `closed`: nobody listens there; `refused`: the server there said no, with `refusal`. */
    readonly kind: "closed" | "timeout" | "broken" | "refused",
    message: string,
    readonly refusal: Refusal | null = null,
  ) {
    super(message);
  }
}

/** What to do about a refusal, said where the message was sent from. */
const TOLD_TO_SENDER: Record<Refusal, string> = {
  plain: "its gossip is encrypted and this server has no key: set server.encrypt to the cluster's key",
  sealed:
    "its gossip is not encrypted and this server's is: set the same server.encrypt on both, or on neither",
  key:
    "it has none of the keys that this server encrypts with: set server.encrypt to the cluster's key, or " +
    "install this server's key there with `nomad operator gossip keyring install`",
  version: `it speaks another version of gossip than ${GOSSIP_VERSION}: run the same version on all servers`,
  malformed: "it could not read the message: run the same version on all servers",
  busy: "it is overloaded: it will be tried again",
  stopped: "it is stopping or only starting: it will be tried again",
};

/** The same where the message came to. */
export const TOLD_TO_RECEIVER: Partial<Record<Refusal, string>> = {
  plain: "its gossip is not encrypted and this server's is: set server.encrypt there to the cluster's key",
  sealed:
    "its gossip is encrypted and this server has no key: set the same server.encrypt on both, or on neither",
  key:
    "it encrypts with a key that this server does not have: set server.encrypt there to the cluster's key, or " +
    "install its key here with `nomad operator gossip keyring install`",
  version: `it speaks another version of gossip than ${GOSSIP_VERSION}: run the same version on all servers`,
  malformed: "what it sent is no message of gossip: see what else uses the serf port",
};

export interface GossipWireOptions {
  /** Null: plain. Read at every message: the ring may change. */
  ring(): KeyRing | null;
  clock: Clock;
  onMessage(message: WireMessage): Promise<WireMessage>;
  /** The primary key was refused and this one of the ring was taken. */
  onOtherKey(key: string): void;
  /** A message was refused; `text` says why and what to do. */
  onRefused(remoteAddress: string, refusal: Refusal, text: string): void;
}

export class GossipWire {
  readonly #o: GossipWireOptions;
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: 4, maxSockets: PER_PEER_MAX });
  #underWay = new Map<string, number>();
  #inbound = 0;
  #stopped = false;

  constructor(options: GossipWireOptions) {
    this.#o = options;
  }

  /** Sends a message and resolves with its answer. Rejects with GossipCallError. */
  async call(to: Endpoint, message: WireMessage, deadlineMs: number): Promise<WireMessage> {
    const key = `${to.host} ${to.port}`;
    const open = this.#underWay.get(key) ?? 0;
    if (this.#stopped) throw new GossipCallError("broken", "this server is stopping");
    if (open >= PER_PEER_MAX) {
      throw new GossipCallError("timeout", "it has not answered earlier messages yet");
    }
    this.#underWay.set(key, open + 1);
    try {
      return await this.#withAnyKey(to, message, deadlineMs);
    } finally {
      const left = this.#underWay.get(key)! - 1;
      if (left > 0) this.#underWay.set(key, left);
      else this.#underWay.delete(key);
    }
  }

  /** With the primary key; where that is refused, with the others: this server may have missed a change of keys. */
  async #withAnyKey(to: Endpoint, message: WireMessage, deadlineMs: number): Promise<WireMessage> {
    const ring = this.#o.ring();
    try {
      return await this.#exchange(to, message, deadlineMs, ring);
    } catch (error) {
      if (!ring || !isKeyRefusal(error)) throw error;
      for (const key of ring.keys.slice(1)) {
        try {
          const answer = await this.#exchange(to, message, deadlineMs, ring.withPrimary(key));
          this.#o.onOtherKey(key);
          return answer;
        } catch (other) {
          if (!isKeyRefusal(other)) throw other;
        }
      }
      throw error;
    }
  }

  async #exchange(
    to: Endpoint,
    message: WireMessage,
    deadlineMs: number,
    ring: KeyRing | null,
  ): Promise<WireMessage> {
    const nonce = randomBytes(NONCE_BYTES).toString("hex");
    const body = frame(encodeMessage(message), ring, REQUEST, nonce);
    const { status, bytes } = await this.#post(to, body, nonce, deadlineMs);
    if (status !== 200) throw refusalOf(status, bytes);
    const opened = unframe(bytes, ring, RESPONSE, nonce);
    if (typeof opened === "string") {
      throw new GossipCallError(
        "broken",
        `its answer is not framed and sealed as the question was (${opened})`,
      );
    }
    try {
      return decodeMessage(opened);
    } catch (error) {
      throw new GossipCallError("broken", `its answer cannot be used: ${errorText(error)}`);
    }
  }

  #post(
    to: Endpoint,
    body: Uint8Array,
    nonce: string,
    deadlineMs: number,
  ): Promise<{ status: number; bytes: Uint8Array }> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        agent: this.#agent,
        hostname: to.host,
        port: to.port,
        path: GOSSIP_PATH,
        method: "POST",
        headers: {
          "content-type": "application/octet-stream",
          "content-length": body.length,
          [NONCE_HEADER]: nonce,
        },
      }, (response) => {
        collect(response, BODY_MAX_BYTES).then(
          (bytes) => end(() => resolve({ status: response.statusCode ?? 0, bytes })),
          (error) => end(() => reject(callError(to, error))),
        );
      });
      const cancel = this.#o.clock.after(deadlineMs, () => {
        end(() => reject(new GossipCallError("timeout", `no answer within ${Math.round(deadlineMs)} ms`)));
        request.destroy();
      });
      let ended = false;
      const end = (run: () => void) => {
        if (ended) return;
        ended = true;
        cancel();
        run();
      };
      request.on("error", (error) => end(() => reject(callError(to, error))));
      request.end(body);
    });
  }

  /** A request of the serf listener. */
  async handle(request: Request, remoteAddress: string): Promise<Response> {
    if (new URL(request.url).pathname !== GOSSIP_PATH) {
      return new Response("This is the serf port, where servers gossip: the API has a port of its own", {
        status: 404,
      });
    }
    if (request.method !== "POST") return new Response("Post gossip here", { status: 405 });
    if (this.#stopped) return refuse("stopped");
    if (this.#inbound >= INBOUND_MAX) return refuse("busy");
    this.#inbound++;
    try {
      return await this.#take(request, remoteAddress);
    } finally {
      this.#inbound--;
    }
  }

  async #take(request: Request, remoteAddress: string): Promise<Response> {
    const nonce = request.headers.get(NONCE_HEADER) ?? "";
    const bytes = await this.#readBody(request);
    const ring = this.#o.ring();
    const opened = bytes && /^[0-9a-f]{32}$/.test(nonce) ? unframe(bytes, ring, REQUEST, nonce) : "malformed";
    if (typeof opened === "string") return this.#refuse(remoteAddress, opened);
    try {
      const answer = await this.#o.onMessage(decodeMessage(opened));
      return new Response(frame(encodeMessage(answer), ring, RESPONSE, nonce) as Uint8Array<ArrayBuffer>, {
        headers: { "content-type": "application/octet-stream" },
      });
    } catch (error) {
      if (!(error instanceof GossipFormatError)) throw error;
      return this.#refuse(remoteAddress, "malformed");
    }
  }

  #refuse(remoteAddress: string, refusal: Refusal): Response {
    this.#o.onRefused(remoteAddress, refusal, TOLD_TO_RECEIVER[refusal] ?? refusal);
    return refuse(refusal);
  }

  /** Null for a body that is too large, broken off, or does not come in time. */
  async #readBody(request: Request): Promise<Uint8Array | null> {
    if (Number(request.headers.get("content-length") ?? 0) > BODY_MAX_BYTES) return null;
    const reader = request.body?.getReader();
    if (!reader) return null;
    const cancel = this.#o.clock.after(BODY_DEADLINE_MS, () => void reader.cancel().catch(() => null));
    const parts: Uint8Array[] = [];
    try {
      for (let length = 0;;) {
        const { done, value } = await reader.read();
        if (done) return new Uint8Array(Buffer.concat(parts));
        length += value.length;
        if (length > BODY_MAX_BYTES) return null;
        parts.push(value);
      }
    } catch (brokenOff) {
      void brokenOff;
      return null;
    } finally {
      cancel();
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#agent.destroy();
  }
}

const isKeyRefusal = (error: unknown) => error instanceof GossipCallError && error.refusal === "key";

const refuse = (refusal: Refusal) => new Response(refusal, { status: refusal === "busy" ? 503 : 403 });

function refusalOf(status: number, bytes: Uint8Array): GossipCallError {
  const word = new TextDecoder().decode(bytes.subarray(0, 32));
  const refusal = REFUSALS.find((known) => known === word);
  if (refusal) {
    return new GossipCallError("refused", `it refuses gossip: ${TOLD_TO_SENDER[refusal]}`, refusal);
  }
  return new GossipCallError(
    "broken",
    `it answers ${status}, not as a serf listener does: check that this is the serf port (4648) of a server`,
  );
}

function callError(to: Endpoint, error: unknown): GossipCallError {
  const code = (error as { code?: string }).code ?? "";
  if (code === "ECONNREFUSED" || /ECONNREFUSED|connection refused/i.test(errorText(error))) {
    return new GossipCallError("closed", `dial tcp ${formatHostPort(to)}: connect: connection refused`);
  }
  return new GossipCallError("broken", errorText(error) || code || "the connection broke");
}

function collect(response: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = [];
    let length = 0;
    response.on("data", (part: Uint8Array) => {
      length += part.length;
      if (length > maxBytes) response.destroy(new Error("its answer is too large"));
      else parts.push(part);
    });
    response.on("end", () => resolve(new Uint8Array(Buffer.concat(parts))));
    response.on("error", reject);
    response.on("close", () => reject(new Error("the connection broke off")));
  });
}

/** A message in its frame. */
export function frame(plain: Uint8Array, ring: KeyRing | null, direction: number, nonce: string): Uint8Array {
  const header = Uint8Array.of(MAGIC, GOSSIP_VERSION, ring ? SEALED : PLAIN, direction);
  const body = ring ? ring.seal(plain, context(header, nonce)) : plain;
  return new Uint8Array(Buffer.concat([header, body]));
}

/** The message of a frame, or why it is refused. */
export function unframe(
  bytes: Uint8Array,
  ring: KeyRing | null,
  direction: number,
  nonce: string,
): Uint8Array | Refusal {
  if (bytes.length < HEADER_BYTES || bytes[0] !== MAGIC) return "malformed";
  if (bytes[1] !== GOSSIP_VERSION) return "version";
  if (bytes[3] !== direction) return "malformed";
  const body = bytes.subarray(HEADER_BYTES);
  if (bytes[2] === PLAIN) return ring ? "plain" : body;
  if (bytes[2] !== SEALED || body.length < SEAL_BYTES) return "malformed";
  if (!ring) return "sealed";
  return ring.open(body, context(bytes.subarray(0, HEADER_BYTES), nonce)) ?? "key";
}

const context = (header: Uint8Array, nonce: string) => Buffer.concat([header, Buffer.from(nonce, "hex")]);
