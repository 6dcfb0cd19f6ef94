import { PACKET_COUNT, PACKET_SIZE, PACKETS } from "./memory";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";

/** Goes to no device write. */
export const NO_WRITE: u32 = 0xffffffff;

// What is known of a packet's connection (conntrack/lookup).
/** Nothing: it shows no key of a flow, or is what no connection begins with. It opens none. */
export const CT_INVALID: u32 = 0;
/** No flow is known: it opens one, if it may pass. */
export const CT_NEW: u32 = 1;
/** Its flow is known, and all that was decided for it holds: peer, owner, headers, verdict. */
export const CT_ESTABLISHED: u32 = 2;
/** It has no flow, but a connection: it reports an error about one, or is a later fragment. */
export const CT_RELATED: u32 = 3;
/** Its flow is known, but from an earlier generation: where it leads is looked up again. */
export const CT_STALE: u32 = 4;

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
  /** What is known of its connection, one of CT_. */
  ctState: u32;
  /** The record of its flow; of a CT_RELATED packet, that of one of its connection; 0 if none is known. */
  flow: usize;
  /** The device write that carries it, or NO_WRITE. */
  write: u32;
  /** The peer it came from, if it is relayed to `peer`, or refused, an answer goes back to it; else 0. */
  origin: u32;
  /** The rule that decided about it, 0 if none did. */
  rule: u32;
  /** Ports, or what stands for them (conntrack/key). */
  ports: u32;
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
  p.ctState = CT_INVALID;
  p.flow = 0;
  p.write = NO_WRITE;
  p.origin = 0;
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
