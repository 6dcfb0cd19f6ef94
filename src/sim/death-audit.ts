/**
 * The death audit compares the nodes' verdicts with the truth: how long it takes until all nodes
 * have declared a dead node dead, and which running nodes were declared dead.
 */
import { nodeId } from "../identity/identity.js";
import type { SimNetwork } from "./network.js";
import type { NodeEnd, SimNode } from "./node.js";

/** Milliseconds that a node must be dead for its death to count; all nodes notice within that time. */
const LONG_DEAD = 30_000;
/** Milliseconds after a start, and after the network was cut, in which a node may be wrong about others. */
const GRACE = 20_000;

/** The death of a node, and the nodes running then that have not declared it dead yet. */
interface Death {
  readonly at: number;
  readonly awake: Set<SimNode>;
  /** Those that were paused meanwhile, and so are late through no fault of the mesh. */
  readonly asleep: Set<SimNode>;
  /** The times at which the last of `awake`, and the last of all nodes, declared it dead. */
  seen: number;
  seenByAll: number;
}

export class DeathAudit {
  /** Milliseconds from a death until the last node that was not paused declared it. */
  readonly deaths: number[] = [];
  /** Milliseconds from a death until the last of all nodes declared it. */
  readonly seenByAll: number[] = [];
  /** Running nodes that were declared dead, as text. Must stay empty. */
  readonly wrong: string[] = [];
  /** How often a node never declared another dead that was dead for `LONG_DEAD`. */
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

  /** Begins a death, unless the node announced its stop, or started so lately that others may not know it. */
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
        `at ${(this.#now / 1000).toFixed(3)} s ${observer.name} declared ${node.name} dead`,
      );
    }
  }

  /** A running node that is declared dead, and the node that declared it; undefined if there is none. */
  wrongDeath(): { readonly observer: SimNode; readonly node: SimNode } | undefined {
    for (const [observer, { dead }] of this.#running) {
      for (const node of dead) if (this.#running.has(node)) return { observer, node };
    }
    return undefined;
  }

  /** Ends all deaths at the end of a run. */
  finish(): void {
    for (const node of [...this.#deaths.keys()]) this.#endDeath(node);
  }

  /** Ends a death, as the node or its replacement starts, and counts the nodes that never declared it. */
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

  /** Whether the node runs and could reach all others for `GRACE`. */
  #isSound(node: SimNode): boolean {
    const since = this.#running.get(node)?.since;
    if (since === undefined) return false;
    return this.#now - Math.max(since, this.#network.wholeSince) >= GRACE;
  }

  get #now(): number {
    return this.#network.schedule.now;
  }
}
