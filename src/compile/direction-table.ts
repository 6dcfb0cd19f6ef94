/** The part of the table for one direction: its rules, and their sets by protocol, port and class of address. */
import { ENDS, PORT_FIELDS } from "./acl-rule.js";
import { ClassTable } from "./class-table.js";
import type { AddressClasses } from "./classes.js";
import type { DirectionRules } from "./direction-rules.js";
import { PORTS, PortTable } from "./port-table.js";
import { PROTOCOLS, ProtocolTable } from "./protocol-table.js";
import { VALUES } from "./rib.js";
import { MAX_RULES, type SetAllocator } from "./sets.js";

/** Offsets of the parts of both directions, and the bits of a rule, as the core exports them. */
export interface DirectionLayout {
  readonly ACL_POLICED: number;
  readonly ACL_PROTOCOLS: number;
  readonly ACL_PORTS: number;
  readonly ACL_ADDRESSES: number;
  readonly ACL_RULES: number;
  readonly ACL_RULE_SIZE: number;
  readonly ACL_RULE_NEXT: number;
  readonly RULE_ACTION_SHIFT: number;
  readonly RULE_ALLOW: number;
  readonly RULE_DENY: number;
  readonly RULE_COUNT: number;
}

export class DirectionTable {
  readonly #layout: DirectionLayout;
  /** Not zero if there are rules. */
  readonly #policed: Uint32Array;
  /** The rules, by bit. */
  readonly #rules: Uint32Array;
  readonly #protocols: ProtocolTable;
  readonly #ports: readonly PortTable[];
  readonly #ends: readonly ClassTable[];

  /**
   * @param words the whole table
   * @param direction 0 for packets out, 1 for packets in
   */
  constructor(
    words: Uint32Array,
    allocator: SetAllocator,
    direction: number,
    layout: DirectionLayout,
  ) {
    const { ACL_POLICED, ACL_RULES, ACL_PROTOCOLS, ACL_PORTS, ACL_ADDRESSES } = layout;
    const part = (offset: number, size: number, n = direction) => nth(words, offset, size, n);
    this.#layout = layout;
    this.#policed = part(ACL_POLICED, 1);
    this.#rules = part(ACL_RULES, (MAX_RULES * layout.ACL_RULE_SIZE) / 4);
    this.#protocols = new ProtocolTable(part(ACL_PROTOCOLS, PROTOCOLS), allocator);
    this.#ports = PORT_FIELDS.map((field, k) => {
      const n = direction * PORT_FIELDS.length + k;
      return new PortTable(part(ACL_PORTS, PORTS, n), allocator, field);
    });
    this.#ends = ENDS.map((_, k) => {
      const n = direction * ENDS.length + k;
      return new ClassTable(part(ACL_ADDRESSES, VALUES, n), allocator);
    });
  }

  clear(): void {
    this.#policed.fill(0);
    this.#rules.fill(0);
    for (const table of [this.#protocols, ...this.#ports, ...this.#ends]) table.clear();
  }

  /** Writes what changed after this version. */
  paint(rules: DirectionRules, classes: AddressClasses, version: number): void {
    if (rules.version > version) {
      this.#paintRules(rules);
      this.#protocols.paint(rules.placed);
      const changed = rules.changedAfter(version);
      for (const ports of this.#ports) ports.paint(rules.placed, changed);
    }
    rules.ends.forEach((field, k) => {
      this.#ends[k]!.paint(field, classes, version);
    });
  }

  #paintRules({ list, placed }: DirectionRules): void {
    const { ACL_RULE_SIZE, ACL_RULE_NEXT, RULE_ACTION_SHIFT, ...bits } = this.#layout;
    const actions = { allow: bits.RULE_ALLOW, deny: bits.RULE_DENY, count: bits.RULE_COUNT };
    this.#policed[0] = Number(list.length > 0);
    placed.forEach(({ rule, bit }, i) => {
      const at = (bit * ACL_RULE_SIZE) / 4;
      this.#rules[at] = rule.number + actions[rule.action] * 2 ** RULE_ACTION_SHIFT;
      this.#rules[at + ACL_RULE_NEXT / 4] = placed[list[i]!.next]?.bit ?? MAX_RULES;
    });
  }
}

/** The nth of several parts of one size in words, the first of which is at this offset in bytes. */
const nth = (words: Uint32Array, offset: number, size: number, n: number): Uint32Array =>
  words.subarray(offset / 4 + n * size, offset / 4 + (n + 1) * size);
