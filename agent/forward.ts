// Sending API requests on: to another server over the connection that servers have between them, or, from an agent that
// is only a client, to whichever server its device is connected to (it may be behind NAT and know no API address).
//
// Invariants: a device that is between two connections is waited for, within bounds; a request that may have been
// executed is sent again only when it changes nothing or carries an id, and every write from here carries one.
import { randomUUID } from "node:crypto";
import type { Agent } from "../agent.ts";
import { ApiError, errorText } from "../core/errors.ts";
import { NDJSON } from "../core/ndjson.ts";
import { HopError } from "../server/hops.ts";
import { REQUEST_ID_HEADER } from "../server/http_once.ts";

/** `address`: another server's rpc listener; null: any server that this agent's device is connected to. */
export type Forward = (request: Request, address: string | null) => Promise<Response>;

/** How long a request waits for the device's next connection, before a sixteenth by chance. */
const HOLD_MS = 5_000;
const POLL_MS = 25;
/** Bodies up to this are held, so that they can be sent again; larger ones stream. */
const HELD_MAX_BYTES = 10 * 1024 * 1024;
const TRIES_MAX = 5;

type AgentParts = Pick<Agent, "server" | "client">;

export function forwarder(agent: AgentParts): Forward {
  return (request, address) => {
    if (address === null) return overConnection(agent, request);
    if (!agent.server) return Promise.reject(new HopError("This agent is not a server", "no"));
    return agent.server.hops.fetch(address, request);
  };
}

async function overConnection(agent: AgentParts, request: Request): Promise<Response> {
  const { client } = agent;
  if (!client) throw new ApiError(500, "No cluster leader");
  const next = await repeatable(request);
  for (let tries = 1;; tries++) {
    await connected(client.session, request.signal);
    try {
      return await client.session.fetch(next?.() ?? request);
    } catch (error) {
      if (!next || tries === TRIES_MAX || request.signal.aborted) {
        throw new ApiError(500, `rpc error: ${errorText(error)}`);
      }
    }
  }
}

async function connected(session: { connected: boolean }, signal: AbortSignal): Promise<void> {
  const end = performance.now() + HOLD_MS * (1 + Math.random() / 16);
  while (!session.connected) {
    if (performance.now() >= end || signal.aborted) {
      throw new ApiError(500, "No known servers: this agent is not connected to any");
    }
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
}

/** Makes the request anew for every try; null when it can be sent once only. */
async function repeatable(request: Request): Promise<(() => Request) | null> {
  const { method, signal } = request;
  if (method === "GET") return () => new Request(request.url, { headers: request.headers, signal });
  const isDevices = new URL(request.url).pathname.startsWith("/v1/client/");
  const announced = Number(request.headers.get("content-length") ?? 0);
  const streams = request.headers.get("content-type") === NDJSON || announced > HELD_MAX_BYTES;
  // What a device does is not remembered by ids.
  if (isDevices || streams) return null;
  const body = request.body ? new Uint8Array(await request.arrayBuffer()) : null;
  const headers = new Headers(request.headers);
  if (!headers.has(REQUEST_ID_HEADER)) headers.set(REQUEST_ID_HEADER, randomUUID());
  return () => new Request(request.url, { method, headers, signal, ...(body ? { body } : {}) });
}
