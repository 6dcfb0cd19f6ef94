/**
 * The agent makes all parts, starts them in order and undoes everything in reverse. No other file
 * knows all of them.
 *
 *   claim -> io -> mesh -> follower: makes dataplane and host follow the mesh
 *                       -> tracer: traces packets for this node and for others
 *                       -> control: serves the control socket
 */
import { randomBytes } from "node:crypto";
import {
  type Address,
  formatAddress,
  formatEndpoint,
  parseEndpoint,
  parsePrefix,
} from "../address.js";
import { type Config, underlayFits } from "../config/config.js";
import { Core } from "../core/instance.js";
import { Publisher } from "../core/publish.js";
import { ownMistake, WeftError } from "../error.js";
import { claimHost, type HostClaim } from "../host/claim.js";
import { JoinHosts, staticOf } from "../host/known-peers.js";
import { LinkWatch } from "../host/link-watch.js";
import { MOST_PEERS } from "../host/route.js";
import type { UnderlayInterface } from "../host/underlay.js";
import { UnderlayWatch } from "../host/underlay-watch.js";
import { Upkeep } from "../host/upkeep.js";
import { ControlServer } from "../http/server.js";
import { KernelIo } from "../io/kernel.js";
import type { Log } from "../log.js";
import type { Logger, LogState } from "../logging/log.js";
import { Mesh } from "../mesh/mesh.js";
import type { MeshParts } from "../mesh/options.js";
import { Health } from "../nat/health.js";
import { NAT } from "../nat/kind.js";
import { probeBackend } from "../nat/prober.js";
import { POLICY } from "../policy/kind.js";
import { PolicyThread } from "../policy/thread.js";
import { WsTransport } from "../session/transport-ws.js";
import { FileStore } from "../state/store-file.js";
import { every } from "../time/clock.js";
import { systemClock } from "../time/system-clock.js";
import { AgentControl } from "./control.js";
import { Follower } from "./follower.js";
import { KeptFlowsFile, type KeptFlowsParts, removeKeptFlows } from "./kept-flows.js";
import { NatControl } from "./nat-control.js";
import { PacketTracer } from "./packet-tracer.js";
import { PolicyControl } from "./policy-control.js";
import { Tables } from "./tables.js";

/** Bytes of outer IP, UDP and VXLAN headers and the inner Ethernet header, by underlay family. */
const OVERHEAD = { 4: 50, 6: 70 } as const;
/** Assumed MTU of an underlay whose MTU is unknown, in bytes: Ethernet's. */
const USUAL_MTU = 1500;
/** Time between two checks for routes, files and devices that others removed, in milliseconds. */
const REPAIR_EVERY = 5_000;
/** Time between two checks for a changed underlay, in milliseconds. */
const UNDERLAY_CHECK_EVERY = 2_000;

/** Time between two writes of the connections, in milliseconds: what an agent that is killed loses of them. */
const KEEP_FLOWS_EVERY = 3_000;

type Undo = () => void | Promise<void>;

export class Agent {
  /** Resolves when the agent fails and cannot recover. `stop` must still be called. */
  readonly failed: Promise<WeftError>;

  readonly #config: Config;
  readonly #log: Logger;
  readonly #logState: () => LogState;
  readonly #joinHosts: JoinHosts;
  readonly #undo: Undo[] = [];
  /** Ends the waits for the name service. */
  readonly #stopping = new AbortController();
  #fail!: (error: WeftError) => void;
  #hasStarted = false;
  #hasFailed = false;
  #starting: Promise<void> = Promise.resolve();
  #mesh!: Mesh;
  #io!: KernelIo;
  #watch!: UnderlayWatch;
  #follower: Follower | undefined;
  #transport!: WsTransport;
  #kept: KeptFlowsFile | undefined;

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

