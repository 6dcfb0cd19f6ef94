/** The messages of recvmmsg: each a datagram, or a GSO batch of them that the kernel gathered (UDP_GRO). */
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  IOVEC_LEN,
  IOVEC_SIZE,
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_TCLASS,
  MMSGHDR_CONTROL,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_LEN,
  MMSGHDR_NAME,
  MMSGHDR_NAMELEN,
  MMSGHDR_SIZE,
  SOCKADDR_SIZE,
  SOL_UDP,
  UDP_GRO,
} from "./linux";
import {
  BATCH,
  CMSG_ROOM,
  ENCAP_SIZE,
  GRO_SIZE,
  HEADROOM,
  hostAddress,
  MAX_PACKET,
  NAME_SIZE,
  RECEIVE,
  RECEIVE_CONTROLS,
  RECEIVE_IOVECS,
  RECEIVE_NAMES,
  RECEIVED_TOS,
  SLOT_SIZE,
  SLOTS,
} from "./memory";

/** Points each message to its slot: once, when the host's address is known. */
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

/** recvmmsg shortens both lengths; they are restored before the next call. */
export function rearm(i: u32): void {
  const message = RECEIVE + i * MMSGHDR_SIZE;
  store<u32>(message, SOCKADDR_SIZE, MMSGHDR_NAMELEN);
  store<u64>(message, CMSG_ROOM, MMSGHDR_CONTROLLEN);
}

/** Start of message `i`: its first inner IP header is then at HEADROOM of its slot. */
export function received(i: u32): usize {
  return SLOTS + i * SLOT_SIZE + HEADROOM - ENCAP_SIZE;
}

export function receivedLength(i: u32): u32 {
  return load<u32>(RECEIVE + i * MMSGHDR_SIZE, MMSGHDR_LEN);
}

/** The sockaddr of the sender of message `i`. */
export function senderOf(i: u32): usize {
  return RECEIVE_NAMES + i * NAME_SIZE;
}

/**
 * Reads the control messages of message `i`: GRO_SIZE, the bytes of each datagram but the last, and
 * RECEIVED_TOS, the TOS or traffic class of all; 0 for a missing one.
 */
export function readControls(i: u32): void {
  store<u32>(GRO_SIZE, receivedLength(i));
  store<u32>(RECEIVED_TOS, 0);
  const message = RECEIVE + i * MMSGHDR_SIZE;
  const length = <u32>min<u64>(load<u64>(message, MMSGHDR_CONTROLLEN), CMSG_ROOM);
  for (let at: u32 = 0; at + CMSG_DATA < length; ) {
    const control = RECEIVE_CONTROLS + i * CMSG_ROOM + at;
    const size = load<u64>(control);
    if (size <= CMSG_DATA || size > length - at) return;
    readControl(control, <u32>size - CMSG_DATA);
    at += (<u32>size + 7) & ~7;
  }
}

function readControl(control: usize, size: u32): void {
  const level = load<u32>(control, CMSG_LEVEL);
  const type = load<u32>(control, CMSG_TYPE);
  if (level == SOL_UDP && type == UDP_GRO && size >= 4) {
    const gathered = load<u32>(control, CMSG_DATA);
    if (gathered) store<u32>(GRO_SIZE, gathered);
  } else if (
    (level == IPPROTO_IP && type == IP_TOS) ||
    (level == IPPROTO_IPV6 && type == IPV6_TCLASS)
  ) {
    // A TOS is an int whose first byte has the value.
    store<u32>(RECEIVED_TOS, load<u8>(control, CMSG_DATA));
  }
}
