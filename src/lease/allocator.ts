/**
 * The allocator manages the space that a node owns: it takes the node's own leases from it, grants
 * parts of it to other nodes, and accepts grants. A grant is on disk before it leaves the node: see
 * docs/leases.md.
 */
import { formatPrefix, overlaps, type Prefix, parsePrefix } from "../address.js";
import { WeftError } from "../error.js";
import type { Clock } from "../time/clock.js";
import { MAX_PROOFS } from "./bundle.js";
import { type Cluster, describeNetworks, inside, type Network } from "./genesis.js";
import {
  type Grant,
  MAX_PROOFS_IN_ANSWER,
  type Proof,
  prefixOf,
  sequenceAt,
  signGrant,
  subnetOf,
} from "./grant.js";
import type { Ledger } from "./ledger.js";
import { blockToGrant, firstLeases, freeBlocks } from "./space.js";

/**
 * Space that came through this many grants is granted on as single leases only,
 * so a proof has at most one grant more, however long the line of joiners is.
 */
export const MAX_SPLIT_DEPTH = 12;

/** Grants in the journal, which is never shortened: with so many, a node grants no more. About 8 MB on disk. */
export const MAX_JOURNAL = 16_384;

export interface AllocatorParts {
  readonly ledger: Ledger;
  /** Space that is never granted. */
  readonly reserved: readonly Prefix[];
  readonly clock: Pick<Clock, "now">;
}

/** The part of a request that describes the requester. */
export interface GrantOptions {
  /** Signatures of the grants it has. */
  readonly have?: readonly string[];
  /** Whether to grant a single lease only, however much is free. */
  readonly leaseOnly?: boolean;
}

export class Allocator {
  readonly #ledger: Ledger;
  readonly #reserved: readonly Prefix[];
  readonly #clock: AllocatorParts["clock"];

  constructor({ ledger, reserved, clock }: AllocatorParts) {
    this.#ledger = ledger;
    this.#reserved = reserved;
    this.#clock = clock;
  }

  /** The reason why this node grants no more although it may have space; undefined while it grants. */
  get exhausted(): WeftError | undefined {
    return this.#ledger.state.journal.length >= MAX_JOURNAL ? JOURNAL_FULL : undefined;
  }

