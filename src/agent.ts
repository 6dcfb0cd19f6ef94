/**
 * The agent: the only place that knows all parts. It makes them, starts them in
 * order, carries what the mesh learns to the dataplane and the host, and undoes
 * everything in reverse.
 *
 *   mesh -> members -> peers -> tables of the core
 *        -> own lease -> address and routes of the device
 */
import { randomBytes } from "node:crypto";
import {
  type Address,
  covers,
  firstHost,
  formatAddress,
  formatEndpoint,
  type Prefix,
  parseMac,
  parsePrefix,
} from "./address.js";
import type { Logger } from "./cli/log.js";
import { systemClock } from "./clock.js";
import { Acl } from "./compile/acl.js";
import { Book } from "./compile/book.js";
import type { Own } from "./compile/compiler.js";
import { type Config, foundedNetwork, underlayFits, underlayOutside } from "./config.js";
import { readCounters } from "./core/counters.js";
import { readFlows, setProfile } from "./core/flows.js";
import { Core } from "./core/instance.js";
import { Publisher } from "./core/publish.js";
import { WeftError } from "./error.js";
import { Explainer, type Explanation } from "./explain/explain.js";
import type { Question } from "./explain/question.js";
import { type Claim, claimHost } from "./host/claim.js";
import { checkIpv6 } from "./host/ipv6.js";
import { Link } from "./host/link.js";
import type { Underlay } from "./host/underlay.js";
import { UnderlayWatch } from "./host/underlay-watch.js";
import { ControlServer } from "./http/server.js";
import type {
  Control,
  Counters,
  FlowRow,
  LeaseRow,
  PeerRow,
  PolicyReport,
  PolicyView,
  RouteRow,
  Status,
} from "./http/view.js";
import { KernelIo } from "./io/kernel.js";
import { FileStore } from "./lease/store-file.js";
import { every } from "./mesh/clock.js";
import { nodeId } from "./mesh/identity.js";
import type { Log } from "./mesh/log.js";
import type { Member } from "./mesh/member.js";
import { Mesh } from "./mesh/mesh.js";
import type { MeshParts } from "./mesh/options.js";
import { WsTransport } from "./mesh/transport-ws.js";
import { policyAsJson, readPolicy } from "./policy/document.js";
import { Enforcer } from "./policy/enforcer.js";
import { nameOf } from "./policy/place.js";
import { absentNodes, type Members } from "./policy/resolver.js";
import { rulesOf } from "./policy/rules.js";

/** Outer IP, UDP and VXLAN headers and the inner Ethernet header, bytes, by underlay. */
const OVERHEAD = { 4: 50, 6: 70 } as const;
/** What a flapping interface took away comes back within this many milliseconds. */
const MEND_EVERY = 5_000;
/** A changed underlay address is noticed within this many milliseconds. */
const LOOK_EVERY = 2_000;

type Undo = () => void | Promise<void>;

/** What exists while the agent runs. */
interface Running {
  readonly watch: UnderlayWatch;
  readonly core: Core;
  readonly publisher: Publisher;
  readonly explainer: Explainer;
  readonly mesh: Mesh;
  readonly transport: WsTransport;
  readonly io: KernelIo;
  /** Of the overlay device. */
  readonly mtu: number;
}

export class Agent implements Control {
  /** Settles when the agent cannot go on by itself. `stop` is still due. */
  readonly failed: Promise<WeftError>;

  readonly #config: Config;
  readonly #log: Logger;
  readonly #undo: Undo[] = [];
  #fail!: (error: WeftError) => void;
  #starting: Promise<void> = Promise.resolve();
  #running!: Running;
  #link: Link | undefined;
  #addresses: readonly Address[] = [];
  /** The peers, and what of them the core does not know yet. */
  readonly #book: Book;
  readonly #enforcer = new Enforcer();
  #trouble: string[] = [];
  #applying: Promise<void> = Promise.resolve();
  /** Something changed since the mesh was last followed, and that will be seen to. */
  #isWaiting = false;
  #stopped = false;

  constructor(config: Config, log: Logger) {
    this.#config = config;
    this.#log = log;
    this.#book = new Book(config.staticPeers);
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
  }

