/** The fields of a packet's headers in words, and their changes between two stages. */
import { formatAddress, formatEndpoint, formatMac, parseAddress } from "../address.js";
import { ICMPS, PROTOCOLS, protocolName, WITH_PORTS } from "../protocol.js";

/** A named field; `from` is missing when the field is new. */
export interface HeaderChange {
  readonly field: string;
  readonly from?: string;
  readonly to: string;
}

/** The addresses and ports of a packet. ICMP has a type and a code in place of ports. */
export interface PacketWords {
  readonly src: string;
  readonly dst: string;
  readonly protocol: number;
  readonly sport?: number;
  readonly dport?: number;
  readonly icmp?: { readonly type: number; readonly code: number };
  readonly length: number;
}

type HeaderFields = ReadonlyMap<string, string>;

const TCP_MSS = 2;

/** Undefined for a packet without a complete IP header. */
export function wordsOf(packet: Uint8Array): PacketWords | undefined {
  const view = viewOf(packet);
  const ip = ipOf(view);
  if (!ip) return undefined;
  const { src, dst, protocol, length, transport, isLaterFragment } = ip;
  const words = { src, dst, protocol, length };
  if (isLaterFragment || transport + 4 > packet.length) return words;
  if (WITH_PORTS.includes(protocol)) {
    return { ...words, sport: view.getUint16(transport), dport: view.getUint16(transport + 2) };
  }
  if (!ICMPS.includes(protocol)) return words;
  return {
    ...words,
    icmp: { type: view.getUint8(transport), code: view.getUint8(transport + 1) },
  };
}

/** `tcp 10.244.1.5:49152 > 10.244.2.80:443` */
export function inWords(words: PacketWords | undefined): string {
  if (!words) return "no whole IP header";
  const { src, dst, protocol, sport, dport, icmp } = words;
  const name = protocolName(protocol) ?? `protocol ${protocol}`;
  if (sport !== undefined) return `${name} ${at(src, sport)} > ${at(dst, dport!)}`;
  return `${name} ${src} > ${dst}${icmp ? `, type ${icmp.type} code ${icmp.code}` : ""}`;
}

const at = (address: string, port: number): string =>
  formatEndpoint({ address: parseAddress(address), port });

/** The fields that differ between two packets; both begin with their IP header. */
export function changesBetween(before: Uint8Array, after: Uint8Array): HeaderChange[] {
  const [from, to] = [fieldsOf(before), fieldsOf(after)];
  return [...to].flatMap(([field, value]) => {
    const was = from.get(field);
    if (was === value) return [];
    return [was === undefined ? { field, to: value } : { field, from: was, to: value }];
  });
}

/** The fields of the VXLAN and Ethernet headers at the start of a datagram. */
export function tunnelOf(datagram: Uint8Array): HeaderChange[] {
  return [
    { field: "vxlan vni", to: `${viewOf(datagram).getUint32(4) >>> 8}` },
    { field: "ethernet destination", to: formatMac(datagram.subarray(8, 14)) },
    { field: "ethernet source", to: formatMac(datagram.subarray(14, 20)) },
  ];
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

interface Ip {
  readonly src: string;
  readonly dst: string;
  readonly protocol: number;
  readonly length: number;
  /** Offset of the transport header. */
  readonly transport: number;
  readonly isLaterFragment: boolean;
  readonly fields: readonly (readonly [string, string])[];
}

function ipOf(view: DataView): Ip | undefined {
  const version = view.byteLength > 0 ? view.getUint8(0) >> 4 : 0;
  if (version === 4 && view.byteLength >= 20) return ip4(view);
  if (version === 6 && view.byteLength >= 40) return ip6(view);
  return undefined;
}

function ip4(view: DataView): Ip {
  const [src, dst] = [12, 16].map((at) => addressAt(view, at, 4));
  const length = view.getUint16(2);
  return {
    src: src!,
    dst: dst!,
    protocol: view.getUint8(9),
    length,
    transport: 4 * (view.getUint8(0) & 15),
    isLaterFragment: (view.getUint16(6) & 0x1fff) !== 0,
    fields: [
      ["source", src!],
      ["destination", dst!],
      ["tos", `${view.getUint8(1)}`],
      ["length", `${length}`],
      ["identification", hex(view.getUint16(4))],
      ["fragment", hex(view.getUint16(6))],
      ["ttl", `${view.getUint8(8)}`],
      ["header checksum", hex(view.getUint16(10))],
    ],
  };
}

/** Walks the extension headers that are complete. */
function ip6(view: DataView): Ip {
  const [src, dst] = [8, 24].map((at) => addressAt(view, at, 6));
  const length = 40 + view.getUint16(4);
  let [protocol, transport, isLaterFragment] = [view.getUint8(6), 40, false];
  while ([0, 43, 44, 51, 60].includes(protocol) && transport + 8 <= view.byteLength) {
    const units = view.getUint8(transport + 1);
    const size = protocol === 44 ? 8 : protocol === 51 ? 4 * (units + 2) : 8 * (units + 1);
    isLaterFragment ||= protocol === 44 && view.getUint16(transport + 2) >> 3 !== 0;
    protocol = view.getUint8(transport);
    transport += size;
  }
  return {
    src: src!,
    dst: dst!,
    protocol,
    length,
    transport,
    isLaterFragment,
    fields: [
      ["source", src!],
      ["destination", dst!],
      ["length", `${length}`],
      ["hop limit", `${view.getUint8(7)}`],
    ],
  };
}

function fieldsOf(packet: Uint8Array): HeaderFields {
  const view = viewOf(packet);
  const ip = ipOf(view);
  if (!ip) return new Map();
  const at = ip.transport;
  const isThere = (bytes: number) => !ip.isLaterFragment && at + bytes <= packet.length;
  const transport: [string, string][] = [];
  if (ip.protocol === PROTOCOLS.tcp && isThere(20)) {
    transport.push(["tcp checksum", hex(view.getUint16(at + 16))]);
    const mss = mssOf(view, at);
    if (mss !== undefined) transport.push(["tcp maximum segment size", `${mss}`]);
  }
  if (ip.protocol === PROTOCOLS.udp && isThere(8)) {
    transport.push(["udp checksum", hex(view.getUint16(at + 6))]);
  }
  if (WITH_PORTS.includes(ip.protocol) && isThere(4)) {
    transport.push(["source port", `${view.getUint16(at)}`]);
    transport.push(["destination port", `${view.getUint16(at + 2)}`]);
  }
  return new Map([...ip.fields, ...transport]);
}

function mssOf(view: DataView, tcp: number): number | undefined {
  const end = Math.min(tcp + 4 * (view.getUint8(tcp + 12) >> 4), view.byteLength);
  for (let at = tcp + 20; at + 4 <= end; ) {
    const kind = view.getUint8(at);
    if (kind === 0) return undefined;
    if (kind === TCP_MSS) return view.getUint16(at + 2);
    at += kind === 1 ? 1 : Math.max(2, view.getUint8(at + 1));
  }
  return undefined;
}

function addressAt(view: DataView, at: number, family: 4 | 6): string {
  let value = 0n;
  for (let i = 0; i < (family === 4 ? 4 : 16); i++) {
    value = value * 256n + BigInt(view.getUint8(at + i));
  }
  return formatAddress({ family, value });
}

const hex = (value: number): string => `0x${value.toString(16).padStart(4, "0")}`;
