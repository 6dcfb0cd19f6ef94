/** The control socket's view of the cluster's address translation, and the application of a new document. */
import type { Progress } from "../document-sync/progress.js";
import { hashOf } from "../documents/in-force.js";
import type { ApplyOptions, DocumentView, NatReport } from "../http/view.js";
import type { Mesh } from "../mesh/mesh.js";
import { natCounts, readSealedNat } from "../nat/document.js";
import { NAT } from "../nat/kind.js";
import { absentFromNat, natNotes } from "../nat/notes.js";
import { documentProgress, documentView } from "./document-view.js";
import type { Tables } from "./tables.js";

export interface NatControlParts {
  readonly mesh: Pick<Mesh, "applyDocument" | "document" | "members" | "self">;
  readonly tables: Pick<Tables, "natNodes">;
}

export class NatControl {
  readonly #parts: NatControlParts;

  constructor(parts: NatControlParts) {
    this.#parts = parts;
  }

  view(): DocumentView | null {
    return documentView(this.#parts.mesh, NAT);
  }

  /** As `documentProgress`. */
  progress(): Progress {
    return documentProgress(this.#parts.mesh, NAT);
  }

  /** Implements `Control.applyNat`. */
  async apply(text: string, { dryRun, resetVersion }: ApplyOptions): Promise<NatReport> {
    const { mesh, tables } = this.#parts;
    const document = readSealedNat(text, "nat");
    const { members } = tables.natNodes();
    const seal = dryRun ? undefined : (await mesh.applyDocument(NAT, text, { resetVersion })).seal;
    return {
      version: seal?.version ?? null,
      hash: seal ? hashOf(seal.digest) : null,
      rules: natCounts(document),
      absent: absentFromNat(document, members),
      notes: natNotes(document, members),
    };
  }
}
