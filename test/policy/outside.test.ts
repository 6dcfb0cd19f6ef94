import { expect, it } from "vitest";
import { formatPrefix, parsePrefix } from "../../src/address.js";
import { readPolicy } from "../../src/policy/document.js";
import { outsideOf } from "../../src/policy/outside.js";

const CARRIED = ["10.244.0.0/16", "198.51.100.0/24"].map(parsePrefix);
const outside = (text: string) =>
  outsideOf(readPolicy(text, "policy.yaml"), CARRIED).map(
    ({ where, prefix }) => `${where}: ${formatPrefix(prefix)}`,
  );

it("a prefix that weft carries in part is inside, and so is one of length 0", () => {
  expect(
    outside(`
groups: { some: [10.244.1.5, 198.51.100.128/25], none: [] }
policies:
  - name: all
    applies: [0.0.0.0/0, "::/0", 10.0.0.0/8, "node:h1", "group:some"]
    ingress: [{ action: allow, from: [0.0.0.0/0, "::/0"] }]`),
  ).toEqual([]);
});

it("others are named with the group, the policy or the rule that has them", () => {
  expect(
    outside(`
groups: { lab: [192.168.8.1, 10.244.1.1] }
tiers: [{ name: first, order: 1 }]
policies:
  - name: web
    applies: [192.168.7.0/24, 10.244.2.0/24, "group:lab", "fd00::/64"]
    ingress:
      - { action: allow, from: [10.244.1.0/24] }
      - { action: allow, from: [203.0.113.0/24], notFrom: [192.0.2.0/24] }
    egress: [{ action: deny, to: [192.168.9.0/24] }]
  - name: before
    tier: first
    applies: [10.245.0.0/16]
    ingress: []`),
  ).toEqual([
    "group lab: 192.168.8.1/32",
    "before applies: 10.245.0.0/16",
    "web applies: 192.168.7.0/24",
    "web applies: fd00::/64",
    "web egress 0: 192.168.9.0/24",
    "web ingress 1: 203.0.113.0/24",
    "web ingress 1: 192.0.2.0/24",
  ]);
});

it("only the first twenty are looked for", () => {
  const many = Array.from({ length: 16_000 }, (_, i) => `192.168.${i >> 8}.${i & 255}`);
  const policy = { name: "many", applies: many, ingress: [] };
  expect(outside(JSON.stringify({ policies: [policy] }))).toHaveLength(20);
});
