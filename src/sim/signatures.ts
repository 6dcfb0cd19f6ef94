/**
 * Signatures made by the nodes of this process. What a node has signed with its
 * key needs no second reckoning; anything else is verified as ever.
 */
import type { SignatureMemory } from "../mesh/identity.js";

/** Records of old versions need no memory: whoever holds a newer one asks no more. */
const MOST = 200_000;

export class Signatures implements SignatureMemory {
  readonly #made = new Map<string, { readonly publicKey: string; readonly text: string }>();

  made(publicKey: string, text: string, signature: string): void {
    this.#made.set(signature, { publicKey, text });
    if (this.#made.size <= MOST) return;
    for (const oldest of this.#made.keys()) {
      this.#made.delete(oldest);
      return;
    }
  }

  knows(publicKey: string, text: string, signature: string): boolean {
    const made = this.#made.get(signature);
    return made !== undefined && made.publicKey === publicKey && made.text === text;
  }
}
