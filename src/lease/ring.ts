/**
 * Which of two proofs of one subnet counts, decided from the proofs alone: the
 * same proofs give the same answer on every node. Knows no socket and no clock.
 */
import type { Proof } from "./grant.js";

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
