/**
 * The control plane of one node. It listens, founds a cluster or joins one, and
 * keeps sessions; control-plane.ts has the parts that are made once the cluster is known, and
 * membership.ts what is read of them.
 * docs/mesh.md and docs/leases.md tell the rules.
 */
import { EventEmitter } from "node:events";
import { formatAddress, formatEndpoint, type Prefix, parseEndpoint } from "../address.js";
import type { ClusterDocument } from "../document-sync/replica.js";
import type { DocumentKind } from "../documents/document-kind.js";
import type { Seal, StoredDocument } from "../documents/sealed-document.js";
import { promised, WeftError } from "../error.js";
import type { RemoteTraceResult } from "../explain-sync/messages.js";
import type { Onward } from "../explain-sync/remote-trace.js";
import type { OwnEndpoints } from "../gossip/own-record.js";
import { PeerSelector } from "../gossip/peer-selector.js";
import { RENEW_EVERY } from "../gossip/record.js";
import { Identity, vtepMac } from "../identity/identity.js";
import { clusterOf, describeNetworks, type Genesis } from "../lease/genesis.js";
import type { Peer } from "../peer.js";
import { ConnectionManager } from "../session/connection-manager.js";
import { ProtocolRegistry } from "../session/protocol-registry.js";
import type { Session } from "../session/session.js";
import { hostPort } from "../session/transport.js";
import { Disk } from "../state/disk.js";
import type { ClusterState } from "../state/store.js";
import { clockProblem, every } from "../time/clock.js";
import { ControlPlane } from "./control-plane.js";
import { contradiction, genesisOf, twoClusters } from "./founding.js";
import { Introduction } from "./introduction.js";
import type { Departed, Member, Self, SpaceOf } from "./member.js";
import { Membership } from "./membership.js";
import type { MeshOptions, MeshParts } from "./options.js";
import { PROTOCOLS } from "./protocols.js";

/** How long a node waits for more of what happens before it acts on it, in milliseconds. */
export const UPDATE_DELAY = 50;
/** How often a node looks over its sessions, in milliseconds. */
export const MAINTENANCE_EVERY = 5_000;

const EPOCH_DIGITS = 8;

export interface MeshEvents {
  change: [];
  /** A member is declared dead from now on, or no more. */
  stateChanged: [id: string, isDead: boolean];
}

