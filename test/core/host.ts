/**
 * The host's part without a kernel: writes batches into the core's memory as
 * read and recvmmsg would, and reads back the lists that sendmmsg and writev
 * would be given. Strict where the kernel is.
 */
import {
  formatEndpoint,
  parseAddress,
  parseEndpoint,
  parseMac,
  parsePrefix,
} from "../../src/address.js";
import { type Counters, readCounters } from "../../src/core/counters.js";
import { Core } from "../../src/core/instance.js";
import type { Layout } from "../../src/core/layout.js";
import { Publisher } from "../../src/core/publish.js";
import { ANSWERED, reasonNames } from "../../src/core/reasons.js";
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  cmsgSpace,
  IOVEC_LEN,
  IOVEC_SIZE,
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_TCLASS,
  MMSGHDR_CONTROL,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_LEN,
  MMSGHDR_NAME,
  MMSGHDR_SIZE,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from "../../src/linux.js";
import type { Peer } from "../../src/peer.js";
import { readSockaddr, writeSockaddr } from "../../src/sockaddr.js";
import type { Dscp } from "../../src/tos.js";

export const A: Peer = {
  name: "a",
  endpoint: "192.0.2.1:4789",
  mac: "02:00:00:00:00:01",
  leases: ["10.244.1.0/24", "fd00:0:0:1::/64"],
};
export const B: Peer = {
  name: "b",
  endpoint: "192.0.2.2:4789",
  mac: "02:00:00:00:00:02",
  leases: ["10.244.2.0/24", "fd00:0:0:2::/64"],
};
/** Reached over IPv6. */
export const C: Peer = {
  name: "c",
  endpoint: "[2001:db8::3]:4789",
  mac: "02:00:00:00:00:03",
  leases: ["10.244.3.0/24", "fd00:0:0:3::/64"],
};
export const MTU = 1450;

/** The first address of each lease. */
export const hostOf = ({ leases }: Peer, family: 4 | 6 = 4): string =>
  family === 4 ? leases[0]!.replace(".0/24", ".1") : leases[1]!.replace("::/64", "::1");

export const GSO = { NONE: 0, TCPV4: 1, UDP: 3, TCPV6: 4, UDP_L4: 5, ECN: 0x80 };
export const NEEDS_CSUM = 1;

export interface VirtioFields {
  flags?: number;
  gsoType?: number;
  headers?: number;
  gsoSize?: number;
  start?: number;
  offset?: number;
}

export function virtio(fields: VirtioFields = {}): Uint8Array {
  const header = Buffer.alloc(10);
  header[0] = fields.flags ?? 0;
  header[1] = fields.gsoType ?? 0;
  header.writeUInt16LE(fields.headers ?? 0, 2);
  header.writeUInt16LE(fields.gsoSize ?? 0, 4);
  header.writeUInt16LE(fields.start ?? 0, 6);
  header.writeUInt16LE(fields.offset ?? 0, 8);
  return new Uint8Array(header);
}

/** What one read from the device gives. */
export const read = (packet: Uint8Array, fields: VirtioFields = {}): Uint8Array =>
  new Uint8Array(Buffer.concat([virtio(fields), packet]));

/**
 * One message of recvmmsg; `size` when the kernel gathered datagrams of that size, `tos` that
 * of the outer header.
 */
export interface Received {
  from: string;
  bytes: Uint8Array;
  size?: number;
  tos?: number;
}

/** One message of sendmmsg; `size` when the kernel is to cut it, `tos` when it is to set one. */
export interface Sent {
  to: string;
  bytes: Uint8Array;
  size?: number;
  tos?: number;
}

/** The control messages that the kernel sends with a message. */
export interface Told {
  size?: number | undefined;
  tos?: number | undefined;
  isIPv4?: boolean;
}

