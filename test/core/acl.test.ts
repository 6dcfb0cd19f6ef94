/** The core's access lists beside a slow twin that tries rule after rule. */
import { describe, expect, it } from "vitest";
import { type Prefix, parsePrefix, prefixOf } from "../../src/address.js";
import { Acl } from "../../src/compile/acl.js";
import type { AclEntry, AclRule, Addresses, PortRange } from "../../src/compile/acl-rule.js";
import { random, seedOfRun } from "../packets.js";
import { AclCore, decideSlowly, type Header } from "./acl-core.js";

const seed = seedOfRun("acl");
const rnd = random(seed);
const below = (n: number) => Math.floor(rnd() * n);
const pick = <T>(all: readonly T[]): T => all[below(all.length)]!;
const some = <T>(most: number, make: () => T): T[] => Array.from({ length: below(most + 1) }, make);

/** Few different bits, so that prefixes cover each other and headers meet rules. */
function prefix(): Prefix {
  const family = rnd() < 0.7 ? 4 : 6;
  const length = pick(family === 4 ? [0, 8, 9, 16, 23, 24, 31, 32] : [0, 3, 32, 48, 64, 127, 128]);
  return prefixOf(address(family), length);
}

function address(family: 4 | 6 = rnd() < 0.7 ? 4 : 6) {
  const octets = Array.from({ length: family === 4 ? 4 : 16 }, () =>
    BigInt(pick([0, 1, 10, 128, 255])),
  );
  return { family, value: octets.reduce((sum, octet) => sum * 256n + octet, 0n) };
}

const addresses = (): Addresses => ({
  in: rnd() < 0.3 ? [] : some(4, prefix),
  not: rnd() < 0.6 ? [] : some(3, prefix),
});

const PORTS = [0, 1, 53, 79, 80, 81, 443, 1024, 65534, 65535];
function range(): PortRange {
  const [a, b] = [pick(PORTS), pick(PORTS)];
  return { from: Math.min(a, b), to: Math.max(a, b) };
}

let numbers = 0;
const rule = (): AclRule => ({
  number: numbers++,
  near: addresses(),
  far: addresses(),
  protocols: rnd() < 0.5 ? [] : some(3, () => pick([1, 6, 17, 58, 255])),
  sourcePorts: rnd() < 0.8 ? [] : some(3, range),
  destinationPorts: rnd() < 0.5 ? [] : some(3, range),
  action: pick(["allow", "deny", "count"]),
});

/** Each goes on at any of those behind it. */
const listOf = (rules: readonly AclRule[]): AclEntry[] =>
  rules.map((one, i) => ({ rule: one, next: i + 1 + below(rules.length - i) }));

const rules = (count: number) => Array.from({ length: count }, rule);

const header = (): Header => {
  const family = rnd() < 0.7 ? 4 : 6;
  return {
    near: address(family),
    far: address(family),
    protocol: pick([1, 6, 17, 58, 255, 47]),
    sourcePort: pick(PORTS),
    destinationPort: pick(PORTS),
  };
};

