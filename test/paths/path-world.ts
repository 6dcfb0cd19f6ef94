/** Whole nodes with data paths, in simulated time: sessions in memory, probes over simulated UDP. */
import { parsePrefix } from "../../src/address.js";
import { Identity } from "../../src/identity/identity.js";
import type { Member } from "../../src/mesh/member.js";
import { Mesh } from "../../src/mesh/mesh.js";
import type { MeshOptions, MeshParts } from "../../src/mesh/options.js";
import { MemoryNetwork } from "../../src/session/transport-memory.js";
import { Datagrams, type SimDataPath } from "../../src/sim/datagrams.js";
import { Process } from "../../src/sim/process.js";
import { Random } from "../../src/sim/random.js";
import { Schedule } from "../../src/sim/schedule.js";
import { cheapSignatures } from "../../src/sim/signatures.js";
import { MemoryStore } from "../../src/state/store.js";

export interface Node {
  readonly n: number;
  readonly mesh: Mesh;
  readonly identity: Identity;
  readonly datapath: SimDataPath;
  readonly process: Process;
  /** The disk of the node. */
  readonly store: MemoryStore;
}

export type Rule = (from: number, to: number) => boolean;

/** Nodes h1, h2, ... at 192.0.2.1, 192.0.2.2, ... */
export class PathWorld {
  readonly schedule = new Schedule();
  readonly random: Random;
  readonly network: MemoryNetwork;
  readonly datagrams: Datagrams;
  readonly nodes: Node[] = [];
  /** The probability that a datagram is lost. */
  loss = 0;
  /** Whether a host reaches another; further limits by TCP and by UDP, and on opening sessions. */
  reaches: Rule = () => true;
  reachesByTcp: Rule = () => true;
  reachesByUdp: Rule = () => true;
  mayDial: Rule = () => true;
  /** Bytes of the largest UDP payload that passes from one host to another. */
  takes: (from: number, to: number) => number = () => Number.POSITIVE_INFINITY;
  /** Whether a host's dataplane carries the ECN marks of inner packets. */
  carriesEcn: (n: number) => boolean = () => false;

  /** Cheap signatures are enough where a test is not about the bytes of a signature. */
  constructor(
    seed: number,
    readonly signatures = cheapSignatures,
  ) {
    this.random = new Random(seed);
    this.network = new MemoryNetwork(this.#process());
    this.network.carries = (from, to) => {
      const [a, b] = [host(from), host(to)];
      return this.reaches(a, b) && this.reachesByTcp(a, b);
    };
    this.network.mayDial = (from, to) => this.mayDial(host(from), host(to));
    this.datagrams = new Datagrams({
      now: () => this.schedule.now,
      after: (ms, act) => void this.schedule.after(ms, act),
      crossing: (from, to, bytes) => {
        const [a, b] = [host(from), host(to)];
        const fits = bytes <= this.takes(a, b);
        const arrives = fits && this.reaches(a, b) && this.reachesByUdp(a, b);
        return arrives && !this.random.chance(this.loss) ? this.random.between(1, 3) : undefined;
      },
    });
  }

  /** Starts the n-th node. `nat` is the number of the host that translates its address. */
  async node(
    n: number,
    joins: number[],
    {
      nat,
      explain,
      store = newStore(this.random),
      ...options
    }: Partial<MeshOptions> &
      Pick<MeshParts, "explain"> & { nat?: number; store?: MemoryStore } = {},
  ) {
    const process = this.#process();
    const endpoint = `192.0.2.${n}:4789`;
    const act = (fn: () => void) => process.act(fn);
    const datapath = this.datagrams.open(
      endpoint,
      act,
      nat === undefined ? undefined : `192.0.2.${nat}`,
    );
    datapath.carriesEcn = this.carriesEcn(n);
    const identity = new Identity(store.load()!.seed, this.signatures);
    const mesh = new Mesh(
      {
        clock: process,
        signatures: this.signatures,
        transport: this.network.host(`192.0.2.${n}`),
        store,
        log: { info: () => {}, warn: () => {}, error: () => {} },
        datapath,
        explain,
      },
      {
        name: `h${n}`,
        vtep: endpoint,
        vni: 1,
        listen: { address: `192.0.2.${n}`, port: 6783 },
        join: joins.map((other) => ({ host: `192.0.2.${other}`, port: 6783 })),
        network: joins.length === 0 ? [parsePrefix("10.244.0.0/16")] : undefined,
        ...options,
      },
    );
    const node: Node = { n, mesh, identity, datapath, process, store };
    this.nodes.push(node);
    await mesh.start();
    return node;
  }

  /** Stops or kills a node, and starts it again from its disk. */
  async restart(node: Node, how: "stop" | "kill" = "stop"): Promise<Node> {
    if (how === "stop") {
      const stopped = node.mesh.stop();
      await this.run(100);
      await stopped;
    }
    node.process.end();
    // The kernel closes the listener when a process ends.
    await this.network.listeners.get(`192.0.2.${node.n}:6783`)?.close();
    this.datagrams.close(node.datapath);
    this.nodes.splice(this.nodes.indexOf(node), 1);
    const joins = node.n > 1 ? [node.n - 1] : [];
    return this.node(node.n, joins, { store: node.store });
  }

  /** Starts nodes 1 to `count`, each of which joins the one before. */
  async line(count: number, options: Partial<MeshOptions> = {}): Promise<Node[]> {
    for (let n = 1; n <= count; n++) {
      await this.node(n, n === 1 ? [] : [n - 1], options);
      await this.run(500);
    }
    return this.nodes;
  }

  async run(ms: number): Promise<void> {
    await this.schedule.run(this.schedule.now + ms);
  }

  /** Calls `look` every 100 ms, to check an invariant. */
  async watch(ms: number, look: () => void): Promise<void> {
    for (const end = this.schedule.now + ms; this.schedule.now < end; ) {
      await this.run(100);
      look();
    }
  }

  /** Runs until `holds`; returns the milliseconds that took, and throws after `most`. */
  async until(holds: () => boolean, most: number): Promise<number> {
    const began = this.schedule.now;
    while (!holds()) {
      if (this.schedule.now - began > most) throw new Error(`it does not hold after ${most} ms`);
      await this.run(100);
    }
    return this.schedule.now - began;
  }

  #process(): Process {
    return new Process(this.schedule, this.random.fork(), { rate: 1, offset: 0 }, () => {});
  }
}

function newStore(random: Random): MemoryStore {
  const store = new MemoryStore();
  store.save({ seed: random.hex(32), remembered: [] });
  return store;
}

export const host = (address: string): number => Number(address.split(":")[0]!.split(".")[3]);

export const member = ({ mesh }: Node, other: Node | number): Member => {
  const n = typeof other === "number" ? other : other.n;
  const found = mesh.members().find(({ name }) => name === `h${n}`);
  if (!found) throw new Error(`h${n} is not known`);
  return found;
};
