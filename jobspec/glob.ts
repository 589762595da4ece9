// Glob patterns of fileset(): `*` and `?` within a path segment, `**` over segments, `[…]` classes, `{a,b}` choices.
// Patterns become regular expressions of our own engine, so a hostile one cannot hang.
import { FunctionError } from "./function_types.ts";
import { compileRegex, matchesWhole } from "./regex.ts";

/** A test of relative paths with "/" between segments. Throws FunctionError for a malformed pattern. */
export function globMatcher(pattern: string): (path: string) => boolean {
  const regex = compileRegex(translate(pattern));
  return (path) => matchesWhole(regex, path);
}

function translate(pattern: string): string {
  let out = "";
  let braces = 0;
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i]!;
    if (pattern.startsWith("**/", i) && (i === 0 || pattern[i - 1] === "/")) {
      out += "(?:[^/]+/)*";
      i += 2;
    } else if (pattern.startsWith("**", i)) {
      out += "(?s:.)*";
      i++;
    } else if (char === "*") out += "[^/]*";
    else if (char === "?") out += "[^/]";
    else if (char === "{") {
      braces++;
      out += "(?:";
    } else if (char === "}" && braces > 0) {
      braces--;
      out += ")";
    } else if (char === "," && braces > 0) out += "|";
    else if (char === "[") {
      const end = pattern.indexOf("]", i + 2);
      if (end < 0) {
        throw new FunctionError(`failed to glob pattern ${JSON.stringify(pattern)}: a [ is not closed`);
      }
      out += `[${pattern.slice(i + 1, end).replace(/^!/, "^")}]`;
      i = end;
    } else if (char === "\\" && i + 1 < pattern.length) out += escapeChar(pattern[++i]!);
    else out += escapeChar(char);
  }
  if (braces > 0) {
    throw new FunctionError(`failed to glob pattern ${JSON.stringify(pattern)}: a { is not closed`);
  }
  return out;
}

function escapeChar(char: string): string {
  return /[\\.+*?()|[\]{}^$]/.test(char) ? `\\${char}` : char;
}
