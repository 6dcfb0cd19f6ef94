/**
 * The numbers and structures of Linux on 64-bit hosts, little-endian, that the host shares with the
 * kernel. Those that the core shares too are also in `assembly/linux.ts`; a test compares both.
 */

// open(2); other calls have their own names for the same bits.
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const EFD_NONBLOCK = O_NONBLOCK;
export const EFD_CLOEXEC = O_CLOEXEC;
export const EPOLL_CLOEXEC = O_CLOEXEC;

// socket(2)
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_PACKET = 17;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = O_NONBLOCK;
export const SOCK_CLOEXEC = O_CLOEXEC;

// socket(7)
export const SOL_SOCKET = 1;
export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_REUSEPORT = 15;
export const SO_PEERCRED = 17;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;

// ip(7)
export const IPPROTO_IP = 0;
export const IP_TOS = 1;
export const IP_MTU_DISCOVER = 10;
export const IP_RECVERR = 11;
export const IP_RECVTOS = 13;
/** Sets DF, and lets no ICMP error lower the MTU of the socket; IPv6 has the same number for it. */
export const PMTUDISC_PROBE = 3;

// ipv6(7)
export const IPPROTO_IPV6 = 41;
export const IPV6_MULTICAST_HOPS = 18;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_RECVERR = 25;
export const IPV6_V6ONLY = 26;
export const IPV6_RECVTCLASS = 66;
export const IPV6_TCLASS = 67;

// icmp(7), for IPv6
export const IPPROTO_ICMPV6 = 58;

// packet(7): struct sockaddr_ll
export const ETH_P_ARP = 0x0806;
export const SOCKADDR_LL_SIZE = 20;
export const SOCKADDR_LL_PROTOCOL = 2;
export const SOCKADDR_LL_IFINDEX = 4;
export const SOCKADDR_LL_HALEN = 11;
export const SOCKADDR_LL_ADDR = 12;

// udp(7)
export const SOL_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;

// recvmsg(2)
export const MSG_ERRQUEUE = 0x2000;

/** struct sockaddr_in and sockaddr_in6 (`sockaddr.ts` draws them). */
export const SOCKADDR_PORT = 2;
export const SOCKADDR_IPV4 = 4;
export const SOCKADDR_IPV6 = 8;
export const SOCKADDR_SCOPE_ID = 24;
export const SOCKADDR_IN_SIZE = 16;
export const SOCKADDR_SIZE = 28;

/** struct iovec: an address and a length, both u64. */
export const IOVEC_LEN = 8;
export const IOVEC_SIZE = 16;

/** struct mmsghdr: a struct msghdr (sendmsg(2)), and the number of bytes received. */
export const MMSGHDR_NAME = 0;
export const MMSGHDR_NAMELEN = 8;
export const MMSGHDR_IOV = 16;
export const MMSGHDR_IOVLEN = 24;
export const MMSGHDR_CONTROL = 32;
export const MMSGHDR_CONTROLLEN = 40;
export const MMSGHDR_LEN = 56;
export const MMSGHDR_SIZE = 64;

/** struct cmsghdr (cmsg(3)): its length as a u64, with the header included, level and type; data follows. */
export const CMSG_LEVEL = 8;
export const CMSG_TYPE = 12;
export const CMSG_DATA = 16;
/** Bytes of a control message with this many bytes of data. */
export const cmsgSpace = (data: number): number => CMSG_DATA + ((data + 7) & ~7);
