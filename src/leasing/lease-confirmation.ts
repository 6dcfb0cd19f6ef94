/**
 * Confirms the leases of a node that was cut off: while its fence is closed, each of its granters must
 * attest which of its grants still count. docs/leases.md draws the exchange.
 */
import type { Identity } from "../identity/identity.js";
import { type Attestation, freshNonce } from "../lease/attestation.js";
import type { Ledger } from "../lease/ledger.js";
import type { Revoker } from "../lease/revoker.js";
import type { MessageOf } from "../session/protocol.js";
import { type Clock, randomOf } from "../time/clock.js";
import type { LeaseMessage } from "./messages.js";

export interface LeaseConfirmationParts {
  readonly clock: Clock;
  readonly identity: Identity;
  readonly ledger: Ledger;
  readonly revoker: Revoker;
}

export class LeaseConfirmation {
  readonly #parts: LeaseConfirmationParts;
  /** Public keys of the granters whose attestation is missing; none when nothing is to be confirmed. */
  #missing: Set<string> = new Set();
  /** The nonce of the last query. */
  #nonce = "";

  constructor(parts: LeaseConfirmationParts) {
    this.#parts = parts;
  }

  /** Whether attestations are missing. */
  get isPending(): boolean {
    return this.#missing.size > 0;
  }

  /** From now on every granter is to attest, unless some already are. */
  begin(): void {
    if (!this.isPending) this.#missing = this.#parts.ledger.granters;
  }

  /** A query to one of the granters whose attestation is missing, with a fresh nonce; undefined when none is. */
  query(): MessageOf<LeaseMessage, "lease-status-query"> | undefined {
    const { clock, identity } = this.#parts;
    const granter = randomOf(clock, [...this.#missing]);
    if (granter === undefined) return undefined;
    this.#nonce = freshNonce();
    const [me, visited] = [identity.publicKey, [identity.id]];
    return { type: "lease-status-query", for: me, of: granter, nonce: this.#nonce, visited };
  }

  /** Whether this answers the last query. Its signature is not checked yet. */
  isAwaited({ nonce, from }: Attestation): boolean {
    return nonce === this.#nonce && this.#missing.has(from);
  }

  /** Takes a genuine attestation. Returns whether this node held grants that do not count any more; they are dropped. */
  accept({ from, grants }: Attestation): boolean {
    const hasDropped = this.#parts.revoker.keepConfirmed(from, grants);
    this.#missing.delete(from);
    return hasDropped;
  }

  /** Waits no longer for attestations of nodes that granted nothing this node still holds. */
  dropPastGranters(): void {
    const { granters } = this.#parts.ledger;
    for (const granter of this.#missing) if (!granters.has(granter)) this.#missing.delete(granter);
  }
}
