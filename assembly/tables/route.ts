/**
 * Finds the owners of addresses: the longest-prefix match for a vector of packets, whose lookups wait
 * for memory together.
 */
import {
  FOUND,
  KEY_PACKETS4,
  KEY_PACKETS6,
  KEYS4,
  KEYS6,
  LPM4_AT,
  LPM6_AT,
  SEARCHED,
} from "../memory";
import { CT_ESTABLISHED, Packet, packetAt } from "../packet";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { lookup4, lookup6, lookupMany } from "./lpm";
import { THIS_NODE } from "./peer";

/** Finds the owners of the destinations of packets `from`..`to`-1, at most MAX_VECTOR of them. */
export function lookupDestinations(from: u32, to: u32): void {
  lookupAll(from, to, false);
}

/** Finds the owners of their sources. */
export function lookupSources(from: u32, to: u32): void {
  lookupAll(from, to, true);
}

/** The owner of the address at `address`, alone. */
export function ownerOf(family: u32, address: usize): u32 {
  const tables = load<usize>(SEARCHED);
  if (family == 4) return lookup4(tables + LPM4_AT, load<u32>(address));
  return lookup6(tables + LPM6_AT, address);
}

/** Whether this node has the address, so that packets for it come here. */
export function isOwn(family: u32, address: usize): bool {
  return ownerOf(family, address) == THIS_NODE;
}

function lookupAll(from: u32, to: u32, ofSource: bool): void {
  let fours: u32 = 0;
  let sixes: u32 = 0;
  for (let i = from; i < to; i++) {
    const p = packetAt(i);
    if (p.verdict || p.ctState == CT_ESTABLISHED) continue;
    if (p.family == 4) {
      noteKey4(fours++, i, ofSource ? ipv4.source(p.ip) : ipv4.destination(p.ip));
    } else {
      noteKey6(sixes++, i, ofSource ? ipv6.source(p.ip) : ipv6.destination(p.ip));
    }
  }
  const tables = load<usize>(SEARCHED);
  lookupMany(tables + LPM4_AT, KEYS4, 4, fours, FOUND);
  takeFound(KEY_PACKETS4, fours, ofSource);
  lookupMany(tables + LPM6_AT, KEYS6, 16, sixes, FOUND);
  takeFound(KEY_PACKETS6, sixes, ofSource);
}

function noteKey4(k: u32, packet: u32, address: u32): void {
  store<u32>(KEYS4 + k * 4, address);
  store<u32>(KEY_PACKETS4 + k * 4, packet);
}

function noteKey6(k: u32, packet: u32, address: usize): void {
  v128.store(KEYS6 + k * 16, v128.load(address));
  store<u32>(KEY_PACKETS6 + k * 4, packet);
}

function takeFound(keyPackets: usize, count: u32, ofSource: bool): void {
  for (let k: u32 = 0; k < count; k++) {
    const p = packetAt(load<u32>(keyPackets + k * 4));
    const found = load<u32>(FOUND + k * 4);
    if (ofSource) p.peer = found;
    else p.owner = found;
  }
}
