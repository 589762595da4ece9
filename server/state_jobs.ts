// What the job commands mean: versions, submissions, stability, tags, scaling events, stopping and purging.
//
// Invariants: a version's specification never changes; registering an unchanged specification writes no job; a purge
// takes allocations, deployments and services along at once, evaluations stay.
import type { Evaluation, Job, JobSubmission, JobSummary, JobVersionTag } from "../core/types.ts";
import type { Command } from "./commands.ts";
import { sameSpec } from "./job_compare.ts";
import { updateConflict } from "./job_update.ts";
import type { ApplyResult } from "./log.ts";
import { formatMultiError } from "./multi_error.ts";
import { withPolicyIndexes } from "./job_scaling.ts";
import { jobKey } from "./state_keys.ts";
import type { JobRow, Tables } from "./state_tables.ts";
import { SUMMARY_FIELD, type Write } from "./state_write.ts";

type Of<K extends Command["kind"]> = Extract<Command, { kind: K }>;

/** Scaling events kept of every group. */
const SCALING_EVENTS_MAX = 20;

/** What `job.register` and `job.deregister` give back to the proposer. */
export interface JobWritten {
  job: Job;
  /** The specification was the one that is there: no new version. */
  unchanged: boolean;
}

export function refuse(status: number, message: string): ApplyResult {
  return { refused: { status, message } };
}

export function registerJob(w: Write, c: Of<"job.register">): ApplyResult {
  const refusal = refuseRegistration(w.tables, c);
  if (refusal) return refusal;
  const written = upsertJob(w, c.job, c.submission);
  putJobEvals(w, written.job, c.evals);
  const { Namespace: namespace, ID: id } = written.job;
  if (c.scaling) addScalingEvent(w, { kind: "job.scalingEvent", time: c.time, namespace, id, ...c.scaling });
  return { value: written };
}

function refuseRegistration(tables: Tables, c: Of<"job.register">): ApplyResult | null {
  const { job } = c;
  const existing = tables.jobs.get(jobKey(job.Namespace, job.ID))?.job;
  if (c.enforceIndex !== undefined) {
    const message = enforcementConflict(existing, c.enforceIndex);
    if (message) return refuse(500, message);
  }
  const conflict = existing ? updateConflict(existing, job) : null;
  if (conflict) return refuse(500, conflict);
  const errors: string[] = [];
  if (!tables.namespaces.has(job.Namespace)) {
    errors.push(`job "${job.ID}" is in nonexistent namespace "${job.Namespace}"`);
  }
  if (!tables.pools.has(job.NodePool)) {
    errors.push(`job "${job.ID}" is in nonexistent node pool "${job.NodePool}"`);
  }
  return errors.length > 0 ? refuse(500, formatMultiError(errors)) : null;
}

function enforcementConflict(existing: Job | undefined, index: number): string | null {
  const start = `Enforcing job modify index ${index}: `;
  if (index === 0) return existing ? `${start}job already exists` : null;
  if (!existing) return `${start}job does not exist`;
  if (existing.JobModifyIndex === index) return null;
  return `${start}job exists with conflicting job modify index: ${existing.JobModifyIndex}`;
}

/** Writes a job as a new version unless its specification is the one that is there. */
export function upsertJob(w: Write, given: Job, submission: JobSubmission | null): JobWritten {
  const key = jobKey(given.Namespace, given.ID);
  const row = w.tables.jobs.get(key);
  const spec = withPolicyIndexes(given, row?.job, w.index);
  if (row && sameSpec(row.job, spec)) return { job: row.job, unchanged: true };
  const job: Job = {
    ...spec,
    Status: row ? row.job.Status : "pending",
    StatusDescription: "",
    // Stopping is not a new thing to prove: the version stays as stable as it was.
    Stable: spec.Stop && row ? row.job.Stable : false,
    Version: row ? row.job.Version + 1 : 0,
    SubmitTime: spec.SubmitTime || w.time,
    VersionTag: null,
    CreateIndex: row ? row.job.CreateIndex : w.index,
    ModifyIndex: w.index,
    JobModifyIndex: w.index,
  };
  const versions = trimVersions(w.tables, [job, ...(row?.versions ?? [])]);
  w.putJob(key, {
    job,
    versions,
    submissions: nextSubmissions(row, job, submission, versions),
    summary: row?.summary ?? newSummary(w, job),
    scaling: row?.scaling ?? {},
    launchMs: row?.launchMs ?? null,
  });
  w.touch("job_versions");
  if (!row) publishNewJob(w, key);
  else addGroups(w, key, job);
  return { job, unchanged: false };
}

