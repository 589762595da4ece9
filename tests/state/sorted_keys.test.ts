import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { SortedKeys } from "../../server/sorted_keys.ts";

test("SortedKeys hold what a sorted set holds, whatever is added and removed", () => {
  const key = fc.integer({ min: 0, max: 3000 }).map(String);
  const change = fc.record({ add: fc.boolean(), key });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 4000, size: "max" }), key, (changes, first) => {
      const keys = new SortedKeys();
      const model = new Set<string>();
      for (const { add, key } of changes) {
        if (add) {
          keys.add(key);
          model.add(key);
        } else {
          keys.delete(key);
          model.delete(key);
        }
      }
      const sorted = [...model].sort();
      assert.deepEqual([...keys], sorted);
      assert.equal(keys.size, model.size);
      assert.deepEqual([...keys.from(first)], sorted.filter((one) => one >= first));
    }),
    { numRuns: 30 },
  );
});

test("SortedKeys stay sorted through many pieces, filled from either end and emptied again", () => {
  for (const order of [1, -1]) {
    const keys = new SortedKeys();
    const all = Array.from({ length: 5000 }, (_, i) => String(i).padStart(5, "0"));
    for (const key of order === 1 ? all : [...all].reverse()) keys.add(key);
    assert.deepEqual([...keys], all);
    for (const key of all) keys.delete(key);
    assert.deepEqual([...keys], []);
    keys.add("again");
    assert.deepEqual([...keys], ["again"]);
  }
});
