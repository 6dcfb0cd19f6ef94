/**
 * The rules of translation, in the form that src/compile/nat.ts writes:
 *
 *   0          +----------------------------------------------------+
 *              | numbers of the rules below                         |
 *   INDEX      +----------------------------------------------------+
 *              | u16 by hash: 1 + a service, linear probing         |
 *   SERVICES   +----------------------------------------------------+
 *              | protocol, address and port; where its backends are |
 *   RULES      +----------------------------------------------------+
 *              | netmaps, then egress rules, then sources           |
 *   BACKENDS   +----------------------------------------------------+
 *              | address and port                                   |
 *   SLOTS      +----------------------------------------------------+
 *              | u16: 1 + a backend of the service, 0 for none      |
 *              +----------------------------------------------------+
 *
 * A table of zeros has no rules. Addresses of IPv4 take the first 4 bytes of 16, the rest is zero.
 */
import { NAT_AT, SEARCHED } from "../memory";

@unmanaged
class NatHeader {
  services: u32;
  netmaps: u32;
  egress: u32;
  sources: u32;
}

@unmanaged
export class Service {
  address: v128;
  /** Family, and protocol above it. */
  kind: u32;
  /** As in the packet. */
  port: u32;
  /** Its first backend and slot, and their numbers; the slots are a power of two. */
  backends: u32;
  backendCount: u32;
  slots: u32;
  slotCount: u32;
  /** 1: the client's address alone chooses the slot. */
  byClient: u32;
  /** 1: a published port, which is also for packets from the wire. */
  isPort: u32;
}

@unmanaged
export class Backend {
  address: v128;
  /** As in the packet. */
  port: u32;
  reserved: u32;
  reserved8: u64;
}

/** A netmap, an egress rule or a source rule: packets from some addresses to others. */
@unmanaged
export class NatRule {
  from: v128;
  fromMask: v128;
  to: v128;
  toMask: v128;
  /** The first outside address; for a netmap, the overlay's prefix. */
  address: v128;
  family: u32;
  /** Number of outside addresses, a power of two; 0: this node's own address. */
  addresses: u32;
  /** The range of outside ports, host order; 0 and 0: by the class of the inside port. */
  lowPort: u32;
  highPort: u32;
  /** For an egress rule: the gateway, a peer, THIS_NODE, or NO_PEER if none lives. */
  via: u32;
  reserved: u32;
  reserved8: u64;
}

export const NAT_SERVICES: usize = offsetof<NatHeader>("services");
export const NAT_NETMAPS: usize = offsetof<NatHeader>("netmaps");
export const NAT_EGRESS: usize = offsetof<NatHeader>("egress");
export const NAT_SOURCES: usize = offsetof<NatHeader>("sources");

export const NAT_MAX_SERVICES: u32 = 4096;
export const NAT_INDEX_BITS: u32 = 14;
export const NAT_MAX_RULES: u32 = 1024;
export const NAT_MAX_BACKENDS: u32 = 1 << 17;
export const NAT_MAX_SLOTS: u32 = 1 << 22;

export const NAT_INDEX: u32 = 64;
export const NAT_SERVICE: u32 = NAT_INDEX + (2 << NAT_INDEX_BITS);
export const NAT_SERVICE_SIZE: u32 = offsetof<Service>();
export const NAT_RULE: u32 = NAT_SERVICE + NAT_MAX_SERVICES * NAT_SERVICE_SIZE;
export const NAT_RULE_SIZE: u32 = offsetof<NatRule>();
export const NAT_BACKEND: u32 = NAT_RULE + NAT_MAX_RULES * NAT_RULE_SIZE;
export const NAT_BACKEND_SIZE: u32 = offsetof<Backend>();
export const NAT_SLOT: u32 = NAT_BACKEND + NAT_MAX_BACKENDS * NAT_BACKEND_SIZE;
export const NAT_SIZE: u32 = NAT_SLOT + NAT_MAX_SLOTS * 2;

