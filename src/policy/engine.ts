/**
 * Reads policies, and compiles them to this node's rules and their table. In the agent it runs in a
 * thread of its own, apart from packets and sessions (thread.ts); in tests it runs in place.
 *
 *   text -> document -> rules of this node -> image of the table, which the publisher copies
 */
import type { Prefix } from "../address.js";
import { Acl } from "../compile/acl.js";
import { type AclLayout, AclTable, checkFit } from "../compile/acl-table.js";
import { type Done, WeftError } from "../error.js";
import { type PolicyDocument, readSealed } from "./document.js";
import { type Outside, outsideOf } from "./outside.js";
import type { Place } from "./place.js";
import { type Members, namedNodes } from "./resolver.js";
import { NO_RULES, type PolicyRules, rulesOf } from "./rules.js";

/** The facts about a policy that callers need. */
export interface PolicyFacts {
  readonly profile: PolicyDocument["profile"];
  /** The nodes that it names. */
  readonly nodes: ReadonlySet<string>;
}

/** A compilation: a policy that was read before, for this node's current state. */
export interface Job {
  readonly text: string;
  /** The nodes that the policy names. */
  readonly members: Members;
  /** The leases of this node. */
  readonly own: readonly Prefix[];
}

/** A trial of a policy before it is applied. */
export interface TrialJob extends Job {
  /** The prefixes of all packets of the overlay. */
  readonly carried: readonly Prefix[];
}

/** A range of the table, in bytes from its beginning. */
interface Used {
  readonly from: number;
  readonly size: number;
}

/** The result for the core. The image stays valid until the next job. */
export interface Compiled {
  readonly image: Uint8Array;
  /** Ranges of the image that are in use; the rest is never read. */
  readonly used: readonly Used[];
  /** Places by the number of the rule. */
  places(): ReadonlyMap<number, Place>;
  /** Rule numbers that stood for another rule before, or for none. */
  readonly fresh: readonly number[];
  readonly profile: PolicyDocument["profile"];
}

/** Number of rules that a policy has on this node: egress, ingress. */
export type Counts = readonly [number, number];

export interface TrialResult {
  readonly counts: Counts;
  readonly outside: readonly Outside[];
}

export interface PolicyReader {
  /** Checks that the text is a policy. Error POLICY gives the reason, the same on every node. */
  read(text: string, done: Done<PolicyFacts>): void;
}

export interface PolicyCompiler extends PolicyReader {
  /** Compiles a policy. Error POLICY_FULL or ACL_FULL means that it does not fit on this node. */
  compile(job: Job, done: Done<Compiled>): void;
  /** Checks whether it fits, and which of its prefixes no packet of the overlay has. */
  tryOut(job: TrialJob, done: Done<TrialResult>): void;
}

/** Calls `done` before it returns. */
export class PolicyEngine implements PolicyCompiler {
  readonly #layout: AclLayout;
  readonly #image: Uint8Array;
  readonly #acl = new Acl();
  readonly #table: AclTable;
  #rules: PolicyRules = NO_RULES;
  /** The document of the last job. */
  #compiled: Document | undefined;
  /** The document that was read last. */
  #read: Document | undefined;

  constructor(layout: AclLayout) {
    this.#layout = layout;
    this.#image = new Uint8Array(new SharedArrayBuffer(layout.ACL_SIZE));
    this.#table = new AclTable(this.#image.buffer, 0, layout);
  }

  read(text: string, done: Done<PolicyFacts>): void {
    done(result(() => factsOf(this.#document(text).document)));
  }

  compile({ text, members, own }: Job, done: Done<Compiled>): void {
    done(
      result(() => {
        const known = this.#document(text);
        const rules = rulesOf(known.document, members, own, this.#rules);
        this.#paint(rules);
        this.#compiled = known;
        const { places, fresh } = rules;
        const { profile } = known.document;
        const used = this.#table.regions;
        return { image: this.#image, used, places: () => places, fresh, profile };
      }),
    );
  }

  tryOut({ text, members, own, carried }: TrialJob, done: Done<TrialResult>): void {
    done(
      result(() => {
        const { document } = this.#document(text);
        const { rules } = rulesOf(document, members, own);
        checkFit(rules, this.#layout);
        const counts = [rules[0].length, rules[1].length] as const;
        return { counts, outside: outsideOf(document, carried) };
      }),
    );
  }

  /** The image keeps the earlier rules when the new ones do not fit. */
  #paint(rules: PolicyRules): void {
    try {
      this.#acl.update(rules.rules);
      this.#table.update(this.#acl);
      this.#rules = rules;
    } catch (error) {
      this.#acl.update(this.#rules.rules);
      throw error;
    }
  }

  #document(text: string): Document {
    const known = [this.#read, this.#compiled].find((one) => one?.text === text);
    if (known) return known;
    const before = this.#compiled?.document;
    this.#read = { text, document: readSealed(text, "policy", before) };
    return this.#read;
  }
}

interface Document {
  readonly text: string;
  readonly document: PolicyDocument;
}

/** Reads in place, for nodes without a thread. */
export const readInPlace: PolicyReader = {
  read: (text, done) => done(result(() => factsOf(readSealed(text, "policy")))),
};

const factsOf = (document: PolicyDocument): PolicyFacts => ({
  profile: document.profile,
  nodes: namedNodes(document),
});

function result<T>(make: () => T): T | WeftError {
  try {
    return make();
  } catch (error) {
    if (error instanceof WeftError) return error;
    throw error;
  }
}
