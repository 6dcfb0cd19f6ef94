import { PACKET_COUNT, PACKET_SIZE, PACKETS } from "./memory";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";

/** Goes to no device write. */
export const NO_WRITE: u32 = 0xffffffff;

/** What the stages know of one packet of the batch. */
@unmanaged
export class Packet {
  /** Where the inner IP header stands. */
  ip: usize;
  /** Bytes from there to the end of the packet; padding is cut off by `parse`. */
  length: u32;
  /** Where, from the IP header, the transport header begins. */
  transport: u32;
  /** Of the transport header. */
  protocol: u32;
  /** 4 or 6. */
  family: u32;
  /** Flags and fragment offset as IPv4 has them, host order; 0 when it is no fragment. */
  fragment: u32;
  /** The peer it goes to or comes from. */
  peer: u32;
  /** 0 delivered, or a reason, perhaps with ANSWERED. */
  verdict: i32;
  /** Whose the destination is: a peer, THIS_NODE or NO_PEER. */
  owner: u32;
  /** Payload bytes of each of the many packets that this is in one; 0 when it is just one. */
  segmentSize: u32;
  /** The sockaddr it came from, if it came from the wire. */
  sender: usize;
  /** The record of its flow, if what was decided for it holds still; else 0 (conntrack/flow). */
  flow: usize;
  /** The device write that carries it, or NO_WRITE. */
  write: u32;
  /** The peer it came from, if it is relayed to `peer`, or refused, an answer goes back to it; else 0. */
  origin: u32;
  /** The rule that decided about it, 0 if none did. */
  rule: u32;
  /** Ports, or what stands for them (conntrack/flow); only when `hasKey`. */
  ports: u32;
  /** Has it all by which a flow is found? */
  hasKey: u32;
  /** The record of its flow, if that is of an earlier generation; else 0. */
  record: usize;
  /** The first record of its connection, if that is to be judged anew; else 0. */
  connection: usize;
  /** Belongs to what was allowed before: no rule is asked. */
  allowed: u32;
  /** Which datagram it is a fragment of. */
  identification: u32;
  /** Where, from the IP header, that begins of which it is a piece. */
  fragmented: u32;
  /** TOS or traffic class of the datagram that it came in, then of the one that it goes out in. */
  outerTos: u32;
}

export function packetAt(i: u32): Packet {
  return changetype<Packet>(PACKETS + i * PACKET_SIZE);
}

/** The next packet of the batch: `length` bytes from its IP header on. */
export function nextPacket(ip: usize, length: u32): Packet {
  const i = load<u32>(PACKET_COUNT);
  store<u32>(PACKET_COUNT, i + 1);
  const p = packetAt(i);
  p.ip = ip;
  p.length = length;
  p.peer = 0;
  p.verdict = 0;
  p.segmentSize = 0;
  p.flow = 0;
  p.write = NO_WRITE;
  p.origin = 0;
  p.hasKey = 0;
  p.record = 0;
  p.connection = 0;
  p.allowed = 0;
  p.rule = 0;
  return p;
}

/** Where its source address stands, and behind that its destination, in either family. */
export function addressesOf(p: Packet): usize {
  return p.family == 4 ? ipv4.addresses(p.ip) : ipv6.source(p.ip);
}

/** TOS or traffic class (wire/tos). */
export function tosOf(p: Packet): u32 {
  return p.family == 4 ? ipv4.tos(p.ip) : ipv6.trafficClass(p.ip);
}

export function indexOf(p: Packet): u32 {
  return <u32>((changetype<usize>(p) - PACKETS) / PACKET_SIZE);
}
