import { test } from "node:test";
import { canonicalizeJob } from "../../server/job_canonical.ts";
import { annotateDiff } from "../../server/diff_annotations.ts";
import { diffJobs } from "../../server/job_diff.ts";
import { formatMultiError, formatWarnings, validateJob } from "../../server/job_validate.ts";
import type { DesiredUpdates, PlanAnnotations } from "../../core/types.ts";
import { differences, diffTree, runCases } from "./cases.ts";

const OPTIONS = { region: "global", namespace: "default" };

const NO_UPDATES: DesiredUpdates = {
  Ignore: 0,
  Place: 0,
  Migrate: 0,
  Stop: 0,
  InPlaceUpdate: 0,
  DestructiveUpdate: 0,
  Canary: 0,
  Preemptions: 0,
  Disconnect: 0,
  Reconnect: 0,
  RescheduleNow: 0,
  RescheduleLater: 0,
};

/** The smallest job of a type. */
function smallest(type: string): Record<string, unknown> {
  const task = {
    Name: "t",
    Driver: "raw_exec",
    Config: { command: "/bin/true" },
    Resources: { CPU: 100, MemoryMB: 64 },
  };
  return {
    ID: "web",
    Name: "web",
    Type: type,
    Datacenters: ["nope"],
    TaskGroups: [{ Name: "g", Count: 1, Tasks: [task] }],
  };
}

function canonical(input: string) {
  return canonicalizeJob(JSON.parse(input), OPTIONS);
}

test("canonicalizeJob fills what Nomad fills: differences from the smallest job of the type", () => {
  runCases("canonical.txt", (input) => {
    const job = canonical(input);
    return differences(canonicalizeJob(smallest(job.Type), OPTIONS), job);
  });
});

test("validateJob refuses and warns in Nomad's words", () => {
  runCases("validate.txt", (input) => {
    const { errors, warnings } = validateJob(canonical(input), {
      priorityMax: 100,
      countMax: 50_000,
      memoryOversubscription: false,
      namespaceExists: (name) => name === "default",
      poolExists: (name) => name === "default" || name === "all",
    });
    const advice = formatWarnings(warnings);
    return (errors.length > 0 ? formatMultiError(errors).trimEnd() : "valid") + (advice ? `\n${advice}` : "");
  });
});

test("validateJob refuses what nobody here carries out", () => {
  runCases("unsupported.txt", (input) => {
    const config = { priorityMax: 100, countMax: 50_000, memoryOversubscription: false };
    return validateJob(canonical(input), config).errors.join("\n").trimEnd();
  });
});

test("diffJobs and annotateDiff tell what a plan changes", () => {
  runCases("diff.txt", (input) => {
    const [direction, text] = input.split("\n");
    const job = canonical(text!);
    const small = canonicalizeJob(smallest(job.Type), OPTIONS);
    const [before, after] = direction === "to" ? [small, job] : [job, small];
    // The recorded plans ran with nothing placed, so that all of it would be created.
    const updates = Object.fromEntries(
      after.TaskGroups.map((group) => [group.Name, { ...NO_UPDATES, Place: group.Count }]),
    );
    const annotations: PlanAnnotations = { DesiredTGUpdates: updates, PreemptedAllocs: null };
    return diffTree(annotateDiff(diffJobs(before, after, { contextual: true }), annotations));
  });
});
