// Sending API requests on: to the leader's HTTP address from a server, over the device's own connection from an agent
// that is only a client (it may be behind NAT and know no API address of any server).
import type { Agent } from "../agent.ts";
import { ApiError, errorText } from "../core/errors.ts";
import { FORWARDED_HEADER } from "../server/http.ts";

/** `address` null: any server that this agent knows. */
export type Forward = (request: Request, address: string | null) => Promise<Response>;

export function forwarder(agent: Agent): Forward {
  return async (request, address) => {
    try {
      return address === null ? await overConnection(agent, request) : await overHttp(request, address);
    } catch (error) {
      if (error instanceof ApiError) throw error;
      throw new ApiError(500, `rpc error: ${errorText(error)}`);
    }
  };
}

function overConnection(agent: Agent, request: Request): Promise<Response> {
  if (!agent.client) throw new ApiError(500, "No cluster leader");
  if (!agent.client.session.connected) {
    throw new ApiError(500, "No known servers: this agent is not connected to any");
  }
  return agent.client.session.fetch(request);
}

async function overHttp(request: Request, address: string): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const headers = new Headers(request.headers);
  headers.set(FORWARDED_HEADER, "1");
  headers.delete("host");
  // Bytes come back as they were sent; asking for plain ones keeps fetch from unpacking them under our feet.
  headers.set("accept-encoding", "identity");
  const init: RequestInit & { duplex?: "half" } = {
    method: request.method,
    headers,
    signal: request.signal,
    redirect: "manual",
  };
  if (request.body) {
    init.body = request.body;
    init.duplex = "half";
  }
  return await fetch(`http://${address}${pathname}${search}`, init);
}
