// The file of a saved state: a gzipped tar of meta.json, state.bin and SHA256SUMS, the container that Nomad uses. What
// stands in state.bin is ours: a mark, a version, and the blocks of snapshot_codec.ts with their lengths. Streams in both
// directions; holds a block at a time.
//
// Invariants: an archive is read to its end and compared with its sums before anything of it may be used; another program's
// state, a newer version, and whatever is cut off or damaged is an ArchiveError that says so.
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { errorText } from "./errors.ts";

export interface ArchiveMeta {
  /** Of this container: 1. */
  Version: 1;
  /** `<term>-<index>-<milliseconds since 1970>` */
  ID: string;
  Index: number;
  Term: number;
  Peers: string;
  Configuration: { Servers: { Suffrage: number; ID: string; Address: string }[] };
  ConfigurationIndex: number;
  /** Bytes of state.bin. */
  Size: number;
}

/** What is wrong with an archive, in Nomad's words where it has some. */
export class ArchiveError extends Error {
  override readonly name = "ArchiveError";
}

const STATE_MARK = Buffer.from("STATETS");
const STATE_VERSION = 1;
const BLOCK_MAX_BYTES = 256 * 1024 * 1024;
const META_MAX_BYTES = 1024 * 1024;

/** What state.bin begins with. */
export function stateHeader(): Uint8Array {
  return Buffer.concat([STATE_MARK, Buffer.of(STATE_VERSION)]);
}

/** A block as it stands in state.bin. */
export function stateFrame(block: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(block.length);
  return Buffer.concat([length, block]);
}

/** Takes state.bin apart as it comes: bytes in, whole blocks out. */
export class StateParser {
  #held: Buffer = Buffer.alloc(0);
  #begun = false;

