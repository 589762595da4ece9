// The usages of the commands that only group others.

interface Group {
  /** What the group is for, and examples. */
  about: string;
}

const GROUPS: Record<string, Group> = {
  job: {
    about: `This command groups subcommands for interacting with jobs.

Run a new job or update an existing job:

    $ nomad job run <path>

Plan the run of a job to determine what changes would occur:

    $ nomad job plan <path>

Stop a running job:

    $ nomad job stop <name>

Examine the status of a running job:

    $ nomad job status <name>`,
  },
  "job periodic": {
    about: `This command groups subcommands for interacting with periodic jobs.

Launch a periodic job now, outside its schedule:

    $ nomad job periodic force <job>`,
  },
  "job tag": {
    about: `This command groups subcommands for naming versions of a job. A named version is
kept, and can be compared with and reverted to by its name.

    $ nomad job tag apply -name golden <job>`,
  },
  alloc: {
    about: `This command groups subcommands for interacting with allocations: what they do,
their logs and files, and running commands inside their tasks.

Examine an allocation:

    $ nomad alloc status <alloc-id>

Follow a task's log:

    $ nomad alloc logs -f <alloc-id> <task>

Stop an allocation, so that it is placed again:

    $ nomad alloc stop <alloc-id>`,
  },
  node: {
    about: `This command groups subcommands for interacting with nodes.

List the nodes and their state:

    $ nomad node status

Move the work away from a node:

    $ nomad node drain -enable <node-id>`,
  },
  "node meta": {
    about: `This command groups subcommands for the metadata of a node, which can change while
it runs.

    $ nomad node meta apply -node-id <node-id> rack=r1`,
  },
  "node pool": {
    about: `This command groups subcommands for interacting with node pools.

List the node pools:

    $ nomad node pool list

Create or update a node pool:

    $ nomad node pool apply <path>`,
  },
  config: { about: "This command groups subcommands for interacting with configuration files." },
  deployment: {
    about: `This command groups subcommands for interacting with deployments.

Examine a deployment:

    $ nomad deployment status <deployment-id>

Promote its canaries:

    $ nomad deployment promote <deployment-id>`,
  },
  eval: {
    about: `This command groups subcommands for interacting with evaluations, the units of
scheduling work.

Examine an evaluation:

    $ nomad eval status <eval-id>`,
  },
  namespace: {
    about: `This command groups subcommands for interacting with namespaces.

Create or update a namespace:

    $ nomad namespace apply -description "my team" <name>`,
  },
  operator: {
    about: `This command groups the tools of those who operate a cluster: its consensus,
its scheduler, its metrics and its raw API.`,
  },
  "operator autopilot": {
    about: "This command groups subcommands for Autopilot, which looks after the servers.",
  },
  "operator gossip": {
    about: "This command groups subcommands for gossip, by which the servers find each other.",
  },
  "operator gossip keyring": {
    about: `This command groups subcommands for the keys that gossip between servers is
encrypted with. Changing the key, on all servers while they run:

    $ nomad operator gossip keyring generate

    $ nomad operator gossip keyring install <new key>

    $ nomad operator gossip keyring use <new key>

    $ nomad operator gossip keyring remove <old key>`,
  },
  "operator raft": { about: "This command groups subcommands for the consensus between the servers." },
  "operator snapshot": {
    about: `This command groups subcommands for the servers' whole state as a file: to keep a copy
of it elsewhere, and to put it back.

Save the state:

    $ nomad operator snapshot save backup.snap

See what a file holds:

    $ nomad operator snapshot inspect backup.snap

Put a saved state in the place of the present one:

    $ nomad operator snapshot restore backup.snap`,
  },
  "operator scheduler": { about: "This command groups subcommands for the configuration of the scheduler." },
  scaling: { about: "This command groups subcommands for interacting with scaling." },
  "scaling policy": { about: "This command groups subcommands for interacting with scaling policies." },
  server: {
    about: `This command groups subcommands for interacting with servers.

List the known servers:

    $ nomad server members`,
  },
  service: {
    about: `This command groups subcommands for the services that jobs registered.

List the services:

    $ nomad service list`,
  },
  system: { about: "This command groups subcommands for the system as a whole." },
  "system reconcile": { about: "This command groups subcommands that put derived data right." },
};

/** The usage of the group at `path` with its subcommands listed. */
export function groupUsage(path: string, subCommands: string): string {
  const group = GROUPS[path] ?? { about: "This command groups subcommands." };
  const about = group.about.split("\n").map((line) => line === "" ? "" : `  ${line}`).join("\n");
  return `Usage: nomad ${path} <subcommand> [options] [args]

${about}

  Please see the individual subcommand help for detailed usage information.

Subcommands:
${subCommands}`;
}
