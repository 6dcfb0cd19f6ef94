/** Peers without an agent, from the operator's configuration. They take precedence over members. */
import { formatPrefix, overlaps, type Prefix, parsePrefix } from "../address.js";
import type { Peer } from "../peer.js";

/** A member's id is hex and never begins with this. */
const STATIC = "static ";

export class StaticPeers {
  readonly #peers: readonly Peer[];
  readonly #subnets: readonly { readonly of: string; readonly prefix: Prefix }[];

  constructor(peers: readonly Peer[]) {
    this.#peers = peers;
    this.#subnets = peers.flatMap(({ name, leases }) =>
      leases.map((subnet) => ({ of: name, prefix: parsePrefix(subnet) })),
    );
  }

  /** Each with its id. */
  *[Symbol.iterator](): Generator<[id: string, Peer]> {
    for (const peer of this.#peers) yield [STATIC + peer.name, peer];
  }

  /** The reason why this member cannot be a peer beside them, as a sentence; undefined if it can. */
  conflictWith({ name, mac, leases }: Peer): string | undefined {
    if (this.#peers.length === 0) return undefined;
    for (const lease of leases.map(parsePrefix)) {
      const clash = this.#subnets.find(({ prefix }) => overlaps(prefix, lease));
      if (!clash) continue;
      const [of, subnet] = [clash.of, formatPrefix(clash.prefix)];
      return `${name} holds ${formatPrefix(lease)}, and ${subnet} is of the static peer ${of}: packets go to ${of}, and none to ${name}: give ${of} subnets that no node holds`;
    }
    if (this.#peers.some((fixed) => fixed.name === name || fixed.mac === mac)) {
      return `${name} has the name or MAC address of a static peer: rename that one`;
    }
    return undefined;
  }
}
