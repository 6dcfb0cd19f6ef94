/** The messages of recvmmsg: each a datagram, or a train of them that the kernel gathered (UDP_GRO). */
import {
  BATCH,
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_ROOM,
  CMSG_TYPE,
  ENCAP_SIZE,
  HEADROOM,
  hostAddress,
  IOVEC_LEN,
  IOVEC_SIZE,
  MAX_PACKET,
  MMSGHDR_CONTROL,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_LEN,
  MMSGHDR_NAME,
  MMSGHDR_NAMELEN,
  MMSGHDR_SIZE,
  NAME_SIZE,
  RECEIVE,
  RECEIVE_CONTROLS,
  RECEIVE_IOVECS,
  RECEIVE_NAMES,
  SLOT_SIZE,
  SLOTS,
  SOCKADDR_SIZE,
} from "./memory";

const SOL_UDP: u32 = 17;
const UDP_GRO: u32 = 104;
const IPPROTO_IP: u32 = 0;
const IP_TOS: u32 = 1;
const IPPROTO_IPV6: u32 = 41;
const IPV6_TCLASS: u32 = 67;

/** Points each message at its slot: once, when the host's address is known. */
export function prepareReceive(): void {
  for (let i: u32 = 0; i < BATCH; i++) {
    const message = RECEIVE + i * MMSGHDR_SIZE;
    const iovec = RECEIVE_IOVECS + i * IOVEC_SIZE;
    store<u64>(message, hostAddress(senderOf(i)), MMSGHDR_NAME);
    store<u64>(message, hostAddress(iovec), MMSGHDR_IOV);
    store<u64>(message, 1, MMSGHDR_IOVLEN);
    store<u64>(message, hostAddress(RECEIVE_CONTROLS + i * CMSG_ROOM), MMSGHDR_CONTROL);
    store<u64>(iovec, hostAddress(received(i)));
    store<u64>(iovec, ENCAP_SIZE + MAX_PACKET, IOVEC_LEN);
    rearm(i);
  }
}

/** recvmmsg shortens both lengths; they are set again before it is called again. */
export function rearm(i: u32): void {
  const message = RECEIVE + i * MMSGHDR_SIZE;
  store<u32>(message, SOCKADDR_SIZE, MMSGHDR_NAMELEN);
  store<u64>(message, CMSG_ROOM, MMSGHDR_CONTROLLEN);
}

/** Where message `i` begins: its first inner IP header then stands at HEADROOM of its slot. */
export function received(i: u32): usize {
  return SLOTS + i * SLOT_SIZE + HEADROOM - ENCAP_SIZE;
}

export function receivedLength(i: u32): u32 {
  return load<u32>(RECEIVE + i * MMSGHDR_SIZE, MMSGHDR_LEN);
}

/** The sockaddr that message `i` came from. */
export function senderOf(i: u32): usize {
  return RECEIVE_NAMES + i * NAME_SIZE;
}

/** Bytes of each datagram of message `i` but the last, which may be shorter. */
export function datagramSize(i: u32): u32 {
  const data = findControl(i, SOL_UDP, UDP_GRO, 4);
  const size = data ? load<u32>(data) : 0;
  return size == 0 ? receivedLength(i) : size;
}

/**
 * TOS or traffic class of the datagrams of message `i`; 0 where the kernel did not tell. Gathered
 * datagrams have the same.
 */
export function receivedTos(i: u32): u32 {
  let data = findControl(i, IPPROTO_IP, IP_TOS, 1);
  if (data == 0) data = findControl(i, IPPROTO_IPV6, IPV6_TCLASS, 4);
  return data ? load<u8>(data) : 0;
}

/** The data of a control message of message `i`, `least` bytes or more; 0 if there is none. */
function findControl(i: u32, level: u32, type: u32, least: u32): usize {
  const message = RECEIVE + i * MMSGHDR_SIZE;
  const length = min<u64>(load<u64>(message, MMSGHDR_CONTROLLEN), CMSG_ROOM);
  for (let at: u64 = 0; at + CMSG_DATA + least <= length; ) {
    const control = RECEIVE_CONTROLS + i * CMSG_ROOM + <usize>at;
    const size = load<u64>(control);
    if (size < CMSG_DATA || size > length - at) return 0;
    const isWanted =
      load<u32>(control, CMSG_LEVEL) == level && load<u32>(control, CMSG_TYPE) == type;
    if (isWanted && size >= CMSG_DATA + least) return control + CMSG_DATA;
    at += (size + 7) & ~7;
  }
  return 0;
}
