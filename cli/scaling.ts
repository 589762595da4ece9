// `scaling policy list` and `info`.
import type { ScalingPolicy } from "../core/types.ts";
import { bool, string } from "./args.ts";
import { command } from "./command.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { quote, shortId } from "./format.ts";
import { formatJson, parseExact } from "./json_text.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { sanitizePrefix } from "./resolve.ts";
import { formatKeyValues, formatTable } from "./table.ts";

const ACL_NOTE = `When ACLs are enabled, this command requires a token with the
'list-scaling-policies' and 'read-scaling-policy' capabilities, or with
'list-jobs' and 'read-job', for the namespace.`;

/** "Namespace:default,Job:web,Group:app". */
function targetText(target: Record<string, string> | null): string {
  const known = ["Namespace", "Job", "Group", "Task"];
  const names = Object.keys(target ?? {}).filter((name) => !known.includes(name)).sort();
  return [...known, ...names].filter((name) => target?.[name]).map((name) => `${name}:${target![name]}`).join(
    ",",
  );
}

function formatPolicies(policies: ScalingPolicy[], verbose: boolean): string {
  return formatTable([
    ["ID", "Enabled", "Type", "Target"],
    ...policies.map((policy) => [
      shortId(policy.ID, verbose),
      policy.Enabled,
      policy.Type,
      targetText(policy.Target),
    ]),
  ]);
}

export const scalingPolicyList = command({
  form: "nomad scaling policy list [options]",
  about: `Lists the scaling policies of jobs.\n\n${ACL_NOTE}`,
  general: "all",
  title: "Policy List Options",
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: {
    job: string("Only policies of this job."),
    ...dataFlags("scaling policies"),
    type: string("Only policies of this type."),
    verbose: bool("Display full information."),
  },
  async run(context) {
    const { flags, ui } = context;
    const answer = await attempt(
      "Error listing scaling policies",
      context.api.get<ScalingPolicy[] | null>("/v1/scaling/policies", {
        query: { job: flags.job || undefined, type: flags.type || undefined },
      }),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.ScalingPolicyListStub");
    const policies = answer.data ?? [];
    ui.output(policies.length === 0 ? "No policies found" : formatPolicies(policies, flags.verbose));
    return 0;
  },
});

export const scalingPolicyInfo = command({
  form: "nomad scaling policy info [options] <policy_id>",
  about: `Shows a scaling policy.\n\n${ACL_NOTE}`,
  general: "all",
  title: "Policy Info Options",
  flags: { ...dataFlags("the scaling policy"), verbose: bool("Display full information.") },
  async run(context) {
    const { flags, args, ui, api } = context;
    if (args.length === 0 && wantsData(flags)) {
      const answer = await attempt(
        "Error querying scaling policies",
        api.get<unknown>("/v1/scaling/policies"),
      );
      return await outputData(context, flags, answer, "*api.ScalingPolicyListStub");
    }
    if (args.length !== 1) {
      throw new UsageError(
        "This command takes one of the following argument conditions:\n * A single <policy_id>\n * No arguments, with output format specified",
      );
    }
    const { data } = await attempt(
      "Error querying scaling policy: error querying scaling policies",
      api.get<ScalingPolicy[] | null>("/v1/scaling/policies", {
        query: { prefix: sanitizePrefix(args[0]!) },
      }),
    );
    const [first, ...others] = data ?? [];
    if (!first) {
      throw new CommandError(
        `Error querying scaling policy: no scaling policies with prefix or id ${quote(args[0]!)} found`,
      );
    }
    if (others.length > 0) {
      throw new CommandError(
        `Prefix matched multiple scaling policies\n\n${formatPolicies(data!, flags.verbose)}`,
      );
    }
    const answer = await attempt(
      "Error querying scaling policy",
      api.get<ScalingPolicy>(`/v1/scaling/policy/${first.ID}`),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.ScalingPolicy");
    const policy = answer.data;
    const exact = (parseExact(answer.text) as { Policy?: unknown }).Policy;
    const isEmpty = !policy.Policy || Object.keys(policy.Policy).length === 0;
    ui.output(formatKeyValues([
      ["ID", shortId(policy.ID, flags.verbose)],
      ["Enabled", policy.Enabled],
      ["Target", targetText(policy.Target)],
      ["Min", policy.Min ?? 0],
      ["Max", policy.Max ?? 0],
    ]));
    ui.output(`\nPolicy:\n${isEmpty ? "<empty>" : formatJson(exact)}`);
    return 0;
  },
});
