/** Ed25519 signatures (RFC 8032) by node:crypto. */
import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import type { SignatureScheme } from "./signature-scheme.js";

/** ASN.1 header that turns a seed into the DER form of a private key (RFC 8410). */
const PRIVATE_DER = Buffer.from("302e020100300506032b657004220420", "hex");
/** Public keys are read and written as JWK (RFC 8037): node:crypto reads DER seven times as slowly. */
const PUBLIC_JWK = { kty: "OKP", crv: "Ed25519" };

export const ed25519: SignatureScheme = {
  keyPair(seed) {
    const key = createPrivateKey({
      key: Buffer.concat([PRIVATE_DER, Buffer.from(seed, "hex")]),
      format: "der",
      type: "pkcs8",
    });
    const { x = "" } = createPublicKey(key).export({ format: "jwk" });
    return {
      publicKey: Buffer.from(x, "base64url").toString("hex"),
      sign: (text) => sign(null, Buffer.from(text), key).toString("hex"),
    };
  },

  verify(publicKey, text, signature) {
    try {
      const x = Buffer.from(publicKey, "hex").toString("base64url");
      const key = createPublicKey({ key: { ...PUBLIC_JWK, x }, format: "jwk" });
      return verify(null, Buffer.from(text), key, Buffer.from(signature, "hex"));
    } catch {
      return false;
    }
  },
};
