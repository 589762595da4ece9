// A job diff as text: markers, aligned fields, nested objects, and what each change forces. Pure text building: colours
// come in as codes that may be empty. The layout is the reference's: a marker takes its own width, names below each
// other start where the longest marker of the level ends.
import type { DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff } from "../core/job_diff.ts";
import { quote } from "./format.ts";
import type { Colours } from "./ui.ts";

/** The whole diff, ending with a line break. `verbose` shows the fields of what is added or removed too. */
export function formatJobDiff(diff: JobDiff, verbose: boolean, colours: Colours): string {
  return new DiffWriter(verbose, colours).job(diff);
}

interface Level {
  longestField: number;
  longestMarker: number;
}

class DiffWriter {
  readonly #verbose: boolean;
  readonly #c: Colours;

  constructor(verbose: boolean, colours: Colours) {
    this.#verbose = verbose;
    this.#c = colours;
  }

  job(diff: JobDiff): string {
    const { bold } = this.#c;
    const level = measure(diff.Fields, diff.Objects);
    for (const group of diff.TaskGroups ?? []) {
      level.longestMarker = Math.max(level.longestMarker, markerWidth(group.Type));
    }
    let out = `${this.#marker(diff.Type)}${bold}Job: ${quote(diff.ID)}\n`;
    if (diff.Type === "Edited" || this.#verbose) {
      const body = this.#fieldsAndObjects(diff.Fields, diff.Objects, 0, level);
      if (body !== "") out += `${body}\n`;
    }
    for (const group of diff.TaskGroups ?? []) out += `${this.#group(group, level.longestMarker)}\n`;
    return out;
  }

  #group(group: TaskGroupDiff, outerMarker: number): string {
    const { bold, reset } = this.#c;
    const pad = outerMarker - markerWidth(group.Type);
    let out = `${this.#marker(group.Type)}${spaces(pad)}${bold}Task Group: ${quote(group.Name)}${reset}`;
    const updates = this.#updates(group.Updates);
    out += updates === "" ? "\n" : ` (${updates}${reset})\n`;
    const level = measure(group.Fields, group.Objects);
    for (const task of group.Tasks ?? []) {
      level.longestMarker = Math.max(level.longestMarker, markerWidth(task.Type));
    }
    const start = pad + 2;
    if (group.Type === "Edited" || this.#verbose) {
      const body = this.#fieldsAndObjects(group.Fields, group.Objects, start, level);
      if (body !== "") out += `${body}\n`;
    }
    for (const task of group.Tasks ?? []) out += `${this.#task(task, start, level.longestMarker)}\n`;
    return out;
  }

  /** "1 create, 2 ignore", by name. */
  #updates(updates: Record<string, number> | null): string {
    const { reset } = this.#c;
    return Object.entries(updates ?? {}).sort(([a], [b]) => a < b ? -1 : 1)
      .map(([name, count]) => `${reset}${this.#updateColour(name)}${count} ${name}`)
      .join(", ");
  }

  #updateColour(name: string): string {
    const c = this.#c;
    const byName: Record<string, string> = {
      create: c.green,
      destroy: c.red,
      migrate: c.blue,
      "in-place update": c.cyan,
      "create/destroy update": c.yellow,
      canary: c.lightYellow,
    };
    return byName[name] ?? "";
  }

  #task(task: TaskDiff, start: number, outerMarker: number): string {
    const { bold, reset } = this.#c;
    const pad = outerMarker - markerWidth(task.Type);
    const annotations = this.#annotations(task.Annotations);
    let out = `${spaces(start)}${this.#marker(task.Type)}${spaces(pad)}${bold}Task: ${quote(task.Name)}` +
      (annotations === "" ? reset : ` ${reset}${annotations}`);
    const showsAll = task.Type === "Added" || task.Type === "Deleted" ? this.#verbose : true;
    if (task.Type === "None" || !showsAll) return out;
    const body = this.#fieldsAndObjects(
      task.Fields,
      task.Objects,
      start + 2,
      measure(task.Fields, task.Objects),
    );
    if (body !== "") out += `\n${body}`;
    return out;
  }

  #annotations(annotations: string[] | null): string {
    if (!annotations || annotations.length === 0) return "";
    const { reset } = this.#c;
    const shown = annotations.map((text) => `${this.#forceColour(text)}${text}${reset}`);
    return `(${shown.join(", ")})`;
  }

  #forceColour(annotation: string): string {
    const c = this.#c;
    const byText: Record<string, string> = {
      "forces create": c.green,
      "forces destroy": c.red,
      "forces in-place update": c.cyan,
      "forces create/destroy update": c.yellow,
    };
    return byText[annotation] ?? "";
  }

  /** Lines joined, without the last line break. */
  #fieldsAndObjects(
    fields: FieldDiff[] | null,
    objects: ObjectDiff[] | null,
    start: number,
    level: Level,
  ): string {
    return [
      ...(fields ?? []).map((field) => this.#field(field, start, level)),
      ...(objects ?? []).map((object) => this.#object(object, start, level.longestMarker)),
    ].join("\n");
  }

  #field(field: FieldDiff, start: number, level: Level): string {
    const pad = spaces(level.longestMarker - markerWidth(field.Type));
    const gap = spaces(level.longestField - field.Name.length);
    const annotations = this.#annotations(field.Annotations);
    return `${spaces(start)}${this.#marker(field.Type)}${pad}${field.Name}: ${gap}${fieldValue(field)}` +
      (annotations === "" ? "" : ` ${annotations}`);
  }

  #object(object: ObjectDiff, start: number, outerMarker: number): string {
    const pad = outerMarker - markerWidth(object.Type);
    const inner = this.#fieldsAndObjects(
      object.Fields,
      object.Objects,
      start + pad + 2,
      measure(object.Fields, object.Objects),
    );
    return `${spaces(start)}${this.#marker(object.Type)}${spaces(pad)}${object.Name} {\n${inner}\n` +
      `${spaces(start + outerMarker)}}`;
  }

  #marker(type: DiffType): string {
    const { green, red, lightYellow, reset } = this.#c;
    switch (type) {
      case "Added":
        return `${green}+${reset} `;
      case "Deleted":
        return `${red}-${reset} `;
      case "Edited":
        return `${lightYellow}+/-${reset} `;
      case "None":
        return "";
    }
  }
}

function fieldValue(field: FieldDiff): string {
  switch (field.Type) {
    case "Added":
      return quote(field.New);
    case "Deleted":
      return quote(field.Old);
    case "Edited":
      return `${quote(field.Old)} => ${quote(field.New)}`;
    case "None":
      return quote(field.New);
  }
}

/** Cells of a marker with its space. */
function markerWidth(type: DiffType): number {
  return type === "None" ? 0 : type === "Edited" ? 4 : 2;
}

function measure(fields: FieldDiff[] | null, objects: ObjectDiff[] | null): Level {
  const all = [...(fields ?? []), ...(objects ?? [])];
  return {
    longestField: Math.max(0, ...(fields ?? []).map((field) => field.Name.length)),
    longestMarker: Math.max(0, ...all.map((entry) => markerWidth(entry.Type))),
  };
}

function spaces(count: number): string {
  return " ".repeat(Math.max(0, count));
}
