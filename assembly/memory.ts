/**
 * The memory map. One shared memory holds all data of the core; every address below is derived from the
 * one before it.
 *
 *   0        +----------------------------------------------------------+
 *            | reserved for the compiler; the core has no static data   |
 *   CONTROL  +----------------------------------------------------------+
 *            | this node's addresses, the clock, the live tables        |
 *   COUNTERS +----------------------------------------------------------+
 *            | outcomes of packets: out, in; traffic by peer, by rule   |
 *   TABLES   +----------------------------------------------------------+
 *            | copy 0: peers | endpoints | routes | access lists | nat  |
 *            | copy 1: the same; one is searched, one is being filled   |
 *   FRAGMENTS+----------------------------------------------------------+
 *            | decisions about datagrams in fragments                   |
 *   LIMITS   +----------------------------------------------------------+
 *            | token buckets: the rate of ICMP errors                   |
 *   PACKETS  +----------------------------------------------------------+
 *            | the records of the packets of the batch                  |
 *   RECEIVE  +----------------------------------------------------------+
 *            | mmsghdr, iovec, address: the vectors of recvmmsg         |
 *   MAILBOX  +----------------------------------------------------------+
 *            | datagrams from the wire for the control plane            |
 *   WIRE     +----------------------------------------------------------+
 *            | mmsghdr, iovec, made headers: the vectors of sendmmsg    |
 *   DEVICE   +----------------------------------------------------------+
 *            | writes to the device; ICMP errors                        |
 *   SLOTS    +----------------------------------------------------------+
 *            | one packet each, with room for headers before it         |
 *   TRACE    +----------------------------------------------------------+
 *            | records of the stages, while a packet is explained       |
 *   CAPTURE  +----------------------------------------------------------+
 *            | copies of packets, during a capture                      |
 *   FLOWS    +----------------------------------------------------------+
 *            | the connections; the host sets their number              |
 *            +----------------------------------------------------------+
 *
 * A batch is read into the slots, processed by the stages and written out before the next one is read,
 * so both directions share these buffers. Guard bands lie between the regions, and are never written.
 */

import { CaptureEnd, CaptureProgress, CaptureRecord, CaptureRequest } from "./capture";
import { Datagram } from "./conntrack/datagram";
import { Flow } from "./conntrack/flow";
import { DECISION_SIZE } from "./decision";
import { CMSG_DATA, IOVEC_SIZE, MMSGHDR_SIZE, SOCKADDR_SIZE } from "./linux";
import { MailboxPlace, MailboxRing } from "./mailbox";
import { Packet } from "./packet";
import { ACL_MAX_RULES, ACL_SIZE } from "./tables/acl";
import { ENDPOINT_BITS, ENDPOINT_SIZE } from "./tables/endpoint";
import { LPM4_SIZE, LPM6_SIZE } from "./tables/lpm";
import { NAT_SIZE } from "./tables/nat";
import { PEER_SENDER_SIZE, PEER_SENDERS } from "./tables/peer";
import { TokenBucket } from "./token-bucket";
import { TraceRecord } from "./trace";

const PAGE: usize = 65536;
const GUARD: u32 = 256;

// ---------------------------------------------------------------- control

export const CONTROL: usize = PAGE;

@unmanaged
class Control {
  // Atomic: shared by the host and a running batch.
  /** The copy of the tables that new batches search, 0 or 1. */
  liveCopy: i32;
  /** 1 + the copy that a running batch searches, 0 between batches. */
  copyInUse: i32;
  /** Odd during a batch, so that counters are read between batches. */
  batchSequence: i32;
  /** Datagrams put into all rings of MAILBOX by the core, and taken out by the host. */
  mailboxPut: u32;
  mailboxTaken: u32;

