// The order of the tasks of one group, as pure decisions: who may start, who must end and why, and what the
// allocation as a whole is. Roles come from the job's lifecycle block: prestart (must finish, or run as sidecar)
// before main, poststart once main runs, poststop when everything else has ended.
//
// Invariants: a task is opened at most once (it leaves `waiting`); poststop tasks are never killed by their siblings;
// nothing is opened but poststop once the group is ending.
import type { ClientStatus, Task } from "../core/types.ts";
import * as events from "./task_events.ts";
import type { Draft } from "./task_events.ts";
import type { TaskMachine } from "./task.ts";

export interface Member {
  name: string;
  task: Task;
  machine: TaskMachine;
}

export type GroupAction = { a: "open"; task: string } | { a: "kill"; task: string; draft: Draft | null };

const hook = (m: Member) => m.task.Lifecycle?.Hook ?? "";
const isSidecar = (m: Member) => m.task.Lifecycle?.Sidecar ?? false;
const isMain = (m: Member) => hook(m) === "";
const isPoststop = (m: Member) => hook(m) === "poststop";
const isDead = (m: Member) => m.machine.phase === "dead";
const hasFailed = (m: Member) => isDead(m) && m.machine.api.Failed;
const runs = (m: Member) => m.machine.api.State === "running";

/** What to do now. `stopping`: the servers want the allocation to end. */
export function decideGroup(members: Member[], stopping: boolean): GroupAction[] {
  const others = members.filter((m) => !isPoststop(m));
  const reason = endReason(others, stopping);
  if (reason) return [...killInOrder(others, reason.draft), ...openPoststop(members, others)];
  return [...openInOrder(others), ...endSidecars(others), ...openPoststop(members, others)];
}

/** Why the whole group has to end, or null. */
function endReason(others: Member[], stopping: boolean): { draft: (m: Member) => Draft | null } | null {
  if (stopping) return { draft: () => null };
  const failed = others.find(hasFailed);
  if (failed) return { draft: () => events.siblingFailed(failed.name) };
  const leader = others.find((m) => m.task.Leader);
  if (leader && isDead(leader)) return { draft: () => events.leaderDead() };
  return null;
}

/** Leader first, then the main tasks, then sidecars and hooks: what others lean on ends last. */
function killInOrder(others: Member[], draft: (m: Member) => Draft | null): GroupAction[] {
  const alive = others.filter((m) => !isDead(m));
  const rank = (m: Member) => m.task.Leader ? 0 : isMain(m) ? 1 : 2;
  const first = Math.min(...alive.map(rank));
  return alive.filter((m) => rank(m) === first || m.machine.phase === "waiting")
    .filter((m) => m.machine.intent?.kind !== "kill")
    .map((m) => ({ a: "kill", task: m.name, draft: draft(m) }));
}

function openInOrder(others: Member[]): GroupAction[] {
  const prestart = others.filter((m) => hook(m) === "prestart");
  const main = others.filter(isMain);
  const prestartDone = prestart.every((m) => isSidecar(m) ? runs(m) || isDead(m) : isDead(m));
  const mainStarted = prestartDone && main.every((m) => runs(m) || isDead(m));
  return others.filter((m) => {
    if (m.machine.phase !== "waiting") return false;
    if (hook(m) === "prestart") return true;
    return isMain(m) ? prestartDone : mainStarted;
  }).map((m) => ({ a: "open", task: m.name }));
}

function endSidecars(others: Member[]): GroupAction[] {
  const main = others.filter(isMain);
  if (main.length === 0 || !main.every(isDead)) return [];
  return others.filter((m) => isSidecar(m) && !isDead(m) && m.machine.intent?.kind !== "kill")
    .map((m) => ({ a: "kill", task: m.name, draft: events.mainTasksDead() }));
}

function openPoststop(members: Member[], others: Member[]): GroupAction[] {
  if (!others.every(isDead)) return [];
  return members.filter((m) => isPoststop(m) && m.machine.phase === "waiting")
    .map((m) => ({ a: "open", task: m.name }));
}

/** The allocation's status as its tasks make it, with the description Nomad gives. */
export function groupStatus(members: Member[]): { status: ClientStatus; description: string } {
  if (members.some(hasFailed)) return { status: "failed", description: "Failed tasks" };
  if (members.some(runs)) return { status: "running", description: "Tasks are running" };
  if (members.some((m) => !isDead(m))) return { status: "pending", description: "No tasks have started" };
  const ranTooLong = members.some((m) =>
    m.machine.api.Events.some((event) => event.DisplayMessage === events.RAN_TOO_LONG)
  );
  return { status: "complete", description: ranTooLong ? events.RAN_TOO_LONG : "All tasks have completed" };
}

/** A deployment counts the group as up: hooks that must finish did, everything else runs. */
export function groupIsUp(members: Member[]): boolean {
  return members.every((m) => {
    if (isPoststop(m)) return true;
    if (!isMain(m) && !isSidecar(m)) return runs(m) || (isDead(m) && !m.machine.api.Failed);
    return m.machine.phase === "running";
  });
}
