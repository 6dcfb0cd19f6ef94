/** From peers to tables all at once, every pair compared with every other: the compiler's slow, obvious twin. */
import {
  type Address,
  formatPrefix,
  overlaps,
  parseEndpoint,
  parseMac,
  parsePrefix,
  toBytes,
} from "../../src/address.js";
import { FIRST_PEER, THIS_NODE, type ThisNode } from "../../src/compile/compiler.js";
import type { PeerEntry } from "../../src/compile/peers.js";
import type { Peer } from "../../src/peer.js";

export interface Whole {
  readonly entries: readonly PeerEntry[];
  /** Prefix to index. */
  readonly routes: ReadonlyMap<string, number>;
}

/** @returns undefined when they cannot be peers together */
export function compileSlowly(
  own: ThisNode,
  peers: readonly Peer[],
  places: number,
  indexOf: (name: string) => number,
): Whole | undefined {
  if (peers.length > places - FIRST_PEER) return undefined;
  const entries: PeerEntry[] = [];
  const claims = own.leases.map((prefix) => ({ prefix, index: THIS_NODE }));
  try {
    for (const { name, endpoint, mac, leases, anyPort, noPath, ecn, ...peer } of peers) {
      const { senders = [endpoint], mtu } = peer;
      if (senders.length > 4 || (mtu !== undefined && mtu < 506)) return undefined;
      const index = indexOf(name);
      entries.push({
        index,
        endpoint: noPath ? undefined : parseEndpoint(endpoint),
        mac: parseMac(mac),
        senders: senders
          .map(parseEndpoint)
          .map(({ address, port }) => ({ address, port: anyPort ? 0 : port })),
        mtu: mtu === undefined ? own.mtu : Math.min(mtu, own.mtu),
        isVerified: mtu !== undefined,
        tos: { kept: ecn ? 3 : 0, set: 0 },
      });
      claims.push(...leases.map((lease) => ({ prefix: parsePrefix(lease), index })));
    }
  } catch {
    return undefined;
  }
  for (const [i, a] of peers.entries()) {
    for (const b of peers.slice(0, i)) {
      if (a.name === b.name) return undefined;
    }
  }
  for (const [i, a] of claims.entries()) {
    if (claims.slice(0, i).some((b) => overlaps(a.prefix, b.prefix))) return undefined;
  }
  return {
    entries,
    routes: new Map(claims.map(({ prefix, index }) => [formatPrefix(prefix), index])),
  };
}

/** The hash table of underlay addresses: who goes before others finds its place first. */
export function endpointsSlowly(
  bits: number,
  entries: readonly { readonly address: Address; readonly peer: number }[],
): Uint32Array {
  const places = 1 << bits;
  const words = new Uint32Array(2 * places);
  const inOrder = entries
    .map(({ address, peer }) => ({ hash: hashSlowly(address), peer }))
    .sort((a, b) => a.hash - b.hash || a.peer - b.peer);
  for (const { hash, peer } of inOrder) {
    let place = Math.floor((hash * places) / 2 ** 32);
    while (words[2 * place + 1] !== 0) place = (place + 1) % places;
    words.set([hash, peer], 2 * place);
  }
  return words;
}

/** h = (h xor word) * 0x9e3779b1 mod 2^32, over the words of the address as they lie in memory. */
function hashSlowly(address: Address): number {
  const bytes = [...toBytes(address)];
  let hash = 0n;
  for (let i = 0; i < bytes.length; i += 4) {
    const word = bytes.slice(i, i + 4).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    hash = ((hash ^ word) * 0x9e3779b1n) % 2n ** 32n;
  }
  return Number(hash);
}

/** Whether a MAC address is at two endpoints. */
export const haveTwins = (peers: readonly Peer[]): boolean =>
  peers.some((a) =>
    peers.some((b) => a.mac.toLowerCase() === b.mac.toLowerCase() && a.endpoint !== b.endpoint),
  );
