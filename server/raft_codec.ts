// Messages between servers as bytes: one request body holds some messages from one server to another. Checks every length
// before it reads, so that a body from anywhere yields messages or a WireError and nothing else.
//
// Body: "NRFT", version byte, sender and receiver id, sender's rpc address, then frames until the end. Frame: payload length
// (uint32), CRC-32 of the payload (uint32), payload: length of a JSON head (uint32), head, and what the head
// announces: the texts of entries or one snapshot block, so that large texts are not quoted a second time.
import { crc32 } from "node:zlib";
import type { Entry, EntryKind, Message, MessageBody } from "./raft_types.ts";

export const WIRE_VERSION = 1;
/** A body holds at most this much; a single larger message travels alone, up to MESSAGE_MAX_BYTES. */
export const BODY_BYTES = 4 * 1024 * 1024;
export const MESSAGE_MAX_BYTES = 256 * 1024 * 1024;

const MAGIC = 0x5446_524e; // "NRFT", little endian
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A body that is not ours, not for us, or damaged. */
export class WireError extends Error {
  override readonly name = "WireError";
}

export interface WireHeader {
  from: string;
  to: string;
  /** host:port where the sender can be answered. */
  address: string;
}

/** What stands in JSON in place of entries: [term, kind, bytes of text]; their indexes follow prevIndex. */
type EntryHead = [number, EntryKind, number];

export function encodeHeader(header: WireHeader): Uint8Array {
  const texts = [header.from, header.to, header.address].map((t) => encoder.encode(t));
  const out = new Uint8Array(5 + texts.reduce((sum, t) => sum + 2 + t.length, 0));
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC, true);
  out[4] = WIRE_VERSION;
  let at = 5;
  for (const text of texts) {
    view.setUint16(at, text.length, true);
    out.set(text, at + 2);
    at += 2 + text.length;
  }
  return out;
}

export function encodeMessage(message: Message): Uint8Array {
  const parts: Uint8Array[] = [];
  const { from: _from, to: _to, ...rest } = message;
  let head: unknown = rest;
  if (message.type === "append") {
    const entries = message.entries.map((e): EntryHead => {
      const text = encoder.encode(e.data);
      parts.push(text);
      return [e.term, e.kind, text.length];
    });
    head = { ...rest, entries };
  } else if (message.type === "snapshot") {
    const { data } = message;
    if (data) parts.push(data);
    head = { ...rest, data: data?.length ?? 0 };
  }
  const headBytes = encoder.encode(JSON.stringify(head));
  const length = 4 + headBytes.length + parts.reduce((sum, p) => sum + p.length, 0);
  const out = new Uint8Array(8 + length);
  const view = new DataView(out.buffer);
  view.setUint32(0, length, true);
  view.setUint32(8, headBytes.length, true);
  out.set(headBytes, 12);
  let at = 12 + headBytes.length;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  view.setUint32(4, crc32(out.subarray(8)), true);
  return out;
}

/** Reads through bytes and refuses to leave them. */
class Reader {
  #at = 0;
  readonly #view: DataView;

  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get done(): boolean {
    return this.#at === this.bytes.length;
  }

