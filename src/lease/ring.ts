/**
 * Who holds which subnet, decided from the proofs alone: the same proofs give
 * the same answer on every node, in any order. Knows no socket and no clock.
 */
import { type Proof, subnetOf } from "./grant.js";

export interface Claim {
  /** Public key of the node that shows the proof. */
  readonly holder: string;
  readonly proof: Proof;
}

export interface Overlap {
  readonly subnet: string;
  readonly kept: string;
  readonly refused: string;
}

export interface Ring {
  /** Subnet to its one holder's public key. */
  readonly holders: ReadonlyMap<string, string>;
  /** Subnets that more than one node can prove: some owner signed twice. */
  readonly overlaps: readonly Overlap[];
}

/** All claims must have passed `flaw`. The leases of a network have one length, so they overlap only if they are equal. */
export function settle(claims: Iterable<Claim>): Ring {
  const holders = new Map<string, string>();
  const overlaps: Overlap[] = [];
  for (const { holder, proof } of [...claims].sort((a, b) => order(a.proof, b.proof))) {
    const subnet = subnetOf(proof);
    const kept = holders.get(subnet);
    if (kept === undefined) holders.set(subnet, holder);
    else if (kept !== holder) overlaps.push({ subnet, kept, refused: holder });
  }
  return { holders, overlaps };
}

/**
 * Negative when `a` comes first. At the first grant that differs, one giver
 * made both: that of the later round, since it had taken the space back; else
 * that of the lower sequence, which was first. The signature decides between
 * two grants of one sequence, which only a liar makes.
 */
export function order(a: Proof, b: Proof): number {
  for (const [i, grant] of a.entries()) {
    const other = b[i];
    if (other === undefined) return 1;
    if (grant.round !== other.round) return other.round - grant.round;
    if (grant.sequence !== other.sequence) return grant.sequence - other.sequence;
    if (grant.signature !== other.signature) return grant.signature < other.signature ? -1 : 1;
  }
  return a.length - b.length;
}
