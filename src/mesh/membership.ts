/**
 * This node as part of a cluster: the parts that keep its records, its leases,
 * the living and the ways to them, and what each tells the others. mesh.ts gets
 * it here, and keeps its sessions.
 */
import { type Address, type Prefix, parsePrefix } from "../address.js";
import { DocumentSync } from "../document-sync/document-sync.js";
import { type DocumentInForce, DocumentsInForce } from "../documents/in-force.js";
import type { StoredDocument } from "../documents/sealed-document.js";
import type { RemoteTraceResult } from "../explain-sync/messages.js";
import { type Onward, RemoteTrace } from "../explain-sync/remote-trace.js";
import { Contact } from "../failure-detector/contact.js";
import { FailureDetector } from "../failure-detector/failure-detector.js";
import { isDown } from "../failure-detector/is-down.js";
import { CopyDetector } from "../gossip/copy-detector.js";
import { Gossip } from "../gossip/gossip.js";
import type { ReadonlyMemberView, Tunnel } from "../gossip/member-view.js";
import { Members } from "../gossip/members.js";
import { type OwnEndpoints, OwnRecord, type PublishOptions } from "../gossip/own-record.js";
import type { PeerSelector } from "../gossip/peer-selector.js";
import { LEASE_TTL, MAX_LEASES, type NodeRecord, nameAndId } from "../gossip/record.js";
import { RecordVerifier } from "../gossip/record-verifier.js";
import { type Identity, nodeId } from "../identity/identity.js";
import { Allocator } from "../lease/allocator.js";
import { Fence } from "../lease/fence.js";
import type { Cluster } from "../lease/genesis.js";
import { subnetOf } from "../lease/grant.js";
import { Ledger } from "../lease/ledger.js";
import { Owners } from "../lease/owners.js";
import { Revoker } from "../lease/revoker.js";
import { FreeSpaceDirectory } from "../leasing/free-space-directory.js";
import type { NameHolder } from "../leasing/granter.js";
import { Leasing } from "../leasing/leasing.js";
import { Paths } from "../paths/paths.js";
import type { Peer } from "../peer.js";
import type { ConnectionManager } from "../session/connection-manager.js";
import type { Protocol } from "../session/protocol.js";
import type { ProtocolRegistry } from "../session/protocol-registry.js";
import type { Session } from "../session/session.js";
import type { Disk } from "../state/disk.js";
import type { ClusterState } from "../state/store.js";
import { clockNotes } from "./clock-notes.js";
import { Forgetting } from "./forgetting.js";
import { type Departed, expiry, type Member, MemberStates, type SpaceOf } from "./member.js";
import type { MeshOptions, MeshParts } from "./options.js";
import { RecordEvents } from "./record-events.js";

export interface MembershipParts extends Omit<MeshParts, "transport"> {
  readonly identity: Identity;
  /** The epoch of this run, as in this node's record. */
  readonly epoch: string;
  readonly cluster: Cluster;
  readonly disk: Disk;
  readonly connections: ConnectionManager;
  readonly peerSelector: PeerSelector;
  readonly protocols: ProtocolRegistry;
  /** The documents that the disk held at the start. */
  readonly storedDocuments: readonly StoredDocument[];
  ownEndpoints(): OwnEndpoints;
  /** This node's underlay. */
  address(): Address;
  /** Something happened that is acted on in a moment. */
  soon(): void;
  /** Something changed that can be seen from outside. */
  changed(): void;
  /** A member is declared dead from now on, or no more. */
  stateChanged(id: string, isDead: boolean): void;
}

export class Membership {
  readonly documentSync: DocumentSync;
  readonly #parts: MembershipParts;
  readonly #members: Members;
  /** Conditions on a member's underlay endpoints. */
  readonly #tunnel: () => Tunnel;
  readonly #gossip: Gossip;
  readonly #fence: Fence;
  readonly #leasing: Leasing;
  readonly #failureDetector: FailureDetector;
  readonly #remoteTrace: RemoteTrace;
  readonly #paths: Paths | undefined;
  readonly #contact: Contact;
  readonly #inForce: DocumentsInForce;
  readonly #memberStates: MemberStates;
  readonly #ownRecord: OwnRecord;
  readonly #copies: CopyDetector;
  readonly #forgetting: Forgetting;
  readonly #recordEvents: RecordEvents;

