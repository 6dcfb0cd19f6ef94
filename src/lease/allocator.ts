/**
 * What a node does with the space it owns: takes its own lease from it, and
 * gives parts of it to those who ask. What it gave is on disk before the grant
 * leaves the node: see docs/leases.md.
 */
import { formatPrefix, overlaps, type Prefix, parsePrefix } from "../address.js";
import { WeftError } from "../error.js";
import type { Identity } from "../mesh/identity.js";
import { type Cluster, describe, inside, type Network } from "./genesis.js";
import { type Grant, type Proof, signGrant, subnetOf } from "./grant.js";
import { blockToGive, firstLease, freeBlocks } from "./space.js";

/**
 * Space that came through this many grants is given on as single leases only,
 * so a proof has at most one grant more, however long the line of joiners is.
 */
export const MAX_HANDS = 12;

/** What a node must remember of its space. */
export interface Ledger {
  /** Every grant made so far. */
  readonly journal: readonly Grant[];
  /** Proofs of the space that was given to this node. */
  readonly spaces: readonly Proof[];
  /** Proofs of its leases. */
  readonly leases: readonly Proof[];
  /** Signatures of the grants below this node that count no more. */
  readonly void: readonly string[];
}

export interface AllocatorParts {
  readonly identity: Identity;
  readonly cluster: Cluster;
  /** Space that is never given. */
  readonly reserved: readonly Prefix[];
  ledger(): Ledger;
  /** The proofs that other nodes show. What they prove is not given, whatever the journal says. */
  claims(): Iterable<Proof>;
  /** Writes to disk, or throws. */
  save(change: Partial<Ledger>): void;
}

/** A part of a network that this node owns. The founder's proof of it is empty. */
interface Space {
  readonly prefix: string;
  readonly proof: Proof;
}

export class Allocator {
  readonly #parts: AllocatorParts;

  constructor(parts: AllocatorParts) {
    this.#parts = parts;
  }

  /** The networks in which this node holds no lease yet. */
  get lacks(): Network[] {
    const leases = this.#parts.ledger().leases.map(subnetOf);
    return this.#networks.filter(({ prefix }) => !leases.some((lease) => inside(prefix, lease)));
  }

