/**
 * The control plane of one node. It founds a cluster or joins one, gets a
 * lease, says who it is, and keeps the list of members. docs/mesh.md and
 * docs/leases.md tell the rules.
 */
import { EventEmitter } from "node:events";
import {
  formatEndpoint,
  formatPrefix,
  type Prefix,
  parseEndpoint,
  parsePrefix,
} from "../address.js";
import { WeftError } from "../error.js";
import { Allocator } from "../lease/allocator.js";
import {
  type Cluster,
  clusterOf,
  describe,
  type Genesis,
  genesisSchema,
} from "../lease/genesis.js";
import { type Proof, subnetOf } from "../lease/grant.js";
import type { ClusterState, State, Store } from "../lease/store.js";
import { type Clock, every } from "./clock.js";
import { Gossip } from "./gossip.js";
import { Identity, macOf } from "./identity.js";
import { Leasing } from "./leasing.js";
import { Links } from "./links.js";
import type { Log } from "./log.js";
import { Members, type Tunnel, type View } from "./members.js";
import type { Message } from "./message.js";
import { LEASE_TTL, type NodeRecord, ownerId, signRecord } from "./record.js";
import type { Session } from "./session.js";
import { hostPort, type ListenAddress, type Transport } from "./transport.js";

/** Milliseconds. */
export const RENEW_EVERY = 3600_000;
/** How long a node waits before it answers a newer record of its own, in milliseconds. */
export const ECHO_WAIT = 5_000;
/** How long a copy of this node is spoken of after it was last heard, in milliseconds. */
export const COPY_SPOKEN_OF = 60_000;
/** Of leases, where none is asked for. */
export const LEASE_LENGTH = { 4: 24, 6: 64 } as const;
/** Addresses kept on disk. */
export const MAX_REMEMBERED = 256;

export interface MeshParts {
  readonly clock: Clock;
  readonly transport: Transport;
  readonly store: Store;
  readonly log: Log;
}

export interface MeshOptions {
  readonly name: string;
  /**
   * Where peers send VXLAN to this node, like `192.0.2.1:4789` or `[fd00::1]:4789`. Its address is
   * also the mesh's, and members of the other family are left out.
   */
  readonly vtep: string;
  readonly vni: number;
  readonly listen: ListenAddress;
  /** Mesh addresses to dial. With none, and no state on disk, this node founds the cluster. */
  readonly join: readonly { readonly host: string; readonly port: number }[];
  /** The cluster's networks. The founder needs them; to others they must be what the cluster has. */
  readonly network?: readonly Prefix[] | undefined;
  /** Of the leases in the IPv4 network; 24 if it is not given. */
  readonly leaseLength?: number | undefined;
  /** Of the leases in the IPv6 network; 64 if it is not given. */
  readonly leaseLength6?: number | undefined;
  /** Subnets this node never gives away: they belong to peers that run no agent. */
  readonly reserved?: readonly Prefix[] | undefined;
  /** The VTEP MAC, if it is not to be derived from the identity. */
  readonly mac?: string | undefined;
}

export interface Self {
  readonly id: string;
  readonly name: string;
  readonly mac: string;
  /** Empty until a lease was given. */
  readonly leases: readonly string[];
  /** Empty until the cluster is known. */
  readonly network: readonly string[];
  /** When the leases expire, in milliseconds since the epoch. Missing until this node has published. */
  readonly expires?: number;
}

export interface Member {
  readonly id: string;
  readonly name: string;
  readonly mac: string;
  /** The VTEP. */
  readonly endpoint: string;
  readonly meshEndpoint: string;
  /** `expires` in milliseconds since the epoch. */
  readonly leases: readonly { readonly subnet: string; readonly expires: number }[];
  readonly state: "established" | "connecting" | "unreachable";
  readonly rttMs?: number;
}

