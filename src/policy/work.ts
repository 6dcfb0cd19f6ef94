/**
 * Bounds the cost of a document by counts taken from its text alone, so that every node refuses the
 * same documents, whatever leases it has.
 */
import { WeftError } from "../error.js";
import type { Policy, PolicyDocument } from "./document.js";
import { DIRECTIONS } from "./rule.js";
import type { Groups, Selector } from "./selector.js";

/**
 * Most units of work in a document. A unit is an address or node that a rule names. Those of a group
 * count wherever it is named; those that a policy applies to count once for each of its rules.
 */
export const MAX_WORK = 16_000_000;

type Counted = Pick<PolicyDocument, "groups" | "tiers">;

/** @throws WeftError POLICY */
export function refuseCostly({ groups, tiers }: Counted, file: string): void {
  const policies = tiers.flatMap((tier) => tier.policies);
  const works = policies.map((policy) => workOf(policy, groups));
  const work = works.reduce((sum, one) => sum + one, 0);
  if (work <= MAX_WORK) return;
  const most = works.reduce((a, b) => Math.max(a, b));
  const { line, name } = policies[works.indexOf(most)]!;
  throw new WeftError(
    "POLICY",
    `${file}:${line}: the rules name ${work} addresses, those of a group wherever it is named and those a policy applies to once for each rule, more than ${MAX_WORK}; those of policy "${name}" name ${most}`,
    "use wider prefixes, or one rule in place of many that name the same groups",
  );
}

function workOf(policy: Policy, groups: Groups): number {
  const applies = sizeOf(policy.applies, groups);
  const rules = DIRECTIONS.flatMap((direction) => policy[direction] ?? []);
  return rules.reduce(
    (work, { peers = [], notPeers }) =>
      work + applies + sizeOf(peers, groups) + sizeOf(notPeers, groups),
    applies,
  );
}

const sizeOf = (selectors: readonly Selector[], groups: Groups): number =>
  selectors.reduce(
    (size, one) => size + (one.kind === "group" ? groups.get(one.name)!.length : 1),
    0,
  );
