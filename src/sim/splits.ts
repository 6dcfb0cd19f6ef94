/**
 * The chaos kind `splits`: one network split after another, with most machines on one side. Measures
 * how soon a node that joins the larger side has a lease, and how soon all agree after the split.
 */
import type { Machine } from "./network.js";
import type { SimNode } from "./node.js";
import type { Random } from "./random.js";
import type { World } from "./world.js";

/** Seconds, least and most: the length of a split, and from its healing until the next one. */
const LASTS = [10, 60] as const;
const APART = [20, 60] as const;
/** Share of the machines on the larger side, least and most. */
const LARGER = [0.6, 0.9] as const;
/** Milliseconds between two checks. */
const LOOK_EVERY = 100;

export class Splits {
  /** Milliseconds from the start of a newcomer until it has its lease. */
  readonly allocations: number[] = [];
  /** Milliseconds from the healing of a split until all agree again. */
  readonly heals: number[] = [];
  /** The number of newcomers without a lease, and of healed splits without agreement yet. */
  open = 0;
  readonly #world: World;
  readonly #random: Random;
  #heal: (() => void) | undefined;
  #isOver = false;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  start(): void {
    if (!this.#isOver) this.#after(APART, () => this.#split());
  }

  /** Heals the current split and starts no other. */
  end(): void {
    this.#isOver = true;
    this.#healSplit();
  }

  async #split(): Promise<void> {
    if (this.#isOver) return;
    const larger = this.#largerSide();
    const [most, few] = [larger, this.#world.running().filter((node) => !larger.includes(node))];
    const inside = new Set<Machine>(most.map(({ machine }) => machine));
    const newcomer = this.#world.add();
    inside.add(newcomer.machine);
    this.#heal = this.#world.network.cut((from, to) => inside.has(from) !== inside.has(to));
    this.#world.watch.note("split");
    this.#after(LASTS, () => this.#healSplit());
    this.#measure(this.allocations, () => (newcomer.mesh?.self().leases.length ?? 0) > 0);
    await this.#random.pick(few)?.move(); // Gives the smaller side a new record as well.
    await this.#world.start(newcomer, [this.#random.pick(most)!]);
  }

  #largerSide(): SimNode[] {
    const share = this.#random.between(...LARGER);
    const running = this.#world.running().map((node) => ({ node, rank: this.#random.next() }));
    const shuffled = running.sort((a, b) => a.rank - b.rank).map(({ node }) => node);
    return shuffled.slice(0, Math.ceil(share * shuffled.length));
  }

  #healSplit(): void {
    if (!this.#heal) return;
    this.#heal();
    this.#heal = undefined;
    this.#world.watch.note("healed");
    this.#measure(
      this.heals,
      () => this.#world.hasConverged(),
      () => this.start(),
    );
  }

  /** Adds the milliseconds from now until `isSo` holds to `into`, then calls `then`. */
  #measure(into: number[], isSo: () => boolean, then = () => {}): void {
    const { schedule } = this.#world;
    const from = schedule.now;
    this.open++;
    const look = (): void => {
      if (!isSo()) return void schedule.after(LOOK_EVERY, look);
      into.push(schedule.now - from);
      this.open--;
      then();
    };
    look();
  }

  #after([least, most]: readonly [number, number], act: () => void | Promise<void>): void {
    this.#world.schedule.after(1000 * this.#random.between(least, most), act);
  }
}
