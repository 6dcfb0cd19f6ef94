import { REVERSED } from "../memory";
import { Packet } from "../packet";
import { hasTransport, isFragment, isLaterFragment } from "../stages/parse";
import * as icmp from "../wire/icmp";
import * as icmpv6 from "../wire/icmpv6";
import { ICMP, ICMPV6, SCTP, TCP, UDP } from "../wire/protocol";

/** Where in a key's ports the type of an echo stands, above its identifier. */
export const ECHO_TYPE_SHIFT: u32 = 16;

/**
 * Notes by what its flow is found, beside its addresses: ports, the identifier
 * of an echo, nothing where a protocol has neither. A packet that does not show
 * them, or that is no part of a conversation, has no flow.
 */
export function takeKey(p: Packet): void {
  if (isFragment(p) && (isLaterFragment(p) || !hasTransport(p))) return;
  const at = p.ip + p.transport;
  p.ports = 0;
  p.hasKey = 1;
  switch (p.protocol) {
    case TCP:
    case UDP:
      p.ports = load<u32>(at);
      return;
    case SCTP:
      p.hasKey = u32(hasTransport(p));
      if (p.hasKey) p.ports = load<u32>(at);
      return;
    case ICMP:
    case ICMPV6:
      p.hasKey = u32(isEcho(p, at));
      p.ports = icmp.echoIdentifier(at) | (icmp.typeOf(at) << ECHO_TYPE_SHIFT);
  }
}

function isEcho(p: Packet, at: usize): bool {
  const type = icmp.typeOf(at);
  if (icmp.codeOf(at) != 0) return false;
  return p.family == 4
    ? p.protocol == ICMP && (type == icmp.ECHO || type == icmp.ECHO_REPLY)
    : p.protocol == ICMPV6 && (type == icmpv6.ECHO || type == icmpv6.ECHO_REPLY);
}

/** Would a packet of this flow ask for something? A reply alone opens nothing. */
export function mayOpen(p: Packet): bool {
  if (p.protocol != ICMP && p.protocol != ICMPV6) return true;
  const type = p.ports >> ECHO_TYPE_SHIFT;
  return type == (p.family == 4 ? icmp.ECHO : icmpv6.ECHO);
}

export function kindOf(p: Packet, direction: u32): u32 {
  return p.family | (p.protocol << 8) | (direction << 16);
}

/** Puts them the other way round to REVERSED. */
export function reverseAddresses(family: u32, addresses: usize): void {
  if (family == 4) {
    store<u64>(REVERSED, rotl<u64>(load<u64>(addresses), 32));
  } else {
    v128.store(REVERSED, v128.load(addresses, 16));
    v128.store(REVERSED, v128.load(addresses), 16);
  }
}

/** What stands for the ports of the replies: they change sides, and an echo's type changes. */
export function reversePorts(protocol: u32, ports: u32): u32 {
  if (protocol == ICMP) return ports ^ ((icmp.ECHO ^ icmp.ECHO_REPLY) << ECHO_TYPE_SHIFT);
  if (protocol == ICMPV6) return ports ^ ((icmpv6.ECHO ^ icmpv6.ECHO_REPLY) << ECHO_TYPE_SHIFT);
  return rotl<u32>(ports, 16);
}
