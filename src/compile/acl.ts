/**
 * Compiles rules into the table that the core searches (`assembly/tables/acl.ts` draws it). Each rule
 * has a bit, and each value of a field has the set of rules that the field does not exclude. A change
 * writes only the sets of the values that it concerns; each copy of the table is updated when it is
 * the spare one.
 */
import type { Prefix } from "../address.js";
import { WeftError } from "../error.js";
import { AddressClasses, NO_CLASS } from "./classes.js";
import { type LpmLayout, LpmTable } from "./lpm.js";
import { Rib, routeList, VALUES } from "./rib.js";
import { add, has, MAX_RULES, remove, SET_WORDS, SetAllocator, type SetLayout } from "./sets.js";

/** Both bounds are included. */
export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** An address in one of `in`, or any if it is empty, and in none of `not`. */
export interface Addresses {
  readonly in: readonly Prefix[];
  readonly not: readonly Prefix[];
}

/** A packet matches a rule when it matches all fields. */
export interface AclRule {
  /** Number of its counter, unchanged as long as the rule is. From 1 up to MAX_RULE_NUMBERS - 1. */
  readonly number: number;
  /** Addresses of the protected end: the source of egress rules, the destination of ingress rules. */
  readonly near: Addresses;
  readonly far: Addresses;
  /** Any protocol if empty. */
  readonly protocols: readonly number[];
  /** Any port if empty. For ICMP, `type << 8 | code` takes the place of the destination port. */
  readonly sourcePorts: readonly PortRange[];
  readonly destinationPorts: readonly PortRange[];
  /** `count` decides nothing: the search continues. */
  readonly action: "allow" | "deny" | "count";
}

/** A rule in the order of the search. Each rule occurs once. */
export interface AclEntry {
  readonly rule: AclRule;
  /** Index at which the search continues after a rule that decides nothing; behind this one. */
  readonly next: number;
}

/** Rules for packets out, and for packets in. */
export type AclRules = readonly [readonly AclEntry[], readonly AclEntry[]];

const PROTOCOLS = 256;
const PORTS = 65536;
const ENDS = ["near", "far"] as const;
const PORT_FIELDS = ["sourcePorts", "destinationPorts"] as const;
type PortField = (typeof PORT_FIELDS)[number];

/** A rule and its bit. */
interface PlacedRule {
  readonly rule: AclRule;
  readonly bit: number;
}

/** All rules, in the shape of the table's fields, with the version of the last change of each part. */
export class Acl {
  /** Number of changes; a table that was never painted has version 0. */
  version = 0;
  readonly classes = new AddressClasses();
  readonly ribs = { 4: new Rib(4), 6: new Rib(6) };
  readonly directions = [0, 1].map(() => new DirectionRules(this.classes));

  /**
   * Replaces the rules. The same objects as before keep their bits if possible.
   * @throws WeftError ACL_FULL; then nothing has changed
   */
  update(rules: AclRules): void {
    for (const list of rules) if (list.length > MAX_RULES) throw tooMany(list.length);
    const before = this.directions.map(({ list }) => list);
    try {
      this.#apply(rules);
    } catch {
      // New prefixes are added before old ones are removed; without the old ones there may be room.
      this.#apply([[], []]);
      this.#applyOrRestore(rules, [before[0]!, before[1]!]);
    }
  }

  #applyOrRestore(rules: AclRules, before: AclRules): void {
    try {
      this.#apply(rules);
    } catch (error) {
      this.#apply([[], []]);
      this.#apply(before);
      throw error;
    }
  }

  #apply(rules: AclRules): void {
    this.version++;
    this.directions.forEach((direction, i) => {
      direction.update(rules[i]!, this.version);
    });
    const changes = this.classes.takeChanges();
    for (const family of [4, 6] as const) {
      const of = changes.filter(({ prefix }) => prefix.family === family);
      this.ribs[family].apply(routeList(family, of));
    }
  }
}