export class Mesh extends EventEmitter<MeshEvents> {
  readonly #parts: MeshParts;
  #options: MeshOptions;
  #identity!: Identity;
  #disk!: Disk;
  #connections!: ConnectionManager;
  #peerSelector!: PeerSelector;
  readonly #protocols = new ProtocolRegistry(PROTOCOLS);
  readonly #introduction = new Introduction({
    genesis: () => this.#membership?.cluster.genesis,
    learned: (session, genesis) => this.#learnCluster(session, genesis),
  });
  #endpoints: OwnEndpoints = { mesh: "", vtep: "" };
  /** Both are nothing until the cluster is known. */
  #plane: ControlPlane | undefined;
  #membership: Membership | undefined;
  /** The documents that the disk held at the start. */
  #storedDocuments: readonly StoredDocument[] = [];
  #cancelRenew: (() => void) | undefined;
  #cancelMaintenance: (() => void) | undefined;
  #cancelUpdate: (() => void) | undefined;
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
    const { clock, store, log, signatures } = this.#parts;
    const found = store.load();
    this.#storedDocuments = this.#kinds.flatMap(({ name }) => store.loadDocument(name) ?? []);
    const misfit = found?.cluster && contradiction(this.#options, found.cluster.genesis);
    if (misfit) throw misfit;
    const founds = !found?.cluster && this.#options.join.length === 0;
    this.#identity = found ? new Identity(found.seed, signatures) : Identity.generate(signatures);
    const genesis = founds ? genesisOf(this.#options, this.#identity.publicKey) : undefined;
    this.#disk = new Disk(store, log, found ?? { seed: this.#identity.seed, remembered: [] });
    this.#createParts();
    this.#setEndpoints(this.#options.vtep, await this.#connections.listen(this.#options.listen));

    try {
      this.#disk.save({}); // A directory that cannot be written must be known now.
      const { cluster } = this.#disk.state;
      if (cluster) this.#startMembership(cluster.genesis);
      else if (genesis) this.#adoptCluster(genesis, "founded a cluster", { isFounder: true });
    } catch (error) {
      await this.#stopParts();
      throw error;
    }
    this.#cancelRenew = every(clock, RENEW_EVERY, () =>
      this.#disk.safely(() => this.#plane?.parts.ownRecord.publish()),
    );
    this.#cancelMaintenance = every(clock, MAINTENANCE_EVERY, () => this.#updateTargets());
    this.#updateTargets();
  }

  /**
   * Takes up another underlay address without a restart: listens there, tells everyone, and opens
   * its sessions anew. `vtep` as in the options. Rejects with a WeftError when it cannot listen
   * there; then everything stays as it was.
   */
  async setEndpoint(vtep: string): Promise<void> {
    const { address } = parseEndpoint(vtep);
    const listen = { address: formatAddress(address), port: this.#options.listen.port };
    const port = await this.#connections.listen(listen);
    this.#options = { ...this.#options, vtep, listen };
    this.#setEndpoints(vtep, port);
    this.#plane?.moveTo(this.#endpoints);
    this.#connections.reconnectAll();
    this.emit("change");
  }

  /** Tells the neighbours that this node stops, and closes everything. The lease stays its own, unless it is to be given back: `release`. */
  async stop({ release = false } = {}): Promise<void> {
    await this.#plane?.leave({ release });
    this.#disk.safely(() => this.#saveAddresses()); // It may stop before it got to it.
    await this.#stopParts();
  }

  self(): Self {
    const { name, mac } = this.#options;
    const { id } = this.#identity;
    const expires = this.#membership?.expires;
    return {
      id,
      name,
      mac: mac ?? vtepMac(id),
      leases: this.#membership?.leases ?? [],
      network: this.#membership?.cluster.genesis.network.map(({ prefix }) => prefix) ?? [],
      ...(expires !== undefined && { expires }),
      documents: this.#membership?.documents ?? [],
    };
  }

  /** Everyone but this node. A member stays when its session breaks; only its state changes. */
  members(): Member[] {
    return this.#membership?.members() ?? [];
  }

  /** Nodes that are no members any more, and for which their leases are reserved. */
  departed(): Departed[] {
    return this.#membership?.departed() ?? [];
  }

  /** Leases that this node gave and no known record shows: kept for nodes that were not heard for long, or never. */
  unseen(): { readonly prefix: string; readonly owner: string }[] {
    return this.#membership?.unseen() ?? [];
  }

  /** For each of these prefixes the space of another node that it lies in, if that is so. */
  spacesAround(prefixes: readonly Prefix[]): (SpaceOf | undefined)[] {
    return this.#membership?.spacesAround(prefixes) ?? [];
  }

  /** The cluster's document of this kind, as far as this node knows. */
  document<Facts>(kind: DocumentKind<Facts>): ClusterDocument<Facts> | undefined {
    return this.#plane?.parts.documentSync.held(kind);
  }

  /** Whether this node knows the cluster's document of this kind, or that there is none. */
  knowsDocument(kind: DocumentKind): boolean {
    return this.#plane?.parts.documentSync.isKnown(kind) ?? false;
  }

  /**
   * Makes it the cluster's document of this kind.
   * @param options `resetVersion`: where there is no next version, it begins again
   * @throws WeftError when the kind refuses it, or this node has no lease; then nothing has changed
   */
  async applyDocument<Facts>(
    kind: DocumentKind<Facts>,
    text: string,
    { resetVersion = false } = {},
  ): Promise<ClusterDocument<Facts>> {
    const { documentSync } = (this.#plane ?? notJoined()).parts;
    return promised((done) => documentSync.apply(kind, text, resetVersion, done));
  }

  /** As `DocumentSync.enforces`. */
  enforces(kind: DocumentKind, seal: Seal | null | undefined, { isMisfit = false } = {}): void {
    this.#plane?.parts.documentSync.enforces(kind, seal, isMisfit);
  }

  /** Asks the nodes on the way of a packet what becomes of it there. It takes `TRACE_TIMEOUT` at most. */
  async trace(onward: Onward): Promise<RemoteTraceResult> {
    return (this.#plane ?? notJoined()).parts.remoteTrace.trace(onward);
  }

  /** Whether any other node was heard recently, or there is none to hear. */
  get isInContact(): boolean {
    const hasSession = () => this.#connections.sessions().length > 0;
    return this.#membership?.isInContact ?? (this.#options.join.length === 0 || hasSession());
  }

  /** Underlay endpoints of members; at most so many. */
  endpoints(most: number): string[] {
    return this.#membership?.endpoints(most) ?? [];
  }

  /** A member as the dataplane is to see it. */
  peer(id: string): Peer | undefined {
    return this.#membership?.peer(id);
  }

  /** Ids of the members of which `peer` may not say what it said when this was asked last. */
  takeChanged(): ReadonlySet<string> {
    return this.#plane?.parts.changes.take() ?? new Set();
  }

  /**
   * Takes back the subnets of a node that is gone for good, so that they can be
   * given again. `force`: the operator knows that it is gone, so there is no
   * need to wait until it must have stopped by itself.
   * @returns the subnets
   * @throws WeftError with what is in the way
   */
  forget(name: string, { force = false } = {}): string[] {
    return (this.#membership ?? notJoined()).forget(name, force);
  }

  /** Sentences about what is not as it should be. */
  problems(): string[] {
    const parts = this.#plane?.parts;
    const isMember = (id: string) => parts?.members.has(id) ?? false;
    const lack = parts ? parts.leasing.problem : NOT_JOINED;
    const { problem } = this.#disk;
    const time = clockProblem(this.#parts.clock.now());
    return [
      ...(lack === undefined ? [] : [lack]),
      ...this.#peerSelector.problems(isMember, parts !== undefined),
      ...(this.#membership?.problems() ?? []),
      ...(problem === undefined ? [] : [problem]),
      ...(time === undefined ? [] : [time]),
    ];
  }

  /** Sentences about what an operator may want to change though the node is healthy. */
  notes(): string[] {
    return this.#membership?.notes() ?? [];
  }

  /** Whether the last that was to be kept on disk could be written. */
  get isSaved(): boolean {
    return this.#disk.problem === undefined;
  }

  /** Writes again all that this node keeps on disk. A failure is a problem until it can be written. */
  save(): void {
    this.#disk.safely(() => {
      this.#plane?.parts.documentSync.save();
      this.#disk.save({});
    });
  }

  get #kinds(): readonly DocumentKind[] {
    return this.#parts.documents ?? [];
  }

  async #stopParts(): Promise<void> {
    this.#cancelRenew?.();
    this.#cancelMaintenance?.();
    this.#cancelUpdate?.();
    this.#protocols.stop();
    this.#plane?.stop();
    await this.#connections.stop();
  }

  // ---- becoming part of a cluster

  /** From now on this node belongs to this cluster, and its disk knows. */
  #adoptCluster(genesis: Genesis, how: string, { isFounder = false } = {}): void {
    const cluster: ClusterState = {
      genesis,
      journal: [],
      spaces: [],
      leases: [],
      revoked: [],
      revokedByOperator: [],
      heard: 0,
      versions: {},
      absentDocuments: isFounder ? this.#kinds.map(({ name }) => name) : [],
    };
    this.#disk.save({ cluster });
    this.#parts.log.info(`${how}: network ${describeNetworks(genesis)}`, {
      cluster: clusterOf(genesis).id,
    });
    this.#startMembership(genesis);
  }

  #startMembership(genesis: Genesis): void {
    const given = {
      ...this.#parts,
      identity: this.#identity,
      epoch: this.#instance.slice(0, EPOCH_DIGITS),
      cluster: clusterOf(genesis, this.#parts.signatures),
      disk: this.#disk,
      connections: this.#connections,
      peerSelector: this.#peerSelector,
      protocols: this.#protocols,
      storedDocuments: this.#storedDocuments,
      endpoints: this.#endpoints,
    };
    const plane = new ControlPlane(given, this.#options);
    plane.on("update", () => this.#scheduleUpdate());
    plane.on("change", () => this.emit("change"));
    plane.on("stateChanged", (id, isDead) => this.emit("stateChanged", id, isDead));
    this.#plane = plane;
    this.#membership = new Membership(plane, given);
    for (const session of this.#connections.sessions()) this.#introduction.opened(session);
    plane.start();
  }

  #learnCluster(session: Session, genesis: Genesis) {
    const [known, other] = [this.#membership?.cluster, clusterOf(genesis, this.#parts.signatures)];
    if (known?.id === other.id) return;
    if (known) return session.close(twoClusters(known, other));
    const misfit = contradiction(this.#options, genesis);
    if (misfit) return session.close(misfit);
    this.#adoptCluster(genesis, `joined the cluster through ${session.remote}`);
    this.emit("change");
  }

  // ---- sessions

  /** Makes the parts that meet others. */
  #createParts(): void {
    this.#protocols.start(this.#introduction, []);
    const connections = new ConnectionManager({
      ...this.#parts,
      identity: this.#identity,
      instance: this.#instance,
      protocols: this.#protocols,
    });
    connections.on("opened", (session) => this.#disk.safely(() => this.#opened(session)));
    connections.on("message", (session, message) =>
      this.#disk.safely(() => this.#protocols.received(session, message)),
    );
    connections.on("closed", (session, reason) => this.#closed(session, reason));
    connections.on("failed", () => this.#scheduleUpdate());
    this.#connections = connections;
    this.#peerSelector = new PeerSelector({
      connections: this.#connections,
      own: this.#identity.id,
      salt: this.#salt,
      joins: this.#options.join.map(({ host, port }) => hostPort(host, port)),
      sessions: this.#options.sessions,
    });
  }

  /** From now on others reach this node there. */
  #setEndpoints(vtep: string, port: number): void {
    const mesh = formatEndpoint({ address: parseEndpoint(vtep).address, port });
    this.#endpoints = { mesh, vtep };
  }

  #opened(session: Session): void {
    this.#protocols.opened(session);
    this.#peerSelector.recovered(session.peer.id);
    this.#scheduleUpdate();
    this.emit("change");
  }

  #closed(session: Session, reason: WeftError): void {
    const { id } = session.peer;
    const name = this.#plane?.parts.names.of(id) ?? session.remote;
    if (reason.code !== "NOT_NEEDED") this.#parts.log.info(`the session with ${name} ended`);
    if (LOST_CODES.has(reason.code)) this.#peerSelector.sessionBroke(id);
    this.#plane?.parts.contact.closed(session);
    this.#disk.safely(() => this.#protocols.closed(session));
    this.#scheduleUpdate();
    this.emit("change");
  }

  /** Acts on what happened, once for all that happens within a moment. */
  #scheduleUpdate(): void {
    this.#cancelUpdate ??= this.#parts.clock.after(UPDATE_DELAY, () => {
      this.#cancelUpdate = undefined;
      this.#disk.safely(() => this.#update());
    });
  }

  #update(): void {
    this.#saveAddresses();
    this.#updateTargets();
    this.emit("change");
  }

  #updateTargets(): void {
    this.#peerSelector.keep({
      needed: this.#plane?.needed ?? [],
      remembered: this.#disk.state.remembered,
      pruneIdle: this.#disk.leases.length > 0,
    });
  }

  /** Keeps addresses on disk. */
  #saveAddresses(): void {
    this.#plane?.parts.changes.apply();
    const remembered = this.#peerSelector.addressesToSave(this.#disk.state.remembered);
    if (remembered) this.#disk.save({ remembered });
  }
}

const NOT_JOINED = "the cluster is not known yet: no join address has answered for one";
/** Ends of a session after which the other end may be gone. */
const LOST_CODES = new Set(["LOST", "SILENT"]);

const notJoined = (): never => {
  throw new WeftError("NOT_JOINED", NOT_JOINED, "wait until weft status shows a network");
};
