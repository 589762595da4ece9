import { test } from "node:test";
import assert from "node:assert/strict";
import { formatTime, formatTimeSeconds, parseTime } from "../../core/time.ts";

test("formatTime writes RFC 3339 in UTC without trailing zeros", () => {
  assert.equal(formatTime(0), "1970-01-01T00:00:00Z");
  assert.equal(formatTime(1_795_320_000e9), "2026-11-22T04:00:00Z");
  assert.equal(formatTime(1_500_000_000), "1970-01-01T00:00:01.5Z");
  assert.equal(formatTime(1_000_000_001), "1970-01-01T00:00:01.000000001Z");
  assert.equal(formatTime(-500_000_000), "1969-12-31T23:59:59.5Z");
  assert.equal(formatTimeSeconds(1_999_999_999), "1970-01-01T00:00:01Z");
});

test("parseTime reads zones and fractions, refuses everything else, and 0 is no time", () => {
  assert.equal(parseTime("1970-01-01T00:00:01.5Z"), 1.5e9);
  assert.equal(parseTime("2026-11-22T05:00:00+01:00"), 1_795_320_000e9);
  assert.equal(parseTime("0001-01-01T00:00:00Z"), 0);
  for (const text of ["", "now", "2026-11-22", "2026-13-22T05:00:00Z", "2026-11-22 05:00:00Z"]) {
    assert.equal(parseTime(text), null, text);
  }
});

test("formatTime and parseTime are inverse as far as numbers carry", () => {
  for (const ns of [1_795_322_321_233_985_254, 1e18, 123_456_789, 1_795_320_000_000_000_000]) {
    assert.equal(parseTime(formatTime(ns)), ns);
  }
});
