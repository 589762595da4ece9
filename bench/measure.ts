// Percentiles, tables and the machine's description for benchmarks. A benchmark prints what it saw; it judges nothing.
import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";

/** The p-th percentile (0–100) of unsorted samples. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((p / 100) * sorted.length))] ?? NaN;
}

export const median = (samples: readonly number[]) => percentile(samples, 50);

export interface Row {
  what: string;
  [flavour: string]: string;
}

/** Rows as a Markdown table, ready for BENCHMARKS.md. */
export function markdown(rows: readonly Row[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(columns),
    line(columns.map(() => "---")),
    ...rows.map((row) => line(columns.map((column) => row[column] ?? ""))),
  ].join("\n");
}

/** One line naming the machine and the day. */
export function machine(): string {
  const model = cpus()[0]?.model ?? "unknown CPU";
  const kernel = readFileSync("/proc/sys/kernel/osrelease", "utf8").trim();
  return `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GB, Linux ${kernel}, ` +
    new Date().toISOString().slice(0, 10);
}

export const ms = (value: number) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
export const seconds = (value: number) => `${value.toFixed(value < 10 ? 2 : 1)} s`;
export const perSecond = (value: number) => `${Math.round(value).toLocaleString("en")}/s`;
export const megabytes = (value: number) => `${value.toFixed(value < 10 ? 2 : 0)} MB`;
