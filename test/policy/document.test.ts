/** The document: what it means, and what each mistake in it says. */
import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { WeftError } from "../../src/error.js";
import { MAX_DOCUMENT, policyAsJson, readPolicy, readSealed } from "../../src/policy/document.js";
import { seedOfRun } from "../packets.js";
import { Maker } from "./random.js";

const WEB = `
groups:   { db: [10.244.3.10/32, "node:h3"] }
tiers:    [ { name: admin, order: 10 } ]
policies:
  - name: web
    tier: default
    order: 100
    applies: [10.244.2.0/24, "node:h2", "group:db"]
    ingress:
      - { action: allow, protocol: tcp, from: [10.244.1.0/24], notFrom: [10.244.1.9/32], ports: [80, 8000-8100] }
    egress:
      - { action: deny, protocol: icmp, icmp: { type: 8 }, to: ["group:db"] }
      - { action: allow }
`;

/** The error that a document gives, as `what | remedy`. */
function mistake(text: string): string {
  try {
    readPolicy(text, "p.yaml");
  } catch (error) {
    if (error instanceof WeftError && error.code === "POLICY") {
      return `${error.message} | ${error.remedy}`;
    }
    throw error;
  }
  return "no mistake";
}

const rule = (text: string, way = "ingress") =>
  `policies:\n  - name: web\n    applies: [10.0.0.1]\n    ${way}:\n      - { ${text} }`;
const policy = (text: string) => `policies:\n  - { ${text} }`;

