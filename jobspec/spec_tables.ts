// Tables of the other files that people write: namespaces, node pools, quotas, volumes, variables, ACL policies. Read with
// decodeFile; the records have the API's field names.
import { block, type BlockTable, child, freeForm, optional, plain, stringMap } from "./table.ts";

const allowed = (name: string, doc: string): BlockTable =>
  block(name, doc, {
    attributes: {
      default: plain("Default", "string", "What is used when a job names none."),
      allowed: optional("Allowed", "strings", "What jobs may name; all if not given."),
      denied: optional("Denied", "strings", "What jobs may not name."),
    },
  });

const namespaceCapabilities: BlockTable = block("capabilities", "What jobs of the namespace may use.", {
  attributes: {
    enabled_task_drivers: optional(
      "EnabledTaskDrivers",
      "strings",
      "Task drivers that may be used; all if not given.",
    ),
    disabled_task_drivers: optional("DisabledTaskDrivers", "strings", "Task drivers that may not be used."),
    enabled_network_modes: optional("EnabledNetworkModes", "strings", "Network modes that may be used."),
    disabled_network_modes: optional(
      "DisabledNetworkModes",
      "strings",
      "Network modes that may not be used.",
    ),
  },
});

const namespaceNodePools = allowed("node_pool_config", "Node pools of the namespace's jobs.");
const namespaceVault = allowed("vault", "Vault clusters of the namespace's jobs.");
const namespaceConsul = allowed("consul", "Consul clusters of the namespace's jobs.");

export const namespaceTable: BlockTable = block("namespace specification", "A namespace.", {
  attributes: {
    name: plain("Name", "string", "Its name.", { required: true }),
    description: plain("Description", "string", "What it is for."),
    quota: plain("Quota", "string", "Its quota."),
  },
  blocks: {
    capabilities: child("Capabilities", "one", () => namespaceCapabilities, "What its jobs may use."),
    node_pool_config: child("NodePoolConfiguration", "one", () => namespaceNodePools, "Node pools."),
    vault: child("VaultConfiguration", "one", () => namespaceVault, "Vault clusters."),
    consul: child("ConsulConfiguration", "one", () => namespaceConsul, "Consul clusters."),
  },
  free: { meta: stringMap("Meta", "Metadata.") },
});

const schedulerConfig: BlockTable = block("scheduler_config", "Scheduling on the nodes of the pool.", {
  attributes: {
    scheduler_algorithm: plain("SchedulerAlgorithm", "string", "How nodes are ranked.", {
      values: ["binpack", "spread"],
    }),
    memory_oversubscription_enabled: optional(
      "MemoryOversubscriptionEnabled",
      "bool",
      "Whether memory_max above memory is allowed.",
    ),
  },
});

const nodePool: BlockTable = block("node_pool", "A node pool.", {
  labels: [{ name: "name", field: "Name" }],
  attributes: {
    description: plain("Description", "string", "What it is for."),
    node_identity_ttl: plain("NodeIdentityTTL", "duration", "How long the identity of a node is good."),
  },
  blocks: { scheduler_config: child("SchedulerConfiguration", "one", () => schedulerConfig, "Scheduling.") },
  free: { meta: stringMap("Meta", "Metadata.") },
});

/** A file of `node_pool "name" { … }` blocks; the record's NodePools has them in order. */
export const nodePoolTable: BlockTable = block("node pool specification", "Node pools.", {
  blocks: { node_pool: child("NodePools", "list", () => nodePool, "The pools.") },
});

const quotaDevice: BlockTable = block("device", "A limit for devices.", {
  labels: [{ name: "name", field: "Name" }],
  attributes: { count: plain("Count", "uint64", "How many.") },
});

const quotaStorage: BlockTable = block("storage", "Limits for storage.", {
  attributes: {
    variables: plain("VariablesMB", "megabytes", "Variables, in MB or as a size."),
    host_volumes: plain("HostVolumesMB", "megabytes", "Host volumes, in MB or as a size."),
  },
});

