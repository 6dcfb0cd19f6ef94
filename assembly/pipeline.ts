/**
 * THE STORY of a packet.
 *
 *   outbound:  device -> parse -> finish -> route -> encap -> wire
 *   inbound:   wire -> decap -> parse -> admit -> deliver -> device
 *
 * A stage returns 0 to go on, or the reason why not. The host reads a batch
 * into the slots, calls outbound() or inbound() until every packet went
 * through, writing out what each pass leaves in the vectors, then settle().
 */

import { begin } from "./batch";
import { ENCAP_SIZE, LENGTHS, VIRTIO_SIZE } from "./memory";
import { Packet, packetOf } from "./packet";
import { TRUNCATED } from "./reason";
import { admit } from "./stages/admit";
import { answer } from "./stages/answer";
import { decap } from "./stages/decap";
import { deliver } from "./stages/deliver";
import { encap } from "./stages/encap";
import { finish } from "./stages/finish";
import { parse } from "./stages/parse";
import { route } from "./stages/route";
import { clear, hasRoom, receivedFrom, receivedLength } from "./vectors";

/** Takes packets `from`..`count`-1 from device to wire; gives the first for which room ran out. */
export function outbound(from: u32, count: u32): u32 {
  if (from == 0) begin();
  clear();
  let i = from;
  for (; i < count && hasRoom(); i++) {
    const p = packetOf(i, load<u32>(LENGTHS + i * 4) - VIRTIO_SIZE);
    const reason = toWire(p);
    p.verdict = reason ? answer(p, reason) : 0;
  }
  return i;
}

function toWire(p: Packet): i32 {
  let r: i32;
  if (<i32>p.length < 0) return TRUNCATED;
  r = parse(p);
  if (r) return r;
  r = finish(p);
  if (r) return r;
  r = route(p);
  if (r) return r;
  return encap(p);
}

/** Takes datagrams `from`..`count`-1 from wire to device; gives the first for which room ran out. */
export function inbound(from: u32, count: u32): u32 {
  if (from == 0) begin();
  clear();
  let i = from;
  for (; i < count && hasRoom(); i++) {
    const p = packetOf(i, receivedLength(i) - ENCAP_SIZE);
    p.verdict = toDevice(p, receivedFrom(i));
  }
  return i;
}

function toDevice(p: Packet, from: u32): i32 {
  let r: i32;
  r = decap(p);
  if (r) return r;
  r = parse(p);
  if (r) return r;
  r = admit(p, from);
  if (r) return r;
  return deliver(p);
}
