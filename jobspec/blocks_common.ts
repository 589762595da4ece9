// Tables of blocks that stand at several levels: constraint, affinity, spread, update, restart, reschedule, migrate,
// network, volume mounts, vault, consul, secret, identity.
import type { Json } from "./json.ts";
import {
  block,
  type BlockTable,
  child,
  type FinishContext,
  freeForm,
  optional,
  plain,
  type RestoredRecord,
  stringMap,
} from "./table.ts";

const LABEL_NAME = [{ name: "name", field: "Name" }] as const;

const COMPARISONS = {
  attribute: plain("LTarget", "string", "What is compared: a reference such as ${attr.kernel.name}."),
  operator: plain("Operand", "string", "How it is compared.", {
    values: [
      "=",
      "!=",
      ">",
      ">=",
      "<",
      "<=",
      "regexp",
      "version",
      "semver",
      "set_contains",
      "set_contains_all",
      "set_contains_any",
      "is_set",
      "is_not_set",
      "distinct_hosts",
      "distinct_property",
    ],
  }),
  value: plain("RTarget", "string", "What it is compared with."),
  version: plain("", "string", 'Short for operator = "version" with this value.'),
  semver: plain("", "string", 'Short for operator = "semver" with this value.'),
  regexp: plain("", "string", 'Short for operator = "regexp" with this value.'),
  set_contains: plain("", "string", 'Short for operator = "set_contains" with this value.'),
  set_contains_all: plain(
    "",
    "string",
    'Short for operator = "set_contains_all" with this value (affinity only).',
  ),
  set_contains_any: plain(
    "",
    "string",
    'Short for operator = "set_contains_any" with this value (affinity only).',
  ),
} as const;

type Sugar = readonly string[];

/** The sugar attribute that is set and comes last in `order` decides operator and value. */
function applySugar(record: Record<string, Json>, order: Sugar): Record<string, Json> {
  const out: Record<string, Json> = {
    LTarget: record["LTarget"]!,
    RTarget: record["RTarget"]!,
    Operand: record["Operand"] === "" ? "=" : record["Operand"]!,
  };
  for (const name of order) {
    const value = record[name];
    if (typeof value !== "string" || value === "") continue;
    out["Operand"] = name;
    out["RTarget"] = value;
  }
  return out;
}

/** Printed without sugar; "=" is what no operator means. */
function restoreComparison(record: Record<string, Json>): RestoredRecord {
  return { record: { ...record, Operand: record["Operand"] === "=" ? "" : record["Operand"]! } };
}

const CONSTRAINT_SUGAR = ["version", "semver", "regexp", "set_contains"];

export const constraint: BlockTable = block("constraint", "Nodes that do not match are not considered.", {
  generic: true,
  attributes: {
    ...COMPARISONS,
    is_set: plain("", "string", 'Accepted and ignored, as in Nomad; use operator = "is_set".'),
    is_not_set: plain("", "string", 'Accepted and ignored, as in Nomad; use operator = "is_not_set".'),
    distinct_hosts: plain("", "bool", "Whether allocations of the group must be on different nodes."),
    distinct_property: plain(
      "",
      "string",
      "A property of which only `value` (1) allocations may share a value.",
    ),
  },
  finish(record, { given }) {
    const out = applySugar(record, CONSTRAINT_SUGAR);
    if (given.has("distinct_hosts")) {
      out["Operand"] = "distinct_hosts";
      out["RTarget"] = String(record["distinct_hosts"] === true);
    }
    const property = record["distinct_property"];
    if (typeof property === "string" && property !== "") {
      out["Operand"] = "distinct_property";
      out["LTarget"] = property;
    }
    return out;
  },
  restore: restoreComparison,
});

export const affinity: BlockTable = block(
  "affinity",
  "Nodes that match are preferred (or, with a negative weight, avoided).",
  {
    generic: true,
    attributes: {
      ...COMPARISONS,
      weight: optional("Weight", "int8", "From -100 to 100; 50 if not given."),
    },
    finish: (record) => ({
      ...applySugar(record, [
        "version",
        "semver",
        "regexp",
        "set_contains_any",
        "set_contains_all",
        "set_contains",
      ]),
      Weight: record["Weight"] ?? null,
    }),
  },
);

const target: BlockTable = block("target", "How much of the spread a value should get.", {
  labels: [{ name: "", field: "Value" }],
  attributes: { percent: plain("Percent", "uint8", "Percent of all allocations.") },
});

export const spread: BlockTable = block("spread", "Spreads allocations over the values of an attribute.", {
  attributes: {
    attribute: plain("Attribute", "string", "The attribute: a reference such as ${node.datacenter}."),
    weight: optional("Weight", "int8", "Importance against other spreads, 0 to 100; 50 if not given."),
  },
  blocks: { target: child("SpreadTarget", "list", () => target, "Wanted shares by value.") },
});

