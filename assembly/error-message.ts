/**
 * Errors of the underlay about datagrams that were sent (IP_RECVERR, IPV6_RECVERR). The kernel returns
 * the destination, the beginning of the payload as far as the error quotes it, and a struct
 * sock_extended_err.
 */
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  EE_ERRNO,
  EE_INFO,
  EE_ORIGIN,
  EE_SIZE,
  EMSGSIZE,
  IOVEC_LEN,
  IP_RECVERR,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_RECVERR,
  MMSGHDR_CONTROL,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_NAME,
  MMSGHDR_NAMELEN,
  SO_EE_ORIGIN_LOCAL,
  SOCKADDR_SIZE,
} from "./linux";
import {
  ERROR_CONTROL,
  ERROR_CONTROL_SIZE,
  ERROR_IOVEC,
  ERROR_MESSAGE,
  ERROR_NAME,
  ERROR_QUOTE,
  ERROR_QUOTE_SIZE,
  hostAddress,
} from "./memory";
import { notePathMtu } from "./tables/endpoint";

/** Prepares the message for the next error and clears the last quote. */
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

/** Handles the received message; only within a batch, which holds the table of peers. */
export function noteError(): void {
  const length = min<u32>(<u32>load<u64>(ERROR_MESSAGE, MMSGHDR_CONTROLLEN), ERROR_CONTROL_SIZE);
  for (let at: u32 = 0; at + CMSG_DATA + EE_SIZE <= length; ) {
    const control = ERROR_CONTROL + at;
    const info = load<u32>(control, CMSG_DATA + EE_INFO);
    if (
      isExtendedError(control) &&
      load<u32>(control, CMSG_DATA + EE_ERRNO) == EMSGSIZE &&
      info > 0
    ) {
      notePathMtu(
        ERROR_NAME,
        info,
        load<u8>(control, CMSG_DATA + EE_ORIGIN) == SO_EE_ORIGIN_LOCAL,
        ERROR_QUOTE,
      );
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
