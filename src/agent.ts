/**
 * The agent: the only place that knows all parts. It makes them, starts them in
 * order, and undoes everything in reverse.
 *
 *   claim -> io -> mesh -> follower: dataplane and host are as the mesh says
 *                       -> tracer: tries packets for this node and for others
 *                       -> control: the socket that shows it
 */
import { randomBytes } from "node:crypto";
import {
  type Address,
  formatAddress,
  formatEndpoint,
  parseEndpoint,
  parsePrefix,
} from "./address.js";
import { type Config, underlayFits } from "./config/config.js";
import { AgentControl } from "./control.js";
import { Core } from "./core/instance.js";
import { Publisher } from "./core/publish.js";
import { ownMistake, type WeftError } from "./error.js";
import { Follower } from "./follower.js";
import { claimHost, type HostClaim } from "./host/claim.js";
import { JoinHosts, staticOf } from "./host/known-peers.js";
import { MOST_PEERS } from "./host/route.js";
import type { UnderlayInterface } from "./host/underlay.js";
import { UnderlayWatch } from "./host/underlay-watch.js";
import { Upkeep } from "./host/upkeep.js";
import { ControlServer } from "./http/server.js";
import { KernelIo } from "./io/kernel.js";
import type { Log } from "./log.js";
import type { Logger, LogState } from "./logging/log.js";
import { Mesh } from "./mesh/mesh.js";
import type { MeshParts } from "./mesh/options.js";
import { PacketTracer } from "./packet-tracer.js";
import { POLICY } from "./policy/kind.js";
import { PolicyThread } from "./policy/thread.js";
import { PolicyControl } from "./policy-control.js";
import { WsTransport } from "./session/transport-ws.js";
import { FileStore } from "./state/store-file.js";
import { Tables } from "./tables.js";
import { every } from "./time/clock.js";
import { systemClock } from "./time/system-clock.js";

/** Outer IP, UDP and VXLAN headers and the inner Ethernet header, bytes, by underlay. */
const OVERHEAD = { 4: 50, 6: 70 } as const;
/** The MTU of the underlay while nothing is known of it, in bytes: Ethernet's. */
const USUAL_MTU = 1500;
/** Time between two looks for things that an interface or another process took away, in milliseconds. */
const REPAIR_EVERY = 5_000;
/** Time between two looks for a changed underlay, in milliseconds. */
const UNDERLAY_CHECK_EVERY = 2_000;

type Undo = () => void | Promise<void>;

export class Agent {
  /** Settles when the agent cannot go on by itself. `stop` is still due. */
  readonly failed: Promise<WeftError>;

  readonly #config: Config;
  readonly #log: Logger;
  readonly #logState: () => LogState;
  readonly #joinHosts: JoinHosts;
  readonly #undo: Undo[] = [];
  #fail!: (error: WeftError) => void;
  #hasStarted = false;
  #hasFailed = false;
  #starting: Promise<void> = Promise.resolve();
  #mesh!: Mesh;
  #io!: KernelIo;
  #watch!: UnderlayWatch;
  #follower: Follower | undefined;
  #transport!: WsTransport;

