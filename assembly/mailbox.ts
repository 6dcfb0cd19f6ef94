/**
 * Control datagrams: datagrams of the mesh on the VXLAN port, whose first four bytes are "weft". The
 * core does not parse them. As VXLAN headers they would have no VNI, so any other VTEP drops them. Of
 * a long one, padded to the size of a path's MTU, only the first bytes and the length are kept.
 *
 * They wait in rings: the core puts them in, and the host takes them out on another thread. Known
 * senders, the endpoints of peers, have their own rings, which no stranger can fill. A keyed hash of
 * its address gives each sender one ring, so it fills no other. The addresses of an IPv6 /64 are one
 * stranger.
 *
 *   ring:   0     4       16       16 + MAILBOX_SIZE
 *           +-----+-------+--------+--------+-----
 *           | put | taken | place  | place  | ...
 *           +-----+-------+--------+--------+-----
 *   place:  0                 28       32      40
 *           +-----------------+--------+-------+-----------------------------+
 *           | sockaddr        | length | CLOCK | the first MAX_CONTROL bytes |
 *           +-----------------+--------+-------+-----------------------------+
 */
import { keyedHash } from "./keyed-hash";
import { AF_INET, SOCKADDR_IPV4, SOCKADDR_IPV6, SOCKADDR_SIZE, Sockaddr } from "./linux";
import {
  CLOCK,
  COUNTER_CONTROL,
  COUNTER_CONTROL_DROPPED,
  COUNTER_CONTROL_DROPPED_UNKNOWN,
  MAILBOX,
  MAILBOX_BYTES,
  MAILBOX_KNOWN_RING_BITS,
  MAILBOX_PLACES,
  MAILBOX_PUT,
  MAILBOX_RING_PLACES,
  MAILBOX_RING_SIZE,
  MAILBOX_SIZE,
  MAILBOX_UNKNOWN_RING_BITS,
  MAX_CONTROL,
} from "./memory";
import { isKnown } from "./tables/endpoint";

/** Atomic: datagrams put in by the core, and taken out by the host. The places follow. */
@unmanaged
export class MailboxRing {
  put: u32;
  taken: u32;
}

/** The sender, the length and the time; the first MAX_CONTROL bytes of the datagram follow. */
@unmanaged
export class MailboxPlace extends Sockaddr {
  length: u32;
  /** CLOCK at arrival. */
  clock: f64;
}

export const MAILBOX_RING_PUT: u32 = offsetof<MailboxRing>("put");
export const MAILBOX_RING_TAKEN: u32 = offsetof<MailboxRing>("taken");
export const MAILBOX_LENGTH: u32 = offsetof<MailboxPlace>("length");
export const MAILBOX_CLOCK: u32 = offsetof<MailboxPlace>("clock");

/** "weft" as a little-endian word. */
const MAGIC: u32 = 0x74666577;
const LEAST: u32 = 8;

export function isControl(start: usize, length: u32): bool {
  return length >= LEAST && load<u32>(start) == MAGIC;
}

/** Keeps a datagram until the host takes it. If the ring is full it is lost and counted. */
export function putControl(sender: usize, start: usize, length: u32): void {
  const known = isKnown(sender);
  const ring = ringOf(sender, known);
  const put = atomic.load<u32>(ring + MAILBOX_RING_PUT);
  if (put - atomic.load<u32>(ring + MAILBOX_RING_TAKEN) == MAILBOX_PLACES) {
    return countOne(known ? COUNTER_CONTROL_DROPPED : COUNTER_CONTROL_DROPPED_UNKNOWN);
  }
  const place = ring + MAILBOX_RING_PLACES + (put % MAILBOX_PLACES) * MAILBOX_SIZE;
  memory.copy(place, sender, SOCKADDR_SIZE);
  store<u32>(place, length, MAILBOX_LENGTH);
  store<f64>(place, load<f64>(CLOCK), MAILBOX_CLOCK);
  memory.copy(place + MAILBOX_BYTES, start, min(length, MAX_CONTROL));
  atomic.store<u32>(ring + MAILBOX_RING_PUT, put + 1);
  atomic.add<u32>(MAILBOX_PUT, 1);
  countOne(COUNTER_CONTROL);
}

/** The ring of a sender; the rings of known senders come first. */
function ringOf(sender: usize, known: bool): usize {
  const isIPv4 = load<u16>(sender) == AF_INET;
  const hash = isIPv4
    ? keyedHash(sender + SOCKADDR_IPV4, 1)
    : keyedHash(sender + SOCKADDR_IPV6, known ? 4 : 2);
  const i = known
    ? <u32>(hash >> (64 - MAILBOX_KNOWN_RING_BITS))
    : (1 << MAILBOX_KNOWN_RING_BITS) + <u32>(hash >> (64 - MAILBOX_UNKNOWN_RING_BITS));
  return MAILBOX + i * MAILBOX_RING_SIZE;
}

function countOne(counter: usize): void {
  store<u64>(counter, load<u64>(counter) + 1);
}