  /** For each network, log2 of the leases in the largest block it can grant; null when there is none. */
  get free(): (number | null)[] {
    return this.#ledger.networks.map((network) => {
      if (this.exhausted) return null;
      const lengths = this.#freeIn(network).map(({ length }) => length);
      return lengths.length > 0 ? network.leaseLength - Math.min(...lengths) : null;
    });
  }

  /** Takes leases from this node's own space in the networks where it lacks some. */
  takeLeases(): void {
    const { identity, incompleteNetworks, state } = this.#ledger;
    const { journal, leases } = state;
    const grants: Grant[] = [];
    const taken: Proof[] = [];
    for (const network of incompleteNetworks) {
      const free = this.#freeIn(network);
      const last = parsePrefix(network.prefix).base;
      const count = this.#ledger.missing(network);
      for (const lease of firstLeases(free, network.leaseLength, { last, count })) {
        const proof = this.#sign(lease, identity.publicKey, [...journal, ...grants]);
        grants.push(proof.at(-1)!);
        taken.push(proof);
      }
    }
    if (grants.length > 0) {
      this.#ledger.write({ journal: [...journal, ...grants], leases: [...leases, ...taken] });
    }
  }

  /**
   * Grants something in each of these networks where it can: again the earlier grants that the
   * receiver does not name; else half of the free space, or a single lease if little is left or if
   * `leaseOnly` is set, as it is for a receiver that has some. Returns the reason if it can in none.
   */
  grant(
    to: string,
    networks: readonly string[],
    { have = [], leaseOnly = have.length > 0 }: GrantOptions = {},
  ): Proof[] | WeftError {
    const { cluster, state } = this.#ledger;
    const { journal } = state;
    const grants: Grant[] = [];
    const proofs: Proof[] = [];
    for (const network of this.#ledger.networks.filter(({ prefix }) => networks.includes(prefix))) {
      const earlier = this.#ledger.proofsTo(to, network);
      const unknown = earlier.filter((proof) => !have.includes(proof.at(-1)!.signature));
      proofs.push(...unknown);
      if (unknown.length > 0 || earlier.length >= MAX_PROOFS) continue;
      const share = this.exhausted ? undefined : this.#blockToGrant(network, leaseOnly);
      if (!share) continue;
      const proof = this.#sign(share, to, [...journal, ...grants]);
      grants.push(proof.at(-1)!);
      proofs.push(proof);
    }
    if (grants.length > 0) this.#ledger.write({ journal: [...journal, ...grants] });
    return proofs.length > 0
      ? proofs.slice(0, MAX_PROOFS_IN_ANSWER)
      : (this.exhausted ?? networkFull(cluster));
  }

  /**
   * Adds grants to this node, whose proofs are valid. A revoked grant may arrive again, late or
   * replayed, and a granter that lies or lost its state may grant the same space twice: neither is
   * added. Returns the signatures of the grants that this node does not need; it writes them down
   * as revoked and never holds them. Once `MAX_REVOKED` are written down, it ignores such grants.
   */
  accept(proofs: readonly Proof[]): string[] {
    const { spaces, leases, revoked: before } = this.#ledger.state;
    const known = new Set([...before, ...this.#ledger.receivedSignatures]);
    const each = new Map(proofs.map((proof) => [proof.at(-1)!.signature, proof]));
    const fresh = [...each.values()].filter(
      (proof) => !proof.some(({ signature }) => known.has(signature)),
    );
    const isLease = (proof: Proof) => this.#ledger.isLease(subnetOf(proof));
    const taken: Proof[] = [];
    for (const network of this.#ledger.networks) {
      const here = fresh.filter((proof) => inside(network.prefix, subnetOf(proof)));
      let missing = this.#ledger.missing(network);
      const spaces = missing > 0 ? here.filter((proof) => !isLease(proof)) : [];
      for (const proof of [...spaces, ...here.filter(isLease)]) {
        if (isLease(proof) && missing === 0) break;
        if (this.#overlapsHeld(proof, taken)) continue;
        taken.push(proof);
        if (isLease(proof)) missing--;
      }
    }
    const left = this.#ledger.canRevoke ? fresh.filter((proof) => !taken.includes(proof)) : [];
    const surplus = left.map((proof) => proof.at(-1)!.signature);
    if (taken.length + surplus.length > 0) {
      this.#ledger.write({
        spaces: [...spaces, ...taken.filter((proof) => !isLease(proof))],
        leases: [...leases, ...taken.filter(isLease)],
        revoked: [...before, ...surplus],
      });
    }
    return surplus;
  }

  /**
   * Puts grants of this node that others show back into its journal, which lacks them after a
   * restore from a backup. Returns whether there were such.
   */
  restoreJournal(proofs: readonly Proof[]): boolean {
    const { identity, state } = this.#ledger;
    const { journal } = state;
    const own = proofs.flat().filter(({ from }) => from === identity.publicKey);
    if (own.length === 0) return false;
    const all = new Map([...journal, ...own].map((grant) => [grant.signature, grant]));
    if (all.size === journal.length) return false;
    this.#ledger.write({ journal: [...all.values()].sort((a, b) => a.sequence - b.sequence) });
    return true;
  }

  /**
   * Whether the grant overlaps what this node holds or just took. Space of its own that it granted
   * away may come back to it.
   */
  #overlapsHeld(grant: Proof, taken: readonly Proof[]): boolean {
    const { identity, state } = this.#ledger;
    const isOfMine = grant.some(({ from }) => from === identity.publicKey);
    const held = [...taken, ...state.leases, ...(isOfMine ? [] : state.spaces)];
    const space = prefixOf(grant.at(-1)!);
    return held.some((proof) => overlaps(prefixOf(proof.at(-1)!), space));
  }

  #blockToGrant(network: Network, leaseOnly: boolean): Prefix | undefined {
    const { leaseLength } = network;
    const block = blockToGrant(this.#freeIn(network), leaseLength);
    if (!block) return undefined;
    const depth = this.#ledger.spaceOf(formatPrefix(block))!.proof.length;
    return leaseOnly || depth >= MAX_SPLIT_DEPTH ? { ...block, length: leaseLength } : block;
  }

  #freeIn(network: Network): Prefix[] {
    return this.#ledger.spacesIn(network).flatMap(({ prefix }) => {
      const whole = parsePrefix(prefix);
      const taken = [...this.#reserved, ...this.#ledger.grantedFrom(whole)];
      return freeBlocks(whole, taken, network.leaseLength);
    });
  }

  /**
   * Signs a grant and returns its proof. A grant of space whose earlier grant is revoked gets a
   * later round, so it wins against the earlier one.
   */
  #sign(space: Prefix, to: string, journal: readonly Grant[]): Proof {
    const { identity, cluster, revoked } = this.#ledger;
    const prefix = formatPrefix(space);
    const rounds = journal
      .filter((grant) => revoked.has(grant.signature) && overlaps(prefixOf(grant), space))
      .map(({ round }) => round + 1);
    const sequence = Math.max((journal.at(-1)?.sequence ?? 0) + 1, sequenceAt(this.#clock.now()));
    const round = Math.max(0, ...rounds);
    const grant = signGrant(identity, cluster, { prefix, to, sequence, round });
    return [...this.#ledger.spaceOf(prefix)!.proof, grant];
  }
}

const JOURNAL_FULL = new WeftError(
  "JOURNAL_FULL",
  `a node that was asked has made ${MAX_JOURNAL} grants, as many as its journal holds, and grants no more`,
  "other nodes with space still grant; its log names the nodes that asked so often",
);

const networkFull = ({ genesis }: Cluster): WeftError =>
  new WeftError(
    "NETWORK_FULL",
    `no node that was asked has free space in the cluster network (${describeNetworks(genesis)})`,
    "forget a node that is gone for good (weft forget); or found a larger cluster",
  );
