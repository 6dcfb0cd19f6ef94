/**
 * The flows: what was decided for a connection in one direction, so that its
 * next packets need no lookup and find their headers ready. Two records make a
 * pair; a newcomer takes the first place of its pair, who was there moves to
 * the second, who was there is forgotten. Forgetting costs a lookup, no more.
 *
 *   0      4       8            12     16                   38      40          72     76       128
 *   +------+-------+------------+------+--------------------+-------+-----------+------+--------+
 *   | kind | ports | generation | peer | VXLAN and Ethernet | owner | addresses | rule | unused |
 *   +------+-------+------------+------+--------------------+-------+-----------+------+--------+
 *
 * A flow decided under an earlier generation of the tables is as good as none.
 */
import { ENCAP_SIZE, FLOW_BITS, FLOW_SIZE, FLOWS, GENERATION_AT, SEARCHED } from "../memory";
import { Packet } from "../packet";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { TCP, UDP } from "../wire/protocol";
import { copyHeaders, makeHeaders } from "./peer";
import { countRule } from "./rule";

const KIND: usize = 0;
const PORTS: usize = 4;
const GENERATION: usize = 8;
const PEER: usize = 12;
const HEADERS: usize = 16;
/** Whose the destination is. */
const OWNER: usize = 38;
const ADDRESSES: usize = 40;
/** The rule that let it pass, 0 if none had to. */
const RULE: usize = 72;

/** Takes what is known of the packet's flow, if anything is: its peer, its owner, its headers. */
export function recall(p: Packet, direction: u32): void {
  const flow = find(p, direction);
  if (flow == 0) return;
  p.flow = flow;
  p.peer = load<u32>(flow, PEER);
  p.owner = load<u16>(flow, OWNER);
  p.rule = load<u32>(flow, RULE);
  if (p.rule) countRule(p.rule, p.length);
}

/**
 * Keeps what was decided for this packet for those of its flow that follow. Who
 * is displaced by it must not be pointed at any more.
 */
export function remember(p: Packet, direction: u32): void {
  if (p.flow) return;
  // One before it in the same vector may have been of its flow.
  p.flow = find(p, direction);
  if (p.flow) return;

  const ports = portsOf(p);
  const addresses = addressesOf(p);
  const flow = placeOf(p, ports, addresses);
  if (isCurrent(flow)) memory.copy(flow ^ FLOW_SIZE, flow, FLOW_SIZE);
  store<u32>(flow, kindOf(p, direction), KIND);
  store<u32>(flow, ports, PORTS);
  store<u32>(flow, generation(), GENERATION);
  store<u32>(flow, p.peer, PEER);
  store<u16>(flow, <u16>p.owner, OWNER);
  store<u32>(flow, p.rule, RULE);
  memory.copy(flow + ADDRESSES, addresses, p.family == 4 ? 8 : 32);
  makeHeaders(p, flow + HEADERS);
  p.flow = flow;
}

/** Puts the VXLAN and Ethernet headers before the IP header at `ip`; gives where they begin. */
export function prependHeaders(p: Packet, ip: usize): usize {
  const start = ip - ENCAP_SIZE;
  if (p.flow) copyHeaders(p.flow + HEADERS, start);
  else makeHeaders(p, start);
  return start;
}

function find(p: Packet, direction: u32): usize {
  const kind = kindOf(p, direction);
  const ports = portsOf(p);
  const addresses = addressesOf(p);
  const first = placeOf(p, ports, addresses);
  if (isOf(first, kind, ports, addresses)) return first;
  const second = first ^ FLOW_SIZE;
  return isOf(second, kind, ports, addresses) ? second : 0;
}

function isOf(flow: usize, kind: u32, ports: u32, addresses: usize): bool {
  if (load<u32>(flow, KIND) != kind || load<u32>(flow, PORTS) != ports) return false;
  if (!isCurrent(flow)) return false;
  if ((kind & 0xff) == 4) return load<u64>(flow, ADDRESSES) == load<u64>(addresses);
  const sources = v128.xor(v128.load(flow, ADDRESSES), v128.load(addresses));
  const destinations = v128.xor(v128.load(flow, ADDRESSES + 16), v128.load(addresses, 16));
  return !v128.any_true(v128.or(sources, destinations));
}

function isCurrent(flow: usize): bool {
  return load<u32>(flow, GENERATION) == generation();
}

function generation(): u32 {
  return load<u32>(load<usize>(SEARCHED) + GENERATION_AT);
}

function kindOf(p: Packet, direction: u32): u32 {
  return p.family | (p.protocol << 8) | (direction << 16);
}

/** Both ports; 0 for fragments and for protocols that have none. */
function portsOf(p: Packet): u32 {
  const hasPorts = p.protocol == TCP || p.protocol == UDP;
  const isWhole = (p.fragment & (ipv4.MORE_FRAGMENTS | ipv4.OFFSET_MASK)) == 0;
  return hasPorts && isWhole ? load<u32>(p.ip + p.transport) : 0;
}

/** Source and destination stand side by side in both families. */
function addressesOf(p: Packet): usize {
  return p.family == 4 ? ipv4.addresses(p.ip) : ipv6.source(p.ip);
}

/** Multiplying by an odd number spreads the low bits over the high ones, which choose the place. */
function placeOf(p: Packet, ports: u32, addresses: usize): usize {
  const SPREAD: u64 = 0x9e3779b97f4a7c15;
  let h = load<u64>(addresses) ^ ((<u64>ports) << 16);
  if (p.family == 6) {
    h = (h ^ rotl<u64>(load<u64>(addresses, 8), 23)) * SPREAD;
    h ^= load<u64>(addresses, 16) ^ rotl<u64>(load<u64>(addresses, 24), 41);
  }
  return FLOWS + <u32>((h * SPREAD) >> (64 - FLOW_BITS)) * FLOW_SIZE;
}