const regionLimit: BlockTable = block("region_limit", "What the namespaces of the quota may use together.", {
  attributes: {
    cpu: optional("CPU", "int", "MHz."),
    cores: optional("Cores", "int", "Cores."),
    memory: optional("MemoryMB", "int", "MB."),
    memory_max: optional("MemoryMaxMB", "int", "MB of memory_max."),
  },
  blocks: {
    device: child("Devices", "list", () => quotaDevice, "Devices."),
    storage: child("Storage", "one", () => quotaStorage, "Storage."),
  },
});

const quotaLimit: BlockTable = block("limit", "Limits in a region.", {
  attributes: {
    region: plain("Region", "string", "The region."),
    variables_limit: optional("VariablesLimit", "int", "MB of variables."),
  },
  blocks: { region_limit: child("RegionLimit", "one", () => regionLimit, "The limits.") },
});

export const quotaTable: BlockTable = block("quota specification", "A quota.", {
  attributes: {
    name: plain("Name", "string", "Its name.", { required: true }),
    description: plain("Description", "string", "What it is for."),
  },
  blocks: { limit: child("Limits", "list", () => quotaLimit, "Limits by region.") },
});

const volumeCapability: BlockTable = block("capability", "How the volume may be used.", {
  attributes: {
    access_mode: plain("AccessMode", "string", "How it may be accessed."),
    attachment_mode: plain("AttachmentMode", "string", "file-system or block-device."),
  },
});

const volumeConstraint: BlockTable = block("constraint", "Nodes that may hold the volume.", {
  attributes: {
    attribute: plain("LTarget", "string", "What is compared."),
    operator: plain("Operand", "string", "How."),
    value: plain("RTarget", "string", "With what."),
  },
});

const SIZES = {
  capacity_min: plain("RequestedCapacityMinBytes", "bytes", "Least size, such as 10GiB."),
  capacity_max: plain("RequestedCapacityMaxBytes", "bytes", "Greatest size, such as 20G."),
} as const;

export const hostVolumeTable: BlockTable = block("host volume specification", "A dynamic host volume.", {
  attributes: {
    id: plain("ID", "string", "Its id, to update an existing one."),
    name: plain("Name", "string", "Its name.", { required: true }),
    type: plain("Type", "string", "host."),
    namespace: plain("Namespace", "string", "Its namespace."),
    plugin_id: plain("PluginID", "string", "The plugin that makes it."),
    node_pool: plain("NodePool", "string", "The pool of its node."),
    node_id: plain("NodeID", "string", "Its node."),
    host_path: plain("HostPath", "string", "Where an existing directory is, to register it."),
    ...SIZES,
  },
  blocks: {
    capability: child("RequestedCapabilities", "list", () => volumeCapability, "Uses."),
    constraint: child("Constraints", "list", () => volumeConstraint, "Nodes."),
  },
  free: { parameters: stringMap("Parameters", "Parameters of the plugin.") },
});

const topology: BlockTable = block("topology", "Segments a volume must be reachable from.", {
  free: { segments: stringMap("Segments", "The segments.") },
});

const topologies = (name: string): BlockTable =>
  block(name, "Topologies.", {
    blocks: { topology: child("Topologies", "list", () => topology, "The topologies.") },
  });
const requiredTopologies = topologies("required");
const preferredTopologies = topologies("preferred");

const topologyRequest: BlockTable = block("topology_request", "Where the volume must be reachable.", {
  blocks: {
    required: child("Required", "one", () => requiredTopologies, "One of these."),
    preferred: child("Preferred", "one", () => preferredTopologies, "Rather these."),
  },
});

const csiMountOptions: BlockTable = block("mount_options", "How the volume is mounted.", {
  attributes: {
    fs_type: plain("FSType", "string", "File system."),
    mount_flags: optional("MountFlags", "strings", "Mount flags."),
  },
});

