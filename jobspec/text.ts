// Bytes → text for every parser of this room: UTF-8 is checked, sizes are bounded. Reports; never throws.
import { type Diagnostics, SourceFile } from "./diagnostics.ts";

/** Larger sources are refused: nobody writes them, and reading them would take the memory of other work. */
export const SOURCE_BYTES_MAX = 12 * 1024 * 1024;

/** The text of a source; "" after a report. A byte order mark is dropped. */
export function decodeSource(
  source: string | Uint8Array,
  filename: string,
  diagnostics: Diagnostics,
): string {
  const size = source.length;
  if (size > SOURCE_BYTES_MAX) {
    diagnostics.error(
      { source: new SourceFile(filename, ""), start: 0, end: 0 },
      "File too large",
      `The file has ${size} bytes; at most ${SOURCE_BYTES_MAX} are read.`,
    );
    return "";
  }
  const text = typeof source === "string" ? source : decodeBytes(source, filename, diagnostics);
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function decodeBytes(bytes: Uint8Array, filename: string, diagnostics: Diagnostics): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    const at = text.indexOf("\ufffd");
    diagnostics.error(
      { source: new SourceFile(filename, text), start: at, end: at + 1 },
      "Invalid character encoding",
      "All input files must be UTF-8 encoded. Ensure that UTF-8 encoding is selected in your editor.",
    );
    return "";
  }
}
