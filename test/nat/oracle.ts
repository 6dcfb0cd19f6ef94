/**
 * One node's translation, slowly and plainly: the twin of the core's. It keeps whole tuples of every
 * connection, both as they came and as they went, and a list of every mapping.
 *
 * It does not choose what the core chooses at random (a backend, a port): it says which outcomes are
 * right, takes the one that came about, and holds all later packets against that.
 */
import {
  type Address,
  contains,
  formatAddress,
  type Prefix,
  parseAddress,
} from "../../src/address.js";
import type { NatRules, ServiceRule } from "../../src/compile/nat-rules.js";
import { ICMP, ICMPV6, TCP, UDP } from "../packets.js";
import { hasPorts, isIcmp, reverse, show, type Tuple } from "./tuple.js";

export type Side = "device" | "wire";

export interface Node {
  /** Its overlay addresses, one for each family. */
  readonly addresses: readonly string[];
  readonly leases: readonly Prefix[];
  readonly peers: readonly { readonly name: string; readonly leases: readonly Prefix[] }[];
  /** Whether every packet of this node's workloads passes the core. */
  readonly throughCore: boolean;
}

/** The outcome of a packet. */
export type Outcome =
  | { readonly drop: string }
  | { readonly to: Side; readonly peer?: string | undefined; readonly tuple: Tuple };

/** How a packet stands to its connection. */
export interface Packet {
  readonly tuple: Tuple;
  readonly from: Side;
  /** Whether it may open a connection: no echo reply, no reset. Default true. */
  readonly opens?: boolean;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
export const HOLD_DOWN = 2 * MINUTE;

/** Idle times before the first reply and after it; of TCP for a SYN, a SYN and its answer, and both acknowledged. */
export const TIMEOUTS = {
  rfc: {
    udp: [5 * MINUTE, 5 * MINUTE],
    echo: [MINUTE, MINUTE],
    other: [5 * MINUTE, 5 * MINUTE],
    tcp: [4 * MINUTE, 4 * MINUTE, 124 * MINUTE],
  },
  linux: {
    udp: [30 * SECOND, 2 * MINUTE],
    echo: [30 * SECOND, 30 * SECOND],
    other: [10 * MINUTE, 10 * MINUTE],
    tcp: [2 * MINUTE, MINUTE, 5 * 24 * 60 * MINUTE],
  },
} as const;

export interface Connection {
  /** As the packet that opened it came, and as it went on. */
  readonly came: Tuple;
  readonly from: Side;
  readonly goes: Tuple;
  readonly to: Side;
  readonly service: ServiceRule | undefined;
  /** Those of its source and of its destination. */
  readonly mappings: readonly Mapping[];
  /** The number of changes of direction so far, 0 to 2. */
  turns: number;
  last: number;
}

export interface Mapping {
  readonly protocol: number;
  readonly inside: End;
  readonly outside: End;
  users: number;
  /** The core notes the end of its last connection in this span. */
  ended: { readonly earliest: number; readonly latest: number };
}

interface End {
  readonly address: string;
  readonly port: number;
}

/** A destination that the packet may get. */
interface Destination extends End {
  readonly service?: ServiceRule;
  readonly mapping?: Mapping;
  readonly isNetmap?: boolean;
}

/** Addresses and ports of which one is to become the source. */
interface Pool {
  readonly pool: Prefix;
  readonly low: number;
  readonly high: number;
}

type Owner = "self" | { readonly peer: string } | undefined;

/** Where a packet goes, and to whom. */
interface Way {
  readonly real: Tuple;
  readonly to: Side;
  readonly peer: string | undefined;
  readonly destination: Destination;
  /** No node owns the destination. */
  readonly isOutside: boolean;
}

export class Oracle {
  /** Each connection under the two tuples that its packets arrive with. */
  readonly #byTuple = new Map<string, { connection: Connection; isReply: boolean }>();
  mappings: Mapping[] = [];
  #now = 0;
  /** By service and client: which backend it has, and when it last got it. */
  readonly #choices = new Map<string, { backend: string; at: number }>();
  /** By inside address: the one of the pool that it has. */
  readonly #paired = new Map<string, string>();

  constructor(
    readonly node: Node,
    public rules: NatRules,
    readonly profile: keyof typeof TIMEOUTS = "rfc",
  ) {}

