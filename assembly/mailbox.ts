/**
 * The control plane's mail: small datagrams beside the packets, on the port of
 * VXLAN, whose first four bytes are "weft". The core does not look into them. As
 * a VXLAN header they would have no VNI, so any other VTEP drops them. Of a long
 * one, padded to the size of a path's MTU, the first bytes are kept, and its length.
 *
 * A ring: the core puts them in, the host takes them out, on another thread.
 */
import {
  COUNTER_CONTROL,
  COUNTER_CONTROL_DROPPED,
  MAILBOX,
  MAILBOX_BYTES,
  MAILBOX_LENGTH,
  MAILBOX_PLACES,
  MAILBOX_PUT,
  MAILBOX_SIZE,
  MAILBOX_TAKEN,
  MAX_CONTROL,
  SOCKADDR_SIZE,
} from "./memory";

/** "weft" as the machine loads it. */
const MAGIC: u32 = 0x74666577;
const LEAST: u32 = 8;

export function isMail(start: usize, length: u32): bool {
  return length >= LEAST && load<u32>(start) == MAGIC;
}

/** Keeps a datagram until the host takes it; when there is no place left it is lost. */
export function putMail(sender: usize, start: usize, length: u32): void {
  const put = atomic.load<u32>(MAILBOX_PUT);
  if (put - atomic.load<u32>(MAILBOX_TAKEN) == MAILBOX_PLACES) {
    return countOne(COUNTER_CONTROL_DROPPED);
  }
  const place = MAILBOX + (put % MAILBOX_PLACES) * MAILBOX_SIZE;
  memory.copy(place, sender, SOCKADDR_SIZE);
  store<u32>(place, length, MAILBOX_LENGTH);
  memory.copy(place + MAILBOX_BYTES, start, min(length, MAX_CONTROL));
  atomic.store<u32>(MAILBOX_PUT, put + 1);
  countOne(COUNTER_CONTROL);
}

function countOne(counter: usize): void {
  store<u64>(counter, load<u64>(counter) + 1);
}
