/** What goes wrong: each kind by itself, again and again, at moments that chance chooses. */
import { WeftError } from "../error.js";
import type { Machine } from "./network.js";
import type { End, SimNode } from "./node.js";
import type { Random } from "./random.js";
import type { World } from "./world.js";

export const CHAOS = ["partitions", "crashes", "disks", "skew", "pauses", "duplicates"] as const;
export type ChaosKind = (typeof CHAOS)[number];

/** Seconds: between two of a kind, and how long one lasts; from, to. */
const PARTITION = { every: [10, 40], lasts: [2, 40] } as const;
const CRASH = { every: [4, 20], lasts: [0.2, 20] } as const;
const PAUSE = { every: [2, 10], lasts: [0.1, 5] } as const;
const FULL_DISK = { every: [10, 60], lasts: [1, 20] } as const;
/** Of the crashes, when disks fail as well: the disk is gone, or torn. */
const DISK_GONE = 0.08;
const DISK_TORN = 0.08;

type Range = readonly [number, number];

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
    if (kinds.has("crashes")) this.#again(CRASH.every, () => this.#crash(kinds.has("disks")));
    if (kinds.has("pauses")) this.#again(PAUSE.every, () => this.#pause());
    if (kinds.has("disks")) this.#again(FULL_DISK.every, () => this.#fillDisk());
  }

  /** Nothing more goes wrong, and what can be mended is. */
  async end(): Promise<void> {
    this.#isOver = true;
    for (const heal of [...this.#heal]) heal();
    await this.#world.tellStrangers();
  }

  #again(every: Range, act: () => void | Promise<void>): void {
    this.#world.schedule.after(this.#within(every), async () => {
      if (this.#isOver) return;
      this.#again(every, act);
      await act();
    });
  }

  /** Lasts for a while, or until the chaos is over. */
  #meanwhile(lasts: Range, undo: () => void): void {
    const once = () => {
      if (this.#heal.delete(once)) undo();
    };
    this.#heal.add(once);
    this.#world.schedule.after(this.#within(lasts), once);
  }

  /** Some on one side, the rest on the other; one time in three only one way is cut. */
  #partition(): void {
    const share = this.#random.between(0.1, 0.9);
    const side = new Map<Machine, boolean>();
    for (const { machine } of this.#world.nodes) side.set(machine, this.#random.chance(share));
    const isOneWay = this.#random.chance(1 / 3);
    const heal = this.#world.network.cut((from, to) =>
      isOneWay ? !side.get(from) && !!side.get(to) : side.get(from) !== side.get(to),
    );
    this.#world.watch.note(isOneWay ? "one way is cut" : "parted");
    this.#meanwhile(PARTITION.lasts, heal);
  }

  async #crash(withDisks: boolean): Promise<void> {
    const node = this.#running();
    if (!node) return;
    const how = this.#random.pick<End | "write">(["stop", "kill", "power", "write"])!;
    // In the middle of the next write; then what that write was for has not happened yet.
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

  /** A torn state must be refused; then a new machine takes the place of this one. */
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

  #pause(): void {
    this.#running()?.pause(this.#within(PAUSE.lasts));
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
  #within([least, most]: Range): number {
    return 1000 * this.#random.between(least, most);
  }
}
