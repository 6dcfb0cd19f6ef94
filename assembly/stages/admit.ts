import { Packet } from "../packet";
import { NOT_LOCAL, SPOOFED_SOURCE, UNKNOWN_PEER } from "../reason";
import { isKnown } from "../tables/endpoint";
import { FIRST_PEER, maySendFrom, THIS_NODE } from "../tables/peer";

/**
 * Lets a packet in only if the peer that owns its inner source sent it, from an
 * underlay address that its packets may come from, to an address of ours. The UDP source port is not
 * compared: VXLAN senders vary it with the flow (RFC 7348, 5).
 */
export function admit(p: Packet): i32 {
  if (p.peer < FIRST_PEER || !maySendFrom(p.peer, p.sender)) {
    return isKnown(p.sender) ? SPOOFED_SOURCE : UNKNOWN_PEER;
  }
  return p.owner == THIS_NODE ? 0 : NOT_LOCAL;
}
