import { ANSWER_CLOCK, ANSWER_LEVEL, CLOCK, OWN_ADDRESS, VIRTIO_SIZE } from "../memory";
import { Packet } from "../packet";
import { ANSWERED, NO_HOST, NO_ROUTE, TOO_BIG, TTL_EXCEEDED } from "../reason";
import { mtu, peerAt } from "../tables/peer";
import { answerBuffer, pushWrite } from "../vectors";
import * as icmp from "../wire/icmp";
import * as ipv4 from "../wire/ipv4";
import * as virtio from "../wire/virtio";

/** An error with its headers has at most 576 bytes (RFC 1812, 4.3.2.3). */
const MAX_ERROR: u32 = 576;
/** Errors are sent with precedence "internetwork control" (RFC 1812, 4.3.2.5). */
const TOS: u32 = 0xc0;
const TTL: u32 = 64;
/** At most BURST errors at once and RATE a second (RFC 1812, 4.3.2.8). */
const BURST: f64 = 100;
const RATE: f64 = 1000;

/** Tells the sender on this host why its packet cannot go on, as a router does. */
export function answer(p: Packet, reason: i32): i32 {
  switch (reason) {
    case NO_ROUTE:
      return error(p, reason, icmp.DESTINATION_UNREACHABLE, icmp.NET_UNREACHABLE, 0);
    case NO_HOST:
      return error(p, reason, icmp.DESTINATION_UNREACHABLE, icmp.HOST_UNREACHABLE, 0);
    case TTL_EXCEEDED:
      return error(p, reason, icmp.TIME_EXCEEDED, icmp.TTL_IN_TRANSIT, 0);
    case TOO_BIG: {
      const largest = mtu(peerAt(p.peer));
      return error(p, reason, icmp.DESTINATION_UNREACHABLE, icmp.FRAGMENTATION_NEEDED, largest);
    }
    default:
      return reason;
  }
}

function error(p: Packet, reason: i32, type: u32, code: u32, mtu: u32): i32 {
  if (!mayAnswer(p) || !withinRate()) return reason;

  const header = answerBuffer();
  const ip = header + VIRTIO_SIZE;
  const message = ip + ipv4.IPV4_SIZE;
  const quoted = min<u32>(p.length, MAX_ERROR - ipv4.IPV4_SIZE - icmp.ICMP_SIZE);
  const length = icmp.ICMP_SIZE + quoted;

  memory.copy(message + icmp.ICMP_SIZE, p.ip, quoted);
  icmp.writeError(message, type, code, mtu, length);
  ipv4.writeIPv4(
    ip,
    TOS,
    ipv4.IPV4_SIZE + length,
    TTL,
    ipv4.ICMP,
    load<u32>(OWN_ADDRESS),
    p.source,
  );
  virtio.writePlain(header);
  pushWrite(p, header, VIRTIO_SIZE + ipv4.IPV4_SIZE + length);
  return reason | ANSWERED;
}

/** Never about an error, nor about any fragment but the first (RFC 1812, 4.3.2.7). */
function mayAnswer(p: Packet): bool {
  if (p.fragment & ipv4.OFFSET_MASK) return false;
  if (p.protocol != ipv4.ICMP) return true;
  return p.length > p.headerLength && icmp.isQuery(p.ip + p.headerLength);
}

/** A leaky bucket: each answer raises the level, time lowers it. */
function withinRate(): bool {
  const now = load<f64>(CLOCK);
  const leaked = ((now - load<f64>(ANSWER_CLOCK)) * RATE) / 1000;
  const level = max<f64>(0, load<f64>(ANSWER_LEVEL) - leaked);
  store<f64>(ANSWER_CLOCK, now);
  const within = level + 1 <= BURST;
  store<f64>(ANSWER_LEVEL, within ? level + 1 : level);
  return within;
}
