/** The order of rows in tables. JSON has the agent's order. */
import { byBase, parsePrefix } from "../address.js";

const NAMES = new Intl.Collator("en", { numeric: true });

/** `h2` comes before `h10`. */
export const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  NAMES.compare(a.name, b.name);

/** @returns the rows in the order of addresses, IPv4 first */
export function inOrderOf<R>(rows: readonly R[], prefix: (row: R) => string): R[] {
  const placed = rows.map((row) => ({ row, prefix: parsePrefix(prefix(row)) }));
  return placed.sort((a, b) => byBase(a.prefix, b.prefix)).map(({ row }) => row);
}
