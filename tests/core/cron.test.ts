// When periodic jobs run.
import test from "node:test";
import assert from "node:assert/strict";
import { cronProblem, nextLaunchMs } from "../../core/cron.ts";
import type { PeriodicConfig } from "../../core/types.ts";

const AT = Date.parse("2026-11-22T04:44:10Z");
const next = (fields: Partial<PeriodicConfig>): string | null => {
  const periodic = {
    Enabled: true,
    Spec: "",
    Specs: null,
    SpecType: "cron",
    ProhibitOverlap: false,
    TimeZone: "UTC",
    ...fields,
  };
  const ms = nextLaunchMs(periodic, AT);
  return ms === null ? null : new Date(ms).toISOString();
};

test("nextLaunchMs reads five fields, six with the year, seven with seconds, names", () => {
  assert.equal(next({ Spec: "*/15 * * * *" }), "2026-11-22T04:45:00.000Z");
  assert.equal(next({ Spec: "0 0 1 1 * 2028" }), "2028-01-01T00:00:00.000Z");
  assert.equal(next({ Spec: "30 * * * * * *" }), "2026-11-22T04:44:30.000Z");
  assert.equal(next({ Spec: "@daily" }), "2026-11-23T00:00:00.000Z");
});

test("nextLaunchMs takes the first of several, in the job's time zone", () => {
  assert.equal(next({ Specs: ["0 9 * * *", "0 6 * * *"] }), "2026-11-22T06:00:00.000Z");
  assert.equal(next({ Spec: "0 6 * * *", TimeZone: "Europe/Berlin" }), "2026-11-22T05:00:00.000Z");
});

test("nextLaunchMs is null when nothing comes any more", () => {
  assert.equal(next({ Spec: "0 0 1 1 * 2020" }), null);
  assert.equal(next({}), null);
});

test("cronProblem names what cannot be read", () => {
  assert.equal(cronProblem("0 0 * * *", "UTC"), "");
  assert.match(cronProblem("61 * * * *", "UTC"), /"61 \* \* \* \*"/);
  assert.match(cronProblem("x", "UTC"), /Cannot read cron/);
});
