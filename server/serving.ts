// Who answers a request: this server, or the leader on its behalf. Holds requests over an election, sends them on, sends
// them again where that is safe, and keeps the consistency that was asked for (docs/serving.md).
//
// Invariants: a request that may have been executed is sent again only if it changes nothing or carries an id; one that
// another server sent on is never sent on again; requests sent on are bounded in number and in what is held of
// them; a caller hears of every failure what is known of his write's fate.
import { ApiError, NotLeaderError } from "../core/errors.ts";
import type { ServerContext } from "./context.ts";
import { HopError } from "./hops.ts";
import type { Api, Handler } from "./http_api.ts";
import { type Exchange, textReply } from "./http_exchange.ts";
import { carriesId, HOP_ID_HEADER, once } from "./http_once.ts";
import { LeaderWatch } from "./leader_watch.ts";
import type { LeaderInfo } from "./log.ts";

/** Marks a request that another server sent on, so that it is not sent on again. */
export const FORWARDED_HEADER = "x-nomad-forwarded";
/** On an answer of a server that was asked as leader and is not: nothing was done. */
export const NOT_LEADER_HEADER = "x-nomad-not-leader";
/** On an answer after a lost leadership: the write may have been done. */
export const FATE_HEADER = "x-nomad-fate";

/** How long a request waits for a leader, before a sixteenth by chance (so that who waited together ends apart). */
const HOLD_MS = 5_000;
/** Between tries to reach a leader that does not answer. */
const RETRY_MS = 100;
/** An answer's head must come within this beyond what the request itself waits. */
const ANSWER_MAX_MS = 60_000;
const BLOCKING_MAX_MS = 10 * 60_000;
/** A large upload is answered when it is done. */
const UPLOAD_MAX_MS = 30 * 60_000;
/** Shorter than the shortest election timeout (replica.ts), so that clocks may differ in speed. */
const LEASE_MS = 350;
const IN_FLIGHT_MAX = 8_192;
const HELD_MAX_BYTES = 128 * 1024 * 1024;

/** Sends a request to the server with this rpc address. Rejects with HopError. */
export type Forward = (request: Request, address: string) => Promise<Response>;

export interface ServingOptions {
  server: ServerContext;
  forward: Forward;
  /** Requests under way elsewhere, and bytes of their bodies that are held. */
  limits?: { inFlight: number; heldBytes: number };
}

/** `repeatable`: only reads may be sent again (a device does not know ids), or what carries an id, too. */
export interface ServeOptions {
  repeatable: "reads" | "ids";
}

/** What is sent on, as often as it takes. */
interface Outgoing {
  body: Uint8Array | ReadableStream<Uint8Array> | null;
  heldBytes: number;
  mayRepeat: boolean;
}

/** What is known of a request that has not been answered yet. */
interface Trace {
  outgoing: Outgoing | null;
  /** A try of this write may have been executed. */
  maybeDone: boolean;
  /** Why the last try to reach the leader failed. */
  failure: string;
}

export class Serving {
  readonly leaders: LeaderWatch;
  readonly #limits: { inFlight: number; heldBytes: number };
  #inFlight = 0;
  /** When (monotonic) the last round began that a majority answered to. */
  #confirmedMs = -Infinity;
  #confirming: Promise<void> | null = null;
  #heldBytes = 0;

  constructor(private readonly options: ServingOptions) {
    const { server } = options;
    this.#limits = options.limits ?? { inFlight: IN_FLIGHT_MAX, heldBytes: HELD_MAX_BYTES };
    this.leaders = new LeaderWatch(server.log, server.clock);
  }

