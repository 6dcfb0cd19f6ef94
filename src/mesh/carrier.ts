/**
 * Carries what others ask for to somebody who may answer, and the answer back:
 * requests for space, and questions to a giver.
 */
import type { Clock } from "./clock.js";
import { MAX_SEEN, type MessageOf } from "./message.js";
import type { Session } from "./session.js";

/** Errands of others that a node carries on at one time. */
export const MAX_CARRIED = 256;
/** How long it waits for the answer to one of them, in milliseconds. */
export const CARRIED_FOR = 8_000;

export type Errand = MessageOf<"lease-request"> | MessageOf<"lease-question">;
type Refusal = MessageOf<"lease-refusal">;

/** One of them, on its way. */
interface Carried {
  readonly errand: Errand;
  /** Where it came from, and the answer goes. */
  readonly back: Session;
  readonly reason: string;
  readonly forget: () => void;
}

export interface CarrierParts {
  readonly clock: Clock;
  /** Of these sessions, that by which an errand goes on; nothing when it is vain. */
  choose(errand: Errand, sessions: readonly Session[]): Session | undefined;
  sessions(): readonly Session[];
  /** Nobody is left to be asked. */
  refuse(back: Session, errand: Errand, reason: string): void;
}

export class Carrier {
  readonly #parts: CarrierParts;
  /** By the public key of who asks. */
  readonly #carried = new Map<string, Carried>();

  constructor(parts: CarrierParts) {
    this.#parts = parts;
  }

  stop(): void {
    for (const { forget } of this.#carried.values()) forget();
  }

  /** To a neighbour that was not asked yet; back with the reason when there is none. */
  carry(back: Session, errand: Errand, reason: string) {
    const { clock, sessions, choose, refuse } = this.#parts;
    const { for: to, seen } = errand;
    this.#carried.get(to)?.forget();
    const fresh = sessions().filter(({ peer }) => !seen.includes(peer.id));
    const isEnough = seen.length >= MAX_SEEN || this.#carried.size >= MAX_CARRIED;
    const next = isEnough ? undefined : choose(errand, fresh);
    if (!next) return refuse(back, errand, reason);
    const cancel = clock.after(CARRIED_FOR, () => this.#carried.delete(to));
    const forget = () => {
      cancel();
      this.#carried.delete(to);
    };
    this.#carried.set(to, { errand, back, reason, forget });
    next.send(errand);
  }

  /** The answer has come: gives the session to send it back by. */
  answered(to: string): Session | undefined {
    const carried = this.#carried.get(to);
    carried?.forget();
    return carried?.back;
  }

  /** It was refused there: it goes to another. */
  further({ for: to, reason, seen }: Refusal): void {
    const carried = this.#carried.get(to);
    if (!carried) return;
    const { errand, back } = carried;
    this.carry(back, { ...errand, seen: union(errand.seen, seen) }, reason);
  }
}

/** Both lists as one set, up to what a message can hold. */
export const union = (a: readonly string[], b: readonly string[]): string[] =>
  [...new Set([...a, ...b])].slice(0, MAX_SEEN);
