/**
 * Counts policed connections by account, so that no party can fill the table of flows. A party is a
 * peer, or this node. A connection opened from outside counts towards the account of the peer that
 * sent it. A connection opened here counts towards that of its source address, by hash, and towards
 * this node as a whole. Addresses of this node are compared with each other, and the node as a whole
 * with peers.
 *
 *   HELD      0        MAX_PEERS             MAX_ACCOUNTS
 *             +--------+---------------------+
 *             | peers  | source addresses    |   u32 each: policed connections
 *             +--------+---------------------+
 *   OPENING   +--------+
 *             | peers  |                         u32 each: half-open ones of these
 *             +--------+
 */
import { FLOW_SEED, FLOW_SET_BITS, HELD, MAX_ACCOUNTS, MAX_PEERS, OPENING } from "../memory";
import { THIS_NODE } from "../tables/peer";

/** The account of a connection opened here from the IPv4 or IPv6 address at `source`. */
export function accountHere(family: u32, source: usize): u32 {
  const SPREAD: u64 = 0x9e3779b97f4a7c15;
  let h = load<u64>(FLOW_SEED);
  h ^= family == 4 ? load<u32>(source) : (load<u64>(source) * SPREAD) ^ load<u64>(source, 8);
  return MAX_PEERS + <u32>((((h * SPREAD) >> 32) * (MAX_ACCOUNTS - MAX_PEERS)) >> 32);
}

/** Adds `n` policed connections, which may be negative. */
export function hold(account: u32, isHalfOpen: bool, n: i32): void {
  const party = partyOf(account);
  add(HELD, account, n);
  if (party != account) add(HELD, party, n);
  if (isHalfOpen) add(OPENING, party, n);
}

/**
 * Whether its party holds more half-open connections than 1/128 of the table. A party that gets replies
 * needs fewer.
 */
export function isFlooding(account: u32): bool {
  return load<u32>(OPENING + (partyOf(account) << 2)) > max<u32>(8, connections() >> 7);
}

/** Whether the first account holds more than `times` as many connections as the other. */
export function outweighs(account: u32, other: u32, times: u32): bool {
  return heldBy(account, other) > heldBy(other, account) * times;
}

/** Whether it holds more than 1/32 of the table's capacity. */
export function isHeavy(account: u32, other: u32): bool {
  return heldBy(account, other) > connections() >> 5;
}

function connections(): u32 {
  return 4 << load<u32>(FLOW_SET_BITS);
}

/**
 * The number to compare with the other account: the account's own within one party, otherwise that of
 * the whole party.
 */
function heldBy(account: u32, other: u32): u32 {
  const weighed = partyOf(account) == partyOf(other) ? account : partyOf(account);
  return load<u32>(HELD + (weighed << 2));
}

function partyOf(account: u32): u32 {
  return account < MAX_PEERS ? account : THIS_NODE;
}

function add(counters: usize, index: u32, n: i32): void {
  const counter = counters + (index << 2);
  store<i32>(counter, load<i32>(counter) + n);
}
