/**
 * From what the cluster says to what the core searches, by differences. It
 * remembers the peers it was given, so those that stay as they are cost nothing.
 *
 *   change of peers -> compare -> differences -> (the tables) -> accept
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

/** Peers that came or changed, and names of those that went. */
export interface Change {
  readonly set: readonly Peer[];
  readonly remove: readonly string[];
}

/** What is to be done to tables that are as `accept` was told last. */
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
}

/** Some of the peers; the claims are theirs and this node's. */
interface KnownState {
  readonly peers: readonly KnownPeer[];
  readonly claims: readonly PrefixClaim[];
}

interface KnownPeer {
  /** A copy: what was given may change in the hands of its giver. */
  readonly peer: Peer;
  readonly index: number;
  readonly claims: readonly PrefixClaim[];
}

export class Compiler {
  readonly #places: number;
  readonly #isHeld: (place: number) => boolean;
  #own: ThisNode | undefined;
  #ownClaims: readonly PrefixClaim[] = [];
  readonly #peers = new Map<string, KnownPeer>();
  /** By the places that are taken. */
  readonly #names = new Map<number, string>();
  readonly #claims = new PrefixClaims();

  /**
   * @param places of the table of peers, those before FIRST_PEER included
   * @param isHeld whether connections are still counted on the account of the peer that had the
   * place
   */
  constructor(places: number, isHeld: (place: number) => boolean = () => false) {
    this.#places = places;
    this.#isHeld = isHeld;
  }

  /**
   * The change after which exactly these are the peers.
   * @throws WeftError when a MAC address is at two endpoints; peers behind one VTEP share both
   */
  changeTo(peers: readonly Peer[]): Change {
    refuseTwins(peers);
    const names = new Set(peers.map(({ name }) => name));
    return { set: peers, remove: [...this.#peers.keys()].filter((name) => !names.has(name)) };
  }

  /**
   * What a change makes different. Nothing is remembered of it.
   * @throws WeftError when a peer cannot be read, or two contradict each other
   */
  compare(own: ThisNode, change: Change): Differences {
    const isOther = this.#own === undefined || !sameTunnel(this.#own, own);
    const set = this.#different(change, isOther);
    const former = set.flatMap(({ name }) => this.#peers.get(name) ?? []);
    const leaving = this.#leaving(change);
    this.#refuseTooMany(this.#peers.size - leaving.length + set.length - former.length);

    const before = known([...leaving, ...former], this.#ownClaims);
    const after = known(this.#read(set, leaving), claimsOf(own));
    this.#refuseOverlap(before, after);
    const routes = routesBetween(before.claims, after.claims);
    return {
      own,
      isNone: !isOther && before.peers.length + after.peers.length + routes.length === 0,
      removed: before.peers.map((known) => entryOf(known, this.#own!)),
      added: after.peers.map((known) => entryOf(known, own)),
      newPlaces: after.peers.flatMap(({ peer, index }) =>
        this.#peers.has(peer.name) ? [] : [index],
      ),
      routes,
      before,
      after,
    };
  }

  /** The differences were carried out. */
  accept({ own, before, after }: Differences): void {
    for (const { peer, index } of before.peers) {
      this.#peers.delete(peer.name);
      this.#names.delete(index);
    }
    for (const known of after.peers) {
      this.#peers.set(known.peer.name, known);
      this.#names.set(known.index, known.peer.name);
    }
    this.#claims.replace(before.claims, after.claims);
    this.#own = own;
    this.#ownClaims = after.claims.filter(({ index }) => index === THIS_NODE);
  }

  /** A peer's place in the table. */
  indexOf(name: string): number | undefined {
    return this.#peers.get(name)?.index;
  }

  /** The peer at a place. */
  nameAt(index: number): string | undefined {
    return this.#names.get(index);
  }

  /** The names of all peers. */
  names(): Iterable<string> {
    return this.#peers.keys();
  }

  /** Every route there is, with whose it is. */
  claims(): PrefixClaim[] {
    return [...this.#claims];
  }

  /** Those that are set and not already so; all peers when what every record says has changed. */
  #different({ set, remove }: Change, all: boolean): Peer[] {
    const names = new Set<string>();
    for (const { name } of set) {
      if (names.has(name)) throw wrong(`two peers are named "${name}"`, "give each its own name");
      names.add(name);
    }
    if (!all) return set.filter((peer) => !this.#isKnown(peer));
    const others = [...this.#peers.values()].map(({ peer }) => peer);
    const removed = new Set(remove);
    return [...others.filter(({ name }) => !names.has(name) && !removed.has(name)), ...set];
  }

  #isKnown(peer: Peer): boolean {
    const known = this.#peers.get(peer.name);
    return known !== undefined && samePeer(known.peer, peer);
  }

  /** A name that goes from one to another does not leave. */
  #leaving({ set, remove }: Change): KnownPeer[] {
    const leaving = new Set(remove);
    for (const { name } of set) leaving.delete(name);
    return [...leaving].flatMap((name) => this.#peers.get(name) ?? []);
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

  /** A peer keeps its place while it exists; a newcomer takes the lowest free one, held ones last. */
  #read(peers: readonly Peer[], leaving: readonly KnownPeer[]): KnownPeer[] {
    const places = this.#freePlaces(new Set(leaving.map(({ index }) => index)));
    return peers.map((peer) => {
      const { name, leases, senders = [], mtu } = peer;
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
      const index = this.indexOf(name) ?? (places.next().value as number);
      return {
        peer: structuredClone(peer),
        index,
        claims: leases.map((lease) => ({ prefix: parsePrefix(lease), index, name })),
      };
    });
  }

  *#freePlaces(left: ReadonlySet<number>): Generator<number, undefined> {
    const held: number[] = [];
    for (let index = FIRST_PEER; index < this.#places; index++) {
      if (this.#names.has(index) && !left.has(index)) continue;
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

function refuseTwins(peers: readonly Peer[]): void {
  const byMac = new Map<string, Peer>();
  for (const peer of peers) {
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

const samePeer = (a: Peer, b: Peer): boolean =>
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

const wrong = (what: string, remedy: string): WeftError => new WeftError("PEER", what, remedy);
