import { directionOf, firstOf, flowOf, isAllowed, protocolOf } from "../conntrack/flow";
import { portsOfRules } from "../conntrack/key";
import { decision } from "../decision";
import { ACL_AT, IN, OUT, POLICY_IS_UNKNOWN, SEARCHED } from "../memory";
import { addressesOf, CT_RELATED, CT_STALE, Packet } from "../packet";
import { DENIED_EGRESS, DENIED_INGRESS, FRAGMENT_BEFORE_FIRST, POLICY_UNKNOWN } from "../reason";
import {
  ACL_LPM4,
  ACL_LPM6,
  ACL_MAX_RULES,
  ACL_RULE_BITS,
  ANY_PROTOCOL,
  concernsAny,
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
import { matchRule } from "../tables/rule";
import { tracedRule } from "../trace";
import { isLaterFragment } from "./parse";

/**
 * Applies the egress rules. A packet between two addresses of this node leaves and arrives here, so
 * the ingress rules apply too.
 */
export function aclOut(p: Packet): i32 {
  if (load<u32>(POLICY_IS_UNKNOWN)) return POLICY_UNKNOWN;
  if (belongs(p)) return reevaluate(p);
  const arrives = p.owner == THIS_NODE;
  if (needsFirst(p, OUT) || (arrives && needsFirst(p, IN))) return FRAGMENT_BEFORE_FIRST;
  if (isDenied(p, OUT, p.protocol)) return DENIED_EGRESS;
  return arrives && arrivalIsDenied(p, p.protocol) ? DENIED_INGRESS : 0;
}

/** Applies the ingress rules. */
export function aclIn(p: Packet): i32 {
  if (load<u32>(POLICY_IS_UNKNOWN)) return POLICY_UNKNOWN;
  return belongs(p) ? reevaluate(p) : judgeIn(p);
}

function judgeIn(p: Packet): i32 {
  if (needsFirst(p, IN)) return FRAGMENT_BEFORE_FIRST;
  return isDenied(p, IN, p.protocol) ? DENIED_INGRESS : 0;
}

/** Applies the ingress rules to a packet that the egress rules allow; of two rules, both count it. */
function arrivalIsDenied(p: Packet, protocol: u32): bool {
  const egress = p.rule;
  p.rule = 0;
  const isRefused = isDenied(p, IN, protocol);
  if (p.rule == 0) p.rule = egress;
  else if (egress) matchRule(egress);
  return isRefused;
}

/** Whether rules were applied to its connection or datagram before. */
function belongs(p: Packet): bool {
  return p.ctState == CT_RELATED || p.ctState == CT_STALE;
}

/** Applies the rules again to the packet that opened the connection, if they changed since. */
function reevaluate(p: Packet): i32 {
  if (p.flow == 0 || isAllowed(flowOf(p))) return 0;
  const first = firstOf(flowOf(p));
  const protocol = protocolOf(first);
  if (directionOf(first) == IN) return isDenied(p, IN, protocol) ? DENIED_INGRESS : 0;
  if (isDenied(p, OUT, protocol)) return DENIED_EGRESS;
  return first.owner == THIS_NODE && arrivalIsDenied(p, protocol) ? DENIED_INGRESS : 0;
}

/**
 * Whether a rule could match the first fragment, which has not arrived before this later one. An IPv4
 * datagram is identified by its protocol too, so the first fragment has the same (RFC 791, 3.2). In
 * IPv6 only the first fragment names the protocol (RFC 8200, 4.5).
 */
function needsFirst(p: Packet, direction: u32): bool {
  const acl = load<usize>(SEARCHED) + ACL_AT;
  if (!isLaterFragment(p) || !isPoliced(acl, direction)) return false;
  const addresses = addressesOf(p);
  const near = classOf(acl, p, nearIn(direction, p, addresses));
  const far = classOf(acl, p, nearIn(1 - direction, p, addresses));
  return concernsAny(acl, direction, near, far, p.family == 4 ? p.protocol : ANY_PROTOCOL);
}

/** Whether the rules deny a connection with the real ends of the decision. */
function isDenied(p: Packet, direction: u32, protocol: u32): bool {
  const d = decision();
  const ports = portsOfRules(protocol, d.realPorts);
  return applyRules(p, direction, protocol, d.realAddresses, ports) == RULE_DENY;
}

/**
 * Returns the verdict of the first deciding rule, RULE_ALLOW or RULE_DENY; 0 if there is none. Notes
 * every count-only rule that matched before it.
 */
function applyRules(p: Packet, direction: u32, protocol: u32, addresses: usize, ports: u32): u32 {
  const acl = load<usize>(SEARCHED) + ACL_AT;
  if (!isPoliced(acl, direction)) return 0;
  const near = classOf(acl, p, nearIn(direction, p, addresses));
  const far = classOf(acl, p, nearIn(1 - direction, p, addresses));
  let bit: u32 = 0;
  while (true) {
    bit = findRule(acl, direction, near, far, protocol, ports >> 16, ports & 0xffff, bit);
    if (bit == ACL_MAX_RULES) return 0;
    const rule = ruleAt(acl, direction, bit);
    const action = rule >> RULE_ACTION_SHIFT;
    tracedRule(p, rule, (direction << ACL_RULE_BITS) | bit, near, far, protocol, ports);
    if (action == RULE_ALLOW || action == RULE_DENY) {
      p.rule = rule & RULE_NUMBER;
      return action;
    }
    matchRule(rule & RULE_NUMBER);
    bit = nextAfter(acl, direction, bit);
  }
}

/** Offset of the protected end's address: the source on the way out, the destination on the way in. */
function nearIn(direction: u32, p: Packet, addresses: usize): usize {
  if (direction == OUT) return addresses;
  return addresses + (p.family == 4 ? 4 : 16);
}

function classOf(acl: usize, p: Packet, address: usize): u32 {
  if (p.family == 4) return lookup4(acl + ACL_LPM4, load<u32>(address));
  return lookup6(acl + ACL_LPM6, address);
}
