// `system gc`, `system reconcile summaries`, and `monitor`, which shows an agent's log as it is written.
import { bool, string } from "./args.ts";
import { command } from "./command.ts";
import { attempt, CommandError, RequestError } from "./errors.ts";
import { pour, untilInterrupted } from "./stream.ts";

const NONE = { min: 0, max: 0, complaint: "This command takes no arguments" };

export const systemGc = command({
  form: "nomad system gc [options]",
  about: `Collects garbage now: jobs, evaluations, allocations and nodes that are done.

When ACLs are enabled, this command requires a management token.`,
  general: "noNamespace",
  title: "GC Options",
  args: NONE,
  flags: {},
  async run(context) {
    await attempt("Error running system garbage-collection", context.api.put("/v1/system/gc", {}));
    return 0;
  },
});

export const systemReconcileSummaries = command({
  form: "nomad system reconcile summaries [options]",
  about: `Counts the allocations of all jobs anew and puts their summaries right.

When ACLs are enabled, this command requires a management token.`,
  general: "noNamespace",
  title: "Reconcile Options",
  args: NONE,
  flags: {},
  async run(context) {
    await attempt(
      "Error running system summary reconciliation",
      context.api.put("/v1/system/reconcile/summaries", {}),
    );
    return 0;
  },
});

export const monitor = command({
  form: "nomad monitor [options]",
  about: `Shows the log of an agent as it is written, until Ctrl-C: of the asked one, or of
the node or server that is named. The level may be lower than the agent's own.

When ACLs are enabled, this command requires a token with the 'agent:read'
capability.`,
  general: "noNamespace",
  title: "Monitor Specific Options",
  flags: {
    json: bool("Show log messages as JSON."),
    "log-include-location": bool("Add file and line to log messages."),
    "log-level": string(
      "Least severe messages to show: TRACE, DEBUG, INFO, WARN or ERROR. Defaults to INFO.",
      "level",
    ),
    "node-id": string("Show the log of this node.", "id"),
    "server-id": string('Show the log of this server: its name, or "leader".', "id"),
  },
  async run(context) {
    const { flags, api, args } = context;
    if (args.length > 0) {
      throw new CommandError(
        "==> This command takes no arguments\n==> For additional help try 'nomad monitor -help'",
      );
    }
    await untilInterrupted(context, async (signal) => {
      try {
        const response = await api.request("GET", "/v1/agent/monitor", {
          query: {
            plain: true,
            log_json: flags.json,
            log_include_location: flags["log-include-location"],
            log_level: flags["log-level"] || undefined,
            node_id: flags["node-id"] || undefined,
            server_id: flags["server-id"] || undefined,
          },
          signal,
        });
        await pour(context, response.body);
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        const text = `==> Error starting monitor: ${error.message}`;
        throw new CommandError(
          error.hint
            ? `${text}\n==> ${error.hint}`
            : `${text}\n==> For additional help try 'nomad monitor -help'`,
        );
      }
    });
    return 0;
  },
});