  take(length: number, what: string): Uint8Array {
    if (this.#at + length > this.bytes.length) throw new WireError(`the body ends within ${what}`);
    this.#at += length;
    return this.bytes.subarray(this.#at - length, this.#at);
  }

  uint16(what: string): number {
    this.take(2, what);
    return this.#view.getUint16(this.#at - 2, true);
  }

  uint32(what: string): number {
    this.take(4, what);
    return this.#view.getUint32(this.#at - 4, true);
  }

  text(length: number, what: string): string {
    try {
      return decoder.decode(this.take(length, what));
    } catch (error) {
      throw error instanceof WireError ? error : new WireError(`${what} is not UTF-8`);
    }
  }
}

export function decodeBody(bytes: Uint8Array): { header: WireHeader; messages: Message[] } {
  const reader = new Reader(bytes);
  if (reader.uint32("its mark") !== MAGIC) throw new WireError("the body is not a batch of raft messages");
  const version = reader.take(1, "its version")[0]!;
  if (version !== WIRE_VERSION) {
    throw new WireError(
      `the sender speaks version ${version} of the raft wire, this server ${WIRE_VERSION}: upgrade the older one`,
    );
  }
  const [from, to, address] = ["sender", "receiver", "address"].map((w) => reader.text(reader.uint16(w), w));
  const header = { from: from!, to: to!, address: address! };
  const messages: Message[] = [];
  while (!reader.done) {
    const length = reader.uint32("a frame");
    const checksum = reader.uint32("a frame");
    const payload = reader.take(length, "a message");
    if (crc32(payload) !== checksum) throw new WireError("a message's checksum is wrong");
    messages.push(decodePayload(payload, header));
  }
  return { header, messages };
}

function decodePayload(payload: Uint8Array, { from, to }: WireHeader): Message {
  const reader = new Reader(payload);
  const text = reader.text(reader.uint32("a head"), "a message's head");
  let head: Record<string, unknown>;
  try {
    head = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new WireError(`a message's head is not JSON: ${(error as Error).message}`);
  }
  const body = checkHead(head);
  if (body.type === "append") {
    const heads = head["entries"] as unknown as EntryHead[];
    let index = body.prevIndex;
    body.entries = heads.map(([term, kind, length]): Entry => ({
      index: ++index,
      term,
      kind,
      data: reader.text(length, "an entry"),
    }));
  } else if (body.type === "snapshot") {
    // A copy: slice() of a Buffer would share the body's memory.
    body.data = new Uint8Array(reader.take(head["data"] as unknown as number, "a snapshot block"));
  }
  if (!reader.done) throw new WireError("a message is longer than its head says");
  return { ...body, from, to };
}

type Shape = Record<string, "number" | "boolean">;

const SHAPES: Record<MessageBody["type"], Shape> = {
  "prevote": { lastIndex: "number", lastTerm: "number" },
  "prevote.response": { granted: "boolean" },
  "vote": { lastIndex: "number", lastTerm: "number", force: "boolean" },
  "vote.response": { granted: "boolean" },
  "append": { prevIndex: "number", prevTerm: "number", commit: "number" },
  "append.response": { ok: "boolean", prevIndex: "number", match: "number", hintTerm: "number" },
  "heartbeat": { commit: "number", read: "number" },
  "heartbeat.response": { read: "number" },
  "snapshot": { block: "number", data: "number" },
  "snapshot.response": { index: "number", snapshotTerm: "number", next: "number" },
  "timeout.now": {},
};
const SNAPSHOT_SHAPE: Shape = {
  index: "number",
  term: "number",
  configIndex: "number",
  blocks: "number",
  bytes: "number",
  checksum: "number",
};
const KINDS: readonly string[] = ["command", "noop", "config"] satisfies EntryKind[];

/** Shapes only: whether a message makes sense is for raft.ts, which trusts no index. */
function checkHead(head: Record<string, unknown>): MessageBody & { term: number } {
  const shape = typeof head?.["type"] === "string" ? SHAPES[head["type"] as MessageBody["type"]] : undefined;
  if (!shape) throw new WireError(`a message has the unknown type ${JSON.stringify(head?.["type"])}`);
  checkShape(head, { ...shape, term: "number" }, String(head["type"]));
  if (head["type"] === "append.response" && ![undefined, true, false].includes(head["lost"] as boolean)) {
    throw new WireError('append.response: "lost" is not a boolean');
  }
  if (head["type"] === "append" && !isEntryHeads(head["entries"])) {
    throw new WireError("append: wrong entries");
  }
  if (head["type"] === "snapshot") {
    const snapshot = head["snapshot"] as Record<string, unknown> | null;
    if (typeof snapshot !== "object" || snapshot === null) throw new WireError("snapshot: no description");
    checkShape(snapshot, SNAPSHOT_SHAPE, "snapshot");
    const servers = (snapshot["config"] as { servers?: unknown } | undefined)?.servers;
    if (!Array.isArray(servers)) throw new WireError("snapshot: no membership");
  }
  return head as unknown as MessageBody & { term: number };
}

function checkShape(value: Record<string, unknown>, shape: Shape, what: string): void {
  for (const [key, type] of Object.entries(shape)) {
    const found = value[key];
    const fits = type === "boolean"
      ? typeof found === "boolean"
      : Number.isSafeInteger(found) && (found as number) >= 0;
    if (!fits) throw new WireError(`${what}: "${key}" is not a ${type}`);
  }
}

function isEntryHeads(value: unknown): boolean {
  return Array.isArray(value) &&
    value.every((e) =>
      Array.isArray(e) && e.length === 3 && Number.isSafeInteger(e[0]) && KINDS.includes(e[1] as string) &&
      Number.isSafeInteger(e[2]) && (e[2] as number) >= 0
    );
}
