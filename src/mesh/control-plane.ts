/**
 * The control plane of a node that belongs to a cluster: its parts, from the bottom up, and what
 * each tells the others. A part is handed the parts below it and calls them; to those above it
 * tells events, all of which are subscribed here.
 *
 *   part              is handed                                tells
 *   connections       (by Mesh)                                quiet, dialling, unanswered
 *   members, names    verifier                                 (changedIds, through changes)
 *   gossip            members                                  records, attached, expired
 *   ledger            members, disk
 *   fence             members, ledger                          closed
 *   ownRecord         members, fence, leasing                  published
 *   ownAttached       members                                  published
 *   inForce           members, ownAttached
 *   failureDetector   members, gossip, ownRecord, paths        stateChanged
 *   reachability      members, failureDetector
 *   contact           members, ledger
 *   paths             members, failureDetector, contact        changed
 *   leasing           ledger, fence, ownRecord, reachability   changed
 *   documentSync      names, failureDetector, fence, inForce   changed
 *   remoteTrace       names, paths                             changed
 *   changes           members, paths                           (taken for the tables)
 *
 * Two are handed what is above them, as a source to ask: ownRecord what it is to say, and the failure
 * detector what else hears members.
 */
import { EventEmitter } from "node:events";
import { parseEndpoint, parsePrefix } from "../address.js";
import { DocumentSync } from "../document-sync/document-sync.js";
import { DocumentsInForce } from "../documents/in-force.js";
import type { StoredDocument } from "../documents/sealed-document.js";
import { RemoteTrace } from "../explain-sync/remote-trace.js";
import { Contact } from "../failure-detector/contact.js";
import { FailureDetector } from "../failure-detector/failure-detector.js";
import { Reachability } from "../failure-detector/reachability.js";
import type { AttachedRecord } from "../gossip/attached-record.js";
import { CopyDetector } from "../gossip/copy-detector.js";
import { Gossip } from "../gossip/gossip.js";
import type { Tunnel } from "../gossip/member-view.js";
import { Members } from "../gossip/members.js";
import { Names } from "../gossip/names.js";
import { OwnAttached } from "../gossip/own-attached.js";
import { type OwnEndpoints, OwnRecord } from "../gossip/own-record.js";
import type { PeerSelector } from "../gossip/peer-selector.js";
import { MAX_LEASES, type NodeRecord } from "../gossip/record.js";
import { RecordVerifier } from "../gossip/record-verifier.js";
import type { Identity } from "../identity/identity.js";
import { Fence } from "../lease/fence.js";
import type { Cluster } from "../lease/genesis.js";
import { Ledger } from "../lease/ledger.js";
import { Leasing } from "../leasing/leasing.js";
import { Paths } from "../paths/paths.js";
import type { ConnectionManager } from "../session/connection-manager.js";
import type { ProtocolRegistry } from "../session/protocol-registry.js";
import type { Disk } from "../state/disk.js";
import { MemberChanges } from "./member-changes.js";
import type { MeshOptions, MeshParts } from "./options.js";
import { RECORD_KINDS } from "./record-kinds.js";

export interface ControlPlaneParts extends Omit<MeshParts, "transport"> {
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
  /** Where others reach this node at the start. */
  readonly endpoints: OwnEndpoints;
}

export interface ControlPlaneEvents {
  /** Something happened that is acted on in a moment. */
  update: [];
  /** Something changed that can be seen from outside. */
  change: [];
  /** A member is declared dead from now on, or no more. */
  stateChanged: [id: string, isDead: boolean];
}

