/**
 * The revoker ends grants: this node revokes its own, returns those it received, or learns that a
 * granter revoked one. A revoked grant stays revoked, and is written to disk first: see docs/leases.md.
 */
import { covers } from "../address.js";
import { nodeId } from "../identity/identity.js";
import { type Grant, MAX_REVOKED_IN_RECORD, type Proof, prefixOf } from "./grant.js";
import type { Ledger } from "./ledger.js";

export class Revoker {
  readonly #ledger: Ledger;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  // ---- grants to this node

  /**
   * Keeps of a granter's grants those that it attests as counting, and drops its others for good.
   * Returns whether there were others.
   */
  keepConfirmed(granter: string, counting: readonly string[]): boolean {
    const mine = this.#ledger.received.filter(({ from }) => from === granter);
    return this.drop(
      mine.map(({ signature }) => signature).filter((one) => !counting.includes(one)),
    );
  }

  /** Drops for good all space and leases that come from these grants. Returns whether there were such. */
  drop(gone: readonly string[]): boolean {
    const { spaces, leases, revoked: before } = this.#ledger.state;
    const stays = (proof: Proof) => !proof.some(({ signature }) => gone.includes(signature));
    const kept = { spaces: spaces.filter(stays), leases: leases.filter(stays) };
    if (kept.spaces.length === spaces.length && kept.leases.length === leases.length) return false;
    const lost = leases.filter((proof) => !stays(proof)).map((proof) => proof.at(-1)!.signature);
    this.#ledger.write({ ...kept, revoked: [...new Set([...before, ...gone, ...lost])] });
    return true;
  }

  /**
   * Gives up every grant to this node for good, on its disk first. Returns the grants, which are
   * then sent to their granters; undefined, with nothing changed, when parts of them are granted to
   * others or there are none.
   */
  releaseAll(): Grant[] | undefined {
    const { granted, received, state } = this.#ledger;
    if (granted.length > 0 || received.length === 0) return undefined;
    const gone = [...received, ...state.journal].map(({ signature }) => signature);
    this.#ledger.write({
      spaces: [],
      leases: [],
      revoked: [...new Set([...state.revoked, ...gone])],
    });
    return received;
  }

  /** Signatures of the grants among these that this node has returned or lost. */
  alreadyRevoked(proofs: readonly Proof[]): string[] {
    const { revoked } = this.#ledger;
    return proofs.map((proof) => proof.at(-1)!.signature).filter((one) => revoked.has(one));
  }

  /**
   * Drops for good the space in which this node holds no lease and has granted nothing, and returns
   * the proofs of it. So a node's record shows all space that it owns.
   */
  dropUnused(): Proof[] {
    const { canRevoke, revoked, state } = this.#ledger;
    const { journal, spaces, revoked: before } = state;
    if (!canRevoke) return [];
    const live = journal.filter(({ signature }) => !revoked.has(signature)).map(prefixOf);
    const unused = spaces.filter((proof) => {
      const space = prefixOf(proof.at(-1)!);
      return !live.some((prefix) => covers(space, prefix));
    });
    if (unused.length > 0) {
      const gone = unused.map((proof) => proof.at(-1)!.signature);
      const left = spaces.filter((proof) => !unused.includes(proof));
      this.#ledger.write({ spaces: left, revoked: [...before, ...gone] });
    }
    return unused;
  }

  // ---- grants by this node

  /**
   * Revokes grants that `holder` returns, and its own grants below them. `leases` are the proofs in
   * its last record. Returns the prefixes that are free again.
   */
  acceptReturn(holder: string, grants: readonly string[], leases: readonly Proof[]): string[] {
    const { canRevoke, granted, state } = this.#ledger;
    const mine = granted.filter(({ to, signature }) => to === holder && grants.includes(signature));
    if (mine.length === 0 || !canRevoke) return [];
    const gone = mine.map(({ signature }) => signature);
    const below = leases.flatMap((proof) => {
      const at = proof.findIndex(({ signature }) => gone.includes(signature));
      return at < 0 ? [] : proof.slice(at).map(({ signature }) => signature);
    });
    this.#ledger.write({ revoked: [...new Set([...state.revoked, ...gone, ...below])] });
    return mine.map(({ prefix }) => prefix);
  }

  /**
   * Revokes what a dead node holds, as far as this node can: its own grants, and grants of nodes
   * whose space it has revoked. Returns the public keys of the nodes that can revoke the rest.
   */
  revoke(holder: string, leases: readonly Proof[]): Set<string> {
    const gone: string[] = [];
    const others = new Set<string>();
    for (const proof of leases) {
      const at = proof.findLastIndex(({ from, to }) => to === holder && from !== holder);
      const other = this.#otherRevoker(holder, proof, at);
      if (other !== undefined) others.add(other);
      else gone.push(...proof.slice(at).map(({ signature }) => signature));
    }
    const { journal } = this.#ledger.state;
    for (const { to, signature } of journal) if (to === holder) gone.push(signature);
    this.#writeRevoked(gone);
    return others;
  }

  /** Revokes the grants of this node to a node without a record. Returns their prefixes. */
  revokeUnseen(id: string): string[] {
    const grants = this.#ledger.granted.filter(({ to }) => nodeId(to) === id);
    this.#writeRevoked(grants.map(({ signature }) => signature));
    return grants.map(({ prefix }) => prefix);
  }

  #writeRevoked(gone: readonly string[]): void {
    const { revoked, state } = this.#ledger;
    const fresh = [...new Set(gone)].filter((one) => !revoked.has(one));
    if (fresh.length === 0) return;
    this.#ledger.write({
      revoked: [...state.revoked, ...fresh],
      revokedByOperator: [...state.revokedByOperator, ...fresh].slice(-MAX_REVOKED_IN_RECORD),
    });
  }

  /**
   * The public key of another node that can revoke the grant at `at` of this proof, by which the
   * holder got the space; undefined when this node can.
   */
  #otherRevoker(holder: string, proof: Proof, at: number): string | undefined {
    const { identity, revoked } = this.#ledger;
    if (at < 0) return holder;
    const mine = proof.findLastIndex(({ from }) => from === identity.publicKey);
    if (mine < 0) return proof[at]!.from;
    return proof.slice(mine, at).findLast(({ signature }) => !revoked.has(signature))?.to;
  }
}
