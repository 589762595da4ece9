// Nomad's column output: cells padded to the widest of their column, two spaces between columns, the last column not
// padded, never cut to the terminal. Key/value lists are tables with " = " between. Widths count code points, as the
// reference's do.

/** Rows of cells → aligned lines. An empty cell prints as `<none>`: tables always name what is absent. */
export function formatTable(rows: readonly (readonly unknown[])[]): string {
  return align(rows.map((row) => row.map((cell) => String(cell ?? "") || "<none>")), "  ");
}

/** Like formatTable, with empty cells left empty. */
export function formatBlankTable(rows: readonly (readonly unknown[])[]): string {
  return align(rows.map((row) => row.map((cell) => String(cell ?? ""))), "  ");
}

/** `key = value` lines with the equals signs below each other; an empty value prints as `<none>`. */
export function formatKeyValues(pairs: readonly (readonly [string, unknown])[]): string {
  return align(pairs.map(([key, value]) => [key, String(value ?? "") || "<none>"]), " = ");
}

function align(rows: string[][], glue: string): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, [...cell].length));
  }
  return rows.map((row) =>
    row.map((cell, i) => i === row.length - 1 ? cell : cell + " ".repeat(widths[i]! - [...cell].length)).join(
      glue,
    )
  ).join("\n");
}
