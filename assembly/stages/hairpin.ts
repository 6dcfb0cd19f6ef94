import { pushWrite } from "../device-list";
import { VIRTIO_SIZE } from "../memory";
import { Packet } from "../packet";
import * as virtio from "../wire/virtio";
import { writeSuper } from "./whole";

/**
 * Gives a packet from the device back to the device: the host has its destination, or routes it on. A
 * super-packet goes back as it came, with its offload header and without a copy.
 */
export function hairpin(p: Packet): void {
  const header = p.ip - VIRTIO_SIZE;
  if (p.segmentSize) return writeSuper(p, virtio.storedGsoType(header));
  virtio.writePlain(header);
  pushWrite(p, header, VIRTIO_SIZE + p.length);
}
