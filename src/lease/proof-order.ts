/**
 * Two orders of proofs, by precedence and by age. Both depend on the proofs alone, so every node
 * orders the same proofs alike.
 */
import type { Grant, Proof } from "./grant.js";

/**
 * Negative when `a` wins against `b`, which proves the same subnet. At the first grant that
 * differs, one granter made both: the later round wins, because the granter had revoked the
 * earlier one; else the lower sequence, which was first.
 */
export const compareProofs = (a: Proof, b: Proof): number =>
  compare(a, b, (one, other) => other.round - one.round || one.sequence - other.sequence);

/**
 * Negative when `a` is older than `b`, whatever their subnets. A proof is as old as the youngest
 * of its grants: a sequence is the time when its granter made it, or later. Rounds do not count, so
 * a node that returns its space and asks again becomes younger.
 */
export const compareAges = (a: Proof, b: Proof): number =>
  latest(a) - latest(b) || compare(a, b, (one, other) => one.sequence - other.sequence);

const latest = (proof: Proof): number => Math.max(...proof.map(({ sequence }) => sequence));

export const oldestProof = (proofs: readonly Proof[]): Proof =>
  proofs.reduce((old, proof) => (compareAges(old, proof) <= 0 ? old : proof));

/** The signature decides between two grants of one sequence, which only a malicious granter makes. */
function compare(a: Proof, b: Proof, by: (one: Grant, other: Grant) => number): number {
  for (const [i, grant] of a.entries()) {
    const other = b[i];
    if (other === undefined) return 1;
    const difference = by(grant, other);
    if (difference !== 0) return difference;
    if (grant.signature !== other.signature) return grant.signature < other.signature ? -1 : 1;
  }
  return a.length - b.length;
}
