import { VIRTIO_SIZE } from "../memory";
import { Packet } from "../packet";
import { pushWrite } from "../vectors";
import { fold, pseudoSum } from "../wire/checksum";
import * as ipv4 from "../wire/ipv4";
import * as tcp from "../wire/tcp";
import * as udp from "../wire/udp";
import * as virtio from "../wire/virtio";
import { isFragment } from "./parse";

/** Hands the packet to the device, telling it of a checksum that its sender left unfinished. */
export function deliver(p: Packet): i32 {
  const header = p.ip - VIRTIO_SIZE;
  virtio.writePlain(header);
  if (!isFragment(p)) {
    if (p.protocol == ipv4.TCP) noteUnfinished(p, p.length - p.headerLength, tcp.TCP_CHECKSUM);
    if (p.protocol == ipv4.UDP) {
      noteUnfinished(p, udp.udpLength(p.ip + p.headerLength), udp.UDP_CHECKSUM);
    }
  }
  pushWrite(p, header, VIRTIO_SIZE + p.length);
  return 0;
}

/**
 * A Linux VXLAN device on a path with checksum offload sends inner packets whose
 * checksum holds the pseudo-header's sum alone. Passed on as it is, the packet
 * would be thrown away; marked, the receiving kernel takes it as sound.
 */
function noteUnfinished(p: Packet, length: u32, offset: u32): void {
  const field: u32 = load<u16>(p.ip + p.headerLength + offset);
  if (field == fold(pseudoSum(p.source, p.destination, p.protocol, length))) {
    virtio.writeNeedsCsum(p.ip - VIRTIO_SIZE, p.headerLength, offset);
  }
}
