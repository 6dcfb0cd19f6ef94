/**
 * The memory map. One shared memory holds everything a packet meets; every
 * address below is derived from the one before it.
 *
 *   0        +----------------------------------------------------------+
 *            | left to the compiler (this core has no static data)      |
 *   CONTROL  +----------------------------------------------------------+
 *            | who we are, the clock, which tables are live             |
 *   COUNTERS +----------------------------------------------------------+
 *            | how every packet ended: out, in; traffic by peer         |
 *   TABLES   +----------------------------------------------------------+
 *            | copy 0: peers | endpoints | routes                       |
 *            | copy 1: the same; one is searched, one is being filled   |
 *   PACKETS  +----------------------------------------------------------+
 *            | what the stages know of each packet of the batch         |
 *   RECEIVE  +----------------------------------------------------------+
 *            | mmsghdr, iovec, address: the vectors of recvmmsg         |
 *   WIRE     +----------------------------------------------------------+
 *            | mmsghdr, iovec, made headers: the vectors of sendmmsg    |
 *   DEVICE   +----------------------------------------------------------+
 *            | what to write to the device; the ICMP answers            |
 *   SLOTS    +----------------------------------------------------------+
 *            | one packet each, with room for headers before it         |
 *   END      +----------------------------------------------------------+
 *
 * A batch is read into the slots, goes through the stages and is written out
 * before the next one is read, so both directions share these buffers.
 * Guard bands lie between the regions; nothing ever writes them.
 */

const PAGE: usize = 65536;
const GUARD: u32 = 256;

// ---------------------------------------------------------------- control

export const CONTROL: usize = PAGE;

/** i32, atomic: the copy of the tables that new batches search, 0 or 1. */
export const LIVE_COPY: usize = CONTROL;
/** i32, atomic: 1 + the copy a running batch searches, 0 between batches. */
export const COPY_IN_USE: usize = CONTROL + 4;
/** i32, atomic: odd while a batch is under way, so that counters are read between batches. */
export const BATCH_SEQUENCE: usize = CONTROL + 8;
/** u64: where the host sees byte 0 of this memory; 0 when no kernel looks into it. */
export const HOST_BASE: usize = CONTROL + 16;
/** f64: milliseconds, from any start, never backwards. */
export const CLOCK: usize = CONTROL + 24;
/** u32: the VNI as it stands in a VXLAN header, network order, low 8 bits zero. */
export const OWN_VNI: usize = CONTROL + 32;
/** u32, network order: this node's overlay address, the source of ICMP answers. */
export const OWN_ADDRESS: usize = CONTROL + 36;
/** f64: ICMP answers sent of late, a level that sinks with time, and when it was reckoned (CLOCK). */
export const ANSWER_LEVEL: usize = CONTROL + 40;
export const ANSWER_CLOCK: usize = CONTROL + 48;
/** u32: lengths of the lists WIRE and DEVICE after a pass. */
export const WIRE_COUNT: usize = CONTROL + 56;
export const DEVICE_COUNT: usize = CONTROL + 60;
/** u32: the copy of the tables that the running batch searches. */
export const SEARCHED: usize = CONTROL + 64;

const CONTROL_END: usize = CONTROL + 128;

// --------------------------------------------------------------- counters

/** One direction's counters, u64 each: received, delivered, answered, then one for each reason. */
export const COUNTERS: usize = CONTROL_END + GUARD;
export const COUNTER_RECEIVED: u32 = 0;
export const COUNTER_DELIVERED: u32 = 8;
export const COUNTER_ANSWERED: u32 = 16;
export const COUNTER_DROPPED: u32 = 24;
export const MAX_REASONS: u32 = 61;
export const COUNTERS_SIZE: u32 = COUNTER_DROPPED + MAX_REASONS * 8;
export const OUT: u32 = 0;
export const IN: u32 = 1;

export const MAX_PEERS: u32 = 8192;

/** By peer, u64 each: packets and bytes sent to it, packets and bytes received from it. */
export const TRAFFIC: usize = COUNTERS + 2 * COUNTERS_SIZE;
export const TRAFFIC_SIZE: u32 = 32;

const TRAFFIC_END: usize = TRAFFIC + MAX_PEERS * TRAFFIC_SIZE;

// ----------------------------------------------------------------- tables
// Layout and search of each table: assembly/tables/.

export const TABLES: usize = TRAFFIC_END + GUARD;

export const PEER_SIZE: u32 = 64;
export const ENDPOINT_SIZE: u32 = 8;
/** A power of two, twice MAX_PEERS: at most half full, so that a probe ends soon. */
export const ENDPOINT_BITS: u32 = 14;
export const ROUTE_ROOT_SIZE: u32 = 65536 * 4;
export const ROUTE_NODE_SIZE: u32 = 256 * 4;
export const MAX_ROUTE_NODES: u32 = 8192;

export const PEERS_AT: u32 = 0;
export const ENDPOINTS_AT: u32 = PEERS_AT + MAX_PEERS * PEER_SIZE;
export const ROUTES_AT: u32 = ENDPOINTS_AT + (1 << ENDPOINT_BITS) * ENDPOINT_SIZE;
export const ROUTE_NODES_AT: u32 = ROUTES_AT + ROUTE_ROOT_SIZE;
export const COPY_SIZE: u32 = ROUTE_NODES_AT + MAX_ROUTE_NODES * ROUTE_NODE_SIZE;

