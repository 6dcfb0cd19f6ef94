import { VIRTIO_SIZE } from "../memory";
import { Packet } from "../packet";
import { BAD_OFFLOAD } from "../reason";
import { sum, transportChecksum } from "../wire/checksum";
import * as virtio from "../wire/virtio";

/** Does what the kernel left to its device: the checksum over the payload. */
export function finish(p: Packet): i32 {
  const header = p.ip - VIRTIO_SIZE;
  if (virtio.gsoType(header) != virtio.GSO_NONE) return BAD_OFFLOAD;
  if ((virtio.flags(header) & virtio.NEEDS_CSUM) == 0) return 0;

  const start = virtio.csumStart(header);
  const field = start + virtio.csumOffset(header);
  if (start < p.headerLength || field + 2 > p.length) return BAD_OFFLOAD;
  finishChecksum(p.ip + start, p.ip + field, p.ip + p.length);
  return 0;
}

/** The field holds the pseudo-header's sum, so summing it with the rest completes the checksum. */
function finishChecksum(start: usize, field: usize, end: usize): void {
  store<u16>(field, transportChecksum(sum(start, <u32>(end - start))));
}

/** The same for a device write we made, when the device has no virtio-net header to say it with. */
export function finishWrite(header: usize, length: u32): void {
  if ((virtio.flags(header) & virtio.NEEDS_CSUM) == 0) return;
  const start = header + VIRTIO_SIZE + virtio.csumStart(header);
  finishChecksum(start, start + virtio.csumOffset(header), header + length);
}
