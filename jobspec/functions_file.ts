// Functions on files and paths. All are refused where no files may be read (the HTTP endpoint, validation rules), as the
// reference does.
import {
  type CallContext,
  type FileReader,
  FunctionError,
  type FunctionSpec,
  parameter,
} from "./function_types.ts";
import { makeSet, normalizeText, type Value } from "./value.ts";

const path = parameter("path", "string");

function files(context: CallContext): FileReader {
  if (!context.files) throw new FunctionError("filesystem function disabled");
  return context.files;
}

/** Go's filepath.Clean for "/" paths. */
export function cleanPath(text: string): string {
  const rooted = text.startsWith("/");
  const out: string[] = [];
  for (const part of text.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") out.push(part);
    else if (out.length > 0 && out.at(-1) !== "..") out.pop();
    else if (!rooted) out.push("..");
  }
  return (rooted ? "/" : "") + out.join("/") || ".";
}

function baseName(text: string): string {
  if (text === "") return ".";
  const trimmed = text.replace(/\/+$/, "");
  return trimmed === "" ? "/" : trimmed.slice(trimmed.lastIndexOf("/") + 1);
}

function dirName(text: string): string {
  return cleanPath(text.slice(0, text.lastIndexOf("/") + 1));
}

function expand(text: string, reader: FileReader): string {
  if (!text.startsWith("~")) return text;
  if (text.length > 1 && text[1] !== "/") throw new FunctionError("cannot expand user-specific home dir");
  return cleanPath(`${reader.homeDirectory()}${text.slice(1)}`);
}

function readText(name: string, context: CallContext): string {
  const bytes = readBytes(name, context);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new FunctionError(
      `contents of ${name} are not valid UTF-8; use the filebase64 function to obtain the Base64 encoded contents`,
    );
  }
}

function readBytes(name: string, context: CallContext): Uint8Array {
  const reader = files(context);
  const bytes = withReason(name, () => reader.readBytes(expand(name, reader)));
  context.budget.text(bytes.length);
  return bytes;
}

function withReason<R>(name: string, action: () => R): R {
  try {
    return action();
  } catch (error) {
    if (error instanceof FunctionError) throw error;
    throw new FunctionError(`failed to read ${name}: ${(error as Error).message}`);
  }
}

export const FILE_FUNCTIONS: Record<string, FunctionSpec> = {
  abspath: {
    doc: "A path made absolute.",
    parameters: [path],
    call: ([name], context) => cleanPath(files(context).absolute(name as string)),
  },
  basename: {
    doc: "The last part of a path.",
    parameters: [path],
    call: ([name], context) => files(context) && baseName(name as string),
  },
  dirname: {
    doc: "A path without its last part.",
    parameters: [path],
    call: ([name], context) => files(context) && dirName(name as string),
  },
  file: {
    doc: "The text of a file.",
    parameters: [path],
    call: ([name], context) => normalizeText(readText(name as string, context)),
  },
  filebase64: {
    doc: "The bytes of a file in base64.",
    parameters: [path],
    call: ([name], context) => Buffer.from(readBytes(name as string, context)).toString("base64"),
  },
  fileexists: {
    doc: "Whether a file exists.",
    parameters: [path],
    call([name], context) {
      const reader = files(context);
      return withReason(name as string, () => reader.exists(expand(name as string, reader)));
    },
  },
  fileset: {
    doc: "The files below a directory that match a pattern.",
    parameters: [path, parameter("pattern", "string")],
    call([name, pattern], context): Value {
      const reader = files(context);
      const found = withReason(
        name as string,
        () => reader.glob(expand(name as string, reader), pattern as string),
      );
      context.budget.items(found.length);
      return makeSet("string", found.map(normalizeText));
    },
  },
  pathexpand: {
    doc: "A path with ~ replaced by the home directory.",
    parameters: [path],
    call: ([name], context) => expand(name as string, files(context)),
  },
};
