// Sharing of texts that a million allocations repeat ("Task started by client", "Tasks are running"): what arrives as
// JSON is a copy each, and the copies would be most of what is kept.
import type { TaskEvent, TaskState } from "../core/types.ts";

/** Texts remembered at most; when it is full it starts over. */
const TEXTS_MAX = 4096;
/** Longer texts are rarely the same twice. */
const TEXT_LENGTH_MAX = 96;

const texts = new Map<string, string>();
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

/** The same task states with their repeated texts shared. */
export function compactTaskStates(
  states: Record<string, TaskState> | null,
): Record<string, TaskState> | null {
  if (states === null) return null;
  const compact: Record<string, TaskState> = {};
  for (const name in states) {
    const state = states[name]!;
    compact[shareText(name)] = { ...state, Events: (state.Events ?? []).map(compactEvent) };
  }
  return compact;
}

function compactEvent(event: TaskEvent): TaskEvent {
  const details = event.Details;
  let empty = true;
  for (const _ in details) {
    empty = false;
    break;
  }
  return {
    ...event,
    Type: shareText(event.Type),
    DisplayMessage: shareText(event.DisplayMessage),
    Message: shareText(event.Message),
    Details: empty ? NO_DETAILS : details,
  };
}
