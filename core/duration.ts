// Durations as Go writes and reads them ("1h2m3.5s", "15.2s", "593.547652ms", "0s"): the text form that job files,
// events and query parameters use. Values are nanoseconds as plain numbers (exact up to 104 days).

const UNIT_NS: Record<string, number> = {
  ns: 1,
  us: 1e3,
  "µs": 1e3,
  "μs": 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

export const NS_PER_MS = 1e6;
export const NS_PER_S = 1e9;

/** Nanoseconds → Go's shortest exact text, as time.Duration's String gives it. */
export function formatDuration(ns: number): string {
  if (ns === 0) return "0s";
  const sign = ns < 0 ? "-" : "";
  const abs = Math.abs(Math.round(ns));
  if (abs < 1e3) return `${sign}${abs}ns`;
  if (abs < 1e6) return `${sign}${fixed(abs, 1e3)}µs`;
  if (abs < 1e9) return `${sign}${fixed(abs, 1e6)}ms`;
  const hours = Math.floor(abs / 3600e9);
  const minutes = Math.floor((abs % 3600e9) / 60e9);
  const seconds = fixed(abs % 60e9, 1e9);
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}s`;
  if (minutes > 0) return `${sign}${minutes}m${seconds}s`;
  return `${sign}${seconds}s`;
}

function fixed(value: number, unit: number): string {
  const whole = Math.floor(value / unit);
  const rest = Math.round(value - whole * unit);
  if (rest === 0) return String(whole);
  const digits = String(Math.round(Math.log10(unit)));
  return `${whole}.${String(rest).padStart(Number(digits), "0").replace(/0+$/, "")}`;
}

/** Go's duration text → nanoseconds. Throws SyntaxError naming the text. */
export function parseDuration(text: string): number {
  const match = /^([+-]?)(.*)$/.exec(text)!;
  const body = match[2]!;
  if (body === "0") return 0;
  const parts = /^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/;
  if (!parts.test(body)) {
    throw new SyntaxError(
      `Cannot read duration ${JSON.stringify(text)}: expected for example "30s", "1h15m"`,
    );
  }
  let total = 0;
  for (const [, number, unit] of body.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(number) * UNIT_NS[unit!]!;
  }
  if (total > 2 ** 63) {
    throw new SyntaxError(`Cannot read duration ${JSON.stringify(text)}: more than 292 years do not fit`);
  }
  return (match[1] === "-" ? -1 : 1) * Math.round(total);
}
