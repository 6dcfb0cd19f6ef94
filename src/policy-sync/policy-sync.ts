/**
 * How the cluster's policy travels: who has a new one tells its neighbours the seal, and
 * who lacks that asks one of them for the text, part after part.
 */

import { type DocumentInForce, hashOf } from "../documents/in-force.js";
import {
  flawOfSeal,
  isNewer,
  isTextOf,
  MAX_PARTS,
  MAX_POLICY_BYTES,
  MAX_POLICY_VERSION,
  MAX_REFUSED,
  PART_BYTES,
  type PolicyText,
  type Seal,
  sealPolicy,
} from "../documents/sealed-policy.js";
import { WeftError } from "../error.js";
import { type Identity, nodeId } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import type { Proof } from "../lease/grant.js";
import type { Log } from "../log.js";
import type { Done, PolicyFacts, PolicyReader } from "../policy/engine.js";
import type { MessageOf, Protocol } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import { type Clock, every, randomOf } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";
import { type PolicyMessage, policySpec } from "./messages.js";
import { NoPolicy } from "./no-policy.js";

/** How long a part is waited for before another neighbour is asked, in milliseconds. */
export const PART_TIMEOUT = 2_000;
/** How often one neighbour is told again, in milliseconds: what was lost on the way is found so. */
export const ANNOUNCE_EVERY = 30_000;
/** Most seals that are remembered until their text comes. One is enough to keep a node closed. */
const MAX_PENDING = 64;
/** What one peer may make this node do, at once and per second after that. */
export const POLICY_SERVE_LIMITS = {
  parts: { burst: 2 * MAX_PARTS, rate: 4 },
  /** Seals that are verified. */
  seals: { burst: 16, rate: 0.2 },
};

/** Texts asked for, from all nodes together: each accepted one is written to disk, compiled and announced. */
export const POLICY_FETCH_LIMIT = { burst: 8, rate: 0.5 };

type PolicySession = Session<PolicyMessage>;

/** A policy that is in force in the cluster, as far as this node knows. */
export interface ClusterPolicy extends PolicyText {
  readonly facts: PolicyFacts;
}

export interface PolicySyncParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly identity: Identity;
  readonly cluster: Cluster;
  readonly store: { savePolicy(policy: PolicyText): void };
  readonly reader: PolicyReader;
  /** A full disk must not end the agent. */
  safely(act: () => void): void;
  /** Of a lease of this node. */
  proof(): Proof | undefined;
  sessions(): readonly PolicySession[];
  isMember(id: string): boolean;
  nameOf(id: string): string | undefined;
  /** Number of other members that are not dead. */
  others(): number;
  /** Whether it is known that there is no policy, as read from disk. */
  knewNoPolicy(): boolean;
  saveNoPolicy(isNone: boolean): void;
  /** Called when another policy is held, or when it becomes known that there is none. */
  changed(): void;
}

/** What one session is asked for. */
interface Fetch {
  readonly session: PolicySession;
  readonly seal: Seal;
  readonly parts: Buffer[];
  cancel(): void;
}

export class PolicySync implements Protocol<PolicyMessage> {
  readonly spec = policySpec;
  readonly #parts: PolicySyncParts;
  #held: ClusterPolicy | undefined;
  /** What each neighbour told last, where it is newer than what is held. */
  readonly #announced = new Map<PolicySession, Seal>();
  readonly #serveLimits: { readonly parts: KeyedRateLimiter; readonly seals: KeyedRateLimiter };
  /** By signature, verified seals whose text has not come, while no policy is held. */
  readonly #pending = new Map<string, Seal>();
  /** Signatures. */
  #refused: ReadonlySet<string> = new Set();
  #fetch: Fetch | undefined;
  #encoded: { readonly policy: ClusterPolicy; readonly bytes: Buffer } | undefined;
  readonly #fetchLimit: TokenBucket;
  /** Timer until a text may be asked for again. */
  #pause: (() => void) | undefined;
  readonly #noPolicy: NoPolicy;
  #cancel = () => {};

  readonly #stored: PolicyText | undefined;
  /** The one text that is being read; meanwhile it is neither held nor asked for. */
  #reading: Seal | undefined;
  /** Whether the policy on disk can no longer be read. */
  #isLost = false;
  #refusal: { readonly seal: Seal; readonly sentence: string } | undefined;
  #isStopped = false;

