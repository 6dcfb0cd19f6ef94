/**
 * Publishes new tables to the core while it runs: the spare copy is filled, then one atomic store
 * makes it the live one.
 */
import { type Address, toBytes } from "../address.js";
import { Acl } from "../compile/acl.js";
import type { AclRules } from "../compile/acl-rule.js";
import { Compiler, type Differences, type PeerRoute, type ThisNode } from "../compile/compiler.js";
import { HAIRPIN_ADDRESS, hairpinAddress } from "../compile/hairpin.js";
import { updateAll } from "../compile/lpm.js";
import { NatCompiler, type NatPart } from "../compile/nat.js";
import { type NatRules, NO_NAT } from "../compile/nat-rules.js";
import { networkOrder } from "../compile/peers.js";
import { Rib, routeList } from "../compile/rib.js";
import type { Peer } from "../peer.js";
import { Activity } from "./activity.js";
import { type AclImage, type Region, TableCopy } from "./copy.js";
import { type PeerTraffic, type RuleTraffic, readRules, readTraffic } from "./counters.js";
import { takeHint, takeHinted } from "./hints.js";
import type { Core } from "./instance.js";

/** Milliseconds, longer than any batch: a worker that holds the tables for this long is dead. */
const RELEASE_TIMEOUT_MS = 1000;

/** Rules for the core: a list to compile into a table here, or a table that was built elsewhere. */
export type RuleSet = {
  /** Numbers that belonged to no rule before, or to another one: their counters start at 0. */
  readonly fresh: readonly number[];
} & ({ readonly rules: AclRules } | AclImage);

/** The numbers that a publisher gave, which the memory of its core refers to. */
export interface PublisherState {
  readonly generation: number;
  /** Positions of peers, by name. */
  readonly places: readonly (readonly [name: string, place: number])[];
  /** By rule number: the generation since which it belongs to its rule. */
  readonly ruleSince: readonly (readonly [number: number, generation: number])[];
  /** Packets by position, as at the last call of `active`. */
  readonly seen: readonly (readonly [place: number, packets: number])[];
}

export interface CommitOptions {
  readonly nat?: NatRules | undefined;
  /** Whether a staged peer may be published; default: all may. */
  readonly isReady?: ((peer: Peer) => boolean) | undefined;
}

export class Publisher {
  readonly #core: Core;
  readonly #compiler: Compiler;
  readonly #copies: readonly TableCopy[];
  /** Differences that the spare copy lacks. */
  #missed: Differences | undefined;
  readonly #activity: Activity;
  #generation = 0;
  /** By rule number: the generation since which it belongs to its rule. */
  #ruleSince = new Map<number, number>();
  /** The routes that both copies are painted from. */
  readonly #ribs = { 4: new Rib(4), 6: new Rib(6) };
  /** The rules in force, from which the access lists of both copies are painted. */
  #rules: RuleSet = { rules: [[], []], fresh: [] };
  readonly #acl = new Acl();
  /** The translations in force. */
  #nat: NatRules = NO_NAT;
  #natParts: readonly NatPart[] = [];
  readonly #natCompiler: NatCompiler;

