// Tables of a task's resources and logs, which sidecar tasks have too.
import { affinity, constraint, network } from "./blocks_common.ts";
import { block, type BlockTable, child, optional, plain } from "./table.ts";

const device: BlockTable = block("device", "Devices such as GPUs.", {
  labels: [{ name: "", field: "Name" }],
  attributes: { count: optional("Count", "uint64", "How many.") },
  blocks: {
    constraint: child("Constraints", "list", () => constraint, "Requirements."),
    affinity: child("Affinities", "list", () => affinity, "Preferences."),
  },
});

const numa: BlockTable = block("numa", "NUMA placement.", {
  attributes: {
    affinity: plain("Affinity", "string", "How strict it is.", { values: ["none", "prefer", "require"] }),
    devices: plain("Devices", "strings", "Devices on the same node as the cores."),
  },
});

export const resources: BlockTable = block("resources", "What a task may use.", {
  attributes: {
    cpu: optional("CPU", "int", "MHz."),
    cores: optional("Cores", "int", "Whole cores, instead of cpu."),
    memory: optional("MemoryMB", "int", "MB."),
    memory_max: optional("MemoryMaxMB", "int", "MB the task may grow to; -1 for no limit."),
    disk: optional("DiskMB", "int", "Legacy; use ephemeral_disk."),
    iops: optional("IOPS", "int", "Legacy, ignored."),
    secrets: optional("SecretsMB", "int", "MB of the secrets directory."),
  },
  blocks: {
    network: child("Networks", "list", () => network, "Legacy; use the group's network."),
    device: child("Devices", "list", () => device, "Devices."),
    numa: child("NUMA", "one", () => numa, "NUMA placement."),
  },
});

export const logs: BlockTable = block("logs", "Log files of a task.", {
  attributes: {
    max_files: optional("MaxFiles", "int", "Files kept for each stream."),
    max_file_size: optional("MaxFileSizeMB", "int", "MB of a file."),
    disabled: optional("Disabled", "bool", "Whether no logs are collected."),
    enabled: optional("Enabled", "bool", "Legacy, ignored."),
  },
});
