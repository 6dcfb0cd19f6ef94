/**
 * Simulated time: a queue of what is to happen, in order of time. What is due
 * at one moment happens in the order it was asked for.
 */
interface Due {
  readonly at: number;
  readonly order: number;
  /** Nothing when it was cancelled. */
  act: Act | undefined;
}

/** What it gives is waited for; it must not wait for time to pass. */
type Act = () => void | Promise<void>;

export class Schedule {
  /** Milliseconds since the beginning; not rounded. */
  now = 0;
  #order = 0;
  readonly #heap: Due[] = [];

  /** Returns what cancels it. */
  after(ms: number, act: Act): () => void {
    const due: Due = { at: this.now + Math.max(0, ms), order: this.#order++, act };
    this.#push(due);
    return () => {
      due.act = undefined;
    };
  }

  /** Lets everything happen that is due up to this time. */
  async run(until: number): Promise<void> {
    for (let next = this.#heap[0]; next && next.at <= until; next = this.#heap[0]) {
      this.#pop();
      this.now = next.at;
      const waits = next.act?.();
      if (waits) await waits;
    }
    this.now = until;
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let place = heap.length;
    while (place > 0) {
      const above = (place - 1) >> 1;
      if (!before(due, heap[above]!)) break;
      heap[place] = heap[above]!;
      place = above;
    }
    heap[place] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let place = 0;
    for (;;) {
      let below = 2 * place + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && before(heap[below + 1]!, heap[below]!)) below++;
      if (!before(heap[below]!, last)) break;
      heap[place] = heap[below]!;
      place = below;
    }
    heap[place] = last;
  }
}

const before = (a: Due, b: Due): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
