/** Peers that run no agent. This node's operator put them there, so they come before what others claim. */
import { formatPrefix, overlaps, type Prefix, parsePrefix } from "../address.js";
import type { Peer } from "../peer.js";

export class Statics {
  readonly #peers: readonly Peer[];
  readonly #prefixes: readonly Prefix[];
  /** What is in the way of a peer, or nothing: a peer that stays as it is is judged once. */
  readonly #judged = new WeakMap<Peer, string | undefined>();

  constructor(peers: readonly Peer[]) {
    this.#peers = peers;
    this.#prefixes = peers.flatMap(({ leases }) => leases.map(parsePrefix));
  }

  /** All peers together; who is left out, and why, is added to `trouble`. */
  join(others: readonly Peer[], trouble: string[]): readonly Peer[] {
    if (this.#peers.length === 0) return others;
    const peers = [...this.#peers];
    for (const peer of others) {
      const obstacle = this.#obstacle(peer);
      if (obstacle === undefined) peers.push(peer);
      else trouble.push(obstacle);
    }
    return peers;
  }

  #obstacle(peer: Peer): string | undefined {
    if (!this.#judged.has(peer)) this.#judged.set(peer, this.#judge(peer));
    return this.#judged.get(peer);
  }

  #judge({ name, mac, leases }: Peer): string | undefined {
    const clash = leases
      .map(parsePrefix)
      .find((subnet) => this.#prefixes.some((fixed) => overlaps(fixed, subnet)));
    if (clash) {
      return `${name} holds ${formatPrefix(clash)}, which a static peer has: give that one other subnets`;
    }
    if (this.#peers.some((fixed) => fixed.name === name || fixed.mac === mac)) {
      return `${name} has the name or MAC address of a static peer: rename that one`;
    }
    return undefined;
  }
}
