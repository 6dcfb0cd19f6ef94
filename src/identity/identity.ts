/**
 * A node's identity is a key pair. The public key names the node in full; the
 * id and the VTEP MAC are derived from it.
 */
import { createHash, randomBytes } from "node:crypto";
import { formatMac } from "../address.js";
import { ed25519 } from "./ed25519.js";
import type { KeyPair, SignatureScheme } from "./signature-scheme.js";

const SEED_BYTES = 32;

export class Identity {
  /** 32 bytes in hex. */
  readonly publicKey: string;
  /** 16 bytes in hex: a hash of the public key. */
  readonly id: string;
  readonly #keyPair: KeyPair;

  /** `seed` is the private key: 32 bytes in hex. */
  constructor(
    readonly seed: string,
    readonly signatures: SignatureScheme = ed25519,
  ) {
    const { length } = Buffer.from(seed, "hex");
    if (length !== SEED_BYTES) throw new Error("an identity's seed is 32 bytes");
    this.#keyPair = signatures.keyPair(seed);
    this.publicKey = this.#keyPair.publicKey;
    this.id = nodeId(this.publicKey);
  }

  static generate(signatures?: SignatureScheme): Identity {
    return new Identity(randomBytes(SEED_BYTES).toString("hex"), signatures);
  }

  /** 64 bytes in hex. */
  sign(text: string): string {
    return this.#keyPair.sign(text);
  }
}

export const nodeId = (publicKey: string): string =>
  createHash("sha256").update(Buffer.from(publicKey, "hex")).digest("hex").slice(0, 32);

/** The VTEP MAC of a node: locally administered and unicast (the two low bits of the first octet). */
export function vtepMac(id: string): string {
  const bytes = Buffer.from(id, "hex").subarray(0, 6);
  return formatMac(Uint8Array.of(0x02, ...bytes.subarray(1)));
}