  // Set by the host.
  /** Offloads of kernel and device, a sum of CAN_ bits. */
  offloads: u32;
  /** The kernel's address of byte 0 of this memory; 0 without a kernel. */
  hostBase: u64;
  /** Milliseconds since any start; never decreases. */
  clock: f64;
  /** The host's monotonic clock when `clock` was 0, in milliseconds. */
  clockStart: f64;
  /** Secret, so that no sender can find out which flows share a set, or which addresses a bucket or ring. */
  flowSeed: u64;
  /** Number of sets in the table of flows, as a power of two; set before the first batch. */
  flowSetBits: u32;
  /** 1 if a policed TCP connection may be picked up in its middle. */
  pickUp: u32;
  /** 1 while this node does not know whether there is a policy or a translation document: no packet passes. */
  policyIsUnknown: u32;
  /** 1 if workloads of this node reach each other and the outside through the device. */
  throughCore: u32;
  /** Most mappings of one inside address. */
  perSource: u32;
  /** The VNI as in a VXLAN header: network order, low 8 bits zero. */
  ownVni: u32;
  /** This node's overlay address, the source of ICMP errors, network order; 0 if it has none. */
  ownAddress: u32;
  ownAddress6: v128;
  /** The source of a connection whose two ends are on this node, if its replies must pass the core. */
  hairpinAddress: v128;
  hairpinAddress6: v128;

  // State of the running batch.
  /** The copy of the tables that it searches. */
  searched: usize;
  batchNumber: u32;
  /** `clock` in whole milliseconds, modulo 2^32, and the `clock` that it is derived from. */
  now: u32;
  nowClock: f64;
  /** Number of its packets, and of its messages already split into packets. */
  packetCount: u32;
  nextMessage: u32;
  /** After a pass: number of messages in WIRE, their segments, the writes in DEVICE, the ICMP errors. */
  wireCount: u32;
  segmentCount: u32;
  deviceCount: u32;
  answerCount: u32;
  /** Control messages of the current message (assembly/receive-list.ts). */
  groSize: u32;
  receivedTos: u32;
  /** Number of random values drawn. */
  drawn: u64;
  /** Source and destination of a flow, swapped. */
  reversed: v128;
  reversed16: v128;

  // State of the sweep through the flows (assembly/conntrack/sweep.ts).
  /** The next set to sweep, and `now` at the last one. */
  nextSwept: u32;
  sweptAt: u32;
  /** `clock` at the first set. */
  sweepClock: f64;

  /** The first of MAX_FLOW_STATES timeouts in milliseconds, by state. */
  timeouts: u32;
}

export const LIVE_COPY: usize = CONTROL + offsetof<Control>("liveCopy");
export const COPY_IN_USE: usize = CONTROL + offsetof<Control>("copyInUse");
export const BATCH_SEQUENCE: usize = CONTROL + offsetof<Control>("batchSequence");
export const MAILBOX_PUT: usize = CONTROL + offsetof<Control>("mailboxPut");
export const MAILBOX_TAKEN: usize = CONTROL + offsetof<Control>("mailboxTaken");
export const OFFLOADS: usize = CONTROL + offsetof<Control>("offloads");
export const HOST_BASE: usize = CONTROL + offsetof<Control>("hostBase");
export const CLOCK: usize = CONTROL + offsetof<Control>("clock");
export const CLOCK_START: usize = CONTROL + offsetof<Control>("clockStart");
export const FLOW_SEED: usize = CONTROL + offsetof<Control>("flowSeed");
export const FLOW_SET_BITS: usize = CONTROL + offsetof<Control>("flowSetBits");
export const PICK_UP: usize = CONTROL + offsetof<Control>("pickUp");
export const POLICY_IS_UNKNOWN: usize = CONTROL + offsetof<Control>("policyIsUnknown");
export const THROUGH_CORE: usize = CONTROL + offsetof<Control>("throughCore");
export const PER_SOURCE: usize = CONTROL + offsetof<Control>("perSource");
export const OWN_VNI: usize = CONTROL + offsetof<Control>("ownVni");
export const OWN_ADDRESS: usize = CONTROL + offsetof<Control>("ownAddress");
export const OWN_ADDRESS_6: usize = CONTROL + offsetof<Control>("ownAddress6");
export const HAIRPIN_ADDRESS: usize = CONTROL + offsetof<Control>("hairpinAddress");
export const HAIRPIN_ADDRESS_6: usize = CONTROL + offsetof<Control>("hairpinAddress6");
export const SEARCHED: usize = CONTROL + offsetof<Control>("searched");
export const BATCH_NUMBER: usize = CONTROL + offsetof<Control>("batchNumber");
export const NOW: usize = CONTROL + offsetof<Control>("now");
export const NOW_CLOCK: usize = CONTROL + offsetof<Control>("nowClock");
export const PACKET_COUNT: usize = CONTROL + offsetof<Control>("packetCount");
export const NEXT_MESSAGE: usize = CONTROL + offsetof<Control>("nextMessage");
export const WIRE_COUNT: usize = CONTROL + offsetof<Control>("wireCount");
export const SEGMENT_COUNT: usize = CONTROL + offsetof<Control>("segmentCount");
export const DEVICE_COUNT: usize = CONTROL + offsetof<Control>("deviceCount");
export const ANSWER_COUNT: usize = CONTROL + offsetof<Control>("answerCount");
export const GRO_SIZE: usize = CONTROL + offsetof<Control>("groSize");
export const RECEIVED_TOS: usize = CONTROL + offsetof<Control>("receivedTos");
export const DRAWN: usize = CONTROL + offsetof<Control>("drawn");
export const REVERSED: usize = CONTROL + offsetof<Control>("reversed");
export const NEXT_SWEPT: usize = CONTROL + offsetof<Control>("nextSwept");
export const SWEPT_AT: usize = CONTROL + offsetof<Control>("sweptAt");
export const SWEEP_CLOCK: usize = CONTROL + offsetof<Control>("sweepClock");
export const TIMEOUTS: usize = CONTROL + offsetof<Control>("timeouts");

