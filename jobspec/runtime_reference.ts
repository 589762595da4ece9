// References that only a node can resolve (`${attr.kernel.name}`, `${NOMAD_PORT_http}`, `${env["X"]}`): while a job
// is compiled they are text, in the spelling of the source. Knows only how that text is cut out of the source.
// The reference keeps spaces beside `${` and `}`, and repeats closing braces that follow directly; both are visible
// in what it sends to servers, so job hashes and diffs depend on them and they are followed here.

const OPENING = /\$\{ *$/;
const CLOSING = /^(?:[ \t]*|~)\}(?: *\})*/;

/** The text that stands for the reference at `start`–`end` of `source`. */
export function runtimeReference(source: string, start: number, end: number): string {
  const reference = source.slice(start, end);
  const opening = OPENING.exec(source.slice(Math.max(0, start - 256), start));
  if (!opening) return `\${${reference}}`;
  const closing = CLOSING.exec(source.slice(end, end + 256));
  return opening[0] + reference + (closing ? repeatedBraces(closing[0]) : "}");
}

/** "}" → "}", " }}" → "  }}": each longer run of closing braces is put after the shorter ones. */
function repeatedBraces(run: string): string {
  let text = "";
  for (let at = run.indexOf("}"); at < run.length - 1; at = run.indexOf("}", at + 1)) {
    text += run.slice(0, at);
  }
  return text + run;
}