function publishNewJob(w: Write, key: string): void {
  // Taking the private copy publishes the new summary when the command ends.
  w.summary(key);
  w.touch("job_summary");
}

function newSummary(w: Write, job: Job): JobSummary {
  return {
    JobID: job.ID,
    Namespace: job.Namespace,
    Summary: Object.fromEntries(job.TaskGroups.map((group) => [group.Name, emptyGroupSummary()])),
    Children: { Pending: 0, Running: 0, Dead: 0 },
    CreateIndex: w.index,
    ModifyIndex: w.index,
  };
}

export function emptyGroupSummary() {
  return { Queued: 0, Complete: 0, Failed: 0, Running: 0, Starting: 0, Lost: 0, Unknown: 0 };
}

function addGroups(w: Write, key: string, job: Job): void {
  const known = w.tables.jobs.get(key)!.summary.Summary;
  for (const group of job.TaskGroups) {
    if (!known[group.Name]) w.summary(key)!.Summary[group.Name] = emptyGroupSummary();
  }
}

/** Keeps the newest tracked versions and all tagged ones; of the stable ones at least the newest. */
function trimVersions(tables: Tables, versions: Job[]): Job[] {
  const kept = [...versions];
  let untagged = kept.filter((job) => !job.VersionTag).length;
  while (untagged > tables.options.jobVersionsTracked) {
    const stable = kept.filter((job) => job.Stable);
    const victim = kept.findLast((job) => !job.VersionTag && !(stable.length === 1 && stable[0] === job)) ??
      kept.findLast((job) => !job.VersionTag)!;
    if (victim === kept[0]) break;
    kept.splice(kept.indexOf(victim), 1);
    untagged--;
  }
  return kept;
}

/** A version without a submission of its own carries on the one before. */
function nextSubmissions(
  row: JobRow | undefined,
  job: Job,
  submission: JobSubmission | null,
  versions: readonly Job[],
): JobSubmission[] {
  const before = row?.submissions ?? [];
  const own = submission ?? before.find((s) => s.Version === row!.job.Version) ?? null;
  const kept = before.filter((s) => versions.some((v) => v.Version === s.Version));
  if (!own) return kept;
  const record: JobSubmission = {
    ...own,
    Namespace: job.Namespace,
    JobID: job.ID,
    Version: job.Version,
    JobModifyIndex: job.JobModifyIndex,
  };
  return [record, ...kept];
}

/** Evaluations of a command on a job learn the index at which its specification last changed. */
export function putJobEvals(w: Write, job: Job, evals: readonly Evaluation[]): void {
  for (const evaluation of evals) {
    const own = evaluation.JobID === job.ID && evaluation.Namespace === job.Namespace;
    const stamp = own && evaluation.JobModifyIndex === 0;
    w.putEval(stamp ? { ...evaluation, JobModifyIndex: job.JobModifyIndex } : evaluation);
  }
}

export function deregisterJob(w: Write, c: Of<"job.deregister">): ApplyResult {
  const key = jobKey(c.namespace, c.id);
  const row = w.tables.jobs.get(key);
  if (!row) return {};
  if (c.purge) {
    purgeJob(w, key);
    putJobEvals(w, { ...row.job, JobModifyIndex: w.index }, c.evals);
    return { value: { job: row.job, unchanged: false } satisfies JobWritten };
  }
  const written = upsertJob(w, { ...row.job, Stop: true }, null);
  if (c.noShutdownDelay) skipShutdownDelay(w, key);
  putJobEvals(w, written.job, c.evals);
  return { value: written };
}

function skipShutdownDelay(w: Write, key: string): void {
  for (const alloc of w.tables.allocs.byJob(key)) {
    w.replaceAlloc(alloc, {
      ...alloc,
      DesiredTransition: { ...alloc.DesiredTransition, NoShutdownDelay: true },
      ModifyIndex: w.index,
      AllocModifyIndex: w.index,
    });
  }
}

function purgeJob(w: Write, key: string): void {
  for (const id of w.tables.deploymentsByJob.get(key) ?? []) w.removeDeployment(id);
  w.removeJob(key);
  for (const alloc of w.tables.allocs.byJob(key)) w.removeAlloc(alloc.ID);
  w.touch("scaling_event");
  w.touch("periodic_launch");
}

