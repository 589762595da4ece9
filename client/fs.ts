// Files of an allocation as the API shows them: list, stat, read, stream with follow. Nothing outside the allocation's
// directory is ever reached, neither by ".." nor by a symbolic link a task made, and nothing in a task's secrets or
// private directory is ever read out.
import { type FileHandle, lstat, open, readdir, realpath, stat } from "node:fs/promises";
import { type BigIntStats, constants } from "node:fs";
import { extname, join, relative } from "node:path";
import { ApiError } from "../core/errors.ts";

/** As `/v1/client/fs/ls` has it; ContentType only from `statFile`. */
export interface FileInfo {
  Name: string;
  IsDir: boolean;
  Size: number;
  FileMode: string;
  ModTime: string;
  ContentType?: string;
}

/** Never waits: a pipe that a task made must not hold a thread of this process until somebody writes to it. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK;
const ESCAPES = "Path escapes the alloc directory";

/** `path` below `root`. Throws ApiError 500 when it leads out, also through symbolic links. */
export async function resolveInside(root: string, path: string): Promise<string> {
  if (path.includes("\0")) throw new ApiError(400, "A path holds no NUL");
  const joined = join(root, path).replace(/(?<=.)\/$/, "");
  if (leadsOut(root, joined)) throw new ApiError(500, ESCAPES);
  const real = await realpath(joined).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw error;
  });
  if (real !== null && leadsOut(await realRoot(root), real)) throw new ApiError(500, ESCAPES);
  return joined;
}

/** The directory itself may be gone already: then there is nothing that could lead out of it. */
function realRoot(root: string): Promise<string> {
  return realpath(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return root;
    throw error;
  });
}

function leadsOut(root: string, path: string): boolean {
  const from = relative(root, path);
  return from === ".." || from.startsWith("../");
}

/** Like resolveInside, for content: `<task>/secrets` and `<task>/private` are refused. */
export async function resolveReadable(root: string, path: string): Promise<string> {
  const resolved = await resolveInside(root, path);
  const real = await realpath(resolved).catch(() => resolved);
  for (const candidate of [relative(root, resolved), relative(await realRoot(root), real)]) {
    const [, dir] = candidate.split("/");
    if (dir === "secrets" || dir === "private") {
      throw new ApiError(403, `Reading secret file prohibited: ${path}`);
    }
  }
  return resolved;
}

export async function listFiles(root: string, path: string): Promise<FileInfo[]> {
  const dir = await resolveInside(root, path);
  const names = await readdir(dir).catch((error) => {
    throw goError("open", dir, error);
  });
  const infos = await Promise.all(
    names.sort().map(async (name): Promise<FileInfo[]> => {
      try {
        return [fileInfo(name, await lstat(join(dir, name), { bigint: true }))];
      } catch (error) {
        // Removed between the listing and the look at it.
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
        throw error;
      }
    }),
  );
  return infos.flat();
}

export async function statFile(root: string, path: string): Promise<FileInfo> {
  const file = await resolveInside(root, path);
  const stats = await stat(file, { bigint: true }).catch((error) => {
    throw goError("stat", file, error);
  });
  const info = fileInfo(file.slice(file.lastIndexOf("/") + 1), stats);
  return { ...info, ContentType: stats.isFile() ? await contentType(file) : OCTETS };
}

/** Opens a regular file for reading; the caller closes it. `sizeBytes` is its size now. */
export async function openFile(
  root: string,
  path: string,
): Promise<{ handle: FileHandle; file: string; sizeBytes: number }> {
  const file = await resolveReadable(root, path);
  const handle = await open(file, READ).catch(async (error) => {
    // Go's texts name the look at a file first, and its opening only when that went well.
    await stat(file).catch((error) => {
      throw goError("stat", file, error);
    });
    throw goError("open", file, error);
  });
  // What is open is looked at, not what the path leads to by now: a task may change that at any moment.
  const stats = await handle.stat();
  if (!stats.isFile()) {
    await handle.close();
    const what = stats.isDirectory() ? "a directory" : "not a regular file";
    throw new ApiError(400, `file ${JSON.stringify(path)} is ${what}`);
  }
  return { handle, file, sizeBytes: stats.size };
}

/** Also the type of folders, as in Nomad. */
const OCTETS = "application/octet-stream";

const GO_ERRORS: Record<string, string> = {
  ENOENT: "no such file or directory",
  ENOTDIR: "not a directory",
  EACCES: "permission denied",
  EISDIR: "is a directory",
};

/** System errors in Go's words, which clients of the API know. */
function goError(op: string, file: string, error: NodeJS.ErrnoException): ApiError {
  const text = GO_ERRORS[error.code ?? ""] ?? error.message;
  return new ApiError(error.code === "ENOENT" ? 404 : 500, `${op} ${file}: ${text}`);
}

function fileInfo(name: string, stats: BigIntStats): FileInfo {
  return {
    Name: name,
    IsDir: stats.isDirectory(),
    Size: Number(stats.size),
    FileMode: goMode(Number(stats.mode)),
    ModTime: goTime(stats.mtimeNs),
  };
}

const TYPE_LETTERS: Record<number, string> = {
  0o040000: "d",
  0o120000: "L",
  0o010000: "p",
  0o140000: "S",
  0o060000: "D",
  0o020000: "Dc",
};

/** As Go's FileMode prints: "drwxrwxrwx", "-rw-r--r--", "dtrwxrwxrwx". */
export function goMode(mode: number): string {
  const special = (mode & 0o4000 ? "u" : "") + (mode & 0o2000 ? "g" : "") + (mode & 0o1000 ? "t" : "");
  const prefix = (TYPE_LETTERS[mode & 0o170000] ?? "") + special;
  const bits = [..."rwxrwxrwx"].map((letter, i) => mode & (1 << (8 - i)) ? letter : "-").join("");
  return (prefix || "-") + bits;
}

/** RFC 3339 with as many digits as count. */
function goTime(ns: bigint): string {
  const seconds = new Date(Number(ns / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  const fraction = String(ns % 1_000_000_000n).padStart(9, "0").replace(/0+$/, "");
  return `${seconds}${fraction === "" ? "" : `.${fraction}`}Z`;
}

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".htm": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".xml": "text/xml; charset=utf-8",
  ".txt": "text/plain; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".gif": "image/gif",
  ".webp": "image/webp",
  ".pdf": "application/pdf",
  ".wasm": "application/wasm",
  ".gz": "application/gzip",
  ".zip": "application/zip",
};

/** By the name's extension, else by whether the first bytes are text. */
export async function contentType(file: string): Promise<string> {
  const known = TYPES[extname(file).toLowerCase()];
  if (known) return known;
  const handle = await open(file, READ);
  try {
    const buffer = new Uint8Array(512);
    const { bytesRead } = await handle.read(buffer, 0, 512, 0);
    return looksLikeText(buffer.subarray(0, bytesRead)) ? "text/plain; charset=utf-8" : OCTETS;
  } finally {
    await handle.close();
  }
}

function looksLikeText(bytes: Uint8Array): boolean {
  return bytes.every((byte) =>
    byte >= 0x20 || byte === 9 || byte === 10 || byte === 12 || byte === 13 || byte === 27
  );
}