describe("a policy document", () => {
  it("is what it says", () => {
    const { profile, groups, tiers } = readPolicy(WEB, "p.yaml");
    expect(profile).toBe("rfc");
    expect(groups.get("db")).toHaveLength(2);
    expect(tiers.map(({ name, order }) => [name, order])).toEqual([
      ["admin", 10],
      ["default", 1000],
    ]);
    const [web] = tiers[1]!.policies;
    expect(web).toMatchObject({ name: "web", order: 100, isShadow: false });
    expect(web!.line).toBe(5);
    expect(web!.ingress).toMatchObject([
      {
        line: 5,
        action: "allow",
        protocol: 6,
        ports: [
          { from: 80, to: 80 },
          { from: 8000, to: 8100 },
        ],
      },
    ]);
    expect(web!.egress).toMatchObject([
      { line: 7, action: "deny", protocol: 1, ports: [{ from: 0x800, to: 0x8ff }] },
      { line: 8, action: "allow" },
    ]);
  });

  it("may be JSON, and says the same then", () => {
    const yaml =
      "policies: [{ name: a, order: 7, applies: [10.0.0.1], egress: [{ action: allow }] }]";
    const json = `{ "policies": [{ "name": "a", "order": 7, "applies": ["10.0.0.1"], "egress": [{ "action": "allow" }] }] }`;
    expect(readPolicy(json, "p")).toEqual(readPolicy(yaml, "p"));
  });

  it("says the same as JSON, on the same lines", () => {
    const make = new Maker(seedOfRun("policy as JSON"));
    for (let i = 0; i < 100; i++) {
      const text = stringify(make.document(), {
        aliasDuplicateObjects: false,
        collectionStyle: make.pick(["any", "block"]),
        lineWidth: make.pick([0, 40]),
        indent: make.pick([2, 4]),
      });
      const json = policyAsJson(`# a comment\n\n${text}`, "p");
      expect(() => JSON.parse(json)).not.toThrow();
      expect(readPolicy(json, "p")).toEqual(readPolicy(`# a comment\n\n${text}`, "p"));
      expect(policyAsJson(json, "p")).toBe(json);
    }
    expect(policyAsJson("policies:\n# none\n  []\n", "p")).toBe('{"policies":\n\n[]}');
    expect(() => policyAsJson("policies: [", "p.yaml")).toThrow("p.yaml:1: Flow sequence");
  });

  it("without policies says so", () => {
    expect(readPolicy("policies: []", "p").tiers).toEqual([
      { name: "default", order: 1000, policies: [] },
    ]);
    expect(mistake("")).toBe(
      "p.yaml:1: this is not a map | write KEY: VALUE, one a line, or { KEY: VALUE, ... }",
    );
    expect(mistake("profile: rfc")).toBe(
      'p.yaml:1: "policies" is missing | give it: policies: ...',
    );
  });

  it.each([
    ["policies: [", "p.yaml:1: Flow sequence in block collection"],
    ["policies: []\npolicies: []", "p.yaml:2: policies: it occurs twice"],
    ["a: &x 1\npolicies: *x", "p.yaml:2: this is a reference to another part of the text"],
    ["policies: !!seq []", "no mistake"],
    ["policies: !x []", "p.yaml:1: Unresolved tag: !x"],
    ["[a]: 1", "p.yaml:1: a key is a list or a map"],
    [`policies: ${"[".repeat(40)}${"]".repeat(40)}`, "p.yaml:1: this is nested too deeply"],
    [
      "masquerade: []",
      'p.yaml:1: masquerade: "masquerade" translates addresses, which is not policy',
    ],
    ["polices: []", 'p.yaml:1: polices: "polices" is not a known name | did you mean "policies"?'],
    [
      "constructor: []",
      'p.yaml:1: constructor: "constructor" is not a known name | use one of: pro',
    ],
    [
      "profile: linus\npolicies: []",
      'p.yaml:1: profile: "linus" is not known here | did you mean "linux"?',
    ],
    ["groups: [a]\npolicies: []", "p.yaml:1: groups: this is not a map"],
    ["groups: { a: x }\npolicies: []", "p.yaml:1: groups.a: this is not a list"],
    [
      'groups:\n  a: ["group:b"]\n  b: []\npolicies: []',
      "p.yaml:2: groups.a[0]: a group cannot be in a group",
    ],
    ["groups: { A_: [] }\npolicies: []", 'p.yaml:1: groups.A_: "A_" is not a name'],
    [
      "groups: { a: [10.0.0.1/24] }\npolicies: []",
      'p.yaml:1: groups.a[0]: "10.0.0.1/24" has address bits set beyond its length | did you mean 10.0.0.0/24?',
    ],
    [
      "groups: { a: [010.0.0.1] }\npolicies: []",
      'p.yaml:1: groups.a[0]: "010.0.0.1" is not an IP address',
    ],
    [
      "groups: { a: [h2] }\npolicies: []",
      'p.yaml:1: groups.a[0]: "h2" is not an IP address | write "node:h2" for the addresses of that node, or "group:h2" for those of a group',
    ],
    ['groups: { a: ["node:H!"] }\npolicies: []', 'p.yaml:1: groups.a[0]: "H!" is not a node name'],
    ["tiers: [{ name: a }]\npolicies: []", 'p.yaml:1: tiers[0]: "order" is missing'],
    [
      "tiers: [{ name: a, order: -1 }]\npolicies: []",
      'p.yaml:1: tiers[0].order: "-1" is not a whole number',
    ],
    [
      "tiers: [{ name: default, order: 5 }]\npolicies: []",
      'p.yaml:1: tiers[0]: the tier "default" is always there, with order 1000',
    ],
    [
      "tiers:\n- { name: a, order: 1 }\n- { name: a, order: 2 }\npolicies: []",
      'p.yaml:3: tiers[1]: there are two tiers "a"',
    ],
    [policy("applies: [10.0.0.1], ingress: []"), 'p.yaml:2: policies[0]: "name" is missing'],
    [policy("name: a, ingress: []"), 'p.yaml:2: policies[0]: "applies" is missing'],
    [
      policy("name: a, applies: [10.0.0.1]"),
      "p.yaml:2: policies[0]: this policy has neither ingress nor egress",
    ],
    [
      policy("name: a, applies: [], ingress: []"),
      "p.yaml:2: policies[0].applies: an empty list says neither all nor none",
    ],
    [
      policy("name: a, applies: 10.0.0.1, ingress: []"),
      "p.yaml:2: policies[0].applies: this is not a list",
    ],
    [
      policy("name: a, applies: [10.0.0.1], ingress:"),
      "p.yaml:2: policies[0].ingress: this is not a list",
    ],
    [
      policy('name: a, applies: ["group:web"], ingress: []'),
      'p.yaml:2: policies[0].applies[0]: there is no group "web" | add it to groups',
    ],
    [
      policy("name: a, tier: x, applies: [10.0.0.1], ingress: []"),
      'p.yaml:2: policies[0].tier: there is no tier "x" | add it to tiers, or use one of: default',
    ],
    [
      policy("name: a, mode: shadows, applies: [10.0.0.1], ingress: []"),
      'p.yaml:2: policies[0].mode: "shadows" is not known here | did you mean "shadow"?',
    ],
    [
      `${policy("name: a, applies: [10.0.0.1], ingress: []")}\n  - { name: a, applies: [10.0.0.1], ingress: [] }`,
      'p.yaml:3: policies[1]: there are two policies "a"',
    ],
    [
      rule("action: reject"),
      'p.yaml:5: policies[0].ingress[0].action: "reject" is not known here | use one of: allow, deny, pass, log',
    ],
    [rule("protocol: tcp"), 'p.yaml:5: policies[0].ingress[0]: "action" is missing'],
    [
      rule("action: allow, to: [10.0.0.2]"),
      'p.yaml:5: policies[0].ingress[0].to: "to" has no meaning in ingress: there, the policy\'s own endpoints stand at that end | write "from" for the other end',
    ],
    [
      rule("action: allow, notFrom: [10.0.0.2]", "egress"),
      'p.yaml:5: policies[0].egress[0].notFrom: "notFrom" has no meaning in egress: there, the policy\'s own endpoints stand at that end | write "notTo" for the other end',
    ],
    [
      rule("action: allow, from: []"),
      "p.yaml:5: policies[0].ingress[0].from: an empty list says neither all nor none | leave the key out for all, leave the rule out for none",
    ],
    [
      rule("action: allow, ports: [80]"),
      "p.yaml:5: policies[0].ingress[0].ports: this rule's protocol has no such field | give it protocol: tcp, udp or sctp",
    ],
    [
      rule("action: allow, protocol: icmp, notPorts: [80]"),
      "p.yaml:5: policies[0].ingress[0].notPorts: this rule's protocol has no such field",
    ],
    [
      rule("action: allow, protocol: tcp, ports: [80], icmp: { type: 8 }"),
      "p.yaml:5: policies[0].ingress[0].icmp: this rule's protocol has no such field",
    ],
    [
      rule("action: allow, protocol: icmp, notPorts: [80], notIcmp: { type: 8 }"),
      "p.yaml:5: policies[0].ingress[0].notPorts: this rule's protocol has no such field",
    ],
    [
      rule("action: allow, protocol: tcp, icmp: { type: 8 }"),
      "p.yaml:5: policies[0].ingress[0].icmp: this rule's protocol has no such field | give it protocol: icmp or icmpv6",
    ],
    [
      rule("action: allow, protocol: icmp, icmp: { code: 8 }"),
      'p.yaml:5: policies[0].ingress[0].icmp: "type" is missing',
    ],
    [
      rule("action: allow, protocol: tpc"),
      'p.yaml:5: policies[0].ingress[0].protocol: "tpc" is not a protocol',
    ],
    [
      rule("action: allow, protocol: 256"),
      'p.yaml:5: policies[0].ingress[0].protocol: "256" is not a whole number from 0 to 255',
    ],
    [
      rule("action: allow, protocol: tcp, ports: [90-80]"),
      "p.yaml:5: policies[0].ingress[0].ports[0]: 90-80 ends before it begins | did you mean 80-90?",
    ],
    [
      rule("action: allow, protocol: tcp, ports: [080]"),
      'p.yaml:5: policies[0].ingress[0].ports[0]: "080" is not a whole number from 0 to 65535',
    ],
    [
      rule("action: allow, protocol: tcp, ports: [1-2-3]"),
      'p.yaml:5: policies[0].ingress[0].ports[0]: "1-2-3" is not a port',
    ],
    [
      rule("action: allow, protocol: tcp, ports: [http]"),
      'p.yaml:5: policies[0].ingress[0].ports[0]: "http" is not a whole number',
    ],
  ])("%s: %s", (text, message) => {
    expect(mistake(text).slice(0, message.length)).toBe(message);
  });

  it("that is broken anywhere is refused by name, with a line, or means what it says then", () => {
    const make = new Maker(seedOfRun("broken policy"));
    const noise = [..."{}[],:-#&*!|>'\"%@` \n\t\0\u2028x0", "  ", "\n  - ", "group:", "/33", "tcp"];
    for (let i = 0; i < 500; i++) {
      const plain = make.document();
      let text = make.below(3) === 0 ? JSON.stringify(plain) : stringify(plain);
      for (let changes = 0; changes <= make.below(3); changes++) {
        const at = make.below(text.length + 1);
        text = text.slice(0, at) + make.pick(noise) + text.slice(at + make.below(4));
      }
      const said = mistake(text);
      if (said !== "no mistake") expect(said).toMatch(/^p\.yaml:\d+: /);
    }
  });

  it.each([
    ["YAML", "policies: []", "p:1: this is not JSON"],
    ["what has ended", '{\n"policies": [\n', "p:3: this is not JSON"],
    ["something behind it", '{"policies": []}\n}', "p:2: this is not JSON"],
    ["brackets", "[".repeat(40), "p:1: this is nested too deeply"],
    ["values", `[${"0,".repeat(1_000_000)}0]`, "p:1: 1000002 values are more than 1000000"],
    ["characters", " ".repeat(MAX_DOCUMENT + 1), "p: 4194305 characters are more than 4194304"],
  ])("that came from elsewhere is bounded JSON: not %s", (_, text, words) => {
    expect(() => readSealed(text, "p")).toThrow(words);
  });

  it("that costs too much is refused for its words alone, with the policy that costs most", () => {
    const hosts = Array.from({ length: 1_000 }, (_, i) => `10.${i >> 8}.0.${i & 255}`);
    const policyOf = (name: string, rules: number) => ({
      name,
      applies: ["group:g"],
      ingress: Array(rules).fill({ action: "allow", from: ["group:g", "node:h9"] }),
    });
    const textOf = (rules: number) =>
      `${JSON.stringify({ groups: { g: hosts } }).slice(0, -1)},\n"policies": [\n${JSON.stringify(policyOf("a", 10))},\n${JSON.stringify(policyOf("b", rules))}]}`;
    const [few, many] = [textOf(7_900), textOf(8_000)];
    expect(readSealed(few, "p").tiers[0]!.policies).toHaveLength(2);
    for (const before of [undefined, readSealed(few, "p")]) {
      expect(() => readSealed(many, "p", before)).toThrow(
        /^p:4: the rules name 16030010 addresses.* more than 16000000; those of policy "b" name 16009000$/,
      );
    }
  });

  it("has its limits", () => {
    const deep = Array.from({ length: 1000 }, (_, i) => `${" ".repeat(i)}a:`).join("\n");
    expect(mistake(deep)).toMatch(/^p.yaml:129: this is nested too deeply/);
    expect(mistake("[,".padEnd(MAX_DOCUMENT, ","))).toMatch(/more than 2000000 words and signs/);
    for (const opening of ["[", "{a: ", "- ", "? ", "a: "]) {
      const text = `# deep\n${opening.repeat(100_000)}`;
      expect(mistake(text)).toMatch(/^p.yaml:2: this is nested too deeply/);
    }
    expect(mistake(" ".repeat(MAX_DOCUMENT + 1))).toMatch(
      /4194305 characters are more than 4194304/,
    );
    const groups = Array.from({ length: 1025 }, (_, i) => `g${i}: []`).join();
    expect(mistake(`groups: { ${groups} }\npolicies: []`)).toMatch(
      /1025 entries are more than 1024/,
    );
    const hosts = Array(16_385).fill("10.0.0.1").join();
    expect(mistake(policy(`name: a, applies: [${hosts}], ingress: []`))).toMatch(/16385 items/);
    const rules = `[${Array(16_001).fill('{"action":"allow"}').join()}]`;
    const two = ["a", "b"].map((n) => `{"name":"${n}","applies":["10.0.0.1"],"ingress":${rules}}`);
    expect(mistake(`{"policies":[${two.join()}]}`)).toMatch(
      /there are 32002 rules, more than 32000/,
    );
  });
});
