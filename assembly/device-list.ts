/**
 * The writes to the device, each a list of slices (iovecs): a packet by itself,
 * or one head and the payloads appended to it. They live until the next pass.
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
  /** How many iovecs; the host reads this field. */
  slices: u32;
  /** The packet of the batch whose headers stand for all. */
  head: Packet;
  /** Bytes of the whole from the IP header on. */
  length: u32;
  /** Payload bytes of each appended packet but the last. */
  size: u32;
  /** TCP: the sequence number that comes next. */
  nextSequence: u32;
  /** No more is appended. */
  closed: u32;
  /** Something was appended. */
  coalesced: u32;
  /** The head's checksum was found good; asked only when something is to be appended. */
  verified: u32;
}

export function writeAt(i: u32): Write {
  return changetype<Write>(DEVICE + i * WRITE_SIZE);
}

/** One write on behalf of `p`: `length` bytes at `start`, virtio-net header first. */
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

/** The device refused write `i`: every packet in it is lost. */
export function writeFailed(i: u32, reason: i32): void {
  const count = load<u32>(PACKET_COUNT);
  const head = writeAt(i).head;
  // Of a packet that was cut into several writes, one lost is all lost.
  head.verdict = reason;
  // Packets before its head belong to an earlier pass, with writes of the same numbers.
  for (let k = indexOf(head); k < count; k++) {
    const p = packetAt(k);
    if (p.write == i) p.verdict = reason;
  }
}
