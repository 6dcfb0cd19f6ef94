import { ENCAP_SIZE, MAX_FRAGMENTS } from "../memory";
import { Packet } from "../packet";
import { TOO_BIG } from "../reason";
import { mtu, peerAt, prependHeaders } from "../tables/peer";
import { madeHeader, pushDatagram } from "../vectors";
import * as ipv4 from "../wire/ipv4";

/** Puts the peer's headers before the packet; one too big for the way goes in fragments. */
export function encap(p: Packet): i32 {
  const peer = peerAt(p.peer);
  if (p.length > mtu(peer)) return encapFragments(p, peer);
  const start = prependHeaders(peer, p.ip);
  pushDatagram(p, peer, start, p.length + ENCAP_SIZE, 0, 0);
  return 0;
}

/**
 * RFC 791, 3.2: every fragment but the last carries a multiple of 8 bytes. Each
 * gets a made header of its own; its data is a slice of the packet where it lies.
 */
function encapFragments(p: Packet, peer: usize): i32 {
  const header = p.headerLength;
  const data = p.length - header;
  const step = (mtu(peer) - header) & ~7;
  if ((data + step - 1) / step > MAX_FRAGMENTS) return TOO_BIG;

  const firstOffset = p.fragment & ipv4.OFFSET_MASK;
  const moreAfterThis = p.fragment & ipv4.MORE_FRAGMENTS;
  for (let at: u32 = 0; at < data; at += step) {
    const isLast = at + step >= data;
    const size = isLast ? data - at : step;

    const ip = madeHeader() + ENCAP_SIZE;
    memory.copy(ip, p.ip, header);
    if (at > 0) ipv4.blankUncopiedOptions(ip);
    ipv4.setTotalLength(ip, header + size);
    ipv4.setFragment(
      ip,
      (firstOffset + (at >> 3)) | (isLast ? moreAfterThis : ipv4.MORE_FRAGMENTS),
    );
    ipv4.setChecksum(ip);

    const start = prependHeaders(peer, ip);
    pushDatagram(p, peer, start, ENCAP_SIZE + header, p.ip + header + at, size);
  }
  return 0;
}
