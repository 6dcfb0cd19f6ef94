/**
 * The control plane of one node. It founds a cluster or joins one, gets a
 * lease, says who it is, and keeps the list of members. docs/mesh.md and
 * docs/leases.md tell the rules.
 */
import { EventEmitter } from "node:events";
import { formatAddress, formatEndpoint, parseEndpoint } from "../address.js";
import { WeftError } from "../error.js";
import { Allocator } from "../lease/allocator.js";
import { Fence, TAKE_BACK_AFTER } from "../lease/fence.js";
import { type Cluster, clusterOf, describe, type Genesis } from "../lease/genesis.js";
import { markOf, type Proof, subnetOf } from "../lease/grant.js";
import type { ClusterState, State } from "../lease/store.js";
import type { Peer } from "../peer.js";
import { every } from "./clock.js";
import { alive, nobody, notTheGiver, several, tooEarly } from "./forgetting.js";
import { contradiction, genesisOf } from "./founding.js";
import type { Bearer } from "./giving.js";
import { Gossip } from "./gossip.js";
import { Identity, macOf, nodeId } from "./identity.js";
import { Inquiries, type Onward } from "./inquiries.js";
import { Leasing } from "./leasing.js";
import { Links } from "./links.js";
import { Liveness } from "./liveness.js";
import { expiry, type Member, type Self, Standing } from "./member.js";
import { Members } from "./members.js";
import type { Followed, Message } from "./message.js";
import { Neighbourhood } from "./neighbourhood.js";
import { Notary } from "./notary.js";
import type { MeshOptions, MeshParts } from "./options.js";
import { Paths } from "./paths.js";
import { type ClusterPolicy, Policies } from "./policies.js";
import {
  isRenewal,
  LEASE_TTL,
  MAX_LEASES,
  MAX_TAKEN,
  type NodeRecord,
  RENEW_EVERY,
  seal,
} from "./record.js";
import type { Tunnel, View } from "./roll.js";
import type { PolicyText } from "./sealed-policy.js";
import type { Session } from "./session.js";
import { Takings } from "./takings.js";
import { hostPort } from "./transport.js";
import { Vacancies } from "./vacancies.js";

/** How long a node waits before it answers a newer record of its own, in milliseconds. */
export const ECHO_WAIT = 5_000;
/** How long a copy of this node is spoken of after it was last heard, in milliseconds. */
export const COPY_SPOKEN_OF = 60_000;
/** How long a node waits for more of what happens before it acts on it, in milliseconds. */
export const GATHER = 50;
/** How often a node looks over its sessions, in milliseconds. */
export const TEND_EVERY = 5_000;

/** What exists once the cluster is known. */
interface Inside {
  readonly cluster: Cluster;
  readonly members: Members;
  readonly gossip: Gossip;
  readonly fence: Fence;
  readonly leasing: Leasing;
  readonly liveness: Liveness;
  readonly takings: Takings;
  readonly policies: Policies;
  readonly inquiries: Inquiries;
  readonly paths: Paths | undefined;
  readonly standing: Standing;
}

export interface MeshEvents {
  change: [];
  /** A member is held for dead from now on, or no more. */
  verdict: [id: string, isDead: boolean];
}

export class Mesh extends EventEmitter<MeshEvents> {
  readonly #parts: MeshParts;
  #options: MeshOptions;
  #identity!: Identity;
  #state!: State;
  #links!: Links;
  #neighbourhood!: Neighbourhood;
  #meshEndpoint = "";
  #tunnel!: Tunnel;
  #inside: Inside | undefined;
  /** The policy that the disk held at the start. */
  #policyFound: PolicyText | undefined;
  #cancelEcho: (() => void) | undefined;
  #copy: { readonly mesh: string; readonly heard: number } | undefined;
  #trouble: string | undefined;
  #cancelRenew: (() => void) | undefined;
  #cancelTend: (() => void) | undefined;
  #cancelGather: (() => void) | undefined;
  /** Ids of the members that came, changed or went, or packets for which go another way. */
  #moved = new Set<string>();
  /** Names of the members of which the log has said that they are here, by id. */
  readonly #present = new Map<string, string>();
  /** When something new was last learned of a node, by its id. */
  readonly #learned = new Map<string, number>();
  #started = 0;
  /** Makes this node's choice of neighbours its own. */
  readonly #salt: number;

  constructor(parts: MeshParts, options: MeshOptions) {
    super();
    this.#parts = parts;
    this.#options = options;
    this.#salt = Math.floor(parts.clock.random() * 2 ** 32);
  }

