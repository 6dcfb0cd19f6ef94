/**
 * Forwards the requests and status queries of other nodes to a node that may answer, and the
 * answers back.
 */
import type { WeftError } from "../error.js";
import { nameAndId } from "../gossip/record.js";
import { nodeId } from "../identity/identity.js";
import type { Log } from "../log.js";
import type { MessageOf } from "../session/protocol.js";
import { plainSentence, type Session } from "../session/session.js";
import type { Sessions } from "../session/sessions.js";
import { type Clock, randomOf } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { FreeSpaceDirectory } from "./free-space-directory.js";
import { type LeaseMessage, MAX_VISITED } from "./messages.js";

/** Forwarded requests that wait for an answer at one time. */
export const MAX_FORWARDED = 256;
/** Milliseconds until a forwarded request without an answer is forgotten. */
const FORWARD_TIMEOUT = 8_000;
/** Refusals in the log: burst, and rate per second. */
const REFUSAL_LOG_LIMIT = { burst: 10, rate: 0.2 };

export type ForwardedRequest =
  | MessageOf<LeaseMessage, "lease-request">
  | MessageOf<LeaseMessage, "lease-status-query">;
type LeaseSession = Session<LeaseMessage>;
type Refusal = MessageOf<LeaseMessage, "lease-refusal">;

/** A forwarded request that waits for its answer. */
interface Pending {
  readonly request: ForwardedRequest;
  /** The session that it came from, and that the answer goes to. */
  readonly origin: LeaseSession;
  readonly forget: () => void;
}

export interface RequestForwarderParts {
  readonly clock: Clock;
  readonly log: Log;
  /** This node's id. */
  readonly own: string;
  readonly directory: FreeSpaceDirectory;
  readonly connections: Sessions<LeaseMessage>;
}

export class RequestForwarder {
  readonly #parts: RequestForwarderParts;
  /** By the peer that it went to and the requester. An answer counts only from that peer. */
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

  /** Forwards a request if another node may grant it in spite of this error; otherwise refuses it. */
  forwardOrRefuse(origin: LeaseSession, request: ForwardedRequest, error: WeftError): void {
    const reason = plainSentence(`${error.message}; ${error.remedy}`);
    const visited = union(request.visited, [this.#parts.own, nodeId(request.for)]);
    const next = { ...request, visited };
    if (FORWARDABLE.has(error.code)) this.#forward(origin, next, reason);
    else this.#refuse(origin, next, reason);
  }

  /**
   * The session to send a request to: for a status query the granter's, else a random one; for a
   * lease request one of a node with space, else a random one, but only if some record announces
   * space or `anybody` is set.
   */
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

  /** The session to send an answer back to, if the answer was awaited; it then is no more. */
  takeOrigin({ peer }: LeaseSession, to: string): LeaseSession | undefined {
    const pending = this.#pending.get(keyOf(peer.id, to));
    pending?.forget();
    return pending?.origin;
  }

  /** Forwards a request that a peer refused to another node. */
  onRefusal({ peer }: LeaseSession, { for: to, reason, visited }: Refusal): void {
    const pending = this.#pending.get(keyOf(peer.id, to));
    if (!pending) return;
    pending.forget();
    const { request, origin } = pending;
    this.#forward(origin, { ...request, visited: union(request.visited, visited) }, reason);
  }

  /** Forwards to a neighbour that was not visited yet; refuses with the reason if there is none. */
  #forward(origin: LeaseSession, request: ForwardedRequest, reason: string) {
    const { clock, connections } = this.#parts;
    const { for: to, visited } = request;
    // A request from the requester itself replaces one that was forwarded for it.
    const isOwn = origin.peer.publicKey === to;
    const isFree = ({ peer }: LeaseSession) => isOwn || !this.#pending.has(keyOf(peer.id, to));
    const fresh = connections
      .sessions()
      .filter((one) => !visited.includes(one.peer.id) && isFree(one));
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

/** Codes of errors that do not hold for other nodes, which may grant the request. */
const FORWARDABLE = new Set(["NETWORK_FULL", "NOT_HERE", "NOT_NOW", "UNSEEN", "JOURNAL_FULL"]);

/** Both lists as one set, up to what a message can hold. */
export const union = (a: readonly string[], b: readonly string[]): string[] =>
  [...new Set([...a, ...b])].slice(0, MAX_VISITED);
