// What this cluster does not have: Nomad's enterprise routes, and what later rooms bring (ACL, variables, volumes,
// keyring, snapshots). Lists of it are empty, reading one is "not found", ACL says that it is off, as a fresh Nomad
// does; whatever would have to change something is refused with 501 and the reason.
import { ApiError } from "../core/errors.ts";
import { type Api, type Handler, missing, type Route, wrongMethod } from "./http_api.ts";
import { bareReply, type Exchange, textReply } from "./http_exchange.ts";

const ENTERPRISE = [
  "/v1/sentinel/policies",
  "/v1/sentinel/policy/*",
  "/v1/quotas",
  "/v1/quota-usages",
  "/v1/quota",
  "/v1/quota/*",
  "/v1/recommendation",
  "/v1/recommendations",
  "/v1/recommendations/apply",
  "/v1/recommendation/*",
  "/v1/operator/utilization",
];

const enterprise: Handler = () => textReply(501, "Nomad Enterprise only endpoint");

/** A list of nothing, answered like any read. */
const emptyList: Handler = (q, api) => q.read([], api.reads.meta(q, 1));

function notBuilt(what: string, instead: string): Handler {
  return () => textReply(501, `${what} not supported by this server yet: ${instead}`);
}

const aclOff: Handler = () => textReply(400, "ACL support disabled");
const noVariables = notBuilt(
  "Variables are",
  "put configuration into the job's env, meta or template blocks",
);
const noVolumes = notBuilt("Creating and registering volumes is", "use host_volume blocks of the clients");
const noKeys = notBuilt("The keyring is", "nothing in the cluster is signed or encrypted with root keys");

export const absentRoutes: Route[] = [
  ...ENTERPRISE.map((path): Route => ({ path, scope: "agent", methods: enterprise })),
  {
    path: "/v1/operator/license",
    scope: "agent",
    methods: (q) => q.method === "GET" ? bareReply(204) : textReply(501, "Nomad Enterprise only endpoint"),
  },
  { path: "/v1/acl/token/self", scope: "server", methods: { GET: ownToken } },
  { path: "/v1/acl/*", scope: "agent", methods: aclOff },
  { path: "/v1/vars", scope: "server", methods: { GET: emptyList } },
  { path: "/v1/var/*", scope: "server", methods: variable },
  { path: "/v1/volumes", scope: "server", methods: { GET: volumes, PUT: noVolumes, POST: noVolumes } },
  { path: "/v1/volumes/external", scope: "server", methods: { GET: noSuchPlugin } },
  {
    path: "/v1/volumes/snapshot",
    scope: "server",
    methods: { GET: noSuchPlugin, PUT: noVolumes, POST: noVolumes, DELETE: noVolumes },
  },
  { path: "/v1/volumes/claims", scope: "server", methods: { GET: emptyList } },
  {
    path: "/v1/volumes/claim/*",
    scope: "server",
    methods: { DELETE: () => textReply(500, "task group volume claim does not exist") },
  },
  { path: "/v1/volume/*", scope: "server", methods: volume },
  { path: "/v1/plugins", scope: "server", methods: { GET: plugins } },
  {
    path: "/v1/plugin/csi/*",
    scope: "server",
    methods: { GET: (q, api) => missing(q, api, 0, "plugin not found") },
  },
  { path: "/v1/operator/keyring/*", scope: "server", methods: noKeys },
  { path: "/v1/operator/upgrade-check/*", scope: "server", methods: { GET: upgradeCheck } },
  { path: "/.well-known/jwks.json", scope: "server", methods: noKeys },
  {
    path: "/.well-known/openid-configuration",
    scope: "agent",
    methods: () => textReply(404, "OIDC Discovery endpoint disabled"),
  },
];

/** With ACLs off everybody is this token. */
function ownToken(q: Exchange, api: Api): Response {
  return q.read({
    AccessorID: "acls-disabled",
    SecretID: "",
    Name: "ACLs disabled token",
    Type: "client",
    Policies: null,
    Roles: null,
    Global: false,
    Hash: null,
    CreateTime: "0001-01-01T00:00:00Z",
    ExpirationTime: null,
    ExpirationTTL: "",
    CreateIndex: 0,
    ModifyIndex: 0,
  }, api.reads.meta(q, 0));
}

function variable(q: Exchange, api: Api): Response | Promise<Response> {
  if (!["GET", "PUT", "POST", "DELETE"].includes(q.method)) return wrongMethod(400);
  if (q.after("/v1/var/") === "") throw new ApiError(400, "missing variable path");
  return q.method === "GET" ? missing(q, api, 1, "variable not found") : noVariables(q, api);
}

function volumes(q: Exchange, api: Api): Response | Promise<Response> {
  switch (q.parameter("type")) {
    case "":
      return q.json200([]);
    case "csi":
      return q.read([], api.reads.meta(q, 0));
    case "host":
      return emptyList(q, api);
    default:
      return textReply(404, "resource not found");
  }
}

function noSuchPlugin(): Response {
  return textReply(500, "no such plugin");
}

function volume(q: Exchange, api: Api): Response | Promise<Response> {
  const [kind = "", id = "", action] = q.after("/v1/volume/").split("/");
  if (kind !== "csi" && kind !== "host") return textReply(404, "resource not found");
  if (q.method === "GET") return missing(q, api, kind === "host" ? 1 : 0, "volume not found");
  if (q.method === "DELETE") {
    if (action === "detach" && q.parameter("node") === "") throw new ApiError(400, "detach requires node ID");
    return textReply(500, kind === "host" ? `no such volume: ${id}` : `volume not found: ${id}`);
  }
  return q.method === "PUT" || q.method === "POST" ? noVolumes(q, api) : wrongMethod();
}

function plugins(q: Exchange, api: Api): Response | Promise<Response> {
  const type = q.parameter("type");
  if (type === "") return q.json200([]);
  return type === "csi" ? emptyList(q, api) : q.empty();
}

function upgradeCheck(q: Exchange, api: Api): Response {
  if (q.after("/v1/operator/upgrade-check/") !== "vault-workload-identity") {
    return textReply(404, `Path ${q.path} not found`);
  }
  const meta = api.reads.meta(q, api.server.state.index);
  return q.read({
    JobsWithoutVaultIdentity: [],
    OutdatedNodes: [],
    VaultTokens: null,
    Index: meta.index,
    LastContact: meta.lastContactMs,
    KnownLeader: meta.knownLeader,
    NextToken: "",
  }, meta);
}
