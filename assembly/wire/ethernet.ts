/**
 * The inner Ethernet header (IEEE 802.3; RFC 894), 14 bytes.
 *
 *   0             6        12     14
 *   +-------------+--------+------+
 *   | destination | source | type |
 *   +-------------+--------+------+
 */
const TYPE: usize = 12;

/** As loaded on a little-endian machine: 0x0800 and 0x86dd in network order. */
export const TYPE_IPV4: u32 = 0x0008;
export const TYPE_IPV6: u32 = 0xdd86;

/** The EtherType of an IP version; 0 for any other. */
export function typeOfVersion(version: u32): u32 {
  switch (version) {
    case 4:
      return TYPE_IPV4;
    case 6:
      return TYPE_IPV6;
    default:
      return 0;
  }
}

export function etherType(p: usize): u32 {
  return load<u16>(p, TYPE);
}

export function setEtherType(p: usize, type: u32): void {
  store<u16>(p, <u16>type, TYPE);
}
