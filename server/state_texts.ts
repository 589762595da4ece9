// Making task states small: a million allocations keep theirs, and what arrives as JSON repeats the same texts
// ("Task started by client") and twenty empty fields for every event. Texts are shared, and an event keeps only the
// fields that say something; the others are read from its prototype and come back in its JSON.
import { BLANK_EVENT, type TaskEvent, type TaskState } from "../core/types.ts";

/** Texts remembered at most; when it is full it starts over. */
const TEXTS_MAX = 4096;
/** Longer texts are rarely the same twice. */
const TEXT_LENGTH_MAX = 96;

const texts = new Map<string, string>();
const NO_EVENTS: TaskEvent[] = [];
Object.freeze(NO_EVENTS);
const NO_DETAILS: Record<string, string> = Object.freeze({});

/** The one copy of a text. */
export function shareText(text: string): string {
  if (text.length > TEXT_LENGTH_MAX) return text;
  const known = texts.get(text);
  if (known !== undefined) return known;
  if (texts.size >= TEXTS_MAX) texts.clear();
  texts.set(text, text);
  return text;
}

/** What most events leave blank. */
const RARE_KEYS = (Object.keys(BLANK_EVENT) as (keyof TaskEvent)[]).filter((key) =>
  !["Type", "Time", "DisplayMessage", "Details"].includes(key)
);

/** A TaskEvent of which the blank fields stand in the prototype. */
class StoredEvent {
  Type: string;
  Time: number;
  DisplayMessage: string;
  Details: Record<string, string>;

  constructor(event: Partial<TaskEvent>) {
    this.Type = shareText(event.Type ?? "");
    this.Time = event.Time ?? 0;
    this.DisplayMessage = shareText(event.DisplayMessage ?? "");
    this.Details = isEmpty(event.Details) ? NO_DETAILS : event.Details!;
    for (let i = 0; i < RARE_KEYS.length; i++) {
      const key = RARE_KEYS[i]!;
      const value = event[key];
      if (value === undefined || value === BLANK_EVENT[key]) continue;
      (this as Record<string, unknown>)[key] = typeof value === "string" ? shareText(value) : value;
    }
  }

  toJSON(): TaskEvent {
    return { ...BLANK_EVENT, ...this };
  }
}
Object.assign(StoredEvent.prototype, BLANK_EVENT);

function isEmpty(details: Record<string, string> | null | undefined): boolean {
  for (const _ in details) return false;
  return true;
}

/** The same task states, small. Events may lack fields that say nothing. */
export function compactTaskStates(
  states: Record<string, TaskState> | null,
): Record<string, TaskState> | null {
  if (states === null) return null;
  const compact: Record<string, TaskState> = {};
  for (const name in states) {
    const state = states[name]!;
    const events = state.Events ?? NO_EVENTS;
    compact[shareText(name)] = { ...state, Events: events.length > 0 ? events.map(storeEvent) : NO_EVENTS };
  }
  return compact;
}

function storeEvent(event: TaskEvent): TaskEvent {
  if (event instanceof StoredEvent) return event;
  return new StoredEvent(event) as unknown as TaskEvent;
}

/** For a snapshot: plain objects without the fields that say nothing. */
export function sparseTaskStates(states: Record<string, TaskState>): Record<string, unknown> {
  const sparse: Record<string, unknown> = {};
  for (const name in states) {
    const state = states[name]!;
    sparse[name] = {
      ...state,
      Events: state.Events.map((event) => event instanceof StoredEvent ? { ...event } : event),
    };
  }
  return sparse;
}
