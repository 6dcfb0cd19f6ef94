/** One way for packets to a member, and how the probes sent along it are answered. */

/** Probes in a row without an answer, after which a way does not work; one more for each that carries them. */
export const MAX_FAILURES = 3;
/** Weight of the newest in what is averaged. */
const EWMA_WEIGHT = 1 / 8;
/** Answers of which the least round trip counts, as in NTP's clock filter (RFC 5905, 10): delays only add to it. */
const RTT_SAMPLES = 8;

/** Straight to an endpoint: the one in the member's record, or one its probes came from; or through a neighbour. */
export type NextHop =
  | { readonly kind: "own" | "learned"; readonly endpoint: string }
  | {
      readonly kind: "via";
      readonly neighbour: string;
      /** Ids of the members that carry on from the neighbour, in turn. */
      readonly path: readonly string[];
    };

/** How long one answer took, in milliseconds: as in Way. */
export interface RoundTrip {
  readonly responseMs: number;
  readonly rttMs: number;
}

export class PathState {
  /** In a row. */
  failures = 0;
  /** When the last one was answered, and when the last one was sent. */
  answeredAt: number | undefined;
  sentAt: number | undefined;
  /** A probe is on its way: the next one waits for it. */
  isPending = false;
  #response: number | undefined;
  /** Of the last RTT_SAMPLES answers, the oldest first. */
  #roundTrips: number[] = [];
  #loss = 0;

  constructor(
    public nextHop: NextHop,
    /** When the member, or the neighbour that offers it, spoke of this way last. */
    public refreshedAt: number,
  ) {}

  get works(): boolean {
    return this.answeredAt !== undefined && !this.hasFailed;
  }

  /** Works, and not by the last thread. */
  get isHealthy(): boolean {
    return this.works && this.failures < this.#failureLimit - 1;
  }

  get hasFailed(): boolean {
    return this.failures >= this.#failureLimit;
  }

  get #failureLimit(): number {
    return MAX_FAILURES + this.relays;
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
    return this.nextHop.kind === "via" ? this.nextHop.path.length + 1 : 0;
  }

  /** The path has changed: a probe under way proves nothing about the new one. */
  reroute(nextHop: NextHop): void {
    this.nextHop = nextHop;
    this.isPending = false;
    this.#roundTrips = [];
  }

  sent(now: number): void {
    this.sentAt = now;
    this.isPending = true;
  }

  answered(now: number, { responseMs, rttMs }: RoundTrip): void {
    this.isPending = false;
    this.failures = 0;
    this.answeredAt = now;
    this.#response = ewma(this.#response ?? responseMs, responseMs);
    this.#roundTrips = [...this.#roundTrips, rttMs].slice(-RTT_SAMPLES);
    this.#loss = ewma(this.#loss, 0);
  }

  /** One that was sent at this time is not answered: after the last answer, that is one more in a row. */
  lost(sentAt: number): void {
    this.isPending = false;
    if (this.answeredAt === undefined || sentAt >= this.answeredAt) this.failures++;
    this.#loss = ewma(this.#loss, 1);
  }
}

const ewma = (old: number, newest: number): number => old + (newest - old) * EWMA_WEIGHT;
