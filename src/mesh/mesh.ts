/**
 * The control plane of one node. It listens, founds a cluster or joins one, and
 * keeps sessions; membership.ts does what is done once the cluster is known.
 * docs/mesh.md and docs/leases.md tell the rules.
 */
import { EventEmitter } from "node:events";
import { formatAddress, formatEndpoint, type Prefix, parseEndpoint } from "../address.js";
import type { PolicyText, Seal } from "../documents/sealed-policy.js";
import { WeftError } from "../error.js";
import type { Onward } from "../explain-sync/inquiries.js";
import type { Followed } from "../explain-sync/messages.js";
import { Neighbourhood } from "../gossip/neighbourhood.js";
import { RENEW_EVERY } from "../gossip/record.js";
import { Identity, macOf } from "../identity/identity.js";
import { clusterOf, describe, type Genesis } from "../lease/genesis.js";
import type { Peer } from "../peer.js";
import type { ClusterPolicy } from "../policy-sync/policies.js";
import { Links } from "../session/links.js";
import { ProtocolRegistry } from "../session/protocol-registry.js";
import type { Session } from "../session/session.js";
import { hostPort } from "../session/transport.js";
import { Disk } from "../state/disk.js";
import type { ClusterState } from "../state/store.js";
import { every, unlikelyTime } from "../time/clock.js";
import { contradiction, genesisOf, twoClusters } from "./founding.js";
import { Introduction } from "./introduction.js";
import type { Departed, Member, Self, SpaceOf } from "./member.js";
import { Membership } from "./membership.js";
import type { MeshOptions, MeshParts } from "./options.js";
import { PROTOCOLS } from "./protocols.js";

/** How long a node waits for more of what happens before it acts on it, in milliseconds. */
export const GATHER = 50;
/** How often a node looks over its sessions, in milliseconds. */
export const TEND_EVERY = 5_000;

const EPOCH_DIGITS = 8;

export interface MeshEvents {
  change: [];
  /** A member is declared dead from now on, or no more. */
  verdict: [id: string, isDead: boolean];
}

