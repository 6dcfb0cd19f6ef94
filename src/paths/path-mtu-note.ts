/** Says to an operator which paths take smaller packets than the overlay device lets through. */

/** A peer, and the largest inner packet that its path takes, in bytes. */
export interface PathSize {
  readonly name: string;
  readonly mtu: number;
}

/** Peers that the sentence names; the others are counted. */
export const NAMED_PEERS = 3;

/**
 * One sentence while some path takes less than the device's MTU, and nothing otherwise. It names
 * the peers with the smallest sizes first. A cluster of mixed MTUs works, so it is no problem.
 */
export function pathMtuNote(peers: readonly PathSize[], device: PathSize): string | undefined {
  const smaller = peers
    .filter(({ mtu }) => mtu < device.mtu)
    .sort((a, b) => a.mtu - b.mtu || (a.name < b.name ? -1 : 1));
  if (smaller.length === 0) return undefined;
  const named = smaller.slice(0, NAMED_PEERS).map(({ name, mtu }) => `${name} (${mtu} bytes)`);
  const others = smaller.length - named.length;
  if (others > 0) named.push(`${others} more (see \`weft peers\`)`);
  return (
    `${device.name}'s MTU is ${device.mtu} bytes, and the path takes less to ` +
    `${named.join(", ")}: senders are told that size; where more is expected, ` +
    "raise the MTU of the links and tunnels on the way"
  );
}
