// Whether a task's schedule block can be carried out, in words that say what is wrong. Pure. When the task runs is the
// device's business (client/schedule.ts).
import type { TaskSchedule } from "../core/types.ts";
import { cronProblem } from "./cron_check.ts";

/** `isTimeZone` knows the names of zones. */
export function scheduleErrors(schedule: TaskSchedule, isTimeZone: (name: string) => boolean): string[] {
  const { Start: start, End: end, Timezone: zone } = schedule.Cron;
  const errors: string[] = [];
  const starts = start.trim().split(/\s+/);
  if (starts.length !== 6 || /[,/]/.test(start)) {
    errors.push(
      `schedule start "${start}" must have six fields (minute, hour, day, month, weekday, year) without "," and "/"`,
    );
  } else {
    const problem = cronProblem(start);
    if (problem) errors.push(`schedule start "${start}" cannot be read: ${problem}`);
  }
  const ends = end.trim().split(/\s+/).map(Number);
  const [endMinute = NaN, endHour = NaN] = ends;
  if (ends.length !== 2 || !isWithin(endMinute, 59) || !isWithin(endHour, 23)) {
    errors.push(`schedule end "${end}" must be a minute and an hour, such as "30 17"`);
  }
  if (zone !== "" && zone !== "Local" && !isTimeZone(zone)) {
    errors.push(`schedule timezone "${zone}" is unknown`);
  }
  const [startMinute, startHour] = starts.map(Number);
  if (errors.length === 0 && startHour! * 60 + startMinute! >= endHour * 60 + endMinute) {
    errors.push(
      `schedule end "${end}" must be later in the day than its start: windows over midnight are not possible`,
    );
  }
  return errors;
}

function isWithin(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}