export function setStability(w: Write, c: Of<"job.stability">): ApplyResult {
  const found = setVersionStable(w, c.namespace, c.id, c.version, c.stable);
  if (found) return {};
  return refuse(500, `job "${c.id}" in namespace "${c.namespace}" at version ${c.version} not found`);
}

/** Marks a version stable or not; false when it is not kept. */
export function setVersionStable(
  w: Write,
  namespace: string,
  id: string,
  version: number,
  stable: boolean,
): boolean {
  const row = w.tables.jobs.get(jobKey(namespace, id));
  const known = row?.versions.find((job) => job.Version === version);
  if (!row || !known) return false;
  if (known.Stable !== stable) {
    replaceVersion(w, row, { ...known, Stable: stable, ModifyIndex: w.index });
  }
  return true;
}

function replaceVersion(w: Write, row: JobRow, record: Job): void {
  const key = jobKey(record.Namespace, record.ID);
  const versions = row.versions.map((job) => job.Version === record.Version ? record : job);
  const current = record.Version === row.job.Version;
  w.touch("job_versions");
  if (current) w.putJob(key, { ...row, job: record, versions });
  else w.putJobRow(key, { ...row, versions });
}

export function tagVersion(w: Write, c: Of<"job.tag">): ApplyResult {
  const row = w.tables.jobs.get(jobKey(c.namespace, c.id));
  if (!row) return refuse(404, "job not found");
  const tagged = row.versions.find((job) => job.VersionTag?.Name === c.name);
  if (c.unset) {
    if (!tagged) return refuse(500, `tag "${c.name}" not found on job "${c.id}"`);
    replaceVersion(w, row, { ...tagged, VersionTag: null, ModifyIndex: w.index });
    return { value: { Name: "", Description: "", TaggedTime: 0 } satisfies JobVersionTag };
  }
  const version = c.version ?? row.job.Version;
  const target = row.versions.find((job) => job.Version === version);
  if (!target) return refuse(500, `job "${c.id}" version ${version} not found`);
  if (tagged && tagged !== target) {
    return refuse(500, `tag "${c.name}" already exists on a different version of job "${c.id}"`);
  }
  const tag: JobVersionTag = { Name: c.name, Description: c.description ?? "", TaggedTime: w.time };
  replaceVersion(w, row, { ...target, VersionTag: tag, ModifyIndex: w.index });
  return { value: tag };
}

export function addScalingEvent(w: Write, c: Of<"job.scalingEvent">): ApplyResult {
  const key = jobKey(c.namespace, c.id);
  const row = w.tables.jobs.get(key);
  if (!row) return refuse(404, `job "${c.id}" not found`);
  const events = [{ ...c.event, CreateIndex: w.index }, ...(row.scaling[c.group] ?? [])];
  const scaling = { ...row.scaling, [c.group]: events.slice(0, SCALING_EVENTS_MAX) };
  w.putJobRow(key, { ...row, scaling });
  w.touch("scaling_event");
  return {};
}

export function setPeriodicLaunch(w: Write, c: Of<"job.periodicLaunch">): ApplyResult {
  const key = jobKey(c.namespace, c.id);
  const row = w.tables.jobs.get(key);
  if (!row) return refuse(404, "job not found");
  w.putJobRow(key, { ...row, launchMs: c.launchMs });
  w.touch("periodic_launch");
  return {};
}

/** Counts every job's summary anew from what is there. */
export function reconcileSummaries(w: Write): ApplyResult {
  for (const [key, row] of w.tables.jobs) {
    const counted = recountSummary(w.tables, key, row);
    if (JSON.stringify(counted) === JSON.stringify(row.summary.Summary)) continue;
    w.summary(key)!.Summary = counted;
  }
  return {};
}

function recountSummary(tables: Tables, key: string, row: JobRow): JobSummary["Summary"] {
  const groups: JobSummary["Summary"] = {};
  for (const name in row.summary.Summary) groups[name] = emptyGroupSummary();
  for (const alloc of tables.allocs.byJob(key)) {
    const group = groups[alloc.TaskGroup] ??= emptyGroupSummary();
    group[SUMMARY_FIELD[alloc.ClientStatus]]++;
  }
  const blocked = [...tables.work.get(key)?.blocked ?? []].map((id) => tables.evals.get(id)!);
  for (const evaluation of blocked) {
    for (const name in evaluation.QueuedAllocations ?? {}) {
      const group = groups[name];
      if (group) group.Queued = Math.max(group.Queued, evaluation.QueuedAllocations![name]!);
    }
  }
  return groups;
}
