// Compares the shapes of two JSON bodies as ../shared/conformance/api/shape.py does: keys, types, null against [] against
// {}; values are ignored. What is data (maps) counts by the common shape of its values.

const MAPS = new Set(
  ("Meta Env Attributes TaskGroups Summary TaskStates Tasks Options Items Labels Links Details Drivers HostVolumes " +
    "HostNetworks CSIControllerPlugins CSINodePlugins NodesAvailable NodePools ClassFiltered ConstraintFiltered " +
    "ClassExhausted DimensionExhausted QuotaExhausted NodesInPool FailedTGAllocs QueuedAllocations ScoreMeta Scores " +
    "Pids Matches Truncations ByTaskGroup DesiredTGUpdates Tags Config stats Static Dynamic VariableFlags " +
    "TaskResources AnnotatedScores ClassEligibility RelatedEvals Target Policy Volumes TaskLifecycles Messages " +
    "PortStatus PreemptedAllocs").split(" "),
);

interface Shape {
  kinds: Set<string>;
  /** "*" stands for elements of lists and values of maps. */
  keys: Map<string, Shape>;
  /** How many values were merged into it. */
  merged: number;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return value.length > 0 ? "list" : "[]";
  if (typeof value === "object") return Object.keys(value as object).length > 0 ? "object" : "{}";
  return typeof value === "boolean" ? "bool" : typeof value;
}

function isMap(name: string, value: object): boolean {
  return MAPS.has(name) || Object.keys(value).some((key) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(key));
}

function shapeOf(value: unknown, name = ""): Shape {
  const shape: Shape = { kinds: new Set([kindOf(value)]), keys: new Map(), merged: 1 };
  if (Array.isArray(value)) {
    if (value.length > 0) shape.keys.set("*", merge(value.map((item) => shapeOf(item))));
  } else if (typeof value === "object" && value !== null && Object.keys(value).length > 0) {
    if (isMap(name, value)) {
      shape.kinds = new Set(["map"]);
      shape.keys.set("*", merge(Object.values(value).map((item) => shapeOf(item))));
    } else {
      for (const [key, item] of Object.entries(value)) shape.keys.set(key, shapeOf(item, key));
    }
  }
  return shape;
}

function merge(shapes: readonly Shape[]): Shape {
  const whole: Shape = { kinds: new Set(), keys: new Map(), merged: 0 };
  for (const shape of shapes) {
    whole.merged += shape.merged;
    for (const kind of shape.kinds) whole.kinds.add(kind);
    for (const [key, inner] of shape.keys) {
      const known = whole.keys.get(key);
      whole.keys.set(key, known ? merge([known, inner]) : inner);
    }
  }
  return whole;
}

const EMPTY: Record<string, readonly string[]> = {
  "[]": ["list"],
  "{}": ["object", "map"],
  list: ["[]"],
  object: ["{}"],
  map: ["{}"],
};
const OBJECTS = new Set(["object", "map", "{}"]);

/** Whether a kind seen on one side can be explained by the kinds of the other. */
function fits(kind: string, others: ReadonlySet<string>, lenient: boolean): boolean {
  if (others.has(kind) || (EMPTY[kind] ?? []).some((other) => others.has(other))) return true;
  if (OBJECTS.has(kind) && [...others].every((other) => OBJECTS.has(other))) return true;
  if (!lenient) return false;
  if (kind === "null") return !others.has("[]") && !others.has("{}");
  return others.size === 1 && others.has("null") && kind !== "[]" && kind !== "{}";
}

function compare(recorded: Shape, live: Shape, path: string, lenient: boolean, found: string[]): void {
  const explained = [...recorded.kinds].some((kind) => fits(kind, live.kinds, lenient)) &&
    [...live.kinds].some((kind) => fits(kind, recorded.kinds, lenient));
  if (!explained) {
    const list = (kinds: ReadonlySet<string>) => [...kinds].sort().join("/");
    found.push(`${path}: recorded ${list(recorded.kinds)}, live ${list(live.kinds)}`);
    return;
  }
  const structures = recorded.kinds.has("object") && live.kinds.has("object");
  for (const key of [...new Set([...recorded.keys.keys(), ...live.keys.keys()])].sort()) {
    const inner = path + (key === "*" ? "[]" : `.${key}`);
    const [a, b] = [recorded.keys.get(key), live.keys.get(key)];
    if (a && b) compare(a, b, inner, lenient, found);
    else if (key === "*" || !structures) continue;
    else if (a && a.merged >= recorded.merged) found.push(`${inner}: missing in live`);
    else if (b) found.push(`${inner}: not in the recording`);
  }
}

/** What differs, one line each; empty when the shapes are the same. */
export function shapeDifferences(recorded: unknown, live: unknown, { lenient = false } = {}): string[] {
  const found: string[] = [];
  compare(shapeOf(recorded), shapeOf(live), "$", lenient, found);
  return found;
}