export const MAX_FLOW_STATES: u32 = 16;
const CONTROL_END: usize = TIMEOUTS + MAX_FLOW_STATES * 4;

// Bits of OFFLOADS.
/** One sendmsg can send a GSO batch of datagrams (UDP_SEGMENT). */
export const CAN_GSO: u32 = 1;
/** The device accepts coalesced TCP (TUN_F_TSO4, TUN_F_TSO6). */
export const CAN_COALESCE_TCP: u32 = 2;
/** The device accepts coalesced UDP (TUN_F_USO4, TUN_F_USO6). */
export const CAN_COALESCE_UDP: u32 = 4;

// --------------------------------------------------------------- counters

/** Counters of one direction; u64 by reason of a drop follow, then u64 by reason of an answer. */
@unmanaged
class DirectionCounters {
  received: u64;
  delivered: u64;
  answered: u64;
}

export const COUNTERS: usize = CONTROL_END + GUARD;
export const COUNTER_RECEIVED: u32 = offsetof<DirectionCounters>("received");
export const COUNTER_DELIVERED: u32 = offsetof<DirectionCounters>("delivered");
export const COUNTER_ANSWERED: u32 = offsetof<DirectionCounters>("answered");
export const COUNTER_DROPPED: u32 = offsetof<DirectionCounters>();
export const MAX_REASONS: u32 = 61;
export const COUNTER_ANSWERED_BY: u32 = COUNTER_DROPPED + MAX_REASONS * 8;
export const COUNTERS_SIZE: u32 = COUNTER_ANSWERED_BY + MAX_REASONS * 8;
export const OUT: u32 = 0;
export const IN: u32 = 1;

/**
 * u64 each: packets delivered to another node; control datagrams passed to the mesh; control datagrams
 * lost from known senders, and from others.
 */
export const COUNTER_RELAYED: usize = COUNTERS + 2 * COUNTERS_SIZE;
export const COUNTER_CONTROL: usize = COUNTER_RELAYED + 8;
export const COUNTER_CONTROL_DROPPED: usize = COUNTER_CONTROL + 8;
export const COUNTER_CONTROL_DROPPED_UNKNOWN: usize = COUNTER_CONTROL_DROPPED + 8;

/** u32 by state: number of connections. */
export const FLOWS_BY_STATE: usize = COUNTER_CONTROL_DROPPED_UNKNOWN + 8;

export const MAX_PEERS: u32 = 8192;

