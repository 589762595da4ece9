// Whether a cron expression can be read, told in the words that users of Nomad know. Five fields (minute to weekday),
// with a year as sixth, with seconds before as seventh; the usual @names. When it fires is periodic.ts's business.

const NAMED = new Set(["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"]);

interface Field {
  name: string;
  min: number;
  max: number;
  names: readonly string[];
  /** Besides numbers and ranges: the forms of days (L, W, #). */
  special?: RegExp;
}

const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const LONG_MONTHS = [
  "JANUARY",
  "FEBRUARY",
  "MARCH",
  "APRIL",
  "MAY",
  "JUNE",
  "JULY",
  "AUGUST",
  "SEPTEMBER",
  "OCTOBER",
  "NOVEMBER",
  "DECEMBER",
];
const LONG_DAYS = ["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"];

const SECOND: Field = { name: "second", min: 0, max: 59, names: [] };
const FIELDS: readonly Field[] = [
  { name: "minute", min: 0, max: 59, names: [] },
  { name: "hour", min: 0, max: 23, names: [] },
  { name: "day-of-month", min: 1, max: 31, names: [], special: /^(L|LW|([1-9]|[12]\d|3[01])W)$/ },
  { name: "month", min: 1, max: 12, names: [...MONTHS, ...LONG_MONTHS] },
  {
    name: "day-of-week",
    min: 0,
    max: 7,
    names: [...DAYS, ...LONG_DAYS],
    special: /^([0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])$/,
  },
  { name: "year", min: 1970, max: 2099, names: [] },
];

/** What is wrong with the expression, or null. */
export function cronProblem(spec: string): string | null {
  const trimmed = spec.trim();
  if (NAMED.has(trimmed)) return null;
  const parts = trimmed.split(/\s+/).filter((part) => part !== "");
  if (parts.length < 5) return "missing field(s)";
  const fields = parts.length >= 7 ? [SECOND, ...FIELDS] : FIELDS;
  for (let i = 0; i < Math.min(parts.length, fields.length); i++) {
    const problem = fieldProblem(fields[i]!, parts[i]!);
    if (problem) return problem;
  }
  return null;
}

function fieldProblem(field: Field, text: string): string | null {
  for (const entry of text.toUpperCase().split(",")) {
    if (field.special?.test(entry)) continue;
    const [range, step, ...rest] = entry.split("/");
    const known = range === "*" || range === "?" || isRange(field, range!);
    if (!known || rest.length > 0) return `syntax error in ${field.name} field: '${text}'`;
    if (step === undefined) continue;
    if (!/^\d+$/.test(step)) return `syntax error in ${field.name} field: '${text}'`;
    if (Number(step) < 1 || Number(step) > field.max) return `invalid interval ${entry}`;
  }
  return null;
}

function isRange(field: Field, text: string): boolean {
  const ends = text.split("-");
  return ends.length <= 2 && ends.every((end) => isValue(field, end));
}

function isValue(field: Field, text: string): boolean {
  if (field.names.includes(text)) return true;
  return /^\d+$/.test(text) && Number(text) >= field.min && Number(text) <= field.max;
}
