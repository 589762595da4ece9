// Files of the HCL1 family: agent configuration as the examples have it, and the specifications of namespaces, node pools,
// quotas, volumes, variables and ACL policies, in both syntaxes; wrong ones are reported with file, line and key.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  aclPolicyTable,
  block,
  type BlockTable,
  child,
  csiVolumeTable,
  decodeFile,
  freeForm,
  hostVolumeTable,
  JobspecError,
  namespaceTable,
  nodePoolTable,
  optional,
  plain,
  quotaTable,
  stringMap,
  variableSpecTable,
} from "../../jobspec/jobspec.ts";
import { SHARED } from "./cases.ts";

function failure(source: string, table: BlockTable): JobspecError {
  try {
    decodeFile(source, table, { filename: "f.hcl" });
  } catch (error) {
    if (error instanceof JobspecError) return error;
    throw error;
  }
  throw new Error("the file was accepted");
}

const value = (source: string, table: BlockTable) => decodeFile(source, table).value;

const hostVolume = block("host_volume", "A directory for jobs.", {
  labels: [{ name: "name", field: "Name" }],
  attributes: { path: plain("Path", "string", "Where."), read_only: optional("ReadOnly", "bool", "If so.") },
});
const plugin = block("plugin", "A driver's settings.", {
  labels: [{ name: "name", field: "Name" }],
  free: { config: freeForm("Config", "Its own.") },
});
const client = block("client", "The device.", {
  attributes: {
    enabled: optional("Enabled", "bool", "Whether."),
    servers: optional("Servers", "strings", "Where servers are."),
    max_kill_timeout: optional("MaxKillTimeout", "duration", "Longest."),
    port: optional("Port", "uint16", "A port."),
  },
  blocks: { host_volume: child("HostVolumes", "map", () => hostVolume, "Directories.") },
  free: { meta: stringMap("Meta", "Metadata.") },
});
const agent = block("agent configuration", "An agent.", {
  attributes: { name: optional("Name", "string", "Its name.") },
  blocks: {
    client: child("Client", "one", () => client, "The device."),
    plugin: child("Plugins", "list", () => plugin, "Drivers."),
  },
});

test("decodeFile: reads every example of an agent's configuration", () => {
  const directory = join(SHARED, "examples", "agent");
  const files = readdirSync(directory).filter((name) => /\.(hcl|json)$/.test(name));
  assert.ok(files.length >= 3);
  for (const name of files) {
    const source = readFileSync(join(directory, name));
    const { value, positions } = decodeFile(source, agent, { filename: name, ignoreUnknown: true });
    assert.ok(positions.size > 0);
    assert.ok(Object.keys(value).length > 0, name);
  }
});

test("decodeFile: attributes, blocks, labels and free content of an agent's configuration", () => {
  const directory = join(SHARED, "examples", "agent");
  const decoded =
    decodeFile(readFileSync(join(directory, "client.hcl")), agent, { ignoreUnknown: true }).value;
  assert.deepEqual(decoded, {
    Name: "client-a",
    Client: {
      Enabled: true,
      Servers: ["10.0.0.11:4647", "10.0.0.12"],
      Meta: { site: "plant-7", rack: "r2" },
      HostVolumes: { "sensor-data": { Name: "sensor-data", Path: "/srv/sensor-data", ReadOnly: false } },
    },
    Plugins: [
      { Name: "raw_exec", Config: { enabled: true } },
      {
        Name: "podman",
        Config: { socket_path: "unix:///run/podman/podman.sock", volumes: { enabled: true } },
      },
    ],
  });
});

test("decodeFile: an attribute may be a block and a block an attribute; JSON says the same", () => {
  const expected = {
    Client: { Meta: { a: "1", b: "x" }, HostVolumes: { d: { Name: "d", Path: "/d" } } },
  };
  const forms = [
    `client {\n  meta {\n    a = 1\n    b = "x"\n  }\n  host_volume "d" {\n    path = "/d"\n  }\n}`,
    `client = {\n  meta = {\n    a = "1"\n    "b" = "x"\n  }\n  host_volume = {\n    d = {\n      path = "/d"\n    }\n  }\n}`,
    `client { meta { a = "1" } }\nclient { meta { b = "x" } host_volume d { path = "/d" } }`,
    `{"client": {"meta": {"a": 1, "b": "x"}, "host_volume": {"d": {"path": "/d"}}}}`,
    `{"client": [{"meta": [{"a": "1"}, {"b": "x"}], "host_volume": [{"d": [{"path": "/d"}]}]}]}`,
  ];
  for (const form of forms) assert.deepEqual(value(form, agent), expected, form);
});

