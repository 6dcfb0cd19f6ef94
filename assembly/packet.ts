import { ipAt, PACKET_SIZE, PACKETS } from "./memory";

/** What the stages know of one packet of the batch. Addresses stay in network order. */
@unmanaged
export class Packet {
  /** Where the inner IP header stands. */
  ip: usize;
  /** Bytes from there to the end of the packet; padding is cut off by `parse`. */
  length: u32;
  headerLength: u32;
  protocol: u32;
  source: u32;
  destination: u32;
  /** Flags and fragment offset, host order (wire/ipv4). */
  fragment: u32;
  /** The peer it goes to or comes from. */
  peer: u32;
  /** 0 delivered, or a reason, perhaps with ANSWERED. */
  verdict: i32;
}

export function packetAt(i: u32): Packet {
  return changetype<Packet>(PACKETS + i * PACKET_SIZE);
}

/** The packet in slot `i`, `length` bytes from its IP header on. */
export function packetOf(i: u32, length: u32): Packet {
  const p = packetAt(i);
  p.ip = ipAt(i);
  p.length = length;
  p.peer = 0;
  return p;
}

export function indexOf(p: Packet): u32 {
  return <u32>((changetype<usize>(p) - PACKETS) / PACKET_SIZE);
}
