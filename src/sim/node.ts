/** One node of the simulation: the real mesh and compiler, on a simulated machine. */
import { formatPrefix, parseMac, parsePrefix } from "../address.js";
import { Compiler, THIS_NODE } from "../compile/compiler.js";
import { NO_ROUTE } from "../compile/rib.js";
import type { RecordVerifier } from "../gossip/record-verifier.js";
import { Identity } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import { Mesh } from "../mesh/mesh.js";
import { POLICY } from "../policy/kind.js";
import type { SimDataPath } from "./datagrams.js";
import { SimDisk } from "./disk.js";
import type { Machine, SimNetwork } from "./network.js";
import { PowerCut, Process, type Skew } from "./process.js";
import type { Random } from "./random.js";
import { cheapSignatures } from "./signatures.js";
import { SimTransport } from "./transport.js";

export const MESH_PORT = 6783;
export const VXLAN_PORT = 4789;
/** Milliseconds, for each node there is, in which changes are collected and compiled at once, to save CPU. */
const COMPILE_WITHIN = 100;
const MTU = 1450;
/** Entries of the core's table of peers. */
const PEER_TABLE_SIZE = 8192;

/** The way in which a node ends: it stops by command, is killed, or loses its power. */
export type NodeEnd = "stop" | "kill" | "power";

export interface NodeEvents {
  /** Its members, its leases or its problems may have changed. */
  changed(node: SimNode): void;
  started(node: SimNode): void;
  ended(node: SimNode, how: NodeEnd): void;
  paused(node: SimNode): void;
  /** The node has declared the node of this id dead, or alive again. */
  stateChanged(node: SimNode, id: string, isDead: boolean): void;
  said(node: SimNode, message: string): void;
}

interface Run {
  readonly mesh: Mesh;
  readonly process: Process;
  readonly transport: SimTransport;
  readonly datapath: SimDataPath;
  readonly compiler: Compiler;
  /** The core's routes: a subnet, and the index of its peer. */
  readonly routes: Map<string, number>;
  isCompiling: boolean;
}

export class SimNode {
  readonly disk: SimDisk;
  readonly publicKey: string;
  readonly #network: SimNetwork;
  readonly #random: Random;
  readonly #events: NodeEvents;
  readonly #verifier: (cluster: Cluster) => RecordVerifier;
  #port = VXLAN_PORT;
  #run: Run | undefined;

  constructor(
    readonly name: string,
    readonly machine: Machine,
    readonly skew: Skew,
    network: SimNetwork,
    random: Random,
    events: NodeEvents,
    verifier: (cluster: Cluster) => RecordVerifier,
  ) {
    this.#network = network;
    this.#random = random;
    this.#events = events;
    this.#verifier = verifier;
    const seed = random.hex(32);
    this.publicKey = new Identity(seed).publicKey;
    this.disk = new SimDisk({ seed, remembered: [] });
  }

  get number(): number {
    return this.machine.number;
  }