  constructor(parts: MembershipParts, options: MeshOptions) {
    const { clock, log, store, datapath, identity, epoch, cluster, disk, connections } = parts;
    const own = identity.id;
    const sessions = () => connections.sessions();
    const networks = cluster.genesis.network.map(({ prefix }) => prefix);
    const wanted = Math.min(options.leases ?? 1, Math.floor(MAX_LEASES / networks.length));
    this.#parts = parts;

    const verifier = parts.verifier?.(cluster) ?? new RecordVerifier(cluster);
    this.#tunnel = () => ({
      vni: options.vni,
      underlay: { address: parts.address(), networks: networks.map(parsePrefix) },
    });
    const members = new Members(verifier, this.#tunnel(), own);
    this.#members = members;
    this.#gossip = new Gossip({
      clock,
      log,
      members,
      sessions,
      onRecords: (records) => {
        this.#recordEvents.onRecords(records);
        parts.soon();
      },
      isSuspect: (id) => this.#failureDetector.isSuspected(id),
      onExpired: () => {
        this.#failureDetector.onExpiry();
        parts.soon();
      },
    });
    this.#failureDetector = new FailureDetector({
      clock,
      own,
      members,
      sessions,
      lastHeard: (id) => latest(this.#recordEvents.learnedAt(id), this.#paths?.heardAt(id)),
      refute: () => disk.safely(() => this.publish({ isRefutation: true })),
      announce: (session, ids) => this.#gossip.announceHeld(session, ids),
      want: (session, versions) => this.#gossip.wantMissing(session, versions),
      stateChanged: (id, isDead) => this.#onStateChanged(id, isDead),
    });

    const ledger = new Ledger({
      identity,
      cluster,
      leasesPerNetwork: wanted,
      read: () => disk.cluster,
      write: (change) => disk.saveCluster(change as Partial<ClusterState>),
      claims: () => members.proofs(),
    });
    const reserved = options.reserved ?? [];
    const fence = new Fence({
      clock,
      heard: () => disk.cluster.heard,
      save: (heard) => disk.safely(() => disk.saveCluster({ heard })),
      isNeeded: () => ledger.givers.size > 0,
      sessions,
      isMember: (id) => this.isMember(id),
      closed: () => this.#fenced(),
    });
    this.#fence = fence;
    const isThere = (record: NodeRecord) => !isDown({ state: this.#memberStates.stateOf(record) });
    this.#leasing = new Leasing(
      {
        clock,
        log,
        identity,
        cluster,
        ledger,
        allocator: new Allocator({ ledger, reserved, now: () => clock.now() }),
        revoker: new Revoker(ledger),
        fence,
        directory: new FreeSpaceDirectory({ clock, members, own, networks, isReachable: isThere }),
        sessions,
        nameHolder: (name) => this.#bearer(name, options.name),
        member: (id) => members.get(id),
        held: () => disk.leases,
        isOutranked: (subnet) => (this.#view.holder(subnet)?.id ?? own) !== own,
        publish: () => this.publish(),
        changed: () => parts.soon(),
        safely: (act) => disk.safely(act),
      },
      { name: options.name, leasesPerNetwork: wanted, restarted: disk.knowsOthers },
    );
    this.#inForce = new DocumentsInForce({
      clock,
      members: () => members.view.members.size,
      publish: () => disk.safely(() => this.publish()),
    });
    this.#contact = new Contact({
      clock,
      sessions,
      isMember: (id) => this.isMember(id),
      hasOthers: () => this.#hasOthers(ledger.knowsOthers),
    });
    this.#ownRecord = new OwnRecord({
      clock,
      log,
      identity,
      epoch,
      cluster,
      disk,
      members,
      fence,
      options,
      ownEndpoints: parts.ownEndpoints,
      free: () => this.#leasing.freeForRecord(),
      documents: () => this.#inForce.forRecord(),
      carriesEcn: parts.datapath?.carriesEcn ?? false,
      onPublished: (record, isUrgent) => this.#onOwnRecord(record, isUrgent),
    });
    this.#copies = new CopyDetector(clock);
    this.#forgetting = new Forgetting({
      clock,
      log,
      own,
      members,
      connections,
      failureDetector: this.#failureDetector,
      leasing: this.#leasing,
      learnedAt: (id) => this.#recordEvents.learnedAt(id),
      publish: () => this.publish(),
    });

    this.#paths =
      datapath &&
      new Paths({
        clock,
        datapath,
        identity,
        cluster,
        epoch,
        isKnown: () => members.get(own) !== undefined,
        isDead: (id) => this.#failureDetector.isDead(id),
        isAlone: () => this.#contact.isLost,
        sessions,
        changed: (id) => {
          this.#recordEvents.pathChanged(id);
          parts.soon();
        },
        recovered: (id) => connections.resetBackoff(members.get(id)?.mesh ?? ""),
      });
    this.#recordEvents = new RecordEvents({
      clock,
      log,
      own,
      members,
      connections,
      peerSelector: parts.peerSelector,
      copyDetector: this.#copies,
      ownRecord: this.#ownRecord,
      failureDetector: this.#failureDetector,
      leasing: this.#leasing,
      paths: this.#paths,
    });
    this.#memberStates = new MemberStates({
      clock,
      own,
      connections,
      members,
      failureDetector: this.#failureDetector,
      paths: this.#paths,
      contact: this.#contact,
      leftAt: (id) => this.#recordEvents.leftAt(id),
    });
    this.documentSync = new DocumentSync(
      {
        clock,
        log,
        identity,
        cluster,
        store,
        disk,
        inForce: this.#inForce,
        proof: () => (fence.isClosed ? undefined : disk.leases[0]),
        sessions,
        isMember: (id) => this.isMember(id),
        nameOf: (id) => this.nameOf(id),
        others: () => this.#othersAlive(),
      },
      parts.documents ?? [],
      parts.storedDocuments,
    );
    this.documentSync.on("changed", parts.changed);
    this.#remoteTrace = new RemoteTrace({
      clock,
      own: options.name,
      explain: parts.explain,
      session: (id) => connections.sessionWith(id),
      nameOf: (id) => this.#view.members.get(id)?.name,
      member: (name) => this.#memberNamed(name),
      nextHop: (to) => this.#nextHopTo(to),
      failure: (id) => connections.failure(members.get(id)?.mesh ?? ""),
      changed: parts.soon,
    });
  }

  start(): void {
    const { protocols, connections } = this.#parts;
    this.#fence.start();
    this.publish();
    for (const protocol of this.#protocols) protocols.start(protocol, connections.sessions());
  }

  /** Leasing writes to disk when a session closes, and comes last: a full disk keeps no other from its turn. */
  get #protocols(): Protocol[] {
    const paths = this.#paths ? [this.#paths] : [];
    return [
      this.#gossip,
      this.#failureDetector,
      this.documentSync,
      ...paths,
      this.#remoteTrace,
      this.#leasing,
    ];
  }

  stop(): void {
    this.#fence.stop();
    this.#ownRecord.stop();
    this.#inForce.stop();
  }

  // ---- what is seen of it

  get cluster(): Cluster {
    return this.#parts.cluster;
  }

  /** The leases this node may use. */
  get leases(): string[] {
    const { disk, identity } = this.#parts;
    if (this.#fence.isClosed) return [];
    return disk.leases
      .map(subnetOf)
      .filter((subnet) => this.#view.holder(subnet)?.id === identity.id);
  }

  /** When they expire, in milliseconds since the epoch; nothing until this node has published. */
  get expires(): number | undefined {
    const own = this.#members.get(this.#parts.identity.id);
    return own && expiry(own);
  }

  /** Everyone but this node. */
  members(): Member[] {
    return this.#memberStates.members();
  }

  departed(): Departed[] {
    return this.#memberStates.departed();
  }

  /** Leases that this node gave and no known record shows, and for which node each is kept, by its name if that is known. */
  unseen(): { readonly prefix: string; readonly owner: string }[] {
    return this.#leasing.unseen
      .flatMap((proof) => proof.at(-1) ?? [])
      .map(({ prefix, to }) => ({ prefix, owner: this.#nameOrId(nodeId(to)) }));
  }

  /** Whether any other node was heard of late, or none is known. */
  get isInContact(): boolean {
    return !this.#contact.isLost || (this.#paths?.hasRecentAnswer ?? false);
  }

  /** Where packets for other members go; at most so many. */
  endpoints(most: number): string[] {
    const endpoints: string[] = [];
    for (const id of this.#view.members.keys()) {
      if (endpoints.length === most) break;
      const endpoint = this.peer(id)?.endpoint;
      if (endpoint !== undefined) endpoints.push(endpoint);
    }
    return endpoints;
  }

  /** For each of these prefixes the space of another node that it lies in, if that is so. */
  spacesAround(prefixes: readonly Prefix[]): (SpaceOf | undefined)[] {
    const { identity, cluster } = this.#parts;
    const owners = new Owners(cluster.genesis, this.#members.proofs());
    return prefixes.map((one) => {
      const space = owners.around(one);
      if (!space || space.owner === identity.publicKey) return undefined;
      return { prefix: space.prefix, owner: this.#nameOrId(nodeId(space.owner)) };
    });
  }

  isMember(id: string): boolean {
    return this.#members.get(id) !== undefined;
  }

  /** A member as the dataplane is to see it. */
  peer(id: string): Peer | undefined {
    const record = id === this.#parts.identity.id ? undefined : this.#view.members.get(id);
    if (!record) return undefined;
    const { name, vtep, mac, leases, ecn = false } = record;
    const course = this.#paths?.status(id);
    return {
      name,
      endpoint: course?.endpoint ?? vtep,
      mac: course?.mac ?? mac,
      ecn: course?.ecn ?? ecn,
      leases: leases.map(subnetOf),
      senders: course?.senders ?? [vtep],
      noPath: course?.noPath ?? false,
      ...(course && { mtu: course.mtu }),
    };
  }

  /** Ids of the members of which `peer` may not say what it said when this was asked last. */
  takeChanged(): ReadonlySet<string> {
    return this.#recordEvents.takeChanged();
  }

  /** Why this node lacks a lease. */
  get leaseProblem(): string | undefined {
    return this.#leasing.problem;
  }

  /** Sentences about what else is not as it should be. */
  problems(): string[] {
    return [
      ...this.#view.problems(),
      ...this.#memberStates.problems(),
      ...this.#leasing.grantProblems(),
      ...this.#ownRecord.problems(),
      ...this.#copies.problems((id) => (this.isMember(id) ? this.#nameOrId(id) : undefined)),
      ...this.documentSync.problems(),
    ];
  }

  /** Sentences about what an operator may want to change though all works. */
  notes(): string[] {
    const { clock, connections } = this.#parts;
    const members = connections.sessions().flatMap(({ peer, isResponsive, aheadMs }) => {
      const name = this.#view.members.get(peer.id)?.name;
      return name === undefined || !isResponsive || aheadMs === undefined
        ? []
        : [{ name, aheadMs }];
    });
    return clockNotes(members, clock.now());
  }

  // ---- what it is asked to do

  /** Says who this node is, once it has a lease that it may use. */
  publish(occasion?: PublishOptions): void {
    this.#ownRecord.publish(occasion);
  }

  /** This node is elsewhere now. Its neighbours hear that it lives before its sessions stand again. */
  relocated(): void {
    const { disk, connections } = this.#parts;
    this.#members.setTunnel(this.#tunnel());
    disk.safely(() => this.publish());
    for (const { peer } of connections.sessions()) this.#paths?.probeNow(peer.id);
  }

  /** The cluster documents that this node has in force. */
  get documents(): readonly DocumentInForce[] {
    return this.#inForce.documents;
  }

  trace(onward: Onward): Promise<RemoteTraceResult> {
    return this.#remoteTrace.trace(onward);
  }

  /** Says farewell; gives the leases back, if they are to be and their givers can be told. */
  async leave({ release }: { readonly release: boolean }): Promise<void> {
    const { disk } = this.#parts;
    if (release) await this.#leasing.lookForGivers();
    disk.safely(() => this.publish({ withdrawn: true }));
    if (release) disk.safely(() => this.#leasing.release());
  }

  /** As `Mesh.forget`. */
  forget(name: string, force: boolean): string[] {
    return this.#forgetting.forget(name, force);
  }

  // ---- sessions

  closed(session: Session): void {
    this.#contact.closed(session);
  }

  /** A session is quiet. */
  quiet(session: Session): void {
    this.#paths?.probeNow(session.peer.id);
    this.#failureDetector.quiet(session);
  }

  /** A member whose session broke is dialled. */
  dialling(id: string): void {
    this.#paths?.probeNow(id);
  }

  /** It did not answer. */
  unanswered(id: string, dialledAt: number): void {
    this.#failureDetector.unresponsive(id, dialledAt);
  }

  /** Ids of nodes with which there must be a session, if there can be one. */
  get needed(): string[] {
    return [
      ...this.#leasing.dialTargets,
      ...(this.#paths?.needed() ?? []),
      ...this.#remoteTrace.needed,
    ];
  }

  /** A member by its name, which is unique; any other node with its id, since it may choose any name. */
  nameOf(id: string): string | undefined {
    const record = this.#members.get(id);
    return this.#view.members.get(id)?.name ?? (record && nameAndId(record));
  }

  /** Passes on who came, changed or went. */
  passOn(): void {
    this.#recordEvents.emitChanges();
  }

  // ---- what the parts tell each other

  #onOwnRecord(record: NodeRecord, isUrgent: boolean): void {
    this.#gossip.publish(record, isUrgent);
    this.#fence.published();
    this.#recordEvents.onPublished(record);
    this.#parts.soon();
    this.#parts.changed();
  }

  #onStateChanged(id: string, isDead: boolean): void {
    const name = this.nameOf(id) ?? id;
    this.#parts.log.info(isDead ? `${name} is declared dead` : `${name} lives`);
    if (isDead) this.#members.lapse(id);
    this.#paths?.stateChanged(id);
    this.#parts.stateChanged(id, isDead);
  }

  /** This node was cut off for so long that its lease may be another's by now. */
  #fenced(): void {
    this.#parts.log.error("cut off for longer than the lease lasts: it is not used any more");
    this.#leasing.acquire();
    this.#parts.changed();
  }

  /** The node that has this name. */
  #bearer(name: string, own: string): NameHolder | undefined {
    const found = this.#view.nameHolder(name);
    if (!found || this.#memberStates.age(found.id) > LEASE_TTL) {
      return name === own ? { id: this.#parts.identity.id } : undefined;
    }
    const gift = found.leases[0]!.findLast(({ from, to }) => from !== to && to === found.owner);
    return { id: found.id, ...(gift && { giver: this.#shortNameOf(gift.from) }) };
  }

  #memberNamed(name: string): NodeRecord | undefined {
    const id = this.#view.nameHolder(name)?.id;
    return id === undefined ? undefined : this.#view.members.get(id);
  }

  /** The member to which packets for the member of this name are handed. */
  #nextHopTo(name: string): NodeRecord | undefined {
    const target = this.#memberNamed(name);
    return target && this.#view.members.get(this.#paths?.nextHopTo(target.id) ?? target.id);
  }

  /** The name that a node chose, unless another one has it; then its id, which it cannot choose. */
  #nameOrId(id: string): string {
    const name = (this.#members.get(id) ?? this.#members.dropped(id))?.name;
    const bearer = name === undefined ? undefined : this.#view.nameHolder(name);
    return name === undefined || (bearer && bearer.id !== id) ? id : name;
  }

  /** A member by its name, any other node by its id alone: together they are too long for a refusal. */
  #shortNameOf(publicKey: string): string {
    const id = nodeId(publicKey);
    return this.#view.members.get(id)?.name ?? id;
  }

  /** @param byDisk whether the disk knows of others, which counts until the first record comes in this run */
  #hasOthers(byDisk: boolean): boolean {
    const own = this.#parts.identity.id;
    if (this.#members.size <= Number(this.isMember(own))) return byDisk;
    return this.#view.members.size > Number(this.#view.members.has(own));
  }

  #othersAlive(): number {
    const { id: own } = this.#parts.identity;
    const isAlive = (id: string) => id !== own && !this.#failureDetector.isDead(id);
    return [...this.#view.members.keys()].filter(isAlive).length;
  }

  get #view(): ReadonlyMemberView {
    return this.#members.view;
  }
}

const latest = (...times: (number | undefined)[]): number =>
  Math.max(...times.map((time) => time ?? Number.NEGATIVE_INFINITY));