  get connections(): Connection[] {
    return [...this.#byTuple.values()]
      .filter(({ isReply }) => !isReply)
      .map(({ connection }) => connection);
  }

  advance(milliseconds: number): void {
    const before = this.#now;
    this.#now += milliseconds;
    for (const connection of this.connections.filter((one) => !this.#isLive(one))) {
      const { came, from, goes, to, mappings, last } = connection;
      this.#byTuple.delete(keyOf(came, from));
      this.#byTuple.delete(keyOf(reverse(goes), to));
      for (const mapping of mappings) {
        mapping.users--;
        const end = Math.max(mapping.ended.earliest, last + this.#timeoutOf(connection), before);
        mapping.ended = { earliest: end, latest: this.#now };
      }
    }
    this.mappings = this.mappings.filter((mapping) => this.#mayBeHeld(mapping));
  }

  /** The connection that the packet belongs to, and whether it is a reply. */
  find({ tuple, from }: Packet): { connection: Connection; isReply: boolean } | undefined {
    return this.#byTuple.get(keyOf(tuple, from));
  }

  /** Takes what became of a packet; returns a sentence if that is wrong. */
  check(packet: Packet, outcome: Outcome): string | undefined {
    const found = this.find(packet);
    const fault = found ? this.#follow(found, outcome) : this.#open(packet, outcome);
    return fault && `${packet.from} ${show(packet.tuple)}: ${fault}, but ${tell(outcome)}`;
  }

  #follow(
    { connection, isReply }: { connection: Connection; isReply: boolean },
    outcome: Outcome,
  ): string | undefined {
    const { came, goes, from, to } = connection;
    const tuple = isReply ? reverse(came) : goes;
    const side = isReply ? from : to;
    if ("drop" in outcome || outcome.to !== side || show(outcome.tuple) !== show(tuple)) {
      return `its connection goes to the ${side} as ${show(tuple)}`;
    }
    connection.last = this.#now;
    if (connection.turns % 2 === Number(!isReply)) {
      connection.turns = Math.min(connection.turns + 1, 2);
    }
    return undefined;
  }

  // ------------------------------------------------------------- a new connection

  #open(packet: Packet, outcome: Outcome): string | undefined {
    const faults: string[] = [];
    for (const destination of this.#destinations(packet)) {
      const fault =
        "drop" in destination
          ? expectDrop([destination.drop], outcome)
          : this.#openTo(packet, destination, outcome);
      if (fault === undefined) return undefined;
      faults.push(fault);
    }
    return faults.join("; or ");
  }

  #openTo(packet: Packet, destination: Destination, outcome: Outcome): string | undefined {
    const { tuple, from, opens = true } = packet;
    const { service } = destination;
    const real = { ...tuple, dst: destination.address, dport: destination.port };
    const owner = this.#ownerOf(real.dst) ?? this.#ownerOf(tuple.dst);
    const egress = owner === undefined ? this.#egressOf(real) : undefined;
    const isGateway = egress?.via !== undefined && "self" in egress.via;
    if (egress && !isGateway && (from === "wire" || egress.via === undefined)) {
      return expectDrop(["no-gateway"], outcome);
    }
    const peer = egress?.via && "peer" in egress.via ? egress.via.peer : peerName(owner);
    const to: Side = peer === undefined ? "device" : "wire";
    const way = { real, to, peer, destination, isOutside: owner === undefined };
    const isReplaced = show(real) !== show(tuple);
    const source = this.#sourceOf(packet, way, isGateway ? egress.address : undefined);
    const isTranslated = isReplaced || source !== undefined;
    if (isTranslated && !opens) return expectDrop(["not-translatable"], outcome);
    if (!isTranslated && to === "device" && !this.#isDelivered(packet, owner)) {
      return expectDrop([owner === undefined ? "no-route" : "no-host"], outcome);
    }
    if (source && "pool" in source) return this.#openMapped(packet, way, source, outcome);
    const goes = source ? { ...real, src: source.exact } : real;
    if (this.#isTaken(goes, to, packet)) {
      // The source keeps its address and gets another port.
      const pool = whole(parseAddress(goes.src));
      const kept = { pool, ...classOf(goes.protocol, goes.sport, 61_000) };
      return this.#openMapped(packet, way, kept, outcome);
    }
    const fault = expectTuple(goes, to, peer, outcome);
    if (fault) return fault;
    if (opens) this.#add(packet, goes, way);
    if (service) this.#noteChoice(service, tuple, goes);
    return undefined;
  }

  /** Whether this host has a way for a packet that is not translated. */
  #isDelivered({ tuple, from }: Packet, owner: Owner): boolean {
    if (from === "wire") return owner !== undefined;
    if (!this.node.throughCore) return false;
    return owner !== undefined || this.#ownerOf(tuple.src) === "self";
  }

  #openMapped(packet: Packet, way: Way, source: Pool, outcome: Outcome): string | undefined {
    const { real, to, peer, destination } = way;
    const { service } = destination;
    const inside = { address: packet.tuple.src, port: packet.tuple.sport };
    const mine = this.mappings.filter(
      (mapping) =>
        mapping.protocol === real.protocol &&
        sameEnd(mapping.inside, inside) &&
        isIn(source.pool, mapping.outside.address),
    );
    const sure = mine.find((mapping) => this.#isHeld(mapping));
    if ("drop" in outcome) {
      if (outcome.drop !== "nat-exhausted") return "its source is to be mapped";
      const isTaken = mine.some(({ outside }) => {
        const goes = { ...real, src: outside.address, sport: outside.port };
        return this.#isTaken(goes, to, packet);
      });
      if (isTaken) return undefined;
      if (sure) return `its mapping to ${endText(sure.outside)} goes on`;
      return this.#mayBeExhausted(packet, source) ? undefined : "a mapping can be made";
    }
    const { tuple } = outcome;
    const outside = { address: tuple.src, port: tuple.sport };
    const goes = { ...real, src: outside.address, sport: outside.port };
    const fault = expectTuple(goes, to, peer, outcome);
    if (fault) return fault;
    const known = mine.find((mapping) => sameEnd(mapping.outside, outside));
    if (sure && known !== sure) return `its mapping is ${endText(sure.outside)}`;
    const mapping = known ?? { protocol: real.protocol, inside, outside, users: 0, ended: NEVER };
    if (!known) {
      const flaw = this.#flawOfNew(mapping, source);
      if (flaw) return flaw;
      if (canBeMapped(real.protocol)) this.mappings.push(mapping);
      this.#paired.set(pairKey(source.pool, inside.address), outside.address);
    }
    if (this.#isTaken(goes, to, packet)) return "the outside tuple is taken";
    this.#add(packet, goes, way, mapping);
    if (service) this.#noteChoice(service, packet.tuple, goes);
    return undefined;
  }

  /** The flaw of a mapping that the core has made, if it has one. */
  #flawOfNew(
    { protocol, inside, outside }: Mapping,
    { pool, low, high }: Pool,
  ): string | undefined {
    if (!isIn(pool, outside.address)) return "the address is not of the pool";
    if (outside.port < low || outside.port > high) return `the port is not in ${low}-${high}`;
    const holder = this.mappings.find(
      (other) =>
        other.protocol === protocol && sameEnd(other.outside, outside) && this.#isHeld(other),
    );
    if (holder) return `${holder.inside.address} ${holder.inside.port} has that outside port`;
    const paired = this.#paired.get(pairKey(pool, inside.address));
    if (paired !== undefined && paired !== outside.address) return `its address is ${paired}`;
    const held = this.#heldBy(inside.address).filter((other) => this.#isHeld(other));
    if (held.length >= this.rules.perSource) return "its address has all the mappings it may have";
    return undefined;
  }

  #mayBeExhausted({ tuple: { protocol, src } }: Packet, { low, high }: Pool): boolean {
    if (!canBeMapped(protocol)) return true;
    const inClass = this.mappings.filter(
      ({ protocol: other, outside }) =>
        other === protocol && outside.port >= low && outside.port <= high,
    );
    return (
      this.#heldBy(src).length >= this.rules.perSource || inClass.length > 0.9 * (high - low + 1)
    );
  }

