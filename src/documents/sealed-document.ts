/**
 * A cluster document as it travels: a text of one kind, and a seal that says who applied it and
 * which of two counts. The seal alone is enough to decide whether the text is worth fetching.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { WeftError } from "../error.js";
import { addChecksum, stripChecksum } from "../files/checksummed.js";
import * as field from "../identity/fields.js";
import { type Identity, nodeId } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import { flawOfLease, type Proof, proofSchema } from "../lease/grant.js";

/** Limit of a text of any kind, in bytes of UTF-8. A kind may have a lower one. */
export const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;
/** Of the text in one message, where base64 makes four bytes of three. */
export const PART_BYTES = 45_000;
export const MAX_PART_TEXT = (PART_BYTES / 3) * 4;
export const MAX_PARTS = Math.ceil(MAX_DOCUMENT_BYTES / PART_BYTES);
export const MAX_DOCUMENT_VERSION = 2 ** 31 - 1;
/** Refused documents of one kind that a node remembers: it does not fetch them again. */
export const MAX_REFUSED = 64;

export const kindName = z.string().regex(/^[a-z]{1,16}$/);

export const sealSchema = z.strictObject({
  kind: kindName,
  /** Public key of the node on which it was applied. */
  author: field.publicKey,
  /** Of a lease of the author: any member that has one may apply a document. */
  proof: proofSchema,
  version: z.int().min(1).max(MAX_DOCUMENT_VERSION),
  size: z.int().min(1).max(MAX_DOCUMENT_BYTES),
  /** SHA-256 of the text. */
  digest: field.digest,
  signature: field.signature,
});

export type Seal = z.infer<typeof sealSchema>;

export interface SealedDocument {
  readonly seal: Seal;
  readonly text: string;
}

/** A document as a node keeps it on disk. */
export interface StoredDocument extends SealedDocument {
  /** Signatures of the seals of its kind that this node refuses. */
  readonly refused?: readonly string[];
}

export function sealDocument(
  author: Identity,
  cluster: Cluster,
  { kind, proof, version, text }: Pick<Seal, "kind" | "version"> & { proof: Proof; text: string },
): Seal {
  const size = Buffer.byteLength(text);
  const seal = { kind, author: author.publicKey, version, size, digest: digestOf(text) };
  return { ...seal, proof: [...proof], signature: author.sign(signedText(cluster, seal)) };
}

/** The reason why a seal is not believed; undefined if it is right. */
export function flawOfSeal(cluster: Cluster, seal: Seal): WeftError | undefined {
  if (!cluster.signatures.verify(seal.author, signedText(cluster, seal), seal.signature)) {
    return forged(seal, "its signature is wrong");
  }
  const why = flawOfLease(cluster, seal.author, seal.proof);
  return why === undefined ? undefined : forged(seal, `of its author's lease, ${why}`);
}

/** Of two of a kind the higher version counts; of two that were applied at once, the higher signature. */
export const isNewer = (seal: Seal, held: Seal | undefined): boolean =>
  !held ||
  seal.version > held.version ||
  (seal.version === held.version && seal.signature > held.signature);

export const isTextOf = ({ size, digest }: Seal, text: string): boolean =>
  Buffer.byteLength(text) === size && digestOf(text) === digest;

/** Number of parts in which the text travels. */
export const partsOf = ({ size }: Seal): number => Math.ceil(size / PART_BYTES);

/** The part of this number, counted from 0, as it travels. */
export const partOf = (bytes: Buffer, part: number): string =>
  bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES).toString("base64");

const storedSchema = z.strictObject({
  seal: sealSchema,
  text: z.string().max(MAX_DOCUMENT_BYTES),
  refused: z.array(field.signature).max(MAX_REFUSED).exactOptional(),
});

export const encodeDocument = (document: StoredDocument): string =>
  addChecksum("document", `${JSON.stringify(document)}\n`);

/** `where` names the file in the error. */
export function decodeDocument(kind: string, text: string, where: string): StoredDocument {
  const body = stripChecksum("document", text);
  if (body === undefined) throw corrupt(kind, where, "its checksum is wrong", RESTORE);
  const { data } = storedSchema.safeParse(JSON.parse(body));
  if (!data) throw corrupt(kind, where, "another version of weft wrote it", "run that version");
  if (data.seal.kind !== kind)
    throw corrupt(kind, where, "it holds a document of another kind", RESTORE);
  return data;
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");

const signedText = (
  { id }: Cluster,
  { kind, author, version, size, digest }: Omit<Seal, "proof" | "signature">,
): string => ["weft document 1", kind, id, author, version, size, digest].join("\n");

const forged = ({ kind, author }: Seal, why: string): WeftError =>
  new WeftError(
    "DOCUMENT_FORGED",
    `a ${kind} of node ${nodeId(author)} is not to be believed: ${why}`,
    "find out what runs at the address it came from; if it is not yours, change the cluster secret",
  );

const RESTORE = "restore it from a backup";

const corrupt = (kind: string, where: string, why: string, remedy: string): WeftError =>
  new WeftError(
    "DOCUMENT_CORRUPT",
    `the ${kind} file ${where} cannot be used: ${why}`,
    `${remedy}; or move it away, and this node waits until another one sends the ${kind}`,
  );
