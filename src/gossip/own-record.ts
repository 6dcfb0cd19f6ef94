/** This node's own record. Each publication has a higher version, which is on disk before it is sent. */

import { EventEmitter } from "node:events";
import { WeftError } from "../error.js";
import { type Identity, vtepMac } from "../identity/identity.js";
import { fitting } from "../lease/bundle.js";
import type { Fence } from "../lease/fence.js";
import type { Cluster } from "../lease/genesis.js";
import { grantHash, MAX_REVOKED_IN_RECORD, type Proof } from "../lease/grant.js";
import type { Log } from "../log.js";
import type { Clock } from "../time/clock.js";
import type { Members } from "./members.js";
import {
  isNodeRecord,
  isRenewal,
  MAX_VERSION,
  type NodeRecord,
  type RecordContent,
  signRecord,
} from "./record.js";
import { NODE } from "./record-kind.js";

/** How long a node waits before it answers a newer record of its own, in milliseconds. */
export const REPUBLISH_AFTER = 5_000;
/** How long a copy of this node is reported after it was last heard, in milliseconds. */
export const OWN_COPY_REPORTED_FOR = 60_000;
/** How long a node waits before it tries again to publish what it could not write to disk, in milliseconds. */
export const WRITE_RETRY_AFTER = 10_000;

/** Where others reach this node. */
export interface OwnEndpoints {
  /** Its mesh, like `192.0.2.1:6783`. */
  readonly mesh: string;
  /** Where peers send VXLAN, like `192.0.2.1:4789`. */
  readonly vtep: string;
}

/** The fields of the disk that the node record needs. */
export interface OwnRecordDisk {
  readonly leases: readonly Proof[];
  readonly cluster: {
    /** By kind, that of the record that was published last. */
    readonly versions: Readonly<Record<string, number>>;
    /** Signatures of revoked grants below this node, and of those that an operator had revoked. */
    readonly revoked: readonly string[];
    readonly revokedByOperator: readonly string[];
  };
  saveCluster(change: { readonly versions: Record<string, number> }): void;
  /** Runs the action of a timer: a full disk must not end the node. */
  safely(act: () => void): void;
}

export interface OwnRecordParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly identity: Identity;
  readonly cluster: Cluster;
  /** The epoch of this run. */
  readonly epoch: string;
  readonly disk: OwnRecordDisk;
  readonly members: Members;
  readonly fence: Fence;
  readonly options: {
    readonly name: string;
    readonly vni: number;
    /** The VTEP MAC; without it, one is derived from the identity. */
    readonly mac?: string | undefined;
  };
  /** At the start. */
  readonly endpoints: OwnEndpoints;
  readonly carriesEcn: boolean;
}

export interface OwnRecordEvents {
  /** The record is to be sent. `isUrgent`: it is pushed to neighbours in full. */
  published: [record: NodeRecord, isUrgent: boolean];
}

/** A part of this node that adds fields to its record. */
export interface RecordContributor {
  forRecord(): Partial<RecordContent>;
}

export interface PublishOptions {
  /** This node stops. */
  readonly withdrawn?: boolean;
  /** Others suspect this node, and the record is the answer. */
  readonly isRefutation?: boolean;
}

export class OwnRecord extends EventEmitter<OwnRecordEvents> {
  readonly #parts: OwnRecordParts;
  readonly #contributors: RecordContributor[] = [];
  #endpoints: OwnEndpoints;
  #cancelRepublish: (() => void) | undefined;
  #cancelRetry: (() => void) | undefined;
  /** Others suspect this node, and it could not write its refutation yet. */
  #owesRefutation = false;
  #copy: { readonly mesh: string; readonly heard: number } | undefined;

  constructor(parts: OwnRecordParts) {
    super();
    this.#parts = parts;
    this.#endpoints = parts.endpoints;
  }

  stop(): void {
    this.#cancelRepublish?.();
    this.#cancelRetry?.();
  }

  /** Adds a part whose fields the record has from the next publication on. */
  contribute(part: RecordContributor): void {
    this.#contributors.push(part);
  }

  /** Sets where others reach this node; `publish` tells them. */
  moveTo(endpoints: OwnEndpoints): void {
    this.#endpoints = endpoints;
  }

  /** Publishes a newer record because others suspect this node. */
  refute(): void {
    this.#parts.disk.safely(() => this.publish({ isRefutation: true }));
  }

