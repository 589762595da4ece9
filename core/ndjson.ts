// JSON texts one a line, as exec sends them over HTTP in both directions. Splits bytes into lines; what a line means
// is its reader's matter.
//
// Invariant: never holds more than one unfinished line of LINE_MAX_CHARS and the chunk that arrived last.

/** The media type of bodies of such lines. */
export const NDJSON = "application/x-ndjson";

const LINE_MAX_CHARS = 1024 * 1024;

/**
 * The lines of a body, without empty ones; whoever cancels the reader ends them. Throws RangeError when one is too long,
 * and what reading throws.
 */
export async function* readLines(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = parts.pop()!;
    if (rest.length > LINE_MAX_CHARS) {
      void reader.cancel();
      throw new RangeError(`A line is longer than ${LINE_MAX_CHARS} characters: send smaller frames`);
    }
    yield* parts.filter((line) => line.trim() !== "");
  }
  rest += decoder.decode();
  if (rest.trim() !== "") yield rest;
}
