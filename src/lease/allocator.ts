/**
 * What a node does with the space it owns: takes its own lease from it, and
 * gives parts of it to those who ask. What it gave is on disk before the grant
 * leaves the node: see docs/leases.md.
 */
import { covers, formatPrefix, overlaps, type Prefix, parsePrefix } from "../address.js";
import { WeftError } from "../error.js";
import { type Identity, nodeId } from "../mesh/identity.js";
import { MAX_PROOFS } from "./bundle.js";
import { type Cluster, describe, inside, type Network } from "./genesis.js";
import {
  type Grant,
  MAX_GIVEN,
  MAX_TAKEN,
  type Proof,
  prefixOf,
  sequenceAt,
  signGrant,
  subnetOf,
} from "./grant.js";
import { blockToGive, firstLeases, freeBlocks } from "./space.js";
import { MAX_COUNTING } from "./word.js";

/**
 * Space that came through this many grants is given on as single leases only,
 * so a proof has at most one grant more, however long the line of joiners is.
 */
export const MAX_HANDS = 12;

/**
 * Grants in the journal, which is never shortened: who has made so many gives no more. And what is
 * void: while so many are, others cannot make a node write down more. 8 MB and 2 MB on disk.
 */
export const MAX_JOURNAL = 16_384;
export const MAX_VOID = 16_384;

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
  /** Of these, the last that were taken back: `MAX_TAKEN`. */
  readonly taken: readonly string[];
}

export interface AllocatorParts {
  readonly identity: Identity;
  readonly cluster: Cluster;
  /** Leases that this node is to hold in each network. */
  readonly wanted: number;
  /** Space that is never given. */
  readonly reserved: readonly Prefix[];
  /** Milliseconds since the epoch. */
  now(): number;
  ledger(): Ledger;
  /** The proofs that other nodes show. What they prove is not given, whatever the journal says. */
  claims(): Iterable<Proof>;
  /** Writes to disk, or throws. */
  save(change: Partial<Ledger>): void;
}

/** What a request says of who asks. */
export interface Asked {
  /** Signatures of the gifts it has. */
  readonly have?: readonly string[];
  /** Only a lease is to be given, however much is free. */
  readonly sparing?: boolean;
}

/** A part of a network that this node owns. The founder's proof of it is empty. */
interface Space {
  readonly prefix: string;
  readonly proof: Proof;
}

export class Allocator {
  readonly #parts: AllocatorParts;
  #void: { readonly list: readonly string[]; readonly set: ReadonlySet<string> } | undefined;

  constructor(parts: AllocatorParts) {
    this.#parts = parts;
  }

  /** The networks in which this node holds fewer leases than it is to hold. */
  get lacks(): Network[] {
    return this.#networks.filter((network) => this.#missing(network) > 0);
  }

  /** The networks in which this node holds none. */
  get needs(): Network[] {
    const { ledger } = this.#parts;
    const leases = ledger().leases.map(subnetOf);
    return this.#networks.filter(({ prefix }) => !leases.some((lease) => inside(prefix, lease)));
  }

  /** Proofs of all that this node was given. */
  get proofs(): Proof[] {
    const { spaces, leases } = this.#parts.ledger();
    return [...spaces, ...leases];
  }

  /** Why this node gives no more, though it may have space. */
  get exhausted(): WeftError | undefined {
    return this.#parts.ledger().journal.length >= MAX_JOURNAL ? JOURNAL_FULL : undefined;
  }

