/**
 * Longest-prefix match for IPv4: a trie of three steps, 16, 8 and 8 bits, whose
 * shorter prefixes were painted over the longer ones' gaps when it was built
 * (src/compile/routes.ts), so that a search never turns back.
 *
 *   root: 65,536 entries      node: 256 entries
 *   +-----------------+       +-----------------+
 *   | peer, or ->node |------>| peer, or ->node |------> ...
 *   +-----------------+       +-----------------+
 *
 * An entry is the index of a peer, or IS_NODE and the number of the next node.
 * Addresses are compared as they stand in the packet: the low half of a word as
 * read here holds the first two octets, and the root is laid out to match.
 */
import { ROUTE_NODE_SIZE, ROUTE_NODES_AT, ROUTES_AT, SEARCHED } from "../memory";

const IS_NODE: u32 = 0x80000000;

/** The peer whose prefix matches longest; NO_PEER when none does. `address` in network order. */
export function lookup(address: u32): u32 {
  const tables = load<usize>(SEARCHED);
  let entry = load<u32>(tables + ROUTES_AT + ((address & 0xffff) << 2));
  if (entry & IS_NODE) entry = load<u32>(node(tables, entry) + (((address >> 16) & 0xff) << 2));
  if (entry & IS_NODE) entry = load<u32>(node(tables, entry) + ((address >> 24) << 2));
  return entry;
}

function node(tables: usize, entry: u32): usize {
  return tables + ROUTE_NODES_AT + (entry & ~IS_NODE) * ROUTE_NODE_SIZE;
}
