// Version comparison as job files write it: `version` constraints ("~> 1.2", ">= 1.0, < 2.0"), where a prerelease only
// satisfies a constraint that names one, and `semver` constraints, where prereleases simply order below their
// release. Pure. Unparsable text never matches: a constraint that cannot be read filters every node.

interface Version {
  /** At least three, padded by zeros. */
  segments: number[];
  /** How many segments the text gave. */
  given: number;
  prerelease: string;
}

type Operator = "=" | "!=" | ">" | "<" | ">=" | "<=" | "~>";

export type VersionTest = (version: string) => boolean;

const VERSION = /^v?(\d+(?:\.\d+)*)(?:-?([0-9A-Za-z~-]+(?:\.[0-9A-Za-z~-]+)*))?(?:\+[0-9A-Za-z~.-]+)?$/;
const CONSTRAINT = /^\s*(=|!=|>=|<=|~>|>|<)?\s*(\S+)\s*$/;

/** Compiles "OP VERSION, OP VERSION …"; null when the text is no constraint of this flavour. */
export function compileVersionConstraint(text: string, flavour: "version" | "semver"): VersionTest | null {
  const tests: ((version: Version) => boolean)[] = [];
  for (const part of text.split(",")) {
    const match = CONSTRAINT.exec(part);
    const wanted = match && parseVersion(match[2]!);
    if (!match || !wanted) return null;
    const operator = (match[1] ?? "=") as Operator;
    if (flavour === "semver" && operator === "~>") return null;
    tests.push((version) => matches(version, operator, wanted, flavour));
  }
  return (text) => {
    const version = parseVersion(text.trim());
    return version !== null && tests.every((test) => test(version));
  };
}

function parseVersion(text: string): Version | null {
  const match = VERSION.exec(text);
  if (!match) return null;
  const segments = match[1]!.split(".").map(Number);
  const given = segments.length;
  while (segments.length < 3) segments.push(0);
  return { segments, given, prerelease: match[2] ?? "" };
}

function matches(version: Version, operator: Operator, wanted: Version, flavour: string): boolean {
  const order = compareVersions(version, wanted);
  if (operator === "=") return order === 0;
  if (operator === "!=") return order !== 0;
  if (flavour === "version" && !prereleaseAllowed(version, wanted)) return false;
  switch (operator) {
    case ">":
      return order > 0;
    case ">=":
      return order >= 0;
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case "~>":
      return order >= 0 && samePrefix(version, wanted);
  }
}

/** A prerelease counts only against a constraint that names a prerelease of the very same release. */
function prereleaseAllowed(version: Version, wanted: Version): boolean {
  if (version.prerelease === "") return true;
  return wanted.prerelease !== "" && compareSegments(version, wanted) === 0;
}

/** `~> a.b.c` fixes all given segments but the last. */
function samePrefix(version: Version, wanted: Version): boolean {
  for (let i = 0; i < wanted.given - 1; i++) {
    if (version.segments[i] !== wanted.segments[i]) return false;
  }
  return true;
}

function compareVersions(a: Version, b: Version): number {
  return compareSegments(a, b) || comparePrereleases(a.prerelease, b.prerelease);
}

function compareSegments(a: Version, b: Version): number {
  const length = Math.max(a.segments.length, b.segments.length);
  for (let i = 0; i < length; i++) {
    const difference = (a.segments[i] ?? 0) - (b.segments[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Semantic Versioning 2.0 §11: none is greater than any; numbers below words; more fields win. */
function comparePrereleases(a: string, b: string): number {
  if (a === b) return 0;
  if (a === "") return 1;
  if (b === "") return -1;
  const left = a.split(".");
  const right = b.split(".");
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const order = compareFields(left[i], right[i]);
    if (order !== 0) return order;
  }
  return 0;
}

function compareFields(a: string | undefined, b: string | undefined): number {
  if (a === b) return 0;
  if (a === undefined) return -1;
  if (b === undefined) return 1;
  const numeric = [a, b].map((field) => /^\d+$/.test(field));
  if (numeric[0] && numeric[1]) return Number(a) - Number(b);
  if (numeric[0] !== numeric[1]) return numeric[0] ? -1 : 1;
  return a < b ? -1 : 1;
}