  /**
   * Publishes this node's record, once the node has a lease that it may use. If the version cannot be
   * written, nothing is published, and it is tried again until it can. After the last version nothing
   * is published.
   */
  publish({ withdrawn = false, isRefutation = false }: PublishOptions = {}): void {
    const { identity, cluster, disk, members, fence } = this.#parts;
    if (disk.leases.length === 0 || fence.isClosed || this.#isLastVersion) return;
    const content = this.#content(withdrawn);
    const before = members.get(identity.id);
    const version = this.#version + 1;
    this.#owesRefutation ||= isRefutation;
    try {
      this.#saveVersion(version);
    } catch (error) {
      this.#retryPublish();
      throw error;
    }
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    const record = members.merge(signRecord(identity, cluster, version, content));
    if (record instanceof WeftError) throw record;
    if (!record || !isNodeRecord(record)) {
      throw new Error("this node's own record is not the newest");
    }
    const isUrgent = this.#owesRefutation || !before || !isRenewal(before, record);
    this.#owesRefutation = false;
    this.emit("published", record, isUrgent);
  }

  /** The highest version that is known to be published. */
  get #version(): number {
    const { identity, disk, members } = this.#parts;
    return Math.max(disk.cluster.versions[NODE] ?? 0, members.get(identity.id)?.version ?? 0);
  }

  #saveVersion(version: number): void {
    const { disk } = this.#parts;
    disk.saveCluster({ versions: { ...disk.cluster.versions, [NODE]: version } });
  }

  /** Others would refuse a record after this one. */
  get #isLastVersion(): boolean {
    return this.#version >= MAX_VERSION;
  }

  /** Publishes after a while, unless that happens before. */
  #retryPublish(): void {
    const { clock, disk } = this.#parts;
    this.#cancelRetry ??= clock.after(WRITE_RETRY_AFTER, () => {
      this.#cancelRetry = undefined;
      disk.safely(() => this.publish());
    });
  }

  /**
   * Handles a newer record of this very node, from before a backup was restored or from a copy of it:
   * publishes above its version, after a wait so that two copies do not race.
   */
  onNewerOwnRecord({ version, mesh }: NodeRecord): void {
    const { clock, log, disk } = this.#parts;
    disk.safely(() => this.#saveVersion(version));
    const isNews = this.#copy?.mesh !== mesh || !this.#isCopyThere;
    this.#copy = { mesh, heard: clock.elapsed() };
    const [copy] = this.#copyProblems();
    if (isNews) {
      log.warn(
        copy ??
          this.#versionsExhausted() ??
          `a newer record of this node came back: going on above its version, ${version}`,
      );
    }
    this.#cancelRepublish?.();
    this.#cancelRepublish = clock.after(REPUBLISH_AFTER, () => disk.safely(() => this.publish()));
  }

  /** Problems for the operator, a sentence each: leases that others cannot see, and copies of this node. */
  problems(): string[] {
    const { disk } = this.#parts;
    const [held, shown] = [disk.leases.length, fitting(disk.leases).length];
    return [
      ...this.#copyProblems(),
      this.#versionsExhausted() ?? [],
      shown < held
        ? `the record of this node has room for ${shown} of its ${held} leases, because they come from so many nodes: the others are not used`
        : [],
    ].flat();
  }

  /** A sentence once no higher version exists: only another identity can publish for this host. */
  #versionsExhausted(): string | undefined {
    return this.#isLastVersion ? lastVersion("record", this.#parts.identity) : undefined;
  }

  get #isCopyThere(): boolean {
    const { heard = Number.NEGATIVE_INFINITY } = this.#copy ?? {};
    return this.#parts.clock.elapsed() - heard < OWN_COPY_REPORTED_FOR;
  }

  /** A sentence while another process uses this node's identity elsewhere. */
  #copyProblems(): string[] {
    const { mesh: here } = this.#endpoints;
    if (!this.#copy || this.#copy.mesh === here || !this.#isCopyThere) return [];
    return [
      `another agent runs with this node's identity, at ${this.#copy.mesh} (this one is at ${here}): the state directory of one is a copy: stop that agent, remove its state directory, start it again`,
    ];
  }

  #content(withdrawn: boolean): RecordContent {
    const { clock, identity, epoch, disk, options, carriesEcn } = this.#parts;
    const { name, vni, mac = vtepMac(identity.id) } = options;
    const { mesh, vtep } = this.#endpoints;
    const said = this.#contributors.map((part) => part.forRecord());
    const { revoked: all, revokedByOperator: byOperators } = disk.cluster;
    // Grants that others returned by themselves are listed as far as there is room.
    const revoked = [...new Set([...all.slice(-MAX_REVOKED_IN_RECORD), ...byOperators])].slice(
      -MAX_REVOKED_IN_RECORD,
    );
    return {
      name,
      mesh,
      vtep,
      mac,
      vni,
      epoch,
      leases: fitting(disk.leases),
      renewed: clock.now(),
      withdrawn,
      ...(revoked.length > 0 && { revoked: revoked.map(grantHash) }),
      ...(carriesEcn && { ecn: true as const }),
      ...(withdrawn ? {} : Object.assign({}, ...said)),
    };
  }
}

/** Says that others take no record after the one with the last version. */
export const lastVersion = (what: string, { id }: Identity): string =>
  `the last version of this node's ${what}, ${MAX_VERSION}, was published with its key, so others learn nothing new of it: stop it, move its state directory away, and start it with --join: it joins as a new node; then free its lease: weft forget ${id}`;
