/**
 * The dataplane to embed: the very core the agent runs, synchronous and in
 * memory. No root, no device, no timer: time moves by `advance`.
 */
import {
  type Endpoint,
  firstHost,
  formatEndpoint,
  type Prefix,
  parseAddress,
  parseEndpoint,
  parseMac,
  parsePrefix,
} from "./address.js";
import type { Own } from "./compile/compiler.js";
import { readSockaddr, writeSockaddr } from "./compile/peers.js";
import { type Counters, type PeerTraffic, readCounters } from "./core/counters.js";
import { Core } from "./core/instance.js";
import { takeMail } from "./core/mailbox.js";
import { Publisher } from "./core/publish.js";
import { ANSWERED, type Reason, reasonNames } from "./core/reasons.js";
import { WeftError } from "./error.js";
import type { Peer } from "./peer.js";

export interface DataplaneOptions {
  /** VXLAN network identifier, 1 to 16,777,215. */
  vni: number;
  /** This node's VTEP MAC address. */
  mac: string;
  /** The largest inner packet, bytes, 576 (1280 with IPv6 leases) to 65,465. */
  mtu: number;
  /** This node's overlay address: ICMP answers come from it. */
  address: string;
  /**
   * The prefixes this node may receive for. ICMP answers of the family that
   * `address` is not of come from the first host of the first such prefix.
   */
  leases: readonly string[];
  /** Where peers reach this node, `ip:port`. */
  underlay: string;
}

/** `control`: a datagram of the mesh, not a packet; it is the caller's. */
export type Verdict = "sent" | "delivered" | "answered" | "dropped" | "control";

/** What became of one packet. */
export interface Outcome {
  verdict: Verdict;
  /** Why it was dropped or answered. */
  reason?: Reason;
  /** VXLAN datagrams for the wire. */
  datagrams: { to: string; bytes: Uint8Array }[];
  /** IP packets for the device. */
  packets: Uint8Array[];
}

const MAX_VNI = 0xffffff;
/**
 * Bytes: what every host takes (RFC 791), what every IPv6 link takes (RFC 8200),
 * and what is left of 65,535 with all headers around it.
 */
const MIN_MTU = 576;
const MIN_MTU_6 = 1280;
const MAX_MTU = 65_465;

export class Dataplane {
  readonly #core: Core;
  readonly #publisher: Publisher;
  readonly #own: Own;
  #now = 0;

  private constructor(core: Core, own: Own, options: DataplaneOptions) {
    this.#core = core;
    this.#own = own;
    this.#publisher = new Publisher(core);
    const address = parseAddress(options.address);
    const other = own.leases.find(({ family }) => family !== address.family);
    this.#publisher.setAddress(address);
    if (other) this.#publisher.setAddress(firstHost(other));
    this.#publisher.publish(own, []);
    core.exports.prepareReceive();
  }

  /** @throws WeftError when an option cannot be */
  static async create(options: DataplaneOptions): Promise<Dataplane> {
    checkRange("vni", options.vni, 1, MAX_VNI);
    const leases: Prefix[] = options.leases.map(parsePrefix);
    const hasIPv6 = leases.some(({ family }) => family === 6);
    checkRange("mtu", options.mtu, hasIPv6 ? MIN_MTU_6 : MIN_MTU, MAX_MTU);
    parseEndpoint(options.underlay);
    const own = { vni: options.vni, mac: parseMac(options.mac), mtu: options.mtu, leases };
    return new Dataplane(await Core.create(), own, options);
  }

  /**
   * The peers from now on; those not named are forgotten.
   * @throws WeftError when they contradict each other; then nothing has changed
   */
  setPeers(peers: readonly Peer[]): void {
    this.#publisher.publish(this.#own, peers);
  }

  /** Takes an IP packet, as this host would send it into the overlay. */
  fromDevice(packet: Uint8Array): Outcome {
    const { bytes, view, layout, exports } = this.#core;
    checkSize("packet", packet, layout.MAX_PACKET);
    const ip = layout.SLOTS + layout.HEADROOM;
    bytes.fill(0, ip - layout.VIRTIO_SIZE, ip);
    bytes.set(packet, ip);
    view.setUint32(layout.LENGTHS, layout.VIRTIO_SIZE + packet.length, true);
    exports.outbound(0, 1);
    return this.outcome(layout.OUT);
  }

  /**
   * Takes a datagram that came in on the VXLAN port, `from` an `ip:port`. A packet
   * for another peer is relayed: sent on in new headers.
   */
  fromWire(datagram: Uint8Array, from: string): Outcome {
    const { bytes, view, layout, exports } = this.#core;
    checkSize("datagram", datagram, layout.ENCAP_SIZE + layout.MAX_PACKET);
    this.writeSender(parseEndpoint(from));
    bytes.set(datagram, layout.SLOTS + layout.HEADROOM - layout.ENCAP_SIZE);
    view.setUint32(layout.RECEIVE + layout.MMSGHDR_LEN, datagram.length, true);
    exports.inbound(0, 1);
    return this.outcome(layout.IN);
  }

