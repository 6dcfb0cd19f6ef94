/**
 * Ends the connections that the rules of translation would not make any more, as when a backend is
 * removed. Both ends of a TCP connection get a RST at once, so none waits for a packet that never comes.
 */
import { beginBatch } from "./batch";
import { keepHeads } from "./capture";
import { forget } from "./conntrack/connection";
import {
  directionOf,
  ESTABLISHED,
  Flow,
  FREE,
  familyOf,
  HALF_CLOSED,
  isAllowed,
  isFirst,
  isTranslated,
} from "./conntrack/flow";
import { recordAt, SET_SIZE, setMask } from "./conntrack/table";
import { ANSWER_COUNT, IN, MAX_ANSWERS } from "./memory";
import { indexOf, nextPacket } from "./packet";
import { clearLists } from "./pipeline";
import { ANSWERED, NO_BACKEND } from "./reason";
import { holds } from "./stages/holds";
import { answerBuffer, sendBack } from "./stages/icmp-error";
import { writeResetTo } from "./stages/tcp-reset";
import { hasPath } from "./tables/peer";
import { TCP } from "./wire/protocol";
import { TCP_SIZE } from "./wire/tcp";
import { hasRoom } from "./wire-list";

/**
 * Handles the records from `from` on, as a batch of its own; returns the first one without room, or 0
 * when all are handled.
 */
export function resetGone(from: u32): u32 {
  beginBatch();
  clearLists();
  const end = (setMask() + 1) * SET_SIZE;
  for (let place = from; place < end; place++) {
    if (!hasRoom() || load<u32>(ANSWER_COUNT) + 2 > MAX_ANSWERS) return place;
    const flow = recordAt(place);
    if (flow.state == FREE || !isFirst(flow) || !isTranslated(flow)) continue;
    if (isAllowed(flow) || holds(flow)) continue;
    if (flow.state == ESTABLISHED || flow.state == HALF_CLOSED) {
      reset(flow);
      reset(flow.twin);
    }
    forget(flow);
  }
  return 0;
}

/** Sends a RST to the sender of this direction. It counts as an answer to a packet from there. */
function reset(flow: Flow): void {
  const ip = answerBuffer();
  const length = writeResetTo(flow, ip);
  const p = nextPacket(ip, length);
  p.family = familyOf(flow);
  p.protocol = TCP;
  p.transport = length - TCP_SIZE;
  p.fragment = 0;
  p.ports = rotl<u32>(flow.ports, 16);
  keepHeads(indexOf(p), indexOf(p) + 1);
  p.verdict = NO_BACKEND | ANSWERED;
  if (directionOf(flow) == IN) {
    p.origin = flow.peer;
    if (!hasPath(p.origin)) return;
  }
  sendBack(p, ip, length);
}
