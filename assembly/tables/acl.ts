/**
 * The access lists: which rule decides about a packet.
 *
 * The rules of a direction have one bit each, in the order in which they are
 * tried. For every value of every field there is the set of the rules that this
 * field alone would not keep from matching. A packet has five such sets; the
 * first rule that is in all of them is the one it meets (bit vectors: Lakshman
 * and Stiliadis, SIGCOMM 1998; summed up: Baboescu and Varghese, SIGCOMM 2001).
 *
 *   0              +------------------------------------------------------+
 *                  | the empty set                                        |
 *   ACL_POLICED    +------------------------------------------------------+
 *                  | by direction: are there rules at all?                |
 *   ACL_PROTOCOLS  +------------------------------------------------------+
 *                  | by direction and protocol: a set                     |
 *   ACL_PORTS      +------------------------------------------------------+
 *                  | by direction, source or destination, port: a set     |
 *   ACL_ADDRESSES  +------------------------------------------------------+
 *                  | by direction, near or far end, class: a set          |
 *   ACL_RULES      +------------------------------------------------------+
 *                  | by direction and bit: what the rule says             |
 *   ACL_LPM4       +------------------------------------------------------+
 *                  | IPv4 address -> class                                |
 *   ACL_LPM6       +------------------------------------------------------+
 *                  | IPv6 address -> class                                |
 *   ACL_SETS       +------------------------------------------------------+
 *                  | the sets                                             |
 *                  +------------------------------------------------------+
 *
 *   set:   0                     32           40
 *          +---------------------+------------+--------+--------+-----
 *          | which of 256 words  | 4 x u16:   | word   | word   | ...
 *          | are there           | words      | u64    | u64    |
 *          |                     | before     |        |        |
 *          +---------------------+------------+--------+--------+-----
 *
 * Addresses that lie in the same prefixes of all rules are a class; class 0 are
 * those in none. Of a set's 256 words of 64 rules only those that are not zero
 * are kept. Sets are told by where they begin in the table, so it can be copied
 * whole; zeros are a table without rules.
 */
import { LPM_VALUES } from "./lpm";

export const ACL_RULE_BITS: u32 = 14;
/** Rules of one direction at most. */
export const ACL_MAX_RULES: u32 = 1 << ACL_RULE_BITS;
/** Ways in which addresses can lie in the prefixes of the rules. */
export const ACL_CLASSES: u32 = LPM_VALUES;

/** How a set begins; the words that are there follow. */
@unmanaged
class RuleSet {
  /** Bit w says that word w is there. */
  words: u64;
  words64: u64;
  words128: u64;
  words192: u64;
  /** Four u16: how many words are there before each of these four. */
  ranks: u64;
}

export const ACL_SET_RANKS: usize = offsetof<RuleSet>("ranks");
export const ACL_SET_WORDS: usize = offsetof<RuleSet>();

@unmanaged
class RuleRecord {
  /** Its number, and above RULE_ACTION_SHIFT its action. */
  says: u32;
  /** The bit at which the search goes on if the rule does not end it. */
  next: u32;
}

export const ACL_RULE_NEXT: usize = offsetof<RuleRecord>("next");
export const ACL_RULE_SIZE: u32 = offsetof<RuleRecord>();

export const ACL_POLICED: u32 = 64;
export const ACL_PROTOCOLS: u32 = ACL_POLICED + 64;
export const ACL_PORTS: u32 = ACL_PROTOCOLS + 2 * 256 * 4;
export const ACL_ADDRESSES: u32 = ACL_PORTS + 2 * 2 * 65536 * 4;
export const ACL_RULES: u32 = ACL_ADDRESSES + 2 * 2 * ACL_CLASSES * 4;
export const ACL_LPM4: u32 = ACL_RULES + 2 * ACL_MAX_RULES * ACL_RULE_SIZE;
export const ACL_LPM4_SIZE: u32 = 8 << 20;
export const ACL_LPM6: u32 = ACL_LPM4 + ACL_LPM4_SIZE;
export const ACL_LPM6_SIZE: u32 = 14 << 20;
export const ACL_SETS: u32 = ACL_LPM6 + ACL_LPM6_SIZE;
export const ACL_SETS_SIZE: u32 = 64 << 20;
export const ACL_SIZE: u32 = ACL_SETS + ACL_SETS_SIZE;

export const RULE_ACTION_SHIFT: u32 = 24;
export const RULE_NUMBER: u32 = (1 << RULE_ACTION_SHIFT) - 1;
export const RULE_ALLOW: u32 = 1;
export const RULE_DENY: u32 = 2;
/** Counts, and decides nothing. */
export const RULE_COUNT: u32 = 3;

/** No rule, where a rule's bit is expected. */
const NO_RULE: u32 = ACL_MAX_RULES;

export function isPoliced(acl: usize, direction: u32): bool {
  return load<u32>(acl + (direction << 2), ACL_POLICED) != 0;
}

// Where the set of each field is, by the field's value.
const END_SIZE: u32 = ACL_CLASSES << 2;
const PORTS_SIZE: u32 = 65536 << 2;

function nearSet(acl: usize, direction: u32, near: u32): usize {
  return acl + load<u32>(acl + direction * 2 * END_SIZE + (near << 2), ACL_ADDRESSES);
}

