// Fetches a task's artifacts: http(s) and, where the device's configuration opens it, files of the host; checks sums
// while bytes arrive; unpacks archives (unpack.ts). Sources follow go-getter's language as far as that goes; git, s3
// and the rest are refused by name. Nothing is written outside the task and the shared directory.
import { createHash, type Hash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { chmod, cp, lchown, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { basename, dirname, join } from "node:path";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { TaskArtifact } from "../core/types.ts";
import { lookupUser } from "./alloc_dir.ts";
import type { FilesInput } from "./task_files.ts";
import { pathInTask } from "./task_files.ts";
import { archiveFormat, unpack } from "./unpack.ts";

const REDIRECTS_MAX = 10;
/** No byte for this long ends a download. */
const SILENCE_MS = 60_000;
const OPTIONS = ["checksum", "archive", "filename"];

export interface ArtifactSource {
  url: URL;
  /** Only this directory of an archive is wanted, "" for all of it. */
  subdir: string;
  checksum: { algorithm: string; hex: string } | null;
  /** An archive format, "" for none. */
  archive: string;
  filename: string;
}

/** Fetches one artifact (already interpolated). Rejects with an Error that says why. */
export async function fetchArtifact(input: FilesInput, artifact: TaskArtifact): Promise<void> {
  const source = parseSource(artifact);
  const target = await pathInTask(input, artifact.RelativeDest || "local/");
  const mode = artifact.GetterMode || "any";
  if (!["any", "file", "dir"].includes(mode)) {
    throw new Error(`unknown mode ${JSON.stringify(mode)}: use any, file or dir`);
  }
  if (source.url.protocol === "file:" && !input.disableFileSandbox) {
    throw new Error(
      "files of the host are not open to artifacts on this device (client.disable_file_sandbox)",
    );
  }
  if (mode === "dir" && source.archive === "" && source.url.protocol !== "file:") {
    throw new Error("mode is dir, but the source is no archive");
  }
  const place = mode === "file" ? dirname(target) : target;
  // The place itself may be a link as well.
  if (mode !== "file") await pathInTask(input, join(target, "inside"));
  await mkdir(place, { recursive: true });
  if (source.url.protocol === "file:" && (await stat(source.url)).isDirectory()) {
    await cp(source.url, target, { recursive: true });
  } else {
    const download = join(place, `.download-${basename(input.dirs.task)}`);
    try {
      await save(source, artifact, { path: download, signal: input.signal });
      await putInPlace(source, { download, target, mode });
    } finally {
      await rm(download, { force: true });
    }
  }
  if (artifact.Chown) await chownTree(target, input.task.User);
}

async function putInPlace(
  source: ArtifactSource,
  { download, target, mode }: { download: string; target: string; mode: string },
): Promise<void> {
  const name = source.filename || basename(decodeURIComponent(source.url.pathname)) || "artifact";
  if (source.archive !== "") {
    return await unpack({
      archive: download,
      format: source.archive,
      target,
      subdir: source.subdir,
      // A compressed single file loses its last extension.
      fileName: mode === "file" ? "" : name.replace(/\.[^.]+$/, ""),
      asFile: mode === "file",
    });
  }
  const file = mode === "file" ? target : join(target, name);
  await rename(download, file);
  await chmod(file, 0o644);
}

// --- Source ----------------------------------------------------------------------------------------------------

/** Reads go-getter's source with its options. Throws with what is not supported. */
export function parseSource(artifact: Pick<TaskArtifact, "GetterSource" | "GetterOptions">): ArtifactSource {
  let text = artifact.GetterSource;
  const forced = /^([A-Za-z0-9]+)::/.exec(text)?.[1];
  if (forced && !["http", "https", "file"].includes(forced)) {
    throw new Error(
      `source type ${JSON.stringify(forced)} is not supported by this device: use http or https`,
    );
  }
  if (forced) text = text.slice(forced.length + 2);
  if (text.startsWith("/")) text = `file://${text}`;
  if (!/^(https?|file):\/\//.test(text)) {
    throw new Error("only http and https sources are supported by this device (no git, s3, gcs or hg)");
  }
  const [, before = "", subdir = ""] = /^([a-z]+:\/\/.*?)(?:\/\/([^?]*))?(?=\?|$)/.exec(text)!;
  const url = new URL(before + (/\?.*$/.exec(text)?.[0] ?? ""));
  const options: Record<string, string> = { ...artifact.GetterOptions };
  for (const name of OPTIONS) {
    const value = url.searchParams.get(name);
    if (value === null) continue;
    options[name] ??= value;
    url.searchParams.delete(name);
  }
  for (const name of Object.keys(options)) {
    if (!OPTIONS.includes(name)) {
      throw new Error(
        `option ${JSON.stringify(name)} is not supported by this device: it has ${OPTIONS.join(", ")}`,
      );
    }
  }
  return {
    url,
    subdir,
    checksum: options.checksum ? parseChecksum(options.checksum) : null,
    archive: archiveFormat(options.archive ?? "", url.pathname),
    filename: options.filename ?? "",
  };
}

const HASH_LENGTHS: Record<number, string> = { 32: "md5", 40: "sha1", 64: "sha256", 128: "sha512" };

function parseChecksum(text: string): { algorithm: string; hex: string } {
  const [first = "", second] = text.split(":");
  const hex = (second ?? first).toLowerCase();
  if (!/^[0-9a-f]+$/.test(hex) || (second !== undefined && first === "file")) {
    throw new Error(
      `checksum ${JSON.stringify(text)} is not supported: use "sha256:<hex>" or md5, sha1, sha512`,
    );
  }
  const algorithm = second === undefined ? HASH_LENGTHS[hex.length] ?? "" : first;
  if (HASH_LENGTHS[hex.length] !== algorithm) {
    throw new Error(`checksum ${JSON.stringify(text)} is not a ${algorithm || "known"} sum`);
  }
  return { algorithm, hex };
}

// --- Download --------------------------------------------------------------------------------------------------

async function save(
  source: ArtifactSource,
  artifact: TaskArtifact,
  { path, signal }: { path: string; signal: AbortSignal },
): Promise<void> {
  const body: Readable = source.url.protocol === "file:"
    ? createReadStream(source.url)
    : await get(source.url, artifact, signal);
  const hash = source.checksum ? createHash(source.checksum.algorithm) : null;
  await pipeline(body, counting(hash), createWriteStream(path), { signal });
  if (hash && source.checksum) {
    const found = hash.digest("hex");
    if (found !== source.checksum.hex) {
      throw new Error(`Checksums did not match. Expected: ${source.checksum.hex}, got: ${found}`);
    }
  }
}

function counting(hash: Hash | null): Transform {
  return new Transform({
    transform(chunk, _encoding, done) {
      hash?.update(chunk);
      done(null, chunk);
    },
  });
}

/** The body of a 200, over redirects. */
async function get(from: URL, artifact: TaskArtifact, signal: AbortSignal): Promise<IncomingMessage> {
  let url = from;
  for (let hop = 0; hop <= REDIRECTS_MAX; hop++) {
    // Headers may be credentials: they go to the host they were written for only.
    const headers = url.host === from.host ? artifact.GetterHeaders ?? {} : {};
    const response = await ask(url, { headers, insecure: artifact.GetterInsecure, signal });
    const status = response.statusCode ?? 0;
    if (status >= 300 && status < 400 && response.headers.location) {
      response.resume();
      url = new URL(response.headers.location, url);
      continue;
    }
    if (status === 200) return response;
    response.resume();
    throw new Error(`bad response code: ${status}`);
  }
  throw new Error(`more than ${REDIRECTS_MAX} redirects`);
}

function ask(
  url: URL,
  options: { headers: Record<string, string>; insecure: boolean; signal: AbortSignal },
): Promise<IncomingMessage> {
  const { headers, insecure, signal } = options;
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return Promise.reject(new Error(`redirect to ${url.protocol} is not followed`));
  }
  const send = url.protocol === "https:" ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = send(url, {
      headers,
      signal,
      agent: false,
      timeout: SILENCE_MS,
      ...(url.protocol === "https:" ? { rejectUnauthorized: !insecure } : {}),
    }, resolve);
    request.on("timeout", () => request.destroy(new Error(`no answer within ${SILENCE_MS / 1000} s`)));
    request.on("error", reject);
    request.end();
  });
}

async function chownTree(path: string, user: string): Promise<void> {
  const owner = user === "" ? null : await lookupUser(user);
  if (!owner) return;
  await lchown(path, owner.uid, owner.gid);
  for (const entry of await readdir(path, { withFileTypes: true, recursive: true })) {
    await lchown(join(entry.parentPath, entry.name), owner.uid, owner.gid);
  }
}
