import { Flow, familyOf, flowAddresses } from "../conntrack/flow";
import { addressesOf, Packet } from "../packet";
import { pseudoSum, pseudoSum6, sum, transportChecksum } from "../wire/checksum";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { TCP } from "../wire/protocol";
import * as tcp from "../wire/tcp";
import { isFragment } from "./parse";

const HOPS: u32 = 64;

/** Whether it is a segment of a connection: an acknowledgment, and no RST. */
export function mayReset(p: Packet): bool {
  if (p.protocol != TCP || isFragment(p)) return false;
  return (tcp.flags(p.ip + p.transport) & (tcp.ACK | tcp.RST)) == tcp.ACK;
}

/**
 * Writes a RST in answer to the segment, from the segment's destination, at `ip`; returns its length.
 * Its number is the one that the segment acknowledges (RFC 9293, 3.5.2), so the receiver takes it.
 */
export function writeReset(p: Packet, ip: usize): u32 {
  const segment = p.ip + p.transport;
  return write(p.family, ip, addressesOf(p), tcp.ports(segment), tcp.acknowledgment(segment));
}

/** The same for the sender of a direction of a connection, which acknowledged so far last. */
export function writeResetTo(flow: Flow, ip: usize): u32 {
  return write(familyOf(flow), ip, flowAddresses(flow), flow.ports, flow.acked);
}

/** `addresses` and `ports` are those of a segment to answer. */
function write(family: u32, ip: usize, addresses: usize, ports: u32, sequence: u32): u32 {
  const size = family == 4 ? ipv4.IPV4_SIZE : ipv6.IPV6_SIZE;
  const length = size + tcp.TCP_SIZE;
  if (family == 4) {
    ipv4.writeIPv4(ip, 0, length, HOPS, TCP, load<u32>(addresses, 4), load<u32>(addresses));
  } else ipv6.writeIPv6(ip, 0, length, HOPS, TCP, addresses + 16, addresses);
  const at = ip + size;
  tcp.writeReset(at, rotl<u32>(ports, 16), sequence);
  const pseudo =
    family == 4
      ? pseudoSum(ipv4.source(ip), ipv4.destination(ip), TCP, tcp.TCP_SIZE)
      : pseudoSum6(ipv6.source(ip), TCP, tcp.TCP_SIZE);
  tcp.setChecksum(at, transportChecksum(pseudo + sum(at, tcp.TCP_SIZE)));
  return length;
}
