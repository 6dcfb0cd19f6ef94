/**
 * The system calls the kernel path is made of, and nothing else.
 *
 * They are bound through koffi, in the main thread and in workers alike. Buffers
 * in the core's memory are passed as plain numbers (its host address + an offset,
 * below 2^53): such a call costs about a quarter of a microsecond. Small structures
 * of our own are passed as the typed array that holds them.
 *
 * Every call answers as in C: -1 means failure, and `errno()` right after it says why.
 */
import koffi from "koffi";
import { SystemError } from "./errno.js";

const libc = koffi.load("libc.so.6");

type FileCall = (fd: number, address: number, size: number) => number;
type VectorCall = (fd: number, vectors: number, count: number, flags: number) => number;

export const open: (path: string, flags: number) => number = libc.func("open", "int", [
  "str",
  "int",
]);
export const close: (fd: number) => number = libc.func("close", "int", ["int"]);
export const read: FileCall = libc.func("read", "long", ["int", "uintptr_t", "size_t"]);
export const write: FileCall = libc.func("write", "long", ["int", "uintptr_t", "size_t"]);
export const ioctl: (fd: number, request: number, argument: Uint8Array | Uint32Array) => number =
  libc.func("ioctl", "int", ["int", "ulong", "void *"]);
/** For the few requests whose argument is a number and not an address. */
export const ioctlNumber: (fd: number, request: number, argument: number) => number = libc.func(
  "ioctl",
  "int",
  ["int", "ulong", "ulong"],
);

export const socket: (domain: number, type: number, protocol: number) => number = libc.func(
  "socket",
  "int",
  ["int", "int", "int"],
);
export const bind: (fd: number, address: Uint8Array, size: number) => number = libc.func(
  "bind",
  "int",
  ["int", "void *", "uint"],
);
export const setsockopt: (
  fd: number,
  level: number,
  option: number,
  value: Int32Array,
  size: number,
) => number = libc.func("setsockopt", "int", ["int", "int", "int", "void *", "uint"]);

/** `struct mmsghdr` vectors lie in the core's memory. */
export const sendmmsg: VectorCall = libc.func("sendmmsg", "int", [
  "int",
  "uintptr_t",
  "uint",
  "int",
]);
const recvmmsg5 = libc.func("recvmmsg", "int", ["int", "uintptr_t", "uint", "int", "uintptr_t"]);
export const recvmmsg: VectorCall = (fd, vectors, count, flags) =>
  recvmmsg5(fd, vectors, count, flags, 0);

const poll: (fds: Int32Array, count: number, milliseconds: number) => number = libc.func(
  "poll",
  "int",
  ["void *", "ulong", "int"],
);
export const epollCreate: (flags: number) => number = libc.func("epoll_create1", "int", ["int"]);
export const epollCtl: (epoll: number, action: number, fd: number, event: DataView) => number =
  libc.func("epoll_ctl", "int", ["int", "int", "int", "void *"]);
export const epollWait: (
  epoll: number,
  events: DataView,
  count: number,
  milliseconds: number,
) => number = libc.func("epoll_wait", "int", ["int", "void *", "int", "int"]);
export const eventfd: (initial: number, flags: number) => number = libc.func("eventfd", "int", [
  "uint",
  "int",
]);
export const eventfdWrite: (fd: number, value: number) => number = libc.func(
  "eventfd_write",
  "int",
  ["int", "uint64_t"],
);

/** Why the last call of this thread failed. */
export const errno: () => number = koffi.errno;

const POLLOUT = 0x004;

/** Blocks until `fd` takes more, or the milliseconds are over. */
export function waitWritable(fd: number, milliseconds: number): void {
  // struct pollfd: int fd, short events, short revents (both in the second word).
  poll(Int32Array.of(fd, POLLOUT), 1, milliseconds);
}

/** Blocks this thread. */
export function pause(milliseconds: number): void {
  poll(Int32Array.of(), 0, milliseconds);
}

/** Hands on a result, or throws what `errno` says about it. */
export function check(result: number, call: string): number {
  if (result < 0) throw new SystemError(call, errno());
  return result;
}

/** Where the kernel sees byte 0 of this memory, as a number that offsets are added to. */
export const hostAddress = (bytes: Uint8Array): number => Number(koffi.address(bytes));
