// Whether a reschedule policy can be kept: attempts, interval and growing delays must fit each other.
import { formatDuration } from "../core/duration.ts";
import type { ReschedulePolicy } from "../core/types.ts";

const SECOND = 1e9;
const DELAY_MIN = 5 * SECOND;
const INTERVAL_MIN = 15 * SECOND;
const FUNCTIONS = ["constant", "exponential", "fibonacci"];

export function rescheduleErrors(policy: ReschedulePolicy): string[] {
  if (!isEnabled(policy)) return [];
  const { Attempts: attempts, Interval: interval, Delay: delay, DelayFunction: name } = policy;
  if (attempts > 0 && policy.Unlimited) {
    return [
      `Reschedule Policy with Attempts = ${attempts}, Interval = ${formatDuration(interval)}, and ` +
      "Unlimited = true is ambiguous",
      "If Attempts >0, Unlimited cannot also be set to true",
    ];
  }
  const errors: string[] = [];
  const known = FUNCTIONS.includes(name);
  if (!known) {
    const names = FUNCTIONS.map((each) => `"${each}"`).join(" ");
    errors.push(`Invalid delay function "${name}", must be one of [${names}]`);
  }
  errors.push(...delayErrors(policy));
  if (policy.Unlimited) return errors;
  if (interval <= 0) errors.push("Interval must be a non zero value if Attempts > 0");
  if (interval < INTERVAL_MIN) {
    errors.push(
      `Interval cannot be less than ${formatDuration(INTERVAL_MIN)} (got ${formatDuration(interval)})`,
    );
  }
  if (known && delay >= DELAY_MIN) errors.push(...attemptErrors(policy));
  return errors;
}

function isEnabled(policy: ReschedulePolicy): boolean {
  return policy.Attempts > 0 || policy.Unlimited;
}

function delayErrors(policy: ReschedulePolicy): string[] {
  const { Delay: delay, MaxDelay: max } = policy;
  if (delay < DELAY_MIN) {
    return [`Delay cannot be less than ${formatDuration(DELAY_MIN)} (got ${formatDuration(delay)})`];
  }
  if (policy.DelayFunction === "constant") return [];
  const errors: string[] = [];
  if (max < DELAY_MIN) {
    errors.push(`Max Delay cannot be less than ${formatDuration(DELAY_MIN)} (got ${formatDuration(delay)})`);
  }
  if (max < delay) {
    errors.push(`Max Delay cannot be less than Delay ${formatDuration(delay)} (got ${formatDuration(max)})`);
  }
  return errors;
}

/** How many attempts the interval has room for when each waits as long as the policy says. */
function attemptErrors(policy: ReschedulePolicy): string[] {
  const { Attempts: attempts, Interval: interval, Delay: delay, DelayFunction: name, MaxDelay: max } = policy;
  const { possible, needed } = simulate(policy);
  if (possible >= attempts) return [];
  const ceiling = name === "constant"
    ? ` and delay function "constant"`
    : `, delay function "${name}", and delay ceiling ${formatDuration(max)}`;
  return [
    `Nomad can only make ${possible} attempts in ${formatDuration(interval)} with initial delay ` +
    `${formatDuration(delay)}${ceiling}`,
    `Set the interval to at least ${
      formatDuration(roundToSecond(needed))
    } to accommodate ${attempts} attempts`,
  ];
}

/** Counted as Nomad counts, so that both accept the same policies: see `lengths`. */
function simulate(policy: ReschedulePolicy): { possible: number; needed: number } {
  const { Attempts: attempts, Interval: interval } = policy;
  const needs = lengths(policy);
  const strict = policy.DelayFunction === "exponential";
  const possible = needs.filter((need) => strict ? need < interval : need <= interval).length;
  return { possible: Math.min(possible, attempts), needed: needs.at(-1) ?? 0 };
}

/**
 * The interval that n attempts need, for every n: with a growing delay that of the nth alone until the ceiling is
 * reached, from then on a ceiling more each.
 */
function lengths(policy: ReschedulePolicy): number[] {
  const { Attempts: attempts, Delay: first, DelayFunction: name, MaxDelay: max } = policy;
  if (name === "constant") return Array.from({ length: attempts }, (_, i) => first * (i + 1));
  const needs: number[] = [];
  let [previous, delay] = name === "exponential" ? [first, first] : [0, first];
  let capped = false;
  for (let i = 0; i < attempts; i++) {
    if (delay <= max) {
      needs.push(delay);
    } else {
      const last = needs.at(-1) ?? 0;
      needs.push(name === "fibonacci" && !capped ? max : last + max);
      capped = true;
    }
    [previous, delay] = name === "exponential" ? [delay, delay * 2] : [delay, delay + previous];
  }
  return needs;
}

function roundToSecond(ns: number): number {
  return Math.ceil(ns / SECOND) * SECOND;
}
