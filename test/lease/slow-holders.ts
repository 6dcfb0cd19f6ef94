/** The holder of each subnet, computed from all claims: the slow twin of `Claims`. */
import { type Proof, subnetOf } from "../../src/lease/grant.js";
import { compareProofs } from "../../src/lease/proof-order.js";

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

export interface SlowHolders {
  /** By subnet, the public key of its holder. */
  readonly holders: ReadonlyMap<string, string>;
  /** Subnets that several nodes can prove, because an owner signed two grants. */
  readonly overlaps: readonly Overlap[];
}

/** All claims must be valid proofs. The leases of a network have one length, so they overlap only if equal. */
export function slowHolders(claims: Iterable<Claim>): SlowHolders {
  const holders = new Map<string, string>();
  const overlaps: Overlap[] = [];
  for (const { holder, proof } of [...claims].sort((a, b) => compareProofs(a.proof, b.proof))) {
    const subnet = subnetOf(proof);
    const kept = holders.get(subnet);
    if (kept === undefined) holders.set(subnet, holder);
    else if (kept !== holder) overlaps.push({ subnet, kept, refused: holder });
  }
  return { holders, overlaps };
}

/** A text by which proofs sort by age, the oldest first. */
export const ageOf = (proof: Proof): string => {
  const sequences = proof.map(({ sequence }) => String(sequence).padStart(10, "0"));
  const grants = proof.map(({ signature }, i) => `${sequences[i]} ${signature}`);
  return [[...sequences].sort().at(-1), ...grants].join("\n");
};
