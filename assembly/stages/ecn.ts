import { Packet, tosOf } from "../packet";
import { NOT_ECN_CAPABLE } from "../reason";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { CE, ECN_MASK, ECT_0, ECT_1, NOT_ECT } from "../wire/tos";

/**
 * Copies congestion marks from the outer header into the packet (RFC 6040, 4.2):
 *
 *               outer: Not-ECT    ECT(0)     ECT(1)     CE
 *   inner: Not-ECT     Not-ECT    Not-ECT    Not-ECT    drop
 *          ECT(0)      ECT(0)     ECT(0)     ECT(1)     CE
 *          ECT(1)      ECT(1)     ECT(1)     ECT(1)     CE
 *          CE          CE         CE         CE         CE
 *
 * The DSCP of the inner header stays (the pipe model of RFC 2983, 3.1).
 */
export function combineEcn(p: Packet): i32 {
  const outer = p.outerTos & ECN_MASK;
  if (outer == NOT_ECT || outer == ECT_0) return 0;
  const tos = tosOf(p);
  const inner = tos & ECN_MASK;
  if (inner == NOT_ECT) return outer == CE ? NOT_ECN_CAPABLE : 0;
  if (outer == CE || (outer == ECT_1 && inner == ECT_0)) setTos(p, (tos & ~ECN_MASK) | outer);
  return 0;
}

function setTos(p: Packet, tos: u32): void {
  if (p.family == 4) ipv4.setTos(p.ip, tos);
  else ipv6.setTrafficClass(p.ip, tos);
}
