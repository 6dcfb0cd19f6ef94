/** IP protocol numbers of the IANA, by their names in policies and output. */
export const PROTOCOLS = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
/** Protocols with ports. */
export const WITH_PORTS: readonly number[] = [PROTOCOLS.tcp, PROTOCOLS.udp, PROTOCOLS.sctp];
export const ICMPS: readonly number[] = [PROTOCOLS.icmp, PROTOCOLS.icmpv6];

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(PROTOCOLS).map(([name, number]) => [number, name]),
);

/** The name of a protocol number, like `tcp`; undefined if it has none here. */
export const protocolName = (number: number): string | undefined => NAMES.get(number);
