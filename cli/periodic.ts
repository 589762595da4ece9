// When a periodic job runs next, for display. The server decides; this reads the same expressions.
import { Cron } from "croner";
import type { PeriodicConfig } from "../core/types.ts";

/** Milliseconds since 1970 of the next launch after `nowMs`; undefined when it never runs again. */
export function nextPeriodicLaunch(
  periodic: Partial<PeriodicConfig> | null | undefined,
  nowMs: number,
): number | undefined {
  if (!periodic || periodic.Enabled === false || (periodic.SpecType ?? "cron") !== "cron") return undefined;
  const specs = periodic.Specs?.length ? periodic.Specs : periodic.Spec ? [periodic.Spec] : [];
  const launches = specs.flatMap((spec) => {
    const cron = parse(spec, periodic.TimeZone || "UTC");
    let next = cron?.nextRun(new Date(nowMs));
    // croner moves a time that a day does not have because clocks are set forward; servers leave it out.
    while (next && !cron!.match(next)) next = cron!.nextRun(next);
    return next ? [next.getTime()] : [];
  });
  return launches.length > 0 ? Math.min(...launches) : undefined;
}

/** Five fields, six with the year, or a name like @daily. */
function parse(spec: string, timezone: string): Cron | undefined {
  const fields = spec.trim().split(/\s+/);
  const withSeconds = fields.length === 6 ? `0 ${spec}` : spec;
  try {
    return new Cron(withSeconds, { timezone, paused: true });
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
}