@unmanaged
class Traffic {
  sentPackets: u64;
  sentBytes: u64;
  receivedPackets: u64;
  receivedBytes: u64;
  /** Packets to the peer that were dropped for lack of a path. */
  noPath: u64;
}

/** By peer. */
export const TRAFFIC: usize = FLOWS_BY_STATE + MAX_FLOW_STATES * 4;
export const TRAFFIC_SENT: u32 = offsetof<Traffic>("sentPackets");
export const TRAFFIC_RECEIVED: u32 = offsetof<Traffic>("receivedPackets");
/** Distance from a number of packets to their bytes. */
export const TRAFFIC_BYTES: u32 = offsetof<Traffic>("sentBytes") - TRAFFIC_SENT;
export const TRAFFIC_NO_PATH: u32 = offsetof<Traffic>("noPath");
export const TRAFFIC_SIZE: u32 = offsetof<Traffic>();

@unmanaged
class PathMtu {
  /** The known path MTU; 0 if there is none. */
  learned: u32;
  /** Atomic: a smaller one that is not verified yet (assembly/tables/peer.ts); 0 if there is none. */
  hint: u32;
  /** CLOCK at which the known one expires. */
  until: f64;
}

/** By peer. */
export const PATH_MTU: usize = TRAFFIC + MAX_PEERS * TRAFFIC_SIZE;
export const PATH_MTU_LEARNED: u32 = offsetof<PathMtu>("learned");
export const PATH_MTU_HINT: u32 = offsetof<PathMtu>("hint");
export const PATH_MTU_UNTIL: u32 = offsetof<PathMtu>("until");
export const PATH_MTU_SIZE: u32 = offsetof<PathMtu>();

/** u32, atomic: peers put into HINTS by the core, and taken out by the host. */
export const HINTS_PUT: usize = PATH_MTU + MAX_PEERS * PATH_MTU_SIZE;
export const HINTS_TAKEN: usize = HINTS_PUT + 4;
/** A ring of u32: the peers with a new hint. Each peer is in it at most once, so all fit. */
export const HINTS: usize = HINTS_TAKEN + 4;

/** Packets counted by a rule. */
@unmanaged
class RuleCounter {
  packets: u64;
  bytes: u64;
}

/** By rule number. No rule has number 0; a new rule gets a number that no removed one just had. */
export const RULES: usize = HINTS + MAX_PEERS * 4;
export const MAX_RULE_NUMBERS: u32 = 1 << 17;
export const RULE_COUNTER_BYTES: u32 = offsetof<RuleCounter>("bytes");
export const RULE_COUNTER_SIZE: u32 = offsetof<RuleCounter>();

const TRAFFIC_END: usize = RULES + MAX_RULE_NUMBERS * RULE_COUNTER_SIZE;

// ----------------------------------------------------------------- tables
// Layout and search of each table: assembly/tables/.

export const TABLES: usize = TRAFFIC_END + GUARD;

/** Most underlay endpoints of a peer's own packets. */
export const MAX_SENDERS: u32 = 4;
/** A multiple of 64, so that the headers are in one cache line, and the first senders in another. */
export const PEER_SIZE: u32 = (<u32>PEER_SENDERS + MAX_SENDERS * PEER_SENDER_SIZE + 63) & ~63;

/** u32: number of publications. Flows of an earlier generation are decided again. */
export const GENERATION_AT: u32 = 0;
export const PEERS_AT: u32 = 64;
export const ENDPOINTS_AT: u32 = PEERS_AT + MAX_PEERS * PEER_SIZE;
/** Routes: one table for each family. */
export const LPM4_AT: u32 = ENDPOINTS_AT + (1 << ENDPOINT_BITS) * ENDPOINT_SIZE;
export const LPM6_AT: u32 = LPM4_AT + LPM4_SIZE;
export const ACL_AT: u32 = LPM6_AT + LPM6_SIZE;
export const NAT_AT: u32 = (ACL_AT + ACL_SIZE + 63) & ~63;
export const COPY_SIZE: u32 = NAT_AT + NAT_SIZE;

