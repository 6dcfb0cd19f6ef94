/**
 * Tries UDP_SEGMENT and UDP_GRO against ourselves before they are relied on.
 * Some kernels accept them and then send or gather wrongly.
 */
import { parseAddress } from "../address.js";
import { writeSockaddr } from "../sockaddr.js";
import { close, hostAddress, recvmsg, sendmmsg, waitReadable } from "./libc.js";
import { boundPort, gather, openUdp } from "./udp.js";

/** Bytes of a datagram of the trial GSO batch, the last one's, and how many there are. */
const SIZE = 1000;
const LAST = 300;
const COUNT = 5;
const TOTAL = SIZE * (COUNT - 1) + LAST;
/** Milliseconds to wait for a datagram that goes no further than this host. */
const PATIENCE = 200;

const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;

export interface Trial {
  /** A GSO batch sent in one call arrives as the datagrams it was made of. */
  readonly gso: boolean;
  /** Datagrams gathered by the kernel arrive with the size they had. */
  readonly gro: boolean;
}

/** @param address this host's own underlay address */
export function tryGso(address: string): Trial {
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
  const name = new Uint8Array(28);
  const length = writeSockaddr(new DataView(name.buffer), { address: parseAddress(address), port });
  const control = new Uint8Array(24);
  const cmsg = new DataView(control.buffer);
  cmsg.setBigUint64(0, 18n, true);
  cmsg.setUint32(8, SOL_UDP, true);
  cmsg.setUint32(12, UDP_SEGMENT, true);
  cmsg.setUint16(16, SIZE, true);
  const message = new Message(bytes, control, name, length);
  return sendmmsg(fd, message.address, 1, 0) === 1;
}

/** The next datagram, or the GSO batch it came in taken apart; undefined when none comes. */
function receive(fd: number): Uint8Array[] | undefined {
  waitReadable(fd, PATIENCE);
  const bytes = new Uint8Array(65536);
  const message = new Message(bytes, new Uint8Array(64));
  const length = recvmsg(fd, message.address, 0);
  if (length < 0) return undefined;
  const size = gatheredSize(message) ?? length;
  if (size <= 0) return undefined;
  const datagrams: Uint8Array[] = [];
  for (let at = 0; at < length; at += size)
    datagrams.push(bytes.slice(at, Math.min(at + size, length)));
  return datagrams;
}

/** Reads what UDP_GRO says of the datagrams in a message, among the control messages that come with it. */
function gatheredSize({ control, controlLength }: Message): number | undefined {
  const view = new DataView(control.buffer);
  for (let at = 0; at + 20 <= controlLength; ) {
    const [level, type] = [view.getUint32(at + 8, true), view.getUint32(at + 12, true)];
    if (level === SOL_UDP && type === UDP_GRO) return view.getInt32(at + 16, true);
    const size = view.getUint32(at, true);
    if (size < 16) return undefined;
    at += (size + 7) & ~7;
  }
  return undefined;
}

/** One `struct mmsghdr` with one iovec. The arrays it points at live as long as it does. */
class Message {
  readonly #header = new DataView(new ArrayBuffer(64));
  readonly #iovec = new DataView(new ArrayBuffer(16));

  constructor(
    readonly bytes: Uint8Array,
    readonly control: Uint8Array,
    readonly name = new Uint8Array(28),
    nameLength = 28,
  ) {
    const pointer = (at: Uint8Array) => BigInt(hostAddress(at));
    this.#iovec.setBigUint64(0, pointer(bytes), true);
    this.#iovec.setBigUint64(8, BigInt(bytes.length), true);
    this.#header.setBigUint64(0, pointer(name), true);
    this.#header.setUint32(8, nameLength, true);
    this.#header.setBigUint64(16, pointer(new Uint8Array(this.#iovec.buffer)), true);
    this.#header.setBigUint64(24, 1n, true);
    this.#header.setBigUint64(32, pointer(control), true);
    this.#header.setBigUint64(40, BigInt(control.length), true);
  }

  get address(): number {
    return hostAddress(new Uint8Array(this.#header.buffer));
  }

  get controlLength(): number {
    return Number(this.#header.getBigUint64(40, true));
  }
}