/** Makes the parts. */
function wired(given: ControlPlaneParts, options: MeshOptions) {
  const { clock, datapath, identity, cluster, disk, documents = [], storedDocuments } = given;
  const base = { ...given, own: identity.id };

  const verifier = given.verifier?.(cluster) ?? new RecordVerifier(cluster, RECORD_KINDS);
  const members = new Members(verifier, tunnelOf(given, options, given.endpoints), identity.id);
  const names = new Names(members);
  const copyDetector = new CopyDetector(clock);
  const gossip = new Gossip({ ...base, members });

  const leasesPerNetwork = leasesIn(cluster, options);
  const ledger = new Ledger({ ...base, members, leasesPerNetwork });
  const fence = new Fence({ ...base, members, ledger });
  const ownRecord = new OwnRecord({
    ...base,
    members,
    fence,
    options,
    carriesEcn: datapath?.carriesEcn ?? false,
  });
  const ownAttached = new OwnAttached({ ...base, members });
  const inForce = new DocumentsInForce({ ...base, members, ownAttached });

  const failureDetector = new FailureDetector({ ...base, members, gossip, ownRecord });
  const reachability = new Reachability({ ...base, members, failureDetector });
  const contact = new Contact({ ...base, members, ledger });
  const paths = datapath && new Paths({ ...base, datapath, members, failureDetector, contact });
  if (paths) failureDetector.addWitness(paths);

  const leasing = new Leasing(
    { ...base, members, names, ledger, fence, ownRecord, reachability },
    {
      name: options.name,
      leasesPerNetwork,
      reserved: options.reserved ?? [],
      restarted: disk.knowsOthers,
    },
  );
  ownRecord.contribute(leasing);
  const documentSync = new DocumentSync(
    { ...base, members, names, failureDetector, fence, inForce },
    documents,
    storedDocuments,
  );
  const { name } = options;
  const explain = given.explain;
  const remoteTrace = new RemoteTrace({ ...base, explain, name, members, names, paths });
  const changes = new MemberChanges({ ...base, members, paths });
  return {
    members,
    names,
    copyDetector,
    gossip,
    ledger,
    fence,
    inForce,
    ownRecord,
    ownAttached,
    failureDetector,
    reachability,
    contact,
    paths,
    leasing,
    documentSync,
    remoteTrace,
    changes,
  };
}

export class ControlPlane extends EventEmitter<ControlPlaneEvents> {
  readonly parts: ReturnType<typeof wired>;
  readonly #given: ControlPlaneParts;
  readonly #options: MeshOptions;

  constructor(given: ControlPlaneParts, options: MeshOptions) {
    super();
    this.#given = given;
    this.#options = options;
    this.parts = wired(given, options);
    this.#subscribe();
  }

  #subscribe(): void {
    const { gossip, failureDetector, fence, ownRecord, ownAttached, leasing } = this.parts;
    const { documentSync, paths, remoteTrace, changes } = this.parts;
    const { connections, peerSelector } = this.#given;
    const update = () => void this.emit("update");
    const change = () => void this.emit("change");
    connections.on("quiet", (session) => {
      paths?.probeNow(session.peer.id);
      failureDetector.quiet(session);
    });
    // A member whose session broke.
    connections.on("dialling", (id) => peerSelector.isBroken(id) && paths?.probeNow(id));
    connections.on("unanswered", (id, dialledAt) => {
      if (peerSelector.isBroken(id)) failureDetector.unresponsive(id, dialledAt);
    });
    gossip.on("records", (records) => this.#onRecords(records));
    gossip.on("attached", (records) => this.#onAttached(records));
    gossip.on("expired", () => failureDetector.onExpiry());
    gossip.on("expired", update);
    ownRecord.on("published", (record, isUrgent) => this.#onPublished(record, isUrgent));
    ownAttached.on("published", (record) => gossip.publish(record, record.isUrgent));
    failureDetector.on("stateChanged", (id, isDead) => this.#onStateChanged(id, isDead));
    fence.on("closed", () => this.#onFenceClosed());
    paths?.on("changed", (id) => changes.pathChanged(id));
    paths?.on("changed", update);
    leasing.on("changed", update);
    remoteTrace.on("changed", update);
    documentSync.on("changed", change);
  }

  /** Other nodes said something new of themselves; or this one did, before it lost its memory. */
  #onRecords(records: readonly NodeRecord[]): void {
    const { clock, identity, connections, peerSelector } = this.#given;
    const { members, copyDetector, ownRecord, failureDetector, leasing } = this.parts;
    const others = records.filter(({ id }) => id !== identity.id);
    for (const record of records) if (!others.includes(record)) ownRecord.onNewerOwnRecord(record);
    for (const record of others) {
      copyDetector.onRecord(record);
      peerSelector.recovered(record.id);
      failureDetector.onRecord(record);
      connections.resetBackoff(record.mesh);
    }
    members.dropRevoked(others, clock.elapsed());
    leasing.onRecords(others);
    this.emit("update");
  }

  /** Attached records came, of other nodes; or of this one, from before it lost its memory. */
  #onAttached(records: readonly AttachedRecord[]): void {
    const { id: own } = this.#given.identity;
    if (records.some(({ id }) => id === own)) this.parts.ownAttached.onNewerOwnRecord();
    this.emit("update");
  }

  #onPublished(record: NodeRecord, isUrgent: boolean): void {
    const { members, gossip, fence, leasing, ownAttached } = this.parts;
    gossip.publish(record, isUrgent);
    ownAttached.publish();
    fence.published();
    members.dropRevoked([record], this.#given.clock.elapsed());
    leasing.onRecords([record]);
    this.emit("update");
    this.emit("change");
  }

  #onStateChanged(id: string, isDead: boolean): void {
    const { members, names, paths } = this.parts;
    const name = names.of(id) ?? id;
    this.#given.log.info(isDead ? `${name} is declared dead` : `${name} lives`);
    if (isDead) members.lapse(id);
    paths?.stateChanged(id);
    this.emit("stateChanged", id, isDead);
    this.emit("change");
  }

  /** This node was cut off for so long that its lease may be another's by now. */
  #onFenceClosed(): void {
    this.#given.log.error("cut off for longer than the lease lasts: it is not used any more");
    this.parts.leasing.acquire();
    this.emit("change");
  }

