/** What a policy in shadow mode counts: what it would do, and nothing else. */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../src/address.js";
import { readPolicy } from "../../src/policy/document.js";
import { PolicyEvaluator } from "../../src/policy/evaluator.js";
import { nameOf } from "../../src/policy/place.js";
import { MEMBERS } from "./table.js";

/** TCP from 10.244.1.5 to this address and port: who counts it, and what becomes of it. */
function ingressOf(policies: string) {
  const judge = new PolicyEvaluator(readPolicy(`policies: ${policies}`, "policy.yaml"), MEMBERS);
  return (destination: string, port: number): string => {
    const { counted, place, action } = judge.evaluateAt("ingress", {
      source: parseAddress("10.244.1.5"),
      destination: parseAddress(destination),
      protocol: 6,
      sourcePort: 40_000,
      destinationPort: port,
    });
    return [...counted.map(nameOf), `${action} by ${place ? nameOf(place) : "no rule"}`].join("; ");
  };
}

describe("shadow mode", () => {
  it("counts what the policy would allow, and what it would deny by saying nothing", () => {
    const ingress = ingressOf(`[
      { name: new, mode: shadow, applies: [10.244.2.7], ingress: [{ action: allow, protocol: tcp, ports: [80] }] }
    ]`);
    expect(ingress("10.244.2.7", 80)).toBe("new ingress 0; allow by no rule");
    expect(ingress("10.244.2.7", 81)).toBe("shadow end of default ingress; allow by no rule");
    expect(ingress("10.244.2.8", 81)).toBe("allow by no rule");
  });

  it("does not blame it for what a policy in force denies anyway", () => {
    const ingress = ingressOf(`[
      { name: old, applies: [10.244.2.7], ingress: [{ action: allow, protocol: tcp, ports: [80] }] },
      { name: new, mode: shadow, applies: [10.244.2.0/24], ingress: [{ action: allow, protocol: tcp, ports: [81] }] }
    ]`);
    expect(ingress("10.244.2.7", 80)).toBe("allow by old ingress 0");
    expect(ingress("10.244.2.7", 81)).toBe("new ingress 0; deny by end of default ingress");
    expect(ingress("10.244.2.7", 82)).toBe("deny by end of default ingress");
    expect(ingress("10.244.2.8", 82)).toBe("shadow end of default ingress; allow by no rule");
  });

  it("counts by the first that would decide, and lets those in force behind it decide", () => {
    const ingress = ingressOf(`[
      { name: a, order: 1, mode: shadow, applies: [10.244.2.7], ingress: [{ action: log }, { action: deny, protocol: tcp, ports: [80] }] },
      { name: b, order: 2, applies: [10.244.2.7], ingress: [{ action: log }, { action: allow, protocol: tcp, ports: [80] }] },
      { name: c, order: 3, mode: shadow, applies: [10.244.2.7], ingress: [{ action: deny }] }
    ]`);
    expect(ingress("10.244.2.7", 80)).toBe(
      "a ingress 0; a ingress 1; b ingress 0; allow by b ingress 1",
    );
    expect(ingress("10.244.2.7", 81)).toBe(
      "a ingress 0; b ingress 0; c ingress 0; deny by end of default ingress",
    );
  });
});
