/** Protocol numbers (IANA), the same for IPv4's protocol and IPv6's next header. */
export const ICMP: u32 = 1;
export const TCP: u32 = 6;
export const UDP: u32 = 17;
export const ICMPV6: u32 = 58;
export const SCTP: u32 = 132;

/** Whether its header begins with a source and a destination port. */
export function hasPorts(protocol: u32): bool {
  return protocol == TCP || protocol == UDP || protocol == SCTP;
}

export function isIcmp(protocol: u32): bool {
  return protocol == ICMP || protocol == ICMPV6;
}
