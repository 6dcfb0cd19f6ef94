/**
 * A grant moves space from its owner to another node. A proof is the chain of
 * grants from the founder to a holder; it needs nothing else to be checked.
 */
import { z } from "zod";
import { type Prefix, parsePrefix } from "../address.js";
import { canonicalJson } from "../identity/canonical-json.js";
import * as field from "../identity/fields.js";
import type { Identity } from "../identity/identity.js";
import { type Cluster, inside } from "./genesis.js";

/** Grants in a proof; more than the halvings between the largest network and the smallest lease in use. */
export const MAX_CHAIN = 32;
export const MAX_SEQUENCE = 2 ** 31 - 1;
/** The first second of sequences is the beginning of 2020, as seconds since the epoch. */
const FIRST_SECOND = 1_577_836_800;
/** The last sequence taken from a clock, in 2087: a clock that is far ahead leaves 2^24 sequences for grants. */
const LAST_TIMED = MAX_SEQUENCE - 2 ** 24;
/** Revoked grants that a record names: the last ones. */
export const MAX_REVOKED_IN_RECORD = 64;
/** Proofs in one answer to a request. */
export const MAX_PROOFS_IN_ANSWER = 8;

export const grantSchema = z.strictObject({
  prefix: field.prefix,
  /** Public keys of the granter and the receiver. */
  from: field.publicKey,
  to: field.publicKey,
  /** Higher with each grant of its granter, and no lower than `sequenceAt` of the granter's time of day. */
  sequence: z.int().min(1).max(MAX_SEQUENCE),
  /** How often the granter had revoked grants of this space before. */
  round: z.int().min(0).max(MAX_SEQUENCE),
  signature: field.signature,
});

export const proofSchema = z.array(grantSchema).min(1).max(MAX_CHAIN);

export type Grant = z.infer<typeof grantSchema>;
export type Proof = readonly Grant[];

export function signGrant(
  granter: Identity,
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
  const grant = { prefix, from: granter.publicKey, to, sequence, round };
  return { ...grant, signature: granter.sign(signedText(cluster, grant)) };
}

/**
 * The sequence of a grant made at `now` (milliseconds since the epoch), unless its granter has used
 * it already. Seconds since 2020, so that grants of several granters can be ordered by age.
 */
export const sequenceAt = (now: number): number =>
  Math.min(Math.max(Math.floor(now / 1000) - FIRST_SECOND, 1), LAST_TIMED);

/** The flaw in `holder`'s proof of a lease, or undefined. It checks the five points of docs/leases.md. */
export function flawOfLease(
  cluster: Cluster,
  holder: string,
  proof: Proof,
  signed?: (grant: Grant) => boolean,
): string | undefined {
  const last = proof.at(-1);
  const why = flawOfGrant(cluster, holder, proof, signed);
  return why ?? (last && !isLease(cluster, last) ? ENDS : undefined);
}

/**
 * The flaw in `holder`'s proof of a lease or of space, or undefined. `signed` checks a grant's
 * signature; a caller with a cache passes its own.
 */
export function flawOfGrant(
  cluster: Cluster,
  holder: string,
  proof: Proof,
  signed = (grant: Grant): boolean => isSigned(cluster, grant),
): string | undefined {
  const { genesis } = cluster;
  const last = proof.at(-1);
  const network = genesis.network.find(({ prefix }) => last && inside(prefix, last.prefix));
  if (!last || !network) return "the subnet is not in the cluster's network";
  if (last.to !== holder) return "the subnet was granted to another node";

  if (!isLease(cluster, last) && proof.length === MAX_CHAIN) return NO_ROOM;
  let owner = genesis.founder;
  let space = network.prefix;
  for (const grant of proof) {
    if (grant.from !== owner) return "the granter did not own the space";
    if (!inside(space, grant.prefix)) return "the granted space exceeds what the granter owned";
    const { length } = parsePrefix(grant.prefix);
    if (length > network.leaseLength) return "the granted space is smaller than a lease";
    if (length === network.leaseLength && grant !== last) return ENDS;
    if (!signed(grant)) return "a signature is wrong";
    owner = grant.to;
    space = grant.prefix;
  }
  return undefined;
}

/** A chain of this length has no room for the receiver's lease. */
const NO_ROOM = "the chain is too long for a lease to follow";
const ENDS = "a lease ends the chain, and nothing else does";

export const isSigned = (cluster: Cluster, grant: Grant): boolean =>
  cluster.signatures.verify(grant.from, signedText(cluster, grant), grant.signature);

function isLease({ genesis }: Cluster, { prefix }: Grant): boolean {
  const network = genesis.network.find((whole) => inside(whole.prefix, prefix));
  return parsePrefix(prefix).length === network?.leaseLength;
}

/** The first 8 bytes of a grant's signature, in hex: records name a revoked grant by them. */
export const grantHash = (signature: string): string => signature.slice(0, 16);

const prefixes = new WeakMap<Grant, Prefix>();

/** The granted prefix, parsed once per grant, since all grants of a cluster are compared often. */
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
