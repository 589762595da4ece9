// Unpacks archives: tar (plain, gzip, zstd), zip, and single compressed files. Streams, keeps file modes, and refuses
// whatever would land outside the target: absolute names, "..", links that point out.
import { createReadStream, createWriteStream } from "node:fs";
import { chmod, mkdir, realpath, rm, symlink } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import type { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";

/** What the reference allows one archive to become. */
const FILES_MAX = 4096;
const BYTES_MAX = 100 * 1024 ** 3;

export interface UnpackOptions {
  archive: string;
  format: string;
  /** A directory, or the file itself with `asFile`. */
  target: string;
  /** Only what is below this directory of the archive. */
  subdir: string;
  /** Name of a single compressed file inside `target`. */
  fileName: string;
  asFile: boolean;
}

const BY_EXTENSION: [RegExp, string][] = [
  [/\.(tar\.gz|tgz)$/i, "tar.gz"],
  [/\.(tar\.zst|tzst|tar\.zstd)$/i, "tar.zst"],
  [/\.tar$/i, "tar"],
  [/\.zip$/i, "zip"],
  [/\.gz$/i, "gz"],
  [/\.(zst|zstd)$/i, "zst"],
];
const FORMATS = BY_EXTENSION.map(([, format]) => format);
const ALIASES: Record<string, string> = { tgz: "tar.gz", tzst: "tar.zst" };

/** The format of a source: `option` names or forbids it ("false"), else its name tells. Throws for unknown ones. */
export function archiveFormat(option: string, path: string): string {
  if (option === "false" || option === "0") return "";
  const wanted = option === "" || option === "true" || option === "1" ? "" : ALIASES[option] ?? option;
  if (wanted !== "") {
    if (FORMATS.includes(wanted)) return wanted;
    throw new Error(`archive format ${JSON.stringify(option)} is not supported: use ${FORMATS.join(", ")}`);
  }
  const unsupported = /\.(tar\.bz2|tbz2|tar\.xz|txz|bz2|xz)$/i.exec(path);
  if (unsupported) {
    throw new Error(
      `archives of type ${unsupported[1]} are not supported by this device: use ${FORMATS.join(", ")}, ` +
        "or archive=false to keep the file as it is",
    );
  }
  return BY_EXTENSION.find(([pattern]) => pattern.test(path))?.[1] ?? "";
}

export async function unpack(options: UnpackOptions): Promise<void> {
  const { format, archive } = options;
  switch (format) {
    case "gz":
    case "zst":
      return await unpackSingle(options);
    case "zip":
      return await unpackZip(options);
    default: {
      if (options.asFile) throw new Error("mode is file, but the source is an archive of many files");
      const source = createReadStream(archive);
      const decompress = decompressor(format.slice("tar.".length));
      return await unpackTar(decompress ? source.pipe(decompress) : source, options, source);
    }
  }
}

function decompressor(format: string): Transform | null {
  if (format === "gz") return createGunzip();
  return format === "zst" ? createZstdDecompress() : null;
}

async function unpackSingle({ archive, format, target, fileName, asFile }: UnpackOptions): Promise<void> {
  const file = asFile ? target : join(target, fileName);
  await pipeline(createReadStream(archive), decompressor(format)!, createWriteStream(file));
  await chmod(file, 0o644);
}

export interface ExtractionOptions extends Pick<UnpackOptions, "target" | "subdir"> {
  filesMax?: number;
}

/** Counts what an archive becomes and finds the place of each entry. */
export class Extraction {
  #files = 0;
  #bytes = 0;
  readonly #filesMax: number;

  constructor(private readonly options: ExtractionOptions) {
    this.#filesMax = options.filesMax ?? FILES_MAX;
  }

  /** Where an entry goes, null when it is not wanted. Throws when it would lie outside. */
  place(name: string, sizeBytes: number): string | null {
    const { subdir, target } = this.options;
    const clean = name.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
    const prefix = subdir.replace(/^\/+|\/+$/g, "");
    if (clean === "" || clean === ".") return null;
    if (prefix !== "" && clean !== prefix && !clean.startsWith(`${prefix}/`)) return null;
    const path = prefix === "" ? clean : clean.slice(prefix.length + 1);
    if (path === "") return null;
    this.#files++;
    this.#bytes += sizeBytes;
    if (this.#files > this.#filesMax) throw new Error(`archive holds more than ${this.#filesMax} files`);
    if (this.#bytes > BYTES_MAX) throw new Error("archive becomes more than 100 GB");
    if (isAbsolute(path) || outside(target, join(target, path))) {
      throw new Error(`archive entry ${JSON.stringify(name)} leads out of the destination`);
    }
    return join(target, path);
  }

  /** Makes a symbolic link that stays inside. */
  async link(path: string, to: string): Promise<void> {
    if (isAbsolute(to) || outside(this.options.target, resolve(dirname(path), to))) {
      throw new Error(`link to ${JSON.stringify(to)} leads out of the destination`);
    }
    await this.directory(dirname(path));
    await rm(path, { force: true });
    await symlink(to, path);
  }

  /** Makes a directory; links of the same archive may together lead out, so the real place is looked at. */
  async directory(path: string): Promise<void> {
    for (let existing = path;; existing = dirname(existing)) {
      const real = await realpath(existing).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return null;
        throw error;
      });
      if (real === null) continue;
      if (outside(await realpath(this.options.target), real)) {
        throw new Error(`archive entry below ${JSON.stringify(existing)} leads out of the destination`);
      }
      break;
    }
    await mkdir(path, { recursive: true });
  }

  /** `signal` ends the writing: a content that breaks off may not say so. */
  async file(path: string, content: Readable, mode: number, signal?: AbortSignal): Promise<void> {
    await this.directory(dirname(path));
    // A link of the same archive is never written through.
    await rm(path, { force: true });
    await pipeline(content, createWriteStream(path, { flags: "wx" }), signal ? { signal } : {});
    await chmod(path, mode & 0o777 || 0o644);
  }
}

function outside(root: string, path: string): boolean {
  const from = relative(root, path);
  return from === ".." || from.startsWith("../");
}

async function unpackTar(source: Readable, options: UnpackOptions, file: Readable): Promise<void> {
  const { extract } = await import("tar-stream");
  const extraction = new Extraction(options);
  const entries = extract();
  const failed = (error: Error) => entries.destroy(error);
  file.on("error", failed);
  source.on("error", failed);
  source.pipe(entries);
  for await (const entry of entries) {
    const { name, size = 0, type, mode = 0o644, linkname } = entry.header;
    const path = extraction.place(name, size);
    if (path !== null && type === "file") {
      await extraction.file(path, entry as unknown as Readable, mode);
      continue;
    }
    if (path !== null && type === "directory") await extraction.directory(path);
    else if (path !== null && type === "symlink") await extraction.link(path, linkname ?? "");
    else if (path !== null) {
      throw new Error(`archive entry ${JSON.stringify(name)} is a ${type}, which is not unpacked`);
    }
    entry.resume();
  }
}

async function unpackZip(options: UnpackOptions): Promise<void> {
  if (options.asFile) throw new Error("mode is file, but the source is an archive of many files");
  const { openPromise } = await zipReader();
  const extraction = new Extraction(options);
  const zip = await openPromise(options.archive);
  await new Promise<void>((resolve, reject) => {
    zip.on("error", reject);
    zip.on("end", resolve);
    zip.on("entry", (entry) => {
      unpackEntry(entry).then(() => zip.readEntry(), reject);
    });
    zip.readEntry();
  }).finally(() => zip.close());

  async function unpackEntry(entry: import("yauzl").Entry): Promise<void> {
    const path = extraction.place(entry.fileName, entry.uncompressedSize);
    if (path === null) return;
    const mode = entry.externalFileAttributes >>> 16;
    if (entry.fileName.endsWith("/")) return await extraction.directory(path);
    const content = await new Promise<Readable>((resolve, reject) =>
      zip.openReadStream(entry, (error, stream) => error ? reject(error) : resolve(stream))
    );
    if ((mode & 0o170000) !== 0o120000) return await extraction.file(path, content, mode);
    let to = "";
    for await (const chunk of content) to += String(chunk);
    await extraction.link(path, to);
  }
}

async function zipReader() {
  const { default: yauzl } = await import("yauzl");
  return {
    openPromise: (path: string) =>
      new Promise<import("yauzl").ZipFile>((resolve, reject) =>
        yauzl.open(path, { lazyEntries: true }, (error, zip) => error ? reject(error) : resolve(zip))
      ),
  };
}
