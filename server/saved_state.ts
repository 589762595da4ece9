// Saving the whole state into a file for operators, and taking one back (docs/snapshots.md). A saved state comes back
// through the log: its blocks are staged on every server, one command then replaces the state everywhere at one index.
//
// Invariants: the state is never in memory twice as text, a file's bytes stand in a private directory that goes with the
// call; a file is read to its end, compared with its sums and looked through before anything is proposed.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiError, errorText, StorageError } from "../core/errors.ts";
import {
  ArchiveError,
  type ArchiveMeta,
  readArchive,
  stateFrame,
  stateHeader,
  StateParser,
  writeArchive,
} from "../core/snapshot_archive.ts";
import { BLOCK_CHARS, packBlock, unpackBlock } from "../core/snapshot_codec.ts";
import type { Command } from "./commands.ts";
import type { ServerContext } from "./context.ts";
import { chunkProblem } from "./state_snapshot.ts";

/** Characters of base64 in one command: small enough that heartbeats and other writes get between. */
const STAGE_CHARS = 512 * 1024;
/** A state that unpacks to more is none of ours, and must not fill the disk. */
const STATE_MAX_BYTES = 4 * 1024 * 1024 * 1024;

export interface SavedState {
  meta: ArchiveMeta;
  /** Base64 of the file's SHA-256. */
  digest: string;
  bytes: number;
  /** The file's content; the file is gone when it was read or cancelled. */
  stream: ReadableStream<Uint8Array>;
}

/** The state as it is now, as a file to send. */
export async function saveState(server: ServerContext): Promise<SavedState> {
  const folder = await privateFolder();
  try {
    const statePath = join(folder, "state.bin");
    const index = server.state.index;
    const { size, sha256 } = await writeState(statePath, server.snapshotState());
    const { term } = server.log;
    const meta: ArchiveMeta = {
      Version: 1,
      ID: `${term}-${index}-${Math.floor(server.clock.nowMs())}`,
      Index: index,
      Term: term,
      Peers: "",
      Configuration: {
        Servers: server.log.peers().map((p) => ({
          Suffrage: p.voter ? 0 : 1,
          ID: p.id,
          Address: p.rpcAddress,
        })),
      },
      ConfigurationIndex: Number(server.log.stats()["latest_configuration_index"] ?? 0),
      Size: size,
    };
    const path = join(folder, "archive");
    const { digest, bytes } = await writeArchive(path, meta, { path: statePath, sha256 });
    const file = await open(path, "r");
    return { meta, digest, bytes, stream: streamOf(file) };
  } finally {
    // What is open can still be read.
    await rm(folder, { recursive: true, force: true });
  }
}

function privateFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "nomad-snapshot-"));
}

async function writeState(path: string, chunks: Iterable<string>): Promise<{ size: number; sha256: string }> {
  const hash = createHash("sha256");
  const file = await open(path, "wx", 0o600);
  let size = 0;
  const put = async (bytes: Uint8Array) => {
    hash.update(bytes);
    size += bytes.length;
    await file.write(bytes);
  };
  try {
    await put(stateHeader());
    let block: string[] = [];
    let chars = 0;
    for (const chunk of chunks) {
      block.push(chunk);
      chars += chunk.length;
      if (chars < BLOCK_CHARS) continue;
      await put(stateFrame(packBlock(block))); // Other work gets its turn between two blocks.
      block = [];
      chars = 0;
    }
    if (block.length > 0) await put(stateFrame(packBlock(block)));
  } finally {
    await file.close();
  }
  return { size, sha256: hash.digest("hex") };
}

function streamOf(file: FileHandle): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { bytesRead, buffer } = await file.read(new Uint8Array(64 * 1024));
      if (bytesRead > 0) return controller.enqueue(buffer.subarray(0, bytesRead));
      await file.close();
      controller.close();
    },
    cancel: () => file.close(),
  });
}

/** Replaces the state of all servers by a saved one. Resolves with the index at which that is so. Leader only. */
export async function restoreState(
  server: ServerContext,
  source: AsyncIterable<Uint8Array>,
): Promise<number> {
  const folder = await privateFolder();
  try {
    const path = join(folder, "state.bin");
    await receive(source, path);
    await lookThrough(path);
    return await install(server, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function receive(source: AsyncIterable<Uint8Array>, path: string): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    let size = 0;
    await readArchive(source, async (bytes) => {
      size += bytes.length;
      if (size > STATE_MAX_BYTES) throw new ArchiveError("the state is too large for this program");
      await file.write(bytes);
    });
  } catch (error) {
    throw error instanceof ArchiveError ? refusal(error.message) : error;
  } finally {
    await file.close();
  }
}

/** Every block and chunk is readable and known. */
async function lookThrough(path: string): Promise<void> {
  let position = 0;
  try {
    for await (const block of blocksOf(path)) {
      for (const chunk of unpackBlock(block)) {
        const problem = chunkProblem(chunk, position++);
        if (problem) throw new ArchiveError(problem);
      }
      await new Promise((turn) => setImmediate(turn));
    }
  } catch (error) {
    const expected = error instanceof ArchiveError || error instanceof StorageError ||
      error instanceof SyntaxError;
    throw expected ? refusal(`failed to read snapshot file: ${errorText(error)}`) : error;
  }
  if (position === 0) throw refusal("failed to read snapshot file: the state is empty");
}

async function* blocksOf(path: string): AsyncIterable<Uint8Array> {
  const parser = new StateParser();
  for await (const bytes of createReadStream(path)) yield* parser.push(bytes as Uint8Array);
  parser.finish();
}

function refusal(text: string): ApiError {
  return new ApiError(500, `failed to restore from snapshot: ${text}`);
}

async function install(server: ServerContext, path: string): Promise<number> {
  const id = server.random.uuid();
  const time = server.nowNs();
  const propose = (command: Command) => server.propose(command);
  try {
    let count = 0;
    let blocks: string[] = [];
    let chars = 0;
    const stage = async () => {
      await propose({ kind: "state.stage", time, id, first: count, blocks });
      count += blocks.length;
      blocks = [];
      chars = 0;
    };
    for await (const block of blocksOf(path)) {
      const text = Buffer.from(block).toString("base64");
      blocks.push(text);
      chars += text.length;
      if (chars >= STAGE_CHARS) await stage();
    }
    if (blocks.length > 0) await stage();
    return (await server.replaceState({ id, blocks: count })).index;
  } catch (error) {
    // Best effort: the next restore drops what is left.
    const left = await propose({ kind: "state.unstage", time, id }).then(() => "", errorText);
    if (left === "") throw error;
    throw new ApiError(
      error instanceof ApiError ? error.status : 500,
      `${errorText(error)} (and what was staged stays until the next restore: ${left})`,
    );
  }
}
