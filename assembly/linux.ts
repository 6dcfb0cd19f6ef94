/** The structures and numbers of Linux on 64-bit hosts that the core shares with the kernel. */

/** struct iovec. */
@unmanaged
class Iovec {
  base: u64;
  length: u64;
}
export const IOVEC_LEN: u32 = offsetof<Iovec>("length");
export const IOVEC_SIZE: u32 = offsetof<Iovec>();

/** struct mmsghdr: a struct msghdr, and the number of bytes received. */
@unmanaged
class Mmsghdr {
  name: u64;
  nameLength: u32;
  padding12: u32;
  iov: u64;
  iovLength: u64;
  control: u64;
  controlLength: u64;
  flags: u32;
  padding52: u32;
  length: u32;
  padding60: u32;
}
export const MMSGHDR_NAME: u32 = offsetof<Mmsghdr>("name");
export const MMSGHDR_NAMELEN: u32 = offsetof<Mmsghdr>("nameLength");
export const MMSGHDR_IOV: u32 = offsetof<Mmsghdr>("iov");
export const MMSGHDR_IOVLEN: u32 = offsetof<Mmsghdr>("iovLength");
export const MMSGHDR_CONTROL: u32 = offsetof<Mmsghdr>("control");
export const MMSGHDR_CONTROLLEN: u32 = offsetof<Mmsghdr>("controlLength");
export const MMSGHDR_LEN: u32 = offsetof<Mmsghdr>("length");
export const MMSGHDR_SIZE: u32 = offsetof<Mmsghdr>();

/** struct cmsghdr; its data follows. */
@unmanaged
class Cmsghdr {
  length: u64;
  level: u32;
  type: u32;
}
export const CMSG_LEVEL: u32 = offsetof<Cmsghdr>("level");
export const CMSG_TYPE: u32 = offsetof<Cmsghdr>("type");
export const CMSG_DATA: u32 = offsetof<Cmsghdr>();

/** struct sockaddr_in and sockaddr_in6, overlaid; port and addresses in network order. */
@unmanaged
export class Sockaddr {
  family: u16;
  port: u16;
  /** For IPv6, the flow label. */
  ipv4: u32;
  ipv6: u64;
  ipv6_8: u64;
  scope: u32;
}
export const SOCKADDR_PORT: u32 = offsetof<Sockaddr>("port");
export const SOCKADDR_IPV4: u32 = offsetof<Sockaddr>("ipv4");
export const SOCKADDR_IPV6: u32 = offsetof<Sockaddr>("ipv6");
export const SOCKADDR_SCOPE: u32 = offsetof<Sockaddr>("scope");
export const SOCKADDR_SIZE: u32 = offsetof<Sockaddr>();

export const AF_INET: u32 = 2;
export const AF_INET6: u32 = 10;

// Levels and types of control messages (ip(7), ipv6(7), udp(7)).
export const IPPROTO_IP: u32 = 0;
export const IP_TOS: u32 = 1;
export const IP_RECVERR: u32 = 11;
export const IPPROTO_IPV6: u32 = 41;
export const IPV6_RECVERR: u32 = 25;
export const IPV6_TCLASS: u32 = 67;
export const SOL_UDP: u32 = 17;
export const UDP_SEGMENT: u32 = 103;
export const UDP_GRO: u32 = 104;

/** struct sock_extended_err (linux/errqueue.h); `info` is the next hop's MTU. */
@unmanaged
class ExtendedError {
  errno: u32;
  origin: u8;
  type: u8;
  code: u8;
  padding7: u8;
  info: u32;
  data: u32;
}
export const EE_ERRNO: u32 = offsetof<ExtendedError>("errno");
export const EE_ORIGIN: u32 = offsetof<ExtendedError>("origin");
export const EE_INFO: u32 = offsetof<ExtendedError>("info");
export const EE_SIZE: u32 = offsetof<ExtendedError>();
/** Origin of an error: this host itself. */
export const SO_EE_ORIGIN_LOCAL: u32 = 1;
export const EMSGSIZE: u32 = 90;
