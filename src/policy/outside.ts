/** Prefixes in a policy that no packet of the overlay can have: most often a typing mistake. */
import { overlaps, type Prefix } from "../address.js";
import type { PolicyDocument } from "./document.js";
import { DIRECTIONS } from "./rule.js";
import type { Selector } from "./selector.js";

export interface Outside {
  /** The part of the document that names it: `web applies`, `web ingress 0`, `group db`. */
  readonly where: string;
  readonly prefix: Prefix;
}

/** Most prefixes reported. Each is compared with all that weft carries. */
const MAX_OUTSIDE = 20;

/**
 * The first ones, in the order of the document's groups and policies. A prefix of length 0 stands for
 * all addresses, so it is never one, also where the network has no addresses of its family.
 * @param carried the cluster network, and the subnets of static peers beyond it
 */
export function outsideOf(document: PolicyDocument, carried: readonly Prefix[]): Outside[] {
  const found: Outside[] = [];
  for (const { where, selectors } of namings(document)) {
    for (const one of selectors) {
      if (one.kind !== "prefix" || !isOutside(one.prefix, carried)) continue;
      found.push({ where, prefix: one.prefix });
      if (found.length === MAX_OUTSIDE) return found;
    }
  }
  return found;
}

const isOutside = (prefix: Prefix, carried: readonly Prefix[]): boolean =>
  prefix.length > 0 && !carried.some((one) => overlaps(one, prefix));

interface Naming {
  readonly where: string;
  readonly selectors: readonly Selector[];
}

function* namings({ groups, tiers }: PolicyDocument): Generator<Naming> {
  for (const [name, selectors] of groups) yield { where: `group ${name}`, selectors };
  for (const policy of tiers.flatMap(({ policies }) => policies)) {
    yield { where: `${policy.name} applies`, selectors: policy.applies };
    for (const direction of DIRECTIONS) {
      for (const [i, { peers = [], notPeers }] of (policy[direction] ?? []).entries()) {
        yield { where: `${policy.name} ${direction} ${i}`, selectors: [...peers, ...notPeers] };
      }
    }
  }
}
