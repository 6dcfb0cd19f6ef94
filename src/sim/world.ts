/** The simulated world: the network, its machines and their nodes, with the actions of an operator. */
import { WeftError } from "../error.js";
import type { Cluster } from "../lease/genesis.js";
import { RECORD_KINDS } from "../mesh/record-kinds.js";
import type { ChaosKind } from "./chaos.js";
import { DeathAudit } from "./death-audit.js";
import { SimNetwork } from "./network.js";
import { SimNode } from "./node.js";
import type { Skew } from "./process.js";
import { Random } from "./random.js";
import { Schedule } from "./schedule.js";
import { SharedRecordVerifier } from "./shared-record-verifier.js";
import { type Holding, spare, unowned } from "./unowned.js";
import { Watch } from "./watch.js";

/** The largest errors of a clock: of its rate, as a share, and of its offset, in milliseconds. */
export const SKEW = { rate: 0.01, offset: 60_000 };
/** Share of messages that arrive twice, with the chaos kind `duplicates`. */
const DUPLICATES = 0.05;
/** Nodes that a starting node gets as its join addresses. */
const JOINS = 3;
/** Milliseconds until a node that could not write to its disk starts again. */
const RESTART_AFTER = 2_000;

export interface WorldOptions {
  readonly seed: number;
  /** The probability that a segment is lost. */
  readonly loss: number;
  /** The cluster's network. */
  readonly network: string;
  readonly chaos: ReadonlySet<ChaosKind>;
}

export class World {
  readonly schedule = new Schedule();
  readonly random: Random;
  readonly network: SimNetwork;
  readonly watch: Watch;
  readonly deathAudit: DeathAudit;
  /** The nodes, one for each place in the cluster. */
  readonly nodes: SimNode[] = [];
  /** Nodes whose disks, and so identities, were lost. */
  readonly lost: SimNode[] = [];
  readonly #options: WorldOptions;
  readonly #verifiers = new Map<string, SharedRecordVerifier>();

  constructor(options: WorldOptions) {
    this.#options = options;
    this.random = new Random(options.seed);
    this.watch = new Watch(this.schedule);
    const { loss, chaos } = options;
    const duplicates = chaos.has("duplicates") ? DUPLICATES : 0;
    this.network = new SimNetwork(
      this.schedule,
      this.random.fork(),
      { loss, duplicates },
      this.watch,
    );
    this.deathAudit = new DeathAudit(this.network);
  }

  running(): SimNode[] {
    return this.nodes.filter(({ mesh }) => mesh);
  }

  /** A new node, not started yet. */
  add(): SimNode {
    const node = this.#build();
    this.nodes.push(node);
    return node;
  }

  /**
   * Starts a node, unless it runs or was replaced. While its disk is full it is started again and
   * again, as by a service manager.
   * @throws WeftError when it cannot start for another reason
   */
  async start(node: SimNode, join = this.#joinsOf(node)): Promise<void> {
    if (node.mesh || !this.nodes.includes(node)) return;
    this.watch.note(`${node.name} starts`);
    try {
      if (this.#isFounding(node)) await node.start([], this.#options.network);
      else await node.start(join);
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== "STATE_WRITE") throw error;
      this.schedule.after(RESTART_AFTER, () => this.start(node));
    }
  }

  /** Stops a node whose machine is gone for good, and takes it out of the cluster. */
  async remove(node: SimNode): Promise<void> {
    await node.end("stop");
    this.lost.push(node);
    this.nodes.splice(this.nodes.indexOf(node), 1);
  }

  /** Puts a new machine with another name in the place of a node whose state directory is lost. */
  async replace(old: SimNode): Promise<void> {
    this.lost.push(old);
    const node = this.#build();
    this.nodes[this.nodes.indexOf(old)] = node;
    this.watch.note(`${node.name} takes the place of ${old.name}`);
    await this.start(node);
  }

  /** Starts nodes that have not joined again, since all their join addresses may be of removed machines. */
  async rejoinStranded(): Promise<void> {
    for (const node of this.running()) {
      if (node.disk.last.cluster) continue;
      await node.end("stop");
      await this.start(node);
    }
  }

  /** Whether every node runs and has its lease, and all agree. */
  hasConverged(): boolean {
    if (this.running().length < this.nodes.length) return false;
    return this.disagreement() === undefined;
  }

