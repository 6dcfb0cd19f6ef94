/** The host behind a memory device. It implements IPv4 and ICMP echo (RFC 792), and nothing else. */
import { formatAddress, parseAddress, toBytes } from "../address.js";
import type { Device } from "../io/device.js";

const IP_HEADER = 20;
const ICMP_HEADER = 8;
const PAYLOAD = 56;
const PROTOCOL_ICMP = 1;
const ECHO_REPLY = 0;
const ECHO_REQUEST = 8;
const TTL = 64;

interface Echo {
  readonly type: typeof ECHO_REPLY | typeof ECHO_REQUEST;
  readonly from: string;
  readonly to: string;
  readonly sequence: number;
}

export class Pinger {
  readonly #waiting = new Map<number, () => void>();
  #sequence = 0;
  readonly #device: Device;

  constructor(
    device: Device,
    readonly address: string,
  ) {
    this.#device = device;
  }

  start(): void {
    this.#device.onPacket((packet) => this.#onPacket(packet));
  }

  /** Sends one echo request; returns the milliseconds until its answer, or undefined after `limitMs`. */
  async ping(to: string, limitMs = 1_000): Promise<number | undefined> {
    const sequence = ++this.#sequence & 0xffff;
    const began = performance.now();
    const answered = new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), limitMs);
      this.#waiting.set(sequence, () => {
        clearTimeout(timer);
        resolve(true);
      });
    });
    this.#device.send(encode({ type: ECHO_REQUEST, from: this.address, to, sequence }));
    const inTime = await answered;
    this.#waiting.delete(sequence);
    return inTime ? performance.now() - began : undefined;
  }

  #onPacket(packet: Uint8Array): void {
    const echo = decode(packet);
    if (echo?.to !== this.address) return;
    if (echo.type === ECHO_REPLY) this.#waiting.get(echo.sequence)?.();
    else this.#device.send(encode({ ...echo, type: ECHO_REPLY, from: echo.to, to: echo.from }));
  }
}

function encode({ type, from, to, sequence }: Echo): Uint8Array {
  const packet = new Uint8Array(IP_HEADER + ICMP_HEADER + PAYLOAD);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x45); // version 4, five words of header
  view.setUint16(2, packet.length);
  view.setUint8(8, TTL);
  view.setUint8(9, PROTOCOL_ICMP);
  packet.set(toBytes(parseAddress(from)), 12);
  packet.set(toBytes(parseAddress(to)), 16);
  view.setUint16(10, checksum(packet.subarray(0, IP_HEADER)));

  view.setUint8(IP_HEADER, type);
  view.setUint16(IP_HEADER + 6, sequence);
  view.setUint16(IP_HEADER + 2, checksum(packet.subarray(IP_HEADER)));
  return packet;
}

/** Decodes an ICMP echo; undefined for any other packet and for a damaged one. */
function decode(packet: Uint8Array): Echo | undefined {
  if (packet.length < IP_HEADER + ICMP_HEADER || packet[0] !== 0x45) return undefined;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const type = view.getUint8(IP_HEADER);
  if (view.getUint8(9) !== PROTOCOL_ICMP) return undefined;
  if (type !== ECHO_REPLY && type !== ECHO_REQUEST) return undefined;
  if (checksum(packet.subarray(0, IP_HEADER)) !== 0) return undefined;
  if (checksum(packet.subarray(IP_HEADER)) !== 0) return undefined;
  const address = (at: number) => formatAddress({ family: 4, value: BigInt(view.getUint32(at)) });
  return { type, from: address(12), to: address(16), sequence: view.getUint16(IP_HEADER + 6) };
}

/** The Internet checksum (RFC 1071) of an even number of bytes; 0 if they include a right checksum. */
function checksum(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += view.getUint16(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
