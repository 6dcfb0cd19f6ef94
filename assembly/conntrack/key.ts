/**
 * The key of a flow: its kind, its ports, and its addresses as in the packet.
 *
 *   kind    0        8          16          24
 *           +--------+----------+-----------+-----+
 *           | family | protocol | direction | 0   |
 *           +--------+----------+-----------+-----+
 *   ports   0                   16                  as in the header
 *           +-------------------+-----------------+
 *           | source port       | destination     |  TCP, UDP, SCTP
 *           +-------------------+--------+--------+
 *           | identifier        | type   | code   |  ICMP echo
 *           +-------------------+--------+--------+
 *           | 0                                   |  other protocols
 *           +-------------------------------------+
 */
import { REVERSED } from "../memory";
import { CT_NEW, Packet } from "../packet";
import { hasTransport, isFragment, isLaterFragment } from "../stages/parse";
import * as icmp from "../wire/icmp";
import * as icmpv6 from "../wire/icmpv6";
import { ICMP, ICMPV6, SCTP, TCP, UDP } from "../wire/protocol";

const PORTS_SIZE: u32 = 4;
const TYPE_SHIFT: u32 = 16;
const CODE_SHIFT: u32 = 24;
/** In `kind`: the direction is IN. */
export const DIRECTION_BIT: u32 = 1 << 16;

/**
 * Stores the ports of the packet, or their replacement. A packet with a complete key that is part of a
 * conversation may have a flow: it is CT_NEW until one is found.
 */
export function takeKey(p: Packet): void {
  p.ports = 0;
  if (isFragment(p) && (isLaterFragment(p) || !hasTransport(p))) return;
  if (p.transport + PORTS_SIZE <= p.length) p.ports = portsAt(p.protocol, p.ip + p.transport);
  if (isConversation(p)) p.ctState = CT_NEW;
}

function isConversation(p: Packet): bool {
  switch (p.protocol) {
    case ICMP:
    case ICMPV6:
      return isEcho(p);
    case SCTP:
      return hasTransport(p);
    default:
      return true;
  }
}

function isEcho(p: Packet): bool {
  if (p.ports >> CODE_SHIFT != 0) return false;
  const type = typeIn(p.ports);
  return p.family == 4
    ? p.protocol == ICMP && (type == icmp.ECHO || type == icmp.ECHO_REPLY)
    : p.protocol == ICMPV6 && (type == icmpv6.ECHO || type == icmpv6.ECHO_REPLY);
}

/** Whether an echo is a request. A reply alone opens nothing. */
export function isRequest(p: Packet): bool {
  return typeIn(p.ports) == (p.family == 4 ? icmp.ECHO : icmpv6.ECHO);
}

/** The ports in the transport header at `at`, in the form of a key. */
export function portsAt(protocol: u32, at: usize): u32 {
  switch (protocol) {
    case TCP:
    case UDP:
    case SCTP:
      return load<u32>(at);
    case ICMP:
    case ICMPV6:
      return (
        icmp.echoIdentifier(at) | (icmp.typeOf(at) << TYPE_SHIFT) | (icmp.codeOf(at) << CODE_SHIFT)
      );
    default:
      return 0;
  }
}

/**
 * The ports of a key in the form of rules, host order: the source port above the destination port; for
 * ICMP, type and code in place of the latter.
 */
export function portsOfRules(protocol: u32, ports: u32): u32 {
  const swapped = bswap<u32>(ports);
  return protocol == ICMP || protocol == ICMPV6 ? swapped & 0xffff : swapped;
}

function typeIn(ports: u32): u32 {
  return (ports >> TYPE_SHIFT) & 0xff;
}

export function kindOf(p: Packet, direction: u32): u32 {
  return makeKind(p.family, p.protocol, direction);
}

export function makeKind(family: u32, protocol: u32, direction: u32): u32 {
  return family | (protocol << 8) | (direction << 16);
}

// ------------------------------------------------------------------ of the replies

/** Writes the addresses in reverse order to REVERSED. */
export function reverseAddresses(family: u32, addresses: usize): void {
  if (family == 4) {
    store<u64>(REVERSED, rotl<u64>(load<u64>(addresses), 32));
  } else {
    v128.store(REVERSED, v128.load(addresses, 16));
    v128.store(REVERSED, v128.load(addresses), 16);
  }
}

/** Swaps the ports, or the type of an echo. */
export function reversePorts(protocol: u32, ports: u32): u32 {
  if (protocol == ICMP) return ports ^ ((icmp.ECHO ^ icmp.ECHO_REPLY) << TYPE_SHIFT);
  if (protocol == ICMPV6) return ports ^ ((icmpv6.ECHO ^ icmpv6.ECHO_REPLY) << TYPE_SHIFT);
  return rotl<u32>(ports, 16);
}