describe("access lists", () => {
  it("decide as the slow twin, with the same rule and the same counted ones", async () => {
    for (const count of [0, 1, 1, 1, 2, 2, 30, 300]) {
      const acl = new Acl();
      const [out, inward] = [listOf(rules(count)), listOf(rules(count))];
      acl.update([out, inward]);
      const core = await AclCore.create();
      core.paint(acl);
      for (let i = 0; i < 3000; i++) {
        const one = header();
        expect(core.decide(0, one)).toEqual(decideSlowly(out, one));
        expect(core.decide(1, one)).toEqual(decideSlowly(inward, one));
      }
    }
  });

  it("follow every change, in both copies", async () => {
    const core = await AclCore.create();
    const acl = new Acl();
    let all: AclRule[] = rules(40);
    for (let round = 0; round < 300; round++) {
      all = change(all);
      const list = listOf(all);
      acl.update([list, []]);
      const copy = below(2) as 0 | 1;
      core.paint(acl, copy);
      for (let i = 0; i < 30; i++) {
        const one = header();
        expect(core.decide(0, one, copy)).toEqual(decideSlowly(list, one));
        expect(core.decide(1, one, copy)).toEqual({ counted: [] });
      }
    }
  });

  it("follow every change of ports, in a copy that lags behind too", async () => {
    const core = await AclCore.create();
    const acl = new Acl();
    const one = (): AclRule => ({
      ...rule(),
      near: all,
      far: all,
      protocols: [],
      sourcePorts: below(9) === 0 ? [] : [range()],
      destinationPorts: [range()],
    });
    const list = Array.from({ length: 12 }, one);
    for (let round = 0; round < 400; round++) {
      list.splice(below(list.length), 1, one());
      const entries = listOf(list);
      acl.update([entries, []]);
      const copy = below(6) === 0 ? 1 : 0;
      core.paint(acl, copy);
      for (const sourcePort of PORTS) {
        for (const destinationPort of PORTS) {
          const packet = { ...header(), sourcePort, destinationPort };
          expect(core.decide(0, packet, copy)).toEqual(decideSlowly(entries, packet));
        }
      }
    }
  });

  /** One or more rules gone, come, in another place, or other rules altogether, or no other rules. */
  function change(list: readonly AclRule[]): AclRule[] {
    const next = [...list];
    const at = below(next.length + 1);
    switch (below(7)) {
      case 0:
        return rules(below(80));
      case 1:
        next.splice(at, below(5));
        break;
      case 2:
        next.push(...next.splice(at, 1));
        break;
      case 3:
        break;
      default:
        next.splice(at, below(2), ...rules(below(4)));
    }
    return next;
  }

  it("refuse more rules than there are bits, and stay as they were", async () => {
    const core = await AclCore.create();
    const acl = new Acl();
    const deny = {
      ...rule(),
      near: all,
      far: all,
      protocols: [],
      sourcePorts: [],
      destinationPorts: [],
      action: "deny" as const,
    };
    acl.update([listOf([deny]), []]);
    const many = Array.from({ length: 16385 }, () => ({ ...deny }));
    expect(() => acl.update([listOf(many), []])).toThrow(/16385 rules/);
    core.paint(acl);
    expect(core.decide(0, header()).action).toBe("deny");
  });

  const all: Addresses = { in: [], not: [] };

  it("fit in a room that is just large enough, after all that was in it before", async () => {
    const most = 40;
    // Four sets of as many words as there are rules, and one for each port.
    const core = await AclCore.create((4 + most) * 48 + 4 * 8 * most);
    const acl = new Acl();
    for (let count = 1; count <= most; count++) {
      const list = Array.from({ length: count }, (_, port) => ({
        ...rule(),
        near: all,
        far: all,
        protocols: [],
        sourcePorts: [],
        destinationPorts: [{ from: port, to: port }],
      }));
      acl.update([listOf(list), []]);
      core.paint(acl);
      for (let port = 0; port <= count; port++) {
        const one = { ...header(), destinationPort: port };
        expect(core.decide(0, one)).toEqual(decideSlowly(acl.directions[0]!.list, one));
      }
    }
  });

  it("refuse sets that do not fit, and take what does after that", async () => {
    const core = await AclCore.create(4096);
    const acl = new Acl();
    const few = listOf(rules(2));
    const fits = () => {
      acl.update([few, []]);
      core.paint(acl);
      for (let i = 0; i < 300; i++) {
        const one = header();
        expect(core.decide(0, one)).toEqual(decideSlowly(few, one));
      }
    };
    fits();
    acl.update([listOf(rules(300)), []]);
    for (let i = 0; i < 2; i++) expect(() => core.paint(acl)).toThrow(/take more than/);
    fits();
  });

  it("refuse more prefixes than there are classes, and stay as they were", async () => {
    const core = await AclCore.create();
    const acl = new Acl();
    const one = {
      ...rule(),
      near: all,
      far: all,
      protocols: [],
      sourcePorts: [],
      destinationPorts: [],
      action: "deny" as const,
    };
    acl.update([listOf([one]), []]);
    const hosts = Array.from({ length: 16384 }, (_, i) =>
      parsePrefix(`10.1.${i >> 8}.${i & 255}/32`),
    );
    expect(() => acl.update([listOf([{ ...one, far: { in: hosts, not: [] } }]), []])).toThrow(
      /prefixes/,
    );
    core.paint(acl);
    expect(core.decide(0, header()).number).toBe(one.number);
  });
  it("refuse prefixes whose table has no room, as rules that do not fit", async () => {
    const core = await AclCore.create();
    const acl = new Acl();
    const far = Array.from({ length: 16_000 }, (_, i) =>
      parsePrefix(`fd00:${(i * 4).toString(16)}:${((i * 40_503) & 0xffff).toString(16)}::1/128`),
    );
    acl.update([listOf([{ ...rule(), far: { in: far, not: [] } }]), []]);
    expect(() => core.paint(acl)).toThrow(expect.objectContaining({ code: "ACL_FULL" }));
  });

  it("cost as much for nested prefixes as for disjoint ones", async () => {
    const ruleAbout = (far: Prefix[], i: number): AclRule => ({
      ...rule(),
      number: i + 1,
      near: all,
      far: { in: far, not: [] },
      protocols: [],
      sourcePorts: [],
      destinationPorts: [],
    });
    /** Rules that share a group, and rules about hosts that lie in all of its prefixes, or in none. */
    const cost = async (group: Prefix[]) => {
      const core = await AclCore.create();
      const acl = new Acl();
      const hosts = Array.from({ length: 1_500 }, (_, i) => [
        parsePrefix(`fd00::${i.toString(16)}/128`),
      ]);
      const list = [...Array(1_500).fill(group), ...hosts].map(ruleAbout);
      const began = performance.now();
      acl.update([listOf(list), []]);
      core.paint(acl);
      return performance.now() - began;
    };
    const nested = Array.from({ length: 60 }, (_, i) => parsePrefix(`fd00::/${20 + i}`));
    const beside = Array.from({ length: 60 }, (_, i) => parsePrefix(`fd01:${i}::/32`));
    await cost(beside); // The first time much is compiled.
    // It was thirteen times as much where each prefix asked all above it for all their rules.
    expect(await cost(nested)).toBeLessThan(3 * (await cost(beside)));
  });
});