  /** @throws WeftError after everything is undone; STOPPED if `stop` ended it */
  start(): Promise<void> {
    this.#starting = this.#start().catch(async (error) => {
      await this.#undoAll();
      throw error;
    });
    return this.#starting;
  }

  /** Leaves the cluster and undoes everything. The lease stays this node's unless the configuration has `release`. */
  async stop(): Promise<void> {
    this.#stopping.abort(STOPPED());
    await this.#starting.catch(() => {});
    await this.#undoAll();
  }

  /** Applies the secrets of a reloaded configuration. Any other change needs a restart. */
  async reload({ secrets }: Config): Promise<void> {
    await this.#starting;
    this.#transport.setSecrets(secrets);
    this.#log.info(
      `the secrets are read again: this node dials with the first of ${secrets.length} and accepts all`,
    );
  }

  async #start(): Promise<void> {
    const config = this.#config;
    const claim = await claimHost(config, this.#stopping.signal);
    this.#undo.push(() => claim.release());
    for (const mended of claim.repaired) this.#log.warn(mended);
    const upkeep = new Upkeep(this.#log);
    upkeep.add(() => {
      if (claim.keep())
        this.#log.warn(`the lock of ${config.state} was removed, and is taken again`);
    });
    const mtu = overlayMtu(claim.underlay, config);

    const seed = randomBytes(8).readBigUInt64LE();
    const { flows, pickUp, throughCore } = config;
    const core = await Core.create({ flows, pickUp, throughCore, seed });
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
    this.#undo.push(() => this.#leaveFlows());
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
      documents: [{ ...POLICY, read: (text, done) => policies.read(text, done) }, NAT],
      datapath: io,
      explain: (packet, peer) => tracer.traceForOther(packet, peer),
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
    const health = new Health({ clock: systemClock, log: meshLog(log), probe: probeBackend });
    const tables = new Tables({ mesh, core, publisher, policies, io, checks: health }, config);
    const follower = new Follower({ mesh, tables, publisher, io, watch, log, fail }, config);
    this.#follower = follower;
    this.#undo.push(() => this.#leaveRoutes(follower));
    this.#undo.push(() => follower.remove());
    const tracer = new PacketTracer({ core, publisher, tables, mesh, follower }, config);
    const control = new AgentControl(
      {
        mesh,
        follower,
        tables,
        health,
        policy: new PolicyControl({ mesh, policies, tables, follower }),
        nat: new NatControl({ mesh, tables }),
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
    // Before that no packet passes, and every probe would fail.
    tables.on("published", () => {
      if (tables.knowsDocuments) health.follow(tables.natInForce);
    });
    health.on("changed", () => follower.follow());
    if (config.keepFlows) this.#keepFlows({ core, publisher, io, tables, log });
    else removeKeptFlows(config.state);
    await mesh.start();
    this.#undo.push(() => mesh.stop({ release: config.release }));
    // The address of a released lease may soon be another node's.
    if (config.release) this.#undo.push(() => follower.remove());
    health.start();
    this.#undo.push(() => health.stop());
    follower.follow();

    const server = new ControlServer(control, {
      socket: config.socket,
      ...(config.http && { http: config.http }),
    });
    await server.start();
    this.#undo.push(() => server.stop());
    if (config.throughCore) this.#watchLinks(upkeep, follower);
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

  /** Takes up the connections of the last run, and keeps those of this one. */
  #keepFlows(parts: KeptFlowsParts & { readonly tables: Tables }): void {
    const kept = new KeptFlowsFile(parts, this.#config.state);
    this.#kept = kept;
    kept.load();
    parts.tables.on("published", () => kept.adopt());
    this.#undo.push(every(systemClock, KEEP_FLOWS_EVERY, () => void kept.save()));
  }

  /** A core that failed may have been in the middle of a batch: then the last file stays. */
  async #leaveFlows(): Promise<void> {
    if (!this.#hasFailed) await this.#kept?.finish();
  }

  /** A failed agent leaves the overlay routes unreachable, as a killed one does. */
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
        // One failure must not stop the others from being undone.
        this.#log.error(error instanceof Error ? error.message : String(error));
      }
    }
  }

  // ---- changes of the host

  #repair(upkeep: Upkeep, follower: Follower): void {
    follower.follow();
    upkeep.check().catch((error: Error) => this.#fail(ownMistake(error)));
  }

  /** An interface of a workload gets its rule soon after it has come. */
  #watchLinks(upkeep: Upkeep, follower: Follower): void {
    const links = new LinkWatch(() => follower.follow());
    links.keep();
    upkeep.add(() => links.keep());
    this.#undo.push(() => links.stop());
  }

  #checkUnderlay(): void {
    this.#watch.check().catch((error: Error) => this.#fail(ownMistake(error)));
  }

  /** Underlay addresses of peers: of members, or of the join hosts until members are known, and of static peers. */
  async #peerAddresses(): Promise<Address[]> {
    const members = this.#mesh.endpoints(MOST_PEERS).map((it) => parseEndpoint(it).address);
    const { signal } = this.#stopping;
    const peers = members.length > 0 ? members : await this.#joinHosts.addresses(signal);
    return [...peers, ...staticOf(this.#config)];
  }

  /** Changes the MTU. Until the device has it too, the core answers larger packets with ICMP errors. */
  #resize(to: UnderlayInterface): void {
    const mtu = overlayMtu(to, this.#config);
    if (mtu === this.#io.mtu.most) return;
    this.#io.resize(mtu);
    this.#log.info(`the MTU to peers is ${to.mtu} bytes now: the MTU of the overlay is ${mtu}`);
    this.#follower?.follow();
  }

  /** Moves to another underlay address. The dataplane comes first, to receive packets once others learn the address. */
  async #move({ address, device, prefix }: UnderlayInterface): Promise<void> {
    const network = this.#mesh.self().network.map(parsePrefix);
    underlayFits({ ...this.#config, network, networkGiven: true }, prefix);
    await this.#io.rebind(formatAddress(address));
    await this.#mesh.setEndpoint(formatEndpoint({ address, port: this.#config.port }));
    this.#log.info(`the underlay address is ${formatAddress(address)} on ${device} now`);
  }
}

const STOPPED = () =>
  new WeftError("STOPPED", "the agent was stopped", "start it again with: weft up");

/** The MTU of the overlay, in bytes. */
const overlayMtu = ({ address, mtu = USUAL_MTU }: UnderlayInterface, config: Config): number =>
  (config.mtu ?? mtu) - OVERHEAD[address.family];

/** Adapts pino, which takes the fields before the message. */
const meshLog = (log: Logger): Log => ({
  info: (message, fields) => log.info(fields ?? {}, message),
  warn: (message, fields) => log.warn(fields ?? {}, message),
  error: (message, fields) => log.error(fields ?? {}, message),
});
