/**
 * Records of every kind but `node`. They are attached to the node record of their owner: held while
 * that is held and in service, within limits that hold for all of one owner together.
 */
import type { NodeRecord, SignedRecord } from "./record.js";

/** Attached records of one owner: how many, and their bytes as they travel, together. */
export const MAX_ATTACHED = { records: 16, bytes: 64 * 1024 };
/**
 * Bytes of the attached records of all owners together; this node's own are always taken. 8,192
 * owners at their limits would fill 512 MiB, more than a small host has.
 */
export const MAX_ATTACHED_BYTES = 64 * 1024 * 1024;

export interface AttachedRecord extends SignedRecord {
  /** The body as the schema of its kind gives it; nothing for a kind that this node does not know. */
  readonly content: unknown;
  /** As its kind says. Unknown kinds are not. */
  readonly isUrgent: boolean;
}

export type AnyRecord = NodeRecord | AttachedRecord;

/**
 * The records of one owner that are kept, in the order of their kinds: each that fits beside those
 * before it. The choice depends on the set and not on the order of arrival, so all nodes agree on it.
 */
export function withinLimits<R extends { readonly kind: string; readonly bytes: number }>(
  records: readonly R[],
): R[] {
  let bytes = 0;
  const kept: R[] = [];
  for (const record of [...records].sort((a, b) => (a.kind < b.kind ? -1 : 1))) {
    if (kept.length === MAX_ATTACHED.records) break;
    if (bytes + record.bytes > MAX_ATTACHED.bytes) continue;
    bytes += record.bytes;
    kept.push(record);
  }
  return kept;
}
