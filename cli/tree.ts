// The tree of commands, as citty definitions: names, one-line descriptions, and where each command's file is. A file is
// loaded only when one of its commands runs, so that `version` does not pay for `job run`. The words of the groups'
// usages stand in groups.ts.
import { type CommandDef, defineCommand } from "citty";
import type { Command } from "./command.ts";
import type { CliIo } from "./io.ts";

/** What a leaf's `run` is given by main.ts. */
interface LeafData {
  argv: string[];
  io: CliIo;
}

type Module = Record<string, unknown>;
type Load = () => Promise<Module>;

function leaf(description: string, load: Load, name: string): CommandDef {
  return defineCommand({
    meta: { description },
    run: async ({ data }: { data?: LeafData }) => {
      const found = (await load())[name] as Command;
      return await found.execute(data!.argv, data!.io);
    },
  });
}

function hidden(definition: CommandDef): CommandDef {
  return { ...definition, meta: { ...definition.meta as object, hidden: true } };
}

/** A group: `subCommands` in the order of the usage (sorted by name). */
function group(description: string, subCommands: Record<string, CommandDef>): CommandDef {
  return defineCommand({ meta: { description }, subCommands });
}

/** A whole family that this program does not have: every subcommand says so. */
const absent = (description: string, name: string): CommandDef =>
  leaf(description, () => import("./absent.ts"), name);

const gossip = () => import("./gossip.ts");
const jobRun = () => import("./job_run.ts");
const jobPlan = () => import("./job_plan.ts");
const jobStatus = () => import("./job_status.ts");
const jobStop = () => import("./job_stop.ts");
const jobFile = () => import("./job_file.ts");
const jobHistory = () => import("./job_history.ts");
const jobList = () => import("./job_list.ts");
const jobChange = () => import("./job_change.ts");
const jobRestart = () => import("./job_restart.ts");
const alloc = () => import("./alloc.ts");
const allocStatus = () => import("./alloc_status.ts");
const allocFs = () => import("./alloc_fs.ts");
const allocExec = () => import("./alloc_exec.ts");
const evaluation = () => import("./eval.ts");
const deployment = () => import("./deployment.ts");
const nodeStatus = () => import("./node_status.ts");
const node = () => import("./node.ts");
const nodePool = () => import("./node_pool.ts");
const namespace = () => import("./namespace.ts");
const operator = () => import("./operator.ts");
const operatorApi = () => import("./operator_api.ts");
const scaling = () => import("./scaling.ts");
const server = () => import("./server.ts");
const service = () => import("./service.ts");
const snapshot = () => import("./snapshot.ts");
const system = () => import("./system.ts");

const JOB = {
  action: leaf("Run a pre-defined action from a Nomad task", allocExec, "jobAction"),
  allocs: leaf("List allocations for a job", jobList, "jobAllocs"),
  deployments: leaf("List deployments for a job", jobList, "jobDeployments"),
  dispatch: leaf("Dispatch an instance of a parameterized job", jobChange, "jobDispatch"),
  eval: leaf("Force an evaluation for the job", jobChange, "jobEval"),
  history: leaf("Display all tracked versions of a job", jobHistory, "jobHistory"),
  init: leaf("Create an example job file", () => import("./job_init.ts"), "jobInit"),
  inspect: leaf("Inspect a submitted job", jobFile, "jobInspect"),
  periodic: group("Interact with periodic jobs", {
    force: leaf("Force the launch of a periodic job", jobChange, "jobPeriodicForce"),
  }),
  plan: leaf("Dry-run a job update to determine its effects", jobPlan, "jobPlan"),
  promote: leaf("Promote a job's canaries", jobChange, "jobPromote"),
  restart: leaf("Restart or reschedule allocations for a job", jobRestart, "jobRestart"),
  revert: leaf("Revert to a prior version of the job", jobChange, "jobRevert"),
  run: leaf("Run a new job or update an existing job", jobRun, "jobRun"),
  scale: leaf("Change the count of a Nomad job group", jobChange, "jobScale"),
  "scaling-events": leaf("Display the most recent scaling events for a job", jobList, "jobScalingEvents"),
  start: leaf("Start a stopped job", jobStop, "jobStart"),
  status: leaf("Display status information about a job", jobStatus, "jobStatus"),
  stop: leaf("Stop a running job", jobStop, "jobStop"),
  tag: group("Manage job version tags", {
    apply: leaf("Save a job version tag", jobHistory, "jobTagApply"),
    unset: leaf("Remove a job version tag", jobHistory, "jobTagUnset"),
  }),
  validate: leaf("Checks if a given job specification is valid", jobFile, "jobValidate"),
  wait: leaf("Wait until a job has ended and exit with its result", () => import("./job_wait.ts"), "jobWait"),
};

