// `agent`: reads its flags and hands them to the agent, which mod.ts passes in. What a flag means, and which one this
// version refuses, is agent/flags.ts's; here only their grammar and words stand.
import { bool, type Flag, int, list, optionalBool, string } from "./args.ts";
import { command } from "./command.ts";

/** What the agent gets of the command line. */
export interface AgentFlags {
  /** By flag name; strings, numbers, booleans and lists. */
  values: Readonly<Record<string, unknown>>;
  /** Names of the flags that were really given. */
  given: readonly string[];
  stdout(text: string): void;
  stderr(text: string): void;
}

const GENERAL = {
  config: list(
    "A file, or a directory whose *.hcl and *.json files are read in the order of their names. May be given several times; later values win.",
    "path",
  ),
  dev: bool(
    "Server and client in one process, listening on loopback, keeping nothing: for trying things out.",
  ),
  bind: string(
    "Address that all listeners are bound to. Defaults to 0.0.0.0, with -dev to 127.0.0.1.",
    "addr",
  ),
  "data-dir": string("Directory where the agent keeps its state. Needed unless -dev.", "path"),
  dc: string('Datacenter of this agent. Defaults to "dc1".', "datacenter"),
  "log-level": string("Least severe messages to log: TRACE, DEBUG, INFO, WARN, ERROR or OFF.", "level"),
  "log-json": bool("Log in JSON."),
  "log-include-location": bool("Add file and line to log messages."),
  node: string("Name of this agent. Defaults to the host's name.", "name"),
  region: string('Region of this agent. Defaults to "global".', "region"),
  "plugin-dir": string("Directory of plugins.", "path"),
  eventlog: bool("Send logs to the Windows event log."),
  "eventlog-level": string("Least severe messages for the Windows event log.", "level"),
  "dev-connect": bool("Like -dev, for service mesh tests."),
  "dev-consul": bool("Like -dev, with workload identities for Consul."),
  "dev-vault": bool("Like -dev, with workload identities for Vault."),
};

const SERVER = {
  server: bool("Run the server."),
  "bootstrap-expect": int("How many servers have to be there before a leader is elected.", "num"),
  encrypt: string("Key that gossip between servers is encrypted with.", "key"),
  join: list("A server to join at the start. May be given several times.", "address"),
  "raft-protocol": int("Version of the consensus protocol.", "num"),
  rejoin: bool("Join the old cluster again after having left it."),
  "retry-interval": string("Time between two attempts to join.", "duration"),
  "retry-join": list(
    "A server to join, again and again until it works. May be given several times.",
    "address",
  ),
  "retry-max": int("How many attempts to join before giving up; 0 for no limit.", "num"),
};

const CLIENT = {
  client: bool("Run the client."),
  "alloc-dir": string("Directory of the allocations.", "path"),
  "alloc-mounts-dir": string("Directory where allocations are mounted.", "path"),
  "client-intro-token": string("Token that introduces this node to the servers.", "token"),
  "host-volume-plugin-dir": string("Directory of host volume plugins.", "path"),
  "host-volumes-dir": string("Directory of host volumes.", "path"),
  meta: list("Metadata of this node. May be given several times.", "key=value"),
  "network-interface": string("Network interface whose address tasks are given.", "name"),
  "network-speed": int("Speed of the network in MBits, when it cannot be found out.", "mbits"),
  "node-class": string("Class of this node.", "class"),
  "node-pool": string("Pool that this node is in.", "pool"),
  "preferred-address-family": string("ipv4 or ipv6.", "family"),
  servers: string("Servers to register with, with commas between.", "addresses"),
  "state-dir": string("Directory of the client's state.", "path"),
};

const ACL = {
  "acl-enabled": bool("Turn access control on."),
  "acl-replication-token": string(
    "Token for replicating access control from the authoritative region.",
    "token",
  ),
};

/** The flags of two systems that this agent may refuse; they are understood so that the answer can say why. */
const CONSUL_AND_VAULT: Record<string, Flag<unknown>> = {
  ...forEach("consul-", string(""), [
    "address",
    "auth",
    "token",
    "ca-file",
    "cert-file",
    "key-file",
    "client-service-name",
    "client-http-check-name",
    "server-service-name",
    "server-http-check-name",
    "server-serf-check-name",
    "server-rpc-check-name",
  ]),
  ...forEach("consul-", int(""), [
    "client-failures-before-critical",
    "client-failures-before-warning",
    "server-failures-before-critical",
    "server-failures-before-warning",
  ]),
  ...forEach("consul-", optionalBool(""), [
    "auto-advertise",
    "checks-use-advertise",
    "server-auto-join",
    "client-auto-join",
    "ssl",
    "verify-ssl",
  ]),
  ...forEach("vault-", string(""), [
    "address",
    "namespace",
    "create-from-role",
    "ca-file",
    "ca-path",
    "cert-file",
    "key-file",
    "tls-server-name",
  ]),
  ...forEach("vault-", optionalBool(""), ["enabled", "tls-skip-verify"]),
};

function forEach(prefix: string, flag: Flag<unknown>, names: string[]): Record<string, Flag<unknown>> {
  return Object.fromEntries(names.map((name) => [prefix + name, flag]));
}

export const agent = command({
  form: "nomad agent [options]",
  about: `Runs the agent until Ctrl-C: a server, a client or both, as flags and
configuration files say. Flags win over files.

Try it out, with everything in one process and nothing kept:

    $ nomad agent -dev`,
  general: "none",
  title: "Agent Options",
  flags: { ...GENERAL, ...SERVER, ...CLIENT, ...ACL, ...CONSUL_AND_VAULT },
  args: {
    min: 0,
    max: 0,
    complaint: "This command takes no arguments: give files and directories with -config",
  },
  run(context) {
    return context.io.runAgent({
      values: context.flags,
      given: [...context.given],
      stdout: (text) => void context.ui.write(text, "stdout"),
      stderr: (text) => void context.ui.write(text, "stderr"),
    });
  },
});
