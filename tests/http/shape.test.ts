// The comparison itself must be able to fail: the self-test of shape.py, ported with it.
import test from "node:test";
import assert from "node:assert/strict";
import { shapeDifferences } from "./shape.ts";

test("shapeDifferences ignores values and sees kinds, keys and empties", () => {
  assert.deepEqual(shapeDifferences({ A: 1, B: [] }, { A: 2, B: ["x"] }), []);
  assert.deepEqual(shapeDifferences({ A: null }, { A: [] }), ["$.A: recorded null, live []"]);
  assert.deepEqual(shapeDifferences([{ A: 1 }, { A: 1, B: 2 }], [{ A: 3 }]), []);
  assert.deepEqual(shapeDifferences([{ A: 1 }], [{ A: "x", C: 1 }]), [
    "$[].A: recorded number, live string",
    "$[].C: not in the recording",
  ]);
});

test("shapeDifferences takes maps for data, and lenient null for anything filled", () => {
  assert.deepEqual(shapeDifferences({ Meta: { a: "x" } }, { Meta: { b: "y" } }), []);
  assert.notDeepEqual(shapeDifferences({ Meta: null }, { Meta: {} }), []);
  assert.notDeepEqual(shapeDifferences({ X: null }, { X: { Y: 1 } }), []);
  assert.deepEqual(shapeDifferences({ X: null }, { X: { Y: 1 } }, { lenient: true }), []);
});
