/**
 * What the underlay says of a datagram we sent (IP_RECVERR, IPV6_RECVERR): the
 * kernel hands back where it was going, how its payload began as far as the error
 * quotes it, and beside it this (linux/errqueue.h).
 *
 *   0          4        5      6      7     8      12
 *   +----------+--------+------+------+-----+------+------+
 *   | ee_errno | origin | type | code | pad | info | data |   info: the next hop's MTU
 *   +----------+--------+------+------+-----+------+------+
 */
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  ERROR_CONTROL,
  ERROR_CONTROL_SIZE,
  ERROR_IOVEC,
  ERROR_MESSAGE,
  ERROR_NAME,
  ERROR_QUOTE,
  ERROR_QUOTE_SIZE,
  hostAddress,
  IOVEC_LEN,
  MMSGHDR_CONTROL,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_NAME,
  MMSGHDR_NAMELEN,
  SOCKADDR_SIZE,
} from "./memory";
import { notePathMtu } from "./tables/endpoint";

const ERRNO: u32 = CMSG_DATA;
const ORIGIN: u32 = CMSG_DATA + 4;
const INFO: u32 = CMSG_DATA + 8;
const EXTENDED_ERROR_SIZE: u32 = 16;
/** The error comes from this host itself (SO_EE_ORIGIN_LOCAL). */
const LOCAL: u32 = 1;
const EMSGSIZE: u32 = 90;

const IPPROTO_IP: u32 = 0;
const IP_RECVERR: u32 = 11;
const IPPROTO_IPV6: u32 = 41;
const IPV6_RECVERR: u32 = 25;

/** Prepares the message for the next error and clears what the last one quoted. */
export function prepareError(): void {
  memory.fill(ERROR_MESSAGE, 0, <u32>(ERROR_CONTROL - ERROR_MESSAGE));
  store<u64>(ERROR_MESSAGE, hostAddress(ERROR_NAME), MMSGHDR_NAME);
  store<u32>(ERROR_MESSAGE, SOCKADDR_SIZE, MMSGHDR_NAMELEN);
  store<u64>(ERROR_MESSAGE, hostAddress(ERROR_CONTROL), MMSGHDR_CONTROL);
  store<u64>(ERROR_MESSAGE, ERROR_CONTROL_SIZE, MMSGHDR_CONTROLLEN);
  store<u64>(ERROR_MESSAGE, hostAddress(ERROR_IOVEC), MMSGHDR_IOV);
  store<u64>(ERROR_MESSAGE, 1, MMSGHDR_IOVLEN);
  store<u64>(ERROR_IOVEC, hostAddress(ERROR_QUOTE));
  store<u64>(ERROR_IOVEC, ERROR_QUOTE_SIZE, IOVEC_LEN);
  memory.fill(ERROR_QUOTE, 0, ERROR_QUOTE_SIZE);
}

/** Reads the message that came; only within a batch, whose tables know the peers. */
export function noteError(): void {
  const length = min<u32>(<u32>load<u64>(ERROR_MESSAGE, MMSGHDR_CONTROLLEN), ERROR_CONTROL_SIZE);
  for (let at: u32 = 0; at + CMSG_DATA + EXTENDED_ERROR_SIZE <= length; ) {
    const control = ERROR_CONTROL + at;
    const info = load<u32>(control, INFO);
    if (isExtendedError(control) && load<u32>(control, ERRNO) == EMSGSIZE && info > 0) {
      notePathMtu(ERROR_NAME, info, load<u8>(control, ORIGIN) == LOCAL, ERROR_QUOTE);
    }
    const size = load<u32>(control);
    if (size < CMSG_DATA || size > length - at) return;
    at += (size + 7) & ~7;
  }
}

function isExtendedError(control: usize): bool {
  const level = load<u32>(control, CMSG_LEVEL);
  const type = load<u32>(control, CMSG_TYPE);
  return (
    (level == IPPROTO_IP && type == IP_RECVERR) || (level == IPPROTO_IPV6 && type == IPV6_RECVERR)
  );
}