  /** Answers here if this server leads or the request is content with any, otherwise through the leader. */
  async answer(q: Exchange, api: Api, handler: Handler): Promise<Response> {
    if (q.method === "GET") {
      const { stale, consistent } = q.options;
      if (stale || (!consistent && this.#leadsSurely())) return await handler(q, api);
    }
    return await this.atLeader(q, api, handler, { repeatable: "ids" });
  }

  /** Runs `handler` on the leader: here, or there by sending the request on. Waits for one within bounds. */
  async atLeader(q: Exchange, api: Api, handler: Handler, options: ServeOptions): Promise<Response> {
    // What is this server's own to answer is bounded by the log and the overload guard.
    const elsewhere = this.options.server.log.isLeader ? 0 : 1;
    if (elsewhere && this.#inFlight >= this.#limits.inFlight) {
      return busy("too many requests wait for the leader");
    }
    this.#inFlight += elsewhere;
    const trace: Trace = { outgoing: null, maybeDone: false, failure: "" };
    const { log, config } = this.options.server;
    try {
      return await this.#untilAnswered(q, async () => {
        if (log.isLeader) return await this.#here(q, api, handler, { ...options, trace });
        if (!log.leader || log.leader.id === config.id) return null;
        if (isForwarded(q)) throw new NotLeaderError("");
        trace.outgoing ??= await this.#prepare(q, options);
        return await this.#there(q, trace.outgoing, { leader: log.leader, trace });
      });
    } catch (error) {
      if (!(error instanceof NotLeaderError)) throw error;
      if (trace.maybeDone && q.method !== "GET") throw new NotLeaderError(error.leader, "unknown");
      if (error.fate === "unknown") throw error;
      if (isForwarded(q)) return notLeader();
      if (trace.failure === "" || !log.leader) throw error;
      // There is a leader, it just cannot be reached from here: that is what to look at.
      throw new ApiError(500, `rpc error: the leader is not reached: ${trace.failure}`);
    } finally {
      this.#inFlight -= elsewhere;
      this.#heldBytes -= trace.outgoing?.heldBytes ?? 0;
    }
  }

  /** Tries until one try gives an answer, or there was no leader for HOLD_MS. */
  async #untilAnswered(q: Exchange, attempt: () => Promise<Response | null>): Promise<Response> {
    const { log, clock, random } = this.options.server;
    const holdMs = HOLD_MS * (1 + random.float() / 16);
    const { signal } = q.request;
    for (let end = clock.monotonicMs() + holdMs; !signal.aborted;) {
      const beganMs = clock.monotonicMs();
      const answer = await attempt();
      if (answer) return answer;
      const nowMs = clock.monotonicMs();
      // A leader had it for a while (a blocking query): what follows is another election.
      if (nowMs - beganMs > HOLD_MS) end = nowMs + holdMs;
      if (nowMs >= end) break;
      const known = log.isLeader || log.leader !== null;
      await this.leaders.change(Math.min(end - nowMs, known ? RETRY_MS : holdMs), signal);
    }
    throw new NotLeaderError("");
  }

  /** No other server can have been elected without this one knowing: a majority heard of it within LEASE_MS. */
  #leadsSurely(): boolean {
    const { log, clock } = this.options.server;
    if (!log.isLeader || log.handingOver) return false;
    return this.#confirmedMs + LEASE_MS >= clock.monotonicMs() || log.peers().length === 1;
  }

  /** One round to the others for all default reads of the next LEASE_MS: a leader that was paused must not answer. */
  async #confirm(): Promise<void> {
    const { log, clock } = this.options.server;
    const arrivedMs = clock.monotonicMs();
    // A round that began long before this read came proves nothing for it: then it is the next one's turn.
    while (this.#confirmedMs + (log.handingOver ? 0 : LEASE_MS) < arrivedMs && log.peers().length > 1) {
      const beganMs = clock.monotonicMs();
      this.#confirming ??= log.barrier().then(() => {
        this.#confirmedMs = beganMs;
      }).finally(() => this.#confirming = null);
      await this.#confirming;
    }
  }

  /** Null: leadership was lost, and the next leader may be asked. */
  async #here(
    q: Exchange,
    api: Api,
    handler: Handler,
    { repeatable, trace }: ServeOptions & { trace: Trace },
  ): Promise<Response | null> {
    const isRead = q.method === "GET";
    try {
      if (isRead) await (q.options.consistent ? this.options.server.log.barrier() : this.#confirm());
      return isRead || repeatable === "reads" ? await handler(q, api) : await once(q, api, handler);
    } catch (error) {
      if (!(error instanceof NotLeaderError)) throw error;
      if (error.fate === "unknown" && !(repeatable === "ids" && carriesId(q))) throw error;
      trace.maybeDone ||= error.fate === "unknown";
      return null;
    }
  }

  /** Null: it was not executed, or may be sent again. */
  async #there(
    q: Exchange,
    outgoing: Outgoing,
    { leader, trace }: { leader: LeaderInfo; trace: Trace },
  ): Promise<Response | null> {
    const lost = new AbortController();
    const giveUp = (why: string) => lost.abort(new HopError(why, "maybe"));
    const { clock, log } = this.options.server;
    const endWatch = this.leaders.onChange(() => {
      if (outgoing.mayRepeat && log.leader?.rpcAddress !== leader.rpcAddress) giveUp("the leader changed");
    });
    const cancel = clock.after(answerWithinMs(q), () => giveUp("the leader did not answer in time"));
    try {
      const response = await this.options.forward(this.#request(q, outgoing, lost.signal), leader.rpcAddress);
      const answer = outcome(response, outgoing.mayRepeat);
      trace.maybeDone ||= response.headers.has(FATE_HEADER);
      return answer;
    } catch (error) {
      if (q.request.signal.aborted) throw new ApiError(499, "The caller went away");
      if (!(error instanceof HopError)) throw error;
      trace.failure = error.message;
      trace.maybeDone ||= error.executed === "maybe";
      // A stream can be given away once only.
      const isStream = outgoing.body instanceof ReadableStream;
      if (outgoing.mayRepeat || (error.executed === "no" && !isStream)) return null;
      throw new NotLeaderError("", error.executed === "no" ? "not proposed" : "unknown");
    } finally {
      endWatch();
      cancel();
    }
  }

  async #prepare(q: Exchange, { repeatable }: ServeOptions): Promise<Outgoing> {
    const isRead = q.method === "GET";
    const { request } = q;
    if (isRead || request.body === null) {
      if (!isRead) this.#giveId(q);
      return { body: null, heldBytes: 0, mayRepeat: isRead || repeatable === "ids" };
    }
    if (!q.bodyRead && q.streams) return { body: request.body, heldBytes: 0, mayRepeat: false };
    const body = await q.body();
    if (this.#heldBytes + body.length > this.#limits.heldBytes) {
      throw new ApiError(503, "Too many writes wait for the leader: try again in a moment");
    }
    this.#heldBytes += body.length;
    this.#giveId(q);
    return { body, heldBytes: body.length, mayRepeat: repeatable === "ids" };
  }

  /** An id of our own for a write without one. */
  #giveId(q: Exchange): void {
    if (!carriesId(q)) q.hopId = this.options.server.random.uuid();
  }

  #request(q: Exchange, { body }: Outgoing, lost: AbortSignal): Request {
    const init: RequestInit & { duplex?: "half" } = { signal: AbortSignal.any([q.request.signal, lost]) };
    if (body !== null) {
      init.body = body as Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>>;
      init.duplex = "half";
    }
    const request = forwarded(q, init);
    if (q.hopId) request.headers.set(HOP_ID_HEADER, q.hopId);
    return request;
  }
}

