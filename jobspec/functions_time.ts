// Functions on RFC 3339 timestamps: formatdate and timeadd. Exact integers; the zone of the text is kept.
import { ArgumentError, FunctionError, type FunctionSpec, parameter } from "./function_types.ts";
import { parseGoDuration } from "./go_duration.ts";

interface Timestamp {
  /** Since 1970, UTC. */
  readonly nanoseconds: bigint;
  readonly offsetMinutes: number;
}

const PATTERN = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:[.,](\d+))?(Z|[+-]\d{2}:\d{2})$/;

/** Throws FunctionError saying what is no timestamp. */
function parseTimestamp(text: string): Timestamp {
  const invalid = (why: string) => new FunctionError(`not a valid RFC3339 timestamp: ${why}`);
  const match = PATTERN.exec(text);
  if (!match) {
    const year = /^\d{4}(?!\d)/.test(text);
    const want = '"2006-01-02T15:04:05Z"';
    throw invalid(
      year
        ? `${JSON.stringify(text)} does not look like ${want}`
        : `cannot use ${JSON.stringify(text)} as year`,
    );
  }
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (month < 1 || month > 12) throw invalid("month out of range");
  if (day < 1 || day > daysOfMonth(year, month)) throw invalid("day out of range");
  if (hour > 23) throw invalid("hour out of range");
  if (minute > 59) throw invalid("minute out of range");
  if (second > 59) throw invalid("second out of range");
  const zone = match[8]!;
  const offset = zone === "Z"
    ? 0
    : (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4))) * (zone[0] === "-" ? -1 : 1);
  const fraction = BigInt((match[7] ?? "").slice(0, 9).padEnd(9, "0"));
  const seconds = BigInt(utcMs([year, month, day, hour, minute, second])) / 1000n - BigInt(offset) * 60n;
  return { nanoseconds: seconds * 1_000_000_000n + fraction, offsetMinutes: offset };
}

function utcMs([year, month, day, hour, minute, second]: readonly number[]): number {
  const date = new Date(0);
  date.setUTCFullYear(year!, month! - 1, day!);
  date.setUTCHours(hour!, minute!, second!);
  return date.getTime();
}

function daysOfMonth(year: number, month: number): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month, 0);
  return date.getUTCDate();
}

/** A Date whose UTC fields are the local fields of the timestamp. */
function localDate({ nanoseconds, offsetMinutes }: Timestamp): Date {
  const seconds = nanoseconds >= 0n
    ? nanoseconds / 1_000_000_000n
    : (nanoseconds - 999_999_999n) / 1_000_000_000n;
  return new Date(Number(seconds) * 1000 + offsetMinutes * 60_000);
}

function zoneText(offsetMinutes: number, colon: string): string {
  const size = Math.abs(offsetMinutes);
  const hours = String(Math.trunc(size / 60)).padStart(2, "0");
  return `${offsetMinutes < 0 ? "-" : "+"}${hours}${colon}${String(size % 60).padStart(2, "0")}`;
}

function formatRfc3339(timestamp: Timestamp): string {
  const local = localDate(timestamp);
  const year = String(local.getUTCFullYear()).padStart(4, "0");
  const rest = local.toISOString().replace(/^[+-]?\d+/, "").slice(0, 15);
  return `${year}${rest}${timestamp.offsetMinutes === 0 ? "Z" : zoneText(timestamp.offsetMinutes, ":")}`;
}

const MONTHS = "January February March April May June July August September October November December".split(
  " ",
);
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** A quoted text, a run of one letter, or other characters. */
const DATE_TOKEN = /''|'(?:''|[^'])*'(?!')|'[\s\S]*|([A-Za-z])\1*|[^A-Za-z']+/g;

function formatDate(format: string, timestamp: Timestamp): string {
  return (format.match(DATE_TOKEN) ?? []).map((token) => {
    if (token[0] === "'") {
      if (token === "''") return "'";
      if (token.length === 1 || !token.endsWith("'")) throw new ArgumentError(0, "unterminated literal '");
      return token.slice(1, -1).replaceAll("''", "'");
    }
    return /[A-Za-z]/.test(token[0]!) ? dateVerb(token, timestamp) : token;
  }).join("");
}

function dateVerb(token: string, timestamp: Timestamp): string {
  const local = localDate(timestamp);
  const two = (value: number) => String(value).padStart(2, "0");
  const year = local.getUTCFullYear();
  const hour = local.getUTCHours();
  const month = MONTHS[local.getUTCMonth()]!;
  const day = DAYS[local.getUTCDay()]!;
  const zone = timestamp.offsetMinutes;
  switch (token) {
    case "YY":
      return two(year % 100);
    case "YYYY":
      return String(year).padStart(4, "0");
    case "M":
      return String(local.getUTCMonth() + 1);
    case "MM":
      return two(local.getUTCMonth() + 1);
    case "MMM":
      return month.slice(0, 3);
    case "MMMM":
      return month;
    case "D":
      return String(local.getUTCDate());
    case "DD":
      return two(local.getUTCDate());
    case "EEE":
      return day.slice(0, 3);
    case "EEEE":
      return day;
    case "h":
      return String(hour);
    case "hh":
      return two(hour);
    case "H":
      return String(hour % 12 || 12);
    case "HH":
      return two(hour % 12 || 12);
    case "AA":
      return hour < 12 ? "AM" : "PM";
    case "aa":
      return hour < 12 ? "am" : "pm";
    case "m":
      return String(local.getUTCMinutes());
    case "mm":
      return two(local.getUTCMinutes());
    case "s":
      return String(local.getUTCSeconds());
    case "ss":
      return two(local.getUTCSeconds());
    case "Z":
      return zone === 0 ? "Z" : zoneText(zone, ":");
    case "ZZZ":
      return zone === 0 ? "UTC" : zoneText(zone, "");
    case "ZZZZ":
      return zoneText(zone, "");
    case "ZZZZZ":
      return zoneText(zone, ":");
    default:
      throw new ArgumentError(
        0,
        `invalid date format verb ${JSON.stringify(token)}; quote literal letters with '`,
      );
  }
}

export const TIME_FUNCTIONS: Record<string, FunctionSpec> = {
  formatdate: {
    doc: 'A timestamp in another form, such as formatdate("DD MMM YYYY", "2021-03-04T05:06:07Z").',
    parameters: [parameter("format", "string"), parameter("time", "string")],
    call([format, time]) {
      let timestamp: Timestamp;
      try {
        timestamp = parseTimestamp(time as string);
      } catch (error) {
        if (error instanceof FunctionError) throw new ArgumentError(1, error.message);
        throw error;
      }
      return formatDate(format as string, timestamp);
    },
  },
  timeadd: {
    doc: "A timestamp later by a duration.",
    parameters: [parameter("timestamp", "string"), parameter("duration", "string")],
    call([time, text]) {
      const timestamp = parseTimestamp(time as string);
      const duration = parseGoDuration(text as string);
      if (typeof duration === "string") throw new FunctionError(duration);
      return formatRfc3339({ ...timestamp, nanoseconds: timestamp.nanoseconds + duration });
    },
  },
};
