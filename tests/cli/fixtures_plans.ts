// The data behind the recordings of plan, validate and run.
import { type Fixture, type Json, json, MEMORY_FAILURE } from "./fixture_base.ts";
import { recordedJson, recordedRaw } from "./recording.ts";

const TEAM_WARNING =
  '1 warning:\n\n* group "app" defines services, but neither the group nor any of its tasks have shutdown_delay set';

export function plans(): Record<string, Fixture> {
  const created = { ...recordedJson<Json>("032"), Warnings: TEAM_WARNING };
  const path = "PUT /v1/job/cweb/plan";
  const validation = (answer: Json) => ({ routes: { "PUT /v1/validate/job": json(answer) } });
  const invalid =
    "2 errors occurred:\n\t* Task group g validation failed: 1 error occurred:\n\t* Task group count can't be negative\n\n\n\t* job priority must be between [1, 100]\n\n";
  const valid = validation({
    DriverConfigValidated: true,
    ValidationErrors: null,
    Error: "",
    Warnings: TEAM_WARNING,
  });
  const canary = { routes: { [path]: json(CANARY_PLAN) } };
  return {
    "024": valid,
    "025": valid,
    "026": validation({ DriverConfigValidated: true, ValidationErrors: ["x"], Error: invalid, Warnings: "" }),
    "030": { routes: { [path]: json(created) } },
    "031": { routes: { [path]: json(created) } },
    "032": { routes: { [path]: { json: recordedRaw("032") } } },
    "034": { routes: { "PUT /v1/job/ctoobig/plan": json(INFEASIBLE_PLAN) } },
    "036": { routes: { "PUT /v1/jobs": { status: 500, text: invalid.trimEnd() } } },
    "039": { routes: { [path]: json(plan({ InPlaceUpdate: 2 }, { "in-place update": 2 }, [])) } },
    "041": {
      routes: {
        [path]: json(
          plan({ InPlaceUpdate: 2, Place: 1 }, { create: 1, "in-place update": 2 }, [
            edited("Count", "2", "3", ["forces create"]),
          ]),
        ),
      },
    },
    "042": canary,
    "045": { routes: { [path]: json({ ...plan({ Place: 1 }, {}, []), Diff: null }) } },
    "047": { ...canary, tty: true },
    "050": {
      routes: {
        "PUT /v1/jobs": {
          status: 500,
          text: "Enforcing job modify index 1: job exists with conflicting job modify index: 551",
        },
      },
    },
  };
}

function edited(Name: string, Old: string, New: string, Annotations: string[] | null = null): Json {
  return { Type: "Edited", Name, Old, New, Annotations };
}

const same = (Name: string, value: string): Json => ({
  Type: "None",
  Name,
  Old: value,
  New: value,
  Annotations: null,
});

const SCALING: Json = { Type: "Edited", Name: "Scaling", Fields: null, Objects: null };

function plan(
  desired: Json,
  updates: Json,
  fields: Json[],
  objects: Json[] = [SCALING],
  task: Json = {},
): Json {
  const none = {
    Stop: 0,
    Place: 0,
    Migrate: 0,
    DestructiveUpdate: 0,
    Canary: 0,
    InPlaceUpdate: 0,
    Ignore: 0,
  };
  return {
    JobModifyIndex: 529,
    Warnings: TEAM_WARNING,
    FailedTGAllocs: null,
    Annotations: { DesiredTGUpdates: { app: { ...none, ...desired } } },
    Diff: {
      Type: "Edited",
      ID: "cweb",
      Fields: null,
      Objects: null,
      TaskGroups: [{
        Type: "Edited",
        Name: "app",
        Fields: fields,
        Objects: objects,
        Updates: updates,
        Tasks: [{ Type: "None", Name: "server", Fields: null, Objects: null, Annotations: null, ...task }],
      }],
    },
  };
}

const CANARY_PLAN = plan({ Canary: 1, Ignore: 2 }, { canary: 1, ignore: 2 }, [], [
  {
    Type: "Edited",
    Name: "Update",
    Objects: null,
    Fields: [
      same("AutoPromote", "false"),
      same("AutoRevert", "false"),
      edited("Canary", "0", "1"),
      same("HealthCheck", "checks"),
      same("HealthyDeadline", "20000000000"),
      same("MaxParallel", "1"),
      same("MinHealthyTime", "1000000000"),
      same("ProgressDeadline", "40000000000"),
    ],
  },
  SCALING,
  {
    Type: "Edited",
    Name: "Service",
    Fields: [
      same("Address", ""),
      same("AddressMode", "auto"),
      same("Cluster", "default"),
      same("EnableTagOverride", "false"),
      same("Kind", ""),
      same("Name", "cweb-http"),
      same("Namespace", "default"),
      same("OnUpdate", "require_healthy"),
      same("PortLabel", "http"),
      same("Provider", "nomad"),
      same("TaskName", ""),
    ],
    Objects: [{
      Type: "Edited",
      Name: "Tags",
      Objects: null,
      Fields: [
        { Type: "Added", Name: "Tags", Old: "", New: "green", Annotations: null },
        { Type: "Deleted", Name: "Tags", Old: "blue", New: "", Annotations: null },
      ],
    }],
  },
], {
  Type: "Edited",
  Annotations: ["forces create/destroy update"],
  Fields: [{ Type: "Added", Name: "Env[NEW]", Old: "", New: "1", Annotations: null }],
});

const INFEASIBLE_PLAN: Json = {
  JobModifyIndex: 0,
  Warnings: "",
  FailedTGAllocs: { g: MEMORY_FAILURE },
  Annotations: {
    DesiredTGUpdates: { g: { Place: 1, Stop: 0, Migrate: 0, DestructiveUpdate: 0, Canary: 0 } },
  },
  Diff: {
    Type: "Added",
    ID: "ctoobig",
    Fields: null,
    Objects: null,
    TaskGroups: [{
      Type: "Added",
      Name: "g",
      Fields: null,
      Objects: null,
      Updates: { create: 1 },
      Tasks: [{ Type: "Added", Name: "t", Fields: null, Objects: null, Annotations: ["forces create"] }],
    }],
  },
};