export const update: BlockTable = block("update", "How a new version replaces the old one.", {
  attributes: {
    stagger: optional("Stagger", "duration", "Pause between nodes of a system job."),
    max_parallel: optional("MaxParallel", "int", "Allocations updated at the same time."),
    health_check: optional("HealthCheck", "string", "What decides health.", {
      values: ["checks", "task_states", "manual"],
    }),
    min_healthy_time: optional("MinHealthyTime", "duration", "How long an allocation must be healthy."),
    healthy_deadline: optional(
      "HealthyDeadline",
      "duration",
      "When an allocation that is not healthy has failed.",
    ),
    progress_deadline: optional(
      "ProgressDeadline",
      "duration",
      "When a deployment without progress has failed.",
    ),
    canary: optional("Canary", "int", "Allocations of the new version that run beside the old ones first."),
    auto_revert: optional(
      "AutoRevert",
      "bool",
      "Whether a failed deployment goes back to the last stable version.",
    ),
    auto_promote: optional("AutoPromote", "bool", "Whether healthy canaries are promoted by themselves."),
  },
});

export const migrate: BlockTable = block("migrate", "How allocations leave a node that is drained.", {
  attributes: {
    max_parallel: optional("MaxParallel", "int", "Allocations moved at the same time."),
    health_check: optional("HealthCheck", "string", "What decides health.", {
      values: ["checks", "task_states"],
    }),
    min_healthy_time: optional("MinHealthyTime", "duration", "How long a moved allocation must be healthy."),
    healthy_deadline: optional("HealthyDeadline", "duration", "When a moved allocation must be healthy."),
  },
});

export const reschedule: BlockTable = block("reschedule", "How failed allocations are placed again.", {
  attributes: {
    attempts: optional("Attempts", "int", "Attempts within the interval."),
    interval: optional("Interval", "duration", "The window of attempts."),
    delay: optional("Delay", "duration", "Pause before the next attempt."),
    delay_function: optional("DelayFunction", "string", "How the pause grows.", {
      values: ["constant", "exponential", "fibonacci"],
    }),
    max_delay: optional("MaxDelay", "duration", "The longest pause."),
    unlimited: optional("Unlimited", "bool", "Whether attempts are not counted."),
  },
});

export const restart: BlockTable = block("restart", "How failed tasks are restarted on their node.", {
  attributes: {
    attempts: optional("Attempts", "int", "Restarts within the interval."),
    interval: optional("Interval", "duration", "The window of restarts."),
    delay: optional("Delay", "duration", "Pause before a restart."),
    mode: optional("Mode", "string", "What happens when the attempts are used up.", {
      values: ["delay", "fail"],
    }),
    render_templates: optional("RenderTemplates", "bool", "Whether templates are rendered again first."),
  },
});

const port: BlockTable = block("port", "A port of the network.", {
  labels: [{ name: "", field: "Label" }],
  attributes: {
    static: plain("Value", "int", "The port on the host; a dynamic one if not given."),
    to: plain("To", "int", "The port inside the network namespace; -1 for the same."),
    host_network: plain("HostNetwork", "string", "Name of the host network."),
    ignore_collision: plain("IgnoreCollision", "bool", "Whether several allocations of a node may have it."),
  },
});

const dns: BlockTable = block("dns", "Name resolution inside the network namespace.", {
  attributes: {
    servers: plain("Servers", "strings", "Name servers."),
    searches: plain("Searches", "strings", "Search domains."),
    options: plain("Options", "strings", "Resolver options."),
  },
});

const cni: BlockTable = block("cni", "Arguments for CNI plugins.", {
  attributes: { args: plain("Args", "stringMap", "The arguments.") },
});

export const network: BlockTable = block("network", "The network of a group or task.", {
  attributes: {
    mode: plain("Mode", "string", "none, bridge, host or cni/<name>."),
    device: plain("Device", "string", "Legacy: network device."),
    cidr: plain("CIDR", "string", "Legacy: address range."),
    ip: plain("IP", "string", "Legacy: address."),
    hostname: plain("Hostname", "string", "Host name inside the network namespace."),
    mbits: optional("MBits", "int", "Legacy: bandwidth."),
  },
  blocks: {
    port: child("Ports", "list", () => port, "Ports."),
    reserved_ports: child(
      "ReservedPorts",
      "list",
      () => port,
      "Legacy form of static ports; ignored beside port blocks.",
    ),
    dns: child("DNS", "one", () => dns, "Name resolution."),
    cni: child("CNI", "one", () => cni, "CNI arguments."),
  },
  finish(record) {
    const { Ports: ports, ...rest } = record;
    if (!Array.isArray(ports)) return { ...rest, DynamicPorts: null };
    const isStatic = (entry: Json) => ((entry as Record<string, Json>)["Value"] as number) > 0;
    const fixed = ports.filter(isStatic);
    const dynamic = ports.filter((entry) => !isStatic(entry));
    return {
      ...rest,
      ReservedPorts: fixed.length > 0 ? fixed : null,
      DynamicPorts: dynamic.length > 0 ? dynamic : null,
    };
  },
  restore(record) {
    const { ReservedPorts: reserved, DynamicPorts: dynamic, ...rest } = record;
    const fixed = Array.isArray(reserved) ? reserved : [];
    const isFixed = (entry: Json) => ((entry as Record<string, Json>)["Value"] as number) > 0;
    // A reserved port without a number can only have come from the legacy block.
    if (!Array.isArray(dynamic) && !fixed.every(isFixed)) return { record };
    const ports = [...fixed, ...(Array.isArray(dynamic) ? dynamic : [])];
    return { record: { ...rest, Ports: ports.length > 0 ? ports : null } };
  },
});

