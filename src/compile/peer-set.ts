/**
 * The peers as they should be, and which of them the tables do not show yet:
 * those that run no agent, and what the mesh says of its members.
 *
 *   note, note, ... -> change -> (the tables) -> shown
 */
import { formatPrefix, overlaps, type Prefix, parsePrefix } from "../address.js";
import type { Peer } from "../peer.js";
import type { Change } from "./compiler.js";

/** What a member's id, in hex, never begins with. */
const STATIC = "static ";

export class PeerSet {
  readonly #statics: readonly Peer[];
  readonly #subnets: readonly { readonly peer: Peer; readonly prefix: Prefix }[];
  /** By id, as they should be. */
  readonly #wanted = new Map<string, Peer>();
  /** By id, as the tables show them. */
  readonly #committed = new Map<string, Peer>();
  /** Ids of those that may differ. */
  readonly #pending = new Set<string>();
  /** Ids in the last change that was returned. */
  #staged: readonly string[] = [];
  /** By id of who is left out: why. */
  readonly #conflicts = new Map<string, string>();

  /** `statics` were put there by this node's operator: they come before what others claim. */
  constructor(statics: readonly Peer[]) {
    this.#statics = statics;
    this.#subnets = statics.flatMap((peer) =>
      peer.leases.map((subnet) => ({ peer, prefix: parsePrefix(subnet) })),
    );
    for (const peer of statics) {
      this.#wanted.set(STATIC + peer.name, peer);
      this.#pending.add(STATIC + peer.name);
    }
  }

  /** A member is so now, or is no more. */
  stage(id: string, peer: Peer | undefined): void {
    const conflict = peer && this.#conflictOf(peer);
    this.#pending.add(id);
    this.#wanted.delete(id);
    this.#conflicts.delete(id);
    if (conflict) this.#conflicts.set(id, conflict);
    else if (peer) this.#wanted.set(id, peer);
  }

  /** Changes that the tables lack, except for peers that must still wait. */
  change(mayCommit: (peer: Peer) => boolean = () => true): Change {
    const ids = [...this.#pending].filter((id) => {
      const peer = this.#wanted.get(id);
      return !peer || mayCommit(peer);
    });
    this.#staged = ids;
    return {
      set: ids.flatMap((id) => this.#wanted.get(id) ?? []),
      remove: ids.flatMap((id) => this.#committed.get(id)?.name ?? []),
    };
  }

  /** The change was made. */
  commit(): void {
    for (const id of this.#staged) {
      this.#pending.delete(id);
      const peer = this.#wanted.get(id);
      if (peer) this.#committed.set(id, peer);
      else this.#committed.delete(id);
    }
    this.#staged = [];
  }

  /** As they should be. */
  get wanted(): Iterable<Peer> {
    return this.#wanted.values();
  }

  /** Those in the tables. */
  get peers(): readonly Peer[] {
    return [...this.#committed.values()];
  }

  get size(): number {
    return this.#committed.size;
  }

  /** Who is left out, and why, in words. */
  get conflicts(): readonly string[] {
    return [...this.#conflicts.values()];
  }

  #conflictOf({ name, mac, leases }: Peer): string | undefined {
    for (const lease of leases.map(parsePrefix)) {
      const clash = this.#subnets.find(({ prefix }) => overlaps(prefix, lease));
      if (!clash) continue;
      const [of, subnet] = [clash.peer.name, formatPrefix(clash.prefix)];
      return `${name} holds ${formatPrefix(lease)}, and ${subnet} is of the static peer ${of}: packets go to ${of}, and none to ${name}: give ${of} subnets that no node holds`;
    }
    if (this.#statics.some((fixed) => fixed.name === name || fixed.mac === mac)) {
      return `${name} has the name or MAC address of a static peer: rename that one`;
    }
    return undefined;
  }
}
