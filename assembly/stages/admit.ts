import { Packet } from "../packet";
import { SPOOFED_SOURCE, UNKNOWN_PEER } from "../reason";
import { isKnown } from "../tables/endpoint";
import { FIRST_PEER, maySendFrom } from "../tables/peer";

/**
 * Lets a packet in only if it comes from an underlay address that packets of the
 * peer that owns its inner source may come from. The UDP source port is not
 * compared: VXLAN senders vary it with the flow (RFC 7348, 5).
 */
export function admit(p: Packet): i32 {
  if (p.peer >= FIRST_PEER && maySendFrom(p.peer, p.sender)) return 0;
  return isKnown(p.sender) ? SPOOFED_SOURCE : UNKNOWN_PEER;
}
