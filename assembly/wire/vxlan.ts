/**
 * VXLAN (RFC 7348, 5), 8 bytes.
 *
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |R|R|R|R|I|R|R|R|            Reserved                           |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                VXLAN Network Identifier (VNI) |   Reserved    |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * A receiver ignores the reserved bits.
 */
const FLAGS: usize = 0;
const VNI: usize = 4;

export const VXLAN_SIZE: u32 = 8;
const HAS_VNI: u32 = 0x08;
const VNI_MASK: u32 = 0x00ffffff;

export function hasVni(p: usize): bool {
  return (load<u8>(p, FLAGS) & HAS_VNI) != 0;
}

/** Network order, the reserved byte cleared: comparable with OWN_VNI. */
export function vni(p: usize): u32 {
  return load<u32>(p, VNI) & VNI_MASK;
}
