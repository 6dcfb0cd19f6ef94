/** Seals a text that is applied on this node as the next document of its kind. */
import type { DocumentKind } from "../documents/document-kind.js";
import { MAX_DOCUMENT_VERSION, type Seal, sealDocument } from "../documents/sealed-document.js";
import { WeftError } from "../error.js";
import type { Identity } from "../identity/identity.js";
import type { Fence } from "../lease/fence.js";
import type { Cluster } from "../lease/genesis.js";
import type { Disk } from "../state/disk.js";
import { tooLong } from "./errors.js";

export interface SealingParts {
  readonly identity: Identity;
  readonly cluster: Cluster;
  /** With the leases of this node, of which one proves that it may seal. */
  readonly disk: Pick<Disk, "leases">;
  readonly fence: Pick<Fence, "isClosed">;
}

/**
 * @param held the seal of the document that this node holds
 * @param resetVersion begins again at version 1 where `held` has the last version there is
 * @throws WeftError
 */
export function sealNext(
  { identity, cluster, disk, fence }: SealingParts,
  kind: DocumentKind,
  text: string,
  held: Seal | undefined,
  resetVersion: boolean,
): Seal {
  if (Buffer.byteLength(text) > kind.maxBytes) throw tooLong(kind);
  const own = fence.isClosed ? undefined : disk.leases[0];
  if (!own) throw noLease(kind);
  if (isLast(held) && !resetVersion) throw versionsExhausted(kind);
  const version = isLast(held) ? 1 : (held?.version ?? 0) + 1;
  return sealDocument(identity, cluster, { kind: kind.name, proof: own, version, text });
}

export const isLast = (seal: Seal | undefined): boolean => seal?.version === MAX_DOCUMENT_VERSION;

const noLease = ({ title }: DocumentKind): WeftError =>
  new WeftError(
    "NO_LEASE",
    `only a node that has a lease may apply a ${title}, and this one has none yet`,
    "wait until weft status shows one, or apply it on another node",
  );

const versionsExhausted = ({ title }: DocumentKind): WeftError =>
  new WeftError(
    "DOCUMENT_VERSION",
    `the ${title} in force has the last version there is, ${MAX_DOCUMENT_VERSION}`,
    `some member has skipped them on purpose: shut it out by a new secret, then apply a ${title} with --reset-version on every node`,
  );
