/**
 * A TCP connection as RFC 9293 has it, seen from between its ends: the slow twin
 * of assembly/conntrack/tcp-state.ts. It keeps every segment that counted, and reckons
 * what it must know from all of them each time.
 */
import type { FlowState } from "../../src/core/flows.js";

export type End = 0 | 1;

export interface Segment {
  readonly from: End;
  readonly syn: boolean;
  readonly fin: boolean;
  readonly rst: boolean;
  readonly sequence: number;
  /** If its ACK flag is set. */
  readonly ack: number | undefined;
  readonly window: number;
  readonly scale: number | undefined;
  readonly length: number;
}

/** A segment that counted; one that only acknowledges says nothing of what its sender sent. */
interface Counted extends Segment {
  readonly onlyAck: boolean;
}

const LATE_ACK = 66000;
/** How far `a` is behind `b`, modulo 2^32. */
const distance = (a: number, b: number) => (a - b) | 0;
export const endOf = ({ sequence, length, syn, fin }: Segment) =>
  (sequence + length + Number(syn) + Number(fin)) >>> 0;
const other = (end: End): End => (end === 0 ? 1 : 0);

export class SlowConnection {
  #story: Counted[] = [];
  #first: End = 0;
  #isReset = false;
  #isOver = false;
  /** Taken up in its middle. */
  #isLoose = false;
  /** By end, its last SYN that passed and changed nothing: perhaps the other end answers it. */
  #offers: [Segment | undefined, Segment | undefined] = [undefined, undefined];
  /** How often an answer to one changed something. */
  taken = 0;
  /** What an end acknowledged that did not open: it has an older connection. */
  #challenge: [number | undefined, number | undefined] = [undefined, undefined];

  /** Who opened it. */
  get first(): End {
    return this.#first;
  }

  /** Does the segment pass? */
  take(s: Segment): boolean {
    const passes = this.#judge(s);
    if (this.state === "time-wait") this.#isOver = true;
    return passes;
  }

