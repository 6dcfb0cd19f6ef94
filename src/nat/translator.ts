/**
 * This node's part of the document, made again only when the document, a node or the result of a
 * check changed. What is as before keeps its object, so that the core takes differences only.
 */
import { isSameAddress, type Prefix } from "../address.js";
import {
  type BackendRule,
  type NatRules,
  NO_NAT as NO_RULES,
  type ServiceRule,
} from "../compile/nat-rules.js";
import type { Members } from "../policy/resolver.js";
import { type NatDocument, NO_NAT } from "./document.js";
import { natRulesOf, type Passes } from "./rules.js";

/** The leases of all nodes, of dead ones too, and the names of those that live. */
export interface NatNodes {
  readonly members: Members;
  readonly living: ReadonlySet<string>;
}

/** The results of the checks of backends. */
export interface CheckResults {
  /** Another number after each change of a result. */
  readonly revision: number;
  passes(...args: Parameters<Passes>): boolean;
}

const NO_CHECKS: CheckResults = { revision: 0, passes: () => true };

export class Translator {
  readonly #node: string;
  readonly #checks: CheckResults;
  #document: NatDocument = NO_NAT;
  /** The nodes and the results of checks, of which the rules were made. */
  #nodes = "";
  #rules = NO_RULES;

  /** @param node the name of this node */
  constructor(node: string, checks = NO_CHECKS) {
    this.#node = node;
    this.#checks = checks;
  }

  /** @returns the same object as before if nothing changed for this node */
  rulesOf(document: NatDocument, nodes: () => NatNodes): NatRules {
    if (document === NO_NAT) return this.#keep(document, "", NO_RULES);
    const { members, living } = nodes();
    const checks = this.#checks;
    const text = `${checks.revision}\n${textOf(members, living)}`;
    if (document === this.#document && text === this.#nodes) return this.#rules;
    const rules = natRulesOf(
      document,
      members,
      this.#node,
      (name) => living.has(name),
      (service, backend) => checks.passes(service, backend),
    );
    return this.#keep(document, text, asBefore(this.#rules, rules));
  }

  #keep(document: NatDocument, nodes: string, rules: NatRules): NatRules {
    this.#document = document;
    this.#nodes = nodes;
    this.#rules = rules;
    return rules;
  }
}

const textOf = (members: Members, living: ReadonlySet<string>): string =>
  [...members]
    .map(([name, leases]) => `${name} ${living.has(name)} ${leases.map(prefixKey).join()}`)
    .join("\n");

const prefixKey = ({ family, base, length }: Prefix): string => `${family}/${base}/${length}`;

/** The new rules, with each service that did not change as the object it was. */
function asBefore(before: NatRules, now: NatRules): NatRules {
  const known = new Map(before.services.map((service) => [keyOf(service), service]));
  const services = now.services.map((service) => {
    const earlier = known.get(keyOf(service));
    return earlier && isSameService(earlier, service) ? earlier : service;
  });
  const isSame =
    services.length === before.services.length &&
    services.every((service, i) => service === before.services[i]) &&
    textOfOthers(before) === textOfOthers(now);
  return isSame ? before : { ...now, services };
}

const keyOf = ({ isPort, name }: ServiceRule): string => `${isPort} ${name}`;

function isSameService(a: ServiceRule, b: ServiceRule): boolean {
  return (
    a.protocol === b.protocol &&
    isSameAddress(a.address, b.address) &&
    a.port === b.port &&
    a.byClient === b.byClient &&
    a.affinityMs === b.affinityMs &&
    a.backends.length === b.backends.length &&
    a.backends.every((backend, i) => isSameBackend(backend, b.backends[i]!))
  );
}

const isSameBackend = (a: BackendRule, b: BackendRule): boolean =>
  isSameAddress(a.address, b.address) &&
  a.port === b.port &&
  a.weight === b.weight &&
  a.isActive === b.isActive;

const textOfOthers = ({ services: _, ...others }: NatRules): string =>
  JSON.stringify(others, (_, value) => (typeof value === "bigint" ? String(value) : value));
