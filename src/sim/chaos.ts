/** Chaos injects faults: each kind independently, again and again, at random times. */
import { WeftError } from "../error.js";
import type { Machine } from "./network.js";
import type { NodeEnd, SimNode } from "./node.js";
import type { Random } from "./random.js";
import type { World } from "./world.js";

/** The kinds of chaos, with their descriptions in `npm run sim -- --help`. */
export const CHAOS = {
  partitions: "every 10 to 40 s the machines fall into two sides, for 2 to 40 s",
  oneway: "the same, but only one direction between the sides is cut",
  crashes: "every 4 to 20 s a node stops, is killed, or loses its power, for up to 20 s",
  disks: "8 % of the crashes lose the disk, 8 % tear it; and every 10 to 60 s a disk is full",
  deaths: "every 10 to 40 s a node loses its power, for one to two minutes",
  splits: "one at a time: 60 to 90 % are cut off from the rest, and a node joins them",
  longPartitions:
    "one at a time: up to three are cut off for over a day; both sides forget nodes, and one joins each",
  pauses: "every 30 to 90 s each node is paused for 5 s",
  skew: "clocks run up to 1 % fast or slow, and are up to a minute wrong",
  duplicates: "one message in twenty arrives twice",
} as const;
export type ChaosKind = keyof typeof CHAOS;
export const KINDS = Object.keys(CHAOS) as readonly ChaosKind[];
/** Kinds that begin with the first node's start; the others begin once all nodes have come together. */
export const FROM_THE_START: readonly ChaosKind[] = ["partitions", "oneway", "crashes", "disks"];

/** Seconds, least and most: between two faults of a kind, and the length of one. */
const PARTITION = { every: [10, 40], lasts: [2, 40] } as const;
const CRASH = { every: [4, 20], lasts: [0.2, 20] } as const;
const DEATH = { every: [10, 40], lasts: [60, 120] } as const;
/** Pauses of each node. */
const PAUSE = { every: [30, 90], lasts: [5, 5] } as const;
const FULL_DISK = { every: [10, 60], lasts: [1, 20] } as const;
/** With `disks`, the shares of crashes after which the disk is lost, or torn. */
const DISK_GONE = 0.08;
const DISK_TORN = 0.08;

type SecondsRange = readonly [number, number];

export class Chaos {
  readonly #world: World;
  readonly #random: Random;
  readonly #heal = new Set<() => void>();
  #isOver = false;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  start(kinds: ReadonlySet<ChaosKind>): void {
    if (kinds.has("partitions")) this.#again(PARTITION.every, () => this.#partition());
    if (kinds.has("oneway")) this.#again(PARTITION.every, () => this.#partition({ oneWay: true }));
    if (kinds.has("crashes")) this.#again(CRASH.every, () => this.#crash(kinds.has("disks")));
    if (kinds.has("deaths")) this.#again(DEATH.every, () => this.#die());
    if (kinds.has("pauses")) {
      for (const place of this.#world.nodes.keys())
        this.#again(PAUSE.every, () => this.#pause(place));
    }
    if (kinds.has("disks")) this.#again(FULL_DISK.every, () => this.#fillDisk());
  }

  /** Ends the chaos and repairs all faults. */
  end(): void {
    this.#isOver = true;
    for (const heal of [...this.#heal]) heal();
    // Runs last, after all repairs, when it is known which machines were replaced.
    this.#world.schedule.after(0, () => this.#world.rejoinStranded());
  }

  #again(every: SecondsRange, act: () => void | Promise<void>): void {
    this.#world.schedule.after(this.#within(every), async () => {
      if (this.#isOver) return;
      this.#again(every, act);
      await act();
    });
  }

  /** Calls `undo` after a while, or at the end of the chaos. */
  #meanwhile(lasts: SecondsRange, undo: () => void): void {
    const once = () => {
      if (this.#heal.delete(once)) undo();
    };
    this.#heal.add(once);
    this.#world.schedule.after(this.#within(lasts), once);
  }

  /** Cuts the machines into two random sides, in both directions or in one. */
  #partition({ oneWay } = { oneWay: false }): void {
    const share = this.#random.between(0.1, 0.9);
    const side = new Map<Machine, boolean>();
    for (const { machine } of this.#world.nodes) side.set(machine, this.#random.chance(share));
    const heal = this.#world.network.cut((from, to) =>
      oneWay ? !side.get(from) && !!side.get(to) : side.get(from) !== side.get(to),
    );
    this.#world.watch.note(oneWay ? "one way is cut" : "parted");
    this.#meanwhile(PARTITION.lasts, heal);
  }

  async #die(): Promise<void> {
    const node = this.#running();
    if (!node) return;
    await node.end("power");
    this.#meanwhile(DEATH.lasts, () => {
      this.#world.schedule.after(0, () => this.#world.start(node));
    });
  }

  async #crash(withDisks: boolean): Promise<void> {
    const node = this.#running();
    if (!node) return;
    const how = this.#random.pick<NodeEnd | "write">(["stop", "kill", "power", "write"])!;
    // The power fails during the next write, so the code after that write does not run.
    if (how === "write") node.disk.cutAtNextWrite = this.#random.chance(0.5) ? "before" : "after";
    else await node.end(how);
    const luck = withDisks ? this.#random.next() : 1;
    const back = async () => {
      node.disk.cutAtNextWrite = undefined;
      if (node.mesh || !this.#world.nodes.includes(node)) return;
      if (luck < DISK_GONE) return this.#world.replace(node);
      if (luck < DISK_GONE + DISK_TORN) return this.#tornStart(node);
      await this.#world.start(node);
    };
    this.#meanwhile(CRASH.lasts, () => void this.#world.schedule.after(0, back));
  }

  /** Checks that a torn state is refused; then a new machine takes the place of this one. */
  async #tornStart(node: SimNode): Promise<void> {
    node.disk.tear(this.#random);
    try {
      await this.#world.start(node);
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== "STATE_CORRUPT") throw error;
      return this.#world.replace(node);
    }
    throw new Error(`${node.name} started with a torn state`);
  }

  #pause(place: number): void {
    this.#world.nodes[place]!.pause(this.#within(PAUSE.lasts));
  }

  #fillDisk(): void {
    const node = this.#running();
    if (!node) return;
    node.disk.isFull = true;
    this.#meanwhile(FULL_DISK.lasts, () => {
      node.disk.isFull = false;
    });
  }

  #running(): SimNode | undefined {
    return this.#random.pick(this.#world.running());
  }

  /** Milliseconds within a range of seconds. */
  #within([least, most]: SecondsRange): number {
    return 1000 * this.#random.between(least, most);
  }
}
