/**
 * A giver's word: which of its gifts to a node count. It answers one question,
 * asked with a nonce, so who carries it can neither change nor repeat it.
 */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { canonical } from "../identity/canonical.js";
import * as field from "../identity/fields.js";
import { type Identity, verified } from "../identity/identity.js";
import { MAX_PROOFS } from "./bundle.js";
import type { Cluster } from "./genesis.js";

/** Gifts that a word names. A node gives another at most so many, but may hear of earlier ones again. */
export const MAX_COUNTING = 4 * MAX_PROOFS;

export const nonceSchema = z.string().regex(/^[0-9a-f]{32}$/);

export const wordSchema = z.strictObject({
  /** Public keys of the giver and of who asked. */
  from: field.publicKey,
  to: field.publicKey,
  nonce: nonceSchema,
  /** Signatures of the grants that count. */
  gifts: z.array(field.signature).max(MAX_COUNTING),
  signature: field.signature,
});

export type Word = z.infer<typeof wordSchema>;
type Said = Omit<Word, "from" | "signature">;

export const freshNonce = (): string => randomBytes(16).toString("hex");

export function giveWord(giver: Identity, cluster: Cluster, said: Said): Word {
  const word = { ...said, from: giver.publicKey };
  return { ...word, signature: giver.sign(signedText(cluster, word)) };
}

export const isWord = (cluster: Cluster, { signature, ...word }: Word): boolean =>
  verified(word.from, signedText(cluster, word), signature);

const signedText = ({ id }: Cluster, word: Omit<Word, "signature">): string =>
  `weft word 1\n${canonical({ ...word, cluster: id })}`;
