/**
 * The system calls of the kernel path.
 *
 * They are bound through koffi, in the main thread and in workers alike. Buffers in the core's memory
 * are passed as plain numbers (its host address + an offset, below 2^53): such a call costs about a
 * quarter of a microsecond. Small structures are passed as the typed array that holds them.
 *
 * Results are as in C: -1 means failure, and `errno()` right after the call has the reason.
 */
import koffi from "koffi";
import { SystemError } from "./errno.js";

const libc = koffi.load("libc.so.6");

type Bytes = NodeJS.ArrayBufferView;
type Open = (path: string, flags: number) => number;
type Transfer = (fd: number, address: number, size: number) => number;
type TransferMany = (fd: number, vectors: number, count: number, flags: number) => number;
type Request<Argument> = (fd: number, request: number, argument: Argument) => number;
type SendTo = (
  fd: number,
  bytes: Bytes,
  size: number,
  flags: number,
  address: Bytes,
  addressSize: number,
) => number;
type GetOption = (fd: number, level: number, option: number, value: Bytes, size: Bytes) => number;
type SetOption = (fd: number, level: number, option: number, value: Bytes, size: number) => number;

export const open: Open = libc.func("int open(const char *path, int flags)");
export const close: (fd: number) => number = libc.func("int close(int fd)");
export const dup2: (from: number, to: number) => number = libc.func("int dup2(int from, int to)");
export const signal: (number: number, action: number) => number = libc.func(
  "intptr_t signal(int number, intptr_t action)",
);
/** Ends the process at once, without Node's own end, which waits for the threads of its pool. */
export const exitNow: (code: number) => void = libc.func("void _exit(int code)");
export const prctl: (option: number, value: number) => number = libc.func(
  "int prctl(int option, ulong value)",
);
export const read: Transfer = libc.func("long read(int fd, uintptr_t buffer, size_t size)");
/** The vector of `struct iovec` is in the core's memory. */
export const writev: Transfer = libc.func("long writev(int fd, uintptr_t vector, int count)");
export const ioctl: Request<Bytes> = libc.func("int ioctl(int fd, ulong request, void *argument)");
/** For requests whose argument is a number instead of an address. */
export const ioctlNumber: Request<number> = libc.func(
  "int ioctl(int fd, ulong request, ulong argument)",
);

export const socket: (domain: number, type: number, protocol: number) => number = libc.func(
  "int socket(int domain, int type, int protocol)",
);
export const bind: (fd: number, address: Bytes, size: number) => number = libc.func(
  "int bind(int fd, void *address, uint size)",
);
export const connect: (fd: number, address: Bytes, size: number) => number = libc.func(
  "int connect(int fd, void *address, uint size)",
);
export const getsockname: (fd: number, address: Bytes, size: Bytes) => number = libc.func(
  "int getsockname(int fd, void *address, void *size)",
);
export const setsockopt: SetOption = libc.func(
  "int setsockopt(int fd, int level, int option, void *value, uint size)",
);
export const getsockopt: GetOption = libc.func(
  "int getsockopt(int fd, int level, int option, void *value, void *size)",
);

export const sendto: SendTo = libc.func(
  "long sendto(int fd, void *bytes, size_t size, int flags, void *address, uint address_size)",
);
/** The vectors of `struct mmsghdr` are in the core's memory. */
export const sendmmsg: TransferMany = libc.func(
  "int sendmmsg(int fd, uintptr_t vectors, uint count, int flags)",
);
const recvmmsgTimed = libc.func(
  "int recvmmsg(int fd, uintptr_t vectors, uint count, int flags, uintptr_t timeout)",
);
export const recvmmsg: TransferMany = (fd, vectors, count, flags) =>
  recvmmsgTimed(fd, vectors, count, flags, 0);

/** Receives one `struct msghdr`; with MSG_ERRQUEUE, an error about an earlier datagram. */
export const recvmsg: Transfer = libc.func("long recvmsg(int fd, uintptr_t message, int flags)");

const poll: (fds: Bytes, count: number, milliseconds: number) => number = libc.func(
  "int poll(void *fds, ulong count, int milliseconds)",
);
export const epollCreate: (flags: number) => number = libc.func("int epoll_create1(int flags)");
export const epollCtl: (epoll: number, action: number, fd: number, event: Bytes) => number =
  libc.func("int epoll_ctl(int epoll, int action, int fd, void *event)");
export const epollWait: (epoll: number, events: Bytes, count: number, ms: number) => number =
  libc.func("int epoll_wait(int epoll, void *events, int count, int ms)");
export const eventfd: (initial: number, flags: number) => number = libc.func(
  "int eventfd(uint initial, int flags)",
);
export const eventfdWrite: (fd: number, value: number) => number = libc.func(
  "int eventfd_write(int fd, uint64_t value)",
);

export const eventfdRead: (fd: number, value: Bytes) => number = libc.func(
  "int eventfd_read(int fd, void *value)",
);

/** Reason of the last failure in this thread. */
export const errno: () => number = koffi.errno;

const POLLIN = 0x001;
const POLLOUT = 0x004;

/** Blocks until `fd` is readable, or the time is over. */
export function waitReadable(fd: number, milliseconds: number): void {
  poll(Int32Array.of(fd, POLLIN), 1, milliseconds);
}

/** Blocks until `fd` is writable, or the time is over. */
export function waitWritable(fd: number, milliseconds: number): void {
  // struct pollfd: int fd, short events, short revents (both in the second word).
  poll(Int32Array.of(fd, POLLOUT), 1, milliseconds);
}

/** Whether a write to `fd` returns at once: it takes some bytes, or it fails. */
export const isWritable = (fd: number): boolean => poll(Int32Array.of(fd, POLLOUT), 1, 0) > 0;

/** Blocks this thread. */
export function pause(milliseconds: number): void {
  poll(Int32Array.of(), 0, milliseconds);
}

/** Returns the result, or throws the error for `errno`. */
export function check(result: number, call: string): number {
  if (result < 0) throw new SystemError(call, errno());
  return result;
}

/** Host address of byte 0 of this memory; offsets are added to it. */
export const hostAddress = (bytes: Uint8Array): number => Number(koffi.address(bytes));