  /** @param found what the disk held */
  constructor(parts: PolicySyncParts, found: PolicyText | undefined) {
    this.#parts = parts;
    this.#stored = found;
    const { clock } = parts;
    this.#serveLimits = {
      parts: new KeyedRateLimiter(clock, POLICY_SERVE_LIMITS.parts),
      seals: new KeyedRateLimiter(clock, POLICY_SERVE_LIMITS.seals),
    };
    this.#fetchLimit = new TokenBucket(clock, POLICY_FETCH_LIMIT.burst, POLICY_FETCH_LIMIT.rate);
    this.#noPolicy = new NoPolicy({
      ...parts,
      isPolicyAnnounced: () =>
        this.#pending.size > 0 || this.#reading !== undefined || this.#isLost,
      isKnown: () => this.isKnown,
      onKnown: () => this.#learnNoPolicy(),
    });
    this.#refused = new Set(found?.refused);
  }

  start(): void {
    this.#restore();
    this.#cancel = every(this.#parts.clock, ANNOUNCE_EVERY, () => {
      const { clock, sessions } = this.#parts;
      const all = sessions();
      const one = randomOf(clock, all);
      if (one) this.opened(one);
    });
    this.#noPolicy.start();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
    this.#noPolicy.stop();
    this.#pause?.();
    this.#fetch?.cancel();
  }

  get held(): ClusterPolicy | undefined {
    return this.#held;
  }

  /** Problems for the operator, a sentence each. */
  problems(): string[] {
    const refusal = this.#refusal;
    const isLatest = refusal && isNewer(refusal.seal, this.#held?.seal);
    return [
      ...(this.isKnown ? [] : [this.#lackProblem()]),
      ...(isLatest ? [refusal.sentence] : []),
    ];
  }

  #lackProblem(): string {
    if (this.#isLost) return LOST;
    const [awaited] = this.#pending.values();
    return awaited ? textMissing(awaited.version, this.#authorOf(awaited)) : UNKNOWN;
  }

  /**
   * This node's part in the record.
   * @param inForce the policy that the dataplane has; null for none, nothing before that is known
   * @param isMisfit what is held is newer and does not fit the dataplane
   */
  documentInForce(
    inForce: Seal | null | undefined,
    isMisfit: boolean,
  ): DocumentInForce | undefined {
    const held = this.#heldBack(isMisfit);
    if (inForce === undefined && !held) return undefined;
    return {
      kind: "policy",
      version: inForce?.version ?? 0,
      ...(inForce && { hash: hashOf(inForce.digest) }),
      ...(held && { held }),
    };
  }

  #heldBack(isMisfit: boolean): DocumentInForce["held"] {
    const [refusal, held] = [this.#refusal, this.#held?.seal];
    if (refusal && isNewer(refusal.seal, held)) {
      return { version: refusal.seal.version, why: "refused" };
    }
    return isMisfit && held ? { version: held.version, why: "too-large" } : undefined;
  }

  /** Whether this node knows the cluster's policy, or that there is none. */
  get isKnown(): boolean {
    return this.#held !== undefined || (this.#parts.knewNoPolicy() && !this.#isLost);
  }

  /**
   * From now on this is the cluster's policy.
   * @param text JSON, as `policyAsJson` makes it
   * @param resetVersion where the last version there is is held, this node refuses that one for ever and begins again
   * @param done gets an error when the text is no policy, or this node may not apply one
   */
  apply(text: string, { resetVersion = false }, done: Done<ClusterPolicy>): void {
    this.#parts.reader.read(text, (facts) => {
      if (facts instanceof WeftError) return done(facts);
      try {
        done(this.#sign(text, facts, resetVersion));
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        done(error);
      }
    });
  }

  #sign(text: string, facts: PolicyFacts, resetVersion: boolean): ClusterPolicy {
    const { identity, cluster } = this.#parts;
    if (Buffer.byteLength(text) > MAX_POLICY_BYTES) throw tooLong();
    const proof = this.#parts.proof() ?? noLease();
    const held = this.#held?.seal;
    const last = held?.version === MAX_POLICY_VERSION ? held : undefined;
    if (last && !resetVersion) throw versionsExhausted();
    const version = last ? 1 : (held?.version ?? 0) + 1;
    const policy = {
      seal: sealPolicy(identity, cluster, { proof, version, text }),
      text,
      facts,
    };
    this.#adopt(policy, last && this.#refusing(last));
    this.#parts.log.info(`policy ${version} is applied on this node`);
    return policy;
  }

  opened(session: PolicySession): void {
    if (this.#held) session.send({ type: "policy-have", seal: this.#held.seal });
    else if (!this.#mayHold) session.send({ type: "policy-none", isCertain: this.isKnown });
  }

  /** A policy on disk that is not read yet, or can no longer be read, is not "no policy". */
  get #mayHold(): boolean {
    return this.#reading !== undefined || this.#isLost;
  }

  closed(session: PolicySession): void {
    this.#announced.delete(session);
    this.#noPolicy.closed(session);
    if (this.#fetch?.session === session) this.#fetchNext();
  }

  received(session: PolicySession, message: PolicyMessage) {
    switch (message.type) {
      case "policy-have":
        return this.#onHave(session, message.seal);
      case "policy-none":
        return this.#noPolicy.onNone(session, message.isCertain);
      case "policy-want":
        return this.#onWant(session, message);
      case "policy-part":
        return this.#onPart(session, message);
    }
  }

  // ---- giving

  #onWant(session: PolicySession, { digest, part }: MessageOf<PolicyMessage, "policy-want">) {
    const held = this.#held;
    if (held?.seal.digest !== digest || part >= partsOf(held.seal)) return;
    if (!this.#serveLimits.parts.of(session.peer.id).spend(1)) return;
    const bytes = this.#bytesOf(held).subarray(part * PART_BYTES, (part + 1) * PART_BYTES);
    session.send({ type: "policy-part", digest, part, bytes: bytes.toString("base64") });
  }

  /** The encoded text, kept because encoding 4 MiB for each requested part would take milliseconds. */
  #bytesOf(policy: ClusterPolicy): Buffer {
    if (this.#encoded?.policy !== policy) {
      this.#encoded = { policy, bytes: Buffer.from(policy.text) };
    }
    return this.#encoded.bytes;
  }

  // ---- getting

  #onHave(session: PolicySession, seal: Seal) {
    this.#noPolicy.withdraw(session);
    if (this.#refused.has(seal.signature)) return;
    if (!isNewer(seal, this.#held?.seal)) return;
    if (!this.#serveLimits.seals.of(session.peer.id).spend(1)) return;
    const lie = flawOfSeal(this.#parts.cluster, seal);
    if (lie) return this.#closeForged(session, lie);
    if (!this.#held && this.#pending.size < MAX_PENDING) this.#pending.set(seal.signature, seal);
    this.#announced.set(session, seal);
    if (!this.#fetch || this.#fetch.session === session) this.#fetchNext();
  }

  /** Begins with the newest that was told. */
  #fetchNext(): void {
    this.#fetch?.cancel();
    this.#fetch = undefined;
    if (this.#reading) return;
    let best: [PolicySession, Seal] | undefined;
    for (const [session, seal] of this.#announced) {
      if (!isNewer(seal, this.#held?.seal) || this.#refused.has(seal.signature)) {
        this.#announced.delete(session);
      } else if (isNewer(seal, best?.[1])) best = [session, seal];
    }
    if (!best) return;
    if (this.#fetchLimit.spend(1)) this.#requestPart(...best, []);
    else
      this.#pause ??= this.#parts.clock.after(1_000 / POLICY_FETCH_LIMIT.rate, () =>
        this.#resume(),
      );
  }

  #resume(): void {
    this.#pause = undefined;
    this.#fetchNext();
  }

  #requestPart(session: PolicySession, seal: Seal, parts: Buffer[]): void {
    const cancel = this.#parts.clock.after(PART_TIMEOUT, () => {
      this.#announced.delete(session);
      this.#fetchNext();
    });
    this.#fetch = { session, seal, parts, cancel };
    session.send({ type: "policy-want", digest: seal.digest, part: parts.length });
  }

  #onPart(
    session: PolicySession,
    { digest, part, bytes }: MessageOf<PolicyMessage, "policy-part">,
  ) {
    const fetch = this.#fetch;
    if (fetch?.session !== session || fetch.seal.digest !== digest) return;
    if (fetch.parts.length !== part) return;
    fetch.cancel();
    const parts = [...fetch.parts, Buffer.from(bytes, "base64")];
    if (parts.length < partsOf(fetch.seal)) return this.#requestPart(session, fetch.seal, parts);
    this.#onText(session, fetch.seal, Buffer.concat(parts).toString());
  }

  #onText(session: PolicySession, seal: Seal, text: string): void {
    this.#fetch = undefined;
    this.#announced.delete(session);
    if (!isTextOf(seal, text)) this.#closeForged(session, otherText());
    else if (isNewer(seal, this.#held?.seal)) this.#readFetched(seal, text);
    this.#fetchNext();
  }

  /** Its author says so. A text that is no policy is the author's lie, not that of who carried it. */
  #readFetched(seal: Seal, text: string): void {
    this.#read(seal, text, (facts) => {
      if (facts instanceof WeftError) this.#refuse(seal, facts);
      else if (isNewer(seal, this.#held?.seal)) {
        this.#adopt({ seal, text, facts });
        this.#parts.log.info(`policy ${seal.version} came, applied on ${this.#authorOf(seal)}`);
      }
    });
  }

  #refuse(seal: Seal, { message, remedy }: WeftError): void {
    this.#refused = this.#refusing(seal);
    this.#pending.delete(seal.signature);
    const sentence = `refused policy ${seal.version} of ${this.#authorOf(seal)}: ${message}`;
    this.#refusal = { seal, sentence };
    this.#parts.log.warn(sentence, { remedy });
    this.#parts.changed();
  }

  /** Takes the policy from disk. If it can no longer be read, nothing passes until there is another one. */
  #restore(): void {
    const found = this.#stored;
    if (!found) return;
    const { cluster, log, sessions, changed } = this.#parts;
    const why = flawOfSeal(cluster, found.seal);
    if (why) return void log.warn(`the policy on disk is not used: ${why.message}`);
    this.#read(found.seal, found.text, (facts) => {
      if (facts instanceof WeftError) {
        this.#refuse(found.seal, facts);
        this.#isLost = true;
      } else if (isNewer(found.seal, this.#held?.seal)) {
        this.#held = { ...found, facts };
        this.#pending.clear();
        for (const session of sessions()) this.opened(session);
        changed();
      }
    });
  }

  #read(seal: Seal, text: string, done: Done<PolicyFacts>): void {
    this.#reading = seal;
    this.#parts.reader.read(text, (facts) => {
      if (this.#isStopped) return;
      this.#reading = undefined;
      this.#parts.safely(() => done(facts));
      this.#fetchNext();
    });
  }

  /** Writes a policy to disk; the one that is held, unless another is given. */
  save(policy = this.#held, refused = this.#refused): void {
    if (!policy) return;
    const { seal, text } = policy;
    this.#parts.store.savePolicy({ seal, text, refused: [...refused] });
  }

  /** It is on disk before anybody hears of it. */
  #adopt(policy: ClusterPolicy, refused = this.#refused): void {
    const { sessions, changed } = this.#parts;
    this.save(policy, refused);
    this.#held = policy;
    this.#pending.clear();
    this.#isLost = false;
    this.#refused = refused;
    if (this.#parts.knewNoPolicy()) this.#parts.saveNoPolicy(false);
    for (const session of sessions()) {
      if (this.#announced.get(session)?.signature !== policy.seal.signature) this.opened(session);
    }
    changed();
  }

  #learnNoPolicy(): void {
    const { saveNoPolicy, sessions, log, changed } = this.#parts;
    saveNoPolicy(true);
    log.info("the cluster has no policy");
    for (const session of sessions()) this.opened(session);
    changed();
  }

  #refusing({ signature }: Seal): ReadonlySet<string> {
    return new Set([...this.#refused, signature].slice(-MAX_REFUSED));
  }

  /** Its name; its id, where the name is not known. */
  #authorOf({ author }: Seal): string {
    const id = nodeId(author);
    return this.#parts.nameOf(id) ?? id;
  }

  #closeForged(session: PolicySession, lie: WeftError): void {
    this.#parts.log.warn(`from ${session.remote}: ${lie.message}`, { remedy: lie.remedy });
    session.close(lie);
  }
}

