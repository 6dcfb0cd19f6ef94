/**
 * Which of two proofs comes first, decided from the proofs alone: the same proofs
 * give the same answer on every node. Knows no socket and no clock.
 */
import type { Grant, Proof } from "./grant.js";

/**
 * Negative when `a` counts before `b`, which proves the same subnet. At the first
 * grant that differs, one giver made both: that of the later round, since it had
 * taken the space back; else that of the lower sequence, which was first.
 */
export const compareProofs = (a: Proof, b: Proof): number =>
  compare(a, b, (one, other) => other.round - one.round || one.sequence - other.sequence);

/**
 * Negative when `a` is older than `b`, of whatever subnets. A proof is as old as
 * the youngest of its grants: a sequence says when its giver made it, or later.
 * Rounds say nothing of that: who gives space back and asks again is younger.
 */
export const compareAges = (a: Proof, b: Proof): number =>
  latest(a) - latest(b) || compare(a, b, (one, other) => one.sequence - other.sequence);

const latest = (proof: Proof): number => Math.max(...proof.map(({ sequence }) => sequence));

export const oldestProof = (proofs: readonly Proof[]): Proof =>
  proofs.reduce((old, proof) => (compareAges(old, proof) <= 0 ? old : proof));

/** The signature decides between two grants of one sequence, which only a liar makes. */
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
