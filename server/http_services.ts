// /v1/services and /v1/service/:name: registrations of services that use the built-in discovery.
import { createHash } from "node:crypto";
import { ApiError } from "../core/errors.ts";
import type { ServiceRegistration } from "../core/types.ts";
import { type Api, byMethod, type Route, wrongMethod } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { byNamespacedId, type Order, page } from "./http_list.ts";
import { write } from "./http_once.ts";

const PREFIX = "/v1/service/";

export const serviceRoutes: Route[] = [
  { path: "/v1/services", scope: "server", methods: { GET: listServices } },
  { path: "/v1/service/*", scope: "server", methods: serviceRoute },
];

function serviceRoute(q: Exchange, api: Api): Response | Promise<Response> {
  const parts = q.after(PREFIX).split("/");
  if (parts.length === 2) return q.method === "DELETE" ? deleteService(q, api, parts[1]!) : wrongMethod();
  if (parts.length > 2) throw new ApiError(400, "invalid URI");
  return byMethod(q, api, { GET: readService });
}

interface ServiceStub {
  Namespace: string;
  ServiceName: string;
  Tags: Set<string>;
}

const byServiceName: Order<ServiceStub> = {
  compare: (a, b) =>
    a.Namespace < b.Namespace ? -1 : a.Namespace > b.Namespace ? 1 : nameOrder(a, b.ServiceName),
  token: (stub) => `${stub.Namespace}.${stub.ServiceName}`,
  compareToken(stub, token) {
    const dot = token.indexOf(".");
    const namespace = token.slice(0, Math.max(dot, 0));
    if (stub.Namespace !== namespace) return stub.Namespace < namespace ? -1 : 1;
    return nameOrder(stub, token.slice(dot + 1));
  },
};

function nameOrder(stub: ServiceStub, name: string): number {
  return stub.ServiceName < name ? -1 : stub.ServiceName > name ? 1 : 0;
}

/** Names and tags, grouped by namespace. */
function listServices(q: Exchange, api: Api): Promise<Response> {
  const { options } = q;
  const { state } = api.server;
  return api.reads.list(q, ["service_registrations"], () => {
    const stubs = new Map<string, ServiceStub>();
    for (const service of state.services(options.namespace === "*" ? undefined : options.namespace)) {
      if (!service.ServiceName.startsWith(options.prefix)) continue;
      const key = `${service.Namespace}\0${service.ServiceName}`;
      const stub = stubs.get(key) ??
        { Namespace: service.Namespace, ServiceName: service.ServiceName, Tags: new Set() };
      for (const tag of service.Tags ?? []) stub.Tags.add(tag);
      stubs.set(key, stub);
    }
    const found = page(options, {
      items: stubs.values(),
      order: byServiceName,
      view: (stub) => stub,
      record: (stub) => ({ ...stub, Tags: [...stub.Tags] }),
    });
    return { value: groupByNamespace(found.items as ServiceStub[]), nextToken: found.nextToken };
  });
}

function groupByNamespace(stubs: readonly ServiceStub[]): unknown[] {
  const groups = new Map<string, unknown[]>();
  for (const { Namespace, ServiceName, Tags } of stubs) {
    const services = groups.get(Namespace) ?? [];
    services.push({ ServiceName, Tags: [...Tags] });
    groups.set(Namespace, services);
  }
  return [...groups].map(([Namespace, Services]) => ({ Namespace, Services }));
}

function readService(q: Exchange, api: Api): Promise<Response> {
  const name = q.after(PREFIX);
  if (name === "") throw new ApiError(400, "missing service name");
  const { options } = q;
  const choose = readChoose(q.parameter("choose"));
  return api.reads.list(q, ["service_registrations"], () => {
    const found = page<ServiceRegistration>(options, {
      items: api.server.state.servicesByName(options.namespace, name),
      order: byNamespacedId,
      view: (service) => service,
    });
    if (!choose) return { value: found.items, nextToken: found.nextToken };
    return { value: chooseServices(found.items as ServiceRegistration[], choose) };
  });
}

function readChoose(text: string): { count: number; key: string } | null {
  if (text === "") return null;
  const match = /^(\d+)\|(.+)$/.exec(text);
  if (!match) {
    throw new ApiError(
      400,
      "failed to choose services: Parameter for choose must be in form '<number>|<key>'",
    );
  }
  return { count: Number(match[1]), key: match[2]! };
}

/** The same few for the same key as long as they live (rendezvous hashing). */
function chooseServices(
  services: readonly ServiceRegistration[],
  choose: { count: number; key: string },
): ServiceRegistration[] {
  const weight = (service: ServiceRegistration) =>
    createHash("sha256").update(`${service.ID}\0${choose.key}`).digest("hex");
  return services.map((service) => ({ service, weight: weight(service) }))
    .sort((a, b) => a.weight < b.weight ? -1 : 1)
    .slice(0, choose.count)
    .map(({ service }) => service);
}

async function deleteService(q: Exchange, api: Api, id: string): Promise<Response> {
  const { namespace } = q.options;
  const { server } = api;
  let known = false;
  for (const service of server.state.services(namespace)) if (service.ID === id) known = true;
  if (!known) throw new ApiError(500, "service registration not found");
  return await write(q, api, { kind: "service.delete", ids: [id] });
}
