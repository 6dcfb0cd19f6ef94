/**
 * Tables of verdicts. A line is a packet, what becomes of it, and who decides:
 *
 *     10.244.1.5 10.244.2.7 tcp/80      allow  web ingress 0
 *     10.244.1.5 10.244.2.7 icmp/8      deny   end of default ingress
 *
 * Each is asked twice: of the document as it is written, and of the core, with the
 * rules of the node where the packet leaves and then of the one where it arrives.
 */
import { expect } from "vitest";
import { contains, parsePrefix } from "../../src/address.js";
import { Acl } from "../../src/compile/acl.js";
import { type PolicyDocument, readPolicy } from "../../src/policy/document.js";
import type { PolicyPacket } from "../../src/policy/evaluator.js";
import { readExpectations, tryExpectations } from "../../src/policy/expectations.js";
import { nameOf } from "../../src/policy/place.js";
import type { Members } from "../../src/policy/resolver.js";
import { DIRECTIONS } from "../../src/policy/rule.js";
import { rulesOf } from "../../src/policy/rules.js";
import { AclCore } from "../core/acl-core.js";

const LINE =
  /^(?<src>\S+) +(?<dst>\S+) +(?<protocol>[^\s/]+)(?:\/(?<port>\S+))? +(?<verdict>\S+) +(?<by>.+)$/;

/** One node for each name; h1 holds 10.244.1.0/24 and fd00:244:1::/64, and so on. */
export const MEMBERS: Members = new Map(
  [1, 2, 3].map((i) => [`h${i}`, [`10.244.${i}.0/24`, `fd00:244:${i}::/64`].map(parsePrefix)]),
);

export async function expectVerdicts(policy: string, table: string): Promise<void> {
  const document = readPolicy(policy, "policy.yaml");
  const lines = table
    .trim()
    .split("\n")
    .map((line) => line.trim());
  const expectations = readExpectations(
    JSON.stringify({ expect: lines.map(expectationOf) }),
    "table",
    MEMBERS,
  );
  const asWritten = tryExpectations(document, expectations);
  expect(asWritten.map(({ found }) => found)).toEqual(asWritten.map(({ expected }) => expected));

  const cores = await coresOf(document);
  const byCore = expectations.all.map(({ packets }) => judgeByCore(cores, packets[0]!));
  expect(byCore).toEqual(asWritten.map(({ found }) => found));
}

function expectationOf(line: string) {
  const { src, dst, protocol, port, verdict, by } = LINE.exec(line)!.groups!;
  const [type, code] = (port ?? "").split(".");
  const isIcmp = protocol!.startsWith("icmp");
  return {
    src,
    dst,
    protocol,
    ...(port && (isIcmp ? { icmp: { type, code } } : { ports: [port] })),
    verdict,
    by,
  };
}

async function coresOf(document: PolicyDocument) {
  const cores = [...MEMBERS.values()].map(async (own) => {
    const rules = rulesOf(document, MEMBERS, own);
    const acl = new Acl();
    acl.update(rules.rules);
    const core = await AclCore.create();
    core.paint(acl);
    return { own, core, places: rules.places };
  });
  return Promise.all(cores);
}

function judgeByCore(cores: Awaited<ReturnType<typeof coresOf>>, packet: PolicyPacket): string {
  const { source, destination, ...rest } = packet;
  const deciders: string[] = [];
  for (const [k] of DIRECTIONS.entries()) {
    const [near, far] = k === 0 ? [source, destination] : [destination, source];
    const at = cores.find(({ own }) => own.some((lease) => contains(lease, near)));
    const { action, number } = at?.core.decide(k as 0 | 1, { near, far, ...rest }) ?? {};
    const name = number === undefined ? undefined : nameOf(at!.places.get(number)!);
    if (action === "deny") return `deny by ${name}`;
    if (name) deciders.push(name);
  }
  return `allow by ${deciders.join(", ") || "no rule"}`;
}
