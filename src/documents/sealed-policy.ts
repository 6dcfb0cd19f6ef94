/**
 * The cluster's policy as it travels: a text, and a seal that says whose it is and
 * which of two counts. The seal alone is enough to know whether the text is worth having.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { WeftError } from "../error.js";
import { addChecksum, stripChecksum } from "../files/checksummed.js";
import * as field from "../identity/fields.js";
import { type Identity, nodeId, verifySignature } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import { flawOfLease, type Proof, proofSchema } from "../lease/grant.js";

/** Of the text, in UTF-8. */
export const MAX_POLICY_BYTES = 4 * 1024 * 1024;
/** Of the text in one message, where base64 makes four of three. */
export const PART_BYTES = 45_000;
export const MAX_PART_TEXT = (PART_BYTES / 3) * 4;
export const MAX_PARTS = Math.ceil(MAX_POLICY_BYTES / PART_BYTES);
export const MAX_POLICY_VERSION = 2 ** 31 - 1;
/** Seals that are not to be believed, though they are right: their texts are not asked for again. */
export const MAX_REFUSED = 64;

export const sealSchema = z.strictObject({
  /** Public key of the node on which it was applied. */
  author: field.publicKey,
  /** Of a lease of the author: any member that has one may apply a policy. */
  proof: proofSchema,
  version: z.int().min(1).max(MAX_POLICY_VERSION),
  size: z.int().min(1).max(MAX_POLICY_BYTES),
  /** SHA-256 of the text. */
  digest: field.digest,
  signature: field.signature,
});

export type Seal = z.infer<typeof sealSchema>;

export interface PolicyText {
  readonly seal: Seal;
  readonly text: string;
  /** Signatures of the seals that this node refuses. */
  readonly refused?: readonly string[];
}

export function sealPolicy(
  author: Identity,
  cluster: Cluster,
  { proof, version, text }: { proof: Proof; version: number; text: string },
): Seal {
  const size = Buffer.byteLength(text);
  const seal = { author: author.publicKey, version, size, digest: digestOf(text) };
  return { ...seal, proof: [...proof], signature: author.sign(signedText(cluster, seal)) };
}

/** What is wrong with a seal, or nothing. */
export function flawOfSeal(cluster: Cluster, seal: Seal): WeftError | undefined {
  if (!verifySignature(seal.author, signedText(cluster, seal), seal.signature)) {
    return forged(seal, "its signature is wrong");
  }
  const why = flawOfLease(cluster, seal.author, seal.proof);
  return why === undefined ? undefined : forged(seal, `of its author's lease, ${why}`);
}

/** Of two the higher version counts; of two that were applied at once, the higher signature. */
export const isNewer = (seal: Seal, held: Seal | undefined): boolean =>
  !held ||
  seal.version > held.version ||
  (seal.version === held.version && seal.signature > held.signature);

export const isTextOf = ({ size, digest }: Seal, text: string): boolean =>
  Buffer.byteLength(text) === size && digestOf(text) === digest;

const fileSchema = z.strictObject({
  seal: sealSchema,
  text: z.string().max(MAX_POLICY_BYTES),
  refused: z.array(field.signature).max(MAX_REFUSED).exactOptional(),
});

export const encodePolicy = (policy: PolicyText): string =>
  addChecksum("policy", `${JSON.stringify(policy)}\n`);

/** `where` names the file in the error. */
export function decodePolicy(text: string, where: string): PolicyText {
  const body = stripChecksum("policy", text);
  if (body === undefined) throw corrupt(where, "its checksum is wrong");
  const policy = fileSchema.safeParse(JSON.parse(body));
  if (!policy.success) throw corrupt(where, "another version of weft wrote it");
  return policy.data;
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");

const signedText = (
  { id }: Cluster,
  { author, version, size, digest }: Pick<Seal, "author" | "version" | "size" | "digest">,
): string => `weft policy 1\n${id}\n${author}\n${version}\n${size}\n${digest}`;

const forged = ({ author }: Seal, why: string): WeftError =>
  new WeftError(
    "POLICY_FORGED",
    `a policy of node ${nodeId(author)} is not to be believed: ${why}`,
    "find out what runs at the address it came from; if it is not yours, change the cluster secret",
  );

const corrupt = (where: string, why: string): WeftError =>
  new WeftError(
    "POLICY_CORRUPT",
    `the policy file ${where} cannot be used: ${why}`,
    "restore it from a backup; or move it away, and nothing passes until another node tells the policy",
  );
