/**
 * The underlay addresses that peers send from or receive at, in the hash table that
 * `assembly/tables/endpoint.ts` searches, and draws.
 *
 * Entries are in order of hash, then peer, as far as the positions they hash to allow (Amble and
 * Knuth, "Ordered hash tables"). So the table depends on the entries alone, and not on the order in
 * which they were added and removed.
 */
import { type Address, toBytes } from "../address.js";

const FREE = 0;

/** Offsets in the core's table, which has 2^ENDPOINT_BITS positions. */
export interface EndpointLayout {
  readonly ENDPOINT_BITS: number;
  readonly ENDPOINT_SIZE: number;
  readonly ENDPOINT_HASH: number;
  readonly ENDPOINT_PEER: number;
}

export class EndpointTable {
  readonly #words: Uint32Array;
  readonly #bits: number;
  readonly #mask: number;
  // An entry, in words.
  readonly #entryWords: number;
  readonly #hashAt: number;
  readonly #peerAt: number;

  /** @param at address of the table in `memory`, a multiple of 4; its bytes must be zero */
  constructor(memory: ArrayBufferLike, at: number, layout: EndpointLayout) {
    const { ENDPOINT_BITS, ENDPOINT_SIZE, ENDPOINT_HASH, ENDPOINT_PEER } = layout;
    this.#entryWords = ENDPOINT_SIZE / 4;
    this.#hashAt = ENDPOINT_HASH / 4;
    this.#peerAt = ENDPOINT_PEER / 4;
    this.#words = new Uint32Array(memory, at, this.#entryWords << ENDPOINT_BITS);
    this.#bits = ENDPOINT_BITS;
    this.#mask = (1 << ENDPOINT_BITS) - 1;
  }

  add(address: Address, peer: number): void {
    let hash = hashOf(address);
    let index = peer;
    let place = this.#home(hash);
    for (; this.#peer(place) !== FREE; place = this.#after(place)) {
      const [otherHash, otherIndex] = [this.#hash(place), this.#peer(place)];
      if (!isBefore(hash, index, otherHash, otherIndex)) continue;
      // Continues with the entry that was displaced.
      this.#put(place, hash, index);
      [hash, index] = [otherHash, otherIndex];
    }
    this.#put(place, hash, index);
  }

  /** Removes the entry; those behind it that hash to its position, or one before, move up. */
  remove(address: Address, peer: number): void {
    let hole = this.#find(hashOf(address), peer);
    for (let place = this.#after(hole); this.#peer(place) !== FREE; place = this.#after(place)) {
      const fromHome = (place - this.#home(this.#hash(place))) & this.#mask;
      const fromHole = (place - hole) & this.#mask;
      if (fromHome < fromHole) continue;
      this.#put(hole, this.#hash(place), this.#peer(place));
      hole = place;
    }
    this.#put(hole, 0, FREE);
  }

  #find(hash: number, peer: number): number {
    let place = this.#home(hash);
    while (this.#hash(place) !== hash || this.#peer(place) !== peer) {
      if (this.#peer(place) === FREE) throw new Error(`peer ${peer} never had this address`);
      place = this.#after(place);
    }
    return place;
  }

  #home(hash: number): number {
    return hash >>> (32 - this.#bits);
  }

  #after(place: number): number {
    return (place + 1) & this.#mask;
  }

  #hash(place: number): number {
    return this.#words[place * this.#entryWords + this.#hashAt]!;
  }

  #peer(place: number): number {
    return this.#words[place * this.#entryWords + this.#peerAt]!;
  }

  #put(place: number, hash: number, peer: number): void {
    this.#words[place * this.#entryWords + this.#hashAt] = hash;
    this.#words[place * this.#entryWords + this.#peerAt] = peer;
  }
}

const isBefore = (hash: number, peer: number, otherHash: number, otherPeer: number): boolean =>
  hash < otherHash || (hash === otherHash && peer < otherPeer);

/** The hash that the core computes from a sockaddr: `assembly/tables/endpoint.ts`. */
function hashOf(address: Address): number {
  const SPREAD = 0x9e3779b1;
  const bytes = new DataView(toBytes(address).buffer);
  let hash = 0;
  for (let i = 0; i < bytes.byteLength; i += 4) {
    hash = Math.imul(hash ^ bytes.getUint32(i, true), SPREAD);
  }
  return hash >>> 0;
}