  get state(): FlowState | undefined {
    if (this.#story.length === 0) return undefined;
    if (this.#isReset) return "reset";
    if (this.#isOver) return "time-wait";
    const ends = [0, 1] as const;
    const all = (what: (end: End) => boolean) => ends.every(what);
    if (!all((end) => this.#isOpened(end))) {
      return all((end) => this.#spoke(end)) ? "syn-received" : "syn-sent";
    }
    if (all((end) => this.#isHeard(end))) return "time-wait";
    if (all((end) => this.#hasFinished(end))) return "closing";
    return ends.some((end) => this.#hasFinished(end)) ? "half-closed" : "established";
  }

  #judge(s: Segment): boolean {
    const { syn, fin, rst, ack } = s;
    const makesSense = syn ? !fin && !rst : rst ? !fin : ack !== undefined;
    const isPureSyn = makesSense && syn && ack === undefined;
    const isThere = this.#story.length > 0;
    const isOver = this.#isReset || this.#isOver;
    if (isPureSyn && (!isThere || isOver)) return this.#begin(s, false);
    if (!isThere) return makesSense && !syn && !rst && !fin && this.#begin(s, true);
    if (!makesSense) return false;
    if (syn) return !isOver && this.#handleSyn(s);
    return rst ? this.#handleReset(s) : this.#handleSegment(s);
  }

  #begin(s: Segment, isLoose: boolean): true {
    this.#story = [{ ...s, onlyAck: false }];
    this.#first = s.from;
    this.#isReset = false;
    this.#isOver = false;
    this.#isLoose = isLoose;
    this.#challenge = [undefined, undefined];
    this.#offers = [undefined, undefined];
    return true;
  }

  #handleSyn(s: Segment): boolean {
    const isNew = !this.#spoke(s.from);
    const isAlone = !this.#spoke(other(s.from));
    const isRepeated = !isNew && endOf(s) === this.#end(s.from);
    if (s.ack === undefined) {
      if (this.#isLoose || (!isNew && !isAlone)) {
        if (!isRepeated) this.#offers[s.from] = s;
        return true;
      }
      this.#offers[s.from] = undefined;
      this.#story = this.#story.filter(({ from }) => from !== s.from);
      this.#challenge[other(s.from)] = undefined;
      this.#count(s);
      return true;
    }
    const offer = this.#answered(s);
    if (offer && offer.ack === undefined && !isRepeated) return this.#beginAnew(offer, s);
    if (this.#isLoose) return true;
    if (isAlone) return false;
    if (!isNew && this.#isOpened(other(s.from))) {
      const isOpening = !this.#isOpened(s.from) && s.ack === this.#awaited(s.from);
      if (isOpening && !isRepeated) this.#offers[s.from] = s;
      return true;
    }
    if (!this.#opens(s)) return false;
    this.#story.push({ ...s, onlyAck: !isNew });
    return true;
  }

  /** The offer of the other end that the segment acknowledges. */
  #answered({ from, ack }: Segment): Segment | undefined {
    const offer = this.#offers[other(from)];
    if (!offer || ack === undefined) return undefined;
    const isOfIt = (ack - offer.sequence - 1) >>> 0 <= offer.length;
    return isOfIt ? offer : undefined;
  }

  /** All that was before is over: the one end opened, and the other answered. */
  #beginAnew(offer: Segment, answer: Segment): true {
    this.#begin(offer, false);
    this.#count(answer);
    this.taken++;
    return true;
  }

  #handleReset(s: Segment): boolean {
    const offer = this.#answered(s);
    if (offer && offer.ack === undefined && !this.#isReset && !this.#isOver) {
      this.#isReset = true;
      this.taken++;
      return true;
    }
    if (!this.#isLoose && !this.#spoke(s.from)) {
      if (s.ack === undefined || !this.#opens(s)) return false;
    } else {
      const exact = [this.#end(s.from), this.#awaited(other(s.from))];
      if (!exact.includes(s.sequence)) {
        return this.#isLoose || this.#isInWindow(s.from, s.sequence, s.sequence);
      }
    }
    this.#isReset ||= !this.#isOver;
    return true;
  }

  #handleSegment(s: Segment): boolean {
    if (!this.#isLoose) {
      if (!this.#spoke(s.from)) {
        this.#challenge[s.from] = s.ack;
        return true;
      }
      this.#takeLater(s);
      if (!this.#spoke(other(s.from)) || !this.#fits(s)) return false;
    }
    if (this.#offers[s.from]?.ack !== undefined) this.#offers[s.from] = undefined;
    this.#count(s);
    return true;
  }

  /** Of two SYN-ACKs the other end took the later: so its sender never sent the earlier. */
  #takeLater(s: Segment): void {
    const to = other(s.from);
    const offer = this.#answered(s);
    if (!offer || offer.ack === undefined || this.#isOpened(to)) return;
    this.#story = this.#story.filter(({ from }) => from !== to);
    this.#offers[to] = undefined;
    this.#count(offer);
    this.taken++;
  }

  #count(s: Segment): void {
    this.#story.push({ ...s, onlyAck: false });
  }

  #fits(s: Segment): boolean {
    const { from } = s;
    const to = other(from);
    const end = endOf(s);
    if (this.#hasFinished(from) && distance(end, this.#end(from)!) > 0) return false;
    if (!this.#isInWindow(from, s.sequence, end)) return false;
    if (!this.#isOpened(to)) return this.#opens(s);
    const oldest = this.#end(to)! - Math.max(this.#largestWindow(from), LATE_ACK);
    return distance(s.ack!, this.#end(to)!) <= 0 && distance(oldest, s.ack!) <= 0;
  }

  #isInWindow(from: End, start: number, end: number): boolean {
    const oldest = this.#end(from)! - this.#largestWindow(other(from));
    return distance(start, this.#limit(from)) <= 0 && distance(oldest, end) <= 0;
  }

  /** It acknowledges the SYN of the other end, and no more than that sent. */
  #opens({ from, ack }: Segment): boolean {
    const to = other(from);
    const first = this.#spoken(to)[0]!.sequence + 1;
    return (ack! - first) >>> 0 <= (this.#end(to)! - first) >>> 0;
  }

  // ------------------------------------------------------------- from the whole story

  #by(end: End): Counted[] {
    return this.#story.filter(({ from }) => from === end);
  }

  #spoken(end: End): Counted[] {
    return this.#by(end).filter(({ onlyAck }) => !onlyAck);
  }

  #spoke(end: End): boolean {
    return this.#spoken(end).length > 0;
  }

  /** What comes next after all that the end sent. */
  #end(end: End, story: readonly Counted[] = this.#spoken(end)): number | undefined {
    const ends = story.filter(({ onlyAck }) => !onlyAck).map(endOf);
    return ends.length === 0 ? undefined : ends.reduce((a, b) => (distance(b, a) > 0 ? b : a));
  }

  /** How far the other end lets it send; before that one acknowledged its SYN, by the window it gave. */
  #limit(end: End): number {
    const limits = this.#by(other(end))
      .filter(({ ack }) => ack !== undefined)
      .map((s) => (s.ack! + this.#windowOf(s)) >>> 0);
    if (limits.length === 0) {
      return (this.#spoken(end)[0]!.sequence + 1 + this.#largestWindow(other(end))) >>> 0;
    }
    return limits.reduce((a, b) => (distance(b, a) > 0 ? b : a));
  }

  #windowOf(s: Counted): number {
    const scales = [0, 1].map((end) => this.#spoken(end as End).find(({ syn }) => syn)?.scale);
    const isShifted = !s.syn && scales.every((scale) => scale !== undefined);
    return Math.max(s.window * (isShifted ? 2 ** Math.min(scales[s.from]!, 14) : 1), 1);
  }

  #largestWindow(end: End): number {
    return Math.max(0, ...this.#by(end).map((s) => this.#windowOf(s)));
  }

  /** The number that the end waits for, as far as it said so. */
  #awaited(end: End): number | undefined {
    const acks = this.#by(end).flatMap(({ ack }) => (ack === undefined ? [] : [ack]));
    if (acks.length === 0) {
      const first = this.#spoken(other(end))[0];
      return this.#challenge[end] ?? (first && endOf(first));
    }
    return acks.reduce((a, b) => (distance(b, a) > 0 ? b : a));
  }

  #isOpened(end: End): boolean {
    if (this.#isLoose) return end === this.#first || this.#spoke(end);
    return this.#spoke(end) && this.#by(other(end)).some(({ ack }) => ack !== undefined);
  }

  #hasFinished(end: End): boolean {
    return this.#by(end).some(({ fin }) => fin);
  }

  /** The other end acknowledged all of it, a FIN included. */
  #isHeard(end: End): boolean {
    return this.#story.some(({ from, ack }, i) => {
      if (from === end || ack === undefined) return false;
      const before = this.#story.slice(0, i).filter((s) => s.from === end);
      return before.some(({ fin }) => fin) && ack === this.#end(end, before);
    });
  }
}