  // ---- its course

  start(): void {
    const { protocols, connections } = this.#given;
    const { fence, ownRecord, gossip, failureDetector, documentSync, paths } = this.parts;
    const { remoteTrace, leasing } = this.parts;
    fence.start();
    ownRecord.publish();
    // Leasing writes to disk when a session closes, and comes last: a full disk keeps no other from its turn.
    const all = [
      gossip,
      failureDetector,
      documentSync,
      ...(paths ? [paths] : []),
      remoteTrace,
      leasing,
    ];
    for (const protocol of all) protocols.start(protocol, connections.sessions());
  }

  stop(): void {
    const { fence, ownRecord, ownAttached, inForce } = this.parts;
    fence.stop();
    ownRecord.stop();
    ownAttached.stop();
    inForce.stop();
  }

  /** Tells the neighbours that this node leaves; with `release` it returns the leases to their granters, if they can be reached. */
  async leave({ release }: { readonly release: boolean }): Promise<void> {
    const { ownRecord, leasing } = this.parts;
    const { disk } = this.#given;
    if (release) await leasing.openGranterSessions();
    disk.safely(() => ownRecord.publish({ withdrawn: true }));
    if (release) disk.safely(() => leasing.release());
  }

  /** This node is elsewhere now. Its neighbours hear that it lives before its sessions stand again. */
  moveTo(endpoints: OwnEndpoints): void {
    const { members, ownRecord, paths } = this.parts;
    const { disk, connections } = this.#given;
    members.setTunnel(tunnelOf(this.#given, this.#options, endpoints));
    ownRecord.moveTo(endpoints);
    disk.safely(() => ownRecord.publish());
    for (const { peer } of connections.sessions()) paths?.probeNow(peer.id);
  }

  /** Ids of nodes with which there must be a session, if there can be one. */
  get needed(): string[] {
    const { leasing, paths, remoteTrace } = this.parts;
    return [...leasing.dialTargets, ...(paths?.needed() ?? []), ...remoteTrace.needed];
  }
}

/** Conditions on a member's underlay endpoints. */
const tunnelOf = (
  { cluster }: ControlPlaneParts,
  { vni }: MeshOptions,
  { vtep }: OwnEndpoints,
): Tunnel => ({
  vni,
  underlay: {
    address: parseEndpoint(vtep).address,
    networks: cluster.genesis.network.map(({ prefix }) => parsePrefix(prefix)),
  },
});

/** Leases that this node is to hold in each network. */
const leasesIn = ({ genesis }: Cluster, { leases = 1 }: MeshOptions): number =>
  Math.min(leases, Math.floor(MAX_LEASES / genesis.network.length));