const UNKNOWN =
  "no packet passes yet: no member has said whether there is a policy; wait for one, or apply a policy here";

const LOST =
  "no packet passes yet: the policy on disk cannot be read any more; apply a policy on any node";

const textMissing = (version: number, author: string): string =>
  `no packet passes yet: the text of policy ${version}, applied on ${author}, has not come; wait for it, or apply a policy here`;

const partsOf = ({ size }: Seal): number => Math.ceil(size / PART_BYTES);

const tooLong = (): WeftError =>
  new WeftError(
    "POLICY",
    `as JSON the policy is longer than ${MAX_POLICY_BYTES} bytes`,
    "let one rule name more addresses and ports",
  );

const noLease = (): never => {
  throw new WeftError(
    "NO_LEASE",
    "only a node that has a lease may apply a policy, and this one has none yet",
    "wait until weft status shows one, or apply it on another node",
  );
};

const versionsExhausted = (): WeftError =>
  new WeftError(
    "POLICY_VERSION",
    `the policy in force has the last version there is, ${MAX_POLICY_VERSION}`,
    "some member has skipped them on purpose: shut it out by a new secret, then apply a policy with --reset-version on every node",
  );

const otherText = (): WeftError =>
  new WeftError(
    "POLICY_FORGED",
    "the text that came is not the one of which the policy's seal speaks",
    "find out what runs at that address; if it is not yours, change the cluster secret",
  );
