/**
 * Keeps one node's part of the policy in force. The rules are compiled again only when the policy,
 * this node's leases or the leases of a node that it names have changed; meanwhile the rules in
 * force stay so.
 *
 *   want -> compile -> changed -> ready -> published
 */
import { formatPrefix, type Prefix } from "../address.js";
import type { Seal } from "../documents/sealed-document.js";
import { WeftError } from "../error.js";
import type { Compiled, Job, PolicyCompiler, PolicyFacts } from "./engine.js";
import type { Place } from "./place.js";
import { heldByNamed, type Members } from "./resolver.js";

/** The policy of the cluster. */
export interface WantedPolicy {
  readonly text: string;
  readonly facts: PolicyFacts;
  /** Says which version it is. */
  readonly seal?: Seal;
}

const ENDS = '"applies": ["0.0.0.0/0", "::/0"], "ingress": [], "egress": []';
/** Denies everything: in force when a node starts with a policy that does not fit. */
const CLOSED: WantedPolicy = {
  text: `{"policies": [{"name": "closed", ${ENDS}}]}`,
  facts: { profile: "rfc", nodes: new Set() },
};
/** The rules of a cluster that has no policy. */
const OPEN: WantedPolicy = {
  text: '{"policies": []}',
  facts: { profile: "rfc", nodes: new Set() },
};

/** The inputs that rules are compiled from. */
interface CompileInputs {
  readonly policy: WantedPolicy;
  /** All nodes of the cluster; the rules depend on those that the policy names. */
  readonly members: Members;
  readonly own: readonly Prefix[];
}

/** Rules, and the inputs they were compiled from. */
interface CompiledPolicy {
  readonly basis: CompileInputs;
  readonly compiled: Compiled;
}

export class Enforcer {
  readonly #compiler: PolicyCompiler;
  readonly #changed: () => void;
  /** Inputs of the running compilation, or of the last one. */
  #basis: CompileInputs | undefined;
  #isCompiling = false;
  /** Result of the last compilation; not to be published while another one runs. */
  #compiled: CompiledPolicy | undefined;
  #inForce: CompiledPolicy | undefined;
  /** Fresh rule numbers of results that were never published. */
  #fresh: readonly number[] = [];
  #misfit: WeftError | undefined;

  /** @param changed called when other rules are ready, or do not fit */
  constructor(compiler: PolicyCompiler, changed: () => void) {
    this.#compiler = compiler;
    this.#changed = changed;
  }

  get places(): ReadonlyMap<number, Place> {
    return this.#inForce?.compiled.places() ?? NO_PLACES;
  }

  /** The policy that the core enforces; OPEN or CLOSED while it has none of the cluster. */
  get inForce(): WantedPolicy | undefined {
    return this.#inForce?.basis.policy;
  }

  /** The reason when the wanted policy does not fit; the earlier rules then stay in force. */
  get misfit(): WeftError | undefined {
    return this.#misfit;
  }

  /** The rules for the core; undefined before the first compilation. */
  get ready(): Compiled | undefined {
    return this.#ready?.compiled;
  }

  /** Leases of this node that the ready rules cover; a new lease waits until rules cover it. */
  get leases(): readonly Prefix[] {
    return this.#ready?.basis.own ?? [];
  }

  /** Whether the ready rules cover these leases of the node with this name, as far as the policy names it. */
  isUpToDate(name: string, leases: readonly Prefix[]): boolean {
    const basis = this.#ready?.basis;
    if (!basis?.policy.facts.nodes.has(name)) return true;
    return textOf(basis.members.get(name) ?? []) === textOf(leases);
  }

  /** Called when the core has the ready rules. */
  published(): void {
    this.#inForce = this.#ready;
    if (!this.#isCompiling) this.#fresh = [];
  }

  /**
   * Asks for this policy, compiled for the current leases of the nodes.
   * @returns whether it is in force, or the policy kept in its place because it does not fit
   */
  want(policy: WantedPolicy = OPEN, members: Members, own: readonly Prefix[]): boolean {
    const basis = { policy, members, own };
    const isNew = !this.#basis || !isSame(this.#basis, basis, this.#compiled?.basis.policy);
    if (isNew && !this.#isCompiling) this.#compile(basis);
    if (isNew || this.#isCompiling) return false;
    return this.#inForce !== undefined && this.#inForce === this.#compiled;
  }

  get #ready(): CompiledPolicy | undefined {
    return this.#isCompiling ? this.#inForce : this.#compiled;
  }

  #compile(basis: CompileInputs): void {
    this.#basis = basis;
    this.#isCompiling = true;
    this.#compiler.compile(jobOf(basis), (result) => {
      if (result instanceof WeftError) this.#keep(basis, result);
      else this.#finish({ basis, compiled: result }, undefined);
    });
  }

  /** Keeps the earlier policy in force, compiled for the current leases if that fits. */
  #keep(now: CompileInputs, misfit: WeftError): void {
    const basis = { ...now, policy: this.#inForce?.basis.policy ?? CLOSED };
    this.#compiler.compile(jobOf(basis), (result) => {
      if (result instanceof WeftError) this.#finish(this.#inForce, misfit);
      else this.#finish({ basis, compiled: result }, misfit);
    });
  }

  #finish(made: CompiledPolicy | undefined, misfit: WeftError | undefined): void {
    if (made && made !== this.#inForce) {
      this.#fresh = [...this.#fresh, ...made.compiled.fresh];
      this.#compiled = { ...made, compiled: { ...made.compiled, fresh: this.#fresh } };
    } else this.#compiled = made;
    this.#isCompiling = false;
    this.#misfit = misfit;
    this.#changed();
  }
}

const NO_PLACES: ReadonlyMap<number, Place> = new Map();

const jobOf = ({ policy: { text, facts }, members, own }: CompileInputs): Job => ({
  text,
  members: heldByNamed(facts.nodes, members),
  own,
});

/** @param kept the policy that is compiled in place of one that does not fit; it may name other nodes */
const isSame = (a: CompileInputs, b: CompileInputs, kept = b.policy): boolean =>
  a.policy.text === b.policy.text &&
  textOf(a.own) === textOf(b.own) &&
  [...a.members.keys(), ...b.members.keys()]
    .filter((name) => b.policy.facts.nodes.has(name) || kept.facts.nodes.has(name))
    .every((name) => textOf(a.members.get(name) ?? []) === textOf(b.members.get(name) ?? []));

const textOf = (prefixes: readonly Prefix[]): string => prefixes.map(formatPrefix).join();
