// `job history`, and `job tag`, which names versions.
import type { JobDiff } from "../core/job_diff.ts";
import type { Job } from "../core/types.ts";
import { bool, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { formatJobDiff } from "./diff.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { formatTimeNs, quote } from "./format.ts";
import { parseVersion } from "./job_file.ts";
import { formatJson, parseExact } from "./json_text.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { jobPath, resolveJob } from "./resolve.ts";
import { formatKeyValues } from "./table.ts";

interface Versions {
  Versions: Job[];
  Diffs: JobDiff[] | null;
}

export const jobHistory = command({
  form: "nomad job history [options] <job>",
  about: `Shows the known versions of a job, and with -p how each differs from the one
before, or from a chosen one.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the job's namespace. The 'list-jobs' capability is required to
run the command with a job prefix instead of the exact job ID.`,
  general: "all",
  title: "History Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job>" },
  flags: {
    "diff-tag": string("With -p: compare with the version of this name."),
    "diff-version": string("With -p: compare with this version."),
    full: bool("Show the whole job of each version."),
    ...dataFlags("job versions"),
    p: bool("Show the difference of each version."),
    version: string("Show only this version."),
  },
  async run(context) {
    const { flags } = context;
    if (wantsData(flags) && (flags.p || flags.full)) {
      throw new CommandError("-json and -t are exclusive with -p and -full");
    }
    if ((flags["diff-tag"] || flags["diff-version"]) && !flags.p) {
      throw new CommandError("-diff-tag and -diff-version can only be used with -p");
    }
    if (flags["diff-tag"] && flags["diff-version"]) {
      throw new CommandError("-diff-tag and -diff-version are mutually exclusive");
    }
    const match = await resolveJob(context, context.args[0]!);
    const answer = await attempt(
      "Error retrieving job versions",
      context.api.get<Versions>(jobPath(match.id, "/versions"), {
        query: {
          namespace: match.namespace,
          diffs: flags.p,
          diff_tag: flags["diff-tag"] || undefined,
          diff_version: flags["diff-version"] ? parseVersion(flags["diff-version"]) : undefined,
        },
      }),
    );
    return await show(context, answer.data, parseExact(answer.text) as { Versions: unknown[] });
  },
});

interface HistoryFlags {
  json: boolean;
  t: string;
  p: boolean;
  full: boolean;
  version: string;
  "diff-tag": string;
  "diff-version": string;
}

async function show(
  context: Context<HistoryFlags>,
  data: Versions,
  exact: { Versions: unknown[] },
): Promise<number> {
  const { flags, ui } = context;
  const versions = data.Versions ?? [];
  if (flags.version === "") {
    if (wantsData(flags)) return await outputData(context, flags, { value: exact.Versions }, "*api.Job");
    const parts = versions.map((job, i) => formatVersion(context, job, data.Diffs?.[i], exact.Versions[i]));
    ui.coloured(parts.join("\n\n"));
    return 0;
  }
  const wanted = parseVersion(flags.version);
  const at = versions.findIndex((job) => job.Version === wanted);
  if (at < 0) throw new CommandError("Error printing job history for non-existing job or job version");
  if (wantsData(flags)) return await outputData(context, flags, { value: exact.Versions[at] }, "*api.Job");
  ui.coloured(formatVersion(context, versions[at]!, data.Diffs?.[at], exact.Versions[at]));
  return 0;
}

function formatVersion(
  context: Context<HistoryFlags>,
  job: Job,
  diff: JobDiff | undefined,
  exact: unknown,
): string {
  const { flags, ui } = context;
  const pairs: [string, unknown][] = [
    ["Version", job.Version],
    ["Stable", job.Stable ?? false],
    ["Submit Date", formatTimeNs(job.SubmitTime)],
  ];
  if (job.VersionTag) {
    pairs.push(["Tag Name", job.VersionTag.Name], ["Tag Description", job.VersionTag.Description]);
  }
  const width = Math.max(...pairs.map(([key]) => key.length));
  let out = formatKeyValues(pairs);
  if (flags.p && diff && diff.Type !== "None") {
    out += `\n${"Diff".padEnd(width)} = \n${formatJobDiff(diff, false, ui.c).trimEnd()}`;
  }
  if (flags.full) out += `\n${"Full".padEnd(width)} = JSON Job:\n${formatJson(exact)}`;
  return out;
}

export const jobTagApply = command({
  form: "nomad job tag apply [options] <jobname>",
  about: `Gives a version of a job a name. It is kept from garbage collection then, and can
be compared with and reverted to by its name.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'tag-job-version' capability for the job's namespace.`,
  general: "noNamespace",
  title: "Tag Apply Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job>" },
  flags: {
    description: string("What is special about this version.", "text"),
    name: string("The name. Needed.", "name"),
    version: string("The version to name. Defaults to the newest.", "number"),
  },
  async run(context) {
    const { flags, api, ui } = context;
    if (flags.name === "") throw new UsageError("A version tag name is required");
    const match = await resolveJob(context, context.args[0]!);
    const query = { namespace: match.namespace };
    const version = flags.version === ""
      ? (await attempt("Error tagging job version", api.get<Job>(jobPath(match.id), { query }))).data.Version
      : parseVersion(flags.version);
    await attempt(
      "Error tagging job version",
      api.put(jobPath(match.id, `/versions/${encodeURIComponent(flags.name)}/tag`), {
        Version: version,
        Description: flags.description,
      }, { query }),
    );
    ui.output(`Job version ${version} tagged with name ${quote(flags.name)}`);
    return 0;
  },
});

export const jobTagUnset = command({
  form: "nomad job tag unset [options] -name <tag> <job>",
  about: `Takes the name of a version of a job away.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'tag-job-version' capability for the job's namespace.`,
  general: "all",
  title: "Tag Unset Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job>" },
  flags: { name: string("The name. Needed.", "name") },
  async run(context) {
    const { flags, api, ui } = context;
    if (flags.name === "") throw new UsageError("A version tag name is required");
    const match = await resolveJob(context, context.args[0]!);
    await attempt(
      "Error tagging job version",
      api.delete(jobPath(match.id, `/versions/${encodeURIComponent(flags.name)}/tag`), {
        query: { namespace: match.namespace },
      }),
    );
    ui.output(`Tag ${quote(flags.name)} removed from job ${quote(match.id)}`);
    return 0;
  },
});
