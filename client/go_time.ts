// Instants in the layouts of Go ("2006-01-02 15:04"), which templates use. UTC only, to the millisecond. Pure.

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

const two = (value: number, fill = "0") => String(value).padStart(2, fill);
const hour12 = (at: Date) => at.getUTCHours() % 12 || 12;

/** What each part of a layout stands for. */
const PARTS: Record<string, (at: Date) => string> = {
  "2006": (at) => String(at.getUTCFullYear()).padStart(4, "0"),
  "06": (at) => two(at.getUTCFullYear() % 100),
  "January": (at) => MONTHS[at.getUTCMonth()]!,
  "Jan": (at) => MONTHS[at.getUTCMonth()]!.slice(0, 3),
  "01": (at) => two(at.getUTCMonth() + 1),
  "1": (at) => String(at.getUTCMonth() + 1),
  "Monday": (at) => DAYS[at.getUTCDay()]!,
  "Mon": (at) => DAYS[at.getUTCDay()]!.slice(0, 3),
  "002": (at) => String(dayOfYear(at)).padStart(3, "0"),
  "02": (at) => two(at.getUTCDate()),
  "_2": (at) => two(at.getUTCDate(), " "),
  "2": (at) => String(at.getUTCDate()),
  "15": (at) => two(at.getUTCHours()),
  "03": (at) => two(hour12(at)),
  "3": (at) => String(hour12(at)),
  "04": (at) => two(at.getUTCMinutes()),
  "4": (at) => String(at.getUTCMinutes()),
  "05": (at) => two(at.getUTCSeconds()),
  "5": (at) => String(at.getUTCSeconds()),
  "PM": (at) => at.getUTCHours() < 12 ? "AM" : "PM",
  "pm": (at) => at.getUTCHours() < 12 ? "am" : "pm",
  "MST": () => "UTC",
  "Z07:00": () => "Z",
  "Z0700": () => "Z",
  "-07:00": () => "+00:00",
  "-0700": () => "+0000",
  "-07": () => "+00",
};

/** Longer parts first: "2006" is not "2" and "006". A fraction follows the seconds: ".000" keeps zeros, ".999" drops. */
const PART = new RegExp(
  [
    "(?<=05)[.,](?:0+|9+)(?!\\d)",
    ...Object.keys(PARTS).sort((a, b) => b.length - a.length).map((part) =>
      part === "Jan" ? "Jan(?!uary)" : part
    ),
  ].join("|"),
  "g",
);

/** `nowMs` since 1970 in a layout like "2006-01-02T15:04:05Z07:00". */
export function formatGoTime(nowMs: number, layout: string): string {
  const at = new Date(nowMs);
  return layout.replace(PART, (part) => PARTS[part]?.(at) ?? fraction(at, part));
}

function fraction(at: Date, part: string): string {
  const digits = String(at.getUTCMilliseconds()).padStart(3, "0").padEnd(part.length - 1, "0")
    .slice(0, part.length - 1);
  const kept = part[1] === "0" ? digits : digits.replace(/0+$/, "");
  return kept === "" ? "" : part[0] + kept;
}

function dayOfYear(at: Date): number {
  return Math.floor((at.getTime() - Date.UTC(at.getUTCFullYear(), 0, 1)) / 86_400_000) + 1;
}
