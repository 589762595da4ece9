// Writes of the API, and that one with an id is done once: `write` proposes a request's command together with how its
// answer is made, so that the answer can be given again, by any server, after a failover or a restart.
//
// Invariants: the id that a caller gives counts within its token and namespace only; the same id with another request
// is refused; a request's first command carries the id, so nothing of it is done twice.
import { createHash } from "node:crypto";
import { ApiError } from "../core/errors.ts";
import type { Command } from "./commands.ts";
import type { Api, Handler } from "./http_api.ts";
import { type Exchange, readHeaders, textReply } from "./http_exchange.ts";
import { type AnswerPlan, fillAnswer, type RequestRow, type RequestStamp } from "./state_requests.ts";

/** The caller's id of a write: whoever repeats it gets the same answer. */
export const REQUEST_ID_HEADER = "idempotency-key";
/** The id that a server gives to a write that it sends on, so that it may send it again. */
export const HOP_ID_HEADER = "x-nomad-hop-id";

const ID = /^[\x21-\x7e]{1,255}$/;
const EMPTY: AnswerPlan = { body: null };

/** Thrown by `write` when the request's command had been applied before: `once` answers it. */
class Repeated extends Error {
  constructor(readonly row: RequestRow) {
    super("This request was applied before");
  }
}

/** Whether the request may be sent again although it may have been executed. */
export function carriesId({ request, hopId }: Exchange): boolean {
  return hopId !== "" || request.headers.has(REQUEST_ID_HEADER) || request.headers.has(HOP_ID_HEADER);
}

/** Proposes what the request writes and answers as planned. Further commands of one request go to `propose`. */
export async function write(q: Exchange, { server }: Api, command: Command, plan = EMPTY): Promise<Response> {
  const { stamp } = q;
  q.stamp = null;
  const request: RequestStamp | null = stamp && { ...stamp, time: server.nowNs(), answer: plan };
  const { index, result } = await server.propose(request ? { ...command, request } : command);
  if (result.repeated) throw new Repeated(result.repeated);
  return reply(q, plan.headers, index, fillAnswer(plan, index, result.value));
}

/** Runs a write's handler, or repeats the answer that its id got. */
export async function once(q: Exchange, api: Api, handler: Handler): Promise<Response> {
  const stamp = await readStamp(q);
  if (!stamp) return await handler(q, api);
  const known = () => api.server.state.request(stamp.key);
  const before = known();
  if (before) return repeat(q, before, stamp);
  q.stamp = stamp;
  try {
    return await handler(q, api);
  } catch (error) {
    if (error instanceof Repeated) return repeat(q, error.row, stamp);
    // Its twin may have been applied meanwhile: what this one stumbled over is the twin's doing.
    const meanwhile = error instanceof ApiError ? known() : undefined;
    if (meanwhile) return repeat(q, meanwhile, stamp);
    throw error;
  }
}

type Stamp = NonNullable<Exchange["stamp"]>;

async function readStamp(q: Exchange): Promise<Stamp | null> {
  const { headers } = q.request;
  const given = headers.get(REQUEST_ID_HEADER);
  const id = given ?? (headers.get(HOP_ID_HEADER) ?? (q.hopId || null));
  if (id === null) return null;
  if (!ID.test(id)) {
    throw new ApiError(400, "Idempotency-Key must be 1 to 255 visible ASCII characters: send a UUID");
  }
  // A token comes in either header.
  const token = headers.get("x-nomad-token") ?? headers.get("authorization") ?? "";
  const scope = [token, q.writeNamespace(), id];
  const key = sha256([given === null ? "hop" : "caller", ...scope.map((part) => `${part.length}:${part}`)]);
  if (given === null) return { key, digest: "", hop: true };
  if (q.streams) {
    throw new ApiError(400, "A request whose body streams cannot be repeated: leave Idempotency-Key out");
  }
  const body = await q.body();
  return { key, digest: sha256([q.method, q.path, sortedQuery(q.query), body]) };
}

/** Order and repetition of parameters as they are; how the answer is to look is no part of the question. */
function sortedQuery(query: URLSearchParams): string {
  const kept = [...query].filter(([name]) => name !== "pretty");
  return JSON.stringify(kept.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0));
}

function sha256(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\n");
  return hash.digest("base64url");
}

function repeat(q: Exchange, row: RequestRow, stamp: Stamp): Response {
  if (row.digest !== stamp.digest) {
    throw new ApiError(
      422,
      "This Idempotency-Key was used for another request (method, path, parameters or body differ): " +
        "an id stands for one request, choose a new one",
    );
  }
  if (row.refused) return textReply(row.refused.status, row.refused.message);
  return reply(q, row.headers, row.index, row.body);
}

function reply(
  q: Exchange,
  headers: AnswerPlan["headers"],
  index: number,
  body: RequestRow["body"],
): Response {
  const shown = headers === "none" ? null : index;
  if (body === null) return q.empty(shown);
  if (headers !== "read") return q.written(body, shown);
  return q.reply(q.encode(body), readHeaders({ index, knownLeader: false, lastContactMs: 0 }));
}