const TABLES_END: usize = TABLES + 2 * COPY_SIZE;

// -------------------------------------------------------------- fragments

/** Datagrams with known first fragments (assembly/conntrack/datagram.ts). */
export const FRAGMENTS: usize = TABLES_END + GUARD;
export const FRAGMENT_SIZE: u32 = offsetof<Datagram>();
export const FRAGMENT_BITS: u32 = 10;

const FRAGMENTS_END: usize = FRAGMENTS + (FRAGMENT_SIZE << FRAGMENT_BITS);

// ----------------------------------------------------------------- limits

/** Pairs of token buckets (assembly/tables/icmp-limit.ts): the total, by peer, by source. */
export const LIMITS: usize = FRAGMENTS_END + GUARD;
export const ICMP_BUCKET_SIZE: u32 = offsetof<TokenBucket>();
export const ICMP_TOTALS: usize = LIMITS;
export const ICMP_ORIGINS: usize = ICMP_TOTALS + 2 * ICMP_BUCKET_SIZE;
export const ICMP_SOURCE_BITS: u32 = 12;
export const ICMP_SOURCES: usize = ICMP_ORIGINS + MAX_PEERS * 2 * ICMP_BUCKET_SIZE;

const LIMITS_END: usize = ICMP_SOURCES + ((2 * ICMP_BUCKET_SIZE) << ICMP_SOURCE_BITS);

// ------------------------------------------------------------------ batch

/** Most reads from the device, or messages from the wire, in one batch. */
export const BATCH: u32 = 64;
/** Most datagrams in one message: the limit of every kernel (UDP_SEGMENT), and that of newer ones. */
export const MAX_GSO: u32 = 64;
export const MAX_GRO: u32 = 128;
/** Most packets in one batch: all messages are full. */
export const MAX_PACKETS: u32 = BATCH * MAX_GRO;

export const PACKETS: usize = LIMITS_END + GUARD;
export const PACKET_SIZE: u32 = offsetof<Packet>();
/** Offset of the verdict in a packet's record. */
export const PACKET_VERDICT: u32 = offsetof<Packet>("verdict");
/** Packets that take each step together: this many, and the rest of the last message. */
export const VECTOR: u32 = 64;
export const MAX_VECTOR: u32 = VECTOR + MAX_GRO;
/** The lookups of a vector: keys, packets and results; IPv4 and IPv6 separately. */
export const KEYS4: usize = PACKETS + MAX_PACKETS * PACKET_SIZE;
export const KEYS6: usize = KEYS4 + MAX_VECTOR * 4;
export const KEY_PACKETS4: usize = KEYS6 + MAX_VECTOR * 16;
export const KEY_PACKETS6: usize = KEY_PACKETS4 + MAX_VECTOR * 4;
export const FOUND: usize = KEY_PACKETS6 + MAX_VECTOR * 4;
/** Record of the packet that an ICMP error quotes (assembly/conntrack/related.ts). */
export const QUOTED: usize = FOUND + MAX_VECTOR * 4;
/** The decision about the packet that may open a connection (assembly/decision.ts). */
export const DECISION: usize = (QUOTED + PACKET_SIZE + 15) & ~15;
/** Source and destination of a mapping's key (assembly/conntrack/mapping.ts). */
export const MAPPING_KEY: usize = DECISION + DECISION_SIZE;
/** u32 by slot: bytes read from the device, virtio-net header included. */
export const LENGTHS: usize = MAPPING_KEY + 32;

/** u32 each: number of count-only rules that the current packet matched, and their numbers. */
export const MATCHED_COUNT: usize = LENGTHS + BATCH * 4;
export const MATCHED_RULES: usize = MATCHED_COUNT + 4;
/** All rules of both directions. */
export const MAX_MATCHED_RULES: u32 = 2 * ACL_MAX_RULES;

const PACKETS_END: usize = MATCHED_RULES + MAX_MATCHED_RULES * 4;

/** Two control messages, each with data of up to 8 bytes: the size of a GSO batch, and the TOS. */
export const CMSG_ROOM: u32 = 2 * (CMSG_DATA + 8);

