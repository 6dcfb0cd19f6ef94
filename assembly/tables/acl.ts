/**
 * The access lists: they find the rule that decides about a packet.
 *
 * The rules of a direction have one bit each, in the order of the search. Each value of each field has
 * the set of rules that the field does not exclude. A packet has five such sets, and matches the first
 * rule that is in all of them (bit vectors: Lakshman and Stiliadis, SIGCOMM 1998; with summaries:
 * Baboescu and Varghese, SIGCOMM 2001).
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
 *                  | by direction and bit: number and action of the rule  |
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
 *          | are stored          | words      | u64    | u64    |
 *          |                     | before     |        |        |
 *          +---------------------+------------+--------+--------+-----
 *
 * Addresses in the same prefixes of all rules are a class; class 0 has those in none. Of a set's 256
 * words of 64 rules only those that are not zero are stored. A set is identified by its offset in the
 * table, so the table can be copied whole; zeros are a table without rules.
 */
import { LPM_VALUES } from "./lpm";

export const ACL_RULE_BITS: u32 = 14;
/** Most rules of one direction. */
export const ACL_MAX_RULES: u32 = 1 << ACL_RULE_BITS;
/** Most classes of addresses. */
export const ACL_CLASSES: u32 = LPM_VALUES;

/** The header of a set; its stored words follow. */
@unmanaged
class RuleSet {
  /** Bit w: word w is stored. */
  words: u64;
  words64: u64;
  words128: u64;
  words192: u64;
  /** Four u16: the number of words stored before each of these four. */
  ranks: u64;
}

export const ACL_SET_RANKS: usize = offsetof<RuleSet>("ranks");
export const ACL_SET_WORDS: usize = offsetof<RuleSet>();

@unmanaged
class RuleRecord {
  /** Its number, with its action above RULE_ACTION_SHIFT. */
  says: u32;
  /** The bit at which the search continues if the rule does not decide. */
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
/** The rule counts, and decides nothing. */
export const RULE_COUNT: u32 = 3;

/** In place of a rule's bit: no rule. */
const NO_RULE: u32 = ACL_MAX_RULES;

export function isPoliced(acl: usize, direction: u32): bool {
  return load<u32>(acl + (direction << 2), ACL_POLICED) != 0;
}

// Offsets of the sets of each field, by the field's value.
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
 * The first rule from bit `from` on that a packet matches, or ACL_MAX_RULES. `near` and `far` are the
 * classes of the protected address and of the other one.
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

/** Stands for an unknown protocol: the protocol then excludes no rule. */
export const ANY_PROTOCOL: u32 = 256;

/** Whether a packet of these addresses and this protocol can match a rule, whatever its ports. */
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

/** `findRule` without one field: the rule that a packet would match but for this field. */
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

/** Number of the rule at a bit, with its action above RULE_ACTION_SHIFT. */
export function ruleAt(acl: usize, direction: u32, bit: u32): u32 {
  return load<u32>(placeOf(acl, direction, bit));
}

/** The bit at which the search continues after a rule that decides nothing. */
export function nextAfter(acl: usize, direction: u32, bit: u32): u32 {
  return load<u32>(placeOf(acl, direction, bit), ACL_RULE_NEXT);
}

function placeOf(acl: usize, direction: u32, bit: u32): usize {
  return acl + ACL_RULES + ((direction << ACL_RULE_BITS) + bit) * ACL_RULE_SIZE;
}

/** The first bit in all five sets. A summary word covers 4096 rules, a set's word 64. */
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

/** Word `w` of a quarter of a set, which is stored. `at`: address of the quarter's summary word. */
function wordOf(set: usize, at: usize, w: u64): u64 {
  const before = load<u64>(set + at) & (((<u64>1) << w) - 1);
  const rank = <usize>load<u16>(set + (at >> 2), ACL_SET_RANKS) + <usize>popcnt(before);
  return load<u64>(set + (rank << 3), ACL_SET_WORDS);
}
