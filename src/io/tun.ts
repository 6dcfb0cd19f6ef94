/**
 * The TUN device: whole IP packets in and out of the kernel, each behind a virtio-net header (10
 * bytes) that describes its unfinished checksum and segmentation.
 *
 * The device exists as long as its descriptor: when the process ends in any way, the kernel removes it
 * with its addresses and routes.
 */
import { constants } from "node:fs";
import { printable } from "../address.js";
import { WeftError } from "../error.js";
import { O_CLOEXEC } from "../linux.js";
import { EACCES, EBUSY, ENODEV, ENOENT, ENXIO, EPERM, SystemError } from "./errno.js";
import { check, close, errno, ioctl, ioctlNumber, open } from "./libc.js";

const DEVICE_FILE = "/dev/net/tun";

// linux/if_tun.h
const TUNSETIFF = 0x400454ca;
const TUNGETIFF = 0x800454d2;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** Fails if the device exists: a device of another program is not changed. */
const IFF_TUN_EXCL = 0x8000;
/** Accept packets with an unfinished transport checksum. */
const TUN_F_CSUM = 0x01;
/** Accept TCP super-packets of both families, also with ECN. */
const TUN_F_TSO = 0x02 | 0x04 | 0x08;
/** Accept UDP super-packets of both families (Linux 6.2). */
const TUN_F_USO = 0x20 | 0x40;

/** struct ifreq: the name (15 characters and a zero), then the flags. */
const IFREQ_SIZE = 40;
const IFREQ_FLAGS = 16;
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/;

export const VNET_HEADER_SIZE = 10;

export interface Tun {
  /** Non-blocking. */
  readonly fd: number;
  /** Whether super-packets are exchanged: each holds many packets of one stream. */
  readonly tso: boolean;
  readonly uso: boolean;
}

/**
 * Makes the device `name`, with those of the wanted offloads that the kernel has.
 * Throws a WeftError: TUN_NAME, TUN_MISSING, TUN_PERMISSION, TUN_BUSY.
 */
export function openTun(name: string, wanted = { tso: true, uso: true }): Tun {
  if (!NAME.test(name)) {
    throw new WeftError(
      "TUN_NAME",
      `"${printable(name)}" cannot be the name of a network device`,
      "use at most 15 letters, digits, dots, dashes and underscores, like weft0",
    );
  }
  const fd = open(DEVICE_FILE, constants.O_RDWR | constants.O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) throw openError(errno());
  try {
    create(fd, name);
    const size = Uint32Array.of(VNET_HEADER_SIZE);
    check(ioctl(fd, TUNSETVNETHDRSZ, size), `set the header size of ${name}`);
    return { fd, ...setOffloads(fd, name, wanted) };
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** The current name of the device; undefined if it was removed. */
export function deviceName(fd: number): string | undefined {
  const request = Buffer.alloc(IFREQ_SIZE);
  if (ioctl(fd, TUNGETIFF, request) < 0) return undefined;
  return request.toString("latin1", 0, request.indexOf(0));
}

/** Sets the offloads, without those that the kernel does not have. */
function setOffloads(fd: number, name: string, wanted: { tso: boolean; uso: boolean }) {
  for (const uso of new Set([wanted.uso, false])) {
    for (const tso of new Set([wanted.tso, false])) {
      const bits = TUN_F_CSUM | (tso ? TUN_F_TSO : 0) | (uso ? TUN_F_USO : 0);
      if (ioctlNumber(fd, TUNSETOFFLOAD, bits) >= 0) return { tso, uso };
    }
  }
  throw new SystemError(`set the offloads of ${name}`, errno());
}

function create(fd: number, name: string): void {
  const request = Buffer.alloc(IFREQ_SIZE);
  request.write(name, "latin1");
  const flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL;
  new DataView(request.buffer, request.byteOffset).setInt16(IFREQ_FLAGS, flags, true);
  if (ioctl(fd, TUNSETIFF, request) < 0) throw createError(errno(), name);
}

function openError(code: number): Error {
  switch (code) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return new WeftError(
        "TUN_MISSING",
        `there is no ${DEVICE_FILE}: this kernel or container has no TUN devices`,
        "load the module (modprobe tun), or give the container the device (--device /dev/net/tun)",
      );
    case EACCES:
    case EPERM:
      return permissionError(`may not open ${DEVICE_FILE}`);
    default:
      return new SystemError(`open ${DEVICE_FILE}`, code);
  }
}

function createError(code: number, name: string): Error {
  switch (code) {
    case EBUSY:
      return new WeftError(
        "TUN_BUSY",
        `a network device named ${name} exists already`,
        `stop the agent that made it, remove it (ip link del ${name}), or choose another name with --tun`,
      );
    case EPERM:
      return permissionError(`may not create the network device ${name}`);
    default:
      return new SystemError(`create the network device ${name}`, code);
  }
}

const permissionError = (what: string): WeftError =>
  new WeftError(
    "TUN_PERMISSION",
    `this process ${what}`,
    "run it as root, or give it the capability CAP_NET_ADMIN",
  );
