// When a periodic job is due: its cron expressions in its time zone. croner finds the times; here the forms that Nomad
// accepts are put into croner's order of fields. Pure.
import { Cron } from "croner";
import type { PeriodicConfig } from "../core/types.ts";

/** Expressions of a periodic block; the old single `cron` and the list are the same thing. */
export function specsOf(periodic: PeriodicConfig): string[] {
  const specs = periodic.Specs && periodic.Specs.length > 0 ? periodic.Specs : [periodic.Spec];
  return specs.filter((spec) => spec !== "");
}

/**
 * The next launch after `afterMs` (milliseconds since 1970), or null when there is none. Throws RangeError or TypeError
 * for expressions or zones that cannot be read.
 */
export function nextLaunchMs(periodic: PeriodicConfig, afterMs: number): number | null {
  let earliest: number | null = null;
  for (const spec of specsOf(periodic)) {
    const cron = new Cron(cronerPattern(spec), { timezone: periodic.TimeZone || "UTC", paused: true });
    const next = nextMatch(cron, new Date(afterMs))?.getTime() ?? null;
    if (next !== null && (earliest === null || next < earliest)) earliest = next;
  }
  return earliest;
}

/** A time that a day does not have, because clocks are set forward, is left out that day, as in Nomad; croner moves it. */
function nextMatch(cron: Cron, after: Date): Date | null {
  let next = cron.nextRun(after);
  while (next && !cron.match(next)) next = cron.nextRun(next);
  return next;
}

/** Five fields; six end with a year where croner's six begin with seconds; seven are alike. */
function cronerPattern(spec: string): string {
  const text = spec.trim();
  if (text.startsWith("@")) return text;
  const fields = text.split(/\s+/).map((field) => field.replace(/[A-Za-z]{4,}/g, (name) => name.slice(0, 3)));
  return fields.length === 6 ? ["0", ...fields].join(" ") : fields.slice(0, 7).join(" ");
}
