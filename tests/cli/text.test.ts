import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAge, formatBytes, formatTimestamp, formatUntil, quote, shortId } from "../../cli/format.ts";
import { formatJson, parseExact } from "../../cli/json_text.ts";
import { sanitizePrefix } from "../../cli/resolve.ts";
import { lastLines } from "../../cli/stream.ts";
import { formatBlankTable, formatKeyValues, formatTable } from "../../cli/table.ts";

test("formatTable aligns columns with two spaces and names empty cells", () => {
  assert.equal(
    formatTable([["ID", "Name"], ["longer", ""], ["x", "ü"]]),
    "ID      Name\nlonger  <none>\nx       ü",
  );
});

test("formatBlankTable leaves empty cells empty", () => {
  assert.equal(formatBlankTable([["CPU", "Addr"], ["1 MHz", ""]]), "CPU    Addr\n1 MHz  ");
});

test("formatKeyValues puts the equals signs below each other", () => {
  assert.equal(formatKeyValues([["ID", "x"], ["Long Name", undefined]]), "ID        = x\nLong Name = <none>");
});

test("formatAge shows the two largest units, the second only when it is there", () => {
  const nowMs = 1_700_000_000_000;
  const ago = (seconds: number) => formatAge((nowMs / 1000 - seconds) * 1e9, nowMs);
  assert.equal(ago(0), "0s ago");
  assert.equal(ago(52), "52s ago");
  assert.equal(ago(60), "1m ago");
  assert.equal(ago(62), "1m2s ago");
  assert.equal(ago(3600 + 61), "1h1m ago");
  assert.equal(ago(86400 * 3), "3d ago");
  assert.equal(ago(86400 * 40), "1mo10d ago");
  assert.equal(ago(86400 * 400), "1y1mo ago");
  assert.equal(formatAge(0, nowMs), "");
});

test("formatBytes has one decimal below ten and none above", () => {
  assert.equal(formatBytes(0), "0 B");
  assert.equal(formatBytes(279), "279 B");
  assert.equal(formatBytes(4096), "4.0 KiB");
  assert.equal(formatBytes(32 * 1024 * 1024), "32 MiB");
  assert.equal(formatBytes(25276510208), "24 GiB");
});

test("times are RFC 3339 with seconds, N/A for none", () => {
  assert.equal(formatTimestamp("2026-11-22T04:18:37.351158262Z"), "2026-11-22T04:18:37Z");
  assert.equal(formatTimestamp("0001-01-01T00:00:00Z"), "N/A");
  assert.equal(formatTimestamp(null), "N/A");
  assert.equal(formatUntil(1000 * 3601, 0), "1h0m1s from now");
});

test("ids are cut to eight characters unless -verbose", () => {
  assert.equal(shortId("e4b5fb55-0bdc-b4c2"), "e4b5fb55");
  assert.equal(shortId("e4b5fb55-0bdc-b4c2", true), "e4b5fb55-0bdc-b4c2");
});

test("sanitizePrefix drops an odd digit and puts the dashes back", () => {
  assert.equal(sanitizePrefix("e4b"), "e4");
  assert.equal(sanitizePrefix("e4b5fb550bdc"), "e4b5fb55-0bdc");
  assert.equal(
    sanitizePrefix("e4b5fb55-0bdc-b4c2-0fd2-bbbdfbc8cabf"),
    "e4b5fb55-0bdc-b4c2-0fd2-bbbdfbc8cabf",
  );
});

test("quote escapes as Go's %q", () => {
  assert.equal(quote('a"b\n\u2028'), '"a\\"b\\n\\u2028"');
});

test("parseExact and formatJson keep every digit and sort keys", () => {
  const text = '{"b":1795321057622614933,"a":0.0,"c":[],"d":{"x":"<&>"}}';
  assert.equal(
    formatJson(parseExact(text)),
    '{\n    "a": 0.0,\n    "b": 1795321057622614933,\n    "c": [],\n    "d": {\n        "x": "<&>"\n    }\n}',
  );
  assert.equal(
    formatJson({ b: "<&>", a: 1n }, { sortKeys: false, escapeHtml: true, indent: 1 }),
    '{\n "b": "\\u003c\\u0026\\u003e",\n "a": 1\n}',
  );
});

test("lastLines keeps whole lines and does not count the end of the last", () => {
  const tail = (text: string, count: number) => Buffer.from(lastLines(Buffer.from(text), count)).toString();
  assert.equal(tail("a\nb\nc\n", 2), "b\nc\n");
  assert.equal(tail("a\nb\nc", 2), "b\nc");
  assert.equal(tail("a\n", 5), "a\n");
  assert.equal(tail("a\nb\n", 0), "");
});
