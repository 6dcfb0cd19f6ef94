/**
 * Cheap signatures: a checksum of the signer's key and the text. They could be forged, which no
 * simulated node does; the text that one node signs and another verifies must still be the same.
 */
import { ed25519 } from "../identity/ed25519.js";
import type { SignatureScheme } from "../identity/signature-scheme.js";

/** Repetitions of the 8-byte checksum in a signature of 64 bytes. */
const WORDS = 8;

export const cheapSignatures: SignatureScheme = {
  /** The public key is that of Ed25519, so that a node has one id under both schemes. */
  keyPair(seed) {
    const { publicKey } = ed25519.keyPair(seed);
    return { publicKey, sign: (text) => sign(publicKey, text) };
  },
  verify: (publicKey, text, signature) => signature === sign(publicKey, text),
};

const sign = (publicKey: string, text: string): string => checksum(publicKey, text).repeat(WORDS);

/** Two rolling sums (FNV-1a, and one that rotates its bits), 8 bytes in hex. */
function checksum(...texts: readonly string[]): string {
  let [a, b] = [0x811c9dc5, 0x9747b28c];
  for (const text of texts) {
    for (let i = 0; i < text.length; i++) {
      const word = text.charCodeAt(i);
      a = Math.imul(a ^ word, 0x01000193);
      b = Math.imul(((b << 13) | (b >>> 19)) ^ word, 0x5bd1e995);
    }
  }
  return hex(a) + hex(b);
}

const BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

const hex = (word: number): string =>
  BYTES[word >>> 24]! +
  BYTES[(word >>> 16) & 255]! +
  BYTES[(word >>> 8) & 255]! +
  BYTES[word & 255]!;
