/**
 * What is free of a space, and which part of it to give: arithmetic on
 * prefixes that knows neither owners nor signatures.
 */
import { bits, covers, overlaps, type Prefix } from "../address.js";

/** How many addresses a prefix holds. */
export const sizeOf = ({ family, length }: Pick<Prefix, "family" | "length">): bigint =>
  1n << BigInt(bits(family) - length);

/**
 * The largest blocks of `space` that overlap nothing of what is taken, in the
 * order of their addresses; none is smaller than a lease. Looks only where
 * something is taken, so that an IPv6 prefix costs no more than an IPv4 one.
 */
export function freeBlocks(space: Prefix, taken: readonly Prefix[], leaseLength: number): Prefix[] {
  const here = taken.filter((prefix) => overlaps(prefix, space));
  if (here.length === 0) return [space];
  if (space.length === leaseLength || here.some((prefix) => covers(prefix, space))) return [];
  return halves(space).flatMap((half) => freeBlocks(half, here, leaseLength));
}

/**
 * What to give to who asks: the largest free block, the highest of several,
 * or its upper half if that is more than half of all that is free. The last
 * free lease is given too.
 */
export function blockToGive(blocks: readonly Prefix[], leaseLength: number): Prefix | undefined {
  const largest = blocks.reduce<Prefix | undefined>(
    (best, block) => (best && best.length < block.length ? best : block),
    undefined,
  );
  if (!largest) return undefined;
  const all = blocks.reduce((sum, block) => sum + sizeOf(block), 0n);
  const lease = sizeOf({ ...largest, length: leaseLength });
  return 2n * sizeOf(largest) <= all + lease ? largest : halves(largest)[1];
}

/** The lowest free lease; that at `last` only if there is no other. */
export function firstLease(
  blocks: readonly Prefix[],
  leaseLength: number,
  last: bigint,
): Prefix | undefined {
  const leases = blocks.slice(0, 2).flatMap((block) => {
    const first = { ...block, length: leaseLength };
    const second = { ...first, base: block.base + sizeOf(first) };
    return covers(block, second) ? [first, second] : [first];
  });
  return leases.find(({ base }) => base !== last) ?? leases[0];
}

function halves(space: Prefix): [Prefix, Prefix] {
  const low = { ...space, length: space.length + 1 };
  return [low, { ...low, base: low.base + sizeOf(low) }];
}
