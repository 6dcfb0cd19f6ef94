import { CT_INVALID, Packet } from "../packet";
import { RELAY_LOOP } from "../reason";
import { leadsTo } from "../tables/peer";
import { isSound, isUnfinished } from "../transport";
import { TCP, UDP } from "../wire/protocol";
import { completeChecksum } from "./offload";
import { isFragment } from "./parse";
import { route } from "./route";

/**
 * Turns a packet from the wire towards the peer whose its destination is, as a
 * router does. Never back to the endpoint it came from: two tables that disagree
 * would pass it to and fro.
 */
export function relay(p: Packet): i32 {
  p.origin = p.peer;
  p.peer = p.owner;
  // Its flow has no headers for the way there.
  p.ctState = CT_INVALID;
  if (p.peer == p.origin || leadsTo(p.peer, p.sender)) return RELAY_LOOP;
  const r = route(p);
  if (r) return r;
  if (p.segmentSize == 0) finish(p);
  return 0;
}

/** The next VTEP need not know that a Linux peer left a checksum unfinished. */
function finish(p: Packet): void {
  if ((p.protocol != TCP && p.protocol != UDP) || isFragment(p)) return;
  // A finished one may look like it by chance.
  if (isUnfinished(p) && !isSound(p)) completeChecksum(p);
}
