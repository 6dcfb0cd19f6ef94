/**
 * Who is dead, and who holds whom for dead. It knows the truth, so it finds how long a death takes
 * to be seen by all, and who is declared dead that lives.
 */
import { nodeId } from "../identity/identity.js";
import type { SimNetwork } from "./network.js";
import type { NodeEnd, SimNode } from "./node.js";

/** Milliseconds. Who came back within this was not gone long enough for all to see it. */
const LONG_DEAD = 30_000;
/** For so long after a start, and after the network was cut, a node may be wrong about others. Milliseconds. */
const GRACE = 20_000;

/** A node that is gone, and which of those that ran then hold it for alive still. */
interface Death {
  readonly at: number;
  readonly awake: Set<SimNode>;
  /** Who stood still meanwhile sees it late: not by the fault of the mesh. */
  readonly asleep: Set<SimNode>;
  /** When the last one saw it that was awake, and the last of all. */
  seen: number;
  seenByAll: number;
}

export class DeathAudit {
  /** Milliseconds from a death until the last node saw it of those that were awake. */
  readonly deaths: number[] = [];
  /** Until the last of all saw it. */
  readonly seenByAll: number[] = [];
  /** Who held whom for dead that lived, in words. Must stay empty. */
  readonly wrong: string[] = [];
  /** Of nodes that were dead for long: how often another held one for alive to the end. */
  unseen = 0;
  readonly #network: SimNetwork;
  readonly #byId = new Map<string, SimNode>();
  readonly #running = new Map<SimNode, { readonly since: number; readonly dead: Set<SimNode> }>();
  readonly #deaths = new Map<SimNode, Death>();

  constructor(network: SimNetwork) {
    this.#network = network;
  }

  built(node: SimNode): void {
    this.#byId.set(nodeId(node.publicKey), node);
  }

  started(node: SimNode): void {
    this.#endDeath(node);
    this.#running.set(node, { since: this.#now, dead: new Set() });
  }

  /** A node that stops says so: nobody needs to find out. Of one that was not known long nobody may know. */
  ended(node: SimNode, how: NodeEnd): void {
    const isSound = this.#isSound(node);
    this.#running.delete(node);
    for (const { awake, asleep } of this.#deaths.values()) {
      awake.delete(node);
      asleep.delete(node);
    }
    if (how === "stop" || !isSound) return;
    const at = this.#now;
    const awake = new Set(this.#running.keys());
    this.#deaths.set(node, { at, awake, asleep: new Set(), seen: at, seenByAll: at });
  }

  paused(node: SimNode): void {
    for (const { awake, asleep } of this.#deaths.values()) {
      if (awake.delete(node)) asleep.add(node);
    }
  }

  stateChanged(observer: SimNode, id: string, isDead: boolean): void {
    const node = this.#byId.get(id);
    const view = this.#running.get(observer);
    if (!node || !view) return;
    if (!isDead) return void view.dead.delete(node);
    view.dead.add(node);
    const death = this.#deaths.get(node);
    if (death?.awake.delete(observer)) death.seen = death.seenByAll = this.#now;
    if (death?.asleep.delete(observer)) death.seenByAll = this.#now;
    if (this.#isSound(observer) && this.#isSound(node)) {
      this.wrong.push(
        `at ${(this.#now / 1000).toFixed(3)} s ${observer.name} held ${node.name} for dead`,
      );
    }
  }

  /** A running node is declared dead: its name, and that of the node that declares it. */
  wrongDeath(): { readonly observer: SimNode; readonly node: SimNode } | undefined {
    for (const [observer, { dead }] of this.#running) {
      for (const node of dead) if (this.#running.has(node)) return { observer, node };
    }
    return undefined;
  }

  /** All that runs had its time to see who is gone. */
  finish(): void {
    for (const node of [...this.#deaths.keys()]) this.#endDeath(node);
  }

  /** It lives again, or another took its place. Who never saw it dead, though there was time? */
  #endDeath(node: SimNode): void {
    const death = this.#deaths.get(node);
    this.#deaths.delete(node);
    if (!death || this.#now - death.at < LONG_DEAD) return;
    if (death.awake.size === 0) this.deaths.push(death.seen - death.at);
    if (death.awake.size + death.asleep.size === 0) this.seenByAll.push(death.seenByAll - death.at);
    for (const { since, dead } of this.#running.values()) {
      if (this.#now - since >= LONG_DEAD && !dead.has(node)) this.unseen++;
    }
  }

  /** It runs, and nothing has kept it from the others for a while. */
  #isSound(node: SimNode): boolean {
    const since = this.#running.get(node)?.since;
    if (since === undefined) return false;
    return this.#now - Math.max(since, this.#network.wholeSince) >= GRACE;
  }

  get #now(): number {
    return this.#network.schedule.now;
  }
}
