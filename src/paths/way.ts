/** One way for packets to a member, and how the probes sent along it are answered. */

/** Probes in a row without an answer, after which a way does not work; one more for each that carries them. */
export const ENOUGH_FAILURES = 3;
/** Weight of the newest in what is averaged. */
const NEWEST = 1 / 8;
/** Answers of which the least round trip counts, as in NTP's clock filter (RFC 5905, 10): delays only add to it. */
const ROUND_TRIPS = 8;

/** Straight to an endpoint: the one in the member's record, or one its probes came from; or through a neighbour. */
export type Course =
  | { readonly kind: "own" | "learned"; readonly endpoint: string }
  | {
      readonly kind: "via";
      readonly neighbour: string;
      /** Ids of the members that carry on from the neighbour, in turn. */
      readonly path: readonly string[];
    };

/** How long one answer took, in milliseconds: as in Way. */
export interface Took {
  readonly responseMs: number;
  readonly rttMs: number;
}

export class Way {
  /** In a row. */
  failures = 0;
  /** When the last one was answered, and when the last one was sent. */
  answeredAt: number | undefined;
  sentAt: number | undefined;
  /** A probe is on its way: the next one waits for it. */
  isAwaited = false;
  #response: number | undefined;
  /** Of the last ROUND_TRIPS answers, the oldest first. */
  #roundTrips: number[] = [];
  #loss = 0;

  constructor(
    public course: Course,
    /** When the member, or the neighbour that offers it, spoke of this way last. */
    public mentionedAt: number,
  ) {}

  get works(): boolean {
    return this.answeredAt !== undefined && !this.hasFailed;
  }

  /** Works, and not by the last thread. */
  get isSound(): boolean {
    return this.works && this.failures < this.#enough - 1;
  }

  get hasFailed(): boolean {
    return this.failures >= this.#enough;
  }

  get #enough(): number {
    return ENOUGH_FAILURES + this.relays;
  }

  /** Milliseconds there and back, without the time that the nodes held the probe. */
  get rttMs(): number | undefined {
    return this.#roundTrips.length > 0 ? Math.min(...this.#roundTrips) : undefined;
  }

  /** Milliseconds until this node had the answer to a probe, averaged. */
  get responseMs(): number | undefined {
    return this.#response;
  }

  /** Of the probes sent of late, the share without an answer. */
  get loss(): number {
    return this.#loss;
  }

  /** How many carry a packet that goes this way. */
  get relays(): number {
    return this.course.kind === "via" ? this.course.path.length + 1 : 0;
  }

  /** The path has changed: a probe under way proves nothing about the new one. */
  lead(course: Course): void {
    this.course = course;
    this.isAwaited = false;
    this.#roundTrips = [];
  }

  sent(now: number): void {
    this.sentAt = now;
    this.isAwaited = true;
  }

  answered(now: number, { responseMs, rttMs }: Took): void {
    this.isAwaited = false;
    this.failures = 0;
    this.answeredAt = now;
    this.#response = averaged(this.#response ?? responseMs, responseMs);
    this.#roundTrips = [...this.#roundTrips, rttMs].slice(-ROUND_TRIPS);
    this.#loss = averaged(this.#loss, 0);
  }

  /** One that was sent at this time is not answered: after the last answer, that is one more in a row. */
  missed(sentAt: number): void {
    this.isAwaited = false;
    if (this.answeredAt === undefined || sentAt >= this.answeredAt) this.failures++;
    this.#loss = averaged(this.#loss, 1);
  }
}

const averaged = (old: number, newest: number): number => old + (newest - old) * NEWEST;