test("decodeFile: strings are no templates, quoted numbers and booleans are taken", () => {
  assert.deepEqual(
    value(`name = "\${x} %{if} \\"y\\""\nclient {\n  enabled = "1"\n  port = "0x50"\n}`, agent),
    {
      Name: '${x} %{if} "y"',
      Client: { Enabled: true, Port: 80 },
    },
  );
  assert.deepEqual(value(`client {\n  max_kill_timeout = "1h30m"\n  servers = "a"\n}`, agent), {
    Client: { MaxKillTimeout: 5_400_000_000_000, Servers: ["a"] },
  });
});

test("decodeFile: text in quotes and heredocs is taken as it stands", () => {
  const texts: [string, string][] = [
    ['"$${a}"', "$${a}"],
    ['"${upper("x")} ${"}"}"', '${upper("x")} ${"}"}'],
    ['"\\u00e9\\n\\\\"', "é\n\\"],
    ["<<EOT\n a ${b}\n  %{c}\nEOT", " a ${b}\n  %{c}\n"],
    ["<<-EOT\n   a\n    b\n  EOT", "a\n b\n"],
    ["<<EOT\nEOT", ""],
  ];
  for (const [source, text] of texts) assert.equal(value(`name = ${source}\n`, agent)["Name"], text, source);
  assert.deepEqual(value('client {\n  host_volume "${x}" {\n    path = "/d"\n  }\n}', agent), {
    Client: { HostVolumes: { "${x}": { Name: "${x}", Path: "/d" } } },
  });
});

test("decodeFile: positions by path, with labels", () => {
  const { positions } = decodeFile(
    `name = "a"\nclient {\n  host_volume "d" {\n    path = "/d"\n  }\n}\n`,
    agent,
    { filename: "c.hcl" },
  );
  assert.deepEqual(positions.get("client.host_volume.d.path"), { file: "c.hcl", line: 4, column: 5 });
  assert.deepEqual(positions.get("client"), { file: "c.hcl", line: 2, column: 1 });
});

test("decodeFile: all mistakes at once, each with file, line and key", () => {
  const { message } = failure(
    `nam = "a"\nclient {\n  enabled = "maybe"\n  port = 70000\n  servrs = []\n  enabled = true\n  host_volume = 5\n}`,
    agent,
  );
  assert.equal(
    message,
    `f.hcl:1:1: Unknown key; The key "nam" is not known here. Did you mean "name"?
  1 | nam = "a"
    | ^^^
f.hcl:3:13: Wrong type; The value of "client.enabled" must be true or false.
  3 |   enabled = "maybe"
    |             ^^^^^^^
  expected: true or false
f.hcl:4:10: Wrong type; The value of "client.port" must be a whole number from 0 to 65535: 70000 is not between 0 and 65535.
  4 |   port = 70000
    |          ^^^^^
  expected: a whole number from 0 to 65535
f.hcl:5:3: Unknown key; The key "servrs" is not known in client. Did you mean "servers"?
  5 |   servrs = []
    |   ^^^^^^
f.hcl:6:3: Key set twice; The key "client.enabled" was already set on line 3.
  6 |   enabled = true
    |   ^^^^^^^
f.hcl:7:17: Wrong type; The value of "client.host_volume" must be a block.
  7 |   host_volume = 5
    |                 ^
  expected: host_volume { … }`,
  );
});

test("decodeFile: broken syntax, invalid UTF-8 and JSON that is no object are reported as such", () => {
  assert.match(failure("client {", agent).message, /^f\.hcl:1:\d+: /);
  assert.match(failure("{]", agent).message, /^f\.hcl:1:2: /);
  assert.throws(() => decodeFile(Uint8Array.of(0x61, 0xff), agent), JobspecError);
});

test("namespace: everything it may say", () => {
  const source = `name        = "dev"
description = "For tests"
quota       = "small"
meta {
  owner = "ops"
}
capabilities {
  enabled_task_drivers   = ["podman"]
  disabled_network_modes = ["host"]
}
node_pool_config {
  default = "edge"
  allowed = ["edge", "all"]
}
`;
  assert.deepEqual(value(source, namespaceTable), {
    Name: "dev",
    Description: "For tests",
    Quota: "small",
    Meta: { owner: "ops" },
    Capabilities: { EnabledTaskDrivers: ["podman"], DisabledNetworkModes: ["host"] },
    NodePoolConfiguration: { Default: "edge", Allowed: ["edge", "all"] },
  });
  assert.match(failure(`description = "x"`, namespaceTable).message, /argument "name" is required/);
});

test("node pools: several in a file, by label", () => {
  const source = `node_pool "a" {
  description = "A"
  node_identity_ttl = "1h"
  meta {
    x = "y"
  }
  scheduler_config {
    scheduler_algorithm = "spread"
    memory_oversubscription_enabled = true
  }
}
node_pool "b" {}
`;
  assert.deepEqual(value(source, nodePoolTable), {
    NodePools: [
      {
        Name: "a",
        Description: "A",
        NodeIdentityTTL: 3_600_000_000_000,
        Meta: { x: "y" },
        SchedulerConfiguration: { SchedulerAlgorithm: "spread", MemoryOversubscriptionEnabled: true },
      },
      { Name: "b" },
    ],
  });
});

