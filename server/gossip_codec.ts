// The content of gossip frames as bytes: JSON, checked by hand on the way in. Pure. What stands around it (version,
// encryption) is gossip_http.ts's.
//
// Invariants: nothing that is decoded is larger than the limits below or holds control characters, so it may be kept
// and logged; whatever is wrong throws GossipFormatError and nothing else.
import type { GossipMessage, MemberRecord, RecordStatus } from "./gossip_types.ts";
import type { MemberTags } from "./membership.ts";

/** Bytes that are not a message of gossip. */
export class GossipFormatError extends Error {
  override readonly name = "GossipFormatError";
}

export type KeyringOperation = "list" | "install" | "use" | "remove";

/** Changes of the keyring need a number that the receiver gave out a moment ago: a recorded one does nothing. */
export type KeyringMessage =
  | { t: "challenge"; from: string }
  | { t: "challenged"; from: string; challenge: string }
  | { t: "keyring"; from: string; challenge: string; operation: KeyringOperation; key: string }
  | { t: "keys"; from: string; keys: string[]; primary: string; error: string };

export type WireMessage = GossipMessage | KeyringMessage;

export const NAME_MAX = 256;
/** Members that a server keeps and tells at most. */
export const MEMBERS_MAX = 1024;
const TAGS_MAX = 32;
const TAG_MAX = 512;
const HOST_MAX = 255;
const KEYS_MAX = 64;
const KEY_MAX = 64;
const CHALLENGE_MAX = 64;
const ERROR_MAX = 512;
const INCARNATION_MAX = 2 ** 50;
const AGE_MAX_MS = 10 * 365 * 86_400_000;
const STATUSES: readonly RecordStatus[] = ["alive", "suspect", "failed", "left"];
const OPERATIONS: readonly KeyringOperation[] = ["list", "install", "use", "remove"];

/** What would forge lines of a log. */
const CONTROL = /[\p{Cc}\u2028\u2029]/u;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function encodeMessage(message: WireMessage): Uint8Array {
  return encoder.encode(JSON.stringify(message));
}

/** Throws GossipFormatError. */
export function decodeMessage(bytes: Uint8Array): WireMessage {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch (error) {
    throw new GossipFormatError(`not JSON: ${error instanceof SyntaxError ? "syntax" : "encoding"}`);
  }
  const fields = object(value, "message");
  const from = name(fields["from"], "from");
  switch (fields["t"]) {
    case "ping":
      return {
        t: "ping",
        from,
        seq: integer(fields["seq"], "seq"),
        target: name(fields["target"], "target"),
        updates: records(fields["updates"]),
      };
    case "probe":
      return {
        t: "probe",
        from,
        seq: integer(fields["seq"], "seq"),
        target: name(fields["target"], "target"),
        updates: records(fields["updates"]),
      };
    case "ack":
      return {
        t: "ack",
        from,
        seq: integer(fields["seq"], "seq"),
        ok: bool(fields["ok"], "ok"),
        updates: records(fields["updates"]),
      };
    case "sync":
      return { t: "sync", from, join: bool(fields["join"], "join"), members: records(fields["members"]) };
    case "synced":
      return { t: "synced", from, members: records(fields["members"]) };
    default:
      return keyringMessage(fields, from);
  }
}

function keyringMessage(fields: Record<string, unknown>, from: string): KeyringMessage {
  switch (fields["t"]) {
    case "challenge":
      return { t: "challenge", from };
    case "challenged":
      return { t: "challenged", from, challenge: text(fields["challenge"], "challenge", CHALLENGE_MAX) };
    case "keyring":
      return {
        t: "keyring",
        from,
        challenge: text(fields["challenge"], "challenge", CHALLENGE_MAX),
        operation: oneOf(fields["operation"], OPERATIONS, "operation"),
        key: text(fields["key"], "key", KEY_MAX),
      };
    case "keys":
      return {
        t: "keys",
        from,
        keys: list(fields["keys"], "keys", KEYS_MAX).map((key) => text(key, "keys", KEY_MAX)),
        primary: text(fields["primary"], "primary", KEY_MAX),
        error: text(fields["error"], "error", ERROR_MAX),
      };
    default:
      throw new GossipFormatError("unknown kind of message");
  }
}

function records(value: unknown): MemberRecord[] {
  return list(value, "records", MEMBERS_MAX + 1).map((item) => {
    const fields = object(item, "record");
    return {
      name: name(fields["name"], "name"),
      ...endpoint(fields),
      tags: tags(fields["tags"]),
      incarnation: integer(fields["incarnation"], "incarnation", INCARNATION_MAX),
      status: oneOf(fields["status"], STATUSES, "status"),
      by: text(fields["by"], "by", NAME_MAX),
      pruned: bool(fields["pruned"], "pruned"),
      ageMs: integer(fields["ageMs"], "ageMs", AGE_MAX_MS),
    };
  });
}

function tags(value: unknown): MemberTags {
  const entries = Object.entries(object(value, "tags"));
  if (entries.length > TAGS_MAX) throw new GossipFormatError("too many tags");
  return Object.fromEntries(
    entries.map(([key, tag]) => [text(key, "tag", TAG_MAX), text(tag, "tag", TAG_MAX)]),
  );
}

function endpoint(fields: Record<string, unknown>): { host: string; port: number } {
  const host = text(fields["host"], "host", HOST_MAX);
  if (!/^[A-Za-z0-9.:_%-]+$/.test(host)) throw new GossipFormatError("host is no host");
  const port = integer(fields["port"], "port", 65_535);
  if (port === 0) throw new GossipFormatError("port is no port");
  return { host, port };
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new GossipFormatError(`${what} is no object`);
}

function list(value: unknown, what: string, max: number): unknown[] {
  if (Array.isArray(value) && value.length <= max) return value;
  throw new GossipFormatError(`${what} is no list of at most ${max}`);
}

function text(value: unknown, what: string, max: number): string {
  if (typeof value === "string" && value.length <= max && !CONTROL.test(value)) {
    return value;
  }
  throw new GossipFormatError(`${what} is no text of at most ${max} characters`);
}

function name(value: unknown, what: string): string {
  const read = text(value, what, NAME_MAX);
  if (read === "") throw new GossipFormatError(`${what} is empty`);
  return read;
}

function integer(value: unknown, what: string, max: number = Number.MAX_SAFE_INTEGER): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new GossipFormatError(`${what} is no whole number up to ${max}`);
}

function bool(value: unknown, what: string): boolean {
  if (typeof value === "boolean") return value;
  throw new GossipFormatError(`${what} is neither true nor false`);
}

function oneOf<T extends string>(value: unknown, choices: readonly T[], what: string): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw new GossipFormatError(`${what} is none of ${choices.join(", ")}`);
  return found;
}
