/** Returns grants to their granters: those that this node declines, and all that it has at a release. */
import { EventEmitter } from "node:events";
import { nodeId } from "../identity/identity.js";
import type { Proof } from "../lease/grant.js";
import type { Ledger } from "../lease/ledger.js";
import type { Revoker } from "../lease/revoker.js";
import type { Log } from "../log.js";
import type { Session } from "../session/session.js";
import type { Sessions } from "../session/sessions.js";
import type { Clock } from "../time/clock.js";
import { type LeaseMessage, MAX_GRANTS_IN_MESSAGE } from "./messages.js";

/** Milliseconds that a node waits for sessions with its granters before a release: at most, and between checks. */
export const RELEASE_WAIT = { most: 5_000, every: 100 };

type LeaseSession = Session<LeaseMessage>;

export interface GrantReturnsParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly revoker: Revoker;
  readonly connections: Sessions<LeaseMessage>;
}

export interface GrantReturnsEvents {
  /** `dialTargets` may have changed. */
  changed: [];
}

export class GrantReturns extends EventEmitter<GrantReturnsEvents> {
  readonly #parts: GrantReturnsParts;
  /** Signatures of declined grants, by the id of their granter, until there is a session with it. */
  readonly #declined = new Map<string, string[]>();
  #isLeaving = false;

  constructor(parts: GrantReturnsParts) {
    super();
    this.#parts = parts;
  }

  /** Ids of granters to open a session with. */
  get dialTargets(): readonly string[] {
    const granters = this.#isLeaving ? [...this.#parts.ledger.granters].map(nodeId) : [];
    return [...granters, ...this.#declined.keys()];
  }

  opened(session: LeaseSession): void {
    this.#sendDeclined(session);
  }

  /** Returns these grants to their granters, now or at the next session. */
  decline(proofs: readonly Proof[]): void {
    for (const proof of proofs) {
      const { from, signature } = proof.at(-1)!;
      const id = nodeId(from);
      this.#declined.set(
        id,
        [...(this.#declined.get(id) ?? []), signature].slice(-MAX_GRANTS_IN_MESSAGE),
      );
    }
    for (const session of this.#parts.connections.sessions()) this.#sendDeclined(session);
    if (this.#declined.size > 0) this.emit("changed");
  }

  #sendDeclined(session: LeaseSession): void {
    const grants = this.#declined.get(session.peer.id);
    if (grants) session.send({ type: "lease-return", grants });
    this.#declined.delete(session.peer.id);
  }

  /** Opens sessions with all granters before a release; waits at most `RELEASE_WAIT.most`. */
  async openGranterSessions(): Promise<void> {
    const { clock, ledger } = this.#parts;
    const until = clock.elapsed() + RELEASE_WAIT.most;
    this.#isLeaving = true;
    this.emit("changed");
    while (this.#granterSessions().length < ledger.granters.size && clock.elapsed() < until) {
      await new Promise<void>((resolve) => clock.after(RELEASE_WAIT.every, resolve));
    }
  }

  /** Returns everything to the granters, if all have a session and no part of it is granted to others. */
  release(): void {
    const { ledger, revoker, log } = this.#parts;
    const granters = this.#granterSessions();
    const grants = granters.length === ledger.granters.size ? revoker.releaseAll() : undefined;
    for (const granter of grants ? granters : []) {
      const own = grants!.filter(({ from }) => from === granter.peer.publicKey);
      const left = own.map(({ signature }) => signature);
      while (left.length > 0) {
        granter.send({ type: "lease-return", grants: left.splice(0, MAX_GRANTS_IN_MESSAGE) });
      }
    }
    log.info(
      grants ? "the leases are returned" : "the leases are kept: they cannot be returned now",
    );
  }

  /** The sessions with the nodes that granted this one what it holds. */
  #granterSessions(): LeaseSession[] {
    const { connections, ledger } = this.#parts;
    const { granters } = ledger;
    return connections.sessions().filter(({ peer }) => granters.has(peer.publicKey));
  }
}
