import { flowOf, isTranslated } from "../conntrack/flow";
import { decision, isTranslating } from "../decision";
import { THROUGH_CORE } from "../memory";
import { addressesOf, CT_ESTABLISHED, Packet } from "../packet";
import { NO_HOST, NO_PATH, NO_ROUTE, TOO_BIG, TTL_EXCEEDED } from "../reason";
import { FIRST_PEER, hasPath, mtuFor, NO_PEER, THIS_NODE } from "../tables/peer";
import { isOwn } from "../tables/route";
import { headersOf } from "../transport";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";

/** Forwards towards the owner of the destination, as a router does (RFC 1812, 5.2.1 and 5.3.1). */
export function route(p: Packet): i32 {
  p.peer = p.owner;
  const toPeer = p.peer >= FIRST_PEER;
  if (toPeer && !hasPath(p.peer)) return NO_PATH;
  if (!toPeer && !mayHairpin(p)) return p.peer == NO_PEER ? NO_ROUTE : NO_HOST;
  if (hopsLeft(p) <= 1) return TTL_EXCEEDED;
  if (toPeer && onWire(p) > mtuFor(p) && !mayFragment(p)) return TOO_BIG;

  if (p.family == 4) ipv4.decrementTtl(p.ip);
  else ipv6.decrementHopLimit(p.ip);
  return 0;
}

/**
 * Whether the packet goes back to the host: it is translated, or workloads pass the core. Otherwise the
 * host sent it for its own lease, and no device of the host has the address.
 */
function mayHairpin(p: Packet): bool {
  if (p.ctState == CT_ESTABLISHED || isTranslating(p, decision())) return true;
  if (p.flow != 0 && isTranslated(flowOf(p))) return true;
  if (load<u32>(THROUGH_CORE) == 0) return false;
  return p.peer == THIS_NODE || isOwn(p.family, addressesOf(p));
}

function hopsLeft(p: Packet): u32 {
  return p.family == 4 ? ipv4.ttl(p.ip) : ipv6.hopLimit(p.ip);
}

/** Only the source fragments IPv6 (RFC 8200, 4.5), and a super-packet is segmented instead. */
function mayFragment(p: Packet): bool {
  return p.family == 4 && (p.fragment & ipv4.DONT_FRAGMENT) == 0 && p.segmentSize == 0;
}

/** Bytes of the largest packet that is sent for it. */
function onWire(p: Packet): u32 {
  return p.segmentSize ? min(p.length, headersOf(p) + p.segmentSize) : p.length;
}
