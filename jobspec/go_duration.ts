// Go's duration text ("1h30m", "-1.5s", "0") → nanoseconds, with Go's own messages. Exact: no floating point.

const UNITS: Record<string, bigint> = {
  ns: 1n,
  us: 1_000n,
  "µs": 1_000n,
  "μs": 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

const LIMIT = 2n ** 63n;

/** Nanoseconds, or the message that says what is wrong. */
export function parseGoDuration(text: string): bigint | string {
  const quoted = JSON.stringify(text);
  const invalid = `time: invalid duration ${quoted}`;
  const negative = text.startsWith("-");
  let rest = text.replace(/^[+-]/, "");
  if (rest === "0") return 0n;
  if (rest === "") return invalid;
  let total = 0n;
  while (rest !== "") {
    const number = /^(\d*)(?:\.(\d*))?/.exec(rest)!;
    const whole = number[1]!;
    const fraction = number[2] ?? "";
    if (whole === "" && fraction === "") return invalid;
    rest = rest.slice(number[0].length);
    const name = /^[^.\d]*/.exec(rest)![0];
    if (name === "") return `time: missing unit in duration ${quoted}`;
    const unit = UNITS[name];
    if (unit === undefined) return `time: unknown unit ${JSON.stringify(name)} in duration ${quoted}`;
    rest = rest.slice(name.length);
    const digits = fraction.slice(0, 18);
    total += BigInt(whole || "0") * unit;
    if (digits !== "") total += (BigInt(digits) * unit) / 10n ** BigInt(digits.length);
    if (total > LIMIT) return invalid;
  }
  if (!negative && total >= LIMIT) return invalid;
  return negative ? -total : total;
}
