// The blocks of namespace and node pool specifications.
import { block, child, optional, stringMap } from "./spec_file.ts";

const capabilities = block("capabilities", "What jobs of the namespace may use.", {
  attributes: {
    enabled_task_drivers: optional("EnabledTaskDrivers", "strings", "Drivers that may be used."),
    disabled_task_drivers: optional("DisabledTaskDrivers", "strings", "Drivers that may not be used."),
    enabled_network_modes: optional("EnabledNetworkModes", "strings", "Network modes that may be used."),
    disabled_network_modes: optional(
      "DisabledNetworkModes",
      "strings",
      "Network modes that may not be used.",
    ),
  },
});

const poolRules = block("node_pool_config", "Which node pools jobs of the namespace may use.", {
  attributes: {
    default: optional("Default", "string", "Pool of jobs that name none."),
    allowed: optional("Allowed", "strings", "Pools that may be used."),
    denied: optional("Denied", "strings", "Pools that may not be used."),
  },
});

const clusterRules = (name: string) =>
  block(name, "Which clusters jobs of the namespace may use.", {
    attributes: {
      default: optional("Default", "string", "Cluster of jobs that name none."),
      allowed: optional("Allowed", "strings", "Clusters that may be used."),
      denied: optional("Denied", "strings", "Clusters that may not be used."),
    },
  });
const vaultRules = clusterRules("vault");
const consulRules = clusterRules("consul");

export const namespaceTable = block("namespace", "A namespace.", {
  attributes: {
    name: optional("Name", "string", "Its name."),
    description: optional("Description", "string", "What it is for."),
    quota: optional("Quota", "string", "Quota of its jobs."),
  },
  blocks: {
    capabilities: child("Capabilities", "one", () => capabilities, "What its jobs may use."),
    node_pool_config: child("NodePoolConfiguration", "one", () => poolRules, "Its node pools."),
    vault: child("VaultConfiguration", "one", () => vaultRules, "Its Vault clusters."),
    consul: child("ConsulConfiguration", "one", () => consulRules, "Its Consul clusters."),
  },
  free: { meta: stringMap("Meta", "Metadata.", true) },
});

const schedulerConfig = block("scheduler_config", "How work is placed on the pool's nodes.", {
  attributes: {
    scheduler_algorithm: optional("SchedulerAlgorithm", "string", "binpack or spread."),
    memory_oversubscription_enabled: optional(
      "MemoryOversubscriptionEnabled",
      "bool",
      "Whether memory_max is allowed.",
    ),
  },
});

const nodePool = block("node_pool", "A node pool.", {
  labels: [{ name: "name", field: "Name" }],
  attributes: {
    description: optional("Description", "string", "What it is for."),
    node_identity_ttl: optional(
      "NodeIdentityTTL",
      "string",
      "How long the identities of its nodes are good.",
    ),
  },
  blocks: { scheduler_config: child("SchedulerConfiguration", "one", () => schedulerConfig, "Scheduling.") },
  free: { meta: stringMap("Meta", "Metadata.", true) },
});

export const nodePoolFile = block("node pool file", "A file with node pools.", {
  blocks: { node_pool: child("NodePools", "list", () => nodePool, "A node pool.") },
});
