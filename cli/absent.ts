// Commands of Nomad that this version does not have. They are known, so that the answer can say what is missing and what
// to do instead of "unknown command". Each leaves this file when its feature comes.
import type { Command } from "./command.ts";
import { newUi } from "./command.ts";

function absent(what: string, advice: string): Command {
  const text = `${what} not part of this version. ${advice}`;
  return {
    usage: () => text,
    async execute(argv, io) {
      const ui = newUi(io, {});
      const wantsHelp = argv.some((word) => ["-h", "-help", "--help", "--h"].includes(word));
      if (wantsHelp) ui.info(text);
      else ui.error(text);
      await ui.flush();
      return wantsHelp ? 0 : 1;
    },
  };
}

const RAW = "What the API has can be asked with `nomad operator api`.";

export const acl = absent("Access control lists are", "Keep the agent's ports on networks that you trust.");
export const variables = absent("Variables are", "Pass values with -var and template blocks.");
export const volumes = absent(
  "Volumes and their plugins are",
  "Tasks can use directories of the node that their driver mounts.",
);
export const tls = absent(
  "Making certificates is",
  "Any certificate authority, such as openssl or step, makes ones that work.",
);
export const setup = absent("Setting up Consul and Vault is", "Use their own tools.");
export const snapshotRedact = absent(
  "Editing saved snapshots is",
  "There is nothing to redact: the state holds no root keys.",
);
export const snapshotState = absent(
  "Printing the records of a saved snapshot is",
  "`nomad operator snapshot inspect` counts them.",
);
export const operatorRoot = absent("The keyring is", RAW);
export const operatorDebug = absent(
  "Debug archives are",
  "`nomad agent-info` and `nomad monitor` show an agent from inside.",
);
export const operatorClientState = absent(
  "Showing a node's local state is",
  "`nomad alloc status` shows what its allocations do.",
);
export const raftLocal = absent(
  "Reading the log of a stopped server is",
  "`nomad operator raft list-peers` asks a running one.",
);
export const nodeIdentity = absent("Node identities are", RAW);
export const nodeIntro = absent("Node introduction tokens are", "Nodes register without one.");
export const enterprise = absent("Nomad Enterprise features are", "There is nothing to unlock.");
export const check = absent(
  "The old health check command is",
  "Ask /v1/agent/health with `nomad operator api`.",
);
