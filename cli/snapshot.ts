// `operator snapshot`: the servers' whole state as a file. Saving and restoring go through the API; inspecting reads the
// file here, a block at a time.
//
// Invariants: a file is there whole and compared with the server's digest, or not at all; it is for this user only,
// because the state holds what jobs' authors wrote into them.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { Readable } from "node:stream";
import { errorText, fileErrorText, StorageError } from "../core/errors.ts";
import { ArchiveError, type ArchiveMeta, readArchive, StateParser } from "../core/snapshot_archive.ts";
import { unpackBlock } from "../core/snapshot_codec.ts";
import { bool } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { exists } from "./files.ts";
import { formatBytes } from "./format.ts";
import { SnapshotStats } from "./snapshot_stats.ts";
import { formatBlankTable, formatKeyValues } from "./table.ts";

/** A large state takes its time to be written, or to be loaded by every server. */
const TIMEOUT_MS = 30 * 60_000;
const ONE_FILE = { min: 1, max: 1, complaint: "This command takes one argument: <filename>" };
const ACL_NOTE =
  "If ACLs are enabled, a management token must be supplied in order to perform\nsnapshot operations.";

export const snapshotSave = command({
  form: "nomad operator snapshot save [options] <file>",
  about: `Writes the whole state of the servers as it is at one moment into a file. Without a
name, the file is called nomad-state-<date>-<seconds>.snap. It can be read by
this user only: keep it like the servers' data directories.

${ACL_NOTE}

Save the leader's state:

    $ nomad operator snapshot save backup.snap

Save what any server has, also when there is no leader:

    $ nomad operator snapshot save -stale backup.snap`,
  general: "noNamespace",
  title: "Snapshot Save Options",
  args: { min: 0, max: 1, complaint: "This command takes either no arguments or one: <filename>" },
  flags: {
    redact: bool("Leave out the root keys. The state holds none, so the file is the same."),
    stale: bool("Let any server answer, even without a leader."),
  },
  async run(context) {
    const name = context.args[0] ?? defaultName(context.io.nowMs());
    const path = resolve(context.io.cwd, name);
    if (await exists(path)) throw new UsageError(`Destination file already exists: ${JSON.stringify(name)}`);
    await withPartial(path, name, async (file) => {
      const response = await attempt(
        "Failed to get snapshot file",
        context.api.request("GET", "/v1/operator/snapshot", {
          query: { stale: context.flags.stale ? "" : undefined },
          timeoutMs: TIMEOUT_MS,
        }),
      );
      await download(response.body, file, response.headers.get("digest") ?? "");
    });
    context.ui.output(`State file written to ${name}`);
    return 0;
  },
});

function defaultName(nowMs: number): string {
  const day = new Date(nowMs).toISOString().slice(0, 10).replaceAll("-", "");
  return `nomad-state-${day}-${Math.floor(nowMs / 1000)}.snap`;
}