  /**
   * @param statics peers without an agent; they take precedence over members
   * @param before the first publication gives the same numbers as the last one of this state
   */
  constructor(core: Core, statics: readonly Peer[] = [], before?: PublisherState) {
    this.#core = core;
    this.#compiler = new Compiler(core.layout.MAX_PEERS, {
      statics,
      isHeld: (place) => isHeld(core, place),
      places: new Map(before?.places),
    });
    this.#activity = new Activity(core);
    this.#natCompiler = new NatCompiler(core.layout);
    if (before) {
      this.#generation = before.generation - 1;
      this.#ruleSince = new Map(before.ruleSince);
      this.#activity.seen = before.seen;
    }
    this.#copies = [new TableCopy(core, 0), new TableCopy(core, 1)];
  }

  /** The live tables: number of changes, address, and ranges in use. */
  live(): { generation: number; at: number; regions: Region[] } {
    const { words, layout } = this.#core;
    const copy = this.#copies[Atomics.load(words, layout.LIVE_COPY >> 2)]!;
    return { generation: this.#generation, at: copy.at, regions: copy.regions() };
  }

  get state(): PublisherState {
    const names = [...this.#compiler.names()].sort();
    return {
      generation: this.#generation,
      places: names.map((name) => [name, this.placeOf(name)!]),
      ruleSince: [...this.#ruleSince].sort(([a], [b]) => a - b),
      seen: this.#activity.seen,
    };
  }

  /** Sets the source address of ICMP errors. */
  setAddress(address: Address): void {
    const { view, bytes, layout } = this.#core;
    if (address.family === 4) view.setUint32(layout.OWN_ADDRESS, networkOrder(address), true);
    else bytes.set(toBytes(address), layout.OWN_ADDRESS_6);
  }

  /**
   * Sets whether it is known if there are a policy and a translation document; while it is not known, no
   * packet passes. Initially it is known.
   */
  setPolicyKnown(isKnown: boolean): void {
    const { view, layout } = this.#core;
    view.setUint32(layout.POLICY_IS_UNKNOWN, isKnown ? 0 : 1, true);
  }

  /**
   * From the next batch on the core has exactly these peers and these rules.
   * @throws WeftError when they contradict each other or do not fit; then nothing has changed
   */
  publish(own: ThisNode, peers: readonly Peer[], rules?: RuleSet, nat?: NatRules): void {
    this.#compiler.stageAll(peers);
    this.commit(own, rules, { nat });
  }

  /** Stages the new state of the peer with this id; undefined removes it. `commit` publishes it. */
  stage(id: string, peer: Peer | undefined): void {
    this.#compiler.stage(id, peer);
  }

  /**
   * Publishes the staged peers that are ready, from the next batch on. Those that are not ready, or are
   * refused, remain staged. The same rules object again means that the rules did not change; so it is
   * with translations.
   * @throws WeftError as `publish`
   */
  commit(own: ThisNode, rules: RuleSet = this.#rules, options: CommitOptions = {}): void {
    const { layout, view, words } = this.#core;
    const { nat = this.#nat, isReady } = options;
    const differences = this.#compiler.compare(own, isReady);
    if (differences.isNone && rules === this.#rules && nat === this.#nat) {
      this.#compiler.commit(differences);
      return;
    }
    const spare = 1 - Atomics.load(words, layout.LIVE_COPY >> 2);
    const copy = this.#copies[spare]!;
    this.#waitUntilReleased(spare);
    // The only steps that can fail, for lack of room, come first.
    if (nat !== this.#nat) this.#natCompiler.check(nat);
    this.#paint(copy, differences.routes, rules);
    if (this.#missed) copy.write(this.#missed);
    copy.write(differences);
    this.#missed = differences;
    this.#compiler.commit(differences);
    this.#writeNat(copy, own, nat, !differences.isNone);

    for (const index of differences.newPlaces) this.#forget(index);
    this.#generation++;
    if (rules !== this.#rules) for (const number of rules.fresh) this.#forgetRule(number);
    this.#rules = rules;
    copy.setGeneration(this.#generation);
    // As in a VXLAN header: three octets and a zero, in network order.
    view.setUint32(layout.OWN_VNI, own.vni << 8, false);
    Atomics.store(words, layout.LIVE_COPY >> 2, spare);
  }

  /** The gateways of egress rules are places of peers, so their rules follow the peers. */
  #writeNat(copy: TableCopy, own: ThisNode, nat: NatRules, isOther: boolean): void {
    const { layout, view, bytes } = this.#core;
    if (nat !== this.#nat || (isOther && nat.egress.length > 0)) {
      this.#natParts = this.#natCompiler.build(nat, (name) => this.placeOf(name));
    }
    copy.writeNat(this.#natParts);
    this.#nat = nat;
    view.setUint32(layout.PER_SOURCE, nat.perSource, true);
    view.setUint32(layout.HAIRPIN_ADDRESS, networkOrder(HAIRPIN_ADDRESS), true);
    const hairpin6 = hairpinAddress(6, own.leases);
    if (hairpin6) bytes.set(toBytes(hairpin6), layout.HAIRPIN_ADDRESS_6);
  }

  /** The published peers. */
  get peers(): Peer[] {
    return this.#compiler.peers;
  }

  /** The staged peers, whether published or not. */
  staged(): Iterable<Peer> {
    return this.#compiler.staged();
  }

  /** The reasons why peers are left out: one sentence each. */
  get conflicts(): string[] {
    return this.#compiler.conflicts;
  }

  /** A peer's position in the table, which never changes while the peer exists. */
  placeOf(name: string): number | undefined {
    return this.#compiler.indexOf(name);
  }

  /** The peer at a position. */
  nameAt(place: number): string | undefined {
    return this.#compiler.nameAt(place);
  }

  /** Traffic to and from a peer since it was first published. */
  traffic(name: string): PeerTraffic | undefined {
    const index = this.placeOf(name);
    return index === undefined ? undefined : readTraffic(this.#core, index);
  }

  /** Names of the peers that packets went to since the last call. */
  active(): string[] {
    return [...this.#compiler.names()].filter((name) => this.#activity.take(this.placeOf(name)!));
  }

  /** Largest inner packet that the path to a peer is known to carry, in bytes; at most `mtu`. */
  pathMtu(name: string, mtu: number): number {
    const index = this.placeOf(name);
    if (index === undefined) return mtu;
    const { view, layout } = this.#core;
    const at = layout.PATH_MTU + index * layout.PATH_MTU_SIZE;
    const lower = view.getUint32(at + layout.PATH_MTU_LEARNED, true);
    const until = view.getFloat64(at + layout.PATH_MTU_UNTIL, true);
    const isStale = view.getFloat64(layout.CLOCK, true) >= until;
    return lower === 0 || isStale ? mtu : Math.min(lower, mtu);
  }

  /** Names of the peers with an ICMP hint about their path, which the control plane verifies. */
  hinted(): string[] {
    return takeHinted(this.#core).flatMap((place) => this.nameAt(place) ?? []);
  }

  /** The hinted MTU, in bytes of the inner packet. Afterwards `hinted` may return the peer again. */
  takeHint(name: string): number | undefined {
    const place = this.placeOf(name);
    return place === undefined ? undefined : takeHint(this.#core, place);
  }

  /** Traffic of each rule since it was first published, in the order given. */
  ruleTraffic(numbers: readonly number[]): RuleTraffic[] {
    return readRules(this.#core, numbers);
  }

  /** Whether the number stood for the same rule in that generation of the tables as now. */
  isSameRule(number: number, generation: number): boolean {
    return (this.#ruleSince.get(number) ?? 0) <= generation;
  }

  /** Routes and access lists track by themselves what each copy lacks. */
  #paint(copy: TableCopy, routes: readonly PeerRoute[], rules: RuleSet): void {
    try {
      if ("rules" in rules) {
        if (rules !== this.#rules) this.#acl.update(rules.rules);
        copy.paintRules(this.#acl);
      }
      this.#paintRoutes(copy, routes);
      if ("image" in rules) this.#copyRules(copy, rules);
    } catch (error) {
      if (rules !== this.#rules && "rules" in this.#rules) this.#acl.update(this.#rules.rules);
      throw error;
    }
  }

  /** An image is valid until the next one is made; afterwards its contents are in the live copy. */
  #copyRules(copy: TableCopy, rules: RuleSet & AclImage): void {
    const live = this.#copies.find((other) => other !== copy)!;
    if (rules === this.#rules) copy.takeRules(live);
    else copy.loadRules(rules);
  }

  #paintRoutes(copy: TableCopy, routes: readonly PeerRoute[]): void {
    const changes = routes.map(({ prefix, peer }) => ({ prefix, value: peer }));
    updateAll(
      ([4, 6] as const).map((family) => ({
        routes: this.#ribs[family],
        changes: routeList(
          family,
          changes.filter(({ prefix }) => prefix.family === family),
        ),
        table: copy.routes[family],
      })),
    );
  }

  /** A batch that began before the last swap may still search the spare copy. */
  #waitUntilReleased(spare: number): void {
    const { words, layout } = this.#core;
    const word = layout.COPY_IN_USE >> 2;
    const deadline = Date.now() + RELEASE_TIMEOUT_MS;
    while (Atomics.load(words, word) === spare + 1) {
      Atomics.wait(words, word, spare + 1, 1);
      if (Date.now() > deadline)
        throw new Error("the dataplane worker holds its tables: it is dead");
    }
  }

  /** Clears a position that another peer had: counters and path MTU. */
  #forget(index: number): void {
    const { bytes, layout } = this.#core;
    const clear = (at: number, size: number) =>
      bytes.fill(0, at + index * size, at + (index + 1) * size);
    clear(layout.TRAFFIC, layout.TRAFFIC_SIZE);
    clear(layout.PATH_MTU, layout.PATH_MTU_SIZE);
  }

  #forgetRule(number: number): void {
    const { bytes, layout } = this.#core;
    if (number >= layout.MAX_RULE_NUMBERS) throw new RangeError(`no rule has number ${number}`);
    const at = layout.RULES + number * layout.RULE_COUNTER_SIZE;
    bytes.fill(0, at, at + layout.RULE_COUNTER_SIZE);
    this.#ruleSince.set(number, this.#generation);
  }
}

/**
 * Whether policed connections still count towards a peer that had this position
 * (assembly/conntrack/account.ts).
 */
const isHeld = ({ view, layout }: Core, place: number): boolean =>
  view.getUint32(layout.HELD + place * 4, true) > 0;