  /** @throws WeftError; then nothing is left behind */
  start(): Promise<void> {
    this.#starting = this.#start().catch(async (error) => {
      await this.#unwind();
      throw error;
    });
    return this.#starting;
  }

  /** Withdraws from the cluster and takes everything away again. The lease stays this node's, unless `release` is set. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#starting.catch(() => {});
    await this.#unwind();
  }

  /** Takes up the secrets of a configuration that was read again; everything else needs a restart. */
  async reload({ secrets }: Config): Promise<void> {
    await this.#starting;
    this.#running.transport.use(secrets);
    this.#log.info(`the secrets are read again: dials with the first, accepts ${secrets.length}`);
  }

  async #start(): Promise<void> {
    const config = this.#config;
    const claim = await claimHost(config);
    this.#undo.push(() => claim.release());
    for (const mended of claim.mended) this.#log.warn(mended);
    const mtu = (config.mtu ?? claim.underlay.mtu) - OVERHEAD[claim.underlay.address.family];
    checkIpv6(foundedNetwork(config), mtu);

    const seed = randomBytes(8).readBigUInt64LE();
    const core = await Core.create({ flows: config.flows, seed });
    const address = formatAddress(claim.underlay.address);
    const { tun, port, offloads, busyPoll } = config;
    const publisher = new Publisher(core);
    const io = new KernelIo(
      { core, publisher, log: this.#log },
      { tun, address, port, offloads, busyPoll },
    );
    io.on("error", (error) => this.#fail(error));
    await io.start();
    this.#undo.push(() => io.stop());

    const log = meshLog(this.#log);
    const transport = new WsTransport({ clock: systemClock, log }, { secrets: config.secrets });
    const mesh = this.#makeMesh(claim, { transport, datapath: io });
    const watch = new UnderlayWatch(config.underlay, claim.underlay, (to) => this.#move(to));
    const explainer = new Explainer(core, publisher);
    this.#running = { watch, core, publisher, explainer, mesh, transport, io, mtu };
    this.#undo.push(() => this.#link?.remove());
    mesh.on("change", () => this.#follow());
    await mesh.start();
    this.#undo.push(() => mesh.stop({ release: this.#config.release }));
    this.#follow();

    const control = new ControlServer(this, {
      socket: config.socket,
      ...(config.http && { http: config.http }),
    });
    await control.start();
    this.#undo.push(() => control.stop());
    this.#undo.push(every(systemClock, MEND_EVERY, () => this.#follow()));
    this.#undo.push(() => watch.rest());
    this.#undo.push(every(systemClock, LOOK_EVERY, () => this.#look()));
    await this.#applying;
  }

  #makeMesh({ underlay }: Claim, parts: Pick<MeshParts, "transport" | "datapath">): Mesh {
    const config = this.#config;
    const log = meshLog(this.#log);
    const founds = config.join.length === 0;
    return new Mesh(
      { clock: systemClock, store: new FileStore(config.state), log, ...parts },
      {
        name: config.name,
        vtep: formatEndpoint({ address: underlay.address, port: config.port }),
        vni: config.vni,
        listen: { address: formatAddress(underlay.address), port: config.meshPort },
        join: config.join,
        reserved: config.staticPeers.flatMap(({ leases }) => leases.map(parsePrefix)),
        leases: config.leases,
        ...((founds || config.networkGiven) && { network: config.network }),
        ...(founds && { leaseLength: config.subnetLen, leaseLength6: config.subnetLen6 }),
      },
    );
  }

  async #unwind(): Promise<void> {
    this.#stopped = true;
    await this.#applying.catch(() => {});
    for (const undo of this.#undo.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        // One thing that will not go away must not keep the others.
        this.#log.error(error instanceof Error ? error.message : String(error));
      }
    }
  }

  // ---- following the underlay

  #look(): void {
    this.#running.watch.look().catch((error: Error) => this.#fail(ownMistake(error)));
  }

  /** The dataplane first: when the others hear of the new address, packets can come to it. */
  async #move({ address, device, prefix }: Underlay): Promise<void> {
    const { io, mesh } = this.#running;
    const network = mesh.self().network.map(parsePrefix);
    underlayFits({ ...this.#config, network, networkGiven: true }, prefix);
    await io.rebind(formatAddress(address));
    await mesh.setEndpoint(formatEndpoint({ address, port: this.#config.port }));
    this.#log.info(`the underlay address is ${formatAddress(address)} on ${device} now`);
  }

  // ---- following the mesh

  /** Brings dataplane and host to what the mesh says now; one at a time, in order. */
  #follow(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#applying = this.#applying.then(async () => {
      this.#isWaiting = false;
      if (this.#stopped) return;
      const { problem } = this.#running.watch;
      const trouble = problem ? [problem] : [];
      try {
        await this.#apply(trouble);
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        trouble.push(`${error.message}: ${error.remedy}`);
      }
      this.#report(trouble);
    });
    this.#applying.catch((error: Error) => this.#fail(ownMistake(error)));
  }

  async #apply(trouble: string[]): Promise<void> {
    const { mesh } = this.#running;
    const own = this.#own();
    await this.#settle(addressesIn(mesh.self().network.map(parsePrefix), own.leases));

    for (const id of mesh.takeMoved()) this.#book.note(id, mesh.peer(id));
    trouble.push(...this.#book.trouble, ...this.#publish(own));
    this.#book.shown();
    trouble.push(...((await this.#link?.setRoutes(this.#beyondTheNetwork())) ?? []));
  }

  /** Peers and policy in one swap: no packet of a peer is seen before the rules about it are there. */
  #publish(own: Own): string[] {
    const { core, publisher, mesh } = this.#running;
    const change = this.#book.change();
    const policy = mesh.policy()?.document;
    const misfit = this.#enforcer.enforce(policy, this.#members(own), own.leases, (rules) =>
      publisher.change(own, change, rules),
    );
    setProfile(core, this.#enforcer.document?.profile ?? "rfc");
    return misfit ? [`the policy is not in force: ${misfit.message}`] : [];
  }

  #own(): Own {
    const { mesh, mtu } = this.#running;
    const { mac, leases } = mesh.self();
    return { vni: this.#config.vni, mac: parseMac(mac), mtu, leases: leases.map(parsePrefix) };
  }

  /** Who holds what: what policies mean by the name of a node. */
  #members(own: Own): Members {
    const peers = [...this.#book.wanted];
    return new Map([
      ...peers.map(({ name, leases }) => [name, leases.map(parsePrefix)] as const),
      [this.#config.name, own.leases],
    ]);
  }

  /** The device has these addresses from now on, and no others. */
  async #settle(addresses: readonly Address[]): Promise<void> {
    const [before, after] = [this.#addresses, addresses].map((all) =>
      all.map(formatAddress).join(),
    );
    if (before === after) return;
    await this.#unconfigure();
    if (addresses.length > 0) await this.#configure(addresses);
  }

  /** Gives the device its addresses, when the leases are known. */
  async #configure(addresses: readonly Address[]): Promise<void> {
    const { watch, publisher, mesh, mtu } = this.#running;
    const network = mesh.self().network.map(parsePrefix);
    const { prefix } = watch.underlay;
    underlayOutside({ ...this.#config, network, networkGiven: true }, prefix);

    for (const address of addresses) publisher.setAddress(address);
    const link = new Link({ device: this.#config.tun, addresses, mtu, network });
    for (const warning of await link.configure()) this.#log.warn(warning);
    this.#link = link;
    this.#addresses = addresses;
    const all = addresses.map(formatAddress).join(" and ");
    this.#log.info(`this node is ${all} on ${this.#config.tun}, MTU ${mtu}`);
  }

  /** Takes the addresses off the device: the lease may be another node's by now. */
  async #unconfigure(): Promise<void> {
    if (!this.#link) return;
    await this.#link.remove();
    this.#link = undefined;
    this.#addresses = [];
  }

  /** Subnets of static peers that the route to the cluster network does not cover. */
  #beyondTheNetwork() {
    const network = this.#running.mesh.self().network.map(parsePrefix);
    return this.#config.staticPeers
      .flatMap(({ leases }) => leases.map(parsePrefix))
      .filter((prefix) => !network.some((whole) => covers(whole, prefix)));
  }

  /** Trouble is said once in the log, and in `weft status` for as long as it lasts. */
  #report(trouble: string[]): void {
    for (const problem of trouble) if (!this.#trouble.includes(problem)) this.#log.warn(problem);
    this.#trouble = trouble;
  }

  // ---- what the control socket shows

  status(): Status {
    const { watch, mesh, io, mtu } = this.#running;
    const { name, leases, network, mac } = mesh.self();
    const problems = [...mesh.problems(), ...this.#trouble];
    if (this.#addresses.length === 0) problems.push(`${this.#config.tun} has no address yet`);
    const first = this.#addresses.find(({ family }) => family === 4) ?? this.#addresses[0];
    return {
      name,
      healthy: problems.length === 0,
      problems,
      network,
      address: first ? formatAddress(first) : null,
      addresses: this.#addresses.map(formatAddress),
      leases,
      mac,
      vni: this.#config.vni,
      mtu,
      underlay: formatAddress(watch.underlay.address),
      peers: this.#book.size,
      offloads: io.offloads(),
    };
  }

  peers(): PeerRow[] {
    const members = new Map(this.#running.mesh.members().map((member) => [member.name, member]));
    const { publisher, mtu } = this.#running;
    return this.#book.peers.map((peer) => ({
      ...peer,
      ...pathOf(members.get(peer.name)),
      mtu: publisher.pathMtu(peer.name, mtu),
    }));
  }

  routes(): RouteRow[] {
    const own = this.#running.mesh.self();
    return [
      ...own.leases.map((prefix) => ({ prefix, peer: own.name, via: this.#config.tun })),
      ...this.#book.peers.flatMap(({ name, endpoint, leases }) =>
        leases.map((prefix) => ({ prefix, peer: name, via: endpoint })),
      ),
    ];
  }

  leases(): LeaseRow[] {
    const { mesh } = this.#running;
    const { name, leases, expires } = mesh.self();
    const row = (subnet: string, owner: string, at: number | undefined): LeaseRow => ({
      subnet,
      owner,
      expires: at === undefined ? null : new Date(at).toISOString(),
    });
    return [
      ...leases.map((subnet) => row(subnet, name, expires)),
      ...mesh
        .members()
        .flatMap((member) =>
          member.leases.map((lease) => row(lease.subnet, member.name, lease.expires)),
        ),
      ...this.#config.staticPeers.flatMap((peer) =>
        peer.leases.map((subnet) => row(subnet, peer.name, undefined)),
      ),
    ];
  }

  forget(name: string, options: { readonly certain: boolean }): string[] {
    return this.#running.mesh.forget(name, options);
  }

  counters(): Counters {
    const { core, publisher } = this.#running;
    const places = [...this.#enforcer.rules.places];
    const traffic = publisher.ruleTraffic(places.map(([number]) => number));
    return {
      ...readCounters(core),
      rules: places.map(([, place], i) => ({ ...place, ...traffic[i]! })),
    };
  }

  flows(): FlowRow[] {
    const { places } = this.#enforcer.rules;
    return readFlows(this.#running.core).map(({ rule, ...flow }) => {
      const place = rule === undefined ? undefined : places.get(rule);
      return { ...flow, rule: place ? nameOf(place) : null };
    });
  }

  explain(question: Question): Explanation {
    const { places } = this.#enforcer.rules;
    const { peers } = this.#book;
    return this.#running.explainer.explain(question, { own: this.#own(), peers, places });
  }

  policy(): PolicyView | null {
    const { mesh } = this.#running;
    const policy = mesh.policy();
    if (!policy) return null;
    const { version, author, digest } = policy.seal;
    const id = nodeId(author);
    const all = [...mesh.members(), mesh.self()];
    const name = all.find((member) => member.id === id)?.name ?? null;
    return { version, digest, author: { id, name }, text: policy.text };
  }

  applyPolicy(text: string, { dryRun }: { readonly dryRun: boolean }): PolicyReport {
    const { mesh } = this.#running;
    const own = this.#own();
    const members = this.#members(own);
    const json = policyAsJson(text, "policy");
    const document = readPolicy(json, "policy");
    const { rules } = rulesOf(document, members, own.leases, this.#enforcer.rules);
    new Acl().update(rules);
    const version = dryRun ? null : mesh.applyPolicy(json).seal.version;
    const [egress, ingress] = rules.map(({ length }) => length);
    return {
      version,
      rules: { egress: egress!, ingress: ingress! },
      absent: absentNodes(document, members),
    };
  }
}

/** A static peer says nothing about itself, so nothing is known but that it is there. */
const pathOf = (
  member: Member | undefined,
): Pick<PeerRow, "state" | "path" | "rttMs" | "loss"> => ({
  state: member?.state ?? "static",
  path: member?.path ?? "direct",
  rttMs: rounded(member?.rttMs),
  loss: rounded(member?.loss),
});

const rounded = (value: number | undefined): number | null =>
  value === undefined ? null : Math.round(value * 1000) / 1000;

/** A node's address in each network is the first of the first lease it holds there. */
const addressesIn = (networks: readonly Prefix[], leases: readonly Prefix[]): Address[] =>
  networks.flatMap((network) => {
    const first = leases.find((lease) => covers(network, lease));
    return first ? [firstHost(first)] : [];
  });

const ownMistake = ({ message }: Error): WeftError =>
  new WeftError("AGENT", message, "please report this");

/** pino wants the fields before the sentence. */
const meshLog = (log: Logger): Log => ({
  info: (message, fields) => log.info(fields ?? {}, message),
  warn: (message, fields) => log.warn(fields ?? {}, message),
  error: (message, fields) => log.error(fields ?? {}, message),
});
