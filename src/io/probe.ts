/**
 * Tests UDP_SEGMENT and UDP_GRO on this host before they are used. Some kernels accept them and then
 * send or gather wrongly.
 */
import { parseAddress } from "../address.js";
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  cmsgSpace,
  IOVEC_LEN,
  IOVEC_SIZE,
  MMSGHDR_CONTROL,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_NAME,
  MMSGHDR_NAMELEN,
  MMSGHDR_SIZE,
  SOCKADDR_SIZE,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from "../linux.js";
import { writeSockaddr } from "../sockaddr.js";
import { close, hostAddress, recvmsg, sendmmsg, waitReadable } from "./libc.js";
import { boundPort, gather, openUdp } from "./udp.js";

/** The trial GSO batch: bytes of a datagram, bytes of the last one, and their number. */
const SIZE = 1000;
const LAST = 300;
const COUNT = 5;
const TOTAL = SIZE * (COUNT - 1) + LAST;
/** Bytes of data of the control messages: a u16 and an int (udp(7)). */
const SEGMENT_BYTES = 2;
const GRO_BYTES = 4;
/** Bytes for all control messages of a datagram. */
const CONTROL_ROOM = 64;
/** Milliseconds to wait for a datagram that stays on this host. */
const PATIENCE = 200;

export interface GsoProbe {
  /** Whether a GSO batch sent in one call arrives as the datagrams it contains. */
  readonly gso: boolean;
  /** Whether datagrams gathered by the kernel arrive with their original size. */
  readonly gro: boolean;
}

/** @param address this host's own underlay address */
export function tryGso(address: string): GsoProbe {
  const gso = arrives(address, false);
  return { gso, gro: gso && arrives(address, true) };
}

function arrives(address: string, gathered: boolean): boolean {
  const sender = openUdp(address, 0);
  const receiver = openUdp(address, 0);
  try {
    if (gathered && !gather(receiver)) return false;
    const sent = Uint8Array.from({ length: TOTAL }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
    if (!sendGsoBatch(sender, sent, address, boundPort(receiver))) return false;
    const got: Uint8Array[] = [];
    while (got.reduce((sum, { length }) => sum + length, 0) < TOTAL) {
      const datagrams = receive(receiver);
      if (!datagrams) return false;
      got.push(...datagrams);
    }
    const sizes = got.map(({ length }) => length);
    const wanted = [...Array<number>(COUNT - 1).fill(SIZE), LAST];
    return sizes.join() === wanted.join() && Buffer.concat(got).equals(sent);
  } finally {
    close(sender);
    close(receiver);
  }
}

function sendGsoBatch(fd: number, bytes: Uint8Array, address: string, port: number): boolean {
  const name = new Uint8Array(SOCKADDR_SIZE);
  const length = writeSockaddr(new DataView(name.buffer), { address: parseAddress(address), port });
  const control = new Uint8Array(cmsgSpace(SEGMENT_BYTES));
  const cmsg = new DataView(control.buffer);
  cmsg.setBigUint64(0, BigInt(CMSG_DATA + SEGMENT_BYTES), true);
  cmsg.setUint32(CMSG_LEVEL, SOL_UDP, true);
  cmsg.setUint32(CMSG_TYPE, UDP_SEGMENT, true);
  cmsg.setUint16(CMSG_DATA, SIZE, true);
  const message = new Message(bytes, control, name, length);
  return sendmmsg(fd, message.address, 1, 0) === 1;
}

/** The next datagram, or all datagrams of its GSO batch; undefined if none arrives in time. */
function receive(fd: number): Uint8Array[] | undefined {
  waitReadable(fd, PATIENCE);
  const bytes = new Uint8Array(65536);
  const message = new Message(bytes, new Uint8Array(CONTROL_ROOM));
  const length = recvmsg(fd, message.address, 0);
  if (length < 0) return undefined;
  const size = gatheredSize(message) ?? length;
  if (size <= 0) return undefined;
  const datagrams: Uint8Array[] = [];
  for (let at = 0; at < length; at += size)
    datagrams.push(bytes.slice(at, Math.min(at + size, length)));
  return datagrams;
}

/** Reads the size that UDP_GRO reports, among the control messages of a message. */
function gatheredSize({ control, controlLength }: Message): number | undefined {
  const view = new DataView(control.buffer);
  for (let at = 0; at + CMSG_DATA + GRO_BYTES <= controlLength; ) {
    const level = view.getUint32(at + CMSG_LEVEL, true);
    const type = view.getUint32(at + CMSG_TYPE, true);
    if (level === SOL_UDP && type === UDP_GRO) return view.getInt32(at + CMSG_DATA, true);
    const size = view.getUint32(at, true);
    if (size < CMSG_DATA) return undefined;
    at += cmsgSpace(size - CMSG_DATA);
  }
  return undefined;
}

/** One `struct mmsghdr` with one iovec. It keeps the arrays that it points to alive. */
class Message {
  readonly #header = new DataView(new ArrayBuffer(MMSGHDR_SIZE));
  readonly #iovec = new DataView(new ArrayBuffer(IOVEC_SIZE));

  constructor(
    readonly bytes: Uint8Array,
    readonly control: Uint8Array,
    readonly name = new Uint8Array(SOCKADDR_SIZE),
    nameLength = SOCKADDR_SIZE,
  ) {
    const pointer = (at: Uint8Array) => BigInt(hostAddress(at));
    this.#iovec.setBigUint64(0, pointer(bytes), true);
    this.#iovec.setBigUint64(IOVEC_LEN, BigInt(bytes.length), true);
    this.#header.setBigUint64(MMSGHDR_NAME, pointer(name), true);
    this.#header.setUint32(MMSGHDR_NAMELEN, nameLength, true);
    this.#header.setBigUint64(MMSGHDR_IOV, pointer(new Uint8Array(this.#iovec.buffer)), true);
    this.#header.setBigUint64(MMSGHDR_IOVLEN, 1n, true);
    this.#header.setBigUint64(MMSGHDR_CONTROL, pointer(control), true);
    this.#header.setBigUint64(MMSGHDR_CONTROLLEN, BigInt(control.length), true);
  }

  get address(): number {
    return hostAddress(new Uint8Array(this.#header.buffer));
  }

  get controlLength(): number {
    return Number(this.#header.getBigUint64(MMSGHDR_CONTROLLEN, true));
  }
}