export class Mesh extends EventEmitter<MeshEvents> {
  readonly #parts: MeshParts;
  #options: MeshOptions;
  #identity!: Identity;
  #disk!: Disk;
  #links!: Links;
  #neighbourhood!: Neighbourhood;
  readonly #protocols = new ProtocolRegistry(PROTOCOLS);
  readonly #introduction = new Introduction({
    genesis: () => this.#inside?.cluster.genesis,
    learned: (session, genesis) => this.#learn(session, genesis),
  });
  #meshEndpoint = "";
  /** Nothing until the cluster is known. */
  #inside: Membership | undefined;
  /** The policy that the disk held at the start. */
  #policyFound: PolicyText | undefined;
  #cancelRenew: (() => void) | undefined;
  #cancelTend: (() => void) | undefined;
  #cancelGather: (() => void) | undefined;
  /** A random word of this run; its first digits are the run's epoch. */
  readonly #instance = Identity.generate().id;
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
    const { clock, store, log } = this.#parts;
    const found = store.load();
    this.#policyFound = store.loadPolicy();
    const misfit = found?.cluster && contradiction(this.#options, found.cluster.genesis);
    if (misfit) throw misfit;
    const founds = !found?.cluster && this.#options.join.length === 0;
    this.#identity = found ? new Identity(found.seed) : Identity.generate();
    const genesis = founds ? genesisOf(this.#options, this.#identity.publicKey) : undefined;
    this.#disk = new Disk(store, log, found ?? { seed: this.#identity.seed, remembered: [] });
    this.#meet();
    this.#moveTo(this.#options.vtep, await this.#links.listen(this.#options.listen));

    try {
      this.#disk.save({}); // A directory that cannot be written must be known now.
      const { cluster } = this.#disk.state;
      if (cluster) this.#enter(cluster.genesis);
      else if (genesis) this.#settleIn(genesis, "founded a cluster", { noPolicy: true });
    } catch (error) {
      await this.#halt();
      throw error;
    }
    this.#cancelRenew = every(clock, RENEW_EVERY, () =>
      this.#disk.safely(() => this.#inside?.publish()),
    );
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
    this.#moveTo(vtep, port);
    this.#inside?.relocated();
    this.#links.move();
    this.emit("change");
  }

  /** Tells the neighbours that this node stops, and closes everything. The lease stays its own, unless it is to be given back: `release`. */
  async stop({ release = false } = {}): Promise<void> {
    await this.#inside?.leave({ release });
    this.#disk.safely(() => this.#remember()); // It may stop before it got to it.
    await this.#halt();
  }

  self(): Self {
    const { name, mac } = this.#options;
    const { id } = this.#identity;
    const expires = this.#inside?.expires;
    return {
      id,
      name,
      mac: mac ?? macOf(id),
      leases: this.#inside?.leases ?? [],
      network: this.#inside?.cluster.genesis.network.map(({ prefix }) => prefix) ?? [],
      ...(expires !== undefined && { expires }),
      documents: this.#inside?.documents ?? [],
    };
  }

  /** Everyone but this node. A member stays when its session breaks; only its state changes. */
  members(): Member[] {
    return this.#inside?.members() ?? [];
  }

  /** Nodes that are no members any more, and for which their leases are reserved. */
  departed(): Departed[] {
    return this.#inside?.departed() ?? [];
  }

  /** Leases that this node gave and no known record shows: kept for nodes that were not heard for long, or never. */
  unseen(): { readonly prefix: string; readonly owner: string }[] {
    return this.#inside?.unseen() ?? [];
  }

  /** For each of these prefixes the space of another node that it lies in, if that is so. */
  spacesAround(prefixes: readonly Prefix[]): (SpaceOf | undefined)[] {
    return this.#inside?.spacesAround(prefixes) ?? [];
  }

  /** What the cluster has for its policy, as far as this node knows. */
  policy(): ClusterPolicy | undefined {
    return this.#inside?.policy;
  }

  /** Whether this node knows the cluster's policy, or that there is none. Until then no packet may pass. */
  knowsPolicy(): boolean {
    return this.#inside?.knowsPolicy ?? false;
  }

  /**
   * Makes it the cluster's policy.
   * @param text JSON, as `policyAsJson` makes it
   * @param options `anew`: where there is no next version, it begins again
   * @throws WeftError when it is none, or this node has no lease; then nothing has changed
   */
  async applyPolicy(
    text: string,
    options: { readonly anew?: boolean } = {},
  ): Promise<ClusterPolicy> {
    const inside = this.#inside ?? notJoined();
    return new Promise((resolve, reject) => {
      inside.applyPolicy(text, options, (result) => {
        if (result instanceof WeftError) reject(result);
        else resolve(result);
      });
    });
  }

  /** As `Membership.enforces`: called after each change of the tables, it costs nothing without news. */
  enforces(policy: Seal | null | undefined, { isMisfit = false } = {}): void {
    this.#inside?.enforces(policy, isMisfit);
  }

  /** Asks the nodes on the way of a packet what becomes of it there. It takes `ANSWER_WITHIN` at most. */
  async follow(onward: Onward): Promise<Followed> {
    return (this.#inside ?? notJoined()).follow(onward);
  }

  /** Whether any other node was heard of late, or there is none to hear. */
  get isHeard(): boolean {
    const hasSession = () => this.#links.open().length > 0;
    return this.#inside?.isHeard ?? (this.#options.join.length === 0 || hasSession());
  }

  /** Underlay endpoints of members; at most so many. */
  endpoints(most: number): string[] {
    return this.#inside?.endpoints(most) ?? [];
  }

  /** A member as the dataplane is to see it. */
  peer(id: string): Peer | undefined {
    return this.#inside?.peer(id);
  }

  /** Ids of the members of which `peer` may not say what it said when this was asked last. */
  takeMoved(): ReadonlySet<string> {
    return this.#inside?.takeMoved() ?? new Set();
  }

  /**
   * Takes back the subnets of a node that is gone for good, so that they can be
   * given again. `certain`: the operator knows that it is gone, so there is no
   * need to wait until it must have stopped by itself.
   * @returns the subnets
   * @throws WeftError with what is in the way
   */
  forget(name: string, { certain = false } = {}): string[] {
    return (this.#inside ?? notJoined()).forget(name, certain);
  }

  /** Sentences about what is not as it should be. */
  problems(): string[] {
    const inside = this.#inside;
    const isMember = (id: string) => inside?.isMember(id) ?? false;
    const lack = inside ? inside.lack : NOT_JOINED;
    const { trouble } = this.#disk;
    const time = unlikelyTime(this.#parts.clock.now());
    return [
      ...(lack === undefined ? [] : [lack]),
      ...this.#neighbourhood.problems(isMember, inside !== undefined),
      ...(inside?.problems() ?? []),
      ...(trouble === undefined ? [] : [trouble]),
      ...(time === undefined ? [] : [time]),
    ];
  }

  /** Sentences about what an operator may want to change though the node is healthy. */
  notes(): string[] {
    return this.#inside?.notes() ?? [];
  }

  /** Whether the last that was to be kept on disk could be written. */
  get isSaved(): boolean {
    return this.#disk.trouble === undefined;
  }

  /** Writes again all that this node keeps on disk. A failure is a problem until it can be written. */
  save(): void {
    this.#disk.safely(() => {
      this.#inside?.savePolicy();
      this.#disk.save({});
    });
  }

  async #halt(): Promise<void> {
    this.#cancelRenew?.();
    this.#cancelTend?.();
    this.#cancelGather?.();
    this.#protocols.stop();
    this.#inside?.stop();
    await this.#links.stop();
  }

  // ---- becoming part of a cluster

  /** From now on this node belongs to this cluster, and its disk knows. */
  #settleIn(genesis: Genesis, how: string, { noPolicy = false } = {}): void {
    const cluster: ClusterState = {
      genesis,
      journal: [],
      spaces: [],
      leases: [],
      void: [],
      taken: [],
      heard: 0,
      version: 0,
      noPolicy,
    };
    this.#disk.save({ cluster });
    this.#parts.log.info(`${how}: network ${describe(genesis)}`, {
      cluster: clusterOf(genesis).id,
    });
    this.#enter(genesis);
  }

  #enter(genesis: Genesis): void {
    this.#inside = new Membership(
      {
        ...this.#parts,
        identity: this.#identity,
        epoch: this.#instance.slice(0, EPOCH_DIGITS),
        cluster: clusterOf(genesis),
        disk: this.#disk,
        links: this.#links,
        neighbourhood: this.#neighbourhood,
        protocols: this.#protocols,
        policyFound: this.#policyFound,
        whereabouts: () => ({ mesh: this.#meshEndpoint, vtep: this.#options.vtep }),
        address: () => parseEndpoint(this.#options.vtep).address,
        soon: () => this.#soon(),
        changed: () => this.emit("change"),
        judged: (id, isDead) => {
          this.emit("verdict", id, isDead);
          this.emit("change");
        },
      },
      this.#options,
    );
    for (const session of this.#links.open()) this.#introduction.opened(session);
    this.#inside.start();
  }

  #learn(session: Session, genesis: Genesis) {
    const [known, other] = [this.#inside?.cluster, clusterOf(genesis)];
    if (known?.id === other.id) return;
    if (known) return session.close(twoClusters(known, other));
    const misfit = contradiction(this.#options, genesis);
    if (misfit) return session.close(misfit);
    this.#settleIn(genesis, `joined the cluster through ${session.remote}`);
    this.emit("change");
  }

  // ---- sessions

  /** Makes the parts that meet others. */
  #meet(): void {
    this.#protocols.start(this.#introduction, []);
    this.#links = new Links(
      {
        ...this.#parts,
        identity: this.#identity,
        instance: this.#instance,
        protocols: this.#protocols,
      },
      {
        opened: (session) => this.#disk.safely(() => this.#opened(session)),
        message: (session, message) =>
          this.#disk.safely(() => this.#protocols.received(session, message)),
        closed: (session, reason) => this.#closed(session, reason),
        quiet: (session) => this.#inside?.quiet(session),
        dialling: (id) => {
          if (this.#neighbourhood.isBroken(id)) this.#inside?.dialling(id);
        },
        unanswered: (id, dialledAt) => {
          if (this.#neighbourhood.isBroken(id)) this.#inside?.unanswered(id, dialledAt);
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
  }

  /** From now on others reach this node there. */
  #moveTo(vtep: string, port: number): void {
    this.#meshEndpoint = formatEndpoint({ address: parseEndpoint(vtep).address, port });
  }

  #opened(session: Session): void {
    this.#protocols.opened(session);
    this.#neighbourhood.isBack(session.peer.id);
    this.#soon();
    this.emit("change");
  }

  #closed(session: Session, reason: WeftError): void {
    const { id } = session.peer;
    const name = this.#inside?.nameOf(id) ?? session.remote;
    if (reason.code !== "NOT_NEEDED") this.#parts.log.info(`the session with ${name} ended`);
    if (BROKEN.has(reason.code)) this.#neighbourhood.broke(id);
    this.#inside?.closed(session);
    this.#disk.safely(() => this.#protocols.closed(session));
    this.#soon();
    this.emit("change");
  }

  /** Acts on what happened, once for all that happens within a moment. */
  #soon(): void {
    this.#cancelGather ??= this.#parts.clock.after(GATHER, () => {
      this.#cancelGather = undefined;
      this.#disk.safely(() => this.#act());
    });
  }

  #act(): void {
    this.#remember();
    this.#keep();
    this.emit("change");
  }

  #keep(): void {
    this.#neighbourhood.keep({
      needed: this.#inside?.needed ?? [],
      remembered: this.#disk.state.remembered,
      thrifty: this.#disk.leases.length > 0,
    });
  }

  /** Keeps addresses on disk. */
  #remember(): void {
    this.#inside?.passOn();
    const remembered = this.#neighbourhood.toRemember(this.#disk.state.remembered);
    if (remembered) this.#disk.save({ remembered });
  }
}

const NOT_JOINED = "the cluster is not known yet: no join address has answered for one";
/** Ends of a session after which the other end may be gone. */
const BROKEN = new Set(["LOST", "SILENT"]);

const notJoined = (): never => {
  throw new WeftError("NOT_JOINED", NOT_JOINED, "wait until weft status shows a network");
};
