import { ENCAP_SIZE, OWN_VNI } from "../memory";
import { Packet } from "../packet";
import { BAD_HEADER, NOT_IP, NOT_VXLAN, TRUNCATED, WRONG_VNI } from "../reason";
import * as ethernet from "../wire/ethernet";
import * as vxlan from "../wire/vxlan";

/**
 * Removes the VXLAN and Ethernet headers of a datagram. The EtherType must agree with the version of
 * the packet, because receivers behind this node may use either.
 */
export function decap(p: Packet): i32 {
  // `length` counts from the inner IP header on, and wraps below zero for a shorter datagram.
  if (<i32>p.length < 0) return TRUNCATED;
  const start = p.ip - ENCAP_SIZE;
  if (!vxlan.hasVni(start)) return NOT_VXLAN;
  if (vxlan.vni(start) != load<u32>(OWN_VNI)) return WRONG_VNI;
  const type = ethernet.etherType(start + vxlan.VXLAN_SIZE);
  if (type != ethernet.TYPE_IPV4 && type != ethernet.TYPE_IPV6) return NOT_IP;
  if (p.length == 0) return TRUNCATED;
  return type == ethernet.typeOfVersion(load<u8>(p.ip) >> 4) ? 0 : BAD_HEADER;
}
