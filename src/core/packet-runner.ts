/** Runs single packets through a core and returns the outcome of each. */
import { type Endpoint, formatEndpoint } from "../address.js";
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  cmsgSpace,
  IOVEC_LEN,
  IOVEC_SIZE,
  IP_TOS,
  IPPROTO_IP,
  MMSGHDR_CONTROL,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_LEN,
  MMSGHDR_NAME,
  MMSGHDR_SIZE,
} from "../linux.js";
import { readSockaddr, writeSockaddr } from "../sockaddr.js";
import type { Core } from "./instance.js";
import { takeControl } from "./mailbox.js";
import { ANSWERED, type Reason, reasonNames } from "./reasons.js";

/** `control`: a datagram for the mesh instead of a packet; the caller handles it. */
export type Verdict = "sent" | "delivered" | "answered" | "dropped" | "control";

/** The outcome of one packet. */
export interface Outcome {
  verdict: Verdict;
  /** The reason for a drop or an ICMP answer. */
  reason?: Reason;
  /** VXLAN datagrams for the wire. `tos`: TOS or traffic class of the outer header. */
  datagrams: { to: string; bytes: Uint8Array; tos: number }[];
  /** IP packets for the device. */
  packets: Uint8Array[];
}

export class PacketRunner {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
    core.exports.prepareReceive();
  }

  /** Runs an IP packet that the host sends into the overlay. */
  fromDevice(packet: Uint8Array): Outcome {
    const { bytes, view, layout, exports } = this.#core;
    checkSize("packet", packet, layout.MAX_PACKET);
    const ip = layout.SLOTS + layout.HEADROOM;
    bytes.fill(0, ip - layout.VIRTIO_SIZE, ip);
    bytes.set(packet, ip);
    view.setUint32(layout.LENGTHS, layout.VIRTIO_SIZE + packet.length, true);
    exports.outbound(0, 1);
    return this.#outcome(layout.OUT);
  }

  /** Runs a datagram received on the VXLAN port; `tos` is the TOS or traffic class of its outer header. */
  fromWire(datagram: Uint8Array, from: Endpoint, tos = 0): Outcome {
    const { bytes, view, layout, exports } = this.#core;
    checkSize("datagram", datagram, layout.ENCAP_SIZE + layout.MAX_PACKET);
    this.#writeSender(from);
    this.#writeTos(tos);
    bytes.set(datagram, layout.SLOTS + layout.HEADROOM - layout.ENCAP_SIZE);
    view.setUint32(layout.RECEIVE + MMSGHDR_LEN, datagram.length, true);
    exports.inbound(0, 1);
    return this.#outcome(layout.IN);
  }

  /** Ends connections whose translation is gone; returns the RSTs for both ends. */
  resetGone(): Pick<Outcome, "datagrams" | "packets"> {
    const { exports, layout } = this.#core;
    const resets: Pick<Outcome, "datagrams" | "packets"> = { datagrams: [], packets: [] };
    let at = 0;
    do {
      at = exports.resetGone(at);
      resets.datagrams.push(...this.#takeDatagrams());
      resets.packets.push(...this.#takePackets());
      exports.finishBatch(layout.OUT);
    } while (at > 0);
    return resets;
  }

  /** Writes the sender as recvmmsg does. */
  #writeSender(from: Endpoint): void {
    const { bytes, layout, memory } = this.#core;
    bytes.fill(0, layout.RECEIVE_NAMES, layout.RECEIVE_NAMES + layout.NAME_SIZE);
    writeSockaddr(new DataView(memory.buffer, layout.RECEIVE_NAMES, layout.NAME_SIZE), from);
  }

  /** Writes the only control message, the TOS: the datagram is not part of a batch. */
  #writeTos(tos: number): void {
    const { view, layout } = this.#core;
    const control = layout.RECEIVE_CONTROLS;
    view.setBigUint64(layout.RECEIVE + MMSGHDR_CONTROLLEN, BigInt(cmsgSpace(1)), true);
    view.setBigUint64(control, BigInt(CMSG_DATA + 1), true);
    view.setUint32(control + CMSG_LEVEL, IPPROTO_IP, true);
    view.setUint32(control + CMSG_TYPE, IP_TOS, true);
    view.setUint8(control + CMSG_DATA, tos);
  }

  /** Collects the core's output and counts the packet. */
  #outcome(direction: number): Outcome {
    const { view, layout, exports } = this.#core;
    const number = view.getInt32(layout.PACKETS + layout.PACKET_VERDICT, true);
    const [datagrams, packets] = [this.#takeDatagrams(), this.#takePackets()];
    const [control] = takeControl(this.#core);
    exports.finishBatch(direction);
    if (control) return { verdict: "control", datagrams, packets };
    if (number === 0) {
      return { verdict: datagrams.length > 0 ? "sent" : "delivered", datagrams, packets };
    }
    const verdict = number & ANSWERED ? "answered" : "dropped";
    return { verdict, reason: reasonNames[number & ~ANSWERED]!, datagrams, packets };
  }

  #takeDatagrams(): Outcome["datagrams"] {
    const { view, layout, memory } = this.#core;
    const count = view.getUint32(layout.WIRE_COUNT, true);
    return Array.from({ length: count }, (_, i) => {
      const message = layout.WIRE + i * MMSGHDR_SIZE;
      const name = this.#pointer(message + MMSGHDR_NAME);
      const iovecs = this.#pointer(message + MMSGHDR_IOV);
      const slices = this.#pointer(message + MMSGHDR_IOVLEN);
      return {
        to: formatEndpoint(readSockaddr(new DataView(memory.buffer, name, layout.NAME_SIZE))),
        bytes: this.#gather(iovecs, slices),
        tos: this.#takeTos(message),
      };
    });
  }

  /** The TOS of a message: without GSO batches it is the only control message; 0 if there is none. */
  #takeTos(message: number): number {
    const { view } = this.#core;
    if (this.#pointer(message + MMSGHDR_CONTROLLEN) === 0) return 0;
    return view.getUint8(this.#pointer(message + MMSGHDR_CONTROL) + CMSG_DATA);
  }

  #takePackets(): Uint8Array[] {
    const { view, layout, exports } = this.#core;
    const count = view.getUint32(layout.DEVICE_COUNT, true);
    return Array.from({ length: count }, (_, i) => {
      const slices = view.getUint32(layout.DEVICE + i * layout.WRITE_SIZE, true);
      const iovecs = layout.DEVICE_IOVECS + i * layout.MAX_SLICES * IOVEC_SIZE;
      exports.finishWrite(this.#pointer(iovecs), this.#pointer(iovecs + IOVEC_LEN));
      return this.#gather(iovecs, slices).subarray(layout.VIRTIO_SIZE);
    });
  }

  /** Copies the bytes of iovecs, one after the other. */
  #gather(iovecs: number, count: number): Uint8Array {
    const { bytes } = this.#core;
    const parts = Array.from({ length: count }, (_, i) => {
      const start = this.#pointer(iovecs + i * IOVEC_SIZE);
      const length = this.#pointer(iovecs + i * IOVEC_SIZE + IOVEC_LEN);
      return bytes.subarray(start, start + length);
    });
    return new Uint8Array(Buffer.concat(parts));
  }

  /** Reads a u64 address. No kernel reads this memory (HOST_BASE is 0), so it is an offset. */
  #pointer(at: number): number {
    return Number(this.#core.view.getBigUint64(at, true));
  }
}

function checkSize(what: string, bytes: Uint8Array, most: number): void {
  if (bytes.length > most) {
    throw new RangeError(`a ${what} of ${bytes.length} bytes cannot be: the most is ${most}`);
  }
}