  *push(bytes: Uint8Array): Iterable<Uint8Array> {
    this.#held = Buffer.concat([this.#held, bytes]);
    if (!this.#begun) {
      if (this.#held.length < STATE_MARK.length + 1) return;
      checkMark(this.#held);
      this.#held = this.#held.subarray(STATE_MARK.length + 1);
      this.#begun = true;
    }
    while (this.#held.length >= 4) {
      const length = this.#held.readUInt32LE(0);
      if (length > BLOCK_MAX_BYTES) throw new ArchiveError("state.bin is damaged: a block is too large");
      if (this.#held.length < 4 + length) return;
      yield this.#held.subarray(4, 4 + length);
      this.#held = this.#held.subarray(4 + length);
    }
  }

  finish(): void {
    if (!this.#begun) checkMark(this.#held);
    if (this.#held.length > 0) throw new ArchiveError("state.bin is cut off: unexpected EOF");
  }
}

function checkMark(bytes: Buffer): void {
  if (!bytes.subarray(0, STATE_MARK.length).equals(STATE_MARK)) {
    throw new ArchiveError(
      "state.bin was not written by this program: the state that HashiCorp Nomad saves cannot be read here; " +
        "register the jobs again from their files",
    );
  }
  const version = bytes[STATE_MARK.length]!;
  if (version !== STATE_VERSION) {
    throw new ArchiveError(
      `state.bin has format ${version}, this program reads ${STATE_VERSION}: use the version that saved it, or a newer one`,
    );
  }
}

/** Writes the archive of a state that stands in a file. Gives back the base64 of the archive's SHA-256. */
export async function writeArchive(
  path: string,
  meta: ArchiveMeta,
  state: { path: string; sha256: string },
): Promise<{ digest: string; bytes: number }> {
  const { pack } = await import("tar-stream");
  const tar = pack();
  const whole = createHash("sha256");
  let bytes = 0;
  const file = createWriteStream(path, { flags: "wx", mode: 0o600 });
  const counted = async function* (source: AsyncIterable<Uint8Array>) {
    for await (const chunk of source) {
      whole.update(chunk);
      bytes += chunk.length;
      yield chunk;
    }
  };
  // Blocks are compressed already: more effort would find nothing.
  const written = pipeline(tar as unknown as Readable, createGzip({ level: 1 }), counted, file);
  const metaText = JSON.stringify(meta) + "\n";
  const sums = `${sha256(metaText)}  meta.json\n${state.sha256}  state.bin\n`;
  const add = async () => {
    const mtime = new Date(Number(meta.ID.split("-")[2]));
    const entry = (name: string, size: number) => ({ name, size, mode: 0o600, mtime });
    await addText(tar, entry("meta.json", Buffer.byteLength(metaText)), metaText);
    const sink = tar.entry(entry("state.bin", meta.Size)) as unknown as Writable;
    await pipeline(createReadStream(state.path), sink);
    await addText(tar, entry("SHA256SUMS", Buffer.byteLength(sums)), sums);
    tar.finalize();
  };
  const added = add().catch((error) => {
    tar.destroy(error);
    throw error;
  });
  await Promise.all([written, added]);
  return { digest: whole.digest("base64"), bytes };
}

type Pack = ReturnType<(typeof import("tar-stream"))["pack"]>;

function addText(tar: Pack, header: { name: string }, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    tar.entry(header, text, (error) => error ? reject(error) : resolve());
  });
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * Reads an archive to its end, hands the bytes of state.bin on as they come, and compares the sums. Only when it has
 * resolved may what was handed on be used. Rejects with ArchiveError.
 */
export async function readArchive(
  source: AsyncIterable<Uint8Array>,
  onState: (bytes: Uint8Array) => Promise<void> | void,
): Promise<ArchiveMeta> {
  const { extract } = await import("tar-stream");
  const tar = extract();
  let received = 0;
  const input = Readable.from(async function* () {
    for await (const bytes of source) {
      received += bytes.length;
      yield bytes;
    }
  }());
  const gunzip = createGunzip();
  let failure: Error | null = null;
  const failed = (error: Error) => {
    failure ??= error;
    tar.destroy(error);
  };
  input.on("error", failed);
  gunzip.on("error", (error) => failed(gzipError(error)));
  const pumped = input.pipe(gunzip);
  pumped.pipe(tar as unknown as NodeJS.WritableStream);
  const parts = new Parts(onState);
  try {
    for await (const entry of tar) {
      await parts.take(entry.header.name, entry as unknown as AsyncIterable<Uint8Array>);
    }
  } catch (error) {
    throw describe(failure ?? error, parts.reading, received === 0);
  } finally {
    input.destroy();
    gunzip.destroy();
  }
  return parts.check();
}

/** The runtimes' words for the same damage differ. */
function gzipError(error: Error): Error {
  if (/unexpected end of file/i.test(error.message)) return new ArchiveError("EOF");
  if (/incorrect header check/i.test(error.message)) return new ArchiveError("gzip: invalid header");
  return new Error("the compressed data is damaged");
}

function describe(error: unknown, reading: string, isEmpty: boolean): ArchiveError {
  const text = errorText(error);
  if (text === "gzip: invalid header" || isEmpty) {
    return new ArchiveError(`failed to decompress snapshot: ${text}`);
  }
  if (text === "EOF") {
    return new ArchiveError(
      `failed to read snapshot file: failed to read ${reading || NAMES["meta.json"]}: unexpected EOF`,
    );
  }
  return new ArchiveError(
    error instanceof ArchiveError
      ? `failed to read snapshot file: ${text}`
      : `failed to read snapshot file: failed reading snapshot: ${text}`,
  );
}

const NAMES: Record<string, string> = {
  "meta.json": "snapshot metadata",
  "state.bin": "snapshot state",
  "SHA256SUMS": "snapshot checksums",
};

/** The three files of an archive, whatever their order. */
class Parts {
  /** What is being read, "" before the first file. */
  reading = "";
  #sums = new Map<string, string>();
  #meta: string | null = null;
  #listed: string | null = null;

  constructor(private readonly onState: (bytes: Uint8Array) => Promise<void> | void) {}

  async take(name: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    if (!(name in NAMES)) throw new ArchiveError(`unexpected file ${JSON.stringify(name)} in snapshot`);
    this.reading = NAMES[name]!;
    const hash = createHash("sha256");
    const texts: Uint8Array[] = [];
    let size = 0;
    for await (const bytes of content) {
      hash.update(bytes);
      size += bytes.length;
      if (name === "state.bin") await this.onState(bytes);
      else if (size <= META_MAX_BYTES) texts.push(bytes);
      else throw new ArchiveError(`${name} is too large`);
    }
    this.#sums.set(name, hash.digest("hex"));
    const text = Buffer.concat(texts).toString("utf8");
    if (name === "meta.json") this.#meta = text;
    if (name === "SHA256SUMS") this.#listed = text;
  }

  check(): ArchiveMeta {
    const lines = (this.#listed ?? "").split("\n").filter((line) => line !== "");
    const listed = new Map(lines.map((line) => line.split("  ", 2).reverse() as [string, string]));
    for (const name of ["meta.json", "state.bin"]) {
      if (this.#listed !== null && listed.get(name) === this.#sums.get(name) && this.#sums.has(name)) {
        continue;
      }
      throw new ArchiveError(
        "failed to read snapshot file: " +
          (this.#listed === null
            ? "it has no SHA256SUMS: unexpected EOF"
            : `failed checking integrity of snapshot: hash check failed for ${JSON.stringify(name)}`),
      );
    }
    try {
      return checkMeta(JSON.parse(this.#meta!));
    } catch (error) {
      throw new ArchiveError(
        `failed to read snapshot file: failed to decode snapshot metadata: ${errorText(error)}`,
      );
    }
  }
}

function checkMeta(meta: ArchiveMeta): ArchiveMeta {
  if (meta?.Version !== 1) throw new TypeError(`version ${meta?.Version} is not known`);
  for (const key of ["Index", "Term", "Size", "ConfigurationIndex"] as const) {
    if (!Number.isSafeInteger(meta[key])) throw new TypeError(`${key} is not a number`);
  }
  if (!Array.isArray(meta.Configuration?.Servers)) throw new TypeError("Configuration is missing");
  return meta;
}
