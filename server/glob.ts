// Patterns with `*` for any run of characters, as datacenters use them ("dc*", "*-east", "*").
export function matchesGlob(pattern: string, text: string): boolean {
  if (pattern === "*" || pattern === text) return true;
  const parts = pattern.split("*");
  if (parts.length === 1) return false;
  const first = parts[0]!;
  const last = parts.at(-1)!;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) {
    return false;
  }
  let at = first.length;
  const end = text.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
