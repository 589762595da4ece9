// Tables of a task and what only tasks have: template, artifact, lifecycle, actions, schedule, CSI plugin.
import {
  affinity,
  constraint,
  consul,
  identity,
  restart,
  scaling,
  secret,
  vault,
  volumeMount,
} from "./blocks_common.ts";
import { service } from "./blocks_service.ts";
import { logs, resources } from "./blocks_task_parts.ts";
import type { Json } from "./json.ts";
import { block, type BlockTable, child, freeForm, optional, plain, stringMap } from "./table.ts";

const wait: BlockTable = block("wait", "Quiet time before a template is rendered.", {
  attributes: {
    min: optional("Min", "duration", "Least."),
    max: optional("Max", "duration", "Most."),
  },
});

const SECOND = 1_000_000_000;

const changeScript: BlockTable = block("change_script", "A script that runs when a template changes.", {
  attributes: {
    command: optional("Command", "string", "The command."),
    args: optional("Args", "strings", "Its arguments.", { absent: [] }),
    timeout: optional("Timeout", "duration", "Time it may take.", { absent: 5 * SECOND }),
    fail_on_error: optional("FailOnError", "bool", "Whether a failure kills the task.", { absent: false }),
    run_on_first_render: optional(
      "RunOnFirstRender",
      "bool",
      "Whether it runs after the first rendering too.",
      {
        absent: false,
      },
    ),
  },
});

const template: BlockTable = block("template", "A file made from a template.", {
  attributes: {
    source: optional("SourcePath", "string", "Path of the template."),
    destination: optional("DestPath", "string", "Path of the file."),
    data: optional("EmbeddedTmpl", "string", "The template itself."),
    change_mode: optional("ChangeMode", "string", "What happens when the file changes.", {
      absent: "restart",
      values: ["noop", "restart", "signal", "script"],
    }),
    change_signal: optional("ChangeSignal", "string", "The signal of change_mode signal."),
    once: optional("Once", "bool", "Whether it is rendered only once."),
    splay: optional("Splay", "duration", "Random wait before the change mode acts.", { absent: 5 * SECOND }),
    perms: optional("Perms", "string", "Permissions of the file, octal.", { absent: "0644" }),
    uid: optional("Uid", "int", "Owner of the file."),
    gid: optional("Gid", "int", "Group of the file."),
    left_delimiter: optional("LeftDelim", "string", "Instead of {{."),
    right_delimiter: optional("RightDelim", "string", "Instead of }}."),
    env: optional("Envvars", "bool", "Whether the file's lines become environment variables."),
    vault_grace: optional("VaultGrace", "duration", "Legacy, ignored."),
    error_on_missing_key: optional("ErrMissingKey", "bool", "Whether a missing key is an error.", {
      absent: false,
    }),
  },
  blocks: {
    change_script: child("ChangeScript", "one", () => changeScript, "The script of change_mode script."),
    wait: child("Wait", "one", () => wait, "Quiet time."),
  },
});

const artifact: BlockTable = block("artifact", "Something downloaded before the task starts.", {
  attributes: {
    source: optional("GetterSource", "string", "Where it is."),
    destination: optional("RelativeDest", "string", "Where it goes."),
    mode: optional("GetterMode", "string", "What it is.", { values: ["any", "file", "dir"] }),
    insecure: optional("GetterInsecure", "bool", "Whether TLS certificates are not verified."),
    chown: plain("Chown", "bool", "Whether the task's user owns it."),
  },
  free: {
    options: stringMap("GetterOptions", "Options of the getter."),
    headers: stringMap("GetterHeaders", "HTTP headers."),
  },
});

const lifecycle: BlockTable = block("lifecycle", "When a task runs within the group.", {
  attributes: {
    hook: plain("Hook", "string", "When it starts.", {
      required: true,
      values: ["prestart", "poststart", "poststop"],
    }),
    sidecar: plain("Sidecar", "bool", "Whether it goes on beside the main tasks."),
  },
});

const dispatchPayload: BlockTable = block("dispatch_payload", "Where a dispatched job's payload goes.", {
  attributes: { file: plain("File", "string", "Path below local/.") },
});

const csiPlugin: BlockTable = block("csi_plugin", "Makes the task a CSI plugin.", {
  attributes: {
    id: plain("ID", "string", "Id of the plugin."),
    type: plain("Type", "string", "What it does.", { values: ["node", "controller", "monolith"] }),
    mount_dir: plain("MountDir", "string", "Where the plugin's socket is."),
    stage_publish_base_dir: plain("StagePublishBaseDir", "string", "Where volumes are staged."),
    health_timeout: plain("HealthTimeout", "duration", "Time until it must be healthy."),
  },
});

const action: BlockTable = block("action", "A command that can be run in the task on request.", {
  labels: [{ name: "name", field: "Name" }],
  attributes: {
    command: plain("Command", "string", "The command.", { required: true }),
    args: plain("Args", "strings", "Its arguments."),
  },
});