export const SERVICE_KIND: usize = offsetof<Service>("kind");
export const SERVICE_PORT: usize = offsetof<Service>("port");
export const SERVICE_BACKENDS: usize = offsetof<Service>("backends");
export const SERVICE_BACKEND_COUNT: usize = offsetof<Service>("backendCount");
export const SERVICE_SLOTS: usize = offsetof<Service>("slots");
export const SERVICE_SLOT_COUNT: usize = offsetof<Service>("slotCount");
export const SERVICE_BY_CLIENT: usize = offsetof<Service>("byClient");
export const SERVICE_IS_PORT: usize = offsetof<Service>("isPort");
export const BACKEND_PORT: usize = offsetof<Backend>("port");
export const NAT_RULE_FROM_MASK: usize = offsetof<NatRule>("fromMask");
export const NAT_RULE_TO: usize = offsetof<NatRule>("to");
export const NAT_RULE_TO_MASK: usize = offsetof<NatRule>("toMask");
export const NAT_RULE_ADDRESS: usize = offsetof<NatRule>("address");
export const NAT_RULE_FAMILY: usize = offsetof<NatRule>("family");
export const NAT_RULE_ADDRESSES: usize = offsetof<NatRule>("addresses");
export const NAT_RULE_LOW_PORT: usize = offsetof<NatRule>("lowPort");
export const NAT_RULE_HIGH_PORT: usize = offsetof<NatRule>("highPort");
export const NAT_RULE_VIA: usize = offsetof<NatRule>("via");

const NO_SERVICE = changetype<Service>(0);
const NO_BACKEND = changetype<Backend>(0);
const NO_RULE = changetype<NatRule>(0);

function tableAt(): usize {
  return load<usize>(SEARCHED) + NAT_AT;
}

/** Whether there is any rule. */
export function hasRules(): bool {
  return v128.any_true(v128.load(tableAt()));
}

/** An address as the rules have it: 16 bytes, those of IPv4 followed by zeros. */
export function wide(family: u32, address: usize): v128 {
  return family == 4 ? v128.load32_zero(address) : v128.load(address);
}

// --------------------------------------------------------------- services

/** The service at this address and port (network order); null if there is none. */
export function findService(family: u32, protocol: u32, address: v128, port: u32): Service {
  const table = tableAt();
  if (load<u32>(table, NAT_SERVICES) == 0) return NO_SERVICE;
  const kind = family | (protocol << 8);
  let place = serviceHash(kind, address, port);
  while (true) {
    const entry: u32 = load<u16>(table + NAT_INDEX + (place << 1));
    if (entry == 0) return NO_SERVICE;
    const service = changetype<Service>(table + NAT_SERVICE + (entry - 1) * NAT_SERVICE_SIZE);
    if (service.kind == kind && service.port == port && isSame(service.address, address))
      return service;
    place = (place + 1) & INDEX_MASK;
  }
}

const INDEX_MASK: u32 = (1 << NAT_INDEX_BITS) - 1;
/** 2^32 divided by the golden ratio: spreads neighbouring addresses (Knuth, 6.4). */
const SPREAD: u32 = 0x9e3779b1;

/** The same as `serviceHash` of src/compile/nat.ts. */
function serviceHash(kind: u32, address: v128, port: u32): u32 {
  let h = (kind * SPREAD) ^ port;
  h = (h ^ <u32>i32x4.extract_lane(address, 0)) * SPREAD;
  h = (h ^ <u32>i32x4.extract_lane(address, 1)) * SPREAD;
  h = (h ^ <u32>i32x4.extract_lane(address, 2)) * SPREAD;
  h = (h ^ <u32>i32x4.extract_lane(address, 3)) * SPREAD;
  return h >> (32 - NAT_INDEX_BITS);
}

/**
 * The backend of a client's slot; null if the service has none for new flows. `client` is 16 bytes and,
 * without affinity, its port. No secret: a client keeps its backend when the agent restarts.
 */
export function chooseBackend(service: Service, client: v128, port: u32): Backend {
  if (service.slotCount == 0) return NO_BACKEND;
  const slot = slotHash(client, service.byClient ? 0 : port) & (service.slotCount - 1);
  const table = tableAt();
  const choice: u32 = load<u16>(table + NAT_SLOT + ((service.slots + slot) << 1));
  return choice == 0 ? NO_BACKEND : backendAt(service, choice - 1);
}

