/** The state of one path to a member, as its probes and their answers show it. */

/** Unanswered probes in a row after which a direct path has failed. Each relay on a path adds one. */
export const MAX_FAILURES = 3;
/** Weight of the newest sample in moving averages. */
const EWMA_WEIGHT = 1 / 8;
/** Samples of which the least round trip counts, as in NTP's clock filter (RFC 5905, 10): delays only add to it. */
const RTT_SAMPLES = 8;

/**
 * A direct path goes to the endpoint in the member's record (`own`) or to one from which its probes
 * came (`learned`). A relayed one (`via`) goes through a neighbour.
 */
export type NextHop =
  | { readonly kind: "own" | "learned"; readonly endpoint: string }
  | {
      readonly kind: "via";
      readonly neighbour: string;
      /** Ids of the relays behind the neighbour, in order. */
      readonly path: readonly string[];
    };

/** The times of one answer, in milliseconds: as in PathState. */
export interface RoundTrip {
  readonly responseMs: number;
  readonly rttMs: number;
}

export class PathState {
  /** Unanswered probes in a row. */
  failures = 0;
  /** When the last answer came, and when the last probe was sent. */
  answeredAt: number | undefined;
  sentAt: number | undefined;
  /** A probe awaits its answer: no other scheduled probe is sent meanwhile. */
  isPending = false;
  #response: number | undefined;
  /** Round trips of the last RTT_SAMPLES answers, the oldest first. */
  #roundTrips: number[] = [];
  #loss = 0;

  constructor(
    public nextHop: NextHop,
    /** When a probe of the member, or an update of the neighbour, last confirmed this path. */
    public refreshedAt: number,
  ) {}

  get works(): boolean {
    return this.answeredAt !== undefined && !this.hasFailed;
  }

  /** Works, and more than one unanswered probe away from failure. */
  get isHealthy(): boolean {
    return this.works && this.failures < this.#failureLimit - 1;
  }

  get hasFailed(): boolean {
    return this.failures >= this.#failureLimit;
  }

  get #failureLimit(): number {
    return MAX_FAILURES + this.relays;
  }

  /** Round-trip time in milliseconds, without the time that nodes held the probe. */
  get rttMs(): number | undefined {
    return this.#roundTrips.length > 0 ? Math.min(...this.#roundTrips) : undefined;
  }

  /** Average time until this node handles the answer to a probe, in milliseconds. */
  get responseMs(): number | undefined {
    return this.#response;
  }

  /** Moving average of the share of unanswered probes, 0 to 1. */
  get loss(): number {
    return this.#loss;
  }

  /** Number of relays on this path. */
  get relays(): number {
    return this.nextHop.kind === "via" ? this.nextHop.path.length + 1 : 0;
  }

  /** Changes the path. A probe in flight proves nothing about the new one. */
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

  /** A probe sent at this time stayed unanswered. It counts as a failure if it was sent after the last answer. */
  lost(sentAt: number): void {
    this.isPending = false;
    if (this.answeredAt === undefined || sentAt >= this.answeredAt) this.failures++;
    this.#loss = ewma(this.#loss, 1);
  }
}

const ewma = (old: number, newest: number): number => old + (newest - old) * EWMA_WEIGHT;
