// What servers ask each other about the cluster, on the rpc port below /v1/cluster/: how a server's log stands, whether
// it takes part in a first membership, and to be taken out of it. The words of it, the side that asks (over HTTP) and
// the side that reads requests. Decides nothing: cluster.ts does. TLS with client certificates fits in `exchange`.
//
// Every call has a deadline and is tried once: who asks does so again in its next round.
import { ApiError, errorText } from "../core/errors.ts";
import type { RaftServer } from "./raft_types.ts";

export const CLUSTER_PATH = "/v1/cluster/";
/** Of one call. */
const CALL_MS = 1000;
const BODY_MAX_CHARS = 64 * 1024;

/** How one server's log stands. */
export interface PeerStatus {
  id: string;
  region: string;
  /** "" until it has heard of one. */
  clusterId: string;
  /** It has a log, or took part in an election: it must not found a cluster. */
  hasState: boolean;
  /** Ids of the members in force there. */
  servers: string[];
  /** Milliseconds since it heard the leader; null: never. */
  lastContactMs: number | null;
  lastTerm: number;
  lastIndex: number;
}

/**
 * The first membership of a new cluster. `prepare` asks for the promise to take part in no other for a while; `commit`
 * says that all have promised.
 */
export interface Offer {
  phase: "prepare" | "commit";
  from: string;
  /** In order of id. */
  servers: RaftServer[];
}

export interface OfferAnswer {
  ok: boolean;
  /** Why not. */
  reason: string;
}

/** Asking another server, at host:port of its rpc listener. Reject when it cannot be reached or refuses. */
export interface PeerCalls {
  status(address: string): Promise<PeerStatus>;
  offer(address: string, offer: Offer): Promise<OfferAnswer>;
  /** To the leader: take server `id` out of the membership; resolves when that is committed. */
  leave(address: string, id: string): Promise<void>;
}

/** What a server answers to the calls of others. */
export interface PeerAnswers {
  status(): PeerStatus;
  onOffer(offer: Offer): OfferAnswer;
  /** Rejects with NotLeaderError where this server does not lead. */
  onLeave(id: string): Promise<void>;
}

export const httpPeerCalls: PeerCalls = {
  status: async (address) => await exchange(address, "status", null) as PeerStatus,
  offer: async (address, offer) => await exchange(address, "offer", offer) as OfferAnswer,
  leave: async (address, id) => void await exchange(address, "leave", { id }),
};

async function exchange(address: string, name: string, body: unknown): Promise<unknown> {
  const response = await fetch(`http://${address}${CLUSTER_PATH}${name}`, {
    method: body === null ? "GET" : "POST",
    ...(body === null ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(CALL_MS),
  });
  const text = await response.text();
  if (!response.ok) throw new ApiError(response.status, `${address} answers ${response.status} ${text}`);
  return JSON.parse(text || "null");
}

/** Answers a request of another server. */
export async function answerPeer(request: Request, answers: PeerAnswers): Promise<Response> {
  const name = new URL(request.url).pathname.slice(CLUSTER_PATH.length);
  try {
    if (name === "status" && request.method === "GET") return Response.json(answers.status());
    if (request.method === "POST" && name === "offer") {
      return Response.json(answers.onOffer(readOffer(await readBody(request))));
    }
    if (request.method === "POST" && name === "leave") {
      await answers.onLeave(text(await readBody(request), "id"));
      return new Response(null, { status: 204 });
    }
    return new Response(`Unknown call ${JSON.stringify(name)}`, { status: 404 });
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 500;
    return new Response(errorText(error), { status });
  }
}

async function readBody(request: Request): Promise<Record<string, unknown>> {
  if (Number(request.headers.get("content-length") ?? 0) > BODY_MAX_CHARS) {
    throw new ApiError(413, "The call is too large");
  }
  try {
    const body: unknown = JSON.parse(await request.text());
    if (typeof body === "object" && body !== null) return body as Record<string, unknown>;
  } catch (error) {
    throw new ApiError(400, `The call is no JSON: ${errorText(error)}`);
  }
  throw new ApiError(400, "The call is no JSON object");
}

function readOffer(body: Record<string, unknown>): Offer {
  const { phase, servers } = body;
  if ((phase !== "prepare" && phase !== "commit") || !Array.isArray(servers)) {
    throw new ApiError(400, "An offer has a phase and servers");
  }
  return {
    phase,
    from: text(body, "from"),
    servers: servers.map((server: Record<string, unknown>) => ({
      id: text(server, "id"),
      rpcAddress: text(server, "rpcAddress"),
      httpAddress: text(server, "httpAddress"),
      voter: true,
    })),
  };
}

function text(body: Record<string, unknown>, key: string): string {
  const value = body[key];
  if (typeof value !== "string") throw new ApiError(400, `The call lacks ${key}`);
  return value;
}