/** The rules of one direction. */
class DirectionRules {
  readonly #classes: AddressClasses;
  list: readonly AclEntry[] = [];
  placed: readonly PlacedRule[] = [];
  readonly ends: readonly AddressField[];
  /** Version of the last change of a rule. */
  version = 0;
  /** Rules added and removed in the last changes, oldest first. */
  #recent: readonly { readonly version: number; readonly changed: readonly PlacedRule[] }[] = [];
  /** The version before those changes. */
  #horizon = 0;

  constructor(classes: AddressClasses) {
    this.#classes = classes;
    this.ends = ENDS.map(() => new AddressField(classes));
  }

  /** Adds new prefixes before it removes old ones, so that those in both keep their classes. */
  update(list: readonly AclEntry[], version: number): void {
    const rules = list.map(({ rule }) => rule);
    const placed = place(rules, this.placed);
    const { removed, added } = differences(this.placed, placed);
    const used = (rules: readonly PlacedRule[]) =>
      rules.flatMap(({ rule: { near, far } }) => [...near.in, ...near.not, ...far.in, ...far.not]);
    this.#classes.useAll(used(added), version);
    const goOnElsewhere = list.some(({ next }, i) => next !== this.list[i]?.next);
    if (removed.length > 0 || added.length > 0 || goOnElsewhere) this.version = version;
    this.#note([...removed, ...added], version);
    this.list = list;
    this.placed = placed;
    this.ends.forEach((field, i) => {
      for (const { rule, bit } of removed) field.remove(rule[ENDS[i]!], bit, version);
      for (const { rule, bit } of added) field.add(rule[ENDS[i]!], bit, version);
    });
    for (const prefix of used(removed)) this.#classes.drop(prefix, version);
  }

  #note(changed: readonly PlacedRule[], version: number): void {
    const [oldest, ...others] = this.#recent;
    if (oldest && others.length + 1 === REMEMBERED) this.#horizon = oldest.version;
    this.#recent = [...this.#recent, { version, changed }].slice(-REMEMBERED);
  }

  /** The rules added or removed after a version; undefined if that is too long ago. */
  changedAfter(version: number): PlacedRule[] | undefined {
    if (version < this.#horizon) return undefined;
    return this.#recent.filter((one) => one.version > version).flatMap(({ changed }) => changed);
  }
}

/** Number of changes kept. A copy of the table lacks the last two at most, and those that were undone. */
const REMEMBERED = 4;

/** The rules that name a prefix, as bits. */
interface Named {
  readonly in: Set<number>;
  readonly not: Set<number>;
}

/** The rules by the addresses of one end. */
class AddressField {
  readonly #classes: AddressClasses;
  readonly #anywhere = new Uint32Array(SET_WORDS);
  #anywhereChanged = 0;
  /** By class: the rules that name its prefix. */
  readonly #named = new Map<number, Named>();
  readonly #changed = new Uint32Array(VALUES);

  constructor(classes: AddressClasses) {
    this.#classes = classes;
  }

  add({ in: inside, not }: Addresses, bit: number, version: number): void {
    if (inside.length === 0) this.#setAnywhere(add, bit, version);
    for (const prefix of inside) this.#namedAt(prefix, version).in.add(bit);
    for (const prefix of not) this.#namedAt(prefix, version).not.add(bit);
  }

  remove({ in: inside, not }: Addresses, bit: number, version: number): void {
    if (inside.length === 0) this.#setAnywhere(remove, bit, version);
    for (const prefix of inside) this.#namedAt(prefix, version).in.delete(bit);
    for (const prefix of not) this.#namedAt(prefix, version).not.delete(bit);
  }

  /** The rules that match any address here. */
  get anywhere(): Uint32Array {
    return this.#anywhere;
  }

  /** The rules that name the prefix of a class. */
  namedBy(id: number): Named | undefined {
    return this.#named.get(id);
  }