test("quota: limits by region, sizes in MB", () => {
  const source = `name = "q"
limit {
  region = "global"
  region_limit {
    cpu    = 2500
    memory = 1000
    device "nvidia/gpu" {
      count = 2
    }
    storage {
      variables    = "2GiB"
      host_volumes = 300
    }
  }
}
`;
  assert.deepEqual(value(source, quotaTable), {
    Name: "q",
    Limits: [{
      Region: "global",
      RegionLimit: {
        CPU: 2500,
        MemoryMB: 1000,
        Devices: [{ Name: "nvidia/gpu", Count: 2 }],
        Storage: { VariablesMB: 2048, HostVolumesMB: 300 },
      },
    }],
  });
});

test("volumes: sizes with every unit, capabilities, topologies; nonsense is no size", () => {
  const sizes: [string, number][] = [
    ['"10GiB"', 10_737_418_240],
    ['"20G"', 20_000_000_000],
    ['"1.5 kb"', 1500],
    ['"512"', 512],
    ["4096", 4096],
    ['"1 Mi"', 1_048_576],
    ['"7b"', 7],
  ];
  for (const [text, bytes] of sizes) {
    const decoded = value(`name = "v"\ncapacity_min = ${text}`, hostVolumeTable);
    assert.equal(decoded["RequestedCapacityMinBytes"], bytes, text);
  }
  for (const text of ['"many"', '"-1"', '"1constructor"', '"1ib"', '"99999EB"', "true"]) {
    assert.match(
      failure(`name = "v"\ncapacity_min = ${text}`, hostVolumeTable).message,
      /^f\.hcl:2:16: /,
      text,
    );
  }
  const csi = `id = "v"
name = "v"
type = "csi"
plugin_id = "p"
capability {
  access_mode     = "single-node-writer"
  attachment_mode = "file-system"
}
mount_options {
  fs_type     = "ext4"
  mount_flags = ["ro"]
}
topology_request {
  required {
    topology { segments { rack = "r1" } }
    topology { segments { rack = "r2" } }
  }
}
secrets { k = "s" }
`;
  assert.deepEqual(value(csi, csiVolumeTable), {
    ID: "v",
    Name: "v",
    Type: "csi",
    PluginID: "p",
    RequestedCapabilities: [{ AccessMode: "single-node-writer", AttachmentMode: "file-system" }],
    MountOptions: { FSType: "ext4", MountFlags: ["ro"] },
    RequestedTopologies: {
      Required: { Topologies: [{ Segments: { rack: "r1" } }, { Segments: { rack: "r2" } }] },
    },
    Secrets: { k: "s" },
  });
});

test("variable: path and items, whatever their names", () => {
  const source = `path = "nomad/jobs/a"
namespace = "default"
items {
  user = "u"
  "with space" = "x"
  __proto__ = "p"
}
`;
  const decoded = value(source, variableSpecTable);
  assert.equal(decoded["Path"], "nomad/jobs/a");
  assert.deepEqual(Object.entries(decoded["Items"] as object), [
    ["user", "u"],
    ["with space", "x"],
    ["__proto__", "p"],
  ]);
});

test("ACL policy: rules by label, variables inside, the JSON form too", () => {
  const expected = {
    Namespaces: [{
      Name: "default",
      Policy: "read",
      Capabilities: ["alloc-exec"],
      Variables: { Paths: [{ PathSpec: "nomad/*", Capabilities: ["read", "list"] }] },
    }, { Name: "dev-*", Policy: "write" }],
    Agent: { Policy: "read" },
    Operator: { Policy: "write" },
  };
  const native = `namespace "default" {
  policy       = "read"
  capabilities = ["alloc-exec"]
  variables {
    path "nomad/*" {
      capabilities = ["read", "list"]
    }
  }
}
namespace "dev-*" {
  policy = "write"
}
agent {
  policy = "read"
}
operator { policy = "write" }
`;
  assert.deepEqual(value(native, aclPolicyTable), expected);
  const json = {
    namespace: {
      default: {
        policy: "read",
        capabilities: ["alloc-exec"],
        variables: { path: { "nomad/*": { capabilities: ["read", "list"] } } },
      },
      "dev-*": { policy: "write" },
    },
    agent: { policy: "read" },
    operator: { policy: "write" },
  };
  assert.deepEqual(value(JSON.stringify(json), aclPolicyTable), expected);
  assert.match(failure(`agnet {\n  policy = "read"\n}`, aclPolicyTable).message, /Did you mean "agent"\?/);
});
