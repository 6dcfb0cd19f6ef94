import { destinationIn, sourceIn } from "../decision";
import { addressesOf, Packet } from "../packet";
import { SPOOFED_SOURCE, UNKNOWN_PEER } from "../reason";
import { isKnown } from "../tables/endpoint";
import { findEgress } from "../tables/nat";
import { FIRST_PEER, maySendFrom, NO_PEER } from "../tables/peer";

/**
 * Admits a packet only from a sender of the peer that owns its inner source. A sender is an underlay
 * address and UDP port, so no other process of the peer's host can send in its name. A kernel VXLAN
 * device may use any port, because it varies the port with the flow (RFC 7348, 5). A source outside
 * belongs to the gateway through which an egress rule leads packets to it.
 */
export function admit(p: Packet): i32 {
  if (p.peer == NO_PEER) p.peer = gatewayFor(p);
  if (p.peer >= FIRST_PEER && maySendFrom(p.peer, p.sender)) return 0;
  return isKnown(p.sender) ? SPOOFED_SOURCE : UNKNOWN_PEER;
}

function gatewayFor(p: Packet): u32 {
  const addresses = addressesOf(p);
  const rule = findEgress(
    p.family,
    destinationIn(p.family, addresses),
    sourceIn(p.family, addresses),
  );
  return rule ? rule.via : NO_PEER;
}
