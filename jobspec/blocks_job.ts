// Tables of a job and its groups.
import {
  affinity,
  constraint,
  consul,
  migrate,
  network,
  reschedule,
  restart,
  scaling,
  secret,
  spread,
  update,
  vault,
} from "./blocks_common.ts";
import { service } from "./blocks_service.ts";
import { task } from "./blocks_task.ts";
import type { Json } from "./json.ts";
import { block, type BlockTable, child, optional, plain, stringMap } from "./table.ts";

const mountOptions: BlockTable = block("mount_options", "How a CSI volume is mounted.", {
  attributes: {
    fs_type: plain("FSType", "string", "File system."),
    mount_flags: plain("MountFlags", "strings", "Mount flags."),
  },
});

const volume: BlockTable = block("volume", "A volume tasks of the group may mount.", {
  labels: [{ name: "name", field: "Name" }],
  attributes: {
    type: plain("Type", "string", "host or csi.", { values: ["host", "csi"] }),
    source: plain("Source", "string", "Name or id of the volume."),
    read_only: plain("ReadOnly", "bool", "Whether it is read-only."),
    sticky: plain("Sticky", "bool", "Whether a new allocation gets the same volume."),
    access_mode: plain("AccessMode", "string", "How it may be accessed."),
    attachment_mode: plain("AttachmentMode", "string", "file-system or block-device."),
    per_alloc: plain("PerAlloc", "bool", "Whether the source has the allocation's index appended."),
  },
  blocks: { mount_options: child("MountOptions", "one", () => mountOptions, "Mount options.") },
});

const ephemeralDisk: BlockTable = block("ephemeral_disk", "The disk space of an allocation.", {
  attributes: {
    size: optional("SizeMB", "int", "MB."),
    sticky: optional("Sticky", "bool", "Whether a new allocation prefers the same node."),
    migrate: optional("Migrate", "bool", "Whether data is copied to a new node."),
  },
});

const disconnect: BlockTable = block("disconnect", "What happens when the node loses its servers.", {
  attributes: {
    lost_after: optional("LostAfter", "duration", "When the allocation counts as lost."),
    stop_on_client_after: optional("StopOnClientAfter", "duration", "When the node stops it by itself."),
    replace: optional("Replace", "bool", "Whether a replacement is started meanwhile."),
    reconcile: optional("Reconcile", "string", "Which one is kept when the node is back.", {
      values: ["best_score", "keep_original", "keep_replacement", "longest_running"],
    }),
  },
});

const groupScaling: BlockTable = scaling({
  labels: [],
  required: true,
  finish(record, context) {
    const type = record["Type"];
    if (type !== "" && type !== "horizontal") {
      context.error(
        "type",
        "Invalid group scaling type",
        `task group scaling policy had invalid type: "${String(type)}"`,
      );
    }
    return { ...record, Type: "horizontal" };
  },
  restore: (record) => ({ record: { ...record, Type: "" } }),
});

const INHERITED_VAULT = "Access to Vault of tasks that have no vault block.";
const INHERITED_SECRET = "Secrets of tasks too.";

export const group: BlockTable = block("group", "Tasks that run together on one node.", {
  labels: [{ name: "name", field: "Name" }],
  attributes: {
    count: optional("Count", "int", "How many allocations."),
    shutdown_delay: optional("ShutdownDelay", "duration", "Time between deregistration and stop."),
    max_run_duration: optional("MaxRunDuration", "duration", "When the allocation is stopped."),
    stop_after_client_disconnect: optional(
      "StopAfterClientDisconnect",
      "duration",
      "Legacy; use disconnect.",
    ),
    max_client_disconnect: optional("MaxClientDisconnect", "duration", "Legacy; use disconnect."),
    prevent_reschedule_on_lost: optional("PreventRescheduleOnLost", "bool", "Legacy; use disconnect."),
  },
  blocks: {
    affinity: child("Affinities", "list", () => affinity, "Preferences for nodes."),
    constraint: child("Constraints", "list", () => constraint, "Requirements for nodes."),
    consul: child("Consul", "one", () => consul, "Consul cluster."),
    disconnect: child("Disconnect", "one", () => disconnect, "What happens when the node is cut off."),
    ephemeral_disk: child("EphemeralDisk", "one", () => ephemeralDisk, "Disk space."),
    migrate: child("Migrate", "one", () => migrate, "How a drain moves it."),
    network: child("Networks", "list", () => network, "Network."),
    reschedule: child("ReschedulePolicy", "one", () => reschedule, "Placement after failure."),
    restart: child("RestartPolicy", "one", () => restart, "Restarts."),
    scaling: child("Scaling", "one", () => groupScaling, "Limits for the count."),
    secret: child("Secrets", "list", () => secret, INHERITED_SECRET, { lenient: true }),
    service: child("Services", "list", () => service, "Services."),
    spread: child("Spreads", "list", () => spread, "Spread over nodes."),
    task: child("Tasks", "list", () => task, "The tasks."),
    update: child("Update", "one", () => update, "How a new version replaces the old one."),
    vault: child("Vault", "one", () => vault, INHERITED_VAULT, { lenient: true }),
    volume: child("Volumes", "map", () => volume, "Volumes."),
  },
  free: { meta: stringMap("Meta", "Metadata.", true) },
});

