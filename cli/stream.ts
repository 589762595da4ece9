// Streams of a task's logs and files: plain bytes, JSON frames, the last lines of either, and Ctrl-C, which ends a
// stream without an error.
import type { Context } from "./command.ts";

/** Runs `work` with a signal that Ctrl-C sets off; being interrupted is a normal end. */
export async function untilInterrupted(
  context: Context,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const abort = new AbortController();
  const release = context.io.onInterrupt(() => abort.abort());
  try {
    await work(abort.signal);
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  } finally {
    release();
  }
}

interface Frame {
  Data?: string;
  File?: string;
  FileEvent?: string;
}

/** The data of a body of JSON objects, one after the other. */
export async function* frameData(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const text of jsonObjects(body)) {
    const frame = JSON.parse(text) as Frame;
    if (frame.Data) yield Buffer.from(frame.Data, "base64");
  }
}

/** Splits a stream of concatenated JSON objects. */
async function* jsonObjects(body: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let text = "";
  let at = 0;
  let depth = 0;
  let start = 0;
  let inString = false;
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    for (; at < text.length; at++) {
      const c = text[at];
      if (inString) {
        if (c === "\\") at++;
        else if (c === '"') inString = false;
      } else if (c === '"') {
        inString = true;
      } else if (c === "{") {
        if (depth++ === 0) start = at;
      } else if (c === "}" && --depth === 0) {
        yield text.slice(start, at + 1);
        text = text.slice(at + 1);
        at = -1;
      }
    }
  }
}

const NEWLINE = 10;

/** Keeps the last `count` lines. */
export function lastLines(data: Uint8Array, count: number): Uint8Array {
  if (count <= 0) return new Uint8Array(0);
  // A line break at the very end ends the last line and starts no other.
  let seen = 0;
  for (let at = data.length - 2; at >= 0; at--) {
    if (data[at] === NEWLINE && ++seen === count) return data.subarray(at + 1);
  }
  return data;
}

/** How long a followed stream may pause before what came so far counts as its past. */
const SETTLE_MS = 250;

/**
 * A followed stream whose past is cut to its last `count` lines. The past is what comes before the first pause, at most
 * `windowBytes`, which is what was asked of the server.
 */
export async function* tailThenFollow(
  body: AsyncIterable<Uint8Array>,
  count: number,
  windowBytes: number,
): AsyncIterable<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]();
  const past: Uint8Array[] = [];
  let pastBytes = 0;
  let next = chunks.next();
  let timer: ReturnType<typeof setTimeout> | undefined;
  for (;;) {
    const pause = new Promise<"pause">((resolve) => timer = setTimeout(() => resolve("pause"), SETTLE_MS));
    const first = pastBytes >= windowBytes ? "pause" : await Promise.race([next, pause]);
    clearTimeout(timer);
    if (first === "pause") break;
    if (first.done) {
      yield lastLines(Buffer.concat(past), count);
      return;
    }
    past.push(first.value);
    pastBytes += first.value.length;
    next = chunks.next();
  }
  yield lastLines(Buffer.concat(past), count);
  for (let result = await next; !result.done; result = await chunks.next()) yield result.value;
}

/** Writes all of a stream. */
export async function pour(
  context: Context,
  body: AsyncIterable<Uint8Array>,
  to: "stdout" | "stderr" = "stdout",
): Promise<void> {
  for await (const chunk of body) await context.ui.write(chunk, to);
}

/** The whole of a stream. */
export async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}