  /** For each network, log2 of the leases in the largest block it can give; null when there is none. */
  get free(): (number | null)[] {
    return this.#networks.map((network) => {
      if (this.exhausted) return null;
      const lengths = this.#freeIn(network).map(({ length }) => length);
      return lengths.length > 0 ? network.leaseLength - Math.min(...lengths) : null;
    });
  }

  /** Takes leases from this node's own space in the networks where it lacks some. */
  take(): void {
    const { identity, cluster, ledger, save } = this.#parts;
    const { journal, leases } = ledger();
    const grants: Grant[] = [];
    const taken: Proof[] = [];
    for (const network of this.lacks) {
      const free = this.#freeIn(network);
      const last = parsePrefix(network.prefix).base;
      const missing = this.#missing(network);
      for (const lease of firstLeases(free, network.leaseLength, { last, count: missing })) {
        const prefix = formatPrefix(lease);
        const grant = this.#sign(prefix, identity.publicKey, [...journal, ...grants]);
        grants.push(grant);
        taken.push([...this.#owned(cluster, prefix)!.proof, grant]);
      }
    }
    if (grants.length > 0) {
      save({ journal: [...journal, ...grants], leases: [...leases, ...taken] });
    }
  }

  /**
   * Space, or where there is little left a lease, in each of these networks where this node can:
   * what this receiver was given before and does not know of; else half of what is free, or a
   * single lease to who has some. Answers with the reason when it can in none.
   */
  give(
    to: string,
    networks: readonly string[],
    { have = [], sparing = have.length > 0 }: Asked = {},
  ): Proof[] | WeftError {
    const { cluster, ledger, save } = this.#parts;
    const { journal } = ledger();
    const grants: Grant[] = [];
    const proofs: Proof[] = [];
    for (const network of this.#networks.filter(({ prefix }) => networks.includes(prefix))) {
      const gifts = this.#gifts(network, to);
      const unknown = gifts.filter((proof) => !have.includes(proof.at(-1)!.signature));
      proofs.push(...unknown);
      if (unknown.length > 0 || gifts.length >= MAX_PROOFS) continue;
      const share = this.exhausted ? undefined : this.#share(network, sparing);
      if (!share) continue;
      const prefix = formatPrefix(share);
      const grant = this.#sign(prefix, to, [...journal, ...grants]);
      grants.push(grant);
      proofs.push([...this.#owned(cluster, prefix)!.proof, grant]);
    }
    if (grants.length > 0) save({ journal: [...journal, ...grants] });
    return proofs.length > 0 ? proofs.slice(0, MAX_GIVEN) : (this.exhausted ?? full(cluster));
  }

  /** Signatures of the gifts from which this node's space and leases come. */
  get gifts(): string[] {
    return this.#received.map(({ signature }) => signature);
  }

  /** Who gave this node what it holds, if others did: who can take it back. */
  get givers(): Set<string> {
    return new Set(this.#received.map(({ from }) => from));
  }

  /**
   * Signatures of the gifts of this node to another that count. A word names `MAX_COUNTING`: of more,
   * those come first of which something is seen, since the receiver gives up what is not named.
   */
  counting(to: string): string[] {
    const gifts = this.#networks
      .flatMap((network) => this.#gifts(network, to))
      .map((proof) => proof.at(-1)!.signature);
    if (gifts.length <= MAX_COUNTING) return gifts;
    const unseen = new Set(this.unseen.map((proof) => proof.at(-1)!.signature));
    const rank = (signature: string) => Number(unseen.has(signature));
    return gifts.sort((a, b) => rank(a) - rank(b)).slice(0, MAX_COUNTING);
  }

  /** Gifts of this node that count, and of which nothing is seen in what the others show. */
  get unseen(): Proof[] {
    const { cluster, claims } = this.#parts;
    const unseen = new Map(this.#given.map((grant) => [grant.signature, grant]));
    for (const proof of claims()) {
      if (unseen.size === 0) break;
      for (const { signature } of proof) unseen.delete(signature);
    }
    return [...unseen.values()].flatMap((grant) => {
      const space = this.#owned(cluster, grant.prefix);
      return space ? [[...space.proof, grant]] : [];
    });
  }

  /** Whether this node has something from another, or another has something from it. */
  get knowsOthers(): boolean {
    return this.#given.length > 0 || this.givers.size > 0;
  }

  /** Whether the prefix is a lease: it cannot be given on. */
  isLease(prefix: string): boolean {
    const network = this.#networks.find((whole) => inside(whole.prefix, prefix));
    return network?.leaseLength === parsePrefix(prefix).length;
  }

  /** A giver has said which of its gifts count. The others are lost. Answers whether there were such. */
  confirmed(giver: string, counting: readonly string[]): boolean {
    const mine = this.#received.filter(({ from }) => from === giver);
    return this.lose(
      mine.map(({ signature }) => signature).filter((one) => !counting.includes(one)),
    );
  }

  /** Drops for good what comes from these grants. Answers whether there was such. */
  lose(gone: readonly string[]): boolean {
    const { ledger, save } = this.#parts;
    const { spaces, leases, void: before } = ledger();
    const stays = (proof: Proof) => !proof.some(({ signature }) => gone.includes(signature));
    const kept = { spaces: spaces.filter(stays), leases: leases.filter(stays) };
    if (kept.spaces.length === spaces.length && kept.leases.length === leases.length) return false;
    const lost = leases.filter((proof) => !stays(proof)).map((proof) => proof.at(-1)!.signature);
    save({ ...kept, void: [...new Set([...before, ...gone, ...lost])] });
    return true;
  }

  /**
   * Lets go of everything this node was given, for good, on its disk first.
   * Answers with the gifts, for their givers; with nothing when it keeps them,
   * because parts of them are others' by now, or nothing was given.
   */
  letGo(): Grant[] | undefined {
    const { ledger, save } = this.#parts;
    const { journal, void: before } = ledger();
    const gifts = this.#received;
    if (this.#given.length > 0 || gifts.length === 0) return undefined;
    const gone = [...gifts, ...journal].map(({ signature }) => signature);
    save({ spaces: [], leases: [], void: [...new Set([...before, ...gone])] });
    return gifts;
  }

  /** `holder` has let go of these gifts. `leases` are what it last showed. */
  returned(holder: string, gifts: readonly string[], leases: readonly Proof[]): string[] {
    const { ledger, save } = this.#parts;
    const { void: before } = ledger();
    const mine = this.#given.filter(
      ({ to, signature }) => to === holder && gifts.includes(signature),
    );
    if (mine.length === 0 || !this.#canVoid) return [];
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
    return proofs.map((proof) => proof.at(-1)!.signature).filter((one) => this.#gone.has(one));
  }

  /**
   * Takes back what a dead node holds, as far as this node can: what it gave itself, and what was
   * given by one from which it has taken it back. Answers with the public keys of those who can
   * take the rest.
   */
  takeBack(holder: string, leases: readonly Proof[]): Set<string> {
    const { journal } = this.#parts.ledger();
    const gone: string[] = [];
    const others = new Set<string>();
    for (const proof of leases) {
      const at = proof.findLastIndex(({ from, to }) => to === holder && from !== holder);
      const other = this.#whoCanTake(holder, proof, at);
      if (other !== undefined) others.add(other);
      else gone.push(...proof.slice(at).map(({ signature }) => signature));
    }
    for (const { to, signature } of journal) if (to === holder) gone.push(signature);
    this.#took(gone);
    return others;
  }

  /** What counts of what this node gave to the node of this id, as prefixes. */
  givenTo(id: string): string[] {
    return this.#given.filter(({ to }) => nodeId(to) === id).map(({ prefix }) => prefix);
  }

  /** Takes that back from one of which there is no record. Answers with the prefixes. */
  takeBackFrom(id: string): string[] {
    const gifts = this.#given.filter(({ to }) => nodeId(to) === id);
    this.#took(gifts.map(({ signature }) => signature));
    return gifts.map(({ prefix }) => prefix);
  }

  #took(gone: readonly string[]): void {
    const { ledger, save } = this.#parts;
    const { void: before, taken } = ledger();
    const fresh = [...new Set(gone)].filter((one) => !this.#gone.has(one));
    if (fresh.length === 0) return;
    save({ void: [...before, ...fresh], taken: [...taken, ...fresh].slice(-MAX_TAKEN) });
  }

  /** Nothing where it is this node; the proof's grant at `at` is the holder's gift. */
  #whoCanTake(holder: string, proof: Proof, at: number): string | undefined {
    const { identity } = this.#parts;
    if (at < 0) return holder;
    const mine = proof.findLastIndex(({ from }) => from === identity.publicKey);
    if (mine < 0) return proof[at]!.from;
    return proof.slice(mine, at).findLast(({ signature }) => !this.#gone.has(signature))?.to;
  }

  /**
   * Adds what was given to this node. The proofs have been checked, but for
   * this: what was taken back may be heard again, late or by a lie, and a giver that lies, or has
   * forgotten, gives the same twice. Answers with the signatures of what this node does not need,
   * and will never hold; what it cannot write down as such is as if it had not come.
   */
  accept(proofs: readonly Proof[]): string[] {
    const { ledger, save } = this.#parts;
    const { spaces, leases, void: voided } = ledger();
    const known = new Set([...voided, ...this.gifts]);
    const each = new Map(proofs.map((proof) => [proof.at(-1)!.signature, proof]));
    const fresh = [...each.values()].filter(
      (proof) => !proof.some(({ signature }) => known.has(signature)),
    );
    const isLease = (proof: Proof) => this.isLease(subnetOf(proof));
    const taken: Proof[] = [];
    for (const network of this.#networks) {
      const here = fresh.filter((proof) => inside(network.prefix, subnetOf(proof)));
      let missing = this.#missing(network);
      const spaces = missing > 0 ? here.filter((proof) => !isLease(proof)) : [];
      for (const proof of [...spaces, ...here.filter(isLease)]) {
        if (isLease(proof) && missing === 0) break;
        if (this.#overlapsHeld(proof, taken)) continue;
        taken.push(proof);
        if (isLease(proof)) missing--;
      }
    }
    const left = this.#canVoid ? fresh.filter((proof) => !taken.includes(proof)) : [];
    const surplus = left.map((proof) => proof.at(-1)!.signature);
    if (taken.length + surplus.length > 0) {
      save({
        spaces: [...spaces, ...taken.filter((proof) => !this.isLease(subnetOf(proof)))],
        leases: [...leases, ...taken.filter((proof) => this.isLease(subnetOf(proof)))],
        void: [...voided, ...surplus],
      });
    }
    return surplus;
  }

  /** Whether this node has some of that already, or just took it; what it gave away may come back. */
  #overlapsHeld(gift: Proof, taken: readonly Proof[]): boolean {
    const { identity, ledger } = this.#parts;
    const { spaces, leases } = ledger();
    const isOfMine = gift.some(({ from }) => from === identity.publicKey);
    const held = [...taken, ...leases, ...(isOfMine ? [] : spaces)];
    const space = prefixOf(gift.at(-1)!);
    return held.some((proof) => overlaps(prefixOf(proof.at(-1)!), space));
  }

  /**
   * Drops for good the space in which this node holds nothing and from which it gave nothing, and
   * answers with the proofs. So what it owns can be seen in its record.
   */
  dropUnused(): Proof[] {
    const { ledger, save } = this.#parts;
    const { journal, spaces, void: before } = ledger();
    if (!this.#canVoid) return [];
    const live = journal.filter(({ signature }) => !this.#gone.has(signature)).map(prefixOf);
    const unused = spaces.filter((proof) => {
      const space = prefixOf(proof.at(-1)!);
      return !live.some((prefix) => covers(space, prefix));
    });
    if (unused.length > 0) {
      const gone = unused.map((proof) => proof.at(-1)!.signature);
      const left = spaces.filter((proof) => !unused.includes(proof));
      save({ spaces: left, void: [...before, ...gone] });
    }
    return unused;
  }

  /** Writes down grants of this node's own that others show and it has forgotten: its disk is of an earlier time. */
  recall(proofs: readonly Proof[]): boolean {
    const { identity, ledger, save } = this.#parts;
    const own = proofs.flat().filter(({ from }) => from === identity.publicKey);
    if (own.length === 0) return false;
    const { journal } = ledger();
    const all = new Map([...journal, ...own].map((grant) => [grant.signature, grant]));
    if (all.size === journal.length) return false;
    save({ journal: [...all.values()].sort((a, b) => a.sequence - b.sequence) });
    return true;
  }

  get #networks(): readonly Network[] {
    return this.#parts.cluster.genesis.network;
  }

  /** The grants of this node to others that count. */
  get #given(): Grant[] {
    const { identity, ledger } = this.#parts;
    const isOther = ({ to }: Grant) => to !== identity.publicKey;
    return ledger().journal.filter((one) => isOther(one) && !this.#gone.has(one.signature));
  }

  /** The last grant by another in each proof this node holds, each once. */
  get #received(): Grant[] {
    const me = this.#parts.identity.publicKey;
    const gifts = this.proofs.flatMap(
      (proof) => proof.findLast(({ from, to }) => to === me && from !== me) ?? [],
    );
    return [...new Map(gifts.map((grant) => [grant.signature, grant])).values()];
  }

  /** How many leases this node is to take in a network, beside those it has. */
  #missing({ prefix }: Network): number {
    const { ledger, wanted } = this.#parts;
    const held = ledger().leases.filter((proof) => inside(prefix, subnetOf(proof)));
    return Math.max(0, wanted - held.length);
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

  /** What this receiver was given in a network, and was not taken back. */
  #gifts(network: Network, to: string): Proof[] {
    const { cluster, ledger } = this.#parts;
    return ledger().journal.flatMap((grant) => {
      if (grant.to !== to || this.#gone.has(grant.signature)) return [];
      if (!inside(network.prefix, grant.prefix)) return [];
      const space = this.#owned(cluster, grant.prefix);
      return space ? [[...space.proof, grant]] : [];
    });
  }

  #share(network: Network, sparing: boolean): Prefix | undefined {
    const { leaseLength } = network;
    const block = blockToGive(this.#freeIn(network), leaseLength);
    if (!block) return undefined;
    const hands = this.#owned(this.#parts.cluster, formatPrefix(block))!.proof.length;
    return sparing || hands >= MAX_HANDS ? { ...block, length: leaseLength } : block;
  }

  #freeIn(network: Network): Prefix[] {
    return this.#spaces(network).flatMap((space) => this.#free(network, space));
  }

  #free(network: Network, space: Space): Prefix[] {
    const { reserved } = this.#parts;
    const whole = parsePrefix(space.prefix);
    return freeBlocks(whole, [...reserved, ...this.#taken(whole)], network.leaseLength);
  }

  /** What was given of a space, by the journal and by what others can prove. */
  *#taken(space: Prefix): Generator<Prefix> {
    const { identity, ledger, claims } = this.#parts;
    const gone = this.#gone;
    const { journal, leases } = ledger();
    for (const proof of leases) yield prefixOf(proof.at(-1)!);
    for (const grant of journal) if (!gone.has(grant.signature)) yield prefixOf(grant);
    for (const proof of claims()) {
      const first = proof.find(
        (grant) =>
          covers(space, prefixOf(grant)) &&
          !gone.has(grant.signature) &&
          (grant.to !== identity.publicKey || this.isLease(grant.prefix)),
      );
      if (first) yield prefixOf(first);
    }
  }

  /** A grant of space that was given before, and taken back, stands above the earlier one. */
  #sign(prefix: string, to: string, journal: readonly Grant[]): Grant {
    const { identity, cluster, now } = this.#parts;
    const space = parsePrefix(prefix);
    const rounds = journal
      .filter((grant) => this.#gone.has(grant.signature) && overlaps(prefixOf(grant), space))
      .map(({ round }) => round + 1);
    const sequence = Math.max((journal.at(-1)?.sequence ?? 0) + 1, sequenceAt(now()));
    return signGrant(identity, cluster, { prefix, to, sequence, round: Math.max(0, ...rounds) });
  }

  /** What counts no more, to be looked up. */
  get #gone(): ReadonlySet<string> {
    const list = this.#parts.ledger().void;
    if (this.#void?.list !== list) this.#void = { list, set: new Set(list) };
    return this.#void.set;
  }

  /** Whether this node can write down more that counts no more, at the wish of others. */
  get #canVoid(): boolean {
    return this.#parts.ledger().void.length < MAX_VOID;
  }
}

const JOURNAL_FULL = new WeftError(
  "JOURNAL_FULL",
  `a node that was asked has given ${MAX_JOURNAL} times, as often as it can write down, and gives no more`,
  "other nodes with space still give; its log says who asked so often",
);

const full = ({ genesis }: Cluster): WeftError =>
  new WeftError(
    "NETWORK_FULL",
    `no node that was asked has free space in the cluster network (${describe(genesis)})`,
    "forget a node that is gone for good (weft forget); or found a larger cluster",
  );