const cron: BlockTable = block("cron", "When a scheduled task runs.", {
  attributes: {
    start: plain("Start", "string", "Cron expression of the start."),
    end: plain("End", "string", "Minute and hour of the end."),
    timezone: plain("Timezone", "string", "Time zone."),
  },
});

const schedule: BlockTable = block("schedule", "Runs the task only at certain times.", {
  blocks: { cron: child("Cron", "one", () => cron, "The times.") },
});

const taskScaling: BlockTable = scaling({
  labels: [{ name: "name", field: "" }],
  required: false,
  finish(record, context) {
    const label = context.labels[0]!.toLowerCase();
    if (label !== "cpu" && label !== "mem") {
      context.error(undefined, "Invalid scaling policy name", 'scaling policy name must be "cpu" or "mem"');
      return record;
    }
    const type = `vertical_${label}`;
    if (record["Type"] !== "" && record["Type"] !== type) {
      context.error(
        undefined,
        "Invalid scaling policy type",
        `Invalid policy type, expected "${type}" but found "${String(record["Type"])}"`,
      );
    }
    return { ...record, Type: type };
  },
  restore: (record) => ({
    record: { ...record, Type: "" },
    labels: [String(record["Type"]).replace(/^vertical_/, "")],
  }),
});

/** The first identity without a name (or named default) is the task's own; the others stay a list. */
function splitIdentities(record: Record<string, Json>): Record<string, Json> {
  const all = record["Identities"];
  if (!Array.isArray(all)) return { ...record, Identity: null };
  const isDefault = (entry: Json) =>
    ["", "default"].includes((entry as Record<string, Json>)["Name"] as string);
  const first = all.findIndex(isDefault);
  if (first < 0) return { ...record, Identity: null };
  return { ...record, Identity: all[first]!, Identities: all.filter((_, i) => i !== first) };
}

export const task: BlockTable = block("task", "One program.", {
  labels: [{ name: "name", field: "Name" }],
  attributes: {
    driver: plain("Driver", "string", "What runs it: raw_exec, exec, podman, docker, java, qemu …"),
    user: plain("User", "string", "User it runs as."),
    kind: plain("Kind", "string", "Used by Connect."),
    kill_timeout: optional("KillTimeout", "duration", "Time between signal and kill."),
    kill_signal: plain("KillSignal", "string", "Signal that asks it to stop."),
    shutdown_delay: plain("ShutdownDelay", "duration", "Time between deregistration and signal."),
    leader: plain("Leader", "bool", "Whether the group stops when it does."),
  },
  blocks: {
    action: child("Actions", "list", () => action, "Commands to run on request."),
    affinity: child("Affinities", "list", () => affinity, "Preferences for nodes."),
    artifact: child("Artifacts", "list", () => artifact, "Downloads."),
    constraint: child("Constraints", "list", () => constraint, "Requirements for nodes."),
    consul: child("Consul", "one", () => consul, "Consul cluster."),
    csi_plugin: child("CSIPluginConfig", "one", () => csiPlugin, "CSI plugin."),
    dispatch_payload: child("DispatchPayload", "one", () => dispatchPayload, "Payload of a dispatched job."),
    identity: child("Identities", "list", () => identity, "Workload identities."),
    lifecycle: child("Lifecycle", "one", () => lifecycle, "When it runs within the group."),
    logs: child("LogConfig", "one", () => logs, "Log files."),
    resources: child("Resources", "one", () => resources, "Resources."),
    restart: child("RestartPolicy", "one", () => restart, "Restarts; fields not set come from the group."),
    scaling: child("ScalingPolicies", "list", () => taskScaling, "Limits for cpu and mem.", {
      uniqueLabels: true,
    }),
    schedule: child("Schedule", "one", () => schedule, "Times it runs at."),
    secret: child("Secrets", "list", () => secret, "Secrets."),
    service: child("Services", "list", () => service, "Services."),
    template: child("Templates", "list", () => template, "Files from templates."),
    vault: child("Vault", "one", () => vault, "Access to Vault."),
    volume_mount: child("VolumeMounts", "list", () => volumeMount, "Volumes."),
  },
  free: {
    config: freeForm("Config", "The driver's configuration."),
    env: stringMap("Env", "Environment variables.", true),
    meta: stringMap("Meta", "Metadata.", true),
  },
  finish(record) {
    const out = splitIdentities(record);
    // The one field of the reference that is left out, not null.
    if (out["CSIPluginConfig"] === null) delete out["CSIPluginConfig"];
    return out;
  },
  restore(record) {
    const { Identity: own, Identities: others, ...rest } = record;
    const all = [...(own ? [own] : []), ...(Array.isArray(others) ? others : [])];
    return { record: { ...rest, Identities: all.length > 0 ? all : null } };
  },
});
