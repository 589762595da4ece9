// `status`: finds out what an identifier names and shows that; without one, all jobs.
import { bool } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { quote } from "./format.ts";

export const status = command({
  form: "nomad status [options] <identifier>",
  about: `Display the status output for any given resource. The command will
detect the type of resource being queried and display the appropriate
status output.

If no arguments are provided, the command will fallback to "nomad job status",
which will list all jobs.`,
  general: "all",
  title: "Status Options",
  flags: {
    ui: bool("Open the page of the resource in the browser."),
    verbose: bool("Display full information."),
  },
  async run(context) {
    if (context.args.length > 1) {
      throw new UsageError("This command takes either no arguments or one: <identifier>");
    }
    const { verbose, ui } = context.flags;
    const typed = context.args[0];
    const found = typed === undefined ? { kind: "jobs", id: undefined } : await searchOne(context, typed);
    return await show(context, found, { verbose, ui });
  },
});

type Matches = Record<string, string[] | null>;

/** The one thing that an identifier names: an exact job or a single match. */
export async function searchOne(context: Context, typed: string): Promise<{ kind: string; id: string }> {
  const { data } = await attempt(
    `Error querying search with id`,
    context.api.put<{ Matches: Matches | null }>("/v1/search", { Prefix: typed, Context: "all" }),
  );
  const matches = Object.entries(data.Matches ?? {}).filter((entry): entry is [string, string[]] =>
    (entry[1]?.length ?? 0) > 0
  );
  if (matches.length === 0) throw new CommandError(`Unable to resolve ID: ${quote(typed)}`);
  const jobs = matches.find(([kind]) => kind === "jobs")?.[1] ?? [];
  if (jobs.includes(typed)) return { kind: "jobs", id: typed };
  const [only] = matches;
  if (matches.length === 1 && only![1].length === 1) return { kind: only![0], id: only![1][0]! };
  // A prefix of several jobs is for `job status` to list.
  if (matches.length === 1 && only![0] === "jobs") return { kind: "jobs", id: typed };
  const list = matches
    .toSorted(([a], [b]) => a < b ? -1 : 1)
    .map(([kind, ids]) => `${kind[0]!.toUpperCase()}${kind.slice(1)}:\n${ids.join(", ")}`);
  throw new CommandError(`Multiple matches found for id ${quote(typed)}\n\n${list.join("\n\n")}`);
}

interface Flags {
  verbose: boolean;
  ui: boolean;
}

async function show(
  context: Context,
  found: { kind: string; id: string | undefined },
  flags: Flags,
): Promise<number> {
  const data = { json: false, t: "", short: false, stats: false, monitor: false };
  const id = found.id ?? "";
  switch (found.kind) {
    case "jobs": {
      const { showJobStatus } = await import("./job_status.ts");
      return await showJobStatus(context, found.id, { ...data, ...flags, "all-allocs": false, evals: false });
    }
    case "allocs": {
      const { showAllocStatus } = await import("./alloc_status.ts");
      return await showAllocStatus(context, id, { ...data, ...flags });
    }
    case "nodes": {
      const { showNodeStatus } = await import("./node_status.ts");
      return await showNodeStatus(context, id, { ...data, ...flags });
    }
    case "evals": {
      const { showEvalStatus } = await import("./eval.ts");
      return await showEvalStatus(context, id, { ...data, ...flags });
    }
    case "deployment": {
      const { showDeploymentStatus } = await import("./deployment.ts");
      return await showDeploymentStatus(context, id, { ...data, ...flags, wait: 2e9 });
    }
    case "namespaces":
      return await showOther(context, "namespace", "namespaceStatus", id);
    case "node_pools":
      return await showOther(context, "node_pool", "nodePoolInfo", id);
    case "scaling_policy":
      return await showOther(context, "scaling", "scalingPolicyInfo", id);
    default:
      throw new CommandError(`Unable to show ${quote(id)}: this program has no status of ${found.kind}`);
  }
}

/** Kinds whose status is a command of its own. */
async function showOther(
  context: Context,
  file: "namespace" | "node_pool" | "scaling",
  name: string,
  id: string,
): Promise<number> {
  const modules = {
    namespace: () => import("./namespace.ts"),
    node_pool: () => import("./node_pool.ts"),
    scaling: () => import("./scaling.ts"),
  };
  const found = (await modules[file]()) as unknown as Record<string, import("./command.ts").Command>;
  const passed = context.argv.filter((word) => word.startsWith("-") && !/^--?(verbose|ui)\b/.test(word));
  return await found[name]!.execute([...passed, id], context.io);
}
