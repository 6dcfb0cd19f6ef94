/**
 * The writes to the device, each a list of slices (iovecs): a single packet, or one head and the
 * payloads appended to it. They are valid until the next pass.
 */
import { IOVEC_LEN, IOVEC_SIZE } from "./linux";
import {
  DEVICE,
  DEVICE_COUNT,
  DEVICE_IOVECS,
  hostAddress,
  MAX_SLICES,
  PACKET_COUNT,
  WRITE_SIZE,
} from "./memory";
import { indexOf, Packet, packetAt } from "./packet";

@unmanaged
export class Write {
  /** Number of iovecs; the host reads this field. */
  slices: u32;
  /** The packet whose headers are the headers of the write. */
  head: Packet;
  /** Bytes of the write from the IP header on. */
  length: u32;
  /** Payload bytes of each appended packet but the last. */
  size: u32;
  /** TCP: sequence number of the next packet to append. */
  nextSequence: u32;
  /** Whether nothing more may be appended. */
  closed: u32;
  /** Whether something was appended. */
  coalesced: u32;
  /** Whether the head's checksum is verified; checked before the first append. */
  verified: u32;
}

export function writeAt(i: u32): Write {
  return changetype<Write>(DEVICE + i * WRITE_SIZE);
}

/** Adds a write for `p`: `length` bytes at `start`, virtio-net header first. */
export function pushWrite(p: Packet, start: usize, length: u32): Write {
  const i = load<u32>(DEVICE_COUNT);
  store<u32>(DEVICE_COUNT, i + 1);
  const w = writeAt(i);
  w.slices = 0;
  w.coalesced = 0;
  w.head = p;
  p.write = i;
  pushSlice(i, w, start, length);
  return w;
}

export function pushSlice(i: u32, w: Write, start: usize, length: u32): void {
  const iovec = DEVICE_IOVECS + (i * MAX_SLICES + w.slices) * IOVEC_SIZE;
  store<u64>(iovec, hostAddress(start));
  store<u64>(iovec, length, IOVEC_LEN);
  w.slices++;
}

/** The device refused write `i`: all its packets are lost. */
export function writeFailed(i: u32, reason: i32): void {
  const count = load<u32>(PACKET_COUNT);
  const head = writeAt(i).head;
  // A packet that was cut into several writes is lost if one of them is.
  head.verdict = reason;
  // Packets before its head belong to an earlier pass, whose writes had the same numbers.
  for (let k = indexOf(head); k < count; k++) {
    const p = packetAt(k);
    if (p.write == i) p.verdict = reason;
  }
}