const strategy: BlockTable = block("strategy", "How regions are updated.", {
  attributes: {
    max_parallel: optional("MaxParallel", "int", "Regions at the same time."),
    on_failure: optional("OnFailure", "string", "What a failure does.", {
      values: ["fail_all", "fail_local"],
    }),
  },
});

const region: BlockTable = block("region", "A region the job runs in.", {
  labels: [{ name: "", field: "Name" }],
  attributes: {
    count: optional("Count", "int", "Count of groups whose count is 0."),
    datacenters: plain("Datacenters", "strings", "Datacenters."),
    node_pool: plain("NodePool", "string", "Node pool."),
  },
  free: { meta: stringMap("Meta", "Metadata.") },
});

const multiregion: BlockTable = block("multiregion", "Runs the job in several regions.", {
  blocks: {
    strategy: child("Strategy", "one", () => strategy, "How regions are updated."),
    region: child("Regions", "list", () => region, "The regions."),
  },
});

const periodic: BlockTable = block("periodic", "Runs the job at certain times.", {
  attributes: {
    enabled: optional("Enabled", "bool", "Whether it does."),
    cron: optional("Spec", "string", "A cron expression."),
    crons: optional("Specs", "strings", "Several cron expressions."),
    prohibit_overlap: optional("ProhibitOverlap", "bool", "Whether it waits for the run before."),
    time_zone: optional("TimeZone", "string", "Time zone of the expressions."),
  },
  finish: (record, { given }) => ({
    ...record,
    SpecType: given.has("cron") || given.has("crons") ? "cron" : null,
  }),
});

const parameterized: BlockTable = block("parameterized", "Runs the job when it is dispatched.", {
  attributes: {
    payload: plain("Payload", "string", "Whether a payload is given.", {
      values: ["optional", "required", "forbidden"],
    }),
    meta_required: plain("MetaRequired", "strings", "Metadata that must be given."),
    meta_optional: plain("MetaOptional", "strings", "Metadata that may be given."),
  },
});

const link: BlockTable = block("link", "A link on the job's page.", {
  attributes: {
    label: plain("Label", "string", "Its text."),
    url: plain("URL", "string", "Its address."),
  },
});

const ui: BlockTable = block("ui", "What the job's page shows.", {
  attributes: { description: plain("Description", "string", "Markdown.") },
  blocks: { link: child("Links", "list", () => link, "Links.") },
});

function record(value: Json): Record<string, Json> {
  return value as Record<string, Json>;
}

/** Tasks directly in the job become groups of one; vault and secrets are handed down; their own fields go. */
function finishJob(raw: Record<string, Json>, labels: readonly string[]): Record<string, Json> {
  const { Tasks: tasks, Vault: vaultOfJob, Secrets: secretsOfJob, ...rest } = raw;
  const alone = (Array.isArray(tasks) ? tasks : []).map((entry) => groupOf(record(entry)));
  const given = Array.isArray(rest["TaskGroups"]) ? rest["TaskGroups"] : [];
  const groups = [...alone, ...given].map((entry) => {
    const { Vault: own, Secrets: ownSecrets, ...fields } = record(entry);
    const vaultOfGroup = own ?? vaultOfJob ?? null;
    const handDown = (member: Json) =>
      inherit(record(member), vaultOfGroup, asList(ownSecrets), asList(secretsOfJob));
    return { ...fields, Tasks: fields["Tasks"] === null ? null : asList(fields["Tasks"]).map(handDown) };
  });
  return {
    ...rest,
    ID: rest["ID"] ?? labels[0]!,
    Name: rest["Name"] ?? labels[0]!,
    TaskGroups: groups.length > 0 ? groups : null,
  };
}

