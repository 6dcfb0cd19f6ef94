// Becomes a program for which the kernel has no offloads, as an old kernel has
// none: a seccomp filter fails the calls that turn them on.
//
//     node refuse.mjs PROGRAM ARGUMENT...
import koffi from "koffi";

// System calls have other numbers on other processors.
const NUMBERS = { x64: { ioctl: 16, setsockopt: 54 }, arm64: { ioctl: 29, setsockopt: 208 } };
const { ioctl, setsockopt } = NUMBERS[process.arch];

const TUNSETOFFLOAD = 0x400454d0;
/** TSO4, TSO6, USO4, USO6. What stays is unfinished checksums, which every kernel has. */
const SEGMENTATION = 0x02 | 0x04 | 0x20 | 0x40;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;
const EINVAL = 22;
const ENOPROTOOPT = 92;

// Classic BPF over struct seccomp_data: the call's number, then arguments of 8 bytes.
const LOAD = 0x20;
const EQUALS = 0x15;
const HAS_ANY_OF = 0x45;
const RETURN = 0x06;
const NUMBER = 0;
const ARGUMENT = [16, 24, 32];
const REFUSE = 0x00050000;
const ALLOW = 0x7fff0000;

const option = (name) => [
  [NUMBER, EQUALS, setsockopt],
  [ARGUMENT[1], EQUALS, SOL_UDP],
  [ARGUMENT[2], EQUALS, name],
];
const segmentation = [
  [NUMBER, EQUALS, ioctl],
  [ARGUMENT[1], EQUALS, TUNSETOFFLOAD],
  [ARGUMENT[2], HAS_ANY_OF, SEGMENTATION],
];
const filter = [
  ...rule(segmentation, EINVAL),
  ...rule(option(UDP_SEGMENT), ENOPROTOOPT),
  ...rule(option(UDP_GRO), ENOPROTOOPT),
  [RETURN, 0, 0, ALLOW],
];

const libc = koffi.load("libc.so.6");
const prctl = libc.func("int prctl(int what, ulong mode, void *program)");
const fcntl = libc.func("int fcntl(int fd, int command, int value)");
const execv = libc.func("int execv(const char *path, const char **argv)");

const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2;
const F_SETFD = 2;
const code = Buffer.concat(filter.map(instruction));
const program = Buffer.alloc(16); // struct sock_fprog: how many, where
program.writeUInt16LE(filter.length);
program.writeBigUInt64LE(BigInt(koffi.address(code)), 8);
if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) < 0) throw new Error("no seccomp here");
// Node keeps its own streams from other programs; this one is to have them.
for (const stream of [0, 1, 2]) fcntl(stream, F_SETFD, 0);
const argv = process.argv.slice(2);
execv(argv[0], [...argv, null]);
throw new Error(`cannot run ${argv[0]}`);

/** All conditions hold: refuse. One does not: on with what comes after the rule. */
function rule(conditions, errno) {
  const tests = conditions.flatMap(([field, test, value], i) => {
    const rest = 2 * (conditions.length - i - 1) + 1;
    return [
      [LOAD, 0, 0, field],
      [test, 0, rest, value],
    ];
  });
  return [...tests, [RETURN, 0, 0, REFUSE | errno]];
}

/** struct sock_filter: code, how many to skip when true and when false, value. */
function instruction([code, yes, no, value]) {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code);
  bytes.writeUInt8(yes, 2);
  bytes.writeUInt8(no, 3);
  bytes.writeUInt32LE(value, 4);
  return bytes;
}
