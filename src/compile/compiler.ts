/**
 * From what the cluster says to what the core searches, by differences. The compiler keeps the
 * peers that the tables show, and by id those that are staged and that the tables lack.
 *
 *   stage, stage, ... -> compare -> differences -> (the tables) -> commit
 */
import {
  type Endpoint,
  formatMac,
  formatPrefix,
  type Prefix,
  parseEndpoint,
  parseMac,
  parsePrefix,
} from "../address.js";
import { WeftError } from "../error.js";
import type { Peer } from "../peer.js";
import { type Dscp, outerTos } from "../tos.js";
import { ANY_PORT, LEAST_MTU, MAX_SENDERS, type PeerEntry } from "./peers.js";
import { type PrefixClaim, PrefixClaims } from "./prefix-claims.js";
import { NO_ROUTE } from "./rib.js";
import { StaticPeers } from "./static-peers.js";

/** This node, as its own dataplane sees it. */
export interface ThisNode {
  readonly vni: number;
  readonly mac: Uint8Array;
  /** The largest inner packet, bytes. */
  readonly mtu: number;
  readonly leases: readonly Prefix[];
  /** Of outer headers; 0 if it is not given. */
  readonly dscp?: Dscp | undefined;
}

export interface PeerRoute {
  readonly prefix: Prefix;
  /** Index in the table of peers; NO_ROUTE takes the route away. */
  readonly peer: number;
}

/** What `lookup` in the core answers for this node's own leases; peers come after it. */
export const THIS_NODE = 1;
export const FIRST_PEER = 2;

/** What is to be done to tables that are as after the last `commit`. */
export interface Differences {
  readonly own: ThisNode;
  /** Nothing is to be done at all. */
  readonly isNone: boolean;
  /** Peers that went, and those that changed, as they were. */
  readonly removed: readonly PeerEntry[];
  /** Peers that came, and those that changed, as they are now. */
  readonly added: readonly PeerEntry[];
  /** Places of those that came: others may have had them before. */
  readonly newPlaces: readonly number[];
  readonly routes: readonly PeerRoute[];
  /** What the compiler is to forget, and what to remember instead. */
  readonly before: KnownState;
  readonly after: KnownState;
  /** Ids of the staged peers that the tables then show. */
  readonly staged: readonly string[];
}

/** Some of the peers; the claims are theirs and this node's. */
interface KnownState {
  readonly peers: readonly KnownPeer[];
  readonly claims: readonly PrefixClaim[];
}

interface KnownPeer {
  readonly id: string;
  /** A copy: what was given may change in the hands of its giver. */
  readonly peer: Peer;
  readonly index: number;
  readonly claims: readonly PrefixClaim[];
}

export interface CompilerOptions {
  /** Peers that run no agent. */
  readonly statics?: readonly Peer[] | undefined;
  /** Whether connections are still counted on the account of the peer that had the place. */
  readonly isHeld?: ((place: number) => boolean) | undefined;
}

export class Compiler {
  readonly #places: number;
  readonly #isHeld: (place: number) => boolean;
  readonly #statics: StaticPeers;
  #own: ThisNode | undefined;
  #ownClaims: readonly PrefixClaim[] = [];
  /** The peers in the tables, by id. */
  readonly #peers = new Map<string, KnownPeer>();
  readonly #byName = new Map<string, KnownPeer>();
  readonly #byPlace = new Map<number, KnownPeer>();
  readonly #claims = new PrefixClaims();
  /** By id, what the tables are to show and may not show yet; nothing for a peer that goes. */
  readonly #staged = new Map<string, Peer | undefined>();
  /** By id of a peer that is left out: why. */
  readonly #conflicts = new Map<string, string>();

