import { prependHeaders } from "../conntrack/flow";
import { ENCAP_SIZE, WIRE_HEADER_SIZE } from "../memory";
import { Packet } from "../packet";
import { checksumOffset, headersOf, pseudoSumOf } from "../transport";
import { sum, transportChecksum } from "../wire/checksum";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { TCP } from "../wire/protocol";
import * as tcp from "../wire/tcp";
import * as udp from "../wire/udp";
import { madeHeader, pushDatagram } from "../wire-list";

/**
 * Segments a super-packet: each segment gets new headers and a slice of the payload in place. Segments
 * differ in their lengths, the IPv4 identification and TCP's sequence number; only the last has FIN and
 * PSH, only the first CWR (RFC 3168, 6.1.2).
 */
export function segment(p: Packet): void {
  const headers = headersOf(p);
  const count = segmentsOf(p);
  for (let i: u32 = 0; i < count; i++) {
    const ip = madeHeader() + ENCAP_SIZE;
    const size = makeHeaders(p, ip, i);
    const start = prependHeaders(p, ip);
    pushDatagram(p, start, ENCAP_SIZE + headers, p.ip + headers + i * p.segmentSize, size);
  }
}

/** Whether it makes at most `most` packets, and their headers fit into WIRE_HEADER_SIZE. */
export function canBeCut(p: Packet, most: u32): bool {
  return segmentsOf(p) <= most && ENCAP_SIZE + headersOf(p) <= WIRE_HEADER_SIZE;
}

/** Number of segments in it. */
export function segmentsOf(p: Packet): u32 {
  return max<u32>(1, (p.length - headersOf(p) + p.segmentSize - 1) / p.segmentSize);
}

/** Writes the headers of segment `i` at `ip`; returns the bytes of its payload. */
export function makeHeaders(p: Packet, ip: usize, i: u32): u32 {
  const headers = headersOf(p);
  const at = i * p.segmentSize;
  const left = p.length - headers - at;
  const size = min(p.segmentSize, left);
  memory.copy(ip, p.ip, headers);
  adaptIp(p, ip, i, headers + size);
  if (p.protocol == TCP) adaptTcp(ip + p.transport, at, i == 0, left <= p.segmentSize);
  else udp.setUdpLength(ip + p.transport, udp.UDP_SIZE + size);
  writeChecksum(p, ip, headers, p.ip + headers + at, size);
  return size;
}

function adaptIp(p: Packet, ip: usize, i: u32, length: u32): void {
  if (p.family == 6) return ipv6.setTotalLength(ip, length);
  ipv4.setTotalLength(ip, length);
  ipv4.setIdentification(ip, ipv4.identification(p.ip) + i);
  ipv4.setChecksum(ip);
}

function adaptTcp(header: usize, offset: u32, isFirst: bool, isLast: bool): void {
  tcp.setSequence(header, tcp.sequence(header) + offset);
  let flags = tcp.flags(header);
  if (!isFirst) flags &= ~tcp.CWR;
  if (!isLast) flags &= ~(tcp.FIN | tcp.PSH);
  tcp.setFlags(header, flags);
}

function writeChecksum(p: Packet, ip: usize, headers: u32, data: usize, size: u32): void {
  const at = ip + p.transport;
  const field = at + checksumOffset(p);
  const header = headers - p.transport;
  store<u16>(field, 0);
  // The transport header has an even length, so the payload's words stay aligned.
  const total = pseudoSumOf(p, ip, header + size) + sum(at, header) + sum(data, size);
  store<u16>(field, transportChecksum(total));
}
