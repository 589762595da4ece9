// Instants as text: RFC 3339 in UTC, as the API's JSON carries them. Inside, instants are nanoseconds since 1970 as
// plain numbers (good to 256 ns), so what comes out is at most that much off.
import { type Timestamp, ZERO_TIME } from "./types.ts";

const INSTANT = /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)$/;

let lastSeconds = NaN;
let lastText = "";

/** Nanoseconds since 1970 → "2026-11-22T04:48:41.233985254Z"; trailing zeros of the fraction are left out. */
export function formatTime(ns: number): Timestamp {
  const whole = Math.round(ns);
  // Remainders of doubles are exact, and so is what is left: a multiple of 1e9 that takes no more than 52 bits.
  const fraction = ((whole % 1e9) + 1e9) % 1e9;
  const seconds = (whole - fraction) / 1e9;
  // A command's thousand allocations share their second.
  if (seconds !== lastSeconds) {
    lastText = new Date(seconds * 1000).toISOString().slice(0, 19);
    lastSeconds = seconds;
  }
  if (fraction === 0) return `${lastText}Z`;
  return `${lastText}.${String(fraction).padStart(9, "0").replace(/0+$/, "")}Z`;
}

/** "2026-11-22T04:48:41Z": what the API sends where seconds are enough. */
export function formatTimeSeconds(ns: number): Timestamp {
  return formatTime(Math.floor(ns / 1e9) * 1e9);
}

/** RFC 3339 text → nanoseconds since 1970, or null when it is no instant. The zero time gives 0. */
export function parseTime(text: string): number | null {
  if (text === ZERO_TIME) return 0;
  const match = INSTANT.exec(text);
  if (!match) return null;
  const ms = Date.parse(`${match[1]}${match[3]}`.toUpperCase());
  if (Number.isNaN(ms)) return null;
  const fraction = Number((match[2] ?? "").padEnd(9, "0").slice(0, 9));
  return ms * 1e6 + fraction;
}
