/** Rows as an aligned table: numbers to the right, everything else to the left. */

export type Cell = string | number | null | readonly string[];

/** @param heads the names of the columns, in order */
export function table(heads: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cells = rows.map((row) => row.map(plain));
  const numeric = heads.map((_, column) => rows.some((row) => typeof row[column] === "number"));
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...cells.map((row) => row[column]!.length)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (numeric[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd();
  return `${[heads, ...cells].map(line).join("\n")}\n`;
}

/** Names and values, one pair a line. */
export function pairs(rows: readonly (readonly [name: string, value: Cell])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${plain(value)}\n`).join("");
}

/** Peers supply parts of the text: it must not contain control characters of the terminal. */
function plain(cell: Cell): string {
  const text = Array.isArray(cell) ? cell.join(", ") : cell === null ? "-" : String(cell);
  return text.replace(/[^\x20-\x7e]/g, "?");
}

/** A time without its milliseconds. */
export const seconds = (time: string | null | undefined): string | null =>
  time?.replace(/\.\d+Z$/, "Z") ?? null;