/** What exists once the cluster is known. */
interface Inside {
  readonly cluster: Cluster;
  readonly members: Members;
  readonly gossip: Gossip;
  readonly leasing: Leasing;
}

export class Mesh extends EventEmitter<{ change: [] }> {
  readonly #parts: MeshParts;
  readonly #options: MeshOptions;
  #vtep: string;
  #identity!: Identity;
  #state!: State;
  #links!: Links;
  #meshEndpoint = "";
  #tunnel!: Tunnel;
  #inside: Inside | undefined;
  #view: View | undefined;
  #cancelEcho: (() => void) | undefined;
  #copy: { readonly mesh: string; readonly heard: number } | undefined;
  #trouble: string | undefined;
  #cancelRenew: (() => void) | undefined;

  constructor(parts: MeshParts, options: MeshOptions) {
    super();
    this.#parts = parts;
    this.#options = options;
    this.#vtep = options.vtep;
  }

  /** Throws a WeftError when the port is taken, or the state on disk is torn or of another network. */
  async start(): Promise<void> {
    const { clock, store } = this.#parts;
    const found = store.load();
    const contradiction = found?.cluster && this.#contradiction(found.cluster.genesis);
    if (contradiction) throw contradiction;
    const founds = !found?.cluster && this.#options.join.length === 0;
    this.#identity = found ? new Identity(found.seed) : Identity.generate();
    const genesis = founds ? this.#genesis() : undefined;

    const instance = Identity.generate().id;
    this.#links = new Links(
      { ...this.#parts, identity: this.#identity, instance },
      {
        opened: (session) => this.#opened(session),
        message: (session, message) => this.#safely(() => this.#received(session, message)),
        closed: (session) => this.#closed(session),
        failed: () => this.emit("change"),
      },
    );
    const port = await this.#links.listen(this.#options.listen);
    const { address } = parseEndpoint(this.#options.vtep);
    this.#meshEndpoint = formatEndpoint({ address, port });
    this.#tunnel = { vni: this.#options.vni, family: address.family };

    try {
      this.#state = found ?? { seed: this.#identity.seed, remembered: [] };
      this.#save({}); // A directory that cannot be written must be known now.
      if (this.#state.cluster) this.#enter(this.#state.cluster);
      else if (genesis) this.#settleIn(genesis, "founded a cluster");
    } catch (error) {
      await this.#halt();
      throw error;
    }
    this.#cancelRenew = every(clock, RENEW_EVERY, () => this.#safely(() => this.#publish()));
    this.#keep();
  }

  /** Tells the neighbours that this node stops, and closes everything. The lease stays its own. */
  async stop(): Promise<void> {
    this.#safely(() => this.#publish({ withdrawn: true }));
    await this.#halt();
  }

  /** Where peers send VXLAN to this node from now on. */
  setVtep(vtep: string): void {
    this.#vtep = vtep;
    this.#safely(() => this.#publish());
  }

  self(): Self {
    const { name, mac } = this.#options;
    const { id, publicKey } = this.#identity;
    const holders = this.#current()?.ring.holders;
    const own = this.#inside?.members.get(id);
    return {
      id,
      name,
      mac: mac ?? macOf(id),
      leases: this.#leases.map(subnetOf).filter((subnet) => holders?.get(subnet) === publicKey),
      network: this.#inside?.cluster.genesis.network.map(({ prefix }) => prefix) ?? [],
      ...(own ? { expires: expiry(own) } : {}),
    };
  }

  /** Everyone but this node. A member stays when its session breaks; only its state changes. */
  members(): Member[] {
    const all = [...(this.#current()?.members ?? [])];
    return all
      .filter(([id]) => id !== this.#identity.id)
      .map(([id, record]) => this.#member(id, record));
  }

  /** Sentences about what is not as it should be. */
  problems(): string[] {
    const problems: string[] = [];
    const first = this.#inside ? this.#inside.leasing.problem : NOT_JOINED;
    if (first) problems.push(first);
    for (const address of this.#joins()) {
      const failure = this.#links.failure(address);
      if (failure && !this.#isSettled(address)) {
        problems.push(`join address ${address}: ${failure.message}: ${failure.remedy}`);
      }
    }
    problems.push(...(this.#current()?.problems ?? []));
    for (const { name, meshEndpoint, state } of this.members()) {
      if (state !== "unreachable") continue;
      const { message, remedy } = this.#links.failure(meshEndpoint)!;
      problems.push(`${name} cannot be reached at ${meshEndpoint}: ${message}: ${remedy}`);
    }
    if (this.#copy && this.#parts.clock.now() - this.#copy.heard < COPY_SPOKEN_OF) {
      problems.push(
        `another node runs with this node's identity at ${this.#copy.mesh}: its state directory is a copy, remove it there`,
      );
    }
    if (this.#trouble) problems.push(this.#trouble);
    return problems;
  }

  async #halt(): Promise<void> {
    this.#inside?.leasing.stop();
    this.#cancelEcho?.();
    this.#cancelRenew?.();
    this.#inside?.gossip.stop();
    await this.#links.stop();
  }

  // ---- becoming part of a cluster

  #genesis(): Genesis {
    const network = (this.#options.network ?? []).map((prefix) => ({
      prefix: formatPrefix(prefix),
      leaseLength: this.#leaseLength(prefix) ?? LEASE_LENGTH[prefix.family],
    }));
    const genesis = { network, founder: this.#identity.publicKey };
    const checked = genesisSchema.safeParse(genesis);
    if (checked.success) return checked.data;
    throw new WeftError(
      "NETWORK",
      `a cluster cannot be founded on ${describe(genesis) || "nothing"}`,
      "the lease length must be at least the network's, and networks must not overlap",
    );
  }

  #leaseLength({ family }: Prefix): number | undefined {
    return family === 4 ? this.#options.leaseLength : this.#options.leaseLength6;
  }

  #contradiction(genesis: Genesis): WeftError | undefined {
    const given = this.#options.network?.map(formatPrefix);
    const length = new Map(genesis.network.map(({ prefix, leaseLength }) => [prefix, leaseLength]));
    const wanted = (given ?? [...length.keys()]).map((prefix) => ({
      prefix,
      leaseLength: this.#leaseLength(parsePrefix(prefix)) ?? length.get(prefix),
    }));
    const fits = ({ prefix, leaseLength }: (typeof wanted)[number]) =>
      length.has(prefix) && length.get(prefix) === leaseLength;
    if (wanted.length === length.size && wanted.every(fits)) return undefined;
    return new WeftError(
      "OTHER_NETWORK",
      `the cluster's network is ${describe(genesis)}, this node was started with ${describe({ network: wanted })}`,
      "leave out --network, --subnet-len and --subnet-len-6; or use another --state directory for another cluster",
    );
  }

  /** From now on this node belongs to this cluster, and its disk knows. */
  #settleIn(genesis: Genesis, how: string): void {
    const cluster: ClusterState = { genesis, journal: [], leases: [], version: 0 };
    this.#save({ cluster });
    this.#parts.log.info(`${how}: network ${describe(genesis)}`, {
      cluster: clusterOf(genesis).id,
    });
    this.#enter(cluster);
  }

  #enter({ genesis, journal }: ClusterState): void {
    const { clock, log } = this.#parts;
    const identity = this.#identity;
    const cluster = clusterOf(genesis);
    const members = new Members(cluster);
    const gossip = new Gossip({
      clock,
      log,
      members,
      sessions: () => this.#links.open(),
      news: (records) => this.#news(records),
    });
    const allocator = new Allocator({
      identity,
      cluster,
      journal,
      reserved: this.#options.reserved ?? [],
      save: (grants) => this.#saveCluster({ journal: [...grants] }),
    });
    const leasing = new Leasing(
      {
        clock,
        log,
        identity,
        cluster,
        allocator,
        sessionTo: (id) => this.#links.to(id),
        bearer: (name) => this.#bearer(name),
        held: () => this.#leases,
        hold: (proofs) => this.#hold(proofs),
        changed: () => this.emit("change"),
      },
      this.#options,
    );
    this.#inside = { cluster, members, gossip, leasing };
    gossip.start();
    for (const session of this.#links.open()) this.#introduce(session);
    this.#publish();
    leasing.start();
  }

  #learn(session: Session, genesis: Genesis) {
    const known = this.#inside?.cluster;
    if (known?.id === clusterOf(genesis).id) return;
    if (known) {
      return session.close(
        new WeftError(
          "OTHER_CLUSTER",
          `two clusters meet: one with network ${describe(known.genesis)} (${known.id}), one with ${describe(genesis)} (${clusterOf(genesis).id})`,
          "keep one: stop the nodes of the other, move their state directories away, start them with --join",
        ),
      );
    }
    const contradiction = this.#contradiction(genesis);
    if (contradiction) return session.close(contradiction);
    this.#settleIn(genesis, `joined the cluster through ${session.remote}`);
    this.emit("change");
  }

