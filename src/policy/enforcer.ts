/**
 * Keeps one node's part of the policy in force. The rules are compiled again only when the policy,
 * this node's leases or what a node it names holds has changed; meanwhile what is in force stays so.
 *
 *   want -> compile -> changed -> ready -> published
 */
import { formatPrefix, type Prefix } from "../address.js";
import { WeftError } from "../error.js";
import type { Compiled, Job, PolicyCompiler, PolicyFacts } from "./engine.js";
import type { Place } from "./place.js";
import { heldByNamed, type Members } from "./resolver.js";

/** What the cluster has for its policy. */
export interface Wanted {
  readonly text: string;
  readonly facts: PolicyFacts;
}

const ENDS = '"applies": ["0.0.0.0/0", "::/0"], "ingress": [], "egress": []';
/** Lets nothing pass. In force where a node starts with a policy that does not fit. */
const CLOSED: Wanted = {
  text: `{"policies": [{"name": "closed", ${ENDS}}]}`,
  facts: { profile: "rfc", nodes: new Set() },
};
/** Of a cluster that has no policy. */
const OPEN: Wanted = { text: '{"policies": []}', facts: { profile: "rfc", nodes: new Set() } };

/** What rules were made from. */
interface Basis {
  readonly policy: Wanted;
  /** All of the cluster; the rules depend on those that the policy names. */
  readonly members: Members;
  readonly own: readonly Prefix[];
}

/** Rules, and what they were made from. */
interface Made {
  readonly basis: Basis;
  readonly compiled: Compiled;
}

export class Enforcer {
  readonly #compiler: PolicyCompiler;
  readonly #changed: () => void;
  /** What is being compiled, or was last. */
  #basis: Basis | undefined;
  #isCompiling = false;
  /** What was compiled last; while something is being compiled it is not to be published. */
  #made: Made | undefined;
  #inForce: Made | undefined;
  /** Numbers that are fresh in what was never published. */
  #fresh: readonly number[] = [];
  #misfit: WeftError | undefined;

  /** @param changed something else is ready, or does not fit */
  constructor(compiler: PolicyCompiler, changed: () => void) {
    this.#compiler = compiler;
    this.#changed = changed;
  }

  get places(): ReadonlyMap<number, Place> {
    return this.#inForce?.compiled.places() ?? NO_PLACES;
  }

  /** Why the policy is not in force, if it does not fit: what was in force stays so. */
  get misfit(): WeftError | undefined {
    return this.#misfit;
  }

  /** What the core is to have now; nothing until something was compiled. */
  get ready(): Compiled | undefined {
    return this.#ready?.compiled;
  }

  /** The leases of this node that what is ready is about: packets for others wait until it is. */
  get leases(): readonly Prefix[] {
    return this.#ready?.basis.own ?? [];
  }

  /** Does what is ready mean by this node what it holds? */
  isUpToDate(name: string, leases: readonly Prefix[]): boolean {
    const basis = this.#ready?.basis;
    if (!basis?.policy.facts.nodes.has(name)) return true;
    return textOf(basis.members.get(name) ?? []) === textOf(leases);
  }

  /** What is ready is before the core. */
  published(): void {
    this.#inForce = this.#ready;
    if (!this.#isCompiling) this.#fresh = [];
  }

  /**
   * From now on this is to be in force, and means what the nodes hold.
   * @returns whether it is, or what is kept in its place because it does not fit
   */
  want(policy: Wanted = OPEN, members: Members, own: readonly Prefix[]): boolean {
    const basis = { policy, members, own };
    const isNew = !this.#basis || !isSame(this.#basis, basis, this.#made?.basis.policy);
    if (isNew && !this.#isCompiling) this.#compile(basis);
    if (isNew || this.#isCompiling) return false;
    return this.#inForce !== undefined && this.#inForce === this.#made;
  }

  get #ready(): Made | undefined {
    return this.#isCompiling ? this.#inForce : this.#made;
  }

  #compile(basis: Basis): void {
    this.#basis = basis;
    this.#isCompiling = true;
    this.#compiler.compile(jobOf(basis), (result) => {
      if (result instanceof WeftError) this.#keep(basis, result);
      else this.#finish({ basis, compiled: result }, undefined);
    });
  }

  /** What was in force stays so, and means what the nodes hold now if that fits. */
  #keep(now: Basis, misfit: WeftError): void {
    const basis = { ...now, policy: this.#inForce?.basis.policy ?? CLOSED };
    this.#compiler.compile(jobOf(basis), (result) => {
      if (result instanceof WeftError) this.#finish(this.#inForce, misfit);
      else this.#finish({ basis, compiled: result }, misfit);
    });
  }

  #finish(made: Made | undefined, misfit: WeftError | undefined): void {
    if (made && made !== this.#inForce) {
      this.#fresh = [...this.#fresh, ...made.compiled.fresh];
      this.#made = { ...made, compiled: { ...made.compiled, fresh: this.#fresh } };
    } else this.#made = made;
    this.#isCompiling = false;
    this.#misfit = misfit;
    this.#changed();
  }
}

const NO_PLACES: ReadonlyMap<number, Place> = new Map();

const jobOf = ({ policy: { text, facts }, members, own }: Basis): Job => ({
  text,
  members: heldByNamed(facts.nodes, members),
  own,
});

/** @param kept the policy that is compiled in place of one that does not fit: it may name other nodes */
const isSame = (a: Basis, b: Basis, kept = b.policy): boolean =>
  a.policy.text === b.policy.text &&
  textOf(a.own) === textOf(b.own) &&
  [...a.members.keys(), ...b.members.keys()]
    .filter((name) => b.policy.facts.nodes.has(name) || kept.facts.nodes.has(name))
    .every((name) => textOf(a.members.get(name) ?? []) === textOf(b.members.get(name) ?? []));

const textOf = (prefixes: readonly Prefix[]): string => prefixes.map(formatPrefix).join();
