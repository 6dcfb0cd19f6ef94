/**
 * Carries what others ask for to somebody who may answer, and the answer back:
 * requests for space, and questions to a giver.
 */
import type { WeftError } from "../error.js";
import { who } from "../gossip/record.js";
import { nodeId } from "../identity/identity.js";
import type { Log } from "../log.js";
import type { MessageOf } from "../session/protocol.js";
import { plain, type Session } from "../session/session.js";
import { Budget } from "../time/budget.js";
import { type Clock, oneOf } from "../time/clock.js";
import { type LeaseMessage, MAX_SEEN } from "./messages.js";
import type { Vacancies } from "./vacancies.js";

/** Errands of others that a node carries on at one time. */
export const MAX_CARRIED = 256;
/** How long it waits for the answer to one of them, in milliseconds. */
const CARRIED_FOR = 8_000;
/** Refusals that the log tells of, at once and per second after that. */
const TOLD = { burst: 10, rate: 0.2 };

export type Errand =
  | MessageOf<LeaseMessage, "lease-request">
  | MessageOf<LeaseMessage, "lease-question">;
type LeaseSession = Session<LeaseMessage>;
type Refusal = MessageOf<LeaseMessage, "lease-refusal">;

/** One of them, on its way. */
interface Carried {
  readonly errand: Errand;
  /** Where it came from, and the answer goes. */
  readonly back: LeaseSession;
  readonly forget: () => void;
}

export interface CarrierParts {
  readonly clock: Clock;
  readonly log: Log;
  /** This node's id. */
  readonly own: string;
  readonly vacancies: Vacancies;
  /** The open sessions. */
  sessions(): readonly LeaseSession[];
}

export class Carrier {
  readonly #parts: CarrierParts;
  /** By whom it was handed to, and who asks: that one's answer counts, and no other's. */
  readonly #carried = new Map<string, Carried>();
  readonly #told: Budget;

  constructor(parts: CarrierParts) {
    this.#parts = parts;
    this.#told = new Budget(parts.clock, TOLD.burst, TOLD.rate);
  }

  stop(): void {
    for (const { forget } of this.#carried.values()) forget();
  }

  /** To another, if that one may know better than this node; else back with the reason. */
  passOn(back: LeaseSession, errand: Errand, error: WeftError): void {
    const reason = plain(`${error.message}; ${error.remedy}`);
    const seen = union(errand.seen, [this.#parts.own, nodeId(errand.for)]);
    const further = { ...errand, seen };
    if (CARRIED.has(error.code)) this.#carry(back, further, reason);
    else this.#refuse(back, further, reason);
  }

  /** The giver of what is asked about, or who has space, or by chance; nobody when no record tells of space. */
  choose(
    errand: Errand,
    sessions: readonly LeaseSession[],
    { anybody = false } = {},
  ): LeaseSession | undefined {
    const { clock, vacancies } = this.#parts;
    const one = oneOf(clock, sessions);
    if (errand.type === "lease-question") {
      return sessions.find(({ peer }) => peer.publicKey === errand.of) ?? one;
    }
    const ids = sessions.map(({ peer }) => peer.id);
    const best = vacancies.best(ids, errand.networks);
    if (best !== undefined) return sessions.find(({ peer }) => peer.id === best);
    return anybody || vacancies.exist(errand.networks) ? one : undefined;
  }

  /** An answer has come: gives the session to send it back by, if it was waited for. */
  answered({ peer }: LeaseSession, to: string): LeaseSession | undefined {
    const carried = this.#carried.get(placeOf(peer.id, to));
    carried?.forget();
    return carried?.back;
  }

  /** It was refused there: it goes to another. */
  further({ peer }: LeaseSession, { for: to, reason, seen }: Refusal): void {
    const carried = this.#carried.get(placeOf(peer.id, to));
    if (!carried) return;
    carried.forget();
    const { errand, back } = carried;
    this.#carry(back, { ...errand, seen: union(errand.seen, seen) }, reason);
  }

  /** To a neighbour that was not asked yet; back with the reason when there is none. */
  #carry(back: LeaseSession, errand: Errand, reason: string) {
    const { clock, sessions } = this.#parts;
    const { for: to, seen } = errand;
    // Who asks for itself comes before those who say that they carry for it.
    const isOwn = back.peer.publicKey === to;
    const isFree = ({ peer }: LeaseSession) => isOwn || !this.#carried.has(placeOf(peer.id, to));
    const fresh = sessions().filter((one) => !seen.includes(one.peer.id) && isFree(one));
    const isEnough = seen.length >= MAX_SEEN || this.#carried.size >= MAX_CARRIED;
    const next = isEnough ? undefined : this.choose(errand, fresh);
    if (!next) return this.#refuse(back, errand, reason);
    const place = placeOf(next.peer.id, to);
    this.#carried.get(place)?.forget();
    const cancel = clock.after(CARRIED_FOR, () => this.#carried.delete(place));
    const forget = () => {
      cancel();
      this.#carried.delete(place);
    };
    this.#carried.set(place, { errand, back, forget });
    next.send(errand);
  }

  #refuse(back: LeaseSession, errand: Errand, reason: string): void {
    const { for: to, seen } = errand;
    back.send({ type: "lease-refusal", for: to, reason, seen });
    if (!this.#told.spend(1)) return;
    const id = nodeId(to);
    const asker = "name" in errand ? who({ name: errand.name, id }) : id;
    this.#parts.log.warn(`refused a lease to ${asker} at ${back.remote}: ${reason}`);
  }
}

const placeOf = (peer: string, to: string): string => `${peer} ${to}`;

/** What was refused for such a reason, another node may grant. */
const CARRIED = new Set(["NETWORK_FULL", "NOT_HERE", "NOT_NOW", "UNSEEN", "JOURNAL_FULL"]);

/** Both lists as one set, up to what a message can hold. */
export const union = (a: readonly string[], b: readonly string[]): string[] =>
  [...new Set([...a, ...b])].slice(0, MAX_SEEN);
