import { pushSlice, pushWrite } from "../device-list";
import {
  CAN_COALESCE_UDP,
  ENCAP_SIZE,
  MAX_GRO,
  OFFLOADS,
  SEGMENT_COUNT,
  VIRTIO_SIZE,
} from "../memory";
import { Packet } from "../packet";
import { BAD_CHECKSUM, BAD_HEADER } from "../reason";
import { checksumOffset, headersOf, isVerified, pseudoSumOf } from "../transport";
import { fold } from "../wire/checksum";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { UDP } from "../wire/protocol";
import * as udp from "../wire/udp";
import * as virtio from "../wire/virtio";
import { madeHeader } from "../wire-list";
import { admit } from "./admit";
import { closeAll } from "./coalesce";
import { isFragment } from "./parse";
import { canBeCut, makeHeaders, segmentsOf } from "./segment";

/**
 * Whether this message is one datagram around a UDP super-packet instead of a GSO batch. Nothing on the
 * path from a Linux VXLAN peer over veth segments it, and the size that the receiving kernel reports
 * (UDP_GRO) is then that of the inner datagrams.
 *
 * @param length bytes of the message from its first inner IP header on
 */
export function isWhole(ip: usize, length: u32): bool {
  if (<i32>length < <i32>ipv6.IPV6_SIZE) return false;
  switch (load<u8>(ip) >> 4) {
    case 4:
      return ipv4.totalLength(ip) == length;
    case 6:
      return ipv6.totalLength(ip) == length;
    default:
      return false;
  }
}

/**
 * Admits a UDP super-packet only if its headers and checksum are sound, because segmenting it makes new
 * checksums. No later stage refuses it for its shape, because it is counted by then.
 */
export function admitWhole(p: Packet): i32 {
  const r = admit(p);
  if (r) return r;
  if (p.protocol != UDP || isFragment(p) || !canBeCut(p, MAX_GRO)) return BAD_HEADER;
  if (udp.udpLength(p.ip + p.transport) != p.length - p.transport) return BAD_HEADER;
  return isVerified(p) ? 0 : BAD_CHECKSUM;
}

/** Gives it to the device: unchanged, or segmented if the device takes no UDP super-packets. */
export function deliverWhole(p: Packet): i32 {
  // No later datagram of its stream is appended to what was written before it.
  closeAll();
  return load<u32>(OFFLOADS) & CAN_COALESCE_UDP ? writeWhole(p) : writeCut(p);
}

function writeWhole(p: Packet): i32 {
  writeSuper(p, virtio.GSO_UDP_L4);
  return 0;
}

/** Writes a super-packet of this GSO type; its checksum holds the sum of the pseudo-header. */
export function writeSuper(p: Packet, type: u32): void {
  const length = p.length - p.transport;
  const pseudo = fold(pseudoSumOf(p, p.ip, length));
  store<u16>(p.ip + p.transport + checksumOffset(p), <u16>pseudo);
  const header = p.ip - VIRTIO_SIZE;
  virtio.writeNeedsCsum(header, p.transport, checksumOffset(p));
  virtio.writeGso(header, type, headersOf(p), p.segmentSize);
  pushWrite(p, header, VIRTIO_SIZE + p.length);
}

/** Makes headers and slices of the payload as `segment` does; the headers use the room of the wire list. */
function writeCut(p: Packet): i32 {
  const headers = headersOf(p);
  const count = segmentsOf(p);
  for (let i: u32 = 0; i < count; i++) {
    const ip = madeHeader() + ENCAP_SIZE;
    store<u32>(SEGMENT_COUNT, load<u32>(SEGMENT_COUNT) + 1);
    const size = makeHeaders(p, ip, i);
    const header = ip - VIRTIO_SIZE;
    virtio.writePlain(header);
    const w = pushWrite(p, header, VIRTIO_SIZE + headers);
    pushSlice(p.write, w, p.ip + headers + i * p.segmentSize, size);
  }
  return 0;
}
