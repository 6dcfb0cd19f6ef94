/**
 * A grant moves space from its owner to another node. A proof is the chain of
 * grants from the founder to a holder; it needs nothing else to be checked.
 */
import { z } from "zod";
import { type Prefix, parsePrefix } from "../address.js";
import { canonicalJson } from "../identity/canonical-json.js";
import * as field from "../identity/fields.js";
import { type Identity, verifySignature } from "../identity/identity.js";
import { type Cluster, inside } from "./genesis.js";

/** More than the halvings between the largest network and the smallest lease in use. */
export const MAX_CHAIN = 32;
export const MAX_SEQUENCE = 2 ** 31 - 1;
/** The seconds of sequences count from the beginning of 2020, to 2087: a clock that is far ahead leaves room for grants. */
const FIRST_SECOND = 1_577_836_800;
const LAST_TIMED = MAX_SEQUENCE - 2 ** 24;
/** Grants taken back that a record names: the last ones. */
export const MAX_REVOKED_IN_RECORD = 64;
/** Of proofs in one answer to a request. */
export const MAX_PROOFS_IN_ANSWER = 8;

export const grantSchema = z.strictObject({
  prefix: field.prefix,
  /** Public keys of the giver and the receiver. */
  from: field.publicKey,
  to: field.publicKey,
  /** Higher with each grant of its giver, and no lower than `sequenceAt` of the giver's time of day. */
  sequence: z.int().min(1).max(MAX_SEQUENCE),
  /** How often the giver has taken this space back before. */
  round: z.int().min(0).max(MAX_SEQUENCE),
  signature: field.signature,
});

export const proofSchema = z.array(grantSchema).min(1).max(MAX_CHAIN);

export type Grant = z.infer<typeof grantSchema>;
export type Proof = readonly Grant[];

export function signGrant(
  giver: Identity,
  cluster: Cluster,
  {
    prefix,
    to,
    sequence,
    round = 0,
  }: Pick<Grant, "prefix" | "to" | "sequence"> & {
    readonly round?: number;
  },
): Grant {
  const grant = { prefix, from: giver.publicKey, to, sequence, round };
  return { ...grant, signature: giver.sign(signedText(cluster, grant)) };
}

/** The sequence of a grant that is made now, unless its giver has used it: so grants of several givers show which is older. */
export const sequenceAt = (now: number): number =>
  Math.min(Math.max(Math.floor(now / 1000) - FIRST_SECOND, 1), LAST_TIMED);

/** What is wrong with `holder`'s proof of a lease, or nothing. The five points are those of docs/leases.md. */
export function flawOfLease(
  cluster: Cluster,
  holder: string,
  proof: Proof,
  signed?: (grant: Grant) => boolean,
): string | undefined {
  const last = proof.at(-1);
  const why = flawOfGift(cluster, holder, proof, signed);
  return why ?? (last && !isLease(cluster, last) ? ENDS : undefined);
}

/**
 * What is wrong with `holder`'s proof of what it was given, be it a lease or space, or nothing.
 * `signed` says whether a grant's signature is right; who remembers need not reckon again.
 */
export function flawOfGift(
  cluster: Cluster,
  holder: string,
  proof: Proof,
  signed = (grant: Grant): boolean => isSigned(cluster, grant),
): string | undefined {
  const { genesis } = cluster;
  const last = proof.at(-1);
  const network = genesis.network.find(({ prefix }) => last && inside(prefix, last.prefix));
  if (!last || !network) return "the subnet is not in the cluster's network";
  if (last.to !== holder) return "the subnet was granted to somebody else";

  if (!isLease(cluster, last) && proof.length === MAX_CHAIN) return NO_ROOM;
  let owner = genesis.founder;
  let space = network.prefix;
  for (const grant of proof) {
    if (grant.from !== owner) return "the giver did not own what it gave";
    if (!inside(space, grant.prefix)) return "more was given than was owned";
    const { length } = parsePrefix(grant.prefix);
    if (length > network.leaseLength) return "less than a lease was given";
    if (length === network.leaseLength && grant !== last) return ENDS;
    if (!signed(grant)) return "a signature is wrong";
    owner = grant.to;
    space = grant.prefix;
  }
  return undefined;
}

/** The receiver could show no lease from it. */
const NO_ROOM = "the chain is too long for a lease to follow";
const ENDS = "a lease ends the chain, and nothing else does";

export const isSigned = (cluster: Cluster, grant: Grant): boolean =>
  verifySignature(grant.from, signedText(cluster, grant), grant.signature);

function isLease({ genesis }: Cluster, { prefix }: Grant): boolean {
  const network = genesis.network.find((whole) => inside(whole.prefix, prefix));
  return parsePrefix(prefix).length === network?.leaseLength;
}

/** The part of a grant's signature by which records name it. */
export const grantHash = (signature: string): string => signature.slice(0, 16);

const prefixes = new WeakMap<Grant, Prefix>();

/** What was granted. Read once for each grant, since all grants of a cluster are looked at again and again. */
export function prefixOf(grant: Grant): Prefix {
  const known = prefixes.get(grant);
  if (known) return known;
  const prefix = parsePrefix(grant.prefix);
  prefixes.set(grant, prefix);
  return prefix;
}

export const subnetOf = (proof: Proof): string => proof.at(-1)!.prefix;

function signedText({ id }: Pick<Cluster, "id">, grant: Omit<Grant, "signature">): string {
  const { prefix, from, to, sequence, round } = grant;
  return `weft grant 1\n${canonicalJson({ cluster: id, prefix, from, to, sequence, round })}`;
}
