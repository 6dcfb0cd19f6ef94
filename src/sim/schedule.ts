/**
 * Simulated time: a queue of actions, in order of time. Actions that are due at one moment run in the
 * order in which they were scheduled.
 */

/** An action. The schedule awaits its promise, which must not wait for simulated time. */
type Callback = () => void | Promise<void>;

export class Schedule {
  /** Milliseconds since the beginning; not rounded. */
  now = 0;
  #asked = 0;
  /** A binary heap in three arrays: time, order of scheduling, and action. */
  #times = new Float64Array(1024);
  #orders = new Float64Array(1024);
  readonly #acts: Callback[] = [];

  /** Schedules an action; returns a function that cancels it. */
  after(ms: number, act: Callback): () => void {
    let isOff = false;
    this.later(ms, () => (isOff ? undefined : act()));
    return () => {
      isOff = true;
    };
  }

  /** Schedules an action that is never cancelled. */
  later(ms: number, act: Callback): void {
    const at = this.now + Math.max(0, ms);
    const order = this.#asked++;
    let place = this.#acts.length;
    if (place === this.#times.length) this.#grow();
    this.#acts.push(act);
    while (place > 0) {
      const above = (place - 1) >> 1;
      if (this.#times[above]! <= at) break;
      this.#move(above, place);
      place = above;
    }
    this.#put(place, at, order, act);
  }

  /** Runs all actions that are due up to this time. */
  async run(until: number): Promise<void> {
    while (this.#acts.length > 0 && this.#times[0]! <= until) {
      this.now = this.#times[0]!;
      const waits = this.#first()();
      if (waits) await waits;
    }
    this.now = until;
  }

  /** Takes the first action out of the heap: the last one moves to its place and sinks. */
  #first(): Callback {
    const first = this.#acts[0]!;
    const last = this.#acts.length - 1;
    const [at, order] = [this.#times[last]!, this.#orders[last]!];
    const act = this.#acts.pop()!;
    if (last === 0) return first;
    let place = 0;
    for (;;) {
      let below = 2 * place + 1;
      if (below >= last) break;
      if (
        below + 1 < last &&
        this.#isBefore(below + 1, this.#times[below]!, this.#orders[below]!)
      ) {
        below++;
      }
      if (!this.#isBefore(below, at, order)) break;
      this.#move(below, place);
      place = below;
    }
    this.#put(place, at, order, act);
    return first;
  }

  #isBefore(place: number, at: number, order: number): boolean {
    const other = this.#times[place]!;
    return other < at || (other === at && this.#orders[place]! < order);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#times[from]!, this.#orders[from]!, this.#acts[from]!);
  }

  #put(place: number, at: number, order: number, act: Callback): void {
    this.#times[place] = at;
    this.#orders[place] = order;
    this.#acts[place] = act;
  }

  #grow(): void {
    const [times, orders] = [this.#times, this.#orders];
    this.#times = new Float64Array(2 * times.length);
    this.#orders = new Float64Array(2 * times.length);
    this.#times.set(times);
    this.#orders.set(orders);
  }
}
