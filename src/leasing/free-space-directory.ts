/** The directory of nodes with free space, read from their records, which may be some seconds old. */

import type { Reachability } from "../failure-detector/reachability.js";
import type { Members } from "../gossip/members.js";
import type { NodeRecord } from "../gossip/record.js";
import type { Clock } from "../time/clock.js";

/** Random part of a rank, in doublings of free space, so that many joiners spread over several nodes. */
const RANK_JITTER = 3;

export interface FreeSpaceDirectoryParts {
  readonly clock: Clock;
  readonly members: Members;
  /** This node's id. */
  readonly own: string;
  /** The cluster's networks, in the order of the genesis. */
  readonly networks: readonly string[];
  readonly reachability: Pick<Reachability, "isDown">;
}

export class FreeSpaceDirectory {
  readonly #parts: FreeSpaceDirectoryParts;

  constructor(parts: FreeSpaceDirectoryParts) {
    this.#parts = parts;
  }

  /** Whether another node has space in one of these networks. */
  hasFree(networks: readonly string[]): boolean {
    return this.#others().some((record) => this.#log2(record, networks) !== undefined);
  }

  /** Ids of up to `count` other nodes with space in one of these networks, mostly those with more. */
  choose(networks: readonly string[], count: number): string[] {
    return this.#ranked(this.#others(), networks).slice(0, count);
  }

  /** The id of one of these nodes that has space in one of these networks, mostly one with more. */
  best(ids: readonly string[], networks: readonly string[]): string | undefined {
    const records = ids.flatMap((id) => this.#parts.members.get(id) ?? []);
    return this.#ranked(records, networks)[0];
  }

  /** Ids of the owners of these records that have space, ordered by space and chance. */
  #ranked(records: readonly NodeRecord[], networks: readonly string[]): string[] {
    const { clock } = this.#parts;
    return records
      .flatMap((record) => {
        const log2 = this.#log2(record, networks);
        return log2 === undefined ? [] : [{ record, rank: log2 + RANK_JITTER * clock.random() }];
      })
      .sort((a, b) => b.rank - a.rank)
      .map(({ record }) => record.id);
  }

  #others(): NodeRecord[] {
    const { members, own } = this.#parts;
    return members.sorted().filter(({ id }) => id !== own);
  }

  /** log2 of the leases in the owner's largest free block in these networks; undefined if it has none. */
  #log2(record: NodeRecord, networks: readonly string[]): number | undefined {
    const { networks: all, reachability } = this.#parts;
    if (!record.free || record.withdrawn || reachability.isDown(record)) return undefined;
    const sizes = record.free.filter((log2, i) => log2 !== null && networks.includes(all[i] ?? ""));
    return sizes.length > 0 ? Math.max(...sizes.map(Number)) : undefined;
  }
}
