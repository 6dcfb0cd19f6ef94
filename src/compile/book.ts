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

export class Book {
  readonly #statics: readonly Peer[];
  readonly #subnets: readonly { readonly peer: Peer; readonly prefix: Prefix }[];
  /** By id, as they should be. */
  readonly #wanted = new Map<string, Peer>();
  /** By id, as the tables show them. */
  readonly #shown = new Map<string, Peer>();
  /** Ids of those that may differ. */
  readonly #pending = new Set<string>();
  /** Ids in the last change that was returned. */
  #given: readonly string[] = [];
  /** By id of who is left out: why. */
  readonly #trouble = new Map<string, string>();

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
  note(id: string, peer: Peer | undefined): void {
    const obstacle = peer && this.#obstacle(peer);
    this.#pending.add(id);
    this.#wanted.delete(id);
    this.#trouble.delete(id);
    if (obstacle) this.#trouble.set(id, obstacle);
    else if (peer) this.#wanted.set(id, peer);
  }

  /** Changes that the tables lack, except for peers that must still wait. */
  change(mayBeShown: (peer: Peer) => boolean = () => true): Change {
    const ids = [...this.#pending].filter((id) => {
      const peer = this.#wanted.get(id);
      return !peer || mayBeShown(peer);
    });
    this.#given = ids;
    return {
      set: ids.flatMap((id) => this.#wanted.get(id) ?? []),
      remove: ids.flatMap((id) => this.#shown.get(id)?.name ?? []),
    };
  }

  /** The change was made. */
  shown(): void {
    for (const id of this.#given) {
      this.#pending.delete(id);
      const peer = this.#wanted.get(id);
      if (peer) this.#shown.set(id, peer);
      else this.#shown.delete(id);
    }
    this.#given = [];
  }

  /** As they should be. */
  get wanted(): Iterable<Peer> {
    return this.#wanted.values();
  }

  /** Those in the tables. */
  get peers(): readonly Peer[] {
    return [...this.#shown.values()];
  }

  get size(): number {
    return this.#shown.size;
  }

  /** Who is left out, and why, in words. */
  get trouble(): readonly string[] {
    return [...this.#trouble.values()];
  }

  #obstacle({ name, mac, leases }: Peer): string | undefined {
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