/** The file gets its name when `fill` has filled it. */
async function withPartial(
  path: string,
  name: string,
  fill: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const partial = `${path}.tmp`;
  const file = await open(partial, "w", 0o600).catch((error) => {
    throw new CommandError(`Failed to create file: ${fileErrorText("open", `${name}.tmp`, error)}`);
  });
  try {
    try {
      await file.chmod(0o600); // What was left of an earlier call may have had another mode.
      await fill(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

async function download(body: AsyncIterable<Uint8Array>, file: FileHandle, digest: string): Promise<void> {
  const hash = createHash("sha256");
  try {
    for await (const bytes of body) {
      hash.update(bytes);
      await file.write(bytes);
    }
  } catch (error) {
    throw new CommandError(
      `Failed to get snapshot file: ${errorText(error)}; nothing was written, try again`,
    );
  }
  const found = `sha-256=${hash.digest("base64")}`;
  if (found === digest) return;
  throw new CommandError(
    `Failed to get snapshot file: it came with ${
      digest || "no digest"
    }, but has ${found}; nothing was written, try again`,
  );
}

export const snapshotRestore = command({
  form: "nomad operator snapshot restore [options] <file>",
  about: `Puts a saved state in the place of the present one, on all servers. What was changed
since it was saved is gone. The servers look through the file first: one that is
damaged, or that another program or a newer version saved, changes nothing.

${ACL_NOTE}

    $ nomad operator snapshot restore backup.snap`,
  general: "noNamespace",
  title: "",
  args: ONE_FILE,
  flags: {},
  async run(context) {
    const file = await openFile(context, (text) => JSON.stringify(text));
    try {
      await attempt(
        "Failed to get restore snapshot",
        context.api.request("PUT", "/v1/operator/snapshot", {
          body: Readable.toWeb(file) as ReadableStream<Uint8Array>,
          headers: { "Content-Type": "application/octet-stream" },
          timeoutMs: TIMEOUT_MS,
        }),
      );
    } finally {
      file.destroy();
    }
    context.ui.output("Snapshot Restored");
    return 0;
  },
});

/** The argument's file, known to be there. */
async function openFile({ args, io }: Context, shown: (text: string) => string): Promise<Readable> {
  const name = args[0]!;
  const path = resolve(io.cwd, name);
  const handle = await open(path, "r").catch((error) => {
    throw new CommandError(`Error opening snapshot file: ${shown(fileErrorText("open", name, error))}`);
  });
  await handle.close();
  return createReadStream(path);
}

export const snapshotInspect = command({
  form: "nomad operator snapshot inspect [options] <file>",
  about: `Shows what a saved state holds: when it was saved, at which index, and how many
records of each type, the largest first. The file is read to its end and compared
with its checksums.

    $ nomad operator snapshot inspect backup.snap`,
  general: "none",
  title: "Snapshot Inspect Options",
  args: ONE_FILE,
  flags: { json: bool("Show it as JSON.") },
  async run(context) {
    const file = await openFile(context, (text) => text);
    const { meta, stats } = await inspect(file);
    const rows = stats.rows();
    if (context.flags.json) context.ui.output(JSON.stringify(sorted({ Meta: meta, Stats: rows }), null, 4));
    else context.ui.output(`${describe(meta, stats.bytes)}\n\n${table(rows, stats)}`);
    return 0;
  },
});

async function inspect(file: Readable): Promise<{ meta: ArchiveMeta; stats: SnapshotStats }> {
  const parser = new StateParser();
  const stats = new SnapshotStats();
  try {
    const meta = await readArchive(file, (bytes) => {
      for (const block of parser.push(bytes)) for (const chunk of unpackBlock(block)) stats.add(chunk);
    });
    parser.finish();
    return { meta, stats };
  } catch (error) {
    const expected = error instanceof ArchiveError || error instanceof StorageError ||
      error instanceof SyntaxError || (error as { code?: unknown }).code !== undefined;
    throw expected ? new CommandError(`Error inspecting snapshot: ${errorText(error)}`) : error;
  } finally {
    file.destroy();
  }
}

/** Fields by name, as Go prints maps. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort().map(([key, field]) => [key, sorted(field)]));
}

function describe(meta: ArchiveMeta, bytes: number): string {
  const savedMs = Number(meta.ID.split("-").at(-1));
  return formatKeyValues([
    ["Created", new Date(savedMs).toISOString().replace(/\.\d+Z$/, "Z")],
    ["ID", meta.ID],
    ["Size", formatBytes(bytes)],
    ["Index", meta.Index],
    ["Term", meta.Term],
    ["Version", meta.Version],
  ]);
}

function table(rows: ReturnType<SnapshotStats["rows"]>, { bytes, count }: SnapshotStats): string {
  return formatBlankTable([
    ["Type", "Count", "Size"],
    ...rows.map((row) => [row.Name, row.Count, formatBytes(row.Sum)]),
    ["", "", ""],
    ["Total", count, formatBytes(bytes)],
  ]);
}
