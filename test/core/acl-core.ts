/** The core's access lists by themselves: a table, and headers put before it. */
import { type Address, contains, toBytes } from "../../src/address.js";
import type { Acl } from "../../src/compile/acl.js";
import type { AclEntry, AclRule, Addresses, PortRange } from "../../src/compile/acl-rule.js";
import { AclTable } from "../../src/compile/acl-table.js";
import { Core } from "../../src/core/instance.js";

/** What a rule can look at in a packet. */
export interface Header {
  readonly near: Address;
  readonly far: Address;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** What was decided, by which rule, and which rules counted on the way; no rule decided: nothing. */
export interface Decision {
  readonly action?: "allow" | "deny";
  readonly number?: number;
  readonly counted: readonly number[];
}

/** The slow twin: tries every rule in turn. */
export function decideSlowly(rules: readonly AclEntry[], header: Header): Decision {
  const counted: number[] = [];
  for (let i = 0; i < rules.length; ) {
    const { rule, next } = rules[i]!;
    if (!fits(rule, header)) i++;
    else if (rule.action === "count") {
      counted.push(rule.number);
      i = next;
    } else return { action: rule.action, number: rule.number, counted };
  }
  return { counted };
}

function fits(rule: AclRule, header: Header): boolean {
  return (
    lies(rule.near, header.near) &&
    lies(rule.far, header.far) &&
    (rule.protocols.length === 0 || rule.protocols.includes(header.protocol)) &&
    within(rule.sourcePorts, header.sourcePort) &&
    within(rule.destinationPorts, header.destinationPort)
  );
}

const lies = ({ in: inside, not }: Addresses, address: Address): boolean =>
  (inside.length === 0 || inside.some((prefix) => contains(prefix, address))) &&
  !not.some((prefix) => contains(prefix, address));

const within = (ranges: readonly PortRange[], port: number): boolean =>
  ranges.length === 0 || ranges.some(({ from, to }) => from <= port && port <= to);

export class AclCore {
  readonly #core: Core;
  readonly #at: readonly number[];
  readonly tables: readonly AclTable[];

  private constructor(core: Core, setsSize: number) {
    const layout = { ...core.layout, ACL_SETS_SIZE: setsSize };
    this.#core = core;
    this.#at = [0, 1].map((copy) => layout.TABLES + copy * layout.COPY_SIZE + layout.ACL_AT);
    this.tables = this.#at.map((at) => new AclTable(core.memory.buffer, at, layout));
  }

  /** @param setsSize bytes that there are for sets */
  static async create(setsSize?: number): Promise<AclCore> {
    const core = await Core.create();
    return new AclCore(core, setsSize ?? core.layout.ACL_SETS_SIZE);
  }

  paint(acl: Acl, copy: 0 | 1 = 0): void {
    this.tables[copy]!.update(acl);
  }

  decide(direction: 0 | 1, header: Header, copy: 0 | 1 = 0): Decision {
    const { exports, layout } = this.#core;
    const acl = this.#at[copy]!;
    const counted: number[] = [];
    let from = 0;
    for (;;) {
      const bit = exports.findRule(
        acl,
        direction,
        this.#classOf(header.near, acl),
        this.#classOf(header.far, acl),
        header.protocol,
        header.sourcePort,
        header.destinationPort,
        from,
      );
      if (bit === layout.ACL_MAX_RULES) return { counted };
      const word = exports.ruleAt(acl, direction, bit) >>> 0;
      const number = word & 0xffffff;
      const action = word >>> 24;
      if (action !== 3) return { action: action === 1 ? "allow" : "deny", number, counted };
      counted.push(number);
      from = exports.nextAfter(acl, direction, bit);
    }
  }

  #classOf(address: Address, acl: number): number {
    const { exports, layout, view, bytes } = this.#core;
    bytes.set(toBytes(address), layout.SLOTS);
    return address.family === 4
      ? exports.lookup4(acl + layout.ACL_LPM4, view.getUint32(layout.SLOTS, true))
      : exports.lookup6(acl + layout.ACL_LPM6, layout.SLOTS);
  }
}
