// Tests texts against regular expressions that users send, in time linear to the text: the language is RE2's, as in the
// job language (jobspec/regex.ts). Patterns that cannot backtrack much go to the runtime's own engine, which is faster.
import { compileRegex, matchesWhole } from "../jobspec/regex.ts";

/** No groups, classes, alternatives or escapes, and at most one repetition: nothing to backtrack into. */
const HARMLESS = /^\^?[\w \-:/,@=]*(?:\.[*+])?[\w \-:/,@=]*\$?$/;

/** Whether a text matches somewhere. Throws Error with the cause for a pattern that cannot be read. */
export function linearRegexp(pattern: string): (text: string) => boolean {
  if (HARMLESS.test(pattern)) {
    const native = new RegExp(pattern, "u");
    return (text) => native.test(text);
  }
  // Alone first, so that messages speak of the pattern and not of what stands around it.
  compileRegex(pattern);
  const anywhere = compileRegex(`(?s:.*?)(?:${pattern})(?s:.*)`);
  return (text) => matchesWhole(anywhere, text);
}
