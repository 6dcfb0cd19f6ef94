/** How nodes sign and verify. Keys and signatures are in hex. The simulator has a scheme that costs less. */
export interface SignatureScheme {
  /** The key pair that a seed of 32 bytes gives, always the same one. */
  keyPair(seed: string): KeyPair;
  /** False for a wrong signature and for a malformed key. */
  verify(publicKey: string, text: string, signature: string): boolean;
}

export interface KeyPair {
  /** 32 bytes. */
  readonly publicKey: string;
  /** 64 bytes. */
  sign(text: string): string;
}
