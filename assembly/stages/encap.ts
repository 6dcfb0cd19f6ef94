import { prependHeaders } from "../conntrack/flow";
import { ENCAP_SIZE } from "../memory";
import { Packet, tosOf } from "../packet";
import { mtuFor, outerTos } from "../tables/peer";
import * as ipv4 from "../wire/ipv4";
import { madeHeader, pushDatagram } from "../wire-list";
import { segment } from "./segment";

/** Puts the peer's headers before the packet. A packet too large for one datagram becomes several. */
export function encap(p: Packet): void {
  p.outerTos = outerTos(p.peer, tosOf(p));
  if (p.segmentSize) return segment(p);
  if (p.length > mtuFor(p)) return fragment(p);
  const start = prependHeaders(p, p.ip);
  pushDatagram(p, start, p.length + ENCAP_SIZE, start, 0);
}

/**
 * RFC 791, 3.2: every fragment but the last has a multiple of 8 bytes. Each gets a new header; its data
 * is a slice of the packet in place.
 */
function fragment(p: Packet): void {
  const header = p.transport;
  const data = p.length - header;
  const fragmentData = (mtuFor(p) - header) & ~7;

  const firstOffset = p.fragment & ipv4.OFFSET_MASK;
  const moreAfterThis = p.fragment & ipv4.MORE_FRAGMENTS;
  for (let at: u32 = 0; at < data; at += fragmentData) {
    const isLast = at + fragmentData >= data;
    const size = isLast ? data - at : fragmentData;

    const ip = madeHeader() + ENCAP_SIZE;
    memory.copy(ip, p.ip, header);
    if (at > 0) ipv4.blankUncopiedOptions(ip);
    ipv4.setTotalLength(ip, header + size);
    ipv4.setFragment(
      ip,
      (firstOffset + (at >> 3)) | (isLast ? moreAfterThis : ipv4.MORE_FRAGMENTS),
    );
    ipv4.setChecksum(ip);

    const start = prependHeaders(p, ip);
    pushDatagram(p, start, ENCAP_SIZE + header, p.ip + header + at, size);
  }
}
