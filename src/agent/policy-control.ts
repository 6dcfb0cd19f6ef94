/** The control socket's view of the cluster's policy, and the trial and application of a new one. */
import { formatPrefix } from "../address.js";
import type { Progress } from "../document-sync/progress.js";
import { hashOf } from "../documents/in-force.js";
import { promised } from "../error.js";
import { CoverageView } from "../explain/coverage.js";
import type { ApplyOptions, DocumentView, OutsideRow, PolicyReport } from "../http/view.js";
import type { Mesh } from "../mesh/mesh.js";
import type { PolicyCompiler, PolicyFacts, TrialResult } from "../policy/engine.js";
import { POLICY } from "../policy/kind.js";
import type { Outside } from "../policy/outside.js";
import { absentNodes, heldByNamed } from "../policy/resolver.js";
import { documentProgress, documentView } from "./document-view.js";
import type { Follower } from "./follower.js";
import type { Tables } from "./tables.js";

export interface PolicyControlParts {
  readonly mesh: Pick<Mesh, "applyDocument" | "document" | "members" | "self">;
  readonly policies: PolicyCompiler;
  readonly tables: Pick<Tables, "members" | "own">;
  readonly follower: Pick<Follower, "lookAtWorkloads" | "routed">;
}

export class PolicyControl {
  readonly #parts: PolicyControlParts;

  constructor(parts: PolicyControlParts) {
    this.#parts = parts;
  }

  view(): DocumentView | null {
    return documentView(this.#parts.mesh, POLICY);
  }

  /** As `documentProgress`. */
  progress(): Progress {
    return documentProgress(this.#parts.mesh, POLICY);
  }

  /** Implements `Control.applyPolicy`. */
  async apply(text: string, { dryRun, resetVersion }: ApplyOptions): Promise<PolicyReport> {
    const { mesh, policies, tables, follower } = this.#parts;
    const { leases: own } = tables.own();
    const members = tables.members();
    const facts = await promised<PolicyFacts>((done) => policies.read(text, done));
    const carried = follower.routed();
    const coverage = new CoverageView(await follower.lookAtWorkloads());
    const job = { text, members: heldByNamed(facts.nodes, members), own, carried };
    const { counts, outside } = await promised<TrialResult>((done) => policies.tryOut(job, done));
    const [egress, ingress] = counts;
    const seal = dryRun
      ? undefined
      : (await mesh.applyDocument(POLICY, text, { resetVersion })).seal;
    const { version = null, digest } = seal ?? {};
    const hash = digest === undefined ? null : hashOf(digest);
    const absent = absentNodes(facts.nodes, members);
    return {
      version,
      hash,
      rules: { egress, ingress },
      absent,
      outside: outside.map(outsideRow),
      unseen: coverage.unseen(),
    };
  }
}

const outsideRow = ({ where, prefix }: Outside): OutsideRow => ({
  where,
  prefix: formatPrefix(prefix),
});
