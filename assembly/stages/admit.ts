import { Packet } from "../packet";
import { NOT_LOCAL, SPOOFED_SOURCE, UNKNOWN_PEER } from "../reason";
import { isKnown } from "../tables/endpoint";
import { FIRST_PEER, peerAt, THIS_NODE, underlayAddress } from "../tables/peer";
import { lookup } from "../tables/route";

/**
 * Lets a packet in only if the peer that owns its inner source sent it, from
 * its own underlay address, to an address of ours. The UDP source port is not
 * compared: VXLAN senders vary it with the flow (RFC 7348, 5).
 *
 * @param from the underlay address it came from, network order; 0 if not IPv4
 */
export function admit(p: Packet, from: u32): i32 {
  p.peer = lookup(p.source);
  if (p.peer < FIRST_PEER || underlayAddress(peerAt(p.peer)) != from) {
    return isKnown(from) ? SPOOFED_SOURCE : UNKNOWN_PEER;
  }
  return lookup(p.destination) == THIS_NODE ? 0 : NOT_LOCAL;
}
