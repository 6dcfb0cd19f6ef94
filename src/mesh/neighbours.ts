/**
 * With whom a node holds sessions. Each node dials the next one on the ring of
 * ids, which makes one circle of all, and a few that it alone draws, which makes
 * a random graph: a handful for each node joins them all, and stays joined when
 * many fail. The choice is stable: a new member displaces few.
 */

/** Sessions a node opens by itself; as many are opened to it. */
export const FEWEST = 6;

/** Together with those that others open, about log2 n and a few. */
export const fanout = (members: number): number =>
  Math.max(FEWEST, Math.ceil(Math.log2(members + 1) / 2) + 2);

/** Everyone, best first: the next on the ring, then an order that `salt` and nobody else knows. */
export function preference(own: string, salt: number, ids: readonly string[]): string[] {
  const others = ids.filter((id) => id !== own).sort();
  const next = others.find((id) => id > own) ?? others[0];
  const rank = new Map(others.map((id) => [id, id === next ? -1 : mixed(id, salt)]));
  return others.sort((a, b) => rank.get(a)! - rank.get(b)!);
}

/** The finalizer of MurmurHash3 over the id's first 32 bits. */
function mixed(id: string, salt: number): number {
  let h = Number.parseInt(id.slice(0, 8), 16) ^ salt;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
