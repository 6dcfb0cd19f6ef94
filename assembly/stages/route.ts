import { Packet } from "../packet";
import { NO_HOST, NO_ROUTE, TOO_BIG, TTL_EXCEEDED } from "../reason";
import { mtu, NO_PEER, peerAt, THIS_NODE } from "../tables/peer";
import { lookup } from "../tables/route";
import * as ipv4 from "../wire/ipv4";

/** Finds the peer, and takes the hop a router takes (RFC 1812, 5.2.1 and 5.3.1). */
export function route(p: Packet): i32 {
  p.peer = lookup(p.destination);
  if (p.peer == NO_PEER) return NO_ROUTE;
  // The host handed us an address of its own lease: nothing on this host carries it.
  if (p.peer == THIS_NODE) return NO_HOST;
  if (ipv4.ttl(p.ip) <= 1) return TTL_EXCEEDED;
  if (p.length > mtu(peerAt(p.peer)) && p.fragment & ipv4.DONT_FRAGMENT) return TOO_BIG;

  ipv4.decrementTtl(p.ip);
  return 0;
}
