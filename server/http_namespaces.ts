// /v1/namespaces and /v1/namespace/:name.
import { ApiError } from "../core/errors.ts";
import type { Namespace } from "../core/types.ts";
import { type Api, onWrite, type Route } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { byName, page } from "./http_list.ts";
import { write } from "./http_once.ts";
import { list, map, object, str, struct } from "./json_decode.ts";
import { formatMultiError } from "./multi_error.ts";
import { namespaceView } from "./views.ts";

const PREFIX = "/v1/namespace/";
const NAME = /^[a-zA-Z0-9-]{1,128}$/;
const namespaceShape = struct("api.Namespace", {
  Name: str,
  Description: str,
  Quota: str,
  Capabilities: struct("api.NamespaceCapabilities", {
    EnabledTaskDrivers: list(str),
    DisabledTaskDrivers: list(str),
    EnabledNetworkModes: list(str),
    DisabledNetworkModes: list(str),
  }),
  NodePoolConfiguration: object("api.NamespaceNodePoolConfiguration"),
  VaultConfiguration: object("api.NamespaceVaultConfiguration"),
  ConsulConfiguration: object("api.NamespaceConsulConfiguration"),
  Meta: map(str),
});

export const namespaceRoutes: Route[] = [
  { path: "/v1/namespaces", scope: "server", methods: { GET: listNamespaces } },
  { path: "/v1/namespace", scope: "server", methods: onWrite(writeNamespace) },
  {
    path: "/v1/namespace/*",
    scope: "server",
    methods: { GET: readNamespace, ...onWrite(writeNamespace), DELETE: deleteNamespace },
  },
];

function listNamespaces(q: Exchange, api: Api): Promise<Response> {
  const { options } = q;
  return api.reads.list(q, ["namespaces"], () => {
    const chosen = [...api.server.state.namespaces()].filter((one) => one.Name.startsWith(options.prefix));
    const found = page(options, { items: chosen, order: byName, sorted: true, view: namespaceView });
    return { value: found.items, nextToken: found.nextToken };
  });
}

/** The name in the path; an empty one is refused. */
function nameOf(q: Exchange): string {
  const name = q.after(PREFIX);
  if (name === "") throw new ApiError(400, "Missing Namespace Name");
  return name;
}

function readNamespace(q: Exchange, api: Api): Promise<Response> {
  const name = nameOf(q);
  const { state } = api.server;
  return api.reads.object(q, { keys: [`namespace:${name}`] }, () => {
    const namespace = state.namespace(name);
    if (!namespace) return { index: state.tableIndex("namespaces"), missing: "Namespace not found" };
    return { index: namespace.ModifyIndex, value: () => namespaceView(namespace) };
  });
}

async function writeNamespace(q: Exchange, api: Api): Promise<Response> {
  const inPath = q.path === "/v1/namespace" ? "" : nameOf(q);
  const body = await q.json<Partial<Namespace>>(namespaceShape);
  const name = body.Name ?? "";
  if (inPath !== "" && name !== inPath) throw new ApiError(400, "Namespace name does not match request path");
  checkNamespace(name, body);
  return await write(q, api, {
    kind: "namespace.upsert",
    time: api.server.nowNs(),
    namespaces: [{
      Name: name,
      Description: body.Description ?? "",
      Quota: "",
      Capabilities: body.Capabilities ?? null,
      NodePoolConfiguration: body.NodePoolConfiguration ?? null,
      VaultConfiguration: body.VaultConfiguration ?? null,
      ConsulConfiguration: body.ConsulConfiguration ?? null,
      Meta: body.Meta ?? null,
      CreateIndex: 0,
      ModifyIndex: 0,
    }],
  });
}

function checkNamespace(name: string, body: Partial<Namespace>): void {
  const errors: string[] = [];
  if (!NAME.test(name)) errors.push(`invalid name ${JSON.stringify(name)}. Must match regex ${NAME.source}`);
  if ((body.Description ?? "").length > 256) errors.push("description longer than 256");
  if (errors.length > 0) {
    throw new ApiError(500, `Invalid namespace ${JSON.stringify(name)}: ${formatMultiError(errors)}`);
  }
  if (body.Quota) {
    throw new ApiError(
      500,
      `namespace ${JSON.stringify(name)} using non-existent quota ${JSON.stringify(body.Quota)}`,
    );
  }
}

async function deleteNamespace(q: Exchange, api: Api): Promise<Response> {
  return await write(q, api, { kind: "namespace.delete", names: [nameOf(q)] });
}
