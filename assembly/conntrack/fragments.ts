import { ACL_AT, IN, OUT, SEARCHED } from "../memory";
import { addressesOf, CT_RELATED, Packet } from "../packet";
import { FRAGMENT_OVERLAP, TINY_FRAGMENT } from "../reason";
import { hasTransport, isFragment, isLaterFragment } from "../stages/parse";
import { isPoliced } from "../tables/acl";
import { THIS_NODE } from "../tables/peer";
import { countRule } from "../tables/rule";
import * as ipv4 from "../wire/ipv4";
import { SCTP, TCP } from "../wire/protocol";
import { SCTP_SIZE } from "../wire/sctp";
import { headerLength, TCP_SIZE } from "../wire/tcp";
import { datagramOf, isCurrentDatagram, noteDatagram } from "./datagram";
import { Flow } from "./flow";
import { makeKind } from "./key";
import { findLive } from "./table";

/** Bytes of the headers of UDP and ICMP. For other protocols rules read fewer. */
const LEAST_TRANSPORT: u32 = 8;

/**
 * Rules read the transport header: it must be complete in the first fragment, and no later one may
 * overwrite it (RFC 1858, RFC 3128, RFC 5722). A later fragment gets the verdict of the first one while
 * the rules are the same.
 */
export function checkFragment(p: Packet, direction: u32): i32 {
  if (!hasRules(p, direction)) return 0;
  if (!isLaterFragment(p)) return hasTransport(p) ? 0 : TINY_FRAGMENT;
  const datagram = datagramOf(p, direction);
  const headers = datagram ? datagram.headers : p.protocol == TCP ? TCP_SIZE : 0;
  if ((p.fragment & ipv4.OFFSET_MASK) << 3 < headers) return FRAGMENT_OVERLAP;
  if (!datagram || !isCurrentDatagram(datagram)) return 0;
  p.rule = datagram.rule;
  if (datagram.verdict) countRule(p);
  else p.ctState = CT_RELATED;
  return datagram.verdict;
}

/**
 * The connection of the first fragment of the datagram that a later fragment belongs to; null if it is
 * not known.
 */
export function flowOfDatagram(p: Packet, direction: u32): Flow {
  const datagram = datagramOf(p, direction);
  if (!datagram) return changetype<Flow>(0);
  const kind = makeKind(p.family, datagram.protocol, direction);
  return findLive(kind, datagram.ports, addressesOf(p));
}

/** Whether there are rules in this direction, or in the other one if the packet leaves and arrives here. */
function hasRules(p: Packet, direction: u32): bool {
  const acl = load<usize>(SEARCHED) + ACL_AT;
  return (
    isPoliced(acl, direction) || (p.owner == THIS_NODE && direction == OUT && isPoliced(acl, IN))
  );
}

/** Stores the decision about the first fragment for the later ones. */
export function noteFirst(p: Packet, direction: u32, verdict: i32): void {
  if (!isFragment(p) || isLaterFragment(p)) return;
  noteDatagram(p, direction, verdict, p.transport - p.fragmented + transportSize(p));
}

function transportSize(p: Packet): u32 {
  switch (p.protocol) {
    case TCP:
      return headerLength(p.ip + p.transport);
    case SCTP:
      return SCTP_SIZE;
    default:
      return LEAST_TRANSPORT;
  }
}