const TABLES_END: usize = TABLES + 2 * COPY_SIZE;

// ------------------------------------------------------------------ batch

/** Packets in one batch. */
export const BATCH: u32 = 64;

export const PACKETS: usize = TABLES_END + GUARD;
export const PACKET_SIZE: u32 = 64;
/** Where in a packet's record its verdict stands (assembly/packet.ts). */
export const PACKET_VERDICT: u32 = 32;

/** u32 for each slot: the bytes read from the device into it, virtio-net header included. */
export const LENGTHS: usize = PACKETS + BATCH * PACKET_SIZE;

const PACKETS_END: usize = LENGTHS + BATCH * 4;

/** struct mmsghdr of Linux on 64-bit hosts: msghdr (56), msg_len (4), padding (4). */
export const MMSGHDR_SIZE: u32 = 64;
export const MMSGHDR_NAME: u32 = 0;
export const MMSGHDR_NAMELEN: u32 = 8;
export const MMSGHDR_IOV: u32 = 16;
export const MMSGHDR_IOVLEN: u32 = 24;
export const MMSGHDR_LEN: u32 = 56;
export const IOVEC_SIZE: u32 = 16;
export const IOVEC_LEN: u32 = 8;
/** struct sockaddr_in6, which a sockaddr_in fits into. */
export const SOCKADDR_SIZE: u32 = 28;
export const SOCKADDR_PORT: u32 = 2;
export const SOCKADDR_IPV4: u32 = 4;

export const RECEIVE: usize = PACKETS_END + GUARD;
export const RECEIVE_IOVECS: usize = RECEIVE + BATCH * MMSGHDR_SIZE;
export const RECEIVE_NAMES: usize = RECEIVE_IOVECS + BATCH * IOVEC_SIZE;
export const NAME_SIZE: u32 = 32;

const RECEIVE_END: usize = RECEIVE_NAMES + BATCH * NAME_SIZE;

/** Datagrams in one pass, and the most that one packet can become. */
export const MAX_WIRE: u32 = 1024;
export const MAX_FRAGMENTS: u32 = 128;

export const WIRE: usize = RECEIVE_END + GUARD;
/** Two iovecs for a datagram: what was made for it, and a slice of the packet (or nothing). */
export const WIRE_IOVECS: usize = WIRE + MAX_WIRE * MMSGHDR_SIZE;
export const WIRE_HEADERS: usize = WIRE_IOVECS + MAX_WIRE * 2 * IOVEC_SIZE;
/** VXLAN (8), Ethernet (14) and an IPv4 header with all its options (60), for a fragment. */
export const WIRE_HEADER_SIZE: u32 = 96;
/** u32: the packet of the batch that a datagram carries. */
export const WIRE_PACKETS: usize = WIRE_HEADERS + MAX_WIRE * WIRE_HEADER_SIZE;

const WIRE_END: usize = WIRE_PACKETS + MAX_WIRE * 4;

/** For each device write three u32: address (of the virtio-net header), length, packet of the batch. */
export const DEVICE: usize = WIRE_END + GUARD;
export const DEVICE_SIZE: u32 = 12;
export const MAX_DEVICE: u32 = BATCH;
export const ANSWERS: usize = DEVICE + MAX_DEVICE * DEVICE_SIZE;
/** A virtio-net header and the 576 bytes an ICMP error may have (RFC 1812, 4.3.2.3), rounded up. */
export const ANSWER_SIZE: u32 = 640;

const DEVICE_END: usize = ANSWERS + BATCH * ANSWER_SIZE;

// ------------------------------------------------------------------ slots

/**
 * The inner IP header always stands at HEADROOM. A device read starts
 * VIRTIO_SIZE before it, a datagram ENCAP_SIZE before it, so no packet moves
 * to get another header.
 */
export const HEADROOM: u32 = 64;
export const VIRTIO_SIZE: u32 = 10;
/** VXLAN header and inner Ethernet header. */
export const ENCAP_SIZE: u32 = 22;
export const MAX_PACKET: u32 = 65535;
/** Not a multiple of 4096: headers of neighbouring slots fall into different cache sets. */
export const SLOT_SIZE: u32 = 65536 + HEADROOM + 1088;

export const SLOTS: usize = (DEVICE_END + GUARD + 63) & ~63;
export const END: usize = SLOTS + BATCH * SLOT_SIZE;

/** Where the guard bands begin; each is GUARD_SIZE bytes of what the host filled it with. */
export const GUARD_SIZE: u32 = GUARD;
export const GUARD_0: usize = CONTROL_END;
export const GUARD_1: usize = TRAFFIC_END;
export const GUARD_2: usize = TABLES_END;
export const GUARD_3: usize = PACKETS_END;
export const GUARD_4: usize = RECEIVE_END;
export const GUARD_5: usize = WIRE_END;
export const GUARD_6: usize = DEVICE_END;

// ------------------------------------------------------------------ places

/** Where the inner IP header of packet `i` of the batch stands. */
export function ipAt(i: u32): usize {
  return SLOTS + i * SLOT_SIZE + HEADROOM;
}

/** An address in this memory as the kernel sees it. */
export function hostAddress(address: usize): u64 {
  return load<u64>(HOST_BASE) + address;
}