function farSet(acl: usize, direction: u32, far: u32): usize {
  return acl + load<u32>(acl + direction * 2 * END_SIZE + (far << 2), ACL_ADDRESSES + END_SIZE);
}

function protocolSet(acl: usize, direction: u32, protocol: u32): usize {
  return acl + load<u32>(acl + (((direction << 8) + protocol) << 2), ACL_PROTOCOLS);
}

function sourcePortSet(acl: usize, direction: u32, port: u32): usize {
  return acl + load<u32>(acl + direction * 2 * PORTS_SIZE + (port << 2), ACL_PORTS);
}

function destinationPortSet(acl: usize, direction: u32, port: u32): usize {
  return acl + load<u32>(acl + direction * 2 * PORTS_SIZE + (port << 2), ACL_PORTS + PORTS_SIZE);
}

/**
 * The rule from bit `from` on that a packet meets, or ACL_MAX_RULES. `near` and
 * `far` are the classes of the address that is protected and of the other one.
 */
export function findRule(
  acl: usize,
  direction: u32,
  near: u32,
  far: u32,
  protocol: u32,
  sourcePort: u32,
  destinationPort: u32,
  from: u32,
): u32 {
  return firstInAll(
    nearSet(acl, direction, near),
    farSet(acl, direction, far),
    protocolSet(acl, direction, protocol),
    sourcePortSet(acl, direction, sourcePort),
    destinationPortSet(acl, direction, destinationPort),
    from,
  );
}

/** Stands for an unknown protocol, where a rule about any protocol could match. */
export const ANY_PROTOCOL: u32 = 256;

/** Is there a rule that a packet of these addresses and this protocol could meet, whatever its ports? */
export function concernsAny(acl: usize, direction: u32, near: u32, far: u32, protocol: u32): bool {
  const a = nearSet(acl, direction, near);
  const b = farSet(acl, direction, far);
  // Intersecting with the same set twice changes nothing.
  const c = protocol == ANY_PROTOCOL ? a : protocolSet(acl, direction, protocol);
  return firstInAll(a, b, c, c, c, 0) != NO_RULE;
}

/** The fields, by number. */
const NEAR: u32 = 0;
const FAR: u32 = 1;
const PROTOCOL: u32 = 2;
const SOURCE_PORT: u32 = 3;
const DESTINATION_PORT: u32 = 4;

/** The same with one field left out: the rule that a packet would meet were it not for this field. */
export function findRuleBut(
  field: u32,
  acl: usize,
  direction: u32,
  near: u32,
  far: u32,
  protocol: u32,
  sourcePort: u32,
  destinationPort: u32,
  from: u32,
): u32 {
  const a = nearSet(acl, direction, near);
  const b = farSet(acl, direction, far);
  const c = protocolSet(acl, direction, protocol);
  const d = sourcePortSet(acl, direction, sourcePort);
  const e = destinationPortSet(acl, direction, destinationPort);
  return firstInAll(
    field == NEAR ? b : a,
    field == FAR ? a : b,
    field == PROTOCOL ? a : c,
    field == SOURCE_PORT ? a : d,
    field == DESTINATION_PORT ? a : e,
    from,
  );
}

/** What the rule at a bit says: its number, and its action above RULE_ACTION_SHIFT. */
export function ruleAt(acl: usize, direction: u32, bit: u32): u32 {
  return load<u32>(placeOf(acl, direction, bit));
}

/** Where the search goes on after a rule that decides nothing. */
export function nextAfter(acl: usize, direction: u32, bit: u32): u32 {
  return load<u32>(placeOf(acl, direction, bit), ACL_RULE_NEXT);
}

function placeOf(acl: usize, direction: u32, bit: u32): usize {
  return acl + ACL_RULES + ((direction << ACL_RULE_BITS) + bit) * ACL_RULE_SIZE;
}

/** 4096 rules have one word of each summary, 64 of them one word of each set. */
function firstInAll(a: usize, b: usize, c: usize, d: usize, e: usize, from: u32): u32 {
  let mask: u64 = ~(<u64>0) << ((from >> 6) & 63);
  for (let quarter = from >> 12; quarter < 4; quarter++, mask = ~0) {
    const at: usize = quarter << 3;
    let words = mask & load<u64>(a + at) & load<u64>(b + at);
    words &= load<u64>(c + at) & load<u64>(d + at) & load<u64>(e + at);
    for (; words; words &= words - 1) {
      const w = ctz(words);
      const bits = <u32>(((<u64>quarter) << 12) + (w << 6));
      let rules = wordOf(a, at, w) & wordOf(b, at, w) & wordOf(c, at, w);
      rules &= wordOf(d, at, w) & wordOf(e, at, w);
      if (bits < from) rules &= ~(<u64>0) << (from & 63);
      if (rules) return bits + <u32>ctz(rules);
    }
  }
  return NO_RULE;
}

/** Word `w` of a quarter of a set, which is there. `at` is where the quarter's word of the summary lies. */
function wordOf(set: usize, at: usize, w: u64): u64 {
  const before = load<u64>(set + at) & (((<u64>1) << w) - 1);
  const rank = <usize>load<u16>(set + (at >> 2), ACL_SET_RANKS) + <usize>popcnt(before);
  return load<u64>(set + (rank << 3), ACL_SET_WORDS);
}