  #heldBy(address: string): Mapping[] {
    return this.mappings.filter(({ inside }) => inside.address === address);
  }

  // ------------------------------------------------------------------ destination

  /** The destinations that are right; of a service every backend that its client may get. */
  #destinations({ tuple, from }: Packet): (Destination | { drop: string })[] {
    const { protocol, dst, dport } = tuple;
    const service = this.rules.services.find(
      (rule) =>
        rule.protocol === protocol &&
        formatAddress(rule.address) === dst &&
        rule.port === dport &&
        (rule.isPort || from === "device"),
    );
    if (service) return this.#backends(service, tuple);
    const netmap = this.rules.netmaps.find(({ overlay }) => isIn(overlay, dst));
    if (netmap) {
      const address = moved(dst, netmap.overlay, netmap.inside);
      return [{ address, port: dport, isNetmap: true }];
    }
    const mapping = this.mappings.find(
      ({ outside, ...one }) =>
        one.protocol === protocol && outside.address === dst && outside.port === dport,
    );
    const same = { address: dst, port: dport };
    // An echo request to the outside identifier is one to the node itself.
    if (!mapping || isIcmp(protocol)) return [same];
    const { inside } = mapping;
    const through = { ...inside, mapping };
    return this.#isHeld(mapping) ? [through] : [through, same];
  }

  #backends(service: ServiceRule, { src, sport }: Tuple): (Destination | { drop: string })[] {
    const active = service.backends.filter(({ isActive, weight }) => isActive && weight > 0);
    if (active.length === 0) return [{ drop: "no-backend" }];
    const all = active.map(({ address, port }) => ({
      address: formatAddress(address),
      port,
      service,
    }));
    const choice = this.#choices.get(choiceKey(service, src, sport));
    const chosen = all.filter((one) => endText(one) === choice?.backend);
    return chosen.length > 0 && !this.#isForgotten(service, choice!.at) ? chosen : all;
  }

  /** Whether the client's affinity is over. Without affinity a hash never forgets. */
  #isForgotten({ affinityMs }: ServiceRule, at: number): boolean {
    return affinityMs > 0 && this.#now - at > affinityMs;
  }

  #noteChoice(service: ServiceRule, { src, sport }: Tuple, { dst, dport }: Tuple): void {
    const backend = endText({ address: dst, port: dport });
    this.#choices.set(choiceKey(service, src, sport), { backend, at: this.#now });
  }

  // ----------------------------------------------------------------------- source

  #egressOf({ src, dst }: Tuple) {
    return this.rules.egress.find((one) => isIn(one.from, src) && isIn(one.to, dst));
  }

  /** The source that the packet must get; undefined: it stays as it is. */
  #sourceOf(
    { tuple, from }: Packet,
    { real, to, destination, isOutside }: Way,
    gateway: Address | undefined,
  ): { exact: string } | Pool | undefined {
    const isFromHere = from === "device";
    if (gateway) return this.#pool(tuple, whole(gateway));
    const netmap = this.rules.netmaps.find(
      ({ inside }) => isFromHere && !isOutside && isIn(inside, tuple.src),
    );
    const src = netmap ? moved(tuple.src, netmap.inside, netmap.overlay) : tuple.src;
    const ruleFor = (dst: string) =>
      this.rules.sources.find((one) => isIn(one.from, src) && isIn(one.to, dst));
    // Of a netmap only the overlay's address counts.
    const rule = (destination.isNetmap ? undefined : ruleFor(real.dst)) ?? ruleFor(tuple.dst);
    if (isFromHere && rule) return this.#pool(tuple, rule.addresses, rule.ports);
    const mapped = src === tuple.src ? undefined : { exact: src };
    const isRound = destination.mapping !== undefined && !isFromHere;
    if (!destination.service && !isRound) return mapped;
    const isOurs = this.#ownerOf(src) === "self";
    if (to === "wire" && !isOurs) return this.#pool(tuple, undefined);
    const isOwn = this.node.addresses.includes(src);
    const isAround = src === real.dst || isOwn || !this.node.throughCore;
    return isFromHere && to === "device" && isAround
      ? this.#pool(tuple, this.#hairpinAddress(src))
      : mapped;
  }

  /** `addresses` undefined: this node's own; `ports` undefined: by the class of the inside port. */
  #pool({ protocol, src, sport }: Tuple, addresses?: Prefix, ports?: Omit<Pool, "pool">): Pool {
    const pool = addresses ?? whole(parseAddress(this.#ownAddress(src)));
    const isOwn = this.node.addresses.some((address) => isIn(pool, address));
    const byClass = classOf(protocol, sport, isOwn ? 61_000 : 1024);
    return { pool, ...(canBeMapped(protocol) && ports ? ports : byClass) };
  }

  #ownAddress(like: string): string {
    return this.node.addresses.find((one) => one.includes(":") === like.includes(":"))!;
  }

  #hairpinAddress(src: string): Prefix {
    if (!src.includes(":")) return whole(parseAddress("169.254.1.2"));
    const lease = this.node.leases.find(({ family }) => family === 6)!;
    return whole({ family: 6, value: lease.base + 0xffffn });
  }

  // -------------------------------------------------------------------- the lists

  /** Whether another connection, or the packet itself, has the tuple of the replies. */
  #isTaken(goes: Tuple, to: Side, packet: Packet): boolean {
    const isOwn = keyOf(reverse(goes), to) === keyOf(packet.tuple, packet.from);
    return isOwn || this.find({ tuple: reverse(goes), from: to }) !== undefined;
  }

  #add({ tuple, from }: Packet, goes: Tuple, way: Way, mapping?: Mapping): void {
    const last = this.#now;
    const { to, destination } = way;
    const { service } = destination;
    const mappings = [mapping, destination.mapping].filter((one) => one !== undefined);
    const connection = { came: tuple, from, goes, to, service, mappings, turns: 0, last };
    this.#byTuple.set(keyOf(tuple, from), { connection, isReply: false });
    this.#byTuple.set(keyOf(reverse(goes), to), { connection, isReply: true });
    for (const used of mappings) used.users++;
  }

  /** Whether the mapping lives for certain. */
  #isHeld({ users, ended }: Mapping): boolean {
    return users > 0 || this.#now - ended.earliest < HOLD_DOWN;
  }

  #mayBeHeld({ users, ended }: Mapping): boolean {
    return users > 0 || this.#now - ended.latest <= HOLD_DOWN;
  }

  #isLive(connection: Connection): boolean {
    return this.#now - connection.last <= this.#timeoutOf(connection);
  }

  #timeoutOf({ came, turns }: Connection): number {
    const timeouts = TIMEOUTS[this.profile];
    switch (came.protocol) {
      case TCP:
        return timeouts.tcp[turns]!;
      case UDP:
        return timeouts.udp[Math.min(turns, 1)]!;
      case ICMP:
      case ICMPV6:
        return timeouts.echo[Math.min(turns, 1)]!;
      default:
        return timeouts.other[Math.min(turns, 1)]!;
    }
  }

  #ownerOf(address: string): Owner {
    if (this.node.leases.some((lease) => isIn(lease, address))) return "self";
    const peer = this.node.peers.find(({ leases }) => leases.some((lease) => isIn(lease, address)));
    return peer && { peer: peer.name };
  }
}

