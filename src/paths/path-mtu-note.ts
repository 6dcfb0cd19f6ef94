/** A note to the operator about paths that take smaller packets than the overlay device does. */

/** The name of a peer or a device, and its MTU: the largest inner packet, in bytes. */
export interface PathSize {
  readonly name: string;
  readonly mtu: number;
}

/** Most peers that the note names; it counts the others. */
export const NAMED_PEERS = 3;

/**
 * One sentence if some path takes less than the device's MTU, undefined otherwise. It names the
 * peers with the smallest MTUs first. It is a note, not a problem: a cluster of mixed MTUs works.
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
    `${named.join(", ")}: senders learn that size from ICMP errors; for larger packets, ` +
    "raise the MTU of the links and tunnels on the path"
  );
}
