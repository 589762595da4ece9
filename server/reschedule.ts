// When a failed allocation may be tried elsewhere: the reschedule policy's attempts, interval and delay functions, and
// the tracker that carries the history from one allocation to the next. Pure.
import { parseTime } from "../core/time.ts";
import type { Allocation, ReschedulePolicy, RescheduleTracker } from "../core/types.ts";

/** Failures this close to now are handled at once instead of by a follow-up evaluation. */
const WINDOW_NS = 1e9;
/** Past tries kept when the policy has no end. */
const PAST_EVENTS_MAX = 5;

export type RescheduleVerdict =
  | { kind: "no" }
  | { kind: "now" }
  | { kind: "later"; atNs: number };

type TrackerEvent = NonNullable<RescheduleTracker["Events"]>[number];

export function policyOf(alloc: Allocation): ReschedulePolicy | null {
  return alloc.Job.TaskGroups.find((group) => group.Name === alloc.TaskGroup)?.ReschedulePolicy ?? null;
}

export interface RescheduleQuestion {
  nowNs: number;
  /** The evaluation that asks: a follow-up evaluation acts on the allocations it was made for. */
  evalId: string;
  /** The deployment that the allocation belongs to is still under way: its watcher decides about failures. */
  deploymentActive: boolean;
}

/** What to do about a failed allocation. */
export function judgeReschedule(alloc: Allocation, question: RescheduleQuestion): RescheduleVerdict {
  const { Reschedule, ForceReschedule } = alloc.DesiredTransition;
  if (question.deploymentActive && !Reschedule && !ForceReschedule) return { kind: "no" };
  if (ForceReschedule) return { kind: "now" };
  const policy = policyOf(alloc);
  if (alloc.ClientStatus !== "failed" || alloc.DesiredStatus === "stop" || !policy) return { kind: "no" };
  const failedNs = failTimeNs(alloc);
  const atNs = failedNs + nextDelayNs(alloc, policy, failedNs);
  if (!hasAttemptsLeft(alloc, policy, failedNs)) return { kind: "no" };
  if (alloc.FollowupEvalID === question.evalId || atNs - question.nowNs <= WINDOW_NS) return { kind: "now" };
  return alloc.FollowupEvalID === "" ? { kind: "later", atNs } : { kind: "no" };
}

/** When an allocation whose device has been silent since `sinceNs` may be tried elsewhere: its policy counts from the silence. */
export function judgeUnknown(alloc: Allocation, sinceNs: number, nowNs: number): RescheduleVerdict {
  const policy = policyOf(alloc);
  if (!policy || !hasAttemptsLeft(alloc, policy, sinceNs)) return { kind: "no" };
  const atNs = sinceNs + nextDelayNs(alloc, policy, sinceNs);
  return atNs - nowNs <= WINDOW_NS ? { kind: "now" } : { kind: "later", atNs };
}

/** When its last task ended; when the servers heard of it if no task ever did. */
export function failTimeNs(alloc: Allocation): number {
  let last = 0;
  for (const name in alloc.TaskStates ?? {}) {
    const finished = alloc.TaskStates![name]!.FinishedAt;
    const ns = finished ? parseTime(finished) ?? 0 : 0;
    if (ns > last) last = ns;
  }
  return last || alloc.ModifyTime;
}

/** Whether a failure of the allocation asks for anything: its policy lets another one take its place, now or later. */
export function mayBeReplaced(alloc: Allocation, nowNs: number): boolean {
  const policy = policyOf(alloc);
  return policy !== null && hasAttemptsLeft(alloc, policy, nowNs);
}

function hasAttemptsLeft(alloc: Allocation, policy: ReschedulePolicy, failedNs: number): boolean {
  if (policy.Unlimited) return true;
  if (policy.Attempts <= 0) return false;
  const events = alloc.RescheduleTracker?.Events ?? [];
  const recent = events.filter((event) => failedNs - event.RescheduleTime < policy.Interval);
  return recent.length < policy.Attempts;
}

export function nextDelayNs(alloc: Allocation, policy: ReschedulePolicy, failedNs: number): number {
  const events = alloc.RescheduleTracker?.Events ?? [];
  const last = events.at(-1);
  if (!last) return policy.Delay;
  const delay = capped(grownDelay(events, policy), policy);
  // It ran well for longer than the delay it would get: the history is forgiven.
  if (policy.DelayFunction !== "constant" && failedNs - last.RescheduleTime > delay) return policy.Delay;
  return delay;
}

function grownDelay(events: readonly TrackerEvent[], policy: ReschedulePolicy): number {
  const last = events.at(-1)!;
  switch (policy.DelayFunction) {
    case "exponential":
      return last.Delay * 2;
    case "fibonacci": {
      const before = events.at(-2);
      if (!before) return policy.Delay;
      // At the ceiling the sum of two equal delays would only be cut again.
      return last.Delay === policy.MaxDelay && before.Delay === policy.MaxDelay
        ? policy.MaxDelay
        : last.Delay + before.Delay;
    }
    default:
      return policy.Delay;
  }
}

function capped(delay: number, policy: ReschedulePolicy): number {
  return policy.MaxDelay > 0 ? Math.min(delay, policy.MaxDelay) : delay;
}

/** The history that the replacement of `previous` carries. */
export function trackerAfter(previous: Allocation, nowNs: number): RescheduleTracker {
  const policy = policyOf(previous);
  const events = previous.RescheduleTracker?.Events ?? [];
  const failedNs = failTimeNs(previous);
  const kept = policy && !policy.Unlimited && policy.Attempts > 0
    ? events.filter((event) => nowNs - event.RescheduleTime <= policy.Interval)
    : events.slice(-PAST_EVENTS_MAX);
  const event: TrackerEvent = {
    RescheduleTime: nowNs,
    PrevAllocID: previous.ID,
    PrevNodeID: previous.NodeID,
    Delay: policy ? nextDelayNs(previous, policy, failedNs) : 0,
  };
  return { Events: [...kept, event], LastReschedule: "ok" };
}

/** Nodes where this allocation and those before it failed. */
export function failedNodes(previous: Allocation): Set<string> {
  const nodes = new Set([previous.NodeID]);
  for (const event of previous.RescheduleTracker?.Events ?? []) nodes.add(event.PrevNodeID);
  return nodes;
}