export const csiVolumeTable: BlockTable = block("CSI volume specification", "A CSI volume.", {
  attributes: {
    id: plain("ID", "string", "Its id.", { required: true }),
    name: plain("Name", "string", "Its name."),
    type: plain("Type", "string", "csi."),
    namespace: plain("Namespace", "string", "Its namespace."),
    plugin_id: plain("PluginID", "string", "The plugin."),
    external_id: plain("ExternalID", "string", "Its id at the storage provider."),
    snapshot_id: plain("SnapshotID", "string", "The snapshot it is made from."),
    clone_id: plain("CloneID", "string", "The volume it is a copy of."),
    capacity_min: plain("RequestedCapacityMin", "bytes", "Least size."),
    capacity_max: plain("RequestedCapacityMax", "bytes", "Greatest size."),
  },
  blocks: {
    capability: child("RequestedCapabilities", "list", () => volumeCapability, "Uses."),
    mount_options: child("MountOptions", "one", () => csiMountOptions, "Mount options."),
    topology_request: child("RequestedTopologies", "one", () => topologyRequest, "Topologies."),
  },
  free: {
    secrets: stringMap("Secrets", "Secrets for the plugin."),
    parameters: stringMap("Parameters", "Parameters of the plugin."),
    context: stringMap("Context", "Context of the plugin."),
  },
});

export const variableSpecTable: BlockTable = block("variable specification", "A variable (var put).", {
  attributes: {
    path: plain("Path", "string", "Where it is kept."),
    namespace: plain("Namespace", "string", "Its namespace."),
    create_index: plain("CreateIndex", "uint64", "Ignored; written by var get."),
    create_time: plain("CreateTime", "any", "Ignored; written by var get."),
    modify_index: plain("ModifyIndex", "uint64", "Index for a check-and-set."),
    modify_time: plain("ModifyTime", "any", "Ignored; written by var get."),
  },
  free: {
    items: stringMap("Items", "Keys and values."),
    lock: freeForm("Lock", "Ignored; written by var get."),
  },
});

const variablePath: BlockTable = block("path", "Variables whose path matches.", {
  labels: [{ name: "path", field: "PathSpec" }],
  attributes: {
    capabilities: optional("Capabilities", "strings", "What may be done.", {
      values: ["read", "write", "list", "destroy", "deny"],
    }),
  },
});

const aclVariables: BlockTable = block("variables", "Access to variables.", {
  blocks: { path: child("Paths", "list", () => variablePath, "By path.") },
});

const POLICY = {
  policy: plain("Policy", "string", "A usual set of rights.", {
    values: ["deny", "read", "list", "write", "scale"],
  }),
} as const;

const rule = (name: string, doc: string, capabilities: boolean, labelled: boolean): BlockTable =>
  block(name, doc, {
    labels: labelled ? [{ name: "name", field: "Name" }] : [],
    attributes: capabilities
      ? { ...POLICY, capabilities: optional("Capabilities", "strings", "Rights one by one.") }
      : POLICY,
  });

const aclNamespace: BlockTable = {
  ...rule("namespace", "Rights in namespaces that match.", true, true),
  blocks: { variables: child("Variables", "one", () => aclVariables, "Variables.") },
};
const aclHostVolume = rule("host_volume", "Rights to host volumes that match.", true, true);
const aclNodePool = rule("node_pool", "Rights to node pools that match.", true, true);
const aclAgent = rule("agent", "Rights to agents.", false, false);
const aclNode = rule("node", "Rights to nodes.", false, false);
const aclOperator: BlockTable = rule("operator", "Rights to operations of the cluster.", true, false);
const aclQuota = rule("quota", "Rights to quotas.", false, false);
const aclPlugin = rule("plugin", "Rights to plugins.", false, false);

export const aclPolicyTable: BlockTable = block("ACL policy", "Rights of tokens.", {
  blocks: {
    namespace: child("Namespaces", "list", () => aclNamespace, "Namespaces."),
    node_pool: child("NodePools", "list", () => aclNodePool, "Node pools."),
    host_volume: child("HostVolumes", "list", () => aclHostVolume, "Host volumes."),
    agent: child("Agent", "one", () => aclAgent, "Agents."),
    node: child("Node", "one", () => aclNode, "Nodes."),
    operator: child("Operator", "one", () => aclOperator, "Operations."),
    quota: child("Quota", "one", () => aclQuota, "Quotas."),
    plugin: child("Plugin", "one", () => aclPlugin, "Plugins."),
  },
});