export const RECEIVE: usize = PACKETS_END + GUARD;
export const RECEIVE_IOVECS: usize = RECEIVE + BATCH * MMSGHDR_SIZE;
export const RECEIVE_NAMES: usize = RECEIVE_IOVECS + BATCH * IOVEC_SIZE;
export const NAME_SIZE: u32 = 32;
export const RECEIVE_CONTROLS: usize = RECEIVE_NAMES + BATCH * NAME_SIZE;

/** The message of recvmsg(MSG_ERRQUEUE): header, name, control data. */
export const ERROR_MESSAGE: usize = RECEIVE_CONTROLS + BATCH * CMSG_ROOM;
export const ERROR_NAME: usize = ERROR_MESSAGE + MMSGHDR_SIZE;
export const ERROR_CONTROL: usize = ERROR_NAME + NAME_SIZE;
export const ERROR_CONTROL_SIZE: u32 = 256;
/** Its iovec, and the first bytes of the UDP payload that the error quotes. */
export const ERROR_IOVEC: usize = ERROR_CONTROL + ERROR_CONTROL_SIZE;
export const ERROR_QUOTE: usize = ERROR_IOVEC + IOVEC_SIZE;
export const ERROR_QUOTE_SIZE: u32 = 32;

const RECEIVE_END: usize = ERROR_QUOTE + ERROR_QUOTE_SIZE;

/** The rings of control datagrams (assembly/mailbox.ts). */
export const MAILBOX: usize = RECEIVE_END + GUARD;
export const MAILBOX_KNOWN_RING_BITS: u32 = 5;
export const MAILBOX_UNKNOWN_RING_BITS: u32 = 2;
export const MAILBOX_RINGS: u32 = (1 << MAILBOX_KNOWN_RING_BITS) + (1 << MAILBOX_UNKNOWN_RING_BITS);
/** Places in a ring, a power of two. */
export const MAILBOX_PLACES: u32 = 64;
export const MAILBOX_BYTES: u32 = offsetof<MailboxPlace>();
/** Most bytes kept of a control datagram. */
export const MAX_CONTROL: u32 = 512;
export const MAILBOX_SIZE: u32 = MAILBOX_BYTES + MAX_CONTROL;

export const MAILBOX_RING_PLACES: u32 = (offsetof<MailboxRing>() + 15) & ~15;
export const MAILBOX_RING_SIZE: u32 = MAILBOX_RING_PLACES + MAILBOX_PLACES * MAILBOX_SIZE;

const MAILBOX_END: usize = MAILBOX + MAILBOX_RINGS * MAILBOX_RING_SIZE;

/** Most datagrams in one pass, and most that one packet from the device becomes. */
export const MAX_SEGMENTS: u32 = 2048;
export const MAX_PIECES: u32 = 1024;

/** The messages of sendmmsg; each has one datagram, or a GSO batch of datagrams of equal size. */
export const WIRE: usize = MAILBOX_END + GUARD;
/** Two iovecs for a datagram: its headers, and a slice of the packet (or nothing). */
export const WIRE_IOVECS: usize = WIRE + MAX_SEGMENTS * MMSGHDR_SIZE;
export const WIRE_CONTROLS: usize = WIRE_IOVECS + MAX_SEGMENTS * 2 * IOVEC_SIZE;
/** Data of each message beside the kernel's (assembly/wire-list.ts). */
export const GSO_BATCHES: usize = WIRE_CONTROLS + MAX_SEGMENTS * CMSG_ROOM;
export const GSO_BATCH_SIZE: u32 = 32;
/** u32 by datagram: the record of the packet that it is a part of, or an ICMP error about. */
export const WIRE_PACKETS: usize = GSO_BATCHES + MAX_SEGMENTS * GSO_BATCH_SIZE;
export const WIRE_HEADERS: usize = WIRE_PACKETS + MAX_SEGMENTS * 4;
/** VXLAN (8), Ethernet (14), and an IP and a TCP header with all options (60 + 60). */
export const WIRE_HEADER_SIZE: u32 = 144;