const NEVER = { earliest: Number.NEGATIVE_INFINITY, latest: Number.NEGATIVE_INFINITY };

const keyOf = (tuple: Tuple, side: Side) => `${side} ${show(tuple)}`;
const endText = ({ address, port }: End) => `${address} ${port}`;
const sameEnd = (a: End, b: End) => endText(a) === endText(b);
const isIn = (prefix: Prefix, address: string) => contains(prefix, parseAddress(address));
/** Whether the protocol has ports, or an identifier that stands for one. */
const canBeMapped = (protocol: number) => hasPorts(protocol) || isIcmp(protocol);
const whole = ({ family, value }: Address): Prefix => ({
  family,
  base: value,
  length: family === 4 ? 32 : 128,
});
const peerName = (owner: Owner) => (typeof owner === "object" ? owner.peer : undefined);
const pairKey = (pool: Prefix, inside: string) => `${pool.base}/${pool.length} ${inside}`;
const choiceKey = ({ name, byClient }: ServiceRule, src: string, sport: number) =>
  `${name} ${src} ${byClient ? "" : sport}`;

/** The ports that one may become, those of the upper class from `least` on. */
function classOf(protocol: number, port: number, least: number): { low: number; high: number } {
  if (!canBeMapped(protocol)) return { low: 0, high: 0 };
  if (port < 1024 && !isIcmp(protocol)) return { low: 600, high: 1023 };
  return { low: least, high: 65_535 };
}

/** The address with the same host bits in another prefix. */
function moved(address: string, from: Prefix, to: Prefix): string {
  const { family, value } = parseAddress(address);
  return formatAddress({ family, value: value - from.base + to.base });
}

const tell = (outcome: Outcome): string =>
  "drop" in outcome
    ? `it was dropped: ${outcome.drop}`
    : `it went to the ${outcome.to} ${outcome.peer ?? ""} as ${show(outcome.tuple)}`;

function expectDrop(reasons: readonly string[], outcome: Outcome): string | undefined {
  const isRight = "drop" in outcome && reasons.includes(outcome.drop);
  return isRight ? undefined : `it is to be dropped: ${reasons.join(" or ")}`;
}

function expectTuple(
  tuple: Tuple,
  to: Side,
  peer: string | undefined,
  outcome: Outcome,
): string | undefined {
  const isRight =
    !("drop" in outcome) &&
    outcome.to === to &&
    outcome.peer === peer &&
    show(outcome.tuple) === show(tuple);
  return isRight ? undefined : `it is to go to the ${to} ${peer ?? ""} as ${show(tuple)}`;
}
