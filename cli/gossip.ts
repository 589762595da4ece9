// `operator gossip keyring`: the keys that gossip between servers is encrypted with.
import { randomBytes } from "node:crypto";
import { type Command, command } from "./command.ts";
import { attempt } from "./errors.ts";
import { formatTable } from "./table.ts";

const PATH = "/v1/agent/keyring";
const KEY_BYTES = 32;
const NOTE = `It can only be asked of a server. The exit code is 1 when one of the living servers
did not answer or could not do it.

When ACLs are enabled, this command requires a token with the 'agent:write'
capability.`;
const ONE_KEY = { min: 1, max: 1, complaint: "This command requires one argument: <key>" };

export const keyringGenerate = command({
  form: "nomad operator gossip keyring generate",
  about: `Makes a new random key of 32 bytes and prints it in the form that the agent's
"encrypt" setting and the other keyring commands take. Asks no server.`,
  general: "none",
  title: "Keyring Generate Options",
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: {},
  run({ ui }) {
    ui.output(randomBytes(KEY_BYTES).toString("base64"));
    return Promise.resolve(0);
  },
});

export const keyringList = command({
  form: "nomad operator gossip keyring list [options]",
  about: `Lists the keys that the servers have for gossip.\n\n${NOTE}`,
  general: "noNamespace",
  title: "Keyring List Options",
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: {},
  async run({ api, ui }) {
    ui.output("Gathering installed encryption keys...");
    const { data } = await attempt("error", api.get<{ Keys: Record<string, number> | null }>(`${PATH}/list`));
    ui.output(formatTable([["Key"], ...Object.keys(data.Keys ?? {}).sort().map((key) => [key])]));
    return 0;
  },
});

function changing(operation: "install" | "use" | "remove", about: string, doing: string): Command {
  const word = operation[0]!.toUpperCase() + operation.slice(1);
  return command({
    form: `nomad operator gossip keyring ${operation} [options] <key>`,
    about: `${about}\n\n${NOTE}`,
    general: "noNamespace",
    title: `Keyring ${word} Options`,
    args: ONE_KEY,
    flags: {},
    async run({ api, ui, args }) {
      ui.output(doing);
      await attempt("error", api.put(`${PATH}/${operation}`, { Key: args[0]! }));
      return 0;
    },
  });
}

export const keyringInstall = changing(
  "install",
  "Installs a key on all servers. They can read what is encrypted with it from then on, and go on\nencrypting with the one in use.",
  "Installing new gossip encryption key...",
);

export const keyringUse = changing(
  "use",
  "Makes an installed key the one that all servers encrypt with.",
  "Changing primary gossip encryption key...",
);

export const keyringRemove = changing(
  "remove",
  "Removes a key from all servers. The one in use cannot be removed.",
  "Removing gossip encryption key...",
);
