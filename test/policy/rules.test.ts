/** The rules that the core tries, beside the document read as it is written. */
import { describe, expect, it } from "vitest";
import { type Address, contains, type Prefix, parsePrefix } from "../../src/address.js";
import { Acl } from "../../src/compile/acl.js";
import { type PolicyDocument, readPolicy } from "../../src/policy/document.js";
import { PolicyEvaluator, type PolicyPacket } from "../../src/policy/evaluator.js";
import { absentNodes, type Members, namedNodes } from "../../src/policy/resolver.js";
import { DIRECTIONS } from "../../src/policy/rule.js";
import { NO_RULES, type PolicyRules, rulesOf } from "../../src/policy/rules.js";
import { AclCore, type Decision, decideSlowly } from "../core/acl-core.js";
import { random, seedOfRun } from "../packets.js";
import { Maker } from "./random.js";

const seed = seedOfRun("policy rules");

const holds = (own: readonly Prefix[], address: Address) =>
  own.some((lease) => contains(lease, address));

function headerOf(way: (typeof DIRECTIONS)[number], packet: PolicyPacket) {
  const { source, destination, ...rest } = packet;
  const [near, far] = way === "egress" ? [source, destination] : [destination, source];
  return { near, far, ...rest };
}

const judgementOf = ({ action = "allow", number, counted }: Decision, { places }: PolicyRules) => ({
  action,
  ...(number !== undefined && { place: places.get(number)! }),
  counted: counted.map((one) => places.get(one)!),
});