const ALLOC = {
  checks: leaf("Outputs service health check status information", alloc, "allocChecks"),
  exec: leaf("Execute commands in task", allocExec, "allocExec"),
  fs: leaf("Inspect the contents of an allocation directory", allocFs, "allocFs"),
  logs: leaf("Streams the logs of a task", allocFs, "allocLogs"),
  pause: leaf("Set the pause state of a task", alloc, "allocPause"),
  restart: leaf("Restart a running allocation", alloc, "allocRestart"),
  signal: leaf("Signal a running allocation", alloc, "allocSignal"),
  status: leaf("Display allocation status information and metadata", allocStatus, "allocStatus"),
  stop: leaf("Stop and reschedule a running allocation", alloc, "allocStop"),
};

const NODE = {
  config: leaf("View or modify client configuration details", node, "nodeConfig"),
  drain: leaf("Toggle drain mode on a given node", () => import("./node_drain.ts"), "nodeDrain"),
  eligibility: leaf("Toggle scheduling eligibility for a given node", node, "nodeEligibility"),
  identity: absent("Force renewal of node identity", "nodeIdentity"),
  intro: absent("Tooling for managing node introduction tokens", "nodeIntro"),
  meta: group("Interact with node metadata", {
    apply: leaf("Modify node metadata", node, "nodeMetaApply"),
    read: leaf("Read node metadata", node, "nodeMetaRead"),
  }),
  pool: group("Interact with node pools", {
    apply: leaf("Create or update a node pool", nodePool, "nodePoolApply"),
    delete: leaf("Delete a node pool", nodePool, "nodePoolDelete"),
    info: leaf("Fetch information about an existing node pool", nodePool, "nodePoolInfo"),
    init: leaf("Create an example node pool specification file", nodePool, "nodePoolInit"),
    jobs: leaf("Fetch a list of jobs in a node pool", nodePool, "nodePoolJobs"),
    list: leaf("Retrieve a list of node pools", nodePool, "nodePoolList"),
    nodes: leaf("Fetch a list of nodes in a node pool", nodePool, "nodePoolNodes"),
  }),
  status: leaf("Display status information about nodes", nodeStatus, "nodeStatus"),
};

const SERVER = {
  "force-leave": leaf("Force a server into the 'left' state", server, "serverForceLeave"),
  join: leaf("Join server nodes together", server, "serverJoin"),
  members: leaf("Display a list of known servers and their status", server, "serverMembers"),
};

const OPERATOR = {
  api: leaf("Query Nomad's HTTP API", operatorApi, "operatorApi"),
  autopilot: group("Provides tools for modifying Autopilot configuration", {
    "get-config": leaf("Display the current Autopilot configuration", operator, "autopilotGetConfig"),
    health: leaf("Display the current Autopilot health", operator, "autopilotHealth"),
    "set-config": leaf("Modify the current Autopilot configuration", operator, "autopilotSetConfig"),
  }),
  "client-state": absent("Dump a client's local state", "operatorClientState"),
  debug: absent("Build a debug archive", "operatorDebug"),
  gossip: group("Provides access to the Gossip protocol", {
    keyring: group("Manages gossip layer encryption keys", {
      generate: leaf("Generates a new encryption key", gossip, "keyringGenerate"),
      install: leaf("Install a gossip encryption key", gossip, "keyringInstall"),
      list: leaf("List gossip encryption keys", gossip, "keyringList"),
      remove: leaf("Remove a gossip encryption key", gossip, "keyringRemove"),
      use: leaf("Change the gossip encryption key", gossip, "keyringUse"),
    }),
  }),
  metrics: leaf("Retrieve Nomad metrics", operatorApi, "operatorMetrics"),
  raft: group("Provides access to the Raft subsystem", {
    info: absent("Display info of the raft log", "raftLocal"),
    "list-peers": leaf("Display the current Raft peer configuration", operator, "raftListPeers"),
    logs: absent("Display raft log content", "raftLocal"),
    "remove-peer": leaf("Remove a Nomad server from the Raft configuration", operator, "raftRemovePeer"),
    state: absent("Display raft server state", "raftLocal"),
    "transfer-leadership": leaf(
      "Transfer leadership to a specified Nomad server",
      operator,
      "raftTransferLeadership",
    ),
  }),
  root: absent("Interact with root keys", "operatorRoot"),
  scheduler: group("Provides access to the scheduler configuration", {
    "get-config": leaf("Display the current scheduler configuration", operator, "schedulerGetConfig"),
    "set-config": leaf("Modify the current scheduler configuration", operator, "schedulerSetConfig"),
  }),
  snapshot: group("Saves and inspects snapshots of Nomad server state", {
    inspect: leaf("Displays information about a Nomad snapshot file", snapshot, "snapshotInspect"),
    redact: absent("Redacts an existing snapshot of Nomad server state", "snapshotRedact"),
    restore: leaf("Restore snapshot of Nomad server state", snapshot, "snapshotRestore"),
    save: leaf("Saves snapshot of Nomad server state", snapshot, "snapshotSave"),
    state: absent("Displays the records of a Nomad snapshot file", "snapshotState"),
  }),
  utilization: absent("Generate a utilization report", "enterprise"),
};

