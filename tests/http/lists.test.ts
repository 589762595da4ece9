// Properties of pages and of reading JSON bodies.
import test from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { ApiError } from "../../core/errors.ts";
import type { ReadOptions } from "../../server/http_exchange.ts";
import { byCreation, byId, byNamespacedId, checkUuidPrefix, page } from "../../server/http_list.ts";
import { decodeJson, int, list, map, str, struct } from "../../server/json_decode.ts";

const OPTIONS: ReadOptions = {
  namespace: "default",
  prefix: "",
  minIndex: 0,
  waitMs: 0,
  stale: false,
  consistent: false,
  filter: "",
  perPage: 0,
  nextToken: "",
  reverse: false,
};

const records = fc.uniqueArray(
  fc.record({
    ID: fc.stringMatching(/^[a-z0-9./-]{1,8}$/),
    Namespace: fc.constantFrom("default", "prod", "a"),
    CreateIndex: fc.integer({ min: 1, max: 5 }),
    Even: fc.boolean(),
  }),
  { selector: (record) => record.ID, maxLength: 30 },
);

for (const [name, order] of Object.entries({ byCreation, byNamespacedId, byId })) {
  test(`page: ${name}: walking through the pages gives the whole list once, in order, filtered`, () => {
    fc.assert(
      fc.property(records, fc.integer({ min: 1, max: 7 }), fc.boolean(), (items, perPage, reverse) => {
        for (const filter of ["", "Even == true"]) {
          const expected = items.filter((item) => filter === "" || item.Even).sort(order.compare);
          if (reverse) expected.reverse();
          const walked: unknown[] = [];
          let nextToken = "";
          do {
            const found = page({ ...OPTIONS, perPage, reverse, filter, nextToken }, {
              items,
              order,
              view: (item) => item,
            });
            assert.ok(found.items.length <= perPage);
            walked.push(...found.items);
            nextToken = found.nextToken;
          } while (nextToken !== "");
          assert.deepEqual(walked, expected);
        }
      }),
    );
  });
}

test("page: a negative size gives nothing but the token of the first", () => {
  const items = [{ ID: "b" }, { ID: "a" }];
  assert.deepEqual(page({ ...OPTIONS, perPage: -1 }, { items, order: byId, view: (item) => item }), {
    items: [],
    nextToken: "a",
  });
});

test("checkUuidPrefix refuses what cannot begin an id, in the reference's words", () => {
  const refusal = (prefix: string) => {
    try {
      checkUuidPrefix(prefix, "");
      return "";
    } catch (error) {
      assert.ok(error instanceof ApiError);
      return error.message;
    }
  };
  assert.equal(refusal("4f42ada6-4d"), "");
  assert.equal(refusal("zz"), "index error: Invalid UUID: encoding/hex: invalid byte: U+007A 'z'");
  assert.equal(refusal("4f4"), "index error: Input (without hyphens) must be even length");
  assert.match(refusal("4f42ada6-4da2-2799-2153-a53c68857f70-1"), /UUID have 36 characters; got 38/);
});

const shape = struct("api.T", { A: str, B: list(int), C: map(str), D: struct("api.U", { E: int }) });

test("decodeJson reads every JSON text or refuses it with 400, never otherwise", () => {
  const noise = fc.string({
    unit: fc.constantFrom(...'{}[]":,\\u0123eE+-.truefalsn \nAaBbCcDd'),
    maxLength: 30,
  });
  fc.assert(
    fc.property(fc.oneof(noise, fc.json()), (text) => {
      try {
        decodeJson(text, shape);
      } catch (error) {
        assert.ok(error instanceof ApiError && error.status === 400, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test("decodeJson accepts what JSON.parse accepts, whatever follows it", () => {
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), (value, rest) => {
    const text = JSON.stringify({ z: value });
    assert.deepEqual(decodeJson(`${text}\n"${rest.replace(/["\\]/g, "")}`, shape), {});
  }));
});

test("decodeJson finds fields in any case and gives them their own spelling", () => {
  const read = decodeJson(`{"a":"x","b":[1,2],"C":{"K":"v","n":null},"d":{"e":5,"f":6}}`, shape);
  assert.deepEqual(read, { A: "x", B: [1, 2], C: { K: "v", n: "" }, D: { E: 5 } });
});

test("decodeJson ends on hostile nesting", () => {
  const deep = "[".repeat(100_000);
  for (const text of [deep, `{"x":${deep}${"]".repeat(100_000)}}`]) {
    assert.throws(
      () => decodeJson(text, shape),
      (error) => error instanceof ApiError && error.status === 400,
    );
  }
});
