import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { AllocTable } from "../../server/alloc_table.ts";
import type { Allocation } from "../../core/types.ts";

const record = (ID: string, CreateIndex: number) =>
  ({
    ID,
    CreateIndex,
    Namespace: "default",
    JobID: "j",
    NodeID: "n",
    EvalID: "e",
    DeploymentID: "",
  }) as Allocation;

const compare = (a: Allocation, b: Allocation) => a.CreateIndex - b.CreateIndex || (a.ID < b.ID ? -1 : 1);

test("AllocTable walks in order of creation from anywhere, forwards and backwards, through reused slots", () => {
  const id = fc.integer({ min: 0, max: 400 }).map((n) => `id-${n}`);
  const change = fc.record({ id, index: fc.integer({ min: 1, max: 30 }), remove: fc.boolean() });
  const start = fc.option(fc.record({ index: fc.integer({ min: 0, max: 31 }), id }));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 900, size: "max" }), start, (changes, from) => {
      const table = new AllocTable();
      for (const { id, index, remove } of changes) {
        if (remove) table.remove(id);
        else if (!table.get(id)) table.insert(record(id, index));
      }
      const all = table.toArray().sort(compare);
      const after = all.filter((one) =>
        from === null || compare(one, record(from.id, from.index)) >= 0 ||
        one.ID === from.id && one.CreateIndex === from.index
      );
      assert.deepEqual([...table.inOrder(from)].map(({ ID }) => ID), after.map(({ ID }) => ID));
      const before = all.filter((one) =>
        from === null || one.CreateIndex < from.index || one.CreateIndex === from.index && one.ID <= from.id
      );
      assert.deepEqual(
        [...table.inOrder(from, true)].map(({ ID }) => ID),
        before.reverse().map(({ ID }) => ID),
      );
    }),
    { numRuns: 100 },
  );
});

test("AllocTable walks in order over more records than it picks at once, with thousands of one index", () => {
  const table = new AllocTable();
  for (let i = 0; i < 20_000; i++) {
    table.insert(
      record(`id-${String((i * 7919) % 20_000).padStart(5, "0")}`, i % 3 === 0 ? 7 : 1 + (i * 31) % 900),
    );
  }
  const walked = [...table.inOrder(null)];
  assert.equal(walked.length, 20_000);
  assert.deepEqual(walked, table.toArray().sort(compare));
});