const ROOT: Record<string, CommandDef> = {
  run: leaf("Run a new job or update an existing job", jobRun, "jobRun"),
  stop: leaf("Stop a running job", jobStop, "jobStop"),
  status: leaf("Display the status output for a resource", () => import("./status.ts"), "status"),
  alloc: group("Interact with allocations", ALLOC),
  job: group("Interact with jobs", JOB),
  node: group("Interact with nodes", NODE),
  agent: leaf("Runs a Nomad agent", () => import("./agent.ts"), "agent"),
  acl: absent("Interact with ACL policies and tokens", "acl"),
  action: leaf("Run a pre-defined command from a given context", allocExec, "jobAction"),
  "agent-info": leaf("Display status information about the local agent", server, "agentInfo"),
  config: group("Interact with configurations", {
    validate: leaf(
      "Validate config files/directories",
      () => import("./config_validate.ts"),
      "configValidate",
    ),
  }),
  deployment: group("Interact with deployments", {
    fail: leaf("Manually fail a deployment", deployment, "deploymentFail"),
    list: leaf("List all deployments", deployment, "deploymentList"),
    pause: leaf("Pause a deployment", deployment, "deploymentPause"),
    promote: leaf("Promote canaries in a deployment", deployment, "deploymentPromote"),
    resume: leaf("Resume a paused deployment", deployment, "deploymentResume"),
    status: leaf("Display the status of a deployment", deployment, "deploymentStatus"),
    unblock: leaf("Unblock a blocked deployment", deployment, "deploymentUnblock"),
  }),
  eval: group("Interact with evaluations", {
    delete: leaf("Delete evaluations by ID or using a filter", evaluation, "evalDelete"),
    list: leaf("List the set of evaluations tracked by Nomad", evaluation, "evalList"),
    status: leaf("Display evaluation status and placement failure reasons", evaluation, "evalStatus"),
  }),
  exec: leaf("Execute commands in task", allocExec, "allocExec"),
  fmt: leaf("Rewrites Nomad config and job files to canonical format", () => import("./fmt.ts"), "fmt"),
  license: absent("Interact with Nomad Enterprise License", "enterprise"),
  login: absent("Login to Nomad using an auth method", "acl"),
  monitor: leaf("Stream logs from a Nomad agent", system, "monitor"),
  namespace: group("Interact with namespaces", {
    apply: leaf("Create or update a namespace", namespace, "namespaceApply"),
    delete: leaf("Delete a namespace", namespace, "namespaceDelete"),
    inspect: leaf("Inspect a namespace", namespace, "namespaceInspect"),
    list: leaf("List namespaces", namespace, "namespaceList"),
    status: leaf("Display a namespace's status", namespace, "namespaceStatus"),
  }),
  operator: group("Provides cluster-level tools for Nomad operators", OPERATOR),
  plugin: absent("Inspect plugins", "volumes"),
  quota: absent("Interact with quotas", "enterprise"),
  recommendation: absent("Interact with the Nomad recommendation endpoint", "enterprise"),
  scaling: group("Interact with the Nomad scaling endpoint", {
    policy: group("Interact with Nomad scaling policies", {
      info: leaf("Display an individual Nomad scaling policy", scaling, "scalingPolicyInfo"),
      list: leaf("List all Nomad scaling policies", scaling, "scalingPolicyList"),
    }),
  }),
  sentinel: absent("Interact with Sentinel policies", "enterprise"),
  server: group("Interact with servers", SERVER),
  service: group("Interact with registered services", {
    delete: leaf("Deregister a registered service", service, "serviceDelete"),
    info: leaf("Display an individual Nomad service registration", service, "serviceInfo"),
    list: leaf("Display all registered Nomad services", service, "serviceList"),
  }),
  setup: absent("Interact with setup helpers", "setup"),
  start: leaf("Start a stopped job", jobStop, "jobStart"),
  system: group("Interact with the system API", {
    gc: leaf("Run the system garbage collection process", system, "systemGc"),
    reconcile: group("Perform system reconciliation tasks", {
      summaries: leaf("Reconciles the summaries of all registered jobs", system, "systemReconcileSummaries"),
    }),
  }),
  tls: absent("Generate Self Signed TLS Certificates for Nomad", "tls"),
  ui: leaf("Open the Nomad Web UI", () => import("./ui_command.ts"), "uiCommand"),
  var: absent("Interact with variables", "variables"),
  version: leaf("Prints the Nomad version", () => import("./version.ts"), "version"),
  volume: absent("Interact with volumes", "volumes"),
  // Old names and shortcuts that the usage does not list.
  "alloc-status": hidden(ALLOC.status),
  check: hidden(absent("Health check of the agent", "check")),
  "client-config": hidden(NODE.config),
  debug: hidden(OPERATOR.debug),
  "eval-status": hidden(leaf("Display evaluation status", evaluation, "evalStatus")),
  fs: hidden(ALLOC.fs),
  init: hidden(JOB.init),
  inspect: hidden(JOB.inspect),
  logs: hidden(ALLOC.logs),
  "node-drain": hidden(NODE.drain),
  "node-status": hidden(NODE.status),
  plan: hidden(JOB.plan),
  "server-force-leave": hidden(SERVER["force-leave"]),
  "server-join": hidden(SERVER.join),
  "server-members": hidden(SERVER.members),
  validate: hidden(JOB.validate),
};