describe("the rules of a node", () => {
  it("say what the document says, through every change of document and members", async () => {
    const make = new Maker(seed);
    const core = await AclCore.create();
    const acl = new Acl();
    let document = make.document();
    let members: Members = make.members();
    let rules = NO_RULES;
    let read: PolicyDocument | undefined;
    for (let round = 0; round < 400; round++) {
      document = make.change(document);
      if (make.below(5) === 0) members = make.members();
      read = readPolicy(JSON.stringify(document), "policy", read);
      const own = members.get("n1")!;
      rules = rulesOf(read, members, own, rules);
      acl.update(rules.rules);
      core.paint(acl);
      const judge = new PolicyEvaluator(read, members);
      for (let i = 0; i < 60; i++) {
        const packet = make.packet();
        for (const [k, way] of DIRECTIONS.entries()) {
          const header = headerOf(way, packet);
          if (!holds(own, header.near)) continue;
          const expected = judge.evaluateAt(way, packet);
          expect(judgementOf(decideSlowly(rules.rules[k]!, header), rules)).toEqual(expected);
          expect(judgementOf(core.decide(k as 0 | 1, header), rules)).toEqual(expected);
        }
      }
    }
  });

  it("stay the same objects with the same numbers where nothing changed", () => {
    const make = new Maker(seed + 1);
    for (let round = 0; round < 200; round++) {
      const document = make.document();
      const members = make.members();
      const own = members.get("n1")!;
      const read = () => readPolicy(JSON.stringify(document), "policy");
      const first = rulesOf(read(), members, own);
      const second = rulesOf(read(), members, own, first);
      expect(second.fresh).toEqual([]);
      expect(second.places).toEqual(first.places);
      for (const k of [0, 1] as const) {
        expect(second.rules[k].map(({ next }) => next)).toEqual(first.rules[k].map((e) => e.next));
        for (const [i, { rule }] of second.rules[k].entries()) {
          expect(rule).toBe(first.rules[k][i]!.rule);
        }
      }
    }
  });

  const own = [parsePrefix("10.1.0.0/24")];
  const policyOf = (...rules: string[]) =>
    readPolicy(`policies: [{ name: p, applies: [10.1.0.0/24], ingress: [${rules.join()}] }]`, "p");
  const port = (n: number) => `{ action: allow, protocol: tcp, ports: [${n}] }`;

  it("keep their numbers when others come before them, and a number that is free rests once", () => {
    const numbers = ({ rules: [, ingress] }: PolicyRules) => ingress.map(({ rule }) => rule.number);
    const first = rulesOf(policyOf(port(1), port(2)), new Map(), own);
    expect(numbers(first)).toEqual([1, 2, 3]);
    expect(first.fresh).toEqual([1, 2, 3]);
    const second = rulesOf(policyOf(port(9), port(2)), new Map(), own, first);
    expect(numbers(second)).toEqual([4, 2, 3]);
    expect(second.fresh).toEqual([4]);
    expect(second.places.get(2)).toMatchObject({ policy: "p", index: 1 });
    const third = rulesOf(policyOf(port(8), port(9), port(2)), new Map(), own, second);
    expect(numbers(third)).toEqual([1, 4, 2, 3]);
    expect(third.fresh).toEqual([1]);
  });

  it("that say the same twice have two numbers", () => {
    const { rules, places } = rulesOf(policyOf(port(1), port(1)), new Map(), own);
    expect(rules[1].map(({ rule }) => places.get(rule.number)?.index)).toEqual([0, 1, undefined]);
  });

  it("of a node without protected endpoints are none", () => {
    expect(rulesOf(policyOf(port(1)), new Map(), [parsePrefix("10.9.0.0/24")])).toEqual(NO_RULES);
  });

  it("that name an unknown node match nothing, and keep their number until it joins", () => {
    const document = policyOf("{ action: allow, from: ['node:later'] }");
    expect(absentNodes(namedNodes(document), new Map())).toEqual(["later"]);
    const before = rulesOf(document, new Map(), own);
    expect(before.rules[1].map(({ rule }) => rule.action)).toEqual(["deny"]);
    const members = new Map([["later", [parsePrefix("10.7.0.0/24")]]]);
    expect(absentNodes(namedNodes(document), members)).toEqual([]);
    const after = rulesOf(document, members, own, before);
    expect(after.rules[1].map(({ rule }) => rule.action)).toEqual(["allow", "deny"]);
    expect(after.fresh).toEqual([]);
  });

  it("depend on the nodes that the document names, wherever it does", () => {
    const document = readPolicy(
      `
      groups: { g: ["node:in-group"] }
      policies:
        - name: p
          applies: ["node:protected"]
          ingress: [{ action: allow, from: ["node:heard"] }]
          egress: [{ action: allow, notTo: ["node:unasked", 10.0.0.1] }]
      `,
      "p",
    );
    expect([...namedNodes(document)].sort()).toEqual(["heard", "in-group", "protected", "unasked"]);
    expect(absentNodes(namedNodes(document), new Map([["heard", []]]))).toEqual([
      "in-group",
      "protected",
      "unasked",
    ]);
  });

  it("name no more addresses than fit, however often a group is named", () => {
    const hosts = Array.from({ length: 16_000 }, (_, i) => `10.8.${i >> 8}.${i & 255}`);
    const rule = { action: "allow", from: ["group:g"] };
    const policy = (name: string, rules: number) => ({
      name,
      applies: ["10.1.0.0/24"],
      ingress: Array(rules).fill(rule),
    });
    const textOf = (...policies: object[]) => JSON.stringify({ groups: { g: hosts }, policies });
    const p = readPolicy(textOf(policy("p", 60)), "p");
    const q = readPolicy(textOf(policy("p", 60), policy("q", 10)), "p", p);
    expect(() => rulesOf(q, new Map(), own)).toThrow(/1000000 addresses/);
    const before = rulesOf(p, new Map(), own);
    // What stays as it was is counted too.
    expect(() => rulesOf(q, new Map(), own, before)).toThrow(/1000000 addresses/);
  });
  it("protect no more addresses than fit, counted once for each rule", () => {
    const hosts = Array.from({ length: 200 }, (_, i) => `"10.1.0.${i}"`);
    const of = (rules: number) =>
      readPolicy(
        `{"policies": [{"name": "p", "applies": [${hosts}], "ingress": [${Array(rules).fill('{"action":"allow"}')}]}]}`,
        "p",
      );
    rulesOf(of(4_990), new Map(), own);
    expect(() => rulesOf(of(5_001), new Map(), own)).toThrow(/1000000 addresses/);
  });

  it("leave out the ports and types that they exclude", () => {
    const rnd = random(seed + 2);
    const below = (n: number) => Math.floor(rnd() * n);
    const range = () => {
      const from = below(40);
      return [from, from + below(6)] as const;
    };
    for (let round = 0; round < 300; round++) {
      const some = Array.from({ length: below(5) }, range);
      const not = Array.from({ length: 1 + below(5) }, range);
      const text = (ranges: (readonly [number, number])[]) =>
        ranges.map(([from, to]) => `${from}-${to}`).join();
      const ports = some.length > 0 ? `ports: [${text(some)}], ` : "";
      const document = policyOf(
        `{ action: allow, protocol: tcp, ${ports}notPorts: [${text(not)}] }`,
      );
      const [made] = rulesOf(document, new Map(), own).rules[1];
      const isIn = (ranges: readonly (readonly [number, number])[], port: number) =>
        ranges.some(([from, to]) => from <= port && port <= to);
      const ranges = (made?.rule.action === "allow" ? made.rule.destinationPorts : []).map(
        ({ from, to }) => [from, to] as const,
      );
      for (let port = 0; port < 60; port++) {
        const wanted = (some.length === 0 || isIn(some, port)) && !isIn(not, port);
        expect([port, isIn(ranges, port)]).toEqual([port, wanted]);
      }
    }
  });
});