/** Mixes all bits into the low ones (MurmurHash3, Appleby 2011). */
function slotHash(client: v128, port: u32): u32 {
  let h = <u64>i64x2.extract_lane(client, 0) * 0x9e3779b97f4a7c15;
  h = (h ^ (h >> 32) ^ <u64>i64x2.extract_lane(client, 1)) * 0x9e3779b97f4a7c15;
  h = (h ^ (h >> 32) ^ port) * 0xff51afd7ed558ccd;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53;
  return <u32>(h >> 32);
}

/** Whether it is one of the service's backends, also one that gets no new flows. */
export function hasBackend(service: Service, address: v128, port: u32): bool {
  for (let i: u32 = 0; i < service.backendCount; i++) {
    const backend = backendAt(service, i);
    if (backend.port == port && isSame(backend.address, address)) return true;
  }
  return false;
}

function backendAt(service: Service, i: u32): Backend {
  return changetype<Backend>(tableAt() + NAT_BACKEND + (service.backends + i) * NAT_BACKEND_SIZE);
}

// ------------------------------------------------------------------ rules

/** The netmap whose inside prefix has this address. */
export function netmapOfInside(family: u32, address: v128): NatRule {
  const count = load<u32>(tableAt(), NAT_NETMAPS);
  for (let i: u32 = 0; i < count; i++) {
    const rule = ruleAt(i);
    if (rule.family == family && isIn(address, rule.from, rule.fromMask)) return rule;
  }
  return NO_RULE;
}

/** The netmap whose overlay prefix has this address. */
export function netmapOfOverlay(family: u32, address: v128): NatRule {
  const count = load<u32>(tableAt(), NAT_NETMAPS);
  for (let i: u32 = 0; i < count; i++) {
    const rule = ruleAt(i);
    if (rule.family == family && isIn(address, rule.address, rule.fromMask)) return rule;
  }
  return NO_RULE;
}

/** The address with the same host bits in the overlay's prefix, and back. */
export function toOverlay(rule: NatRule, address: v128): v128 {
  return v128.bitselect(rule.address, address, rule.fromMask);
}
export function toInside(rule: NatRule, address: v128): v128 {
  return v128.bitselect(rule.from, address, rule.fromMask);
}

/** The first egress rule for these ends. */
export function findEgress(family: u32, from: v128, to: v128): NatRule {
  const table = tableAt();
  const first = load<u32>(table, NAT_NETMAPS);
  return findRuleFor(first, load<u32>(table, NAT_EGRESS), family, from, to);
}

/** The first source rule for these ends. */
export function findSource(family: u32, from: v128, to: v128): NatRule {
  const table = tableAt();
  const first = load<u32>(table, NAT_NETMAPS) + load<u32>(table, NAT_EGRESS);
  return findRuleFor(first, load<u32>(table, NAT_SOURCES), family, from, to);
}

/** An outside address of the rule's pool: its first one, with low bits that depend on the source alone. */
export function inPool(family: u32, source: v128, rule: NatRule): v128 {
  const last: u32 = family == 4 ? i32x4.extract_lane(source, 0) : i32x4.extract_lane(source, 3);
  const low = bswap<u32>(((bswap<u32>(last) * SPREAD) >> 16) & (rule.addresses - 1));
  const zero = i64x2.splat(0);
  const bits = family == 4 ? i32x4.replace_lane(zero, 0, low) : i32x4.replace_lane(zero, 3, low);
  return v128.or(rule.address, bits);
}

function findRuleFor(first: u32, count: u32, family: u32, from: v128, to: v128): NatRule {
  for (let i = first; i < first + count; i++) {
    const rule = ruleAt(i);
    if (rule.family != family) continue;
    if (isIn(from, rule.from, rule.fromMask) && isIn(to, rule.to, rule.toMask)) return rule;
  }
  return NO_RULE;
}

function ruleAt(i: u32): NatRule {
  return changetype<NatRule>(tableAt() + NAT_RULE + i * NAT_RULE_SIZE);
}

function isIn(address: v128, prefix: v128, mask: v128): bool {
  return isSame(v128.and(address, mask), prefix);
}

export function isSame(a: v128, b: v128): bool {
  return !v128.any_true(v128.xor(a, b));
}
