// Sorting a group's allocations by what their node's fate asks for: keep, migrate, replace as lost, wait for a
// disconnected device, take back one that returned. Pure.
import { parseTime } from "../core/time.ts";
import type { Allocation, Node, TaskGroup } from "../core/types.ts";

/** The evaluation that comes when the time is out may come this early: its time was taken before the status was written. */
const DUE_WINDOW_NS = 1e9;

export interface AllocSets {
  /** Stay as they are as far as their node is concerned; ended ones are here too. */
  untainted: Allocation[];
  migrate: Allocation[];
  lost: Allocation[];
  /** Their device went silent and may come back: to be marked unknown. */
  disconnecting: Allocation[];
  /** Marked unknown, their time has not run out. */
  unknown: Allocation[];
  /** Came back after having been unknown. */
  reconnecting: Allocation[];
}

export interface SortInput {
  group: TaskGroup | undefined;
  nowNs: number;
  node(id: string): Node | undefined;
}

export function isTerminal(alloc: Allocation): boolean {
  return isServerTerminal(alloc) || isClientTerminal(alloc);
}

export function isServerTerminal(alloc: Allocation): boolean {
  return alloc.DesiredStatus === "stop" || alloc.DesiredStatus === "evict";
}

export function isClientTerminal(alloc: Allocation): boolean {
  const status = alloc.ClientStatus;
  return status === "complete" || status === "failed" || status === "lost";
}

/** Whether its tasks all ended well: such a batch allocation is never run again. */
export function ranSuccessfully(alloc: Allocation): boolean {
  if (alloc.ClientStatus !== "complete") return false;
  const states = Object.values(alloc.TaskStates ?? {});
  return states.every((state) => state.State === "dead" && !state.Failed);
}

export function sortByNode(allocs: Iterable<Allocation>, input: SortInput): AllocSets {
  const sets: AllocSets = {
    untainted: [],
    migrate: [],
    lost: [],
    disconnecting: [],
    unknown: [],
    reconnecting: [],
  };
  for (const alloc of allocs) sets[fateOf(alloc, input)].push(alloc);
  return sets;
}

/** What the state of its node asks for. */
export function fateOf(alloc: Allocation, input: SortInput): keyof AllocSets {
  const node = input.node(alloc.NodeID);
  if (alloc.ClientStatus === "unknown" && !isServerTerminal(alloc)) return setOfUnknown(alloc, node, input);
  if (isTerminal(alloc)) return "untainted";
  if (alloc.DesiredTransition.Migrate) return "migrate";
  if (!node) return "lost";
  if (node.Status === "disconnected") return lostAfterNs(input.group) > 0 ? "disconnecting" : "lost";
  if (node.Status === "down") return holdsOn(input.group) ? "disconnecting" : "lost";
  return cameBack(alloc) ? "reconnecting" : "untainted";
}

function setOfUnknown(alloc: Allocation, node: Node | undefined, input: SortInput): keyof AllocSets {
  if (!node) return "lost";
  if (node.Status === "ready" || node.Status === "initializing") return "unknown";
  const lostAfter = lostAfterNs(input.group);
  if (holdsOn(input.group)) return "unknown";
  if (node.Status === "down" && lostAfter === 0) return "lost";
  return unknownSinceNs(alloc) + lostAfter - DUE_WINDOW_NS <= input.nowNs ? "lost" : "unknown";
}

/** `replace = false`: nobody takes its place however long the device is away. */
function holdsOn(group: TaskGroup | undefined): boolean {
  return group?.Disconnect?.Replace === false || group?.PreventRescheduleOnLost === true;
}

/** How long a silent device's allocations stay unknown before they are lost; 0 when at once. */
export function lostAfterNs(group: TaskGroup | undefined): number {
  return group?.Disconnect?.LostAfter ?? group?.MaxClientDisconnect ?? 0;
}

/** Whether something else should run while the device is away. */
export function replacesWhileUnknown(group: TaskGroup | undefined): boolean {
  return !holdsOn(group);
}

export function unknownSinceNs(alloc: Allocation): number {
  const last = (alloc.AllocStates ?? []).findLast((state) => state.Value === "unknown");
  return last ? parseTime(last.Time) ?? 0 : alloc.ModifyTime;
}

/** Was unknown and runs again. */
function cameBack(alloc: Allocation): boolean {
  const states = alloc.AllocStates;
  if (!states || states.length === 0) return false;
  return states.some((state) => state.Value === "unknown") && alloc.ClientStatus === "running";
}
