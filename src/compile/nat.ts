/** The table of translations for the core: `assembly/tables/nat.ts` draws the layout. */
import { type Address, bits, formatEndpoint, type Prefix, toBytes } from "../address.js";
import { WeftError } from "../error.js";
import type { BackendRule, NatRules, ServiceRule } from "./nat-rules.js";
import { rendezvous } from "./rendezvous.js";

/** Offsets and sizes in the core's table. */
export interface NatLayout {
  readonly NAT_SERVICES: number;
  readonly NAT_NETMAPS: number;
  readonly NAT_EGRESS: number;
  readonly NAT_SOURCES: number;
  readonly NAT_MAX_SERVICES: number;
  readonly NAT_INDEX_BITS: number;
  readonly NAT_MAX_RULES: number;
  readonly NAT_MAX_BACKENDS: number;
  readonly NAT_MAX_SLOTS: number;
  readonly NAT_INDEX: number;
  readonly NAT_SERVICE: number;
  readonly NAT_SERVICE_SIZE: number;
  readonly NAT_RULE: number;
  readonly NAT_RULE_SIZE: number;
  readonly NAT_BACKEND: number;
  readonly NAT_BACKEND_SIZE: number;
  readonly NAT_SLOT: number;
  readonly SERVICE_KIND: number;
  readonly SERVICE_PORT: number;
  readonly SERVICE_BACKENDS: number;
  readonly SERVICE_BACKEND_COUNT: number;
  readonly SERVICE_SLOTS: number;
  readonly SERVICE_SLOT_COUNT: number;
  readonly SERVICE_BY_CLIENT: number;
  readonly SERVICE_IS_PORT: number;
  readonly BACKEND_PORT: number;
  readonly NAT_RULE_FROM_MASK: number;
  readonly NAT_RULE_TO: number;
  readonly NAT_RULE_TO_MASK: number;
  readonly NAT_RULE_ADDRESS: number;
  readonly NAT_RULE_FAMILY: number;
  readonly NAT_RULE_ADDRESSES: number;
  readonly NAT_RULE_LOW_PORT: number;
  readonly NAT_RULE_HIGH_PORT: number;
  readonly NAT_RULE_VIA: number;
}

/** A part of the table, at an offset from its beginning. */
export interface NatPart {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Slots of a service with several backends. */
export const SLOTS = 4096;
/** Most outside addresses of a rule that one inside address may get. */
const MAX_POOL = 65_536;

const HEADER_SIZE = 16;
const NO_PEER = 0;
const THIS_NODE = 1;

/** Builds the table. It keeps the slots of services, which are costly, from one table to the next. */
export class NatCompiler {
  readonly #layout: NatLayout;
  #slots = new Map<string, Uint16Array>();

  constructor(layout: NatLayout) {
    this.#layout = layout;
  }

  /** @throws WeftError NAT_FULL when the rules do not fit; they are checked before anything is built */
  check({ services, netmaps, egress, sources }: NatRules): void {
    const { NAT_MAX_SERVICES, NAT_MAX_RULES, NAT_MAX_BACKENDS, NAT_MAX_SLOTS } = this.#layout;
    const backends = services.reduce((sum, service) => sum + service.backends.length, 0);
    const slots = services.reduce((sum, service) => sum + slotCount(active(service)), 0);
    refuseMore("services and ports", services.length, NAT_MAX_SERVICES);
    refuseMore("backends", backends, NAT_MAX_BACKENDS);
    refuseMore("services with several backends", slots / SLOTS, NAT_MAX_SLOTS / SLOTS);
    const rules = netmaps.length + egress.length + sources.length;
    refuseMore("rules of netmap, egress, snat and masquerade", rules, NAT_MAX_RULES);
  }

