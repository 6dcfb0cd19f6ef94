/**
 * The end of grants: a node takes back what it gave, gives back what it was given, or learns that
 * a giver took it back. A revoked grant stays revoked, on disk first: see docs/leases.md.
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

  // ---- of what this node was given

  /** A giver has said which of its gifts count. The others are lost. Answers whether there were such. */
  keepConfirmed(giver: string, counting: readonly string[]): boolean {
    const mine = this.#ledger.received.filter(({ from }) => from === giver);
    return this.drop(
      mine.map(({ signature }) => signature).filter((one) => !counting.includes(one)),
    );
  }

  /** Drops for good what comes from these grants. Answers whether there was such. */
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
   * Lets go of everything this node was given, for good, on its disk first.
   * Answers with the gifts, for their givers; with nothing when it keeps them,
   * because parts of them are others' by now, or nothing was given.
   */
  releaseAll(): Grant[] | undefined {
    const { given, received, state } = this.#ledger;
    if (given.length > 0 || received.length === 0) return undefined;
    const gone = [...received, ...state.journal].map(({ signature }) => signature);
    this.#ledger.write({
      spaces: [],
      leases: [],
      revoked: [...new Set([...state.revoked, ...gone])],
    });
    return received;
  }

  /** The gifts among these that this node has let go of, or lost. */
  alreadyRevoked(proofs: readonly Proof[]): string[] {
    const { revoked } = this.#ledger;
    return proofs.map((proof) => proof.at(-1)!.signature).filter((one) => revoked.has(one));
  }

  /**
   * Drops for good the space in which this node holds nothing and from which it gave nothing, and
   * answers with the proofs. So what it owns can be seen in its record.
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

  // ---- of what this node gave

  /** `holder` has let go of these gifts. `leases` are what it last showed. Answers with the prefixes. */
  acceptReturn(holder: string, gifts: readonly string[], leases: readonly Proof[]): string[] {
    const { canRevoke, given, state } = this.#ledger;
    const mine = given.filter(({ to, signature }) => to === holder && gifts.includes(signature));
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
   * Takes back what a dead node holds, as far as this node can: what it gave itself, and what was
   * given by one from which it has taken it back. Answers with the public keys of those who can
   * take the rest.
   */
  revoke(holder: string, leases: readonly Proof[]): Set<string> {
    const gone: string[] = [];
    const others = new Set<string>();
    for (const proof of leases) {
      const at = proof.findLastIndex(({ from, to }) => to === holder && from !== holder);
      const other = this.#whoCanRevoke(holder, proof, at);
      if (other !== undefined) others.add(other);
      else gone.push(...proof.slice(at).map(({ signature }) => signature));
    }
    const { journal } = this.#ledger.state;
    for (const { to, signature } of journal) if (to === holder) gone.push(signature);
    this.#writeRevoked(gone);
    return others;
  }

  /** Takes back what this node gave to one of which there is no record. Answers with the prefixes. */
  revokeUnseen(id: string): string[] {
    const gifts = this.#ledger.given.filter(({ to }) => nodeId(to) === id);
    this.#writeRevoked(gifts.map(({ signature }) => signature));
    return gifts.map(({ prefix }) => prefix);
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

  /** Nothing where it is this node; the proof's grant at `at` is the holder's gift. */
  #whoCanRevoke(holder: string, proof: Proof, at: number): string | undefined {
    const { identity, revoked } = this.#ledger;
    if (at < 0) return holder;
    const mine = proof.findLastIndex(({ from }) => from === identity.publicKey);
    if (mine < 0) return proof[at]!.from;
    return proof.slice(mine, at).findLast(({ signature }) => !revoked.has(signature))?.to;
  }
}
