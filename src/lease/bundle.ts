/**
 * A bundle holds the proofs of one node in few bytes. They share their first grants, so each grant
 * stands once, and without its granter, which is the receiver of the grant before it.
 */
import { z } from "zod";
import { type Grant, grantSchema, MAX_CHAIN, type Proof } from "./grant.js";

export const MAX_PROOFS = 16;
/** Grants in a bundle, of 300 bytes each: a record has room for so many. */
export const MAX_BUNDLED = 44;

export const bundleSchema = z.strictObject({
  grants: z.array(grantSchema.omit({ from: true })).max(MAX_BUNDLED),
  /** Each proof as indices into `grants`, beginning with the founder's grant. */
  proofs: z
    .array(
      z
        .array(
          z
            .int()
            .min(0)
            .max(MAX_BUNDLED - 1),
        )
        .min(1)
        .max(MAX_CHAIN),
    )
    .min(1)
    .max(MAX_PROOFS),
});

export type Bundle = z.infer<typeof bundleSchema>;

export function bundle(proofs: readonly Proof[]): Bundle {
  const places = new Map<string, number>();
  const grants: Bundle["grants"] = [];
  const place = ({ from: _, ...grant }: Grant): number => {
    const known = places.get(grant.signature);
    if (known !== undefined) return known;
    places.set(grant.signature, grants.length);
    return grants.push(grant) - 1;
  };
  return { proofs: proofs.map((proof) => proof.map(place)), grants };
}

/** The first of these proofs, as many as fit into a bundle. */
export function fitting(proofs: readonly Proof[]): Proof[] {
  const grants = new Set<string>();
  const room = proofs.findIndex((proof) => {
    for (const { signature } of proof) grants.add(signature);
    return grants.size > MAX_BUNDLED;
  });
  return proofs.slice(0, room < 0 ? MAX_PROOFS : Math.min(room, MAX_PROOFS));
}

/** The proofs of a bundle; undefined when an index points at no grant. */
export function unbundle(founder: string, { grants, proofs }: Bundle): Proof[] | undefined {
  const read = (places: readonly number[]): Proof =>
    places.flatMap((place, i) => {
      const grant = grants[place];
      const from = i === 0 ? founder : grants[places[i - 1]!]?.to;
      return grant && from ? [{ ...grant, from }] : [];
    });
  const all = proofs.map(read);
  return all.every(({ length }, i) => length === proofs[i]!.length) ? all : undefined;
}
