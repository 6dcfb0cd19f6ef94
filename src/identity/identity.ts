/**
 * Who a node is: an Ed25519 key pair (RFC 8032). The public key is its full
 * name; the id and the VTEP MAC are derived from it.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from "node:crypto";
import { formatMac } from "../address.js";

const SEED_BYTES = 32;
/** ASN.1 header that turns a seed into the DER form of a private key (RFC 8410). */
const PRIVATE_DER = Buffer.from("302e020100300506032b657004220420", "hex");
/** Public keys are read and written as JWK (RFC 8037): node:crypto reads DER seven times as slowly. */
const ED25519 = { kty: "OKP", crv: "Ed25519" };

/** Stands in for Ed25519. */
export interface SignatureScheme {
  sign(publicKey: string, text: string): string;
  verify(publicKey: string, text: string, signature: string): boolean;
}

let substitute: SignatureScheme | undefined;

/** Only the simulation does this: there, one process signs and verifies for a thousand nodes. */
export function substituteSignatures(scheme: SignatureScheme | undefined): void {
  substitute = scheme;
}

export class Identity {
  /** 32 bytes in hex. */
  readonly publicKey: string;
  readonly id: string;
  readonly #key: KeyObject;

  /** `seed` is the private key: 32 bytes in hex. */
  constructor(readonly seed: string) {
    const bytes = Buffer.from(seed, "hex");
    if (bytes.length !== SEED_BYTES) throw new Error("an identity's seed is 32 bytes");
    this.#key = createPrivateKey({
      key: Buffer.concat([PRIVATE_DER, bytes]),
      format: "der",
      type: "pkcs8",
    });
    const { x = "" } = createPublicKey(this.#key).export({ format: "jwk" });
    this.publicKey = Buffer.from(x, "base64url").toString("hex");
    this.id = nodeId(this.publicKey);
  }

  static generate(): Identity {
    return new Identity(randomBytes(SEED_BYTES).toString("hex"));
  }

  /** 64 bytes in hex. */
  sign(text: string): string {
    return (
      substitute?.sign(this.publicKey, text) ??
      sign(null, Buffer.from(text), this.#key).toString("hex")
    );
  }
}

/** False for a bad signature and for a key that is none. */
export function verifySignature(publicKey: string, text: string, signature: string): boolean {
  if (substitute) return substitute.verify(publicKey, text, signature);
  try {
    const x = Buffer.from(publicKey, "hex").toString("base64url");
    const key = createPublicKey({ key: { ...ED25519, x }, format: "jwk" });
    return verify(null, Buffer.from(text), key, Buffer.from(signature, "hex"));
  } catch {
    return false;
  }
}

export const nodeId = (publicKey: string): string =>
  createHash("sha256").update(Buffer.from(publicKey, "hex")).digest("hex").slice(0, 32);

/** The VTEP MAC of a node: locally administered and unicast (the two low bits of the first octet). */
export function vtepMac(id: string): string {
  const bytes = Buffer.from(id, "hex").subarray(0, 6);
  return formatMac(Uint8Array.of(0x02, ...bytes.subarray(1)));
}