/** Whether another server sent the request on. */
export function isForwarded({ request }: Exchange): boolean {
  return request.headers.has(FORWARDED_HEADER);
}

/** The request as it is sent on to another server, without its body unless `init` has one. */
export function forwarded({ request }: Exchange, init: RequestInit = {}): Request {
  const headers = new Headers(request.headers);
  for (const name of HOP_BY_HOP) headers.delete(name);
  headers.set(FORWARDED_HEADER, "1");
  return new Request(request.url, { method: request.method, signal: request.signal, ...init, headers });
}

/** What concerns one connection only (RFC 9110 §7.6.1). */
const HOP_BY_HOP = ["connection", "host", "keep-alive", "te", "transfer-encoding", "upgrade", "expect"];

function answerWithinMs(q: Exchange): number {
  if (q.streams) return UPLOAD_MAX_MS;
  if (q.method !== "GET" || q.options.minIndex === 0) return ANSWER_MAX_MS;
  const { waitMs } = q.options;
  return ANSWER_MAX_MS + (waitMs > 0 ? Math.min(2 * waitMs, BLOCKING_MAX_MS) : BLOCKING_MAX_MS);
}

/** The answer for the caller; null when the request is to be sent again. */
function outcome(response: Response, mayRepeat: boolean): Response | null {
  const asksAgain = response.headers.has(NOT_LEADER_HEADER) ||
    (mayRepeat && response.headers.has(FATE_HEADER));
  if (!asksAgain) return response;
  void response.body?.cancel();
  return null;
}

/** Another server took this one for the leader. */
function notLeader(): Response {
  return textReply(500, "No cluster leader", { [NOT_LEADER_HEADER]: "1" });
}

/** A refusal that says when to come back. */
export function busy(why: string): Response {
  return textReply(503, `This server is busy (${why}): try again in a moment, or ask another one`, {
    "Retry-After": "1",
  });
}
