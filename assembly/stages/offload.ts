import { MAX_PIECES, VIRTIO_SIZE } from "../memory";
import { Packet } from "../packet";
import { BAD_OFFLOAD } from "../reason";
import { checksumOffset } from "../transport";
import { sum, transportChecksum } from "../wire/checksum";
import { TCP, UDP } from "../wire/protocol";
import * as virtio from "../wire/virtio";
import { isFragment } from "./parse";
import { canBeCut } from "./segment";

/** Checks the virtio-net header and completes the checksum, unless `segment` will. */
export function offload(p: Packet): i32 {
  const header = p.ip - VIRTIO_SIZE;
  if (virtio.gsoType(header) != virtio.GSO_NONE) return checkGso(p, header);
  if ((virtio.flags(header) & virtio.NEEDS_CSUM) == 0) return 0;

  const start = virtio.csumStart(header);
  const field = start + virtio.csumOffset(header);
  if (start < p.transport || field + 2 > p.length) return BAD_OFFLOAD;
  finishChecksum(p.ip + start, p.ip + field, p.ip + p.length);
  return 0;
}

/** The checksum is computed for each segment, whatever the header says. */
function checkGso(p: Packet, header: usize): i32 {
  p.segmentSize = virtio.gsoSize(header);
  if (p.segmentSize == 0 || isFragment(p) || !isOfItsType(p, header)) return BAD_OFFLOAD;
  return canBeCut(p, MAX_PIECES) ? 0 : BAD_OFFLOAD;
}

function isOfItsType(p: Packet, header: usize): bool {
  switch (virtio.gsoType(header)) {
    case virtio.GSO_TCPV4:
      return p.family == 4 && p.protocol == TCP;
    case virtio.GSO_TCPV6:
      return p.family == 6 && p.protocol == TCP;
    case virtio.GSO_UDP_L4:
      return p.protocol == UDP;
    default:
      return false;
  }
}

/** The field holds the pseudo-header's sum, so adding the rest completes the checksum. */
function finishChecksum(start: usize, field: usize, end: usize): void {
  store<u16>(field, transportChecksum(sum(start, <u32>(end - start))));
}

/** Completes the checksum of a TCP or UDP packet without a virtio-net header. */
export function completeChecksum(p: Packet): void {
  const start = p.ip + p.transport;
  finishChecksum(start, start + checksumOffset(p), p.ip + p.length);
}

/** Completes the checksum of a device write, for a device without a virtio-net header. */
export function finishWrite(header: usize, length: u32): void {
  if ((virtio.flags(header) & virtio.NEEDS_CSUM) == 0) return;
  const start = header + VIRTIO_SIZE + virtio.csumStart(header);
  finishChecksum(start, start + virtio.csumOffset(header), header + length);
}