/** The datagrams that a message is on the wire. */
export function datagramsOf({ bytes, size }: { bytes: Uint8Array; size?: number }): Uint8Array[] {
  if (size === undefined) return [bytes];
  const count = Math.ceil(bytes.length / size);
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

export interface HostOptions {
  own?: Peer;
  peers?: readonly Peer[];
  mtu?: number;
  gso?: boolean;
  coalesce?: boolean;
  dscp?: Dscp;
  core?: Core;
}

export class Host {
  readonly layout: Layout;
  readonly publisher: Publisher;
  readonly #own: Peer;
  readonly #mtu: number;
  readonly #dscp: Dscp;

  private constructor(
    readonly core: Core,
    own: Peer,
    mtu: number,
    dscp: Dscp,
  ) {
    this.#own = own;
    this.#mtu = mtu;
    this.#dscp = dscp;
    this.layout = core.layout;
    this.publisher = new Publisher(core);
  }

  static async create(options: HostOptions = {}): Promise<Host> {
    const { own = A, peers = [B, C], mtu = MTU, gso = true, coalesce = true, dscp = 0 } = options;
    const host = new Host(options.core ?? (await Core.create()), own, mtu, dscp);
    host.setPeers(peers);
    host.setOffloads(gso, coalesce);
    for (const family of [4, 6] as const) {
      host.publisher.setAddress(parseAddress(hostOf(own, family)));
    }
    host.core.exports.prepareReceive();
    return host;
  }

  setPeers(peers: readonly Peer[]): void {
    const { mac, leases } = this.#own;
    const [mtu, dscp] = [this.#mtu, this.#dscp];
    const own = { vni: 1, mac: parseMac(mac), mtu, leases: leases.map(parsePrefix), dscp };
    this.publisher.publish(own, peers);
  }

  setOffloads(gso: boolean, coalesce: boolean): void {
    const { CAN_GSO, CAN_COALESCE_TCP, CAN_COALESCE_UDP, OFFLOADS } = this.layout;
    const can = (gso ? CAN_GSO : 0) | (coalesce ? CAN_COALESCE_TCP | CAN_COALESCE_UDP : 0);
    this.core.view.setUint32(OFFLOADS, can, true);
  }

  /** One batch from the device. `afterPass` does to the lists what the kernel would, before they are read. */
  send(reads: readonly Uint8Array[], afterPass: () => void = () => {}) {
    const { exports } = this.core;
    reads.forEach((bytes, i) => {
      this.writeRead(i, bytes);
    });
    const sent: Sent[] = [];
    const written: Uint8Array[] = [];
    for (let at = 0; at < reads.length; ) {
      at = exports.outbound(at, reads.length);
      afterPass();
      sent.push(...this.messages());
      written.push(...this.writes());
    }
    return { sent, written, verdicts: this.#settle(this.layout.OUT) };
  }

  /** One batch from the wire. */
  receive(messages: readonly Received[], afterPass: () => void = () => {}) {
    messages.forEach((message, i) => {
      this.writeMessage(i, message);
    });
    const { exports } = this.core;
    const sent: Sent[] = [];
    const written: Uint8Array[] = [];
    let at = 0;
    do {
      at = exports.inbound(at, messages.length);
      afterPass();
      sent.push(...this.messages());
      written.push(...this.writes());
    } while (at > 0);
    return { sent, written, verdicts: this.#settle(this.layout.IN) };
  }

  counters(): Counters {
    return readCounters(this.core);
  }

  /** Where in memory a read from the device, or a message from the wire, begins. */
  readStart(i: number): number {
    const { SLOTS, SLOT_SIZE, HEADROOM, VIRTIO_SIZE } = this.layout;
    return SLOTS + i * SLOT_SIZE + HEADROOM - VIRTIO_SIZE;
  }
  messageStart(i: number): number {
    const { SLOTS, SLOT_SIZE, HEADROOM, ENCAP_SIZE } = this.layout;
    return SLOTS + i * SLOT_SIZE + HEADROOM - ENCAP_SIZE;
  }

  writeRead(i: number, bytes: Uint8Array): void {
    this.core.bytes.set(bytes, this.readStart(i));
    this.core.view.setUint32(this.layout.LENGTHS + i * 4, bytes.length, true);
  }

  writeMessage(i: number, { from, bytes, size, tos }: Received): void {
    const { layout, core } = this;
    core.bytes.set(bytes, this.messageStart(i));
    this.writeName(layout.RECEIVE_NAMES + i * layout.NAME_SIZE, from);
    this.announce(i, bytes.length, { size, tos, isIPv4: !from.startsWith("[") });
  }

  /** msg_len, and the control messages: of UDP_GRO if there is a `size`, and of the TOS if that is told. */
  announce(i: number, length: number, { size, tos, isIPv4 = true }: Told): void {
    const { layout } = this;
    const { view } = this.core;
    const message = layout.RECEIVE + i * MMSGHDR_SIZE;
    view.setUint32(message + MMSGHDR_LEN, length, true);
    let at = 0;
    const add = (level: number, type: number, bytes: number, data: number) => {
      const control = layout.RECEIVE_CONTROLS + i * layout.CMSG_ROOM + at;
      view.setBigUint64(control, BigInt(CMSG_DATA + bytes), true);
      view.setUint32(control + CMSG_LEVEL, level, true);
      view.setUint32(control + CMSG_TYPE, type, true);
      if (bytes === 1) view.setUint8(control + CMSG_DATA, data);
      else view.setUint32(control + CMSG_DATA, data, true);
      at += CMSG_SPACE;
    };
    if (size !== undefined) add(SOL_UDP, UDP_GRO, 4, size);
    if (tos !== undefined && isIPv4) add(IPPROTO_IP, IP_TOS, 1, tos);
    else if (tos !== undefined) add(IPPROTO_IPV6, IPV6_TCLASS, 4, tos);
    view.setBigUint64(message + MMSGHDR_CONTROLLEN, BigInt(at), true);
  }

  writeName(at: number, from: string): void {
    const { NAME_SIZE } = this.layout;
    this.core.bytes.fill(0, at, at + NAME_SIZE);
    writeSockaddr(new DataView(this.core.memory.buffer, at, NAME_SIZE), parseEndpoint(from));
  }

  messages(): Sent[] {
    const count = this.core.view.getUint32(this.layout.WIRE_COUNT, true);
    return Array.from({ length: count }, (_, i) => this.#message(i));
  }

  #message(i: number): Sent {
    const { layout } = this;
    const message = layout.WIRE + i * MMSGHDR_SIZE;
    const name = new DataView(
      this.core.memory.buffer,
      this.#pointer(message + MMSGHDR_NAME),
      layout.NAME_SIZE,
    );
    const to = formatEndpoint(readSockaddr(name));
    const bytes = this.#gather(
      this.#pointer(message + MMSGHDR_IOV),
      this.#pointer(message + MMSGHDR_IOVLEN),
    );
    const length = this.#pointer(message + MMSGHDR_CONTROLLEN);
    const control = this.#pointer(message + MMSGHDR_CONTROL);
    if (length > layout.CMSG_ROOM) throw new Error(`${length} bytes of control messages`);
    const sent: Sent = { to, bytes };
    for (let at = control; at < control + length; at += CMSG_SPACE) {
      Object.assign(sent, this.#control(at, to.startsWith("[") ? 6 : 4));
    }
    return sent;
  }

  /** Reads what one control message asks of the kernel, which is strict about the family of a TOS. */
  #control(at: number, family: 4 | 6): Pick<Sent, "size" | "tos"> {
    const { view } = this.core;
    const [level, type] = [CMSG_LEVEL, CMSG_TYPE].map((field) => view.getUint32(at + field, true));
    const header = [this.#pointer(at) - CMSG_DATA, level, type].join();
    if (header === [2, SOL_UDP, UDP_SEGMENT].join()) {
      return { size: view.getUint16(at + CMSG_DATA, true) };
    }
    const tos = family === 4 ? [4, IPPROTO_IP, IP_TOS] : [4, IPPROTO_IPV6, IPV6_TCLASS];
    if (header === tos.join()) return { tos: view.getUint32(at + CMSG_DATA, true) };
    throw new Error(`the control message ${header} is neither UDP_SEGMENT nor a TOS`);
  }

  /** Each device write as one run of bytes, virtio-net header first. */
  writes(): Uint8Array[] {
    const { layout } = this;
    const { view } = this.core;
    const count = view.getUint32(layout.DEVICE_COUNT, true);
    return Array.from({ length: count }, (_, i) =>
      this.#gather(
        layout.DEVICE_IOVECS + i * layout.MAX_SLICES * IOVEC_SIZE,
        view.getUint32(layout.DEVICE + i * layout.WRITE_SIZE, true),
      ),
    );
  }

  #gather(iovecs: number, count: number): Uint8Array {
    const parts = Array.from({ length: count }, (_, i) => {
      const iovec = iovecs + i * IOVEC_SIZE;
      const start = this.#pointer(iovec);
      return this.core.bytes.subarray(start, start + this.#pointer(iovec + IOVEC_LEN));
    });
    return new Uint8Array(Buffer.concat(parts));
  }

  /** HOST_BASE is 0: an address is an offset. */
  #pointer(at: number): number {
    return Number(this.core.view.getBigUint64(at, true));
  }

  #settle(direction: number): string[] {
    const { layout } = this;
    const { view, exports } = this.core;
    const count = view.getUint32(layout.PACKET_COUNT, true);
    const verdicts = Array.from({ length: count }, (_, i) => {
      const at = layout.PACKETS + i * layout.PACKET_SIZE + layout.PACKET_VERDICT;
      const verdict = view.getInt32(at, true);
      return `${verdict & ANSWERED ? "answered " : ""}${reasonNames[verdict & ~ANSWERED]}`;
    });
    exports.finishBatch(direction);
    return verdicts;
  }
}

/** Bytes of each of these control messages. */
const CMSG_SPACE = cmsgSpace(4);