  /** @param places of the table of peers, those before FIRST_PEER included */
  constructor(places: number, { statics = [], isHeld = () => false }: CompilerOptions = {}) {
    this.#places = places;
    this.#isHeld = isHeld;
    this.#statics = new StaticPeers(statics);
    for (const [id, peer] of this.#statics) this.#staged.set(id, peer);
  }

  /** The peer of this id is so now, or is no more. */
  stage(id: string, peer: Peer | undefined): void {
    const conflict = peer && this.#statics.conflictWith(peer);
    this.#staged.set(id, conflict === undefined ? peer : undefined);
    if (conflict === undefined) this.#conflicts.delete(id);
    else this.#conflicts.set(id, conflict);
  }

  /**
   * Exactly these are the peers now. Their names are their ids.
   * @throws WeftError when two have one name, or a MAC address is at two endpoints; peers behind
   * one VTEP share both
   */
  stageAll(peers: readonly Peer[]): void {
    refuseTwins(peers);
    this.#staged.clear();
    for (const peer of peers) this.#staged.set(peer.name, peer);
    for (const id of this.#peers.keys()) if (!this.#staged.has(id)) this.#staged.set(id, undefined);
  }

  /**
   * What is different in what is staged, except for peers that must still wait. Nothing is
   * remembered of it before `commit`.
   * @throws WeftError when a peer cannot be read, or two contradict each other
   */
  compare(own: ThisNode, isReady: (peer: Peer) => boolean = () => true): Differences {
    const isOther = this.#own === undefined || !sameTunnel(this.#own, own);
    const ready = [...this.#staged].filter(([, peer]) => !peer || isReady(peer));
    const changed = new Map<string, Peer | undefined>();
    if (isOther) for (const { id, peer } of this.#peers.values()) changed.set(id, peer);
    for (const [id, peer] of ready) {
      if (isOther || !samePeer(this.#peers.get(id)?.peer, peer)) changed.set(id, peer);
    }
    const former = [...changed.keys()].flatMap((id) => this.#peers.get(id) ?? []);
    const before = known(former, this.#ownClaims);
    const after = known(this.#read(changed, former), claimsOf(own));
    this.#refuseOverlap(before, after);
    const routes = routesBetween(before.claims, after.claims);
    return {
      own,
      isNone: !isOther && before.peers.length + after.peers.length + routes.length === 0,
      removed: before.peers.map((known) => entryOf(known, this.#own!)),
      added: after.peers.map((known) => entryOf(known, own)),
      newPlaces: after.peers.flatMap(({ peer, index }) =>
        this.#byName.has(peer.name) ? [] : [index],
      ),
      routes,
      before,
      after,
      staged: ready.map(([id]) => id),
    };
  }

  /** The differences are in the tables. */
  commit({ own, isNone, before, after, staged }: Differences): void {
    for (const id of staged) this.#staged.delete(id);
    if (isNone) return;
    for (const { peer, index } of before.peers) {
      this.#byName.delete(peer.name);
      this.#byPlace.delete(index);
    }
    for (const known of after.peers) {
      this.#peers.set(known.id, known);
      this.#byName.set(known.peer.name, known);
      this.#byPlace.set(known.index, known);
    }
    for (const known of before.peers) {
      if (this.#peers.get(known.id) === known) this.#peers.delete(known.id);
    }
    this.#claims.replace(before.claims, after.claims);
    this.#own = own;
    this.#ownClaims = after.claims.filter(({ index }) => index === THIS_NODE);
  }

  /** The peers in the tables. */
  get peers(): Peer[] {
    return Array.from(this.#peers.values(), ({ peer }) => peer);
  }

  /** The peers as they are staged, whether the tables show them yet or not. */
  *staged(): Generator<Peer> {
    for (const { id, peer } of this.#peers.values()) if (!this.#staged.has(id)) yield peer;
    for (const peer of this.#staged.values()) if (peer) yield peer;
  }

  /** The peers that are left out, and why: a sentence each. */
  get conflicts(): string[] {
    return [...this.#conflicts.values()];
  }

  /** A peer's place in the table. */
  indexOf(name: string): number | undefined {
    return this.#byName.get(name)?.index;
  }

  /** The peer at a place. */
  nameAt(index: number): string | undefined {
    return this.#byPlace.get(index)?.peer.name;
  }

  /** The names of all peers. */
  names(): Iterable<string> {
    return this.#byName.keys();
  }

  /** Every route there is, with whose it is. */
  claims(): PrefixClaim[] {
    return [...this.#claims];
  }

  /**
   * A name keeps its place as long as a peer has it; another one takes the lowest free place, held
   * ones last.
   */
  #read(changed: ReadonlyMap<string, Peer | undefined>, former: readonly KnownPeer[]): KnownPeer[] {
    const peers = [...changed].flatMap(([id, peer]) => (peer ? [{ id, peer }] : []));
    this.#refuseTooMany(this.#peers.size - former.length + peers.length);
    const names = new Set(peers.map(({ peer }) => peer.name));
    const left = former.filter(({ peer }) => !names.has(peer.name));
    const places = this.#freePlaces(new Set(left.map(({ index }) => index)));
    const others = new Set(former);
    return peers.map(({ id, peer }) => {
      const { name, leases } = peer;
      const holder = this.#byName.get(name);
      if (!names.delete(name) || (holder && !others.has(holder))) throw twoNamed(name);
      refuseUnreadable(peer);
      const index = holder?.index ?? (places.next().value as number);
      const claims = leases.map((lease) => ({ prefix: parsePrefix(lease), index, name }));
      return { id, peer: structuredClone(peer), index, claims };
    });
  }

  #refuseTooMany(count: number): void {
    const most = this.#places - FIRST_PEER;
    if (count <= most) return;
    throw new WeftError(
      "PEERS_FULL",
      `${count} peers are more than this node can hold (${most})`,
      "split the cluster",
    );
  }

  *#freePlaces(left: ReadonlySet<number>): Generator<number, undefined> {
    const held: number[] = [];
    for (let index = FIRST_PEER; index < this.#places; index++) {
      if (this.#byPlace.has(index) && !left.has(index)) continue;
      if (this.#isHeld(index)) held.push(index);
      else yield index;
    }
    yield* held;
  }

  #refuseOverlap(before: KnownState, after: KnownState): void {
    const [wide, narrow] = this.#claims.conflict(new Set(before.claims), after.claims) ?? [];
    if (wide && narrow) {
      throw new WeftError(
        "OVERLAP",
        `${formatPrefix(narrow.prefix)} of ${holder(narrow)} overlaps ${formatPrefix(wide.prefix)} of ${holder(wide)}`,
        "every address belongs to one node: change one of the two",
      );
    }
  }
}

function refuseUnreadable({ name, senders = [], mtu }: Peer): void {
  if (senders.length > MAX_SENDERS) {
    throw wrong(
      `peer "${name}" has ${senders.length} senders`,
      `name at most ${MAX_SENDERS} endpoints that its packets come from`,
    );
  }
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= LEAST_MTU)) {
    throw wrong(
      `peer "${name}" has an MTU of ${mtu}`,
      `give a whole number of at least ${LEAST_MTU}, or none`,
    );
  }
}

function refuseTwins(peers: readonly Peer[]): void {
  const names = new Set<string>();
  const byMac = new Map<string, Peer>();
  for (const peer of peers) {
    if (names.has(peer.name)) throw twoNamed(peer.name);
    names.add(peer.name);
    const twin = byMac.get(peer.mac.toLowerCase());
    if (twin && twin.endpoint !== peer.endpoint) {
      throw wrong(
        `peers "${twin.name}" and "${peer.name}" have the same MAC address ${peer.mac}`,
        "every VTEP needs its own",
      );
    }
    byMac.set(peer.mac.toLowerCase(), peer);
  }
}

const known = (peers: readonly KnownPeer[], own: readonly PrefixClaim[]): KnownState => ({
  peers,
  claims: [...own, ...peers.flatMap(({ claims }) => claims)],
});

const claimsOf = ({ leases }: ThisNode): PrefixClaim[] =>
  leases.map((prefix) => ({ prefix, index: THIS_NODE }));

function entryOf({ peer, index }: KnownPeer, own: ThisNode): PeerEntry {
  return {
    index,
    endpoint: peer.noPath ? undefined : parseEndpoint(peer.endpoint),
    mac: parseMac(peer.mac),
    senders: sendersOf(peer),
    mtu: Math.min(peer.mtu ?? own.mtu, own.mtu),
    isVerified: peer.mtu !== undefined,
    tos: outerTos(own.dscp ?? 0, peer.ecn ?? false),
  };
}

function sendersOf(peer: Peer): Endpoint[] {
  const senders = (peer.senders ?? [peer.endpoint]).map(parseEndpoint);
  return peer.anyPort ? senders.map(({ address }) => ({ address, port: ANY_PORT })) : senders;
}

/** A prefix that goes from hand to hand is one change; one that stays in its hands is none. */
function routesBetween(
  removed: readonly PrefixClaim[],
  added: readonly PrefixClaim[],
): PeerRoute[] {
  const left = new Map(removed.map((claim) => [formatPrefix(claim.prefix), claim]));
  const changed = added.filter(({ prefix, index }) => {
    const text = formatPrefix(prefix);
    const former = left.get(text);
    left.delete(text);
    return former?.index !== index;
  });
  return [
    ...Array.from(left.values(), ({ prefix }) => ({ prefix, peer: NO_ROUTE })),
    ...changed.map(({ prefix, index }) => ({ prefix, peer: index })),
  ];
}

/** Whether this node's part of every peer's record is the same. */
const sameTunnel = (a: ThisNode, b: ThisNode): boolean =>
  a.vni === b.vni && a.mtu === b.mtu && a.dscp === b.dscp && formatMac(a.mac) === formatMac(b.mac);

const samePeer = (a: Peer | undefined, b: Peer | undefined): boolean =>
  a === undefined || b === undefined
    ? a === b
    : a.name === b.name &&
      a.endpoint === b.endpoint &&
      a.mac === b.mac &&
      a.mtu === b.mtu &&
      Boolean(a.anyPort) === Boolean(b.anyPort) &&
      Boolean(a.noPath) === Boolean(b.noPath) &&
      Boolean(a.ecn) === Boolean(b.ecn) &&
      sameTexts(a.leases, b.leases) &&
      sameTexts(a.senders ?? [a.endpoint], b.senders ?? [b.endpoint]);

const sameTexts = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((text, i) => text === b[i]);

const holder = ({ name }: PrefixClaim): string =>
  name === undefined ? "this node" : `peer "${name}"`;

const twoNamed = (name: string): WeftError =>
  wrong(`two peers are named "${name}"`, "give each its own name");

const wrong = (what: string, remedy: string): WeftError => new WeftError("PEER", what, remedy);