  /** Version of the last change of this class's own rules. It affects the classes that it covers too. */
  changedAt(id: number): number {
    if (id === NO_CLASS) return this.#anywhereChanged;
    return Math.max(this.#changed[id]!, this.#classes.changed[id]!);
  }

  /** Whether this class has its own set; otherwise it uses that of the nearest class above it. */
  hasOwn(id: number): boolean {
    const named = this.#named.get(id);
    return id === NO_CLASS || (named !== undefined && named.in.size + named.not.size > 0);
  }

  #setAnywhere(change: typeof add, bit: number, version: number): void {
    change(this.#anywhere, bit);
    this.#anywhereChanged = version;
  }

  #namedAt(prefix: Prefix, version: number): Named {
    const id = this.#classes.idOf(prefix);
    this.#changed[id] = version;
    const named = this.#named.get(id) ?? { in: new Set(), not: new Set() };
    this.#named.set(id, named);
    return named;
  }
}

/** The version of a table whose content cannot be used. */
const UNUSABLE = -1;

/** One copy of the table. */
export class AclTable {
  readonly #words: Uint32Array;
  readonly #layout: AclLayout;
  readonly #allocator: SetAllocator;
  readonly #lpm: Readonly<Record<4 | 6, LpmTable>>;
  /** The sets of a field that it owns: by direction and end, by class; by direction and port field. */
  readonly #ends = DIRECTIONS.map(() => ENDS.map(() => new Uint32Array(VALUES)));
  readonly #ports = DIRECTIONS.map(() => PORT_FIELDS.map(() => new Set<number>()));
  readonly #protocols = DIRECTIONS.map((): number[] => []);
  readonly #set = new Uint32Array(SET_WORDS);
  /** The class above each class. */
  #parents: Uint16Array = new Uint16Array(VALUES);
  #version = 0;