const WIRE_END: usize = WIRE_HEADERS + MAX_SEGMENTS * WIRE_HEADER_SIZE;

/** The writes to the device (assembly/device-list.ts), each with its own iovecs. */
export const DEVICE: usize = WIRE_END + GUARD;
export const WRITE_SIZE: u32 = 48;
export const DEVICE_IOVECS: usize = DEVICE + MAX_PACKETS * WRITE_SIZE;
/** Most slices of a write: as many datagrams as UDP may gather; 64 KiB of TCP need fewer. */
export const MAX_SLICES: u32 = 64;
/** The writes to which packets may still be appended: those of recent flows, by hash. */
export const OPEN_WRITES: usize = DEVICE_IOVECS + MAX_PACKETS * MAX_SLICES * IOVEC_SIZE;
export const OPEN_BITS: u32 = 6;
export const ANSWERS: usize = OPEN_WRITES + (1 << OPEN_BITS) * 4;
/** ICMP errors a second, and in a burst: of path MTU errors and, separately, of all others. */
export const ICMP_RATE: u32 = 1000;
export const MAX_ANSWERS: u32 = 2 * ICMP_RATE;
/** Bytes of tunnel headers and of an ICMPv6 error of 1280 (RFC 4443, 2.4), rounded up. */
export const ANSWER_SIZE: u32 = 1344;

const DEVICE_END: usize = ANSWERS + MAX_ANSWERS * ANSWER_SIZE;

// ------------------------------------------------------------------ slots

/**
 * The inner IP header is always at HEADROOM. A device read starts VIRTIO_SIZE before it, a datagram
 * ENCAP_SIZE before it, so no packet moves to get another header.
 */
export const HEADROOM: u32 = 64;
export const VIRTIO_SIZE: u32 = 10;
/** VXLAN header and inner Ethernet header. */
export const ENCAP_SIZE: u32 = 22;
/** An IPv6 header and the longest payload that it can have. */
export const MAX_PACKET: u32 = 65535 + 40;
/** Not a multiple of 4096: headers of adjacent slots are in different cache sets. */
export const SLOT_SIZE: u32 = 65536 + HEADROOM + 1088;

export const SLOTS: usize = (DEVICE_END + GUARD + 63) & ~63;

const SLOTS_END: usize = SLOTS + BATCH * SLOT_SIZE;

// ------------------------------------------------------------------ trace

/** Records of the stages (assembly/trace.ts), used only in the memory of an explanation. */
export const TRACE: usize = (SLOTS_END + GUARD + 63) & ~63;
export const TRACE_COUNT: usize = TRACE;
export const TRACE_RECORDS: usize = TRACE + 64;
export const MAX_TRACE: u32 = 1024;
/** Offset of the packet in a record, from ENCAP_SIZE before its IP header on, and the bytes kept of it. */
export const TRACE_PACKET: u32 = offsetof<TraceRecord>();
export const TRACE_BYTES: u32 = 160;
export const TRACE_SIZE: u32 = TRACE_PACKET + TRACE_BYTES;

const TRACE_END: usize = TRACE_RECORDS + MAX_TRACE * TRACE_SIZE;

// ---------------------------------------------------------------- capture

/** State of a capture, by the core, and its request, by the host (assembly/capture.ts), in cache lines apart. */
export const CAPTURE: usize = (TRACE_END + GUARD + 63) & ~63;
export const CAPTURE_BATCH: usize = CAPTURE + offsetof<CaptureProgress>("batch");
export const CAPTURE_PUT: usize = CAPTURE + offsetof<CaptureProgress>("put");
export const CAPTURE_LOST: usize = CAPTURE + offsetof<CaptureProgress>("lost");

