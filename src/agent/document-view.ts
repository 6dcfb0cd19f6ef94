/** A cluster document as the control socket shows it, and which nodes have it in force. */
import { type Progress, progressOf } from "../document-sync/progress.js";
import type { DocumentKind } from "../documents/document-kind.js";
import { hashOf } from "../documents/in-force.js";
import type { DocumentStatus, DocumentView } from "../http/view.js";
import { nodeId } from "../identity/identity.js";
import type { Mesh } from "../mesh/mesh.js";

export type DocumentMesh = Pick<Mesh, "document" | "members" | "self">;

/** The newest document of this kind; null where there is none. */
export function documentView(mesh: DocumentMesh, kind: DocumentKind): DocumentView | null {
  const document = mesh.document(kind);
  if (!document) return null;
  const { version, author, digest } = document.seal;
  const id = nodeId(author);
  const all = [...mesh.members(), mesh.self()];
  const name = all.find((member) => member.id === id)?.name ?? null;
  return { version, digest, author: { id, name }, text: document.text };
}

/** The progress of the other members, then of this node. */
export function documentProgress(mesh: DocumentMesh, kind: DocumentKind): Progress {
  const seal = mesh.document(kind)?.seal;
  const { name, id, documents } = mesh.self();
  const newest = seal && { version: seal.version, hash: hashOf(seal.digest) };
  return progressOf(kind.name, newest, [...mesh.members(), { name, id, state: "self", documents }]);
}

/** @param progress as `documentProgress` returns it: this node is the last one */
export function documentStatus({
  version: newest,
  inForce,
  known,
  nodes,
}: Progress): DocumentStatus {
  const { version = null, hash = null } = nodes.at(-1) ?? {};
  return { version, hash, newest, inForce, known };
}
