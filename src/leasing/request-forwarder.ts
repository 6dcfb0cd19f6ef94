/**
 * Carries what others ask for to somebody who may answer, and the answer back:
 * requests for space, and questions to a giver.
 */
import type { WeftError } from "../error.js";
import { nameAndId } from "../gossip/record.js";
import { nodeId } from "../identity/identity.js";
import type { Log } from "../log.js";
import type { MessageOf } from "../session/protocol.js";
import { plainSentence, type Session } from "../session/session.js";
import { type Clock, randomOf } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { FreeSpaceDirectory } from "./free-space-directory.js";
import { type LeaseMessage, MAX_VISITED } from "./messages.js";

/** Errands of others that a node carries on at one time. */
export const MAX_FORWARDED = 256;
/** How long it waits for the answer to one of them, in milliseconds. */
const FORWARD_TIMEOUT = 8_000;
/** Refusals that the log tells of, at once and per second after that. */
const REFUSAL_LOG_LIMIT = { burst: 10, rate: 0.2 };

export type ForwardedRequest =
  | MessageOf<LeaseMessage, "lease-request">
  | MessageOf<LeaseMessage, "lease-status-query">;
type LeaseSession = Session<LeaseMessage>;
type Refusal = MessageOf<LeaseMessage, "lease-refusal">;

/** One of them, on its way. */
interface Pending {
  readonly request: ForwardedRequest;
  /** Where it came from, and the answer goes. */
  readonly origin: LeaseSession;
  readonly forget: () => void;
}

export interface RequestForwarderParts {
  readonly clock: Clock;
  readonly log: Log;
  /** This node's id. */
  readonly own: string;
  readonly directory: FreeSpaceDirectory;
  /** The open sessions. */
  sessions(): readonly LeaseSession[];
}

export class RequestForwarder {
  readonly #parts: RequestForwarderParts;
  /** By whom it was handed to, and who asks: that one's answer counts, and no other's. */
  readonly #pending = new Map<string, Pending>();
  readonly #refusalLogLimit: TokenBucket;

  constructor(parts: RequestForwarderParts) {
    this.#parts = parts;
    this.#refusalLogLimit = new TokenBucket(
      parts.clock,
      REFUSAL_LOG_LIMIT.burst,
      REFUSAL_LOG_LIMIT.rate,
    );
  }

  stop(): void {
    for (const { forget } of this.#pending.values()) forget();
  }

  /** To another, if that one may know better than this node; else back with the reason. */
  forwardOrRefuse(origin: LeaseSession, request: ForwardedRequest, error: WeftError): void {
    const reason = plainSentence(`${error.message}; ${error.remedy}`);
    const visited = union(request.visited, [this.#parts.own, nodeId(request.for)]);
    const next = { ...request, visited };
    if (FORWARDABLE.has(error.code)) this.#forward(origin, next, reason);
    else this.#refuse(origin, next, reason);
  }

  /** The giver of what is asked about, or who has space, or by chance; nobody when no record tells of space. */
  chooseTarget(
    request: ForwardedRequest,
    sessions: readonly LeaseSession[],
    { anybody = false } = {},
  ): LeaseSession | undefined {
    const { clock, directory } = this.#parts;
    const one = randomOf(clock, sessions);
    if (request.type === "lease-status-query") {
      return sessions.find(({ peer }) => peer.publicKey === request.of) ?? one;
    }
    const ids = sessions.map(({ peer }) => peer.id);
    const best = directory.best(ids, request.networks);
    if (best !== undefined) return sessions.find(({ peer }) => peer.id === best);
    return anybody || directory.hasFree(request.networks) ? one : undefined;
  }

  /** An answer has come: gives the session to send it back by, if it was waited for. */
  takeOrigin({ peer }: LeaseSession, to: string): LeaseSession | undefined {
    const pending = this.#pending.get(keyOf(peer.id, to));
    pending?.forget();
    return pending?.origin;
  }

  /** It was refused there: it goes to another. */
  onRefusal({ peer }: LeaseSession, { for: to, reason, visited }: Refusal): void {
    const pending = this.#pending.get(keyOf(peer.id, to));
    if (!pending) return;
    pending.forget();
    const { request, origin } = pending;
    this.#forward(origin, { ...request, visited: union(request.visited, visited) }, reason);
  }

  /** To a neighbour that was not asked yet; back with the reason when there is none. */
  #forward(origin: LeaseSession, request: ForwardedRequest, reason: string) {
    const { clock, sessions } = this.#parts;
    const { for: to, visited } = request;
    // Who asks for itself comes before those who say that they carry for it.
    const isOwn = origin.peer.publicKey === to;
    const isFree = ({ peer }: LeaseSession) => isOwn || !this.#pending.has(keyOf(peer.id, to));
    const fresh = sessions().filter((one) => !visited.includes(one.peer.id) && isFree(one));
    const isEnough = visited.length >= MAX_VISITED || this.#pending.size >= MAX_FORWARDED;
    const next = isEnough ? undefined : this.chooseTarget(request, fresh);
    if (!next) return this.#refuse(origin, request, reason);
    const place = keyOf(next.peer.id, to);
    this.#pending.get(place)?.forget();
    const cancel = clock.after(FORWARD_TIMEOUT, () => this.#pending.delete(place));
    const forget = () => {
      cancel();
      this.#pending.delete(place);
    };
    this.#pending.set(place, { request, origin, forget });
    next.send(request);
  }

  #refuse(origin: LeaseSession, request: ForwardedRequest, reason: string): void {
    const { for: to, visited } = request;
    origin.send({ type: "lease-refusal", for: to, reason, visited });
    if (!this.#refusalLogLimit.spend(1)) return;
    const id = nodeId(to);
    const asker = "name" in request ? nameAndId({ name: request.name, id }) : id;
    this.#parts.log.warn(`refused a lease to ${asker} at ${origin.remote}: ${reason}`);
  }
}

const keyOf = (peer: string, to: string): string => `${peer} ${to}`;

/** What was refused for such a reason, another node may grant. */
const FORWARDABLE = new Set(["NETWORK_FULL", "NOT_HERE", "NOT_NOW", "UNSEEN", "JOURNAL_FULL"]);

/** Both lists as one set, up to what a message can hold. */
export const union = (a: readonly string[], b: readonly string[]): string[] =>
  [...new Set([...a, ...b])].slice(0, MAX_VISITED);