  constructor(config: Config, log: Logger, logState: () => LogState) {
    this.#config = config;
    this.#log = log;
    this.#logState = logState;
    this.#joinHosts = new JoinHosts(config.join);
    this.failed = new Promise((resolve) => {
      this.#fail = (error) => {
        this.#hasFailed = true;
        resolve(error);
      };
    });
  }

  /** @throws WeftError, after everything is undone */
  start(): Promise<void> {
    this.#starting = this.#start().catch(async (error) => {
      await this.#undoAll();
      throw error;
    });
    return this.#starting;
  }

  /** Withdraws from the cluster and takes everything away again. The lease stays this node's, unless `release` is set. */
  async stop(): Promise<void> {
    await this.#starting.catch(() => {});
    await this.#undoAll();
  }

  /** Takes up the secrets of a configuration that was read again; everything else needs a restart. */
  async reload({ secrets }: Config): Promise<void> {
    await this.#starting;
    this.#transport.setSecrets(secrets);
    this.#log.info(`the secrets are read again: dials with the first, accepts ${secrets.length}`);
  }

  async #start(): Promise<void> {
    const config = this.#config;
    const claim = await claimHost(config);
    this.#undo.push(() => claim.release());
    for (const mended of claim.repaired) this.#log.warn(mended);
    const upkeep = new Upkeep(this.#log);
    upkeep.add(() => {
      if (claim.keep())
        this.#log.warn(`the lock of ${config.state} was removed, and is taken again`);
    });
    const mtu = overlayMtu(claim.underlay, config);

    const seed = randomBytes(8).readBigUInt64LE();
    const core = await Core.create({ flows: config.flows, pickUp: config.pickUp, seed });
    const address = formatAddress(claim.underlay.address);
    const { tun, port, offloads, busyPoll } = config;
    const publisher = new Publisher(core, config.staticPeers);
    publisher.setPolicyKnown(false);
    const io = new KernelIo(
      { core, publisher, log: this.#log },
      { tun, address, port, offloads, busyPoll, mtu },
    );
    this.#io = io;
    io.on("error", (error) => this.#fail(error));
    io.on("removed", () => this.#follower?.follow());
    await io.start();
    this.#undo.push(() => io.stop());

    const transport = new WsTransport(
      { clock: systemClock, log: meshLog(this.#log) },
      { secrets: config.secrets },
    );
    this.#transport = transport;
    const policies = new PolicyThread(core.layout);
    this.#undo.push(() => policies.stop());
    const store = new FileStore(config.state);
    const mesh = this.#makeMesh(claim, {
      store,
      transport,
      documents: [{ ...POLICY, read: (text, done) => policies.read(text, done) }],
      datapath: io,
      explain: (packet, peer) => tracer.triedForOthers(packet, peer),
    });
    this.#mesh = mesh;
    upkeep.add(() => {
      if (!mesh.isSaved || !store.isKept()) mesh.save();
    });
    const watch = new UnderlayWatch(config.underlay, claim.underlay, {
      peers: () => this.#peerAddresses(),
      isHeard: () => mesh.isInContact,
      move: (to) => this.#move(to),
      resize: (to) => this.#resize(to),
    });
    this.#watch = watch;

    const log = this.#log;
    const fail = this.#fail;
    const tables = new Tables({ mesh, core, publisher, policies, io }, config);
    const follower = new Follower({ mesh, tables, publisher, io, watch, log, fail }, config);
    this.#follower = follower;
    this.#undo.push(() => this.#leaveRoutes(follower));
    this.#undo.push(() => follower.remove());
    const tracer = new PacketTracer({ core, publisher, tables, mesh }, config);
    const control = new AgentControl(
      {
        mesh,
        follower,
        tables,
        policy: new PolicyControl({ mesh, policies, tables, follower }),
        core,
        publisher,
        io,
        tracer,
        upkeep,
        watch,
        meshRefused: () => ({ ...transport.refused }),
        logState: this.#logState,
      },
      config,
    );
    mesh.on("change", () => follower.follow());
    tables.on("changed", () => follower.follow());
    await mesh.start();
    this.#undo.push(() => mesh.stop({ release: config.release }));
    // An address that is given back may be another node's in a moment.
    if (config.release) this.#undo.push(() => follower.remove());
    follower.follow();

    const server = new ControlServer(control, {
      socket: config.socket,
      ...(config.http && { http: config.http }),
    });
    await server.start();
    this.#undo.push(() => server.stop());
    upkeep.add(async () => {
      if (await server.keep())
        this.#log.warn(`the control socket ${config.socket} was removed, and is made again`);
    });
    this.#undo.push(() => upkeep.idle());
    this.#undo.push(every(systemClock, REPAIR_EVERY, () => this.#repair(upkeep, follower)));
    this.#undo.push(() => watch.idle());
    this.#undo.push(every(systemClock, UNDERLAY_CHECK_EVERY, () => this.#checkUnderlay()));
    await follower.idle();
    await follower.refuseConflicts();
    this.#hasStarted = true;
  }

  #makeMesh(
    { underlay }: HostClaim,
    parts: Pick<MeshParts, "store" | "transport" | "documents" | "datapath" | "explain">,
  ): Mesh {
    const config = this.#config;
    const log = meshLog(this.#log);
    const founds = config.join.length === 0;
    return new Mesh(
      { clock: systemClock, log, ...parts },
      {
        name: config.name,
        vtep: formatEndpoint({ address: underlay.address, port: config.port }),
        vni: config.vni,
        listen: { address: formatAddress(underlay.address), port: config.meshPort },
        join: config.join,
        reserved: config.staticPeers.flatMap(({ leases }) => leases.map(parsePrefix)),
        leases: config.leases,
        sessions: config.sessions,
        ...((founds || config.networkGiven) && { network: config.network }),
        ...(founds && { leaseLength: config.subnetLen, leaseLength6: config.subnetLen6 }),
      },
    );
  }

  /** An agent that fails leaves the overlay unreachable, as one that is killed does. */
  async #leaveRoutes(follower: Follower): Promise<void> {
    if (!this.#hasStarted) await follower.restoreRoutes();
    else if (!this.#hasFailed) await follower.openRoutes();
  }

  async #undoAll(): Promise<void> {
    await this.#follower?.stop();
    for (const undo of this.#undo.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        // One thing that will not go away must not keep the others.
        this.#log.error(error instanceof Error ? error.message : String(error));
      }
    }
  }

  // ---- following the underlay, and what others do to this host

  #repair(upkeep: Upkeep, follower: Follower): void {
    follower.follow();
    upkeep.check().catch((error: Error) => this.#fail(ownMistake(error)));
  }

  #checkUnderlay(): void {
    this.#watch.check().catch((error: Error) => this.#fail(ownMistake(error)));
  }

  /** Hosts to join count until members are known. */
  async #peerAddresses(): Promise<Address[]> {
    const members = this.#mesh.endpoints(MOST_PEERS).map((it) => parseEndpoint(it).address);
    const peers = members.length > 0 ? members : await this.#joinHosts.addresses();
    return [...peers, ...staticOf(this.#config)];
  }

  /** Until the device follows, the core answers packets that are too large with the size that fits. */
  #resize(to: UnderlayInterface): void {
    const mtu = overlayMtu(to, this.#config);
    if (mtu === this.#io.mtu.most) return;
    this.#io.resize(mtu);
    this.#log.info(`packets to peers may have ${to.mtu} bytes now: the MTU inside is ${mtu}`);
    this.#follower?.follow();
  }

  /** The dataplane first: when the others hear of the new address, packets can come to it. */
  async #move({ address, device, prefix }: UnderlayInterface): Promise<void> {
    const network = this.#mesh.self().network.map(parsePrefix);
    underlayFits({ ...this.#config, network, networkGiven: true }, prefix);
    await this.#io.rebind(formatAddress(address));
    await this.#mesh.setEndpoint(formatEndpoint({ address, port: this.#config.port }));
    this.#log.info(`the underlay address is ${formatAddress(address)} on ${device} now`);
  }
}

/** The largest packet inside, in bytes. */
const overlayMtu = ({ address, mtu = USUAL_MTU }: UnderlayInterface, config: Config): number =>
  (config.mtu ?? mtu) - OVERHEAD[address.family];

/** pino wants the fields before the sentence. */
const meshLog = (log: Logger): Log => ({
  info: (message, fields) => log.info(fields ?? {}, message),
  warn: (message, fields) => log.warn(fields ?? {}, message),
  error: (message, fields) => log.error(fields ?? {}, message),
});
