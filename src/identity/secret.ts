/**
 * Derives a TLS pre-shared key from the cluster secret, and the identity by which the other end
 * finds the key. Both come from HKDF (RFC 5869) with different labels.
 */
import { hkdfSync } from "node:crypto";
import { WeftError } from "../error.js";

/** Fewest characters of a cluster secret. */
export const MIN_SECRET_LENGTH = 16;

export interface Psk {
  /** Names the secret without revealing it. */
  readonly identity: string;
  readonly key: Buffer;
}

export function derivePsk(secret: string): Psk {
  if (secret.length < MIN_SECRET_LENGTH) {
    throw new WeftError(
      "SECRET_SHORT",
      `the cluster secret has ${secret.length} characters, fewer than ${MIN_SECRET_LENGTH}`,
      "make one with: openssl rand -base64 24",
    );
  }
  return {
    identity: `weft-${derive(secret, "weft psk identity 1", 8).toString("hex")}`,
    key: derive(secret, "weft psk key 1", 32),
  };
}

const derive = (secret: string, label: string, length: number): Buffer =>
  Buffer.from(hkdfSync("sha256", secret, "", label, length));
