/** The state that a node keeps over a crash, and its form on disk. */
import { z } from "zod";
import {
  decodeDocument,
  encodeDocument,
  kindName,
  type StoredDocument,
} from "../documents/sealed-document.js";
import { WeftError } from "../error.js";
import { addChecksum, stripChecksum } from "../files/checksummed.js";
import { recordKindName } from "../gossip/record-kind.js";
import { signature } from "../identity/fields.js";
import { genesisSchema } from "../lease/genesis.js";
import { grantSchema, proofSchema } from "../lease/grant.js";

const clusterState = z.strictObject({
  genesis: genesisSchema,
  /** Every grant this node made, in order. */
  journal: z.array(grantSchema),
  /** Proofs of the space that was granted to this node. */
  spaces: z.array(proofSchema).default([]),
  /** Proofs of the leases this node holds. */
  leases: z.array(proofSchema),
  /** Signatures of the revoked grants of this node and below it. */
  revoked: z.array(signature).default([]),
  /** The last of these that an operator had this node revoke. */
  revokedByOperator: z.array(signature).default([]),
  /** The time when another node last heard this one, in milliseconds since the epoch. */
  heard: z.int().min(0).default(0),
  /** By kind, the version of this node's last published record. */
  versions: z.record(recordKindName, z.int().min(0)),
  /** Kinds of documents that the cluster does not have, as far as this node knows. */
  absentDocuments: z.array(kindName).default([]),
});

const stateSchema = z.strictObject({
  /** The identity's private key. */
  seed: z.string().regex(/^[0-9a-f]{64}$/),
  cluster: clusterState.optional(),
  /** Mesh addresses to dial when no join address answers, the last learned first. */
  remembered: z.array(z.string().max(300)),
});

export type ClusterState = z.infer<typeof clusterState>;
export type State = z.infer<typeof stateSchema>;

export interface Store {
  /** The state; undefined when this node never ran. Throws `STATE_CORRUPT`; it never starts afresh. */
  load(): State | undefined;
  /** When this returns, the state survives a power cut. Throws `STATE_WRITE`. */
  save(state: State): void;
  /** The cluster's document of a kind; undefined when there is none. Throws `DOCUMENT_CORRUPT`. */
  loadDocument(kind: string): StoredDocument | undefined;
  saveDocument(document: StoredDocument): void;
}

export const encodeState = (state: State): string =>
  addChecksum("state", `${JSON.stringify(state, null, 1)}\n`);

/** Reads a state from text. `where` names the file in the error. */
export function decodeState(text: string, where: string): State {
  const body = stripChecksum("state", text);
  if (body === undefined) throw corrupt(where, "its checksum is wrong", "restore it from a backup");
  const state = stateSchema.safeParse(JSON.parse(body));
  if (!state.success) throw corrupt(where, "another version of weft wrote it", "run that version");
  return state.data;
}

/** A store in memory, for tests and for nodes that keep nothing over a restart. */
export class MemoryStore implements Store {
  #text: string | undefined;
  /** By kind. */
  readonly #documents = new Map<string, string>();

  load(): State | undefined {
    return this.#text === undefined ? undefined : decodeState(this.#text, "memory");
  }

  save(state: State): void {
    this.#text = encodeState(state);
  }

  loadDocument(kind: string): StoredDocument | undefined {
    const text = this.#documents.get(kind);
    return text === undefined ? undefined : decodeDocument(kind, text, "memory");
  }

  saveDocument(document: StoredDocument): void {
    this.#documents.set(document.seal.kind, encodeDocument(document));
  }
}

const corrupt = (where: string, why: string, remedy: string): WeftError =>
  new WeftError(
    "STATE_CORRUPT",
    `the state file ${where} cannot be used: ${why}`,
    `${remedy}; or move it away and start with --join: this node then joins as a new one with another lease`,
  );
