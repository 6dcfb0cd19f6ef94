/**
 * Keeps one node's part of the policy in force. The rules are made again only when
 * the document, this node's leases or what a node it names holds has changed.
 */
import { formatPrefix, type Prefix } from "../address.js";
import { WeftError } from "../error.js";
import { type PolicyDocument, readPolicy } from "./document.js";
import { type Members, namedNodes } from "./resolver.js";
import { NO_RULES, type PolicyRules, rulesOf } from "./rules.js";

/** Lets nothing pass. In force where a node starts with a policy that does not fit. */
const CLOSED = readPolicy(
  '{"policies": [{"name": "closed", "applies": ["0.0.0.0/0", "::/0"], "ingress": [], "egress": []}]}',
  "closed",
);

const DOES_NOT_FIT: readonly string[] = ["POLICY_FULL", "ACL_FULL"];

/** Another error is none of the policy's. */
function unfit(error: unknown): WeftError {
  if (error instanceof WeftError && DOES_NOT_FIT.includes(error.code)) return error;
  throw error;
}

interface InForce {
  readonly document: PolicyDocument | undefined;
  /** What the rules were made from, besides. */
  readonly basis: string;
  readonly rules: PolicyRules;
}

export class Enforcer {
  #inForce: InForce | undefined;
  #named: { readonly of: PolicyDocument; readonly names: ReadonlySet<string> } | undefined;

  get rules(): PolicyRules {
    return this.#inForce?.rules ?? NO_RULES;
  }

  get document(): PolicyDocument | undefined {
    return this.#inForce?.document;
  }

  /**
   * @param publish brings rules before the core; given the same ones again, it leaves them there
   * @returns why the policy is not in force, if it does not fit: what was in force stays so
   * @throws WeftError what `publish` throws for other reasons; then nothing has changed
   */
  enforce(
    document: PolicyDocument | undefined,
    members: Members,
    own: readonly Prefix[],
    publish: (rules: PolicyRules) => void,
  ): WeftError | undefined {
    try {
      this.#put(document, members, own, publish);
      return undefined;
    } catch (error) {
      const why = unfit(error);
      this.#keep(members, own, publish);
      return why;
    }
  }

  /** What was in force stays so, and means what the nodes hold now if that fits. */
  #keep(members: Members, own: readonly Prefix[], publish: (rules: PolicyRules) => void): void {
    const before = this.#inForce;
    try {
      this.#put(before ? before.document : CLOSED, members, own, publish);
    } catch (error) {
      if (!before) throw error;
      unfit(error);
      publish(before.rules);
    }
  }

  #put(
    document: PolicyDocument | undefined,
    members: Members,
    own: readonly Prefix[],
    publish: (rules: PolicyRules) => void,
  ): void {
    const named: Members = document ? this.#namedIn(document, members) : new Map();
    const basis = JSON.stringify([own.map(formatPrefix), [...named].map(inWords)]);
    const before = this.#inForce;
    const isSame = before?.document === document && before?.basis === basis;
    const rules = isSame ? before!.rules : this.#made(document, named, own);
    publish(rules);
    this.#inForce = { document, basis, rules };
  }

  #made(document: PolicyDocument | undefined, members: Members, own: readonly Prefix[]) {
    return document ? rulesOf(document, members, own, this.rules) : NO_RULES;
  }

  #namedIn(document: PolicyDocument, members: Members): Members {
    if (this.#named?.of !== document) this.#named = { of: document, names: namedNodes(document) };
    return new Map([...members].filter(([name]) => this.#named!.names.has(name)));
  }
}

const inWords = ([name, leases]: readonly [string, readonly Prefix[]]) => [
  name,
  ...leases.map(formatPrefix),
];
