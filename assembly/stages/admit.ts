import { Packet } from "../packet";
import { SPOOFED_SOURCE, UNKNOWN_PEER } from "../reason";
import { isKnown } from "../tables/endpoint";
import { FIRST_PEER, maySendFrom } from "../tables/peer";

/**
 * Admits a packet only from a sender of the peer that owns its inner source. A sender is an underlay
 * address and UDP port, so no other process of the peer's host can send in its name. A kernel VXLAN
 * device may use any port, because it varies the port with the flow (RFC 7348, 5).
 */
export function admit(p: Packet): i32 {
  if (p.peer >= FIRST_PEER && maySendFrom(p.peer, p.sender)) return 0;
  return isKnown(p.sender) ? SPOOFED_SOURCE : UNKNOWN_PEER;
}
