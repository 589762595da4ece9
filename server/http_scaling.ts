// /v1/scaling/…: the scaling policies that stand in jobs, for autoscalers.
import type { ScalingPolicy } from "../core/types.ts";
import { type Api, missing, type Route } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { byId, page } from "./http_list.ts";
import { scalingPolicies } from "./job_scaling.ts";

const PREFIX = "/v1/scaling/policy/";

export const scalingRoutes: Route[] = [
  { path: "/v1/scaling/policies", scope: "server", methods: { GET: listPolicies } },
  { path: "/v1/scaling/policy/*", scope: "server", methods: { GET: readPolicy } },
];

function* allPolicies(api: Api, namespace: string): Iterable<ScalingPolicy> {
  for (const job of api.server.state.jobs(namespace === "*" ? undefined : namespace)) {
    if (!job.Stop) yield* scalingPolicies(job);
  }
}

/** Index of the newest policy: other changes of jobs wake nobody who waits for policies. */
function policyIndex(api: Api): number {
  let index = 1;
  for (const policy of allPolicies(api, "*")) index = Math.max(index, policy.ModifyIndex);
  return index;
}

function listPolicies(q: Exchange, api: Api): Promise<Response> {
  const { options } = q;
  const job = q.parameter("job");
  const type = q.parameter("type");
  return api.reads.object(q, { tables: ["jobs"] }, () => ({
    index: policyIndex(api),
    value: () => {
      const chosen = [...allPolicies(api, options.namespace)].filter((policy) =>
        (job === "" || policy.Target?.Job === job) && (type === "" || policy.Type === type) &&
        policy.ID.startsWith(options.prefix)
      );
      return page(options, { items: chosen, order: byId, view: policyStub }).items;
    },
  }));
}

function policyStub(policy: ScalingPolicy): Record<string, unknown> {
  return {
    ID: policy.ID,
    Enabled: policy.Enabled,
    Type: policy.Type,
    Target: policy.Target,
    CreateIndex: policy.CreateIndex,
    ModifyIndex: policy.ModifyIndex,
  };
}

function readPolicy(q: Exchange, api: Api): Promise<Response> | Response {
  const id = q.after(PREFIX);
  if (id === "") return missing(q, api, policyIndex(api), "policy not found");
  return api.reads.object(q, { tables: ["jobs"] }, () => {
    for (const policy of allPolicies(api, "*")) {
      if (policy.ID === id) return { index: policy.ModifyIndex, value: () => policy };
    }
    return { index: policyIndex(api), missing: "policy not found" };
  });
}
