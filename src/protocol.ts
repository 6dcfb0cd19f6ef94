/** Protocols of IP (the IANA's numbers), by the names that weft reads and shows. */
export const PROTOCOLS = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
/** Those that have ports. */
export const WITH_PORTS: readonly number[] = [PROTOCOLS.tcp, PROTOCOLS.udp, PROTOCOLS.sctp];
export const ICMPS: readonly number[] = [PROTOCOLS.icmp, PROTOCOLS.icmpv6];

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(PROTOCOLS).map(([name, number]) => [number, name]),
);

/** `tcp`; nothing where it has no name here. */
export const protocolName = (number: number): string | undefined => NAMES.get(number);
