/**
 * Finds the largest packet that the path to one member takes, by probes of different sizes (Datagram
 * Packetization Layer Path MTU Discovery, RFC 8899). Sizes are those of inner packets, in bytes.
 *
 * A round sends a probe of each of a few sizes, repeats those without an answer, and
 * ends when each is answered or was repeated often enough. There are three kinds:
 *
 *   confirm   does the size in use still pass, or only the hinted one?
 *   search    which sizes pass between one that passes and one that does not?
 *   raise     the size in use is below the largest: does one more byte pass, or the largest?
 *
 * A search goes on until the two differ by one byte. Only answers change the size in use: a larger
 * size that passes raises it, and it is lowered when it fails while a smaller one passes.
 */
import type { Clock } from "../time/clock.js";

/** Least time between two verified hints, in milliseconds. */
export const HINT_EVERY = 1_000;
/**
 * Time until a larger size is tried again, in milliseconds. It doubles from RAISE_AFTER to
 * RAISE_EVERY (PMTU_RAISE_TIMER, RFC 8899, 5.1.1).
 */
export const RAISE_AFTER = 5_000;
export const RAISE_EVERY = 600_000;
/** Most sizes in one round of a search. */
export const SEARCH_SIZES = 8;
/** Probes of one size in a round: without loss (MAX_PROBES, RFC 8899, 5.1.2), and at most. */
export const PROBES = { least: 3, most: 10 };
/** Accepted probability that all probes of a size that passes are lost. */
const ERROR_PROBABILITY = 0.001;
/** The wait for the first answer is this plus a multiple of the response time, up to a maximum. In milliseconds. */
const MIN_RESPONSE_WAIT = 50;
const RESPONSE_WAIT_FACTOR = 3;
const MAX_RESPONSE_WAIT = 2_000;
/** Wait for tokens of the rate limit, in milliseconds. */
const RETRY_EVERY = 100;
/**
 * Least wait after an answer for those to the probes sent with it, in milliseconds. The wait is at
 * least as long as the first answer took.
 */
const MIN_STRAGGLER_WAIT = 50;

export interface PathMtuParts {
  readonly clock: Clock;
  /** Sends a probe as large as the datagram of an inner packet of this size. */
  readonly probe: (size: number) => void;
  /** Whether `count` probes may be sent now; if so, takes their tokens. */
  readonly mayProbe: (count: number) => boolean;
  /** The measured path: response time in milliseconds, and the share of small probes lost, 0 to 1. */
  readonly path: () => { readonly responseMs: number; readonly loss: number };
  /** Called when the size in use has changed. */
  readonly changed: () => void;
}

/** The size that every path must take, and the largest that is sent. */
interface Sizes {
  readonly least: number;
  readonly most: number;
}

/** The largest size known to pass and the smallest known to fail. */
interface Bounds {
  readonly passes: number | undefined;
  readonly fails: number;
}

interface Round extends Bounds {
  /** Unanswered sizes, in ascending order. */
  waiting: number[];
  passes: number | undefined;
  /** Number of probes sent of each size, and when the last one was sent. */
  sent: number;
  sentAt: number;
}

export class PathMtu {
  /** The size in use. */
  size: number;
  readonly #parts: PathMtuParts;
  #least = 0;
  #most = 0;
  #round: Round | undefined;
  #cancelRound: (() => void) | undefined;
  #cancelRaise: (() => void) | undefined;
  #raiseAfter = RAISE_AFTER;
  #confirmedAt = Number.NEGATIVE_INFINITY;
  #hintedAt = Number.NEGATIVE_INFINITY;

  constructor(parts: PathMtuParts, sizes: Sizes) {
    this.#parts = parts;
    this.size = sizes.most;
    this.#setBounds(sizes);
  }

  /** Sets other bounds: lowers a size in use above them now, and tries a larger size soon. */
  resize(sizes: Sizes): void {
    this.pathChanged();
    this.#setBounds(sizes);
    this.#setSize(Math.min(this.size, sizes.most));
  }

