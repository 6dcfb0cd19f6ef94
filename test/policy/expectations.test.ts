/** Files of expected verdicts, held against a document. */
import { describe, expect, it } from "vitest";
import { readPolicy } from "../../src/policy/document.js";
import { readExpectations, tryExpectations } from "../../src/policy/expectations.js";
import { MEMBERS } from "./table.js";

const POLICY = `
policies:
  - name: web
    applies: [10.244.2.7]
    ingress:
      - { action: allow, protocol: tcp, from: ["node:h1"], ports: [80-90] }
      - { action: allow, protocol: icmp, icmp: { type: 8 } }
`;

const outcomes = (text: string, policy = POLICY) =>
  tryExpectations(readPolicy(policy, "p.yaml"), readExpectations(text, "t.yaml", MEMBERS));

const one = (expectation: string) => outcomes(`expect:\n  - { ${expectation} }`)[0]!;

describe("expected verdicts", () => {
  it("are met by verdict, and by rule where one is named", () => {
    const packet = "src: 10.244.1.5, dst: 10.244.2.7, protocol: tcp, ports: [80]";
    expect(one(`${packet}, verdict: allow`)).toEqual({
      line: 2,
      isMet: true,
      source: "10.244.1.5",
      destination: "10.244.2.7",
      protocol: "tcp",
      port: "80",
      expected: "allow",
      found: "allow by web ingress 0",
    });
    expect(one(`${packet}, verdict: allow, by: web ingress 0`).isMet).toBe(true);
    expect(one(`${packet}, verdict: allow, by: web ingress 1`).isMet).toBe(false);
    expect(one(`${packet}, verdict: allow, by: no rule`).isMet).toBe(false);
    expect(one(`${packet}, verdict: deny`)).toMatchObject({
      isMet: false,
      expected: "deny",
      found: "allow by web ingress 0",
    });
  });

  it("try every port, and show the first that is not as expected", () => {
    const packet = "src: 10.244.1.5, dst: 10.244.2.7, protocol: tcp";
    expect(one(`${packet}, ports: [80, 85-90], verdict: allow`).isMet).toBe(true);
    expect(one(`${packet}, ports: [80, 85-95], verdict: allow`)).toMatchObject({
      isMet: false,
      port: "91",
      found: "deny by end of default ingress",
    });
  });

  it("take ICMP for an echo request, unless they say another type", () => {
    const packet = "src: 10.244.3.5, dst: 10.244.2.7, protocol: icmp";
    expect(one(`${packet}, verdict: allow`)).toMatchObject({ isMet: true, port: "8/0" });
    expect(one(`${packet}, icmp: { type: 3, code: 1 }, verdict: deny`).isMet).toBe(true);
  });

  it("may say themselves which node holds what", () => {
    const file = `
nodes: { h1: [10.244.9.0/24], other: [10.244.2.0/24] }
expect:
  - { src: 10.244.9.5, dst: 10.244.2.7, protocol: tcp, ports: [80], verdict: allow }
`;
    expect(outcomes(file)).toMatchObject([{ line: 4, isMet: true }]);
  });

  it.each([
    [
      "src: 10.244.1.5, dst: 10.244.2.7, verdict: deny",
      't.yaml:2: expect[0]: "protocol" is missing',
    ],
    [
      "src: 192.0.2.1, dst: 192.0.2.2, protocol: tcp, ports: [1], verdict: deny",
      "t.yaml:2: expect[0]: no node holds src or dst, so no policy applies to this packet",
    ],
    [
      'src: "fd00:244:1::1", dst: 10.244.2.7, protocol: tcp, ports: [1], verdict: deny',
      "t.yaml:2: expect[0]: src and dst are of two families",
    ],
    [
      "src: 10.244.1.5, dst: 10.244.2.7, protocol: icmp, verdict: drop",
      't.yaml:2: expect[0].verdict: "drop" is not known here',
    ],
    [
      "src: 10.244.1.5, dst: 10.244.2.7, protocol: 47, ports: [1], verdict: deny",
      "t.yaml:2: expect[0].ports: this protocol has no such field",
    ],
    [
      "src: 10.244.1.5, dst: 10.244.2.7, protocol: tcp, icmp: { type: 1 }, ports: [1], verdict: deny",
      "t.yaml:2: expect[0].icmp: this protocol has no such field",
    ],
  ])("%s: %s", (expectation, message) => {
    expect(() => one(expectation)).toThrow(message);
  });

  it("are no more than one run can try", () => {
    const all =
      "  - { src: 10.244.1.5, dst: 10.244.2.7, protocol: tcp, ports: [0-65535], verdict: deny }\n";
    expect(() => outcomes(`expect:\n${all.repeat(2)}`)).toThrow("so far these are 131072 packets");
  });
});
