/**
 * Reads policies, and makes this node's rules and their table of them. It is far from packets and
 * sessions: in a thread of its own in the agent (thread.ts), in place in tests.
 *
 *   text -> document -> rules of this node -> image of the table, which the publisher copies
 */
import type { Prefix } from "../address.js";
import { Acl, type AclLayout, AclTable, checkFit } from "../compile/acl.js";
import { WeftError } from "../error.js";
import { type PolicyDocument, readSealed } from "./document.js";
import type { Place } from "./place.js";
import { type Members, namedNodes } from "./resolver.js";
import { NO_RULES, type PolicyRules, rulesOf } from "./rules.js";

/** What others need to know of a policy. */
export interface PolicyFacts {
  readonly profile: PolicyDocument["profile"];
  /** The nodes that it names. */
  readonly nodes: ReadonlySet<string>;
}

/** What is to be compiled: a policy that was read before, for this node as it is now. */
export interface Job {
  readonly text: string;
  /** Those that the policy names. */
  readonly members: Members;
  /** The leases of this node. */
  readonly own: readonly Prefix[];
}

/** A part of the table, bytes from where it begins. */
interface Used {
  readonly from: number;
  readonly size: number;
}

/** What the core is to have. The image stays as it is until the next job. */
export interface Compiled {
  readonly image: Uint8Array;
  /** What of the image is in use; nothing of the rest is ever read. */
  readonly used: readonly Used[];
  /** By the number of the rule. */
  places(): ReadonlyMap<number, Place>;
  /** Numbers that stood for another rule before, or for none. */
  readonly fresh: readonly number[];
  readonly profile: PolicyDocument["profile"];
}

/** How many rules a policy would have here: egress, ingress. */
export type Counts = readonly [number, number];

/** What a job comes to, once; an error says why it cannot be. */
export type Done<T> = (result: T | WeftError) => void;

export interface PolicyReader {
  /** Is this a policy? Error POLICY says why not, on every node alike. */
  read(text: string, done: Done<PolicyFacts>): void;
}

export interface PolicyCompiler extends PolicyReader {
  /** Error POLICY_FULL or ACL_FULL: it does not fit here. */
  compile(job: Job, done: Done<Compiled>): void;
  /** Would it fit? */
  tryOut(job: Job, done: Done<Counts>): void;
}

/** Calls `done` before it returns. */
export class PolicyEngine implements PolicyCompiler {
  readonly #layout: AclLayout;
  readonly #image: Uint8Array;
  readonly #acl = new Acl();
  readonly #table: AclTable;
  #rules: PolicyRules = NO_RULES;
  /** Of the last job. */
  #compiled: Document | undefined;
  /** Read last. */
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

  tryOut({ text, members, own }: Job, done: Done<Counts>): void {
    done(
      result(() => {
        const { rules } = rulesOf(this.#document(text).document, members, own);
        checkFit(rules, this.#layout);
        return [rules[0].length, rules[1].length];
      }),
    );
  }

  /** What was in force stays so in the image when the rules do not fit. */
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

/** The same for who can wait. */
export const promised = <T>(ask: (done: Done<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    ask((result) => (result instanceof WeftError ? reject(result) : resolve(result)));
  });

/** Reads in place: for nodes that need no thread. */
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
