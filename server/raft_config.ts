// What a membership change may be: pure checks over two memberships. One voter at a time, because then every old and
// every new majority share a server (§4.1 of the thesis).
import { type Configuration, voterIds } from "./raft_types.ts";

/** Why `next` may not follow `current`, or "" when it may. */
export function configChangeProblem(current: Configuration, next: Configuration): string {
  const ids = next.servers.map((s) => s.id);
  if (new Set(ids).size !== ids.length) return "a server stands twice in the membership";
  const before = new Set(voterIds(current));
  const after = new Set(voterIds(next));
  if (after.size === 0) return "the last voter cannot be removed; add another server first";
  const changed = [...before, ...after].filter((id) => before.has(id) !== after.has(id));
  if (changed.length > 1) return `only one voter can be changed at a time, not ${changed.join(", ")}`;
  return "";
}
