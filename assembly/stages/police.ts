import { ACL_AT, IN, OUT, SEARCHED } from "../memory";
import { Packet } from "../packet";
import { DENIED_EGRESS, DENIED_INGRESS } from "../reason";
import {
  ACL_LPM4,
  ACL_LPM6,
  ACL_MAX_RULES,
  ACL_RULE_BITS,
  findRule,
  isPoliced,
  nextAfter,
  RULE_ACTION_SHIFT,
  RULE_ALLOW,
  RULE_DENY,
  RULE_NUMBER,
  ruleAt,
} from "../tables/acl";
import { lookup4, lookup6 } from "../tables/lpm";
import { THIS_NODE } from "../tables/peer";
import { countRule } from "../tables/rule";
import { stepRule } from "../trace";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { ICMP, ICMPV6, SCTP, TCP, UDP } from "../wire/protocol";
import { isLaterFragment } from "./parse";

/**
 * Asks the access lists on the way out. A packet between two addresses of this
 * node leaves and arrives here, so both directions are asked.
 */
export function policeOut(p: Packet): i32 {
  if (p.flow) return 0;
  if (judge(p, OUT) == RULE_DENY) return DENIED_EGRESS;
  if (p.owner == THIS_NODE && judge(p, IN) == RULE_DENY) return DENIED_INGRESS;
  return 0;
}

/** Asks them on the way in; the answer to who is refused goes back where the packet came from. */
export function policeIn(p: Packet): i32 {
  if (p.flow || judge(p, IN) != RULE_DENY) return 0;
  p.origin = p.peer;
  return DENIED_INGRESS;
}

/** What the first rule that decides says: 0 if there is none, RULE_ALLOW or RULE_DENY. Every rule met counts it. */
function judge(p: Packet, direction: u32): u32 {
  const acl = load<usize>(SEARCHED) + ACL_AT;
  if (!isPoliced(acl, direction)) return 0;
  const source = classOf(acl, p, ipv4.source(p.ip), ipv6.source(p.ip));
  const destination = classOf(acl, p, ipv4.destination(p.ip), ipv6.destination(p.ip));
  const near = direction == OUT ? source : destination;
  const far = direction == OUT ? destination : source;
  const ports = portsOf(p);
  let bit: u32 = 0;
  while (true) {
    bit = findRule(acl, direction, near, far, p.protocol, ports >> 16, ports & 0xffff, bit);
    if (bit == ACL_MAX_RULES) return 0;
    const rule = ruleAt(acl, direction, bit);
    const action = rule >> RULE_ACTION_SHIFT;
    countRule(rule & RULE_NUMBER, p.length);
    stepRule(p, rule, (direction << ACL_RULE_BITS) | bit);
    if (action == RULE_ALLOW || action == RULE_DENY) {
      p.rule = rule & RULE_NUMBER;
      return action;
    }
    bit = nextAfter(acl, direction, bit);
  }
}

function classOf(acl: usize, p: Packet, address: u32, address6: usize): u32 {
  return p.family == 4 ? lookup4(acl + ACL_LPM4, address) : lookup6(acl + ACL_LPM6, address6);
}

/** Source port above destination port, or type and code of ICMP in the place of the latter; 0 where there are none. */
function portsOf(p: Packet): u32 {
  if (isLaterFragment(p) || p.transport + 4 > p.length) return 0;
  const at = p.ip + p.transport;
  switch (p.protocol) {
    case TCP:
    case UDP:
    case SCTP:
      return bswap<u32>(load<u32>(at));
    case ICMP:
    case ICMPV6:
      return <u32>bswap<u16>(load<u16>(at));
    default:
      return 0;
  }
}