  get #vtep(): string {
    return `${this.machine.address}:${this.#port}`;
  }

  /** The mesh; undefined while the node does not run. */
  get mesh(): Mesh | undefined {
    return this.#run?.mesh;
  }

  /** @throws WeftError the error with which `weft up` would exit */
  async start(join: readonly SimNode[], network?: string): Promise<void> {
    this.machine.isOn = true;
    const process = new Process(this.#network.schedule, this.#random.fork(), this.skew, () =>
      this.#ended("power"),
    );
    const datapath = this.#network.datagrams.open(this.#vtep, (fn) => process.act(fn));
    const transport = new SimTransport(this.#network, this.machine, process);
    const { address } = this.machine;
    const say = (message: string) => this.#events.said(this, message);
    const mesh = new Mesh(
      {
        clock: process,
        signatures: cheapSignatures,
        transport,
        datapath,
        store: this.disk,
        documents: [POLICY],
        verifier: this.#verifier,
        log: { info: say, warn: say, error: say },
      },
      {
        name: this.name,
        vtep: this.#vtep,
        vni: 1,
        listen: { address, port: MESH_PORT },
        join: join.map(({ machine }) => ({ host: machine.address, port: MESH_PORT })),
        ...(network && { network: [parsePrefix(network)] }),
      },
    );
    const run: Run = {
      mesh,
      process,
      transport,
      datapath,
      compiler: new Compiler(PEER_TABLE_SIZE),
      routes: new Map(),
      isCompiling: false,
    };
    this.#run = run;
    mesh.on("change", () => this.#changed(run));
    mesh.on("stateChanged", (id, isDead) => {
      if (this.#run === run) this.#events.stateChanged(this, id, isDead);
    });
    this.#events.started(this);
    try {
      await mesh.start();
    } catch (error) {
      if (error instanceof PowerCut) return this.#ended("power");
      this.#ended("kill");
      throw error;
    }
  }

  /** Ends the node now. */
  async end(how: NodeEnd): Promise<void> {
    await this.#untilPowerCut(async () => {
      if (how === "stop") await this.mesh?.stop();
      this.#ended(how);
    });
  }

  /** Moves its VTEP to another UDP port, so that it publishes a new record. */
  async move(): Promise<void> {
    this.#port = this.#port === VXLAN_PORT ? VXLAN_PORT + 1 : VXLAN_PORT;
    if (this.#run) this.#network.datagrams.rebind(this.#run.datapath, this.#vtep);
    await this.#untilPowerCut(async () => this.mesh?.setEndpoint(this.#vtep));
  }

  /** Runs an action that writes to the disk, during which the power may fail. */
  async #untilPowerCut(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof PowerCut)) throw error;
      this.#ended("power");
    }
  }

  /** The name of the node that each subnet is routed to, by this node's compiled tables. */
  routes(): Map<string, string> {
    const { compiler, routes } = this.#compile(this.#run!);
    const names = new Map([[THIS_NODE, this.name]]);
    for (const { name } of compiler.peers) names.set(compiler.indexOf(name)!, name);
    return new Map([...routes].map(([subnet, peer]) => [subnet, names.get(peer)!]));
  }

  pause(ms: number): void {
    if (!this.#run) return;
    this.#run.process.pause(ms);
    this.#events.paused(this);
  }

  #ended(how: NodeEnd): void {
    const run = this.#run;
    if (!run) return;
    this.#run = undefined;
    run.process.end();
    this.#network.datagrams.close(run.datapath);
    if (how === "kill") run.transport.killed();
    if (how === "power") {
      run.transport.vanished();
      this.machine.isOn = false;
    }
    this.#events.ended(this, how);
  }

  #changed(run: Run): void {
    if (this.#run !== run) return;
    this.#events.changed(this);
    if (run.isCompiling) return;
    run.isCompiling = true;
    run.process.after(COMPILE_WITHIN * this.#network.size, () => {
      run.isCompiling = false;
      this.#compile(run);
    });
  }

  /** Compiles the tables, as the agent does. Throws when two nodes hold the same addresses. */
  #compile(run: Run): Run {
    const { mesh, compiler, routes } = run;
    const { leases, mac } = mesh.self();
    const own = { vni: 1, mac: parseMac(mac), mtu: MTU, leases: leases.map(parsePrefix) };
    for (const id of mesh.takeChanged()) compiler.stage(id, mesh.peer(id));
    const differences = compiler.compare(own);
    compiler.commit(differences);
    mesh.enforces(
      POLICY,
      mesh.knowsDocument(POLICY) ? (mesh.document(POLICY)?.seal ?? null) : undefined,
    );
    for (const { prefix, peer } of differences.routes) {
      if (peer === NO_ROUTE) routes.delete(formatPrefix(prefix));
      else routes.set(formatPrefix(prefix), peer);
    }
    return run;
  }
}
