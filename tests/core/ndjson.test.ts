// Lines out of bytes that arrive in any pieces.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readLines } from "../../core/ndjson.ts";

function body(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

async function linesOf(stream: ReadableStream<Uint8Array>): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of readLines(stream.getReader())) lines.push(line);
  return lines;
}

test("readLines: any cut gives the same lines, also through a character", async () => {
  const bytes = new TextEncoder().encode('{"a":"é€"}\n\n{"b":1}\n{"c":2}');
  const whole = ['{"a":"é€"}', '{"b":1}', '{"c":2}'];
  assert.deepEqual(await linesOf(body(bytes)), whole);
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(await linesOf(body(bytes.slice(0, at), bytes.slice(at))), whole, `cut at ${at}`);
  }
  assert.deepEqual(await linesOf(body()), []);
});

test("readLines: a line without end is refused", async () => {
  const part = new TextEncoder().encode("x".repeat(512 * 1024));
  await assert.rejects(linesOf(body(part, part, part)), RangeError);
});
