/**
 * The records that this node publishes beside its node record, each with a version of its own that is
 * on disk before it is sent.
 */
import { EventEmitter } from "node:events";
import { WeftError } from "../error.js";
import type { Identity } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import type { Clock } from "../time/clock.js";
import type { AttachedRecord } from "./attached-record.js";
import type { Members } from "./members.js";
import { lastVersion, REPUBLISH_AFTER, WRITE_RETRY_AFTER } from "./own-record.js";
import { isNodeRecord, MAX_VERSION, signBody } from "./record.js";
import type { RecordKind } from "./record-kind.js";

/** The fields of the disk that these records need. */
export interface OwnAttachedDisk {
  readonly cluster: { readonly versions: Readonly<Record<string, number>> };
  saveCluster(change: { readonly versions: Record<string, number> }): void;
  /** Runs `act`: a full disk must not end the node. */
  safely(act: () => void): void;
}

export interface OwnAttachedParts {
  readonly clock: Clock;
  readonly identity: Identity;
  readonly cluster: Cluster;
  readonly disk: OwnAttachedDisk;
  readonly members: Members;
}

export interface OwnAttachedEvents {
  /** It is to be sent out. */
  published: [record: AttachedRecord];
}

export class OwnAttached extends EventEmitter<OwnAttachedEvents> {
  readonly #parts: OwnAttachedParts;
  /** By kind, the body that others are to have. */
  readonly #bodies = new Map<string, string>();
  /** Kinds without room beside what another version of weft, or a copy, has published with this node's key. */
  readonly #crowdedOut = new Set<string>();
  #cancel: (() => void) | undefined;

  constructor(parts: OwnAttachedParts) {
    super();
    this.#parts = parts;
  }

  stop(): void {
    this.#cancel?.();
  }

  /** From now on the record of this kind says this. */
  set<Content>({ name }: RecordKind<Content>, content: Content): void {
    this.#bodies.set(name, JSON.stringify(content));
    this.publish();
  }

  /** Publishes each body that its record does not have: once there is a node record, as without it others take none. */
  publish(): void {
    const { identity, disk, members } = this.#parts;
    if (members.get(identity.id)?.withdrawn ?? true) return;
    disk.safely(() => {
      try {
        for (const [kind, body] of this.#bodies) this.#publish(kind, body);
      } catch (error) {
        this.#publishAfter(WRITE_RETRY_AFTER);
        throw error;
      }
    });
  }

  /** A newer record of this node came back: from before a backup was restored, or of a copy, which must not be raced. */
  onNewerOwnRecord(): void {
    this.#publishAfter(REPUBLISH_AFTER);
  }

  #publish(kind: string, body: string): void {
    const { identity, cluster, disk, members } = this.#parts;
    if (members.record([identity.id, kind])?.envelope.body === body) return;
    const version = this.#version(kind) + 1;
    if (version > MAX_VERSION) return;
    disk.saveCluster({ versions: { ...disk.cluster.versions, [kind]: version } });
    const record = members.merge(signBody(identity, cluster, { kind, version, body }));
    if (record instanceof WeftError) throw record;
    this.#crowdedOut.delete(kind);
    if (!record) this.#crowdedOut.add(kind);
    else if (!isNodeRecord(record)) this.emit("published", record);
  }

  /** The highest one that is known to be published, be it one that is refused. */
  #version(kind: string): number {
    const { identity, disk, members } = this.#parts;
    return Math.max(disk.cluster.versions[kind] ?? 0, members.knownVersion([identity.id, kind]));
  }

  /** Sentences about kinds of which others learn nothing new any more. */
  problems(): string[] {
    const exhausted = [...this.#bodies.keys()]
      .filter((kind) => this.#version(kind) >= MAX_VERSION)
      .map((kind) => lastVersion(`record of kind ${kind}`, this.#parts.identity));
    return [...exhausted, ...[...this.#crowdedOut].map(noRoom)];
  }

  #publishAfter(ms: number): void {
    this.#cancel?.();
    this.#cancel = this.#parts.clock.after(ms, () => this.publish());
  }
}

const noRoom = (kind: string): string =>
  `there is no room for this node's record of kind ${kind} beside those that another version of weft has published with its key: restart weft on this node, and they are gone`;