  /** Throws a WeftError when the port is taken, or the state on disk is torn or of another network. */
  async start(): Promise<void> {
    const { clock, store } = this.#parts;
    this.#started = clock.elapsed();
    const found = store.load();
    this.#policyFound = store.loadPolicy();
    const misfit = found?.cluster && contradiction(this.#options, found.cluster.genesis);
    if (misfit) throw misfit;
    const founds = !found?.cluster && this.#options.join.length === 0;
    this.#identity = found ? new Identity(found.seed) : Identity.generate();
    const genesis = founds ? genesisOf(this.#options, this.#identity.publicKey) : undefined;

    const instance = Identity.generate().id;
    this.#links = new Links(
      { ...this.#parts, identity: this.#identity, instance },
      {
        opened: (session) => this.#safely(() => this.#opened(session)),
        message: (session, message) => this.#safely(() => this.#received(session, message)),
        closed: (session, reason) => this.#closed(session, reason),
        quiet: (session) => {
          this.#inside?.paths?.look(session.peer.id);
          this.#inside?.liveness.quiet(session);
        },
        dialling: (id) => {
          if (this.#neighbourhood.isBroken(id)) this.#inside?.paths?.look(id);
        },
        unanswered: (id, dialledAt) => {
          if (this.#neighbourhood.isBroken(id)) this.#inside?.liveness.silent(id, dialledAt);
        },
        failed: () => this.#soon(),
      },
    );
    this.#neighbourhood = new Neighbourhood({
      links: this.#links,
      own: this.#identity.id,
      salt: this.#salt,
      joins: this.#options.join.map(({ host, port }) => hostPort(host, port)),
      sessions: this.#options.sessions,
    });
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
    this.#cancelTend = every(clock, TEND_EVERY, () => this.#keep());
    this.#keep();
  }

  /**
   * Takes up another underlay address without a restart: listens there, tells everyone, and opens
   * its sessions anew. `vtep` as in the options. Rejects with a WeftError when it cannot listen
   * there; then everything stays as it was.
   */
  async setEndpoint(vtep: string): Promise<void> {
    const { address } = parseEndpoint(vtep);
    const listen = { address: formatAddress(address), port: this.#options.listen.port };
    const port = await this.#links.listen(listen);
    this.#options = { ...this.#options, vtep, listen };
    this.#meshEndpoint = formatEndpoint({ address, port });
    this.#tunnel = { vni: this.#options.vni, family: address.family };
    this.#inside?.members.refit(this.#tunnel);
    this.#safely(() => this.#publish());
    this.#links.move();
    this.emit("change");
  }

  /** Tells the neighbours that this node stops, and closes everything. The lease stays its own, unless it is to be given back: `release`. */
  async stop({ release = false } = {}): Promise<void> {
    if (release) await this.#inside?.leasing.lookForGivers();
    this.#safely(() => this.#publish({ withdrawn: true }));
    if (release) this.#safely(() => this.#inside?.leasing.release());
    this.#safely(() => this.#remember()); // It may stop before it got to it.
    await this.#halt();
  }

  self(): Self {
    const { name, mac } = this.#options;
    const { id } = this.#identity;
    const holds = (subnet: string) => this.#view?.holder(subnet)?.id === id;
    const own = this.#inside?.members.get(id);
    return {
      id,
      name,
      mac: mac ?? macOf(id),
      leases: this.#inside?.fence.isClosed ? [] : this.#leases.map(subnetOf).filter(holds),
      network: this.#inside?.cluster.genesis.network.map(({ prefix }) => prefix) ?? [],
      ...(own ? { expires: expiry(own) } : {}),
    };
  }

  /** Everyone but this node. A member stays when its session breaks; only its state changes. */
  members(): Member[] {
    return this.#inside?.standing.members() ?? [];
  }

  /** What the cluster has for its policy, as far as this node knows. */
  policy(): ClusterPolicy | undefined {
    return this.#inside?.policies.held;
  }

  /**
   * Makes it the cluster's policy.
   * @param text JSON, as `policyAsJson` makes it
   * @param options `anew`: where there is no next version, it begins again
   * @throws WeftError when it is none, or this node has no lease; then nothing has changed
   */
  applyPolicy(text: string, options: { readonly anew?: boolean } = {}): ClusterPolicy {
    return (this.#inside ?? notJoined()).policies.apply(text, options);
  }

  /** Asks the nodes on the way of a packet what becomes of it there. It takes `ANSWER_WITHIN` at most. */
  async follow(onward: Onward): Promise<Followed> {
    return (this.#inside ?? notJoined()).inquiries.follow(onward);
  }

  /** A member as the dataplane is to see it. */
  peer(id: string): Peer | undefined {
    const record = id === this.#identity.id ? undefined : this.#view?.members.get(id);
    if (!record) return undefined;
    const { name, vtep, mac, leases } = record;
    const course = this.#inside?.paths?.of(id);
    return {
      name,
      endpoint: course?.endpoint ?? vtep,
      mac: course?.mac ?? mac,
      leases: leases.map(subnetOf),
      senders: course?.senders ?? [],
    };
  }

  /** Ids of the members of which `peer` may not say what it said when this was asked last. */
  takeMoved(): ReadonlySet<string> {
    this.#heedTouched();
    const moved = this.#moved;
    this.#moved = new Set();
    for (const id of this.#inside?.paths?.through(moved) ?? []) moved.add(id);
    return moved;
  }

  /**
   * Takes back the subnets of a node that is gone for good, so that they can be
   * given again. `certain`: the operator knows that it is gone, so there is no
   * need to wait until it must have stopped by itself.
   * @returns the subnets
   * @throws WeftError with what is in the way
   */
  forget(name: string, { certain = false } = {}): string[] {
    const { clock, log } = this.#parts;
    const { members, leasing } = this.#inside ?? notJoined();
    const [found, ...more] = members.named(name);
    if (!found) throw nobody(name);
    if (more.length > 0) throw several(name);
    const { id, owner, leases, withdrawn } = found;
    if (id === this.#identity.id || this.#links.to(id)) throw alive(name);
    const waited = clock.elapsed() - (this.#learned.get(id) ?? this.#started);
    const safe = clock.now() + TAKE_BACK_AFTER - waited;
    if (!certain && waited < TAKE_BACK_AFTER) throw tooEarly(name, safe, withdrawn);
    const [other] = leasing.takeBack(owner, leases);
    this.#publish();
    if (other !== undefined) throw notTheGiver(name, this.#nameOf(other));
    const subnets = leases.map(subnetOf);
    log.warn(`${name} (${id}) is forgotten: ${subnets.join(", ")} can be given again`);
    return subnets;
  }

  /** Sentences about what is not as it should be. */
  problems(): string[] {
    const problems: string[] = [];
    const first = this.#inside ? this.#inside.leasing.problem : NOT_JOINED;
    if (first) problems.push(first);
    const isMember = (id: string) => this.#inside?.members.get(id) !== undefined;
    problems.push(...this.#neighbourhood.problems(isMember, this.#inside !== undefined));
    problems.push(...(this.#view?.problems() ?? []));
    problems.push(...(this.#inside?.standing.problems() ?? []));
    if (this.#copy && this.#parts.clock.elapsed() - this.#copy.heard < COPY_SPOKEN_OF) {
      problems.push(
        `another node runs with this node's identity at ${this.#copy.mesh}: its state directory is a copy, remove it there`,
      );
    }
    if (this.#trouble) problems.push(this.#trouble);
    return problems;
  }

  async #halt(): Promise<void> {
    this.#inside?.leasing.stop();
    this.#inside?.fence.stop();
    this.#cancelEcho?.();
    this.#cancelRenew?.();
    this.#cancelTend?.();
    this.#cancelGather?.();
    this.#inside?.gossip.stop();
    this.#inside?.policies.stop();
    this.#inside?.inquiries.stop();
    this.#inside?.liveness.stop();
    this.#inside?.paths?.stop();
    await this.#links.stop();
  }

  // ---- becoming part of a cluster

  /** From now on this node belongs to this cluster, and its disk knows. */
  #settleIn(genesis: Genesis, how: string): void {
    const cluster: ClusterState = {
      genesis,
      journal: [],
      spaces: [],
      leases: [],
      void: [],
      heard: 0,
      version: 0,
    };
    this.#save({ cluster });
    this.#parts.log.info(`${how}: network ${describe(genesis)}`, {
      cluster: clusterOf(genesis).id,
    });
    this.#enter(cluster);
  }

  #enter({ genesis }: ClusterState): void {
    const { clock, log, datapath } = this.#parts;
    const identity = this.#identity;
    const cluster = clusterOf(genesis);
    const members = new Members(this.#parts.notary?.(cluster) ?? new Notary(cluster), this.#tunnel);
    const gossip = new Gossip({
      clock,
      log,
      members,
      own: identity.id,
      sessions: () => this.#links.open(),
      news: (records) => this.#news(records),
      isAwaited: (id) => liveness.isDoubted(id),
      expired: () => {
        liveness.expired();
        this.#soon();
      },
    });
    const liveness: Liveness = new Liveness({
      clock,
      own: identity.id,
      members,
      sessions: () => this.#links.open(),
      heard: (id) => latest(this.#learned.get(id), this.#inside?.paths?.answeredAt(id)),
      renew: () => this.#safely(() => this.#publish({ isAwaited: true })),
      tell: (session, ids) => gossip.tell(session, ids),
      seek: (session, versions) => gossip.received(session, { type: "heard", versions }),
      judged: (id, isDead) => this.#judged(id, isDead),
    });
    const networks = genesis.network.map(({ prefix }) => prefix);
    const wanted = Math.min(this.#options.leases ?? 1, Math.floor(MAX_LEASES / networks.length));
    const allocator = new Allocator({
      identity,
      cluster,
      wanted,
      reserved: this.#options.reserved ?? [],
      ledger: () => this.#state.cluster!,
      claims: () => members.sorted().flatMap(({ leases }) => leases),
      save: (change) => this.#saveCluster(change as Partial<ClusterState>),
    });
    const sessions = () => this.#links.open();
    const fence = new Fence({
      clock,
      heard: () => this.#state.cluster!.heard,
      save: (heard) => this.#safely(() => this.#saveCluster({ heard })),
      matters: () => allocator.givers.size > 0,
      sessions,
      closed: () => this.#fenced(),
    });
    const isThere = (record: NodeRecord) => standing.stateOf(record) !== "unreachable";
    const leasing = new Leasing(
      {
        clock,
        log,
        identity,
        cluster,
        allocator,
        fence,
        vacancies: new Vacancies({ clock, members, own: identity.id, networks, isThere }),
        sessions,
        bearer: (name) => this.#bearer(name),
        member: (id) => members.get(id),
        held: () => this.#leases,
        isBeaten: (subnet) => (this.#view?.holder(subnet)?.id ?? identity.id) !== identity.id,
        publish: () => this.#publish(),
        changed: () => this.#soon(),
        safely: (act) => this.#safely(act),
      },
      { name: this.#options.name, wanted, restarted: this.#knowsOthers() },
    );
    const takings = new Takings();
    const policies = new Policies(
      {
        clock,
        log,
        identity,
        cluster,
        store: this.#parts.store,
        proof: () => (fence.isClosed ? undefined : this.#leases[0]),
        sessions,
        changed: () => this.emit("change"),
      },
      this.#policyFound,
    );
    const paths =
      datapath &&
      new Paths({
        clock,
        datapath,
        identity,
        cluster,
        edition: () => members.get(identity.id)?.version,
        isDead: (id) => liveness.isDead(id),
        sessions,
        changed: (id) => {
          this.#moved.add(id);
          this.#soon();
        },
      });
    const standing = new Standing({
      clock,
      own: identity.id,
      links: this.#links,
      members,
      liveness,
      paths,
    });
    const inquiries = new Inquiries({
      clock,
      own: this.#options.name,
      explain: this.#parts.explain,
      session: (id) => this.#links.to(id),
      nameOf: (id) => this.#view?.members.get(id)?.name,
      next: (to) => this.#nextTo(to),
      failure: (id) => this.#links.failure(members.get(id)?.mesh ?? ""),
      changed: () => this.#soon(),
    });
    this.#inside = {
      cluster,
      members,
      gossip,
      fence,
      leasing,
      liveness,
      takings,
      policies,
      inquiries,
      paths,
      standing,
    };
    fence.start();
    gossip.start();
    policies.start();
    paths?.start();
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
    const misfit = contradiction(this.#options, genesis);
    if (misfit) return session.close(misfit);
    this.#settleIn(genesis, `joined the cluster through ${session.remote}`);
    this.emit("change");
  }

  get #leases(): readonly Proof[] {
    return this.#state.cluster?.leases ?? [];
  }

  get #view(): View | undefined {
    return this.#inside?.members.view;
  }

  /** Whether this node's disk tells of others: then it may be a backup, from before they got what they have. */
  #knowsOthers(): boolean {
    const { cluster, remembered } = this.#state;
    const gifts = cluster?.journal.filter(({ from, to }) => from !== to) ?? [];
    return gifts.length + remembered.length > 0;
  }

  /** This node was cut off for so long that its lease may be another's by now. */
  #fenced(): void {
    this.#parts.log.error("cut off for longer than the lease lasts: it is not used any more");
    this.#inside?.leasing.seek();
    this.emit("change");
  }

  /** The node that has this name. */
  #bearer(name: string): Bearer | undefined {
    const found = this.#view?.bearer(name);
    if (!found || this.#inside!.standing.age(found.id) > LEASE_TTL) {
      return name === this.#options.name ? { id: this.#identity.id } : undefined;
    }
    const gift = found.leases[0]!.findLast(({ from, to }) => from !== to && to === found.owner);
    return { id: found.id, ...(gift && { giver: this.#nameOf(gift.from) }) };
  }

  /** Whom packets for the member of this name are handed to. */
  #nextTo(name: string): { readonly id: string; readonly name: string } | undefined {
    const members = this.#view?.members;
    const target = this.#view?.bearer(name)?.id;
    if (target === undefined || !members?.has(target)) return undefined;
    return members.get(this.#inside?.paths?.nextTo(target) ?? target);
  }

  #nameOf(publicKey: string): string {
    return this.#inside?.members.of(publicKey)?.name ?? nodeId(publicKey);
  }

  // ---- records

  /** Says who this node is, once it has a lease, with a new version, which is on disk before it is said. */
  #publish({ withdrawn = false, isAwaited = false } = {}): void {
    if (!this.#inside || !this.#state.cluster || this.#leases.length === 0) return;
    const { cluster, members, gossip, fence, leasing } = this.#inside;
    if (fence.isClosed) return;
    const free = leasing.sayFree();
    const taken = this.#state.cluster.void.slice(-MAX_TAKEN).map(markOf);
    const before = members.get(this.#identity.id);
    const version = Math.max(this.#state.cluster.version, before?.version ?? 0) + 1;
    this.#saveCluster({ version });
    const { name, vtep, vni } = this.#options;
    const envelope = seal(this.#identity, cluster, version, {
      name,
      mesh: this.#meshEndpoint,
      vtep,
      mac: this.#options.mac ?? macOf(this.#identity.id),
      vni,
      leases: this.#leases,
      renewed: this.#parts.clock.now(),
      withdrawn,
      ...(free && !withdrawn && { free }),
      ...(taken.length > 0 && { taken }),
    });
    const record = members.merge(envelope);
    if (record instanceof WeftError) throw record;
    if (!record) throw new Error("this node's own record is not the newest");
    gossip.publish(record, !before || !isRenewal(before, record) || isAwaited);
    fence.said();
    this.#heed([record]);
    this.#soon();
    this.emit("change");
  }

  #news(records: readonly NodeRecord[]): void {
    const others = records.filter(({ id }) => id !== this.#identity.id);
    for (const record of records) if (!others.includes(record)) this.#heardMyself(record);
    for (const record of others) {
      this.#learned.set(record.id, this.#parts.clock.elapsed());
      this.#neighbourhood.isBack(record.id);
      this.#inside?.liveness.news(record);
      this.#links.hasNews(record.mesh);
    }
    this.#heed(others);
    this.#soon();
  }

  /** Puts aside what was taken back from its owner, and tells who seeks and gives space. */
  #heed(records: readonly NodeRecord[]): void {
    const { members, takings, leasing } = this.#inside!;
    const isNew = records.filter((record) => takings.learned(record)).length > 0;
    for (const record of isNew ? members.sorted() : records) {
      if (record.id !== this.#identity.id && takings.areAll(record)) {
        members.drop(record.id, this.#parts.clock.elapsed());
      }
    }
    leasing.learned(records, takings);
  }

  /** Acts on what happened, once for all that happens within a moment. */
  #soon(): void {
    this.#cancelGather ??= this.#parts.clock.after(GATHER, () => {
      this.#cancelGather = undefined;
      this.#safely(() => this.#act());
    });
  }

  #act(): void {
    this.#remember();
    this.#keep();
    this.emit("change");
  }

  #heedTouched(): void {
    for (const id of this.#inside?.members.takeTouched() ?? []) {
      this.#neighbourhood.set(id, this.#inside?.members.get(id));
      this.#tell(id);
      this.#moved.add(id);
    }
  }

  /** Says who came, changed or left: to the log, and to those who find its path. */
  #tell(id: string): void {
    const record = id === this.#identity.id ? undefined : this.#view?.members.get(id);
    this.#inside?.paths?.follow(id, record);
    const [before, now] = [this.#present.get(id), record?.name];
    if (before === now) return;
    if (before) this.#parts.log.info(`${before} has left`);
    if (now) this.#parts.log.info(`${now} is here`);
    if (now) this.#present.set(id, now);
    else this.#present.delete(id);
  }

  /**
   * A newer record of this very node: from before a backup was restored, or
   * from a copy of it. Go on above its version, but do not race a copy.
   */
  #heardMyself({ version, mesh }: NodeRecord): void {
    const { clock, log } = this.#parts;
    this.#saveCluster({ version });
    log.warn(`heard a newer record of this node, for ${mesh}: going on from version ${version}`);
    if (mesh !== this.#meshEndpoint) this.#copy = { mesh, heard: clock.elapsed() };
    this.#cancelEcho?.();
    this.#cancelEcho = clock.after(ECHO_WAIT, () => this.#safely(() => this.#publish()));
  }

  // ---- sessions

  #opened(session: Session) {
    this.#introduce(session);
    this.#inside?.leasing.opened(session);
    this.#inside?.paths?.opened();
    this.#inside?.inquiries.opened(session);
    this.#neighbourhood.isBack(session.peer.id);
    this.#soon();
    this.emit("change");
  }

  #introduce(session: Session) {
    if (!this.#inside) return;
    session.send({ type: "cluster", genesis: this.#inside.cluster.genesis });
    this.#inside.gossip.compare(session);
    this.#inside.liveness.opened(session);
    this.#inside.policies.opened(session);
  }

  #received(session: Session, message: Message) {
    switch (message.type) {
      case "cluster":
        return this.#learn(session, message.genesis);
      case "lease-request":
      case "lease-grant":
      case "lease-question":
      case "lease-word":
      case "lease-refusal":
      case "lease-return":
        return this.#inside?.leasing.received(session, message);
      case "digest":
      case "branches":
      case "versions":
      case "heard":
      case "ask":
      case "records":
        return this.#inside?.gossip.received(session, message);
      case "doubt":
        return this.#inside?.liveness.received(session, message);
      case "policy-heard":
      case "policy-ask":
      case "policy-part":
        return this.#inside?.policies.received(session, message);
      case "explain-ask":
      case "explain-told":
      case "explain-end":
        return this.#inside?.inquiries.received(session, message);
      case "seek":
      case "offer":
        return this.#inside?.paths?.received(session, message);
    }
  }

  #judged(id: string, isDead: boolean): void {
    const name = this.#inside?.members.get(id)?.name ?? id;
    this.#parts.log.info(isDead ? `${name} is held for dead` : `${name} lives`);
    if (isDead) this.#inside?.members.lapse(id);
    this.#inside?.paths?.judged(id);
    this.emit("verdict", id, isDead);
    this.emit("change");
  }

  #closed(session: Session, reason: WeftError): void {
    const { id } = session.peer;
    const name = this.#inside?.members.get(id)?.name ?? session.remote;
    this.#inside?.paths?.closed(session);
    this.#inside?.policies.closed(session);
    this.#inside?.inquiries.closed(session);
    if (reason.code !== "NOT_NEEDED") this.#parts.log.info(`the session with ${name} ended`);
    if (BROKEN.has(reason.code)) this.#neighbourhood.broke(id);
    this.#safely(() => this.#inside?.leasing.closed(session));
    this.#soon();
    this.emit("change");
  }

  #keep(): void {
    const { leasing, paths, inquiries } = this.#inside ?? {};
    this.#neighbourhood.keep({
      needed: [
        ...(leasing?.sought ?? []),
        ...(paths?.needed() ?? []),
        ...(inquiries?.sought ?? []),
      ],
      remembered: this.#state.remembered,
      thrifty: this.#leases.length > 0,
    });
  }

  /** Keeps addresses on disk. */
  #remember(): void {
    this.#heedTouched();
    const remembered = this.#neighbourhood.toRemember(this.#state.remembered);
    if (remembered) this.#save({ remembered });
  }

  // ---- small things

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

const latest = (...times: (number | undefined)[]): number =>
  Math.max(...times.map((time) => time ?? Number.NEGATIVE_INFINITY));

const NOT_JOINED = "the cluster is not known yet: no join address has answered for one";
/** Ends of a session after which the other end may be gone. */
const BROKEN = new Set(["LOST", "SILENT"]);

const notJoined = (): never => {
  throw new WeftError("NOT_JOINED", NOT_JOINED, "wait until weft status shows a network");
};