function asList(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

function inherit(
  member: Record<string, Json>,
  vaultOfGroup: Json,
  secretsOfGroup: readonly Json[],
  secretsOfJob: readonly Json[],
): Record<string, Json> {
  const own = asList(member["Secrets"]);
  // In a group with secrets the reference gives a task its own ones twice instead of the group's.
  const withGroup = secretsOfGroup.length === 0 ? own : own.length > 0 ? [...own, ...own] : secretsOfGroup;
  const all = [...withGroup, ...secretsOfJob];
  return { ...member, Vault: member["Vault"] ?? vaultOfGroup, Secrets: all.length > 0 ? all : null };
}

/** A group of one task, with its name. */
function groupOf(member: Record<string, Json>): Record<string, Json> {
  const fields: Record<string, Json> = {};
  for (const spec of Object.values(group.attributes)) fields[spec.field] = spec.absent;
  for (const spec of [...Object.values(group.blocks), ...Object.values(group.free)]) {
    fields[spec.field] = null;
  }
  return { ...fields, Name: member["Name"]!, Tasks: [member] };
}

export const job: BlockTable = block("job", "A job: groups of tasks and where and how they run.", {
  labels: [{ name: "name", field: "" }],
  attributes: {
    id: optional("ID", "string", "Its id; the label if not given."),
    name: optional("Name", "string", "Its name; the label if not given."),
    region: optional("Region", "string", "Its region."),
    namespace: optional("Namespace", "string", "Its namespace."),
    type: optional("Type", "string", "What kind of job it is.", {
      values: ["service", "batch", "system", "sysbatch"],
    }),
    priority: optional("Priority", "int", "1 to 100."),
    all_at_once: optional("AllAtOnce", "bool", "Whether all allocations are placed or none."),
    datacenters: plain("Datacenters", "strings", "Datacenters; wildcards are allowed."),
    node_pool: optional("NodePool", "string", "Node pool."),
  },
  blocks: {
    affinity: child("Affinities", "list", () => affinity, "Preferences for nodes."),
    constraint: child("Constraints", "list", () => constraint, "Requirements for nodes."),
    group: child("TaskGroups", "list", () => group, "Groups."),
    migrate: child("Migrate", "one", () => migrate, "How drains move groups."),
    multiregion: child("Multiregion", "one", () => multiregion, "Regions."),
    parameterized: child("ParameterizedJob", "one", () => parameterized, "Dispatching."),
    periodic: child("Periodic", "one", () => periodic, "Times."),
    reschedule: child("Reschedule", "one", () => reschedule, "Placement after failure."),
    secret: child("Secrets", "list", () => secret, INHERITED_SECRET),
    spread: child("Spreads", "list", () => spread, "Spread over nodes."),
    task: child("Tasks", "list", () => task, "Short for a group of one task."),
    ui: child("UI", "one", () => ui, "What the page shows."),
    update: child("Update", "one", () => update, "How a new version replaces the old one."),
    vault: child("Vault", "one", () => vault, INHERITED_VAULT),
  },
  free: { meta: stringMap("Meta", "Metadata.", true) },
  constants: {
    ConsulNamespace: null,
    CreateIndex: null,
    DispatchIdempotencyToken: null,
    Dispatched: false,
    JobModifyIndex: null,
    ModifyIndex: null,
    NomadTokenID: null,
    ParentID: null,
    Payload: null,
    Stable: null,
    Status: null,
    StatusDescription: null,
    Stop: null,
    SubmitTime: null,
    VaultNamespace: null,
    Version: null,
    VersionTag: null,
  },
  finish: (raw, { labels }) => finishJob(raw, labels),
  restore(raw) {
    const id = String(raw["ID"] ?? "");
    return { record: { ...raw, ID: null, Name: raw["Name"] === id ? null : raw["Name"]! }, labels: [id] };
  },
});