export const volumeMount: BlockTable = block(
  "volume_mount",
  "Where a volume of the group is mounted in a task.",
  {
    attributes: {
      volume: optional("Volume", "string", "Label of the group's volume."),
      destination: optional("Destination", "string", "Path inside the task."),
      read_only: optional("ReadOnly", "bool", "Whether it is mounted read-only."),
      propagation_mode: optional("PropagationMode", "string", "Mount propagation.", {
        values: ["private", "host-to-task", "bidirectional"],
      }),
      selinux_label: optional("SELinuxLabel", "string", "SELinux label."),
    },
  },
);

export const vault: BlockTable = block("vault", "The task's access to Vault.", {
  attributes: {
    policies: plain("Policies", "strings", "Policies of the token."),
    role: plain("Role", "string", "Role of the workload identity."),
    namespace: optional("Namespace", "string", "Vault namespace."),
    cluster: plain("Cluster", "string", "Name of the Vault cluster."),
    env: optional("Env", "bool", "Whether VAULT_TOKEN is set.", { absent: true }),
    disable_file: optional("DisableFile", "bool", "Whether the token is not written to a file.", {
      absent: false,
    }),
    change_mode: optional("ChangeMode", "string", "What happens when the token changes.", {
      absent: "restart",
      values: ["noop", "signal", "restart"],
    }),
    change_signal: optional("ChangeSignal", "string", "The signal of change_mode signal."),
    allow_token_expiration: optional("AllowTokenExpiration", "bool", "Whether the token may expire."),
  },
});

export const consul: BlockTable = block(
  "consul",
  "The Consul cluster, namespace and partition of services.",
  {
    attributes: {
      cluster: plain("Cluster", "string", "Name of the Consul cluster."),
      namespace: plain("Namespace", "string", "Consul namespace."),
      partition: plain("Partition", "string", "Consul admin partition."),
    },
  },
);

export const secret: BlockTable = block("secret", "A secret that a provider reads when the task starts.", {
  labels: LABEL_NAME,
  attributes: {
    provider: plain("Provider", "string", "nomad, vault or the name of a plugin."),
    path: plain("Path", "string", "Where the provider finds it."),
  },
  free: {
    config: freeForm("Config", "Configuration of the provider."),
    env: stringMap("Env", "Environment of the provider's plugin."),
  },
});

export const identity: BlockTable = block("identity", "A workload identity: a signed token for the task.", {
  attributes: {
    name: plain("Name", "string", "Its name; the default one if not given."),
    aud: plain("Audience", "strings", "Audiences of the token."),
    change_mode: plain("ChangeMode", "string", "What happens when the token changes.", {
      values: ["noop", "signal", "restart"],
    }),
    change_signal: plain("ChangeSignal", "string", "The signal of change_mode signal."),
    env: plain("Env", "bool", "Whether the token is in the environment."),
    file: plain("File", "bool", "Whether the token is written to a file."),
    filepath: plain("Filepath", "string", "The file's path."),
    service_name: plain("ServiceName", "string", "The service it is for."),
    ttl: plain("TTL", "duration", "How long a token is good."),
    extra_claims: plain("ExtraClaims", "strings", "Names of more claims of the token."),
  },
});

/** Scaling of a group or of a task's cpu or memory; the record is the same. */
export function scaling(options: {
  readonly labels: BlockTable["labels"];
  readonly required: boolean;
  readonly finish: (record: Record<string, Json>, context: FinishContext) => Record<string, Json>;
  readonly restore?: (record: Record<string, Json>) => RestoredRecord;
}): BlockTable {
  return block("scaling", "Limits and policy for an autoscaler.", {
    labels: options.labels,
    attributes: {
      enabled: optional("Enabled", "bool", "Whether the policy is active."),
      min: optional("Min", "int", "Least value."),
      max: optional("Max", "int", "Greatest value.", { required: options.required }),
      type: plain("Type", "string", "Kind of policy."),
    },
    free: { policy: freeForm("Policy", "The policy, in the autoscaler's own terms.") },
    constants: { CreateIndex: 0, ID: "", ModifyIndex: 0, Namespace: "", Target: null },
    finish: options.finish,
    ...(options.restore && { restore: options.restore }),
  });
}