  /** @param placeOf the place of a peer in the table of peers */
  build(rules: NatRules, placeOf: (peer: string) => number | undefined): NatPart[] {
    const l = this.#layout;
    const header = new Uint32Array(HEADER_SIZE / 4);
    header[l.NAT_SERVICES / 4] = rules.services.length;
    header[l.NAT_NETMAPS / 4] = rules.netmaps.length;
    header[l.NAT_EGRESS / 4] = rules.egress.length;
    header[l.NAT_SOURCES / 4] = rules.sources.length;
    return [
      { at: 0, bytes: new Uint8Array(header.buffer) },
      { at: l.NAT_INDEX, bytes: this.#index(rules.services) },
      ...this.#services(rules.services),
      { at: l.NAT_RULE, bytes: this.#rules(rules, placeOf) },
    ];
  }

  #index(services: readonly ServiceRule[]): Uint8Array {
    const places = new Uint16Array(1 << this.#layout.NAT_INDEX_BITS);
    services.forEach((service, i) => {
      let place = serviceHash(service) >>> (32 - this.#layout.NAT_INDEX_BITS);
      while (places[place] !== 0) place = (place + 1) % places.length;
      places[place] = i + 1;
    });
    return new Uint8Array(places.buffer);
  }

  #services(services: readonly ServiceRule[]): NatPart[] {
    const l = this.#layout;
    const records = new Uint8Array(services.length * l.NAT_SERVICE_SIZE);
    const view = new DataView(records.buffer);
    const backends: Uint8Array[] = [];
    const slots: Uint16Array[] = [];
    let [backendsAt, slotsAt] = [0, 0];
    const kept = new Map<string, Uint16Array>();
    services.forEach((service, i) => {
      const at = i * l.NAT_SERVICE_SIZE;
      const own = this.#slotsOf(service, kept);
      records.set(toBytes(service.address), at);
      view.setUint32(at + l.SERVICE_KIND, service.address.family | (service.protocol << 8), true);
      view.setUint32(at + l.SERVICE_PORT, networkPort(service.port), true);
      view.setUint32(at + l.SERVICE_BACKENDS, backendsAt, true);
      view.setUint32(at + l.SERVICE_BACKEND_COUNT, service.backends.length, true);
      view.setUint32(at + l.SERVICE_SLOTS, slotsAt, true);
      view.setUint32(at + l.SERVICE_SLOT_COUNT, own.length, true);
      view.setUint32(at + l.SERVICE_BY_CLIENT, service.byClient ? 1 : 0, true);
      view.setUint32(at + l.SERVICE_IS_PORT, service.isPort ? 1 : 0, true);
      backends.push(this.#backends(service.backends));
      slots.push(own);
      backendsAt += service.backends.length;
      slotsAt += own.length;
    });
    this.#slots = kept;
    return [
      { at: l.NAT_SERVICE, bytes: records },
      { at: l.NAT_BACKEND, bytes: Buffer.concat(backends) },
      { at: l.NAT_SLOT, bytes: Buffer.concat(slots.map((one) => new Uint8Array(one.buffer))) },
    ];
  }

  #backends(backends: readonly BackendRule[]): Uint8Array {
    const { NAT_BACKEND_SIZE, BACKEND_PORT } = this.#layout;
    const bytes = new Uint8Array(backends.length * NAT_BACKEND_SIZE);
    const view = new DataView(bytes.buffer);
    backends.forEach(({ address, port }, i) => {
      bytes.set(toBytes(address), i * NAT_BACKEND_SIZE);
      view.setUint32(i * NAT_BACKEND_SIZE + BACKEND_PORT, networkPort(port), true);
    });
    return bytes;
  }

  /** The slots, each 1 + a backend. */
  #slotsOf(service: ServiceRule, kept: Map<string, Uint16Array>): Uint16Array {
    const chosen = active(service);
    if (slotCount(chosen) < SLOTS) return Uint16Array.from(chosen, (i) => i + 1);
    const names = chosen.map((i) => formatEndpoint(service.backends[i]!));
    const weights = chosen.map((i) => service.backends[i]!.weight);
    const key = JSON.stringify([chosen, names, weights]);
    const slots =
      this.#slots.get(key) ??
      rendezvous(names, weights, SLOTS).map((winner) => chosen[winner]! + 1);
    kept.set(key, slots);
    return slots;
  }

  #rules(
    { netmaps, egress, sources }: NatRules,
    placeOf: (peer: string) => number | undefined,
  ): Uint8Array {
    const l = this.#layout;
    const bytes = new Uint8Array(
      (netmaps.length + egress.length + sources.length) * l.NAT_RULE_SIZE,
    );
    const view = new DataView(bytes.buffer);
    let at = 0;
    const next = (from: Prefix, to?: Prefix) => {
      const rule = at;
      at += l.NAT_RULE_SIZE;
      writePrefix(bytes, rule, rule + l.NAT_RULE_FROM_MASK, from);
      if (to) writePrefix(bytes, rule + l.NAT_RULE_TO, rule + l.NAT_RULE_TO_MASK, to);
      view.setUint32(rule + l.NAT_RULE_FAMILY, from.family, true);
      return rule;
    };
    for (const { inside, overlay } of netmaps) {
      bytes.set(toBytes(addressOf(overlay)), next(inside) + l.NAT_RULE_ADDRESS);
    }
    for (const { from, to, via, address } of egress) {
      const rule = next(from, to);
      bytes.set(toBytes(address), rule + l.NAT_RULE_ADDRESS);
      view.setUint32(rule + l.NAT_RULE_ADDRESSES, 1, true);
      const gateway = via && ("self" in via ? THIS_NODE : placeOf(via.peer));
      view.setUint32(rule + l.NAT_RULE_VIA, gateway ?? NO_PEER, true);
    }
    for (const { from, to, addresses, ports } of sources) {
      const rule = next(from, to);
      if (addresses) {
        bytes.set(toBytes(addressOf(addresses)), rule + l.NAT_RULE_ADDRESS);
        const size = 2 ** (bits(addresses.family) - addresses.length);
        view.setUint32(rule + l.NAT_RULE_ADDRESSES, Math.min(size, MAX_POOL), true);
      }
      view.setUint32(rule + l.NAT_RULE_LOW_PORT, ports?.low ?? 0, true);
      view.setUint32(rule + l.NAT_RULE_HIGH_PORT, ports?.high ?? 0, true);
    }
    return bytes;
  }
}

const active = ({ backends }: ServiceRule): number[] =>
  backends.flatMap(({ isActive }, i) => (isActive ? [i] : []));

const slotCount = (backends: readonly number[]): number =>
  backends.length > 1 ? SLOTS : backends.length;

function refuseMore(what: string, count: number, most: number): void {
  if (count <= most) return;
  throw new WeftError("NAT_FULL", `there are ${count} ${what}`, `the core holds ${most} at most`);
}

const addressOf = ({ family, base }: Prefix): Address => ({ family, value: base });

/** As the core loads it from a packet. */
const networkPort = (port: number): number => ((port & 0xff) << 8) | (port >>> 8);

function writePrefix(bytes: Uint8Array, at: number, maskAt: number, prefix: Prefix): void {
  bytes.set(toBytes(addressOf(prefix)), at);
  for (let i = 0; i < 16; i++) {
    const ones = Math.max(0, Math.min(8, prefix.length - i * 8));
    bytes[maskAt + i] = (0xff00 >> ones) & 0xff;
  }
  // The rest of an IPv4 address is zero, in rules and packets.
  if (prefix.family === 4) bytes.fill(0xff, maskAt + 4, maskAt + 16);
}

/** 2^32 divided by the golden ratio. */
const SPREAD = 0x9e3779b1;

/** The same as `serviceHash` of assembly/tables/nat.ts, before it is cut to the index. */
function serviceHash({ address, protocol, port }: ServiceRule): number {
  const kind = address.family | (protocol << 8);
  const words = new DataView(new ArrayBuffer(16));
  new Uint8Array(words.buffer).set(toBytes(address));
  let h = Math.imul(kind, SPREAD) ^ networkPort(port);
  for (let i = 0; i < 16; i += 4) h = Math.imul(h ^ words.getUint32(i, true), SPREAD);
  return h >>> 0;
}
