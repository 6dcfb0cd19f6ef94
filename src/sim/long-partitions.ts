/**
 * The chaos kind `longPartitions`, one after another: some machines are cut off together for more
 * than a day. On both sides an operator tries `weft forget` without `--force` on every node, and a
 * node joins. Then all meet again.
 */
import { WeftError } from "../error.js";
import type { Machine } from "./network.js";
import type { SimNode } from "./node.js";
import type { Random } from "./random.js";
import type { World } from "./world.js";

const HOUR = 3600_000;
/** Milliseconds, least and most: longer than a lease lasts, and longer than it takes to agree again. */
const LASTS = [26 * HOUR, 40 * HOUR] as const;
const APART = [HOUR / 2, 3 * HOUR] as const;
/** Machines that are cut off together, at most; at least one stays. */
const MOST = 3;
/** Milliseconds between two attempts of the operators, and until a node joins. */
const TRY_EVERY = HOUR;
const JOINS_AFTER = 25.5 * HOUR;
/** Milliseconds until all nodes know that a newcomer has stopped. */
const FORGOTTEN_AFTER = 60_000;

export class LongPartitions {
  /** How often an operator's `weft forget` succeeded. */
  forgotten = 0;
  readonly #world: World;
  readonly #random: Random;
  readonly #newcomers: SimNode[] = [];
  #heal: (() => void) | undefined;
  #isOver = false;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  start(): void {
    this.#after(this.#random.between(...APART), () => this.#partition());
  }

  /** Ends the current partition and starts no other. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#reunite();
  }

  #partition(): void {
    const running = this.#world.running();
    const count = 1 + this.#random.below(Math.min(MOST, running.length - 1));
    const away = new Set<Machine>();
    while (away.size < count) away.add(this.#random.pick(running)!.machine);
    const sides = [true, false].map((isAway) =>
      running.filter(({ machine }) => away.has(machine) === isAway),
    );
    const isAway = new Map(running.map(({ machine }) => [machine, away.has(machine)]));
    this.#heal = this.#world.network.cut((from, to) => isAway.get(from) !== isAway.get(to));
    this.#world.watch.note(`${count} are cut off for long`);
    for (const side of sides) {
      this.#after(JOINS_AFTER, () => this.#join(side, isAway));
      this.#tryAgain(side, this.#heal);
    }
    this.#after(this.#random.between(...LASTS), async () => {
      await this.#reunite();
      this.start();
    });
  }

  /** Every hour of the partition, the operators of a side try to forget every node. */
  #tryAgain(side: readonly SimNode[], during: () => void): void {
    this.#after(TRY_EVERY, () => {
      if (this.#heal !== during) return;
      for (const node of side) {
        for (const { name } of node.mesh?.members() ?? []) {
          if (this.#forget(node, name)) this.forgotten++;
        }
      }
      this.#tryAgain(side, during);
    });
  }

  /** Forgets a node by name; returns whether weft allowed it. */
  #forget({ mesh }: SimNode, name: string, force = false): boolean {
    try {
      mesh?.forget(name, { force });
      this.#world.watch.note(`${name} is forgotten`);
      return true;
    } catch (error) {
      if (error instanceof WeftError) return false;
      throw error;
    }
  }

  async #join(side: readonly SimNode[], isAway: Map<Machine, boolean>): Promise<void> {
    const newcomer = this.#world.add();
    isAway.set(newcomer.machine, isAway.get(side[0]!.machine)!);
    this.#newcomers.push(newcomer);
    await this.#world.start(newcomer, [this.#random.pick(side)!]);
  }

  /** Heals the partition. The newcomers are gone for good, so they are removed and forgotten. */
  async #reunite(): Promise<void> {
    this.#heal?.();
    this.#heal = undefined;
    for (const newcomer of this.#newcomers) await this.#world.remove(newcomer);
    this.#after(FORGOTTEN_AFTER, () => {
      for (const { name } of this.#newcomers.splice(0)) {
        for (const node of this.#world.running()) this.#forget(node, name, true);
      }
    });
  }

  #after(ms: number, act: () => void | Promise<void>): void {
    this.#world.schedule.after(ms, () => (this.#isOver ? undefined : act()));
  }
}
