// `node drain`: moves the work away from a node, and follows it until nothing runs there.
import { parseDuration } from "../core/duration.ts";
import type { DrainStrategy, Node } from "../core/types.ts";
import { bool, list, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { formatTimeMs, quote } from "./format.ts";
import { targetNode } from "./node.ts";
import { confirm } from "./prompt.ts";
import type { FullAllocation } from "./records.ts";
import { untilInterrupted } from "./stream.ts";

const DEFAULT_DEADLINE_NS = 3600e9;
const POLL_MS = 2000;

export const nodeDrain = command({
  form: "nomad node drain [options] <node>",
  about: `Moves the allocations of a node away and lets nothing new be placed there. The
command follows the drain until it is complete; ending it does not end the
drain.

When ACLs are enabled, this command requires a token with the 'node:write'
capability.`,
  general: "noNamespace",
  title: "Node Drain Options",
  flags: {
    deadline: string(
      "How long allocations may take to move; then they are stopped. Defaults to 1h.",
      "duration",
    ),
    detach: bool("Return at once instead of following the drain."),
    disable: bool("End the drain of the node."),
    enable: bool("Begin a drain of the node."),
    force: bool("Stop everything at once."),
    "ignore-system": bool("Leave system jobs running."),
    "keep-ineligible": bool("With -disable: let nothing new be placed on the node yet."),
    m: string("A message that is kept with the drain.", "message"),
    meta: list("Metadata that is kept with the drain. May be given several times.", "key=value"),
    monitor: bool("Only follow the drain that is going on."),
    "no-deadline": bool("Let allocations take as long as they need to move."),
    self: bool("The node that the asked agent is."),
    yes: bool("Answer yes to all questions."),
  },
  async run(context) {
    const { flags, args } = context;
    checkFlags(flags);
    const deadlineNs = readDeadline(flags);
    const id = await targetNode(context, args, flags.self);
    if (flags.monitor) return await monitor(context, id);
    return await setDrain(context, id, deadlineNs);
  },
});

interface DrainFlags {
  deadline: string;
  detach: boolean;
  disable: boolean;
  enable: boolean;
  force: boolean;
  "ignore-system": boolean;
  "keep-ineligible": boolean;
  m: string;
  meta: string[];
  monitor: boolean;
  "no-deadline": boolean;
  yes: boolean;
}

function checkFlags(flags: DrainFlags): void {
  if (flags.monitor && (flags.enable || flags.disable)) {
    throw new UsageError("The -monitor flag cannot be used with the '-enable' or '-disable' flags");
  }
  if (!flags.monitor && flags.enable === flags.disable) {
    throw new UsageError("Either the '-enable' or '-disable' flag must be set, unless using '-monitor'");
  }
  if (flags.deadline && (flags.force || flags["no-deadline"])) {
    throw new UsageError("-deadline can't be combined with -force or -no-deadline");
  }
  if (flags.force && flags["no-deadline"]) {
    throw new UsageError("-force and -no-deadline are mutually exclusive");
  }
  if (flags.disable && (flags.deadline || flags.force || flags["no-deadline"] || flags["ignore-system"])) {
    throw new UsageError("-disable can't be combined with flags configuring drain strategy");
  }
}

/** Nanoseconds; 0 for no limit, negative for "at once". */
function readDeadline(flags: DrainFlags): number {
  if (flags.force) return -1e9;
  if (flags["no-deadline"]) return 0;
  if (flags.deadline === "") return DEFAULT_DEADLINE_NS;
  try {
    const ns = parseDuration(flags.deadline);
    if (ns > 0) return ns;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new CommandError(`Failed to parse deadline ${quote(flags.deadline)}: ${error.message}`);
  }
  throw new UsageError("A positive drain duration must be given");
}

async function setDrain(context: Context<DrainFlags>, id: string, deadlineNs: number): Promise<number> {
  const { flags, api, ui } = context;
  const name = quote(id);
  if (!flags.yes && flags.disable) {
    const question = `Are you sure you want to disable drain mode for node ${name}?`;
    const ended = await confirm(context, question, "Canceling drain toggle");
    if (ended !== undefined) return ended;
  }
  const { data } = await attempt(
    "Error updating drain specification",
    api.put<{ NodeModifyIndex: number }>(`/v1/node/${id}/drain`, {
      NodeID: id,
      DrainSpec: flags.enable ? { Deadline: deadlineNs, IgnoreSystemJobs: flags["ignore-system"] } : null,
      MarkEligible: !flags["keep-ineligible"],
      Meta: readMeta(flags),
    }),
  );
  if (flags.disable || flags.detach) {
    ui.output(`Node ${name} drain strategy ${flags.enable ? "set" : "unset"}`);
    return 0;
  }
  ui.output(`${formatTimeMs(context.now())}: Ctrl-C to stop monitoring: will not cancel the node drain`);
  ui.output(`${formatTimeMs(context.now())}: Node ${name} drain strategy set`);
  await follow(context, id, data.NodeModifyIndex, flags["ignore-system"]);
  return 0;
}

function readMeta(flags: DrainFlags): Record<string, string> {
  const meta: Record<string, string> = {};
  for (const pair of flags.meta) {
    const equals = pair.indexOf("=");
    if (equals < 1) {
      throw new CommandError(`Error parsing drain metadata: ${quote(pair)}: expected key=value`);
    }
    meta[pair.slice(0, equals)] = pair.slice(equals + 1);
  }
  if (flags.m) meta["message"] = flags.m;
  return meta;
}

async function monitor(context: Context<DrainFlags>, id: string): Promise<number> {
  const { data: node } = await attempt("Error toggling node", context.api.get<Node>(`/v1/node/${id}`));
  if (!node.DrainStrategy) {
    context.ui.warn("No drain strategy set");
    return 0;
  }
  context.ui.output(
    `${formatTimeMs(context.now())}: Monitoring node ${quote(id)}: Ctrl-C to detach monitoring`,
  );
  await follow(context, id, 0, node.DrainStrategy.IgnoreSystemJobs);
  return 0;
}

/** Says what happens until the drain is over and what has to stop has stopped. */
async function follow(
  context: Context,
  id: string,
  sinceIndex: number,
  ignoreSystem: boolean,
): Promise<void> {
  const say = (text: string) => context.ui.output(`${formatTimeMs(context.now())}: ${text}`);
  await untilInterrupted(context, async (signal) => {
    await Promise.all([
      followNode(context, id, sinceIndex, { say, signal }),
      followAllocs(context, id, ignoreSystem, { say, signal }),
    ]);
    say(`All allocations on node ${quote(id)} have stopped`);
  });
}

interface Follower {
  say(text: string): void;
  signal: AbortSignal;
}

async function followNode(
  context: Context,
  id: string,
  sinceIndex: number,
  follower: Follower,
): Promise<void> {
  let index = 0;
  let last: DrainStrategy | null = null;
  for (;;) {
    const answer = await attempt(
      "Error monitoring node",
      context.api.get<Node>(`/v1/node/${id}`, {
        signal: follower.signal,
        ...(index > 0 ? { index, waitMs: POLL_MS } : {}),
      }),
    );
    const node = answer.data;
    if (!node.DrainStrategy && node.ModifyIndex >= sinceIndex) {
      follower.say(`Drain complete for node ${id}`);
      return;
    }
    if (last && node.DrainStrategy && JSON.stringify(last) !== JSON.stringify(node.DrainStrategy)) {
      follower.say(`Node ${quote(id)} drain updated`);
    }
    last = node.DrainStrategy;
    index = answer.index;
  }
}

async function followAllocs(
  context: Context,
  id: string,
  ignoreSystem: boolean,
  follower: Follower,
): Promise<void> {
  const seen = new Map<string, { status: string; marked: boolean; draining: boolean }>();
  let index = 0;
  for (;;) {
    const answer = await attempt(
      "Error monitoring allocations",
      context.api.get<FullAllocation[] | null>(`/v1/node/${id}/allocations`, {
        signal: follower.signal,
        ...(index > 0 ? { index, waitMs: POLL_MS } : {}),
      }),
    );
    index = answer.index;
    let running = 0;
    for (const alloc of answer.data ?? []) {
      const before = seen.get(alloc.ID);
      const now = {
        status: alloc.ClientStatus,
        marked: alloc.DesiredTransition?.Migrate === true,
        draining: alloc.DesiredStatus === "stop" && alloc.DesiredTransition?.Migrate === true,
      };
      seen.set(alloc.ID, now);
      const isSystem = alloc.Job?.Type === "system" || alloc.Job?.Type === "sysbatch";
      const isTerminal = ["complete", "failed", "lost"].includes(alloc.ClientStatus);
      if (!isTerminal && !(ignoreSystem && isSystem)) running++;
      if (!before) continue;
      if (now.marked && !before.marked) follower.say(`Alloc ${quote(alloc.ID)} marked for migration`);
      if (now.draining && !before.draining) follower.say(`Alloc ${quote(alloc.ID)} draining`);
      if (now.status !== before.status) {
        follower.say(`Alloc ${quote(alloc.ID)} status ${before.status} -> ${now.status}`);
      }
    }
    if (running === 0) return;
  }
}
