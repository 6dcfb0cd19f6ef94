import { Packet } from "../packet";
import { NO_ROUTE, RELAY_LOOP } from "../reason";
import { FIRST_PEER, leadsTo } from "../tables/peer";
import { isSound, isUnfinished } from "../transport";
import { TCP, UDP } from "../wire/protocol";
import { completeChecksum } from "./offload";
import { isFragment } from "./parse";
import { route } from "./route";

/**
 * Sends a packet from the wire on to the peer that owns its destination, as a router does, but never
 * back to its underlay source: two nodes whose tables disagree would exchange it endlessly.
 */
export function relay(p: Packet): i32 {
  p.origin = p.peer;
  if (p.owner < FIRST_PEER) return NO_ROUTE;
  if (p.owner == p.origin || leadsTo(p.owner, p.sender)) return RELAY_LOOP;
  return redirect(p);
}

/** The same for a packet with a new destination, which may be at its sender. */
export function redirect(p: Packet): i32 {
  p.origin = p.peer;
  p.peer = p.owner;
  const r = route(p);
  if (r) return r;
  if (p.segmentSize == 0) finish(p);
  return 0;
}

/** Completes a checksum that a Linux peer left unfinished, which the next VTEP may not expect. */
function finish(p: Packet): void {
  if ((p.protocol != TCP && p.protocol != UDP) || isFragment(p)) return;
  // A finished one may look unfinished by chance.
  if (isUnfinished(p) && !isSound(p)) completeChecksum(p);
}