  #setBounds({ least, most }: Sizes): void {
    this.#least = Math.min(least, most);
    this.#most = most;
  }

  stop(): void {
    this.#cancelRound?.();
    this.#cancelRaise?.();
    this.#round = undefined;
  }

  /** Milliseconds since the last confirm round began; infinite if the path has changed since. */
  get confirmedFor(): number {
    return this.#parts.clock.elapsed() - this.#confirmedAt;
  }

  /** Whether no round is under way and no hint was verified within HINT_EVERY. */
  get mayConfirm(): boolean {
    return !this.#round && this.#parts.clock.elapsed() - this.#hintedAt >= HINT_EVERY;
  }

  /** Probes the size in use and, if there is a hint at a smaller one, that one. */
  confirm(hint?: number): void {
    if (!this.mayConfirm) return;
    this.#confirmedAt = this.#parts.clock.elapsed();
    if (hint !== undefined) this.#hintedAt = this.#confirmedAt;
    const smaller = Math.max(this.#least, Math.min(hint ?? this.size, this.size));
    // One byte more than the hint shows whether it names the very size that passes.
    this.#startRound([smaller, smaller + 1, this.size], {
      passes: undefined,
      fails: this.size + 1,
    });
  }

  /** Packets take another path: the size in use must be confirmed anew, and a larger one is tried soon. */
  pathChanged(): void {
    this.stop();
    this.#raiseAfter = RAISE_AFTER;
    this.#confirmedAt = Number.NEGATIVE_INFINITY;
    this.#hintedAt = Number.NEGATIVE_INFINITY;
  }

  /** Handles the answer to a probe of this size, however late. Ignores sizes above the largest that is sent now. */
  answered(size: number): void {
    if (size > this.#most) return;
    const round = this.#round;
    if (round) {
      round.passes = Math.max(round.passes ?? size, size);
      round.waiting = round.waiting.filter((other) => other > size);
    }
    if (size > this.size) this.#setSize(size);
    if (!round) return;
    if (round.waiting.length === 0) this.#conclude(round);
    else
      this.#await(round, Math.max(MIN_STRAGGLER_WAIT, this.#parts.clock.elapsed() - round.sentAt));
  }

  // ---- a round

  #startRound(sizes: readonly number[], bounds: Bounds): void {
    const waiting = [...new Set(sizes)].filter((size) => size < bounds.fails);
    const round = { ...bounds, waiting: waiting.sort((a, b) => a - b), sent: 0, sentAt: 0 };
    this.#cancelRaise?.();
    this.#round = round;
    this.#send(round);
  }

  #send(round: Round): void {
    const { clock, path, probe, mayProbe } = this.#parts;
    const { responseMs, loss } = path();
    const enough =
      loss > 0 ? Math.ceil(Math.log(ERROR_PROBABILITY) / Math.log(loss)) : PROBES.least;
    if (round.sent >= Math.max(PROBES.least, Math.min(enough, PROBES.most))) {
      this.#conclude(round);
      return;
    }
    // A size known to pass is repeated: its answer shows when the others are overdue.
    const sizes = [...(round.passes === undefined ? [] : [round.passes]), ...round.waiting];
    if (!mayProbe(sizes.length)) {
      this.#await(round, RETRY_EVERY);
      return;
    }
    round.sent++;
    round.sentAt = clock.elapsed();
    for (const size of sizes) probe(size);
    this.#await(
      round,
      Math.min(MIN_RESPONSE_WAIT + RESPONSE_WAIT_FACTOR * responseMs, MAX_RESPONSE_WAIT),
    );
  }

  #await(round: Round, ms: number): void {
    this.#cancelRound?.();
    this.#cancelRound = this.#parts.clock.after(ms, () => this.#send(round));
  }

  #conclude({ waiting, passes, fails: failedBefore }: Round): void {
    this.#cancelRound?.();
    this.#round = undefined;
    const fails = waiting[0] ?? failedBefore;
    if (passes !== undefined) this.#setSize(passes);
    if (passes !== undefined && fails - passes > 1) {
      this.#startRound(between(passes, fails), { passes, fails });
    } else if (passes === undefined && fails > this.#least) {
      this.#startRound([this.#least, ...between(this.#least, fails)], { passes, fails });
    } else {
      // If not even the least size passes, the path is down, which says nothing about sizes.
      this.#raiseLater();
    }
  }

  #setSize(size: number): void {
    if (size === this.size) return;
    this.size = size;
    this.#raiseAfter = RAISE_AFTER;
    this.#parts.changed();
  }

  // ---- raising the size

  #raiseLater(): void {
    if (this.size >= this.#most || this.#round) return;
    this.#cancelRaise?.();
    this.#cancelRaise = this.#parts.clock.after(this.#raiseAfter, () => {
      this.#raiseAfter = Math.min(2 * this.#raiseAfter, RAISE_EVERY);
      this.#startRound([this.size + 1, this.#most], { passes: this.size, fails: this.#most + 1 });
    });
  }
}

/** Sizes that divide the range between two sizes into equal parts. */
function between(low: number, high: number): number[] {
  const step = Math.max(1, (high - low) / (SEARCH_SIZES + 1));
  const sizes = Array.from({ length: SEARCH_SIZES }, (_, i) => Math.round(low + (i + 1) * step));
  return sizes.filter((size) => size < high);
}