  /** Takes leases from this node's own space in the networks where it has none. */
  take(): void {
    const { identity, cluster, ledger, save } = this.#parts;
    const { journal, leases } = ledger();
    const grants: Grant[] = [];
    const taken: Proof[] = [];
    for (const network of this.lacks) {
      const free = this.#spaces(network).flatMap((space) => this.#free(network, space));
      const last = parsePrefix(network.prefix).base;
      const lease = firstLease(free, network.leaseLength, last);
      if (!lease) continue;
      const prefix = formatPrefix(lease);
      const grant = this.#sign(prefix, identity.publicKey, [...journal, ...grants]);
      grants.push(grant);
      taken.push([...this.#owned(cluster, prefix)!.proof, grant]);
    }
    if (grants.length > 0) {
      save({ journal: [...journal, ...grants], leases: [...leases, ...taken] });
    }
  }

  /**
   * Space, or where there is little left a lease, in each of these networks
   * where this node can: what this receiver already has from it, or half of
   * what is free. Answers with the reason when it can in none.
   */
  give(to: string, networks: readonly string[]): Proof[] | WeftError {
    const { cluster, ledger, save } = this.#parts;
    const { journal } = ledger();
    const grants: Grant[] = [];
    const proofs: Proof[] = [];
    for (const network of this.#networks.filter(({ prefix }) => networks.includes(prefix))) {
      const had = this.#had(network, to);
      if (had) proofs.push(had);
      const share = had ? undefined : this.#share(network);
      if (!share) continue;
      const prefix = formatPrefix(share);
      const grant = this.#sign(prefix, to, [...journal, ...grants]);
      grants.push(grant);
      proofs.push([...this.#owned(cluster, prefix)!.proof, grant]);
    }
    if (grants.length > 0) save({ journal: [...journal, ...grants] });
    return proofs.length > 0 ? proofs : full(cluster);
  }

  /** Who gave this node its lease in each network, if another did: who can take it back. */
  get givers(): Map<string, string> {
    const { identity, ledger } = this.#parts;
    const givers = new Map<string, string>();
    for (const proof of ledger().leases) {
      const network = this.#networks.find(({ prefix }) => inside(prefix, subnetOf(proof)));
      const gift = proof.findLast(({ from, to }) => to === identity.publicKey && from !== to);
      if (network && gift) givers.set(network.prefix, gift.from);
    }
    return givers;
  }

  /**
   * The giver has answered again. If it is what this node has, all is well;
   * if not, the lease was taken back: it is dropped, with the space it is of.
   */
  replace(proof: Proof): void {
    const { ledger, save } = this.#parts;
    const { spaces, leases, void: voided } = ledger();
    const network = this.#networks.find(({ prefix }) => inside(prefix, subnetOf(proof)));
    const gift = proof.at(-1)!;
    const lease = leases.find((one) => network && inside(network.prefix, subnetOf(one)));
    if (!lease || lease.some(({ signature }) => signature === gift.signature)) return;
    const lost = lease.find(({ from, to }) => from === gift.from && to === gift.to)?.signature;
    const stays = (one: Proof) => !one.some(({ signature }) => signature === lost);
    save({
      spaces: spaces.filter(stays),
      leases: leases.filter(stays),
      ...(lost && { void: [...voided, lost] }),
    });
    this.accept([proof]);
  }

  /**
   * Lets go of everything this node was given, for good, on its disk first.
   * Answers with the signatures of the gifts, for their givers; with nothing when
   * it keeps them, because parts of them are others' by now, or nothing was given.
   */
  letGo(): string[] | undefined {
    const { identity, ledger, save } = this.#parts;
    const { journal, spaces, leases, void: before } = ledger();
    const me = identity.publicKey;
    const isInUse = journal.some(({ to, signature }) => to !== me && !before.includes(signature));
    const gifts = [...spaces, ...leases].flatMap(
      (proof) => proof.findLast(({ from, to }) => to === me && from !== me)?.signature ?? [],
    );
    if (isInUse || gifts.length === 0) return undefined;
    const own = journal.map(({ signature }) => signature);
    save({ spaces: [], leases: [], void: [...new Set([...before, ...gifts, ...own])] });
    return [...new Set(gifts)];
  }

  /** `holder` has let go of these gifts. `leases` are what it last showed. */
  returned(holder: string, gifts: readonly string[], leases: readonly Proof[]): string[] {
    const { ledger, save } = this.#parts;
    const { journal, void: before } = ledger();
    const mine = journal.filter(
      ({ to, signature }) =>
        to === holder && gifts.includes(signature) && !before.includes(signature),
    );
    if (mine.length === 0) return [];
    const given = mine.map(({ signature }) => signature);
    const below = leases.flatMap((proof) => {
      const at = proof.findIndex(({ signature }) => given.includes(signature));
      return at < 0 ? [] : proof.slice(at).map(({ signature }) => signature);
    });
    save({ void: [...new Set([...before, ...given, ...below])] });
    return mine.map(({ prefix }) => prefix);
  }

  /** The gifts among these that this node has let go of, or lost. */
  lost(proofs: readonly Proof[]): string[] {
    const gone = this.#parts.ledger().void;
    return proofs.map((proof) => proof.at(-1)!.signature).filter((one) => gone.includes(one));
  }

  /**
   * Takes back what a dead node holds. Only its giver can; or, where that one
   * was itself forgotten, the giver of that one. Answers with the public key of
   * who can, if that is another.
   */
  takeBack(holder: string, leases: readonly Proof[]): string | undefined {
    const { identity, ledger, save } = this.#parts;
    const { journal, void: before } = ledger();
    const gone = new Set(before);
    for (const proof of leases) {
      const at = proof.findLastIndex(({ from, to }) => to === holder && from !== holder);
      if (at < 0) return holder;
      const mine = proof.findLastIndex(({ from }) => from === identity.publicKey);
      const between = mine < 0 ? proof : proof.slice(mine, at);
      const alive = between.findLast(({ signature }) => !before.includes(signature));
      if (alive) return mine < 0 ? proof[at]!.from : alive.to;
      for (const { signature } of proof.slice(at)) gone.add(signature);
    }
    for (const { to, signature } of journal) if (to === holder) gone.add(signature);
    save({ void: [...gone] });
    return undefined;
  }

  /**
   * Adds what was given to this node. The proofs have been checked, but for
   * this: what was taken back may be heard again, late or by a lie.
   */
  accept(proofs: readonly Proof[]): void {
    const { ledger, save } = this.#parts;
    const { spaces, leases, void: voided } = ledger();
    const lacks = this.lacks.map(({ prefix }) => prefix);
    const known = new Set([...voided, ...spaces.map((proof) => proof.at(-1)!.signature)]);
    const fresh = proofs.filter((proof) => !proof.some(({ signature }) => known.has(signature)));
    const isLease = (proof: Proof) => this.#isLease(subnetOf(proof));
    const fills = (proof: Proof) => lacks.some((network) => inside(network, subnetOf(proof)));
    save({
      spaces: [...spaces, ...fresh.filter((proof) => !isLease(proof))],
      leases: [...leases, ...fresh.filter((proof) => isLease(proof) && fills(proof))],
    });
  }

  get #networks(): readonly Network[] {
    return this.#parts.cluster.genesis.network;
  }

  #isLease(subnet: string): boolean {
    const network = this.#networks.find(({ prefix }) => inside(prefix, subnet));
    return network?.leaseLength === parsePrefix(subnet).length;
  }

  #spaces(network: Network): Space[] {
    const { identity, cluster, ledger } = this.#parts;
    const given = ledger()
      .spaces.map((proof) => ({ prefix: subnetOf(proof), proof }))
      .filter(({ prefix }) => inside(network.prefix, prefix));
    const isFounder = cluster.genesis.founder === identity.publicKey;
    return isFounder ? [{ prefix: network.prefix, proof: [] }] : given;
  }

  /** This node's space that holds a prefix. */
  #owned({ genesis }: Cluster, prefix: string): Space | undefined {
    return genesis.network
      .flatMap((network) => this.#spaces(network))
      .find((space) => inside(space.prefix, prefix));
  }

  /** What this receiver was given in a network before. */
  #had(network: Network, to: string): Proof | undefined {
    const ledger = this.#parts.ledger();
    for (const grant of ledger.journal) {
      if (grant.to !== to || !inside(network.prefix, grant.prefix)) continue;
      if (ledger.void.includes(grant.signature)) continue;
      const space = this.#owned(this.#parts.cluster, grant.prefix);
      if (space) return [...space.proof, grant];
    }
    return undefined;
  }

