// Finding, reading and merging the configuration files of an agent: files and folders in the order given, flags are
// merged over the result by the caller. Labelled datacenter blocks are applied here.
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError, fileErrorText } from "../core/errors.ts";
import type { RawConfig } from "./config.ts";
import type { FileConfig } from "./config_check.ts";
import { mergeRaw } from "./config_merge.ts";

export interface LoadedConfig {
  raw: RawConfig;
  /** Files that were read, in order. */
  files: string[];
  warnings: string[];
  refusals: string[];
}

export { mergeRaw as mergeConfig };

/**
 * Reads `paths`. `datacenterFlag` is what the command line says: it decides which labelled datacenter block applies,
 * before the plain keys of the files. Throws ConfigError naming file and line.
 */
export async function loadConfig(
  paths: readonly string[],
  datacenterFlag: string | undefined,
): Promise<LoadedConfig> {
  const files = (await Promise.all(paths.map(filesOf))).flat();
  const read: FileConfig[] = [];
  for (const file of files) read.push(await readConfigFile(file));
  const named = read.map((each) => each.raw.datacenter).filter((name) => name !== undefined).at(-1);
  const datacenter = datacenterFlag ?? named ?? "dc1";
  let raw: RawConfig = {};
  for (const each of read) {
    raw = mergeRaw(raw, each.raw);
    if (Object.hasOwn(each.datacenters, datacenter)) raw = mergeRaw(raw, each.datacenters[datacenter]!);
  }
  const warnings = read.flatMap((each) => each.warnings);
  return { raw, files, warnings, refusals: read.flatMap((each) => each.refusals) };
}

/** The HCL reader is loaded only where there is a file to read. */
async function readConfigFile(file: string): Promise<FileConfig> {
  const text = await textOf(file);
  const [{ readEntries }, { checkFile }] = await Promise.all([
    import("./config_reader.ts"),
    import("./config_check.ts"),
  ]);
  return checkFile(file, readEntries(file, text));
}

async function filesOf(path: string): Promise<string[]> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (error) {
    throw new ConfigError(`Error loading configuration from ${path}: ${fileErrorText("stat", path, error)}`);
  }
  if (!isFolder) return [path];
  const names = (await readdir(path)).filter((name) => /\.(hcl|json)$/.test(name) && !isBackup(name)).sort();
  if (names.length === 0) {
    throw new ConfigError(`Error loading configuration from ${path}: the folder has no *.hcl or *.json file`);
  }
  return names.map((name) => join(path, name));
}

/** What editors leave beside a file. */
const isBackup = (name: string) => name.startsWith(".#") || name.startsWith("#") || name.endsWith("~");

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new ConfigError(`Error loading configuration from ${file}: ${fileErrorText("open", file, error)}`);
  }
}
