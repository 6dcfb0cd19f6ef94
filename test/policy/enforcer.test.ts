/** One node's part of the policy: what is in force, and when it is made again. */
import { describe, expect, it } from "vitest";
import { parsePrefix } from "../../src/address.js";
import { WeftError } from "../../src/error.js";
import { readPolicy } from "../../src/policy/document.js";
import { Enforcer } from "../../src/policy/enforcer.js";
import type { Members } from "../../src/policy/resolver.js";
import type { PolicyRules } from "../../src/policy/rules.js";

const OWN = [parsePrefix("10.244.1.0/24")];
const document = (from: string) =>
  readPolicy(
    `policies: [{ name: web, applies: [10.244.1.0/24], ingress: [{ action: allow, from: ["${from}"] }] }]`,
    "policy",
  );
const holding = (...nodes: [name: string, lease: string][]): Members =>
  new Map(nodes.map(([name, lease]) => [name, [parsePrefix(lease)]]));

function enforcing() {
  const enforcer = new Enforcer();
  const published: PolicyRules[] = [];
  const put = (policy = document("node:h2"), members = holding(), own = OWN) =>
    enforcer.enforce(policy, members, own, (rules) => void published.push(rules));
  const inward = () =>
    published.at(-1)!.rules[1].map(({ rule: { action, far } }) => ({ action, far }));
  return { enforcer, published, put, inward };
}

const tooMuch = (rules: PolicyRules) => {
  if (rules.rules[1].length > 1) throw new WeftError("ACL_FULL", "too many", "use fewer");
};

describe("this node's part of the policy", () => {
  it("is made again when what a named node holds changes, and for nobody else", () => {
    const { put, published, inward } = enforcing();
    const policy = document("node:h2");
    put(policy);
    expect(inward()).toMatchObject([{ action: "deny" }]);
    put(policy, holding(["h3", "10.244.3.0/24"]));
    expect(published[1]).toBe(published[0]);
    put(policy, holding(["h3", "10.244.3.0/24"], ["h2", "10.244.2.0/24"]));
    expect(inward()).toMatchObject([
      { action: "allow", far: { in: [parsePrefix("10.244.2.0/24")] } },
      { action: "deny" },
    ]);
    put(policy, holding(["h2", "10.244.2.0/24"]));
    expect(published[3]).toBe(published[2]);
  });

  it("is nothing without a policy, and without leases that it is about", () => {
    const { put, published, enforcer } = enforcing();
    enforcer.enforce(undefined, holding(), OWN, (rules) => void published.push(rules));
    put(document("10.244.9.9"), holding(), [parsePrefix("10.244.7.0/24")]);
    expect(published.map(({ rules }) => rules)).toEqual([
      [[], []],
      [[], []],
    ]);
  });

  it("stays as it was when the next one does not fit", () => {
    const { enforcer } = enforcing();
    const small = readPolicy(
      "policies: [{ name: no, applies: [10.244.1.1], ingress: [] }]",
      "policy",
    );
    enforcer.enforce(small, holding(), OWN, tooMuch);
    const before = enforcer.rules;
    const error = enforcer.enforce(document("10.244.9.9"), holding(), OWN, tooMuch);
    expect(error).toMatchObject({ code: "ACL_FULL" });
    expect(enforcer.rules).toBe(before);
    expect(enforcer.document).toBe(small);
  });

  it("follows the leases while the next one does not fit, as long as it fits itself", () => {
    const { enforcer } = enforcing();
    const small = readPolicy(
      "policies: [{ name: no, applies: [10.244.0.0/16, 10.245.0.0/16], ingress: [] }]",
      "policy",
    );
    const leases = ["10.244.1.0/24", "10.245.1.0/24", "10.244.2.0/24"].map(parsePrefix);
    const denied = () => enforcer.rules.rules[1][0]!.rule.near.in;
    enforcer.enforce(small, holding(), leases.slice(0, 1), tooMuch);
    expect(denied()).toEqual([parsePrefix("10.244.0.0/16")]);
    const large = document("10.244.9.9");
    expect(enforcer.enforce(large, holding(), leases, tooMuch)?.code).toBe("ACL_FULL");
    expect(enforcer.document).toBe(small);
    expect(denied()).toEqual(["10.244.0.0/16", "10.245.0.0/16"].map(parsePrefix));
    const before = enforcer.rules;
    const onlyThese = (rules: PolicyRules) => {
      if (rules !== before) throw new WeftError("ACL_FULL", "too many", "use fewer");
    };
    expect(enforcer.enforce(large, holding(), leases.slice(1), onlyThese)?.code).toBe("ACL_FULL");
    expect(enforcer.rules).toBe(before);
  });

  it("lets nothing pass when the first one there is does not fit", () => {
    const { enforcer } = enforcing();
    const error = enforcer.enforce(document("10.244.9.9"), holding(), OWN, tooMuch);
    expect(error).toMatchObject({ code: "ACL_FULL" });
    for (const list of enforcer.rules.rules) {
      expect(list.map(({ rule }) => rule.action)).toEqual(["deny"]);
      expect(list[0]!.rule.near.in).toContainEqual(parsePrefix("0.0.0.0/0"));
    }
  });

  it("does not hide another error", () => {
    const { enforcer } = enforcing();
    const fails = () => {
      throw new WeftError("PEERS", "two hold the same", "stop one");
    };
    expect(() => enforcer.enforce(undefined, holding(), OWN, fails)).toThrow("two hold the same");
  });
});
