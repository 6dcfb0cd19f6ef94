/**
 * Computes the differences between the tables and the state of the cluster. The compiler keeps the
 * peers that are in the tables, and by id those that are staged and not in the tables yet.
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

/** This node, for its own dataplane. */
export interface ThisNode {
  readonly vni: number;
  readonly mac: Uint8Array;
  /** Largest inner packet, in bytes. */
  readonly mtu: number;
  readonly leases: readonly Prefix[];
  /** DSCP of outer headers; default 0. */
  readonly dscp?: Dscp | undefined;
}

export interface PeerRoute {
  readonly prefix: Prefix;
  /** Index in the table of peers; NO_ROUTE removes the route. */
  readonly peer: number;
}

/** Result of a lookup for this node's own leases; indexes of peers are higher. */
export const THIS_NODE = 1;
export const FIRST_PEER = 2;

/** Changes to apply to tables that are in the state of the last `commit`. */
export interface Differences {
  readonly own: ThisNode;
  /** Whether there are no changes. */
  readonly isNone: boolean;
  /** Peers that are removed, and the earlier state of those that changed. */
  readonly removed: readonly PeerEntry[];
  /** Peers that are added, and the new state of those that changed. */
  readonly added: readonly PeerEntry[];
  /** Positions of added peers; other peers may have had them before. */
  readonly newPlaces: readonly number[];
  readonly routes: readonly PeerRoute[];
  /** Entries that `commit` removes from the compiler's state, and those that it adds. */
  readonly before: KnownState;
  readonly after: KnownState;
  /** Ids of the staged peers among them. */
  readonly staged: readonly string[];
}

/** Some of the peers, and claims of theirs and of this node. */
interface KnownState {
  readonly peers: readonly KnownPeer[];
  readonly claims: readonly PrefixClaim[];
}

interface KnownPeer {
  readonly id: string;
  /** A copy: the caller may change its object. */
  readonly peer: Peer;
  readonly index: number;
  readonly claims: readonly PrefixClaim[];
}

export interface CompilerOptions {
  /** Peers without an agent. */
  readonly statics?: readonly Peer[] | undefined;
  /** Whether connections still count towards the peer that had the position. */
  readonly isHeld?: ((place: number) => boolean) | undefined;
  /** Positions, by name, of the peers of the first commit; by default the lowest free ones. */
  readonly places?: ReadonlyMap<string, number> | undefined;
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
  /** Staged peers by id, not in the tables yet; undefined for a removed one. */
  readonly #staged = new Map<string, Peer | undefined>();
  /** The reasons why peers are left out, by id. */
  readonly #conflicts = new Map<string, string>();
  /** Positions to give at the first commit. */
  #earlier: ReadonlyMap<string, number>;

  /** @param places size of the table of peers, including the entries before FIRST_PEER */
  constructor(places: number, options: CompilerOptions = {}) {
    const { statics = [], isHeld = () => false, places: earlier = NO_PLACES } = options;
    this.#places = places;
    this.#isHeld = isHeld;
    this.#earlier = earlier;
    this.#statics = new StaticPeers(statics);
    for (const [id, peer] of this.#statics) this.#staged.set(id, peer);
  }

  /** Stages the new state of the peer with this id; undefined removes it. */
  stage(id: string, peer: Peer | undefined): void {
    const conflict = peer && this.#statics.conflictWith(peer);
    this.#staged.set(id, conflict === undefined ? peer : undefined);
    if (conflict === undefined) this.#conflicts.delete(id);
    else this.#conflicts.set(id, conflict);
  }

  /**
   * Stages exactly these peers. Their names are their ids.
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
   * Compares the staged peers that are ready with the tables. It changes no state; `commit` does. A
   * peer that is not ready stays as the tables have it, unless a ready one has its name by now: then
   * it leaves the tables until it is ready.
   * @throws WeftError when a peer is malformed, or two contradict each other
   */
  compare(own: ThisNode, isReady: (peer: Peer) => boolean = () => true): Differences {
    const isOther = this.#own === undefined || !sameTunnel(this.#own, own);
    const ready = [...this.#staged].filter(([, peer]) => !peer || isReady(peer));
    const changed = new Map<string, Peer | undefined>();
    if (isOther) for (const { id, peer } of this.#peers.values()) changed.set(id, peer);
    for (const [id, peer] of ready) {
      if (isOther || !samePeer(this.#peers.get(id)?.peer, peer)) changed.set(id, peer);
    }
    for (const id of this.#displaced(ready)) changed.set(id, undefined);
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

  /** Call it once the differences are in the tables. */
  commit({ own, isNone, before, after, staged }: Differences): void {
    for (const id of staged) this.#staged.delete(id);
    if (isNone) return;
    this.#earlier = NO_PLACES;
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

  /** The staged peers, whether in the tables or not. */
  *staged(): Generator<Peer> {
    for (const { id, peer } of this.#peers.values()) if (!this.#staged.has(id)) yield peer;
    for (const peer of this.#staged.values()) if (peer) yield peer;
  }

  /** The reasons why peers are left out: one sentence each. */
  get conflicts(): string[] {
    return [...this.#conflicts.values()];
  }

  /** A peer's position in the table. */
  indexOf(name: string): number | undefined {
    return this.#byName.get(name)?.index;
  }

  /** The peer at a position. */
  nameAt(index: number): string | undefined {
    return this.#byPlace.get(index)?.peer.name;
  }

  /** The names of all peers. */
  names(): Iterable<string> {
    return this.#byName.keys();
  }

  /** All routes with their owners. */
  claims(): PrefixClaim[] {
    return [...this.#claims];
  }

  /** Ids of peers in the tables that are staged and not ready, and whose name a ready peer has. */
  #displaced(ready: readonly (readonly [string, Peer | undefined])[]): string[] {
    const isReady = new Set(ready.map(([id]) => id));
    return ready.flatMap(([id, peer]) => {
      const holder = peer && this.#byName.get(peer.name)?.id;
      const isOther = holder !== undefined && holder !== id;
      return isOther && this.#staged.has(holder) && !isReady.has(holder) ? [holder] : [];
    });
  }

  /**
   * A name keeps its position as long as a peer has it. A new one takes the lowest free position, those
   * that are held last.
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
      const index = holder?.index ?? this.#earlier.get(name) ?? (places.next().value as number);
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

const NO_PLACES: ReadonlyMap<string, number> = new Map();

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

/** A prefix that moves between peers is one change; one that stays is none. */
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

/** Whether the fields of this node in all peers' records are the same. */
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