  /** How packets ended, by direction. */
  counters(): Counters {
    return readCounters(this.#core);
  }

  /** What went to and came from a peer, by name. */
  traffic(peer: string): PeerTraffic | undefined {
    return this.#publisher.traffic(peer);
  }

  /** Names of the peers to which packets went since this was asked last. */
  active(): string[] {
    return this.#publisher.active();
  }

  /** Lets time pass. */
  advance(milliseconds: number): void {
    checkRange("milliseconds", milliseconds, 0, Number.MAX_SAFE_INTEGER);
    this.#now += milliseconds;
    this.#core.setClock(this.#now);
  }

  /** As recvmmsg would: who sent it, and that it is a datagram by itself. */
  private writeSender(from: Endpoint): void {
    const { bytes, view, layout, memory } = this.#core;
    bytes.fill(0, layout.RECEIVE_NAMES, layout.RECEIVE_NAMES + layout.NAME_SIZE);
    writeSockaddr(new DataView(memory.buffer, layout.RECEIVE_NAMES, layout.NAME_SIZE), from);
    view.setBigUint64(layout.RECEIVE + layout.MMSGHDR_CONTROLLEN, 0n, true);
  }

  /** Takes what the core left in its vectors, and counts the packet. */
  private outcome(direction: number): Outcome {
    const { view, layout, exports } = this.#core;
    const number = view.getInt32(layout.PACKETS + layout.PACKET_VERDICT, true);
    const [datagrams, packets] = [this.takeDatagrams(), this.takePackets()];
    const [mail] = takeMail(this.#core);
    exports.settle(direction);
    if (mail) return { verdict: "control", datagrams, packets };
    if (number === 0) {
      return { verdict: datagrams.length > 0 ? "sent" : "delivered", datagrams, packets };
    }
    const verdict = number & ANSWERED ? "answered" : "dropped";
    return { verdict, reason: reasonNames[number & ~ANSWERED]!, datagrams, packets };
  }

  private takeDatagrams(): Outcome["datagrams"] {
    const { view, layout, memory } = this.#core;
    const count = view.getUint32(layout.WIRE_COUNT, true);
    return Array.from({ length: count }, (_, i) => {
      const message = layout.WIRE + i * layout.MMSGHDR_SIZE;
      const name = this.pointer(message + layout.MMSGHDR_NAME);
      const iovecs = this.pointer(message + layout.MMSGHDR_IOV);
      const slices = this.pointer(message + layout.MMSGHDR_IOVLEN);
      return {
        to: formatEndpoint(readSockaddr(new DataView(memory.buffer, name, layout.NAME_SIZE))),
        bytes: this.gather(iovecs, slices),
      };
    });
  }

  private takePackets(): Uint8Array[] {
    const { view, layout, exports } = this.#core;
    const count = view.getUint32(layout.DEVICE_COUNT, true);
    return Array.from({ length: count }, (_, i) => {
      const slices = view.getUint32(layout.DEVICE + i * layout.WRITE_SIZE, true);
      const iovecs = layout.DEVICE_IOVECS + i * layout.MAX_SLICES * layout.IOVEC_SIZE;
      exports.finishWrite(this.pointer(iovecs), this.pointer(iovecs + layout.IOVEC_LEN));
      return this.gather(iovecs, slices).subarray(layout.VIRTIO_SIZE);
    });
  }

  /** A copy of the bytes that iovecs name, one after the other. */
  private gather(iovecs: number, count: number): Uint8Array {
    const { layout, bytes } = this.#core;
    const parts = Array.from({ length: count }, (_, i) => {
      const start = this.pointer(iovecs + i * layout.IOVEC_SIZE);
      const length = this.pointer(iovecs + i * layout.IOVEC_SIZE + layout.IOVEC_LEN);
      return bytes.subarray(start, start + length);
    });
    return new Uint8Array(Buffer.concat(parts));
  }

  /** A u64; no kernel looks into this memory (HOST_BASE is 0), so an address is an offset. */
  private pointer(at: number): number {
    return Number(this.#core.view.getBigUint64(at, true));
  }
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new WeftError(
      "OPTION",
      `${name} is ${value}`,
      `give a whole number from ${least} to ${most}`,
    );
  }
}

function checkSize(what: string, bytes: Uint8Array, most: number): void {
  if (bytes.length > most) {
    throw new RangeError(`a ${what} of ${bytes.length} bytes cannot be: the most is ${most}`);
  }
}
