import { PACKET_COUNT, PACKET_SIZE, PACKETS } from "./memory";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";

/** The packet is in no device write. */
export const NO_WRITE: u32 = 0xffffffff;

// States of a packet's connection (conntrack/lookup).
/** The packet has no flow key, or cannot begin a connection. It opens none. */
export const CT_INVALID: u32 = 0;
/** No flow is known: the packet opens one if it may pass. */
export const CT_NEW: u32 = 1;
/** Its flow is known and current: peer, owner, headers and verdict still hold. */
export const CT_ESTABLISHED: u32 = 2;
/** It has no flow of its own, but a connection: it is an error about one, or a later fragment. */
export const CT_RELATED: u32 = 3;
/** Its flow is known from an earlier generation: the destination is looked up again. */
export const CT_STALE: u32 = 4;

/** The fields of a packet of the batch that stages share. */
@unmanaged
export class Packet {
  /** Address of the inner IP header. */
  ip: usize;
  /** Bytes from there to the end of the packet; `parse` removes padding. */
  length: u32;
  /** Offset of the transport header from the IP header. */
  transport: u32;
  /** Transport protocol. */
  protocol: u32;
  /** 4 or 6. */
  family: u32;
  /** Flags and fragment offset as in IPv4, host order; 0 if it is no fragment. */
  fragment: u32;
  /** The peer it goes to or comes from. */
  peer: u32;
  /** 0 for delivered, or a reason, with ANSWERED if an ICMP error was sent. */
  verdict: i32;
  /** Owner of the destination: a peer, THIS_NODE or NO_PEER. */
  owner: u32;
  /** For a super-packet: payload bytes of each segment; otherwise 0. */
  segmentSize: u32;
  /** Address of its sender's sockaddr, if it came from the wire. */
  sender: usize;
  /** State of its connection, one of CT_. */
  ctState: u32;
  /** The record of its flow; for CT_RELATED, one of its connection; 0 if none is known. */
  flow: usize;
  /** The device write that carries it, or NO_WRITE. */
  write: u32;
  /** The peer that sent it, if it is relayed to `peer` or an ICMP error goes back to it; otherwise 0. */
  origin: u32;
  /** The rule that decided, 0 if none did. */
  rule: u32;
  /** Ports, or their replacement in a flow key (conntrack/key). */
  ports: u32;
  /** Identification of its datagram, for a fragment. */
  identification: u32;
  /** Offset, from the IP header, of the part that is fragmented. */
  fragmented: u32;
  /** TOS or traffic class of the received datagram, later of the one to send. */
  outerTos: u32;
}

export function packetAt(i: u32): Packet {
  return changetype<Packet>(PACKETS + i * PACKET_SIZE);
}

/** Adds a packet to the batch: `length` bytes from its IP header on. */
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

/** Address of its source address, with its destination behind, in either family. */
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