  #share(network: Network): Prefix | undefined {
    const { leaseLength } = network;
    const spaces = this.#spaces(network);
    const free = spaces.flatMap((space) => this.#free(network, space));
    const block = blockToGive(free, leaseLength);
    if (!block) return undefined;
    const hands = this.#owned(this.#parts.cluster, formatPrefix(block))!.proof.length;
    return hands < MAX_HANDS ? block : { ...block, length: leaseLength };
  }

  #free(network: Network, space: Space): Prefix[] {
    const { reserved } = this.#parts;
    const taken = [...this.#taken(space.prefix)].map(parsePrefix);
    return freeBlocks(parsePrefix(space.prefix), [...reserved, ...taken], network.leaseLength);
  }

  /** What was given of a space, by the journal and by what others can prove. */
  *#taken(space: string): Generator<string> {
    const { identity, ledger, claims } = this.#parts;
    const { journal, void: voided } = ledger();
    const gone = new Set(voided);
    for (const { prefix, signature } of journal) if (!gone.has(signature)) yield prefix;
    for (const proof of claims()) {
      const first = proof.find(
        ({ prefix, to, signature }) =>
          inside(space, prefix) &&
          !gone.has(signature) &&
          (to !== identity.publicKey || this.#isLease(prefix)),
      );
      if (first) yield first.prefix;
    }
  }

  /** A grant of space that was given before, and taken back, stands above the earlier one. */
  #sign(prefix: string, to: string, journal: readonly Grant[]): Grant {
    const { identity, cluster, ledger } = this.#parts;
    const gone = ledger().void;
    const space = parsePrefix(prefix);
    const rounds = journal
      .filter((grant) => gone.includes(grant.signature))
      .filter((grant) => overlaps(parsePrefix(grant.prefix), space))
      .map(({ round }) => round + 1);
    const sequence = (journal.at(-1)?.sequence ?? 0) + 1;
    return signGrant(identity, cluster, { prefix, to, sequence, round: Math.max(0, ...rounds) });
  }
}

const full = ({ genesis }: Cluster): WeftError =>
  new WeftError(
    "NETWORK_FULL",
    `no node that was asked has free space in the cluster network (${describe(genesis)})`,
    "forget a node that is gone for good (weft forget); or found a larger cluster",
  );
