// Users of this host: from a task's `user` to ids, and which ids an operator denies. Reads /etc/passwd and
// /etc/group, and asks `getent` for directories (LDAP …) when a name is not there. Changes nobody's identity.
import { readFileSync } from "node:fs";
import { DriverError } from "../core/errors.ts";
import { findProgram, run } from "./wrapper.ts";

export interface HostUser {
  /** "" when only numbers are known. */
  name: string;
  uid: number;
  gid: number;
  /** All groups, the primary one included. */
  groups: number[];
}

/** `text` is a name or `uid[:gid]`. Rejects with DriverError when there is no such user. */
export async function lookupUser(text: string): Promise<HostUser> {
  const [first, gidText] = text.split(":");
  const entry = await passwdEntry(first ?? "");
  if (entry === null && !/^\d+$/.test(first ?? "")) {
    throw new DriverError(
      "start",
      `Cannot run as user "${text}": this host has no such user`,
      false,
      "create it, or use uid[:gid]",
    );
  }
  const [name = "", , uid, primary] = entry?.split(":") ?? [];
  const gid = gidText ? await lookupGroup(gidText, text) : Number(primary ?? first);
  const groups = name === "" ? [gid] : [gid, ...memberships(name)];
  return { name, uid: Number(uid ?? first), gid, groups: [...new Set(groups)] };
}

async function passwdEntry(nameOrUid: string): Promise<string | null> {
  const column = /^\d+$/.test(nameOrUid) ? 2 : 0;
  const lines = readFileSync("/etc/passwd", "utf8").split("\n");
  const found = lines.find((line) => line.split(":")[column] === nameOrUid);
  if (found !== undefined) return found;
  const getent = findProgram("getent");
  if (getent === null) return null;
  const answer = await run(getent, ["passwd", nameOrUid]);
  return answer.code === 0 ? answer.stdout.trim() : null;
}

async function lookupGroup(nameOrGid: string, user: string): Promise<number> {
  if (/^\d+$/.test(nameOrGid)) return Number(nameOrGid);
  const lines = readFileSync("/etc/group", "utf8").split("\n");
  const found = lines.find((line) => line.split(":")[0] === nameOrGid);
  if (found !== undefined) return Number(found.split(":")[2]);
  const getent = findProgram("getent");
  const answer = getent ? await run(getent, ["group", nameOrGid]) : null;
  if (answer?.code === 0) return Number(answer.stdout.split(":")[2]);
  throw new DriverError("start", `Cannot run as "${user}": this host has no group "${nameOrGid}"`, false);
}

function memberships(name: string): number[] {
  return readFileSync("/etc/group", "utf8").split("\n")
    .map((line) => line.split(":")).filter((parts) => (parts[3] ?? "").split(",").includes(name))
    .map((parts) => Number(parts[2]));
}

/** "0,10-15,22" → a test of ids. Throws SyntaxError naming the text. */
export function parseIdRanges(text: string): (id: number) => boolean {
  const ranges = text.split(",").map((part) => part.trim()).filter((part) => part !== "").map((part) => {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    const low = Number(match?.[1]);
    const high = Number(match?.[2] ?? match?.[1]);
    if (!match || high < low) {
      throw new SyntaxError(
        `Cannot read id ranges ${JSON.stringify(text)}: expected for example "0,10-15,22"`,
      );
    }
    return { low, high };
  });
  return (id) => ranges.some((range) => id >= range.low && id <= range.high);
}
