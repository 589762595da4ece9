// Snapshot blocks: a few chunks of state text packed and compressed. Used by every storage, so that a block can travel
// between servers as it is stored, and by the files that operators save (snapshot_archive.ts).
//
// Layout, compressed with zstd: version byte, then per chunk its length in bytes (uint32, little endian) and UTF-8.
import { crc32, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { StorageError } from "./errors.ts";

const VERSION = 1;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Characters of chunks that are put into one block, unless a single chunk is longer. */
export const BLOCK_CHARS = 256 * 1024;
/** A block that unpacks to more is not ours. */
const UNPACKED_MAX_BYTES = 512 * 1024 * 1024;

export function packBlock(chunks: readonly string[]): Uint8Array<ArrayBuffer> {
  const texts = chunks.map((c) => encoder.encode(c));
  const out = new Uint8Array(1 + texts.reduce((sum, t) => sum + 4 + t.length, 0));
  const view = new DataView(out.buffer);
  out[0] = VERSION;
  let at = 1;
  for (const text of texts) {
    view.setUint32(at, text.length, true);
    out.set(text, at + 4);
    at += 4 + text.length;
  }
  return new Uint8Array(zstdCompressSync(out));
}

/** Running checksum over a snapshot's blocks: with index and term it names the snapshot. */
export function blockChecksum(block: Uint8Array, before = 0): number {
  return crc32(block, before);
}

/** Throws StorageError("corrupt") when the block is not one of ours. */
export function unpackBlock(block: Uint8Array): string[] {
  let raw: Uint8Array;
  try {
    raw = zstdDecompressSync(block, { maxOutputLength: UNPACKED_MAX_BYTES });
  } catch (cause) {
    throw new StorageError("corrupt", "A snapshot block cannot be decompressed: it is damaged", { cause });
  }
  if (raw[0] !== VERSION) {
    throw new StorageError("corrupt", `A snapshot block has format ${raw[0]}; this program reads ${VERSION}`);
  }
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  const chunks: string[] = [];
  for (let at = 1; at < raw.length;) {
    const length = at + 4 <= raw.length ? view.getUint32(at, true) : Infinity;
    if (at + 4 + length > raw.length) {
      throw new StorageError("corrupt", "A snapshot block ends in a chunk's middle");
    }
    chunks.push(decoder.decode(raw.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return chunks;
}