  /** @param at address of the table in `memory`, a multiple of 64; its bytes must be zero */
  constructor(memory: ArrayBufferLike, at: number, layout: AclLayout) {
    this.#layout = layout;
    this.#words = new Uint32Array(memory, at, layout.ACL_SIZE / 4);
    this.#allocator = new SetAllocator(this.#words, layout);
    this.#lpm = {
      4: new LpmTable(memory, at + layout.ACL_LPM4, layout.ACL_LPM4_SIZE, layout),
      6: new LpmTable(memory, at + layout.ACL_LPM6, layout.ACL_LPM6_SIZE, layout),
    };
  }

  /** Bytes of the sets, and of the tables from addresses to classes. */
  get used(): { readonly sets: number; readonly classes: Readonly<Record<4 | 6, number>> } {
    const { 4: four, 6: six } = this.#lpm;
    return { sets: this.#allocator.used, classes: { 4: four.used, 6: six.used } };
  }

  /** Ranges in use, in bytes from the beginning of the table; the rest is never read. */
  get regions(): readonly { readonly from: number; readonly size: number }[] {
    const { ACL_LPM4, ACL_LPM6, ACL_SETS } = this.#layout;
    const { classes, sets } = this.used;
    return [
      { from: 0, size: ACL_LPM4 },
      { from: ACL_LPM4, size: classes[4] },
      { from: ACL_LPM6, size: classes[6] },
      { from: ACL_SETS, size: sets },
    ];
  }

  /**
   * Brings this copy up to date with the rules. The core must not search it meanwhile.
   * @throws WeftError when they do not fit; the copy is then unusable until an update succeeds
   */
  update(acl: Acl): void {
    if (this.#version === UNUSABLE || !this.#paintOver(acl)) {
      this.#clear();
      this.#paint(acl);
    }
    this.#version = acl.version;
  }

  /** Paints over the existing sets; false if it does not fit. A free block takes only sets of its size. */
  #paintOver(acl: Acl): boolean {
    try {
      this.#paint(acl);
      return true;
    } catch (error) {
      if (error instanceof WeftError) return false;
      throw error;
    }
  }

  #clear(): void {
    const { ACL_POLICED, ACL_LPM4 } = this.#layout;
    this.#words.fill(0, ACL_POLICED / 4, ACL_LPM4 / 4);
    this.#allocator.clear();
    for (const owned of this.#ends.flat()) owned.fill(0);
    for (const owned of this.#ports.flat()) owned.clear();
    for (const owned of this.#protocols) owned.length = 0;
    this.#version = UNUSABLE;
  }

  #paint(acl: Acl): void {
    for (const family of [4, 6] as const) this.#paintAddresses(family, acl);
    acl.directions.forEach((direction, i) => {
      if (direction.version > this.#version) {
        this.#paintRules(i, direction);
        this.#paintProtocols(i, direction.placed);
        const changed = direction.changedAfter(this.#version);
        PORT_FIELDS.forEach((name, k) => {
          this.#paintPorts(i, k, name, direction.placed, portsOf(changed, name));
        });
      }
      direction.ends.forEach((field, k) => {
        this.#paintClasses(i, k, field, acl.classes);
      });
    });
    this.#parents = acl.classes.parents;
  }

  #paintAddresses(family: 4 | 6, acl: Acl): void {
    try {
      this.#lpm[family].update(acl.ribs[family]);
    } catch (error) {
      if (error instanceof WeftError) throw addressesFull(family, acl.ribs[family].size);
      throw error;
    }
  }

  #paintRules(direction: number, { list, placed }: DirectionRules): void {
    const layout = this.#layout;
    const actions = { allow: layout.RULE_ALLOW, deny: layout.RULE_DENY, count: layout.RULE_COUNT };
    this.#words[layout.ACL_POLICED / 4 + direction] = Number(list.length > 0);
    const from = layout.ACL_RULES / 4;
    const size = layout.ACL_RULE_SIZE / 4;
    const next = layout.ACL_RULE_NEXT / 4;
    placed.forEach(({ rule, bit }, i) => {
      const at = from + (direction * MAX_RULES + bit) * size;
      this.#words[at] = rule.number + actions[rule.action] * 2 ** layout.RULE_ACTION_SHIFT;
      this.#words[at + next] = placed[list[i]!.next]?.bit ?? MAX_RULES;
    });
  }

  #paintProtocols(direction: number, placed: readonly PlacedRule[]): void {
    const owned = this.#protocols[direction]!;
    for (const offset of owned.splice(0)) this.#allocator.release(offset);
    const any = new Uint32Array(SET_WORDS);
    const named = new Map<number, number[]>();
    for (const { rule, bit } of placed) {
      if (isAny(rule.protocols)) add(any, bit);
      for (const protocol of rule.protocols) {
        const bits = named.get(protocol);
        if (bits) bits.push(bit);
        else named.set(protocol, [bit]);
      }
    }
    const put = (bits: readonly number[]): number => {
      this.#set.set(any);
      for (const bit of bits) add(this.#set, bit);
      owned.push(this.#allocator.put(this.#set));
      return owned.at(-1)!;
    };
    const at = this.#layout.ACL_PROTOCOLS / 4 + direction * PROTOCOLS;
    this.#words.fill(put([]), at, at + PROTOCOLS);
    for (const [protocol, bits] of named) this.#words[at + protocol] = put(bits);
  }

  /**
   * From port to port the set changes only where a range begins or has ended. A port that no changed
   * rule names keeps its set.
   */
  #paintPorts(
    direction: number,
    k: number,
    name: PortField,
    placed: readonly PlacedRule[],
    changed: Uint8Array,
  ): void {
    const owned = new Set<number>();
    const edges = new Map<number, { readonly begin: number[]; readonly end: number[] }>();
    const edge = (port: number) => {
      const known = edges.get(port) ?? { begin: [], end: [] };
      edges.set(port, known);
      return known;
    };
    edge(0);
    this.#set.fill(0);
    for (const { rule, bit } of placed) {
      if (isAny(rule[name])) add(this.#set, bit);
      for (const { from, to } of joined(rule[name])) {
        edge(from).begin.push(bit);
        edge(to + 1).end.push(bit);
      }
    }
    const at = this.#layout.ACL_PORTS / 4 + (direction * PORT_FIELDS.length + k) * PORTS;
    const inOrder = [...edges].sort(([a], [b]) => a - b);
    for (const [i, [port, { begin, end }]] of inOrder.entries()) {
      if (port >= PORTS) break;
      for (const bit of end) remove(this.#set, bit);
      for (const bit of begin) add(this.#set, bit);
      const set = changed[port] ? this.#allocator.put(this.#set) : this.#words[at + port]!;
      owned.add(set);
      this.#words.fill(set, at + port, at + Math.min(inOrder[i + 1]?.[0] ?? PORTS, PORTS));
    }
    const before = this.#ports[direction]![k]!;
    for (const set of before) if (!owned.has(set)) this.#allocator.release(set);
    this.#ports[direction]![k] = owned;
  }

  /** Makes the set of a class again if it, or the set of the class above it, changed. */
  #paintClasses(
    direction: number,
    end: number,
    field: AddressField,
    classes: AddressClasses,
  ): void {
    const { ACL_ADDRESSES } = this.#layout;
    const at = ACL_ADDRESSES / 4 + (direction * ENDS.length + end) * VALUES;
    const owned = this.#ends[direction]![end]!;
    const sets = new ClassSets(field, classes);
    const isPainted = new Uint8Array(VALUES);
    const paint = (id: number) => {
      isPainted[id] = 1;
      this.#allocator.release(owned[id]!);
      owned[id] = 0;
      if (field.hasOwn(id)) this.#words[at + id] = owned[id] = this.#allocator.put(sets.of(id));
      else this.#words[at + id] = this.#words[at + classes.parentOf(id)]!;
    };
    if (field.changedAt(NO_CLASS) > this.#version) paint(NO_CLASS);
    for (const id of classes.ids) {
      const parent = classes.parentOf(id);
      const isElsewhere = parent !== this.#parents[id];
      if (isPainted[parent] || isElsewhere || field.changedAt(id) > this.#version) paint(id);
    }
  }
}

/**
 * The sets of the classes of a field. The set of a class is that of the class above it plus the rules
 * about its own prefix, so the cost does not depend on how deep prefixes are nested.
 */
class ClassSets {
  readonly #field: AddressField;
  readonly #classes: AddressClasses;
  /**
   * The path from NO_CLASS down to the class of the last call: at each level its id, its set, and
   * the rules that exclude it.
   */
  readonly #ids: number[] = [];
  readonly #sets: Uint32Array[] = [];
  readonly #excluding: Uint32Array[] = [];

  constructor(field: AddressField, classes: AddressClasses) {
    this.#field = field;
    this.#classes = classes;
  }

  /** The set of a class, valid until the next call. Cheapest in the order of `Classes.ids`. */
  of(id: number): Uint32Array {
    const way = this.#pathTo(id);
    const known = way.findIndex((one, level) => one !== this.#ids[level]);
    for (let level = known < 0 ? way.length : known; level < way.length; level++) {
      this.#make(level, way[level]!);
    }
    this.#ids.length = way.length;
    return this.#sets[way.length - 1]!;
  }

  /** This class, behind the classes above it that have sets of their own. */
  #pathTo(id: number): number[] {
    const way = [id];
    for (let one = id; one !== NO_CLASS; ) {
      one = this.#classes.parentOf(one);
      if (this.#field.hasOwn(one)) way.push(one);
    }
    return way.reverse();
  }

  #make(level: number, id: number): void {
    this.#sets[level] ??= new Uint32Array(SET_WORDS);
    this.#excluding[level] ??= new Uint32Array(SET_WORDS);
    const [set, excluding] = [this.#sets[level], this.#excluding[level]];
    set.set(this.#sets[level - 1] ?? this.#field.anywhere);
    excluding.set(this.#excluding[level - 1] ?? EMPTY);
    this.#ids[level] = id;
    const named = this.#field.namedBy(id);
    if (!named) return;
    for (const bit of named.in) if (!has(excluding, bit)) add(set, bit);
    for (const bit of named.not) {
      add(excluding, bit);
      remove(set, bit);
    }
  }
}

const EMPTY = new Uint32Array(SET_WORDS);

/**
 * Checks that the rules fit, in a table that the core does not search.
 * @throws WeftError ACL_FULL
 */
export function checkFit(rules: AclRules, layout: AclLayout): void {
  const acl = new Acl();
  acl.update(rules);
  new AclTable(new ArrayBuffer(layout.ACL_SIZE), 0, layout).update(acl);
}

/** Offsets of the parts of the table, and the bits of a rule, as the core exports them. */
export interface AclLayout extends LpmLayout, SetLayout {
  readonly ACL_POLICED: number;
  readonly ACL_PROTOCOLS: number;
  readonly ACL_PORTS: number;
  readonly ACL_ADDRESSES: number;
  readonly ACL_RULES: number;
  readonly ACL_LPM4: number;
  readonly ACL_LPM4_SIZE: number;
  readonly ACL_LPM6: number;
  readonly ACL_LPM6_SIZE: number;
  readonly ACL_SIZE: number;
  readonly ACL_RULE_SIZE: number;
  readonly ACL_RULE_NEXT: number;
  readonly RULE_ACTION_SHIFT: number;
  readonly RULE_ALLOW: number;
  readonly RULE_DENY: number;
  readonly RULE_COUNT: number;
}

const DIRECTIONS = [0, 1] as const;

/** 1 for every port that one of these rules names; 1 for all if the rules are not known. */
function portsOf(rules: readonly PlacedRule[] | undefined, name: PortField): Uint8Array {
  const ports = new Uint8Array(PORTS);
  if (!rules || rules.some(({ rule }) => isAny(rule[name]))) return ports.fill(1);
  for (const { rule } of rules)
    for (const { from, to } of joined(rule[name])) ports.fill(1, from, to + 1);
  return ports;
}

const isAny = (all: readonly unknown[]): boolean => all.length === 0;

/** Sorted, with touching ranges merged. */
export function joined(ranges: readonly PortRange[]): readonly PortRange[] {
  if (ranges.length < 2) return ranges;
  const out: PortRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = out.at(-1);
    if (last && range.from <= last.to + 1) {
      out[out.length - 1] = { from: last.from, to: Math.max(last.to, range.to) };
    } else out.push(range);
  }
  return out;
}

/** The rules that are removed or added, with their bits. */
function differences(before: readonly PlacedRule[], after: readonly PlacedRule[]) {
  const removed = new Map(before.map((placed) => [placed.rule, placed]));
  const added: PlacedRule[] = [];
  for (const placed of after) {
    if (removed.get(placed.rule)?.bit === placed.bit) removed.delete(placed.rule);
    else added.push(placed);
  }
  return { removed: [...removed.values()], added };
}

/** Earlier rules keep their bits, and new ones get bits between. If none are left, all get new ones. */
function place(list: readonly AclRule[], before: readonly PlacedRule[]): readonly PlacedRule[] {
  const known = new Map(before.map(({ rule, bit }) => [rule, bit]));
  const placed: PlacedRule[] = [];
  let last = -1;
  for (let i = 0; i < list.length; ) {
    let end = i;
    while (end < list.length && !known.has(list[end]!)) end++;
    const next = end < list.length ? known.get(list[end]!)! : MAX_RULES;
    const step = (next - last) / (end - i + 1);
    if (next <= last || (end > i && step < 1)) return spread(list);
    for (let k = i; k < end; k++) {
      placed.push({ rule: list[k]!, bit: last + Math.floor(step * (k - i + 1)) });
    }
    if (end < list.length) placed.push({ rule: list[end]!, bit: next });
    last = next;
    i = end + 1;
  }
  return placed;
}

const spread = (list: readonly AclRule[]): PlacedRule[] =>
  list.map((rule, i) => ({ rule, bit: Math.floor((i * MAX_RULES) / list.length) }));

const addressesFull = (family: 4 | 6, count: number): WeftError =>
  new WeftError(
    "ACL_FULL",
    `the ${count} IPv${family} prefixes that the rules name are too far apart for their table`,
    "use fewer, or wider ones",
  );

const tooMany = (count: number): WeftError =>
  new WeftError(
    "ACL_FULL",
    `${count} rules are more than the ${MAX_RULES} that each direction can have`,
    "use fewer rules: one rule may name many addresses and ports",
  );
