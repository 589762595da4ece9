// When periodic jobs run: five cron fields (minute hour day month weekday), six with the year last, seven with seconds
// first, or a name such as @daily, read in the job's time zone. Pure: the time comes in.
import { Cron } from "croner";
import type { PeriodicConfig } from "./types.ts";

/** Milliseconds since 1970 of the first launch after `afterMs`; null when there is none. Ignores `Enabled`. */
export function nextLaunchMs(periodic: PeriodicConfig, afterMs: number): number | null {
  const specs = periodic.Specs?.length ? periodic.Specs : periodic.Spec ? [periodic.Spec] : [];
  let first: number | null = null;
  for (const spec of specs) {
    const next = readCron(spec, periodic.TimeZone).nextRun(new Date(afterMs))?.getTime();
    if (next !== undefined && (first === null || next < first)) first = next;
  }
  return first;
}

/** What is wrong with a specification, "" for nothing. */
export function cronProblem(spec: string, timeZone: string): string {
  try {
    readCron(spec, timeZone);
    return "";
  } catch (error) {
    if (error instanceof SyntaxError) return error.message;
    throw error;
  }
}

/** Throws SyntaxError naming the specification. */
function readCron(spec: string, timeZone: string): Cron {
  const fields = spec.trim().split(/\s+/);
  // Six fields end in the year; the package would take the first for seconds.
  const pattern = fields.length === 6 ? `0 ${fields.join(" ")}` : spec.trim();
  try {
    return new Cron(pattern, { timezone: timeZone || "UTC", paused: true });
  } catch (error) {
    throw new SyntaxError(
      `Cannot read cron specification ${JSON.stringify(spec)}: ${(error as Error).message}`,
      { cause: error },
    );
  }
}
