/** How far a document has come: which of the known nodes have it in force, which not, and why. */
import type { DocumentInForce } from "../documents/in-force.js";
import { isDown } from "../failure-detector/is-down.js";

/** A node, as it is known here. */
export interface KnownNode {
  readonly name: string;
  readonly id: string;
  /** As in `weft peers`; `self` for this node. */
  readonly state: string;
  /** The documents that it has in force, as it says itself. */
  readonly documents: readonly DocumentInForce[];
}

export interface NodeProgress {
  readonly name: string;
  readonly id: string;
  readonly state: string;
  readonly isInForce: boolean;
  /** The version that it has in force: 0 for none, null where it has not said. */
  readonly version: number | null;
  /** The first 16 hex digits of the text's SHA-256. */
  readonly hash: string | null;
  /** Why it has not got this one; null where it has. */
  readonly why: string | null;
}

export interface Progress {
  /** The newest version known here, 0 for none. */
  readonly version: number;
  readonly hash: string | null;
  /** Nodes that have it in force, of all that are known. */
  readonly inForce: number;
  readonly known: number;
  readonly nodes: readonly NodeProgress[];
}

/** @param newest the newest document of the kind that is known here; nothing where there is none */
export function progressOf(
  kind: string,
  newest: { readonly version: number; readonly hash: string } | undefined,
  nodes: readonly KnownNode[],
): Progress {
  const all = nodes.map((node) => nodeProgress(kind, newest, node));
  return {
    version: newest?.version ?? 0,
    hash: newest?.hash ?? null,
    inForce: all.filter(({ isInForce }) => isInForce).length,
    known: all.length,
    nodes: all,
  };
}

/** A node of which an answer can be waited for: neither dead nor out of reach. */
export const isLiving = ({ state }: Pick<NodeProgress, "state">): boolean => !isDown({ state });

function nodeProgress(
  kind: string,
  newest: { readonly version: number; readonly hash: string } | undefined,
  { name, id, state, documents }: KnownNode,
): NodeProgress {
  const said = documents.find((document) => document.kind === kind);
  const isInForce =
    said?.version === (newest?.version ?? 0) && (said.hash ?? null) === (newest?.hash ?? null);
  return {
    name,
    id,
    state,
    isInForce,
    version: said?.version ?? null,
    hash: said?.hash ?? null,
    why: isInForce ? null : reasonOf(state, said, newest?.version ?? 0),
  };
}

function reasonOf(state: string, said: DocumentInForce | undefined, newest: number): string {
  if (said?.held && said.held.version >= newest) {
    const { version, why } = said.held;
    return `version ${version} ${HELD.get(why) ?? `is held back there (${why})`}`;
  }
  if (state === "dead") return `it is declared dead; ${lastSaid(said)}`;
  if (state === "unreachable") return `it is unreachable; ${lastSaid(said)}`;
  if (state === "no-mesh") return `it has no mesh session with any member; ${lastSaid(said)}`;
  if (!said) return "it has not said which one it has";
  return said.version >= newest ? `it has another one, ${lastSaid(said)}` : lastSaid(said);
}

const HELD: ReadonlyMap<string, string> = new Map([
  ["refused", "cannot be read there: see its weft status"],
  ["too-large", "does not fit there: see its weft status"],
]);

function lastSaid(said: DocumentInForce | undefined): string {
  if (!said) return "it has not said which one it has";
  return said.version === 0 ? "it said last: none" : `it said last: version ${said.version}`;
}
