// The lines of a task's history, with Nomad's types, texts and details, one function a kind. Pure. Texts follow the
// recordings (api 336-338, 357, 371, 749; cli 509): tools and people search for them.
import { formatDuration } from "../core/duration.ts";
import type { ExitResult } from "../drivers/driver.ts";
import { BLANK_EVENT, type TaskEvent } from "../core/types.ts";

/** A task keeps its newest events only. */
export const EVENTS_MAX = 10;

/** An event without its time: `at` stamps it. */
export type Draft = Partial<TaskEvent> & { Type: string; DisplayMessage: string };

export function at(draft: Draft, nowMs: number): TaskEvent {
  return { ...BLANK_EVENT, ...draft, Time: Math.round(nowMs * 1e6) };
}

const text = (Type: string, message: string): Draft => ({
  Type,
  DisplayMessage: message,
  Message: message,
  Details: { message },
});

export const received = (): Draft => ({ Type: "Received", DisplayMessage: "Task received by client" });
export const taskSetup = (message: string): Draft => text("Task Setup", message);
export const started = (): Draft => ({ Type: "Started", DisplayMessage: "Task started by client" });
export const pausing = (): Draft => text("Pausing", "Task is paused: it is outside of its schedule");
export const resuming = (): Draft => text("Resuming", "Task is started: its scheduled time has come");
export const allocUnhealthy = (message: string): Draft => text("Alloc Unhealthy", message);
export const hookFailed = (message: string): Draft => text("Task hook failed", message);
export const hookMessage = (message: string): Draft => text("Task hook message", message);

export function terminated(result: ExitResult): Draft {
  const parts = [`Exit Code: ${result.exitCode}`];
  if (result.signal !== 0) parts.push(`Signal: ${result.signal}`);
  if (result.error !== undefined) parts.push(`Exit Message: ${JSON.stringify(result.error)}`);
  const details: Record<string, string> = {
    exit_code: String(result.exitCode),
    signal: String(result.signal),
    oom_killed: String(result.oomKilled),
  };
  if (result.error !== undefined) details.exit_message = result.error;
  return {
    Type: "Terminated",
    DisplayMessage: (result.oomKilled ? "OOM Killed, " : "") + parts.join(", "),
    Details: details,
    Message: result.error ?? "",
    ExitCode: result.exitCode,
    Signal: result.signal,
  };
}

export function restarting(delayNs: number, reason: string): Draft {
  return {
    Type: "Restarting",
    DisplayMessage: `${reason !== "" && reason !== REASON_WITHIN_POLICY ? `${reason} - ` : ""}` +
      `Task restarting in ${formatDuration(delayNs)}`,
    Details: { restart_reason: reason, start_delay: String(delayNs) },
    RestartReason: reason,
    StartDelay: delayNs,
  };
}

export const REASON_WITHIN_POLICY = "Restart within policy";
export const REASON_UNRECOVERABLE = "Error was unrecoverable";
export const REASON_NO_RESTARTS = "Policy allows no restarts";
export const REASON_DELAY = "Exceeded allowed attempts, applying a delay";

export function notRestarting(reason: string): Draft {
  return {
    Type: "Not Restarting",
    DisplayMessage: reason,
    Details: { restart_reason: reason, fails_task: "true" },
    RestartReason: reason,
    FailsTask: true,
  };
}

export function killing(timeoutNs: number): Draft {
  const timeout = formatDuration(timeoutNs);
  return {
    Type: "Killing",
    DisplayMessage: `Sent interrupt. Waiting ${timeout} before force killing`,
    Details: { kill_timeout: timeout },
    KillTimeout: timeoutNs,
    KillReason: "",
  };
}

/** The group's max_run_duration is over; the allocation says so too. */
export const RAN_TOO_LONG = "allocation exceeded max_run_duration";
export const ranTooLong = (timeoutNs: number): Draft => ({
  ...killing(timeoutNs),
  DisplayMessage: RAN_TOO_LONG,
});

/** The reference ends a task whose template cannot be rendered with this one line. */
export const templateFailed = (error: string): Draft => ({
  Type: "Killing",
  DisplayMessage: `Template failed: ${error}`,
  Details: { fails_task: "true" },
  FailsTask: true,
});

export function killed(error = ""): Draft {
  return error === ""
    ? { Type: "Killed", DisplayMessage: "Task successfully killed" }
    : { Type: "Killed", DisplayMessage: error, Details: { kill_error: error }, KillError: error };
}

export function driverFailure(error: string): Draft {
  return {
    Type: "Driver Failure",
    DisplayMessage: error,
    Details: { driver_error: error },
    DriverError: error,
  };
}

export function setupFailure(error: string): Draft {
  return { Type: "Setup Failure", DisplayMessage: error, Details: { setup_error: error }, SetupError: error };
}

export function validationFailure(error: string): Draft {
  return {
    Type: "Failed Validation",
    DisplayMessage: error,
    Details: { validation_error: error },
    ValidationError: error,
  };
}

export const driverMessage = (message: string): Draft => ({
  Type: "Driver",
  DisplayMessage: message,
  DriverMessage: message,
  Details: { driver_message: message },
});

export const downloadingArtifacts = (): Draft => ({
  Type: "Downloading Artifacts",
  DisplayMessage: "Client is downloading artifacts",
});

export const artifactFailed = (error: string): Draft => ({
  Type: "Failed Artifact Download",
  DisplayMessage: error,
  DownloadError: error,
  Details: { download_error: error },
});

export function signaling(signal: string, reason = ""): Draft {
  const details: Record<string, string> = { signal };
  if (reason !== "") details.task_signal_reason = reason;
  return {
    Type: "Signaling",
    DisplayMessage: reason === ""
      ? "Task being sent a signal"
      : `Task being sent signal ${signal}: ${reason}`,
    Details: details,
    ...(reason === "" ? {} : { TaskSignal: signal, TaskSignalReason: reason }),
  };
}

export const restartSignaled = (reason: string): Draft => ({
  Type: "Restart Signaled",
  DisplayMessage: reason,
  Details: { restart_reason: reason },
  RestartReason: reason,
});

export const siblingFailed = (sibling: string): Draft => ({
  Type: "Sibling Task Failed",
  DisplayMessage: `Task's sibling ${JSON.stringify(sibling)} failed`,
  Details: { failed_sibling: sibling },
  FailedSibling: sibling,
});

export const leaderDead = (): Draft => ({
  Type: "Leader Task Dead",
  DisplayMessage: "Leader Task in Group dead",
});
export const mainTasksDead = (): Draft => ({
  Type: "Main Tasks Dead",
  DisplayMessage: "Main tasks in the group died",
});

export const waitingForShutdownDelay = (delayNs: number): Draft => ({
  Type: "Waiting for shutdown delay",
  DisplayMessage: `Waiting for shutdown_delay of ${formatDuration(delayNs)} before killing the task.`,
});