  /** The first disagreement between the running nodes, as text; undefined if there is none. */
  disagreement(): string | undefined {
    const running = this.running();
    const selves = running.map(({ mesh }) => mesh!.self());
    for (const { name, leases } of selves) if (leases.length === 0) return `${name} has no lease`;
    const wrongDeath = this.deathAudit.wrongDeath();
    if (wrongDeath) return `${wrongDeath.observer.name} has declared ${wrongDeath.node.name} dead`;
    for (const [i, { mesh, name }] of running.entries()) {
      const seen = new Map(mesh!.members().map((member) => [member.id, member]));
      for (const [j, other] of selves.entries()) {
        if (i === j) continue;
        const member = seen.get(other.id);
        if (!member) return `${name} does not know ${other.name}`;
        const leases = member.leases.map(({ subnet }) => subnet).join();
        if (leases !== other.leases.join()) return `${name} knows other leases of ${other.name}`;
      }
    }
    return this.#misrouted();
  }

  /** The first route in a node's tables that does not lead to a lease's holder, except to lost nodes. */
  #misrouted(): string | undefined {
    const holders = new Map<string, string>();
    for (const { name, mesh } of this.running()) {
      for (const lease of mesh!.self().leases) holders.set(lease, name);
    }
    const lost = new Set(this.lost.map(({ name }) => name));
    for (const node of this.running()) {
      const routes = node.routes();
      for (const [lease, holder] of holders) {
        const to = routes.get(lease) ?? "nobody";
        if (to !== holder) return `${node.name} sends ${lease} to ${to}, its holder is ${holder}`;
      }
      for (const [lease, to] of routes) {
        if (!holders.has(lease) && !lost.has(to)) return `${node.name} sends ${lease} to ${to}`;
      }
    }
    return undefined;
  }

  /** Space without an owner, in leases. */
  unowned(): number {
    return unowned(this.#holdings());
  }

  /** Space that its owners can still grant, in leases. */
  spare(): number {
    return spare(this.#holdings());
  }

  #holdings(): Holding[] {
    return this.nodes.flatMap(({ publicKey, disk }) => {
      const { cluster } = disk.last;
      return cluster ? [{ publicKey, cluster }] : [];
    });
  }

  /** Whether the node is the first one and no disk knows a cluster, so that it founds one. */
  #isFounding(node: SimNode): boolean {
    return node === this.nodes[0] && !this.nodes.some(({ disk }) => disk.last.cluster);
  }

  /** Some nodes that have joined; if none has, the first node, which founds the cluster. */
  #joinsOf(node: SimNode): SimNode[] {
    const others = this.nodes.filter((other) => other !== node && other.disk.last.cluster);
    const some = others.length > 0 ? others : this.nodes.slice(0, 1);
    return [...new Set(Array.from({ length: JOINS }, () => this.random.pick(some)!))];
  }

  #build(): SimNode {
    const machine = this.network.machine();
    const node = new SimNode(
      `h${machine.number}`,
      machine,
      this.#skew(),
      this.network,
      this.random.fork(),
      {
        changed: (changed) => this.watch.changed(changed),
        started: (started) => this.deathAudit.started(started),
        ended: (ended, how) => {
          this.watch.ended(ended);
          this.deathAudit.ended(ended, how);
        },
        paused: (paused) => this.deathAudit.paused(paused),
        stateChanged: (observer, id, isDead) => this.deathAudit.stateChanged(observer, id, isDead),
        said: () => {},
      },
      (cluster) => this.#verifier(cluster),
    );
    this.watch.built(node);
    this.deathAudit.built(node);
    return node;
  }

  /** The verifier that all nodes of a cluster share. */
  #verifier(cluster: Cluster): SharedRecordVerifier {
    const known =
      this.#verifiers.get(cluster.id) ?? new SharedRecordVerifier(cluster, RECORD_KINDS);
    this.#verifiers.set(cluster.id, known);
    return known;
  }

  #skew(): Skew {
    if (!this.#options.chaos.has("skew")) return { rate: 1, offset: 0 };
    return {
      rate: 1 + this.random.between(-SKEW.rate, SKEW.rate),
      offset: this.random.between(-SKEW.offset, SKEW.offset),
    };
  }
}
