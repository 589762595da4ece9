import { test } from "node:test";
import assert from "node:assert/strict";
import { compactTaskStates, sparseTaskStates } from "../../server/state_texts.ts";
import type { TaskEvent, TaskState } from "../../core/types.ts";

const EVENT: TaskEvent = {
  Type: "Terminated",
  Time: 5,
  DisplayMessage: "Exit Code: 1",
  Details: { exit_code: "1" },
  Message: "",
  FailsTask: false,
  RestartReason: "",
  SetupError: "",
  DriverError: "",
  DriverMessage: "",
  ExitCode: 1,
  Signal: 0,
  KillReason: "",
  KillTimeout: 0,
  KillError: "",
  StartDelay: 0,
  DownloadError: "",
  ValidationError: "",
  DiskLimit: 0,
  FailedSibling: "",
  VaultError: "",
  TaskSignalReason: "",
  TaskSignal: "",
  GenericSource: "Task",
};

const STATES: Record<string, TaskState> = {
  t: {
    State: "dead",
    Failed: true,
    Restarts: 1,
    LastRestart: null,
    StartedAt: "2026-11-22T04:00:00Z",
    FinishedAt: "2026-11-22T04:00:01Z",
    Paused: "",
    Events: [{ ...EVENT, Details: {} }, EVENT],
  },
};

test("compactTaskStates keeps every field of every event, read and as JSON", () => {
  const compact = compactTaskStates(STATES)!;
  assert.deepEqual(JSON.parse(JSON.stringify(compact)), STATES);
  const [, event] = compact["t"]!.Events;
  for (const key in EVENT) {
    assert.deepEqual(event![key as keyof TaskEvent], EVENT[key as keyof TaskEvent], key);
  }
  assert.deepEqual(Object.keys(event!), [
    "Type",
    "Time",
    "DisplayMessage",
    "Details",
    "ExitCode",
    "GenericSource",
  ]);
  assert.equal(compactTaskStates(compact)!["t"]!.Events[1], event, "what is small already is kept");
});

test("sparseTaskStates loses nothing on the way through a snapshot", () => {
  const sparse = JSON.parse(JSON.stringify(sparseTaskStates(compactTaskStates(STATES)!)));
  assert.equal("KillError" in sparse.t.Events[0], false);
  assert.deepEqual(JSON.parse(JSON.stringify(compactTaskStates(sparse))), STATES);
});
