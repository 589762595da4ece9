// How ids, times, ages, sizes and percentages look in tables. Pure: the caller passes the time.
import { formatDuration } from "../core/duration.ts";

const SHORT_ID_LENGTH = 8;

/** Ids are cut to eight characters unless -verbose. */
export function shortId(id: string, verbose = false): string {
  return verbose ? id : id.slice(0, SHORT_ID_LENGTH);
}

/** Milliseconds since 1970 → "2026-11-22T04:17:37Z". */
export function formatTimeMs(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString().replace(".000Z", "Z");
}

/** Nanoseconds since 1970 → time; "N/A" for none. */
export function formatTimeNs(ns: number): string {
  return ns === 0 ? "N/A" : formatTimeMs(ns / 1e6);
}

/** An RFC 3339 text (or none) → time with seconds. */
export function formatTimestamp(text: string | null | undefined): string {
  if (!text || text.startsWith("0001-01-01")) return "N/A";
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? text : formatTimeMs(ms);
}

const AGE_UNITS: [string, number][] = [
  ["y", 365 * 24 * 3600],
  ["mo", 30 * 24 * 3600],
  ["d", 24 * 3600],
  ["h", 3600],
  ["m", 60],
  ["s", 1],
];

/** How long ago, in the two largest units: "1m2s ago", "3d ago", "0s ago"; "" for no time. */
export function formatAge(ns: number, nowMs: number): string {
  if (ns === 0) return "";
  return `${formatAgeSeconds(Math.max(0, Math.round((nowMs - ns / 1e6) / 1000)))} ago`;
}

function formatAgeSeconds(seconds: number): string {
  const first = AGE_UNITS.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0s";
  const [unit, size] = AGE_UNITS[first]!;
  const count = Math.floor(seconds / size);
  const next = AGE_UNITS[first + 1];
  const rest = next ? Math.floor((seconds - count * size) / next[1]) : 0;
  return next && rest > 0 ? `${count}${unit}${rest}${next[0]}` : `${count}${unit}`;
}

/** "9m55s from now": ahead in the two largest units. */
export function formatAheadOf(targetMs: number, nowMs: number): string {
  return `${formatAgeSeconds(Math.max(0, Math.round((targetMs - nowMs) / 1000)))} from now`;
}

/** "955h41m21s from now" until a time, whole seconds. */
export function formatUntil(targetMs: number, nowMs: number): string {
  const ns = Math.round((targetMs - nowMs) / 1000) * 1e9;
  return ns >= 0 ? `${formatDuration(ns)} from now` : `${formatDuration(-ns)} ago`;
}

const BINARY_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Bytes → "4.0 KiB", "24 GiB": one decimal below ten, none above. */
export function formatBytes(bytes: number): string {
  if (bytes < 10) return `${bytes} B`;
  const power = Math.min(BINARY_UNITS.length - 1, Math.floor(Math.log(bytes) / Math.log(1024)));
  const value = Math.floor(bytes / 1024 ** power * 10 + 0.5) / 10;
  return `${value < 10 && power > 0 ? value.toFixed(1) : value.toFixed(0)} ${BINARY_UNITS[power]}`;
}

/** Text or "<none>" style fallback. */
export function orNone(text: string | null | undefined, none = "<none>"): string {
  return text ? text : none;
}

/** A text in quotes, escaped as Go's %q does. */
export function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