const CAPTURE_REQUEST: usize = (CAPTURE + offsetof<CaptureProgress>() + 63) & ~63;
export const CAPTURE_ON: usize = CAPTURE_REQUEST + offsetof<CaptureRequest>("on");
export const CAPTURE_TAKEN: usize = CAPTURE_REQUEST + offsetof<CaptureRequest>("taken");
export const CAPTURE_SNAPLEN: usize = CAPTURE_REQUEST + offsetof<CaptureRequest>("snaplen");
export const CAPTURE_DROPPED: usize = CAPTURE_REQUEST + offsetof<CaptureRequest>("dropped");
export const CAPTURE_FILTERED: usize = CAPTURE_REQUEST + offsetof<CaptureRequest>("filtered");
export const CAPTURE_FAMILY: usize = CAPTURE_REQUEST + offsetof<CaptureRequest>("family");
export const CAPTURE_PROTOCOL: usize = CAPTURE_REQUEST + offsetof<CaptureRequest>("protocol");
/** The two ends of the filter. */
export const CAPTURE_ENDS: usize = (CAPTURE_REQUEST + offsetof<CaptureRequest>() + 15) & ~15;
export const CAPTURE_END_SIZE: u32 = (offsetof<CaptureEnd>() + 15) & ~15;
/** Any family, protocol or port. */
export const CAPTURE_ANY: u32 = 0xffffffff;
/** By packet of the batch: its first bytes as received, and u32 whether the filter matches. */
export const CAPTURE_HEADS: usize = (CAPTURE_ENDS + 2 * CAPTURE_END_SIZE + 63) & ~63;
export const CAPTURE_HEAD: u32 = 128;
export const CAPTURE_WANTED: usize = CAPTURE_HEADS + MAX_PACKETS * CAPTURE_HEAD;
/** The ring of records; its size is a power of two. */
export const CAPTURE_RING: usize = CAPTURE_WANTED + MAX_PACKETS * 4;
export const CAPTURE_RING_SIZE: u32 = 1 << 22;
/** Bytes of a record before the packet. */
export const CAPTURE_RECORD: u32 = (offsetof<CaptureRecord>() + SOCKADDR_SIZE + 15) & ~15;

const CAPTURE_END: usize = CAPTURE_RING + CAPTURE_RING_SIZE;

// ------------------------------------------------------------------ flows
// Last, because the host sets their number and makes the memory as large.

export const FLOW_SIZE: u32 = offsetof<Flow>();
export const MAX_FLOW_BITS: u32 = 20;

/** u16 by record, for the maximum number of records. */
export const FLOW_TAGS: usize = (CAPTURE_END + GUARD + 63) & ~63;
/** u32 each: policed connections by account, half-open ones by party (assembly/conntrack/account.ts). */
export const HELD: usize = FLOW_TAGS + (2 << MAX_FLOW_BITS);
export const MAX_ACCOUNTS: u32 = MAX_PEERS + 1024;
export const OPENING: usize = HELD + MAX_ACCOUNTS * 4;
/** u32 each: mappings by inside address, by keyed hash. */
export const MAPPINGS_BY_SOURCE: usize = OPENING + MAX_PEERS * 4;
export const MAPPING_SOURCE_BITS: u32 = 12;
export const FLOWS: usize = MAPPINGS_BY_SOURCE + (4 << MAPPING_SOURCE_BITS);

/** Beginnings of the guard bands; each has GUARD_SIZE bytes that the host filled. */
export const GUARD_SIZE: u32 = GUARD;
export const GUARD_0: usize = CONTROL_END;
export const GUARD_1: usize = TRAFFIC_END;
export const GUARD_2: usize = TABLES_END;
export const GUARD_3: usize = PACKETS_END;
export const GUARD_4: usize = RECEIVE_END;
export const GUARD_5: usize = WIRE_END;
export const GUARD_6: usize = DEVICE_END;
export const GUARD_7: usize = SLOTS_END;
export const GUARD_8: usize = MAILBOX_END;
export const GUARD_9: usize = FRAGMENTS_END;
export const GUARD_10: usize = CAPTURE_END;
export const GUARD_11: usize = LIMITS_END;

// ------------------------------------------------------------------ places

/** Generation of the tables that the running batch searches; it increases with each change. */
export function generation(): u32 {
  return load<u32>(load<usize>(SEARCHED) + GENERATION_AT);
}

/** The kernel's address of an address in this memory. */
export function hostAddress(address: usize): u64 {
  return load<u64>(HOST_BASE) + address;
}
