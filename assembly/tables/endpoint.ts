/**
 * The underlay addresses that peers send from: a hash table with linear
 * probing, at most half full. A free place has peer NO_PEER.
 *
 *   +---------+------+
 *   | address | peer |   address in network order
 *   +---------+------+
 */
import { ENDPOINT_BITS, ENDPOINT_SIZE, ENDPOINTS_AT, SEARCHED } from "../memory";
import { NO_PEER } from "./peer";

const ADDRESS: usize = 0;
const PEER: usize = 4;
/** 2^32 divided by the golden ratio: spreads neighbouring addresses (Knuth, 6.4). */
const SPREAD: u32 = 0x9e3779b1;

export function isKnown(address: u32): bool {
  const table = load<usize>(SEARCHED) + ENDPOINTS_AT;
  let place = (address * SPREAD) >> (32 - ENDPOINT_BITS);
  while (true) {
    const entry = table + place * ENDPOINT_SIZE;
    if (load<u32>(entry, PEER) == NO_PEER) return false;
    if (load<u32>(entry, ADDRESS) == address) return true;
    place = (place + 1) & ((1 << ENDPOINT_BITS) - 1);
  }
}