  get #leases(): readonly Proof[] {
    return this.#state.cluster?.leases ?? [];
  }

  #hold(proofs: readonly Proof[]): void {
    this.#saveCluster({ leases: proofs.map((proof) => [...proof]) });
    this.#publish();
  }

  /** Id of the node that has this name, and whose lease has not expired. */
  #bearer(name: string): string | undefined {
    if (name === this.#options.name) return this.#identity.id;
    const now = this.#parts.clock.now();
    const all = [...(this.#current()?.members ?? [])];
    return all.find(([, record]) => record.name === name && expiry(record) > now)?.[0];
  }

  // ---- records

  /** Says who this node is, once it has a lease, with a new version, which is on disk before it is said. */
  #publish({ withdrawn } = { withdrawn: false }): void {
    if (!this.#inside || !this.#state.cluster || this.#leases.length === 0) return;
    const { cluster, members, gossip } = this.#inside;
    const version = this.#state.cluster.version + 1;
    this.#saveCluster({ version });
    const { name, vni } = this.#options;
    const record = signRecord(this.#identity, cluster, {
      owner: this.#identity.publicKey,
      version,
      name,
      mesh: this.#meshEndpoint,
      vtep: this.#vtep,
      mac: this.#options.mac ?? macOf(this.#identity.id),
      vni,
      leases: this.#leases.map((proof) => [...proof]),
      renewed: this.#parts.clock.now(),
      withdrawn,
    });
    const refused = members.merge(record);
    if (refused instanceof WeftError) throw refused;
    gossip.spread([record]);
    this.#changed();
  }

  #news(records: readonly NodeRecord[]): void {
    const others = records.filter((record) => ownerId(record) !== this.#identity.id);
    for (const record of records) if (!others.includes(record)) this.#heardMyself(record);
    this.#remember(others.map(({ mesh }) => mesh));
    const before = new Set(this.members().map(({ name }) => name));
    this.#changed();
    const after = new Set(this.members().map(({ name }) => name));
    for (const name of after) if (!before.has(name)) this.#parts.log.info(`${name} is here`);
    for (const name of before) if (!after.has(name)) this.#parts.log.info(`${name} has left`);
    this.#keep();
  }

  /**
   * A newer record of this very node: from before a backup was restored, or
   * from a copy of it. Go on above its version, but do not race a copy.
   */
  #heardMyself({ version, mesh }: NodeRecord): void {
    const { clock, log } = this.#parts;
    this.#saveCluster({ version });
    log.warn(`heard a newer record of this node, for ${mesh}: going on from version ${version}`);
    if (mesh !== this.#meshEndpoint) this.#copy = { mesh, heard: clock.now() };
    this.#cancelEcho?.();
    this.#cancelEcho = clock.after(ECHO_WAIT, () => this.#safely(() => this.#publish()));
  }

  // ---- sessions

  #opened(session: Session) {
    this.#introduce(session);
    this.#inside?.leasing.start();
    this.emit("change");
  }

  #introduce(session: Session) {
    if (!this.#inside) return;
    session.send({ type: "cluster", genesis: this.#inside.cluster.genesis });
    this.#inside.gossip.compare(session);
  }

  #received(session: Session, message: Message) {
    switch (message.type) {
      case "cluster":
        return this.#learn(session, message.genesis);
      case "lease-request":
      case "lease-grant":
      case "lease-refusal":
        return this.#inside?.leasing.received(session, message);
      case "digest":
      case "versions":
      case "ask":
      case "records":
        return this.#inside?.gossip.received(session, message);
    }
  }

  #closed(session: Session): void {
    const name = this.#inside?.members.get(session.peer.id)?.name ?? session.remote;
    this.#parts.log.info(`the session with ${name} ended`);
    this.emit("change");
  }

  /** Dials the join addresses and the members; before any is known, those remembered. */
  #keep(): void {
    const others = this.#inside?.members.sorted().filter(([id]) => id !== this.#identity.id) ?? [];
    const living = others.filter(([, { withdrawn }]) => !withdrawn).map(([, { mesh }]) => mesh);
    this.#links.keep([...this.#joins(), ...(others.length > 0 ? living : this.#state.remembered)]);
  }

  #joins(): string[] {
    return this.#options.join.map(({ host, port }) => hostPort(host, port));
  }

  /** A join address needs no word of its own when a member answers there, itself included. */
  #isSettled(address: string): boolean {
    if (this.#links.failure(address)?.code === "SELF") return this.#inside !== undefined;
    const peer = this.#links.peerAt(address);
    return peer !== undefined && this.#inside?.members.get(peer) !== undefined;
  }

  #remember(addresses: readonly string[]): void {
    const known = this.#state.remembered;
    if (addresses.every((address) => known.includes(address))) return;
    const remembered = [...new Set([...addresses, ...known])].slice(0, MAX_REMEMBERED);
    this.#save({ remembered });
  }

  // ---- small things

  #member(id: string, record: NodeRecord): Member {
    const session = this.#links.to(id);
    const failed = this.#links.failure(record.mesh) !== undefined;
    const rtt = session?.rttMs;
    const expires = expiry(record);
    return {
      id,
      name: record.name,
      mac: record.mac,
      endpoint: record.vtep,
      meshEndpoint: record.mesh,
      leases: record.leases.map((proof) => ({ subnet: subnetOf(proof), expires })),
      state: session ? "established" : failed ? "unreachable" : "connecting",
      ...(rtt === undefined ? {} : { rttMs: rtt }),
    };
  }

  #current(): View | undefined {
    this.#view ??= this.#inside?.members.view(this.#parts.clock.now(), this.#tunnel);
    return this.#view;
  }

  #changed(): void {
    this.#view = undefined;
    this.emit("change");
  }

  #saveCluster(change: Partial<ClusterState>): void {
    if (!this.#state.cluster) throw new Error("no cluster is known yet");
    this.#save({ cluster: { ...this.#state.cluster, ...change } });
  }

  /** The state changes on disk first. */
  #save(change: Partial<State>): void {
    const next = { ...this.#state, ...change };
    this.#parts.store.save(next);
    this.#state = next;
    this.#trouble = undefined;
  }

  /** Runs what an event set off. A full disk must not end the node; everything else is our own mistake. */
  #safely(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      this.#parts.log.error(error.message, { remedy: error.remedy });
      this.#trouble = error.message;
    }
  }
}

const expiry = ({ renewed }: NodeRecord): number => renewed + LEASE_TTL;

const NOT_JOINED = "the cluster is not known yet: no join address has answered for one";