/** How many of the first commands of ROOT the usage calls common. */
const COMMON_COUNT = 7;

export type Found =
  | { kind: "command"; definition: CommandDef; rest: string[] }
  | { kind: "group"; usage: string; rest: string[] }
  | { kind: "unknown" };

/** Follows the words of a command line as far as they name commands. */
export async function findCommand(argv: string[]): Promise<Found> {
  let definition = Object.hasOwn(ROOT, argv[0]!) ? ROOT[argv[0]!] : undefined;
  if (!definition) return { kind: "unknown" };
  let depth = 1;
  for (;;) {
    const subCommands = definition.subCommands as Record<string, CommandDef> | undefined;
    if (!subCommands) return { kind: "command", definition, rest: argv.slice(depth) };
    const word = argv[depth];
    const next: CommandDef | undefined = word !== undefined && Object.hasOwn(subCommands, word)
      ? subCommands[word]
      : undefined;
    if (!next) {
      const { groupUsage } = await import("./groups.ts");
      const usage = groupUsage(argv.slice(0, depth).join(" "), listCommands(subCommands));
      return { kind: "group", usage, rest: argv.slice(depth) };
    }
    definition = next;
    depth++;
  }
}

/** "    name    description" lines, aligned with `gap` spaces behind the longest name. */
function listCommands(commands: Record<string, CommandDef>, gap = 4): string {
  const shown = Object.entries(commands)
    .map(([name, definition]) => ({
      name,
      meta: definition.meta as { description: string; hidden?: boolean },
    }))
    .filter(({ meta }) => !meta.hidden);
  const width = Math.max(...shown.map(({ name }) => name.length));
  return shown.map(({ name, meta }) => `    ${name.padEnd(width + gap)}${meta.description}`).join("\n");
}

/** The usage of the program itself. */
export function rootUsage(): string {
  const entries = Object.entries(ROOT);
  return `Usage: nomad [-version] [-help] [-autocomplete-(un)install] <command> [args]

Common commands:
${listCommands(Object.fromEntries(entries.slice(0, COMMON_COUNT)), 6)}

Other commands:
${listCommands(Object.fromEntries(entries.slice(COMMON_COUNT)), 6)}`;
}

/** All command paths with their loaders, for tests that check every usage. */
export function allCommands(): { path: string[]; definition: CommandDef }[] {
  const found: { path: string[]; definition: CommandDef }[] = [];
  const walk = (commands: Record<string, CommandDef>, path: string[]) => {
    for (const [name, definition] of Object.entries(commands)) {
      found.push({ path: [...path, name], definition });
      if (definition.subCommands) walk(definition.subCommands as Record<string, CommandDef>, [...path, name]);
    }
  };
  walk(ROOT, []);
  return found;
}
