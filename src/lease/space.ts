/**
 * Arithmetic on prefixes, without owners or signatures: which blocks of a space are free, and which
 * of them to grant.
 */
import { bits, covers, overlaps, type Prefix } from "../address.js";

/** The number of addresses in a prefix. */
export const sizeOf = ({ family, length }: Pick<Prefix, "family" | "length">): bigint =>
  1n << BigInt(bits(family) - length);

/**
 * The largest blocks of `space` that overlap no taken prefix, in the order of their addresses; none
 * is smaller than a lease. It splits only blocks that overlap a taken prefix, so that an IPv6 prefix
 * costs no more than an IPv4 one.
 */
export function freeBlocks(space: Prefix, taken: readonly Prefix[], leaseLength: number): Prefix[] {
  const here = taken.filter((prefix) => overlaps(prefix, space));
  if (here.length === 0) return [space];
  if (space.length === leaseLength || here.some((prefix) => covers(prefix, space))) return [];
  return halves(space).flatMap((half) => freeBlocks(half, here, leaseLength));
}

/**
 * The block to grant to a node that asks: the largest free block, the highest of several, or its
 * upper half if the block is more than half of all free space. The last free lease is granted too.
 */
export function blockToGrant(blocks: readonly Prefix[], leaseLength: number): Prefix | undefined {
  const largest = blocks.reduce<Prefix | undefined>(
    (best, block) => (best && best.length < block.length ? best : block),
    undefined,
  );
  if (!largest) return undefined;
  const all = blocks.reduce((sum, block) => sum + sizeOf(block), 0n);
  const lease = sizeOf({ ...largest, length: leaseLength });
  return 2n * sizeOf(largest) <= all + lease ? largest : halves(largest)[1];
}

/** The `count` lowest free leases, or as many as there are; the one at `last` only if there is no other. */
export function firstLeases(
  blocks: readonly Prefix[],
  leaseLength: number,
  { last, count }: { readonly last: bigint; readonly count: number },
): Prefix[] {
  const lowest = blocks.flatMap((block) => leasesOf(block, leaseLength, count + 1));
  const atLast = lowest.filter(({ base }) => base === last);
  const others = lowest.filter(({ base }) => base !== last);
  return [...others, ...atLast].slice(0, count);
}

/** The lowest leases of a block, at most `most`. */
function leasesOf(block: Prefix, length: number, most: number): Prefix[] {
  const lease = { ...block, length };
  const count = sizeOf(block) / sizeOf(lease);
  return Array.from({ length: count < most ? Number(count) : most }, (_, n) => ({
    ...lease,
    base: block.base + BigInt(n) * sizeOf(lease),
  }));
}

function halves(space: Prefix): [Prefix, Prefix] {
  const low = { ...space, length: space.length + 1 };
  return [low, { ...low, base: low.base + sizeOf(low) }];
}
