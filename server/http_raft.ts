// /v1/operator/raft/…: who belongs to the log, taking one out, and handing leadership over.
import { isIP } from "node:net";
import { ApiError } from "../core/errors.ts";
import { type Api, byMethod, isWrite, type Route } from "./http_api.ts";
import { bareReply, type Exchange, textReply } from "./http_exchange.ts";

export const raftRoutes: Route[] = [{ path: "/v1/operator/raft/*", scope: "server", methods: raft }];

function raft(q: Exchange, api: Api): Response | Promise<Response> {
  switch (q.after("/v1/operator/raft/")) {
    case "configuration":
      return q.method === "GET" ? configuration(q, api) : bareReply(405);
    case "peer":
      return q.method === "DELETE" ? removePeer(q, api) : textReply(404, "Invalid method");
    case "transfer-leadership":
      return isWrite(q) ? transferLeadership(q, api) : byMethod(q, api, {});
    default:
      return textReply(404, "Invalid method");
  }
}

function configuration(q: Exchange, { server }: Api): Response {
  const servers = server.log.peers().map((peer) => ({
    ID: peer.id,
    Node: server.cluster.nameOf(peer.id),
    Address: peer.rpcAddress,
    Leader: peer.leader,
    Voter: peer.voter,
    RaftProtocol: "3",
  }));
  return q.json200({ Servers: servers, Index: 0 });
}

async function removePeer(q: Exchange, { server }: Api): Promise<Response> {
  const id = q.parameter("id");
  if (id === "" && q.parameter("address") !== "") {
    throw new ApiError(
      400,
      "Removing a peer by address is not supported in the current raft protocol version",
    );
  }
  if (id === "") throw new ApiError(400, "Must specify the peer's ID to remove");
  await server.cluster.removePeer(id);
  return q.empty();
}

async function transferLeadership(q: Exchange, { server }: Api): Promise<Response> {
  const id = q.parameter("id");
  const address = q.parameter("address");
  if (id === "" && address === "") throw new ApiError(400, "must specify id or address");
  if (id !== "" && address !== "") throw new ApiError(400, "must specify either id or address");
  if (id !== "") demandUuid(id);
  else if (!isEndpoint(address)) throw new ApiError(400, "address must be in IP:port format: not an ip:port");
  const { from, to } = await server.cluster.transferTo(id !== "" ? { id } : { address });
  return q.json200({
    Err: null,
    From: { Address: from.rpcAddress, ID: from.id },
    Noop: from.id === to.id,
    To: { Address: to.rpcAddress, ID: to.id },
  });
}

function demandUuid(id: string): void {
  if (id.length !== 36) throw new ApiError(400, "id must be a uuid: uuid string is wrong length");
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) {
    throw new ApiError(400, "id must be a uuid: uuid is improperly formatted");
  }
}

function isEndpoint(text: string): boolean {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text);
  return match !== null && isIP((match[1] ?? match[2])!) !== 0;
}
