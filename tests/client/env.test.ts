import assert from "node:assert/strict";
import { test } from "node:test";
import { buildTaskEnv } from "../../client/env.ts";
import type { Node } from "../../core/types.ts";
import { makeGroup, makeJob, makeResources, makeTask } from "./fixtures.ts";

const node = {
  ID: "4f42ada6-4da2-2799-2153-a53c68857f70",
  Name: "edge-1",
  Datacenter: "dc1",
  NodeClass: "gateway",
  NodePool: "default",
  Attributes: { "os.name": "debian" },
  Meta: { rack: "r1" },
} as unknown as Node;

function build(fields: Parameters<typeof makeTask>[0] = {}, hostEnv: Record<string, string> = {}) {
  const task = makeTask(fields);
  const group = makeGroup([task, makeTask({ Name: "side" })], { Meta: { tier: "group", only: "g" } });
  const job = makeJob(group, { Meta: { tier: "job", "a.b-c": "dots" } });
  const resources = makeResources(group, [{ label: "http", value: 21554 }, {
    label: "my-admin",
    value: 22001,
  }]);
  return buildTaskEnv({
    node,
    region: "global",
    alloc: {
      ID: "01ea63cc-1026-f806-bfac-bf9f6fb5716c",
      Name: "web.app[3]",
      Namespace: "default",
      Job: job,
      AllocatedResources: resources,
    },
    group,
    task,
    dirs: { alloc: "/a/alloc", local: "/a/web/local", secrets: "/a/web/secrets" },
    hostEnv,
    templateEnv: { FROM_TEMPLATE: "t", NOMAD_DC: "template wins" },
  });
}

test("buildTaskEnv makes Nomad's variables", () => {
  const { env } = build({ Meta: { tier: "task" } });
  const expected: Record<string, string> = {
    NOMAD_ALLOC_DIR: "/a/alloc",
    NOMAD_TASK_DIR: "/a/web/local",
    NOMAD_SECRETS_DIR: "/a/web/secrets",
    NOMAD_ALLOC_ID: "01ea63cc-1026-f806-bfac-bf9f6fb5716c",
    NOMAD_SHORT_ALLOC_ID: "01ea63cc",
    NOMAD_ALLOC_NAME: "web.app[3]",
    NOMAD_ALLOC_INDEX: "3",
    NOMAD_TASK_NAME: "web",
    NOMAD_GROUP_NAME: "app",
    NOMAD_JOB_ID: "web",
    NOMAD_JOB_NAME: "web",
    NOMAD_DC: "template wins",
    NOMAD_REGION: "global",
    NOMAD_NAMESPACE: "default",
    NOMAD_CPU_LIMIT: "100",
    NOMAD_MEMORY_LIMIT: "64",
    NOMAD_IP_http: "127.0.0.1",
    NOMAD_PORT_http: "21554",
    NOMAD_ADDR_http: "127.0.0.1:21554",
    NOMAD_HOST_IP_http: "127.0.0.1",
    NOMAD_HOST_PORT_http: "21554",
    NOMAD_HOST_ADDR_http: "127.0.0.1:21554",
    NOMAD_PORT_my_admin: "22001",
    NOMAD_META_tier: "task",
    NOMAD_META_TIER: "task",
    NOMAD_META_only: "g",
    NOMAD_META_a_b_c: "dots",
    NOMAD_META_A_B_C: "dots",
    FROM_TEMPLATE: "t",
  };
  for (const [key, value] of Object.entries(expected)) assert.equal(env[key], value, key);
});

test("env block: names the host's, the templates' and its own variables in any order; templates win", () => {
  const { env } = build(
    {
      Env: {
        PATH: "/opt/bin:${PATH}",
        A: "<${B}>",
        B: "<${C}>",
        C: "c",
        SELF: "<${SELF}>",
        T: "${FROM_TEMPLATE}",
        FROM_TEMPLATE: "job",
        RING: "${RING2}",
        RING2: "${RING}",
      },
    },
    { HOME: "/root", PATH: "/bin" },
  );
  assert.equal(env.PATH, "/opt/bin:/bin");
  assert.equal(env.A, "<<c>>");
  assert.equal(env.SELF, "<${SELF}>");
  assert.equal(env.FROM_TEMPLATE, "t");
  assert.equal(env.RING, "${RING}");
  assert.equal(env.NOMAD_CPU_CORES, "");
});

test("buildTaskEnv interpolates env, config and keeps what it does not know", () => {
  const { env, deep, text } = build(
    { Env: { URL: "http://${NOMAD_ADDR_http}/${attr.os.name}/${meta.rack}", PATH: "job", "dot.key": "v" } },
    { HOME: "/root", PATH: "host", HOST_SECRET: "s" },
  );
  assert.equal(env.URL, "http://127.0.0.1:21554/debian/r1");
  assert.equal(env.PATH, "job");
  assert.equal(env.HOME, "/root");
  assert.equal(env.dot_key, "v");
  assert.deepEqual(
    deep({ args: ["${NOMAD_PORT_http}", "${node.unique.name}", 5], nested: [{ a: '${env["URL"]}' }] }),
    { args: ["21554", "edge-1", 5], nested: [{ a: "http://127.0.0.1:21554/debian/r1" }] },
  );
  assert.equal(
    text("${node.class} ${node.datacenter} ${node.region} ${node.pool}"),
    "gateway dc1 global default",
  );
  assert.equal(text("v${NOMAD_unknown} $HOME ${HOST_SECRET}"), "v${NOMAD_unknown} $HOME ${HOST_SECRET}");
});
