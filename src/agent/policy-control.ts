/** The control socket's view of the cluster's policy, and the trial and application of a new one. */
import { formatPrefix } from "../address.js";
import { type Progress, progressOf } from "../document-sync/progress.js";
import { hashOf } from "../documents/in-force.js";
import { promised } from "../error.js";
import type { ApplyOptions, OutsideRow, PolicyReport, PolicyView } from "../http/view.js";
import { nodeId } from "../identity/identity.js";
import type { Mesh } from "../mesh/mesh.js";
import type { PolicyCompiler, PolicyFacts, TrialResult } from "../policy/engine.js";
import { POLICY } from "../policy/kind.js";
import type { Outside } from "../policy/outside.js";
import { absentNodes, heldByNamed } from "../policy/resolver.js";
import type { Follower } from "./follower.js";
import type { Tables } from "./tables.js";

export interface PolicyControlParts {
  readonly mesh: Pick<Mesh, "applyDocument" | "document" | "members" | "self">;
  readonly policies: PolicyCompiler;
  readonly tables: Pick<Tables, "members" | "own">;
  readonly follower: Pick<Follower, "routed">;
}

export class PolicyControl {
  readonly #parts: PolicyControlParts;

  constructor(parts: PolicyControlParts) {
    this.#parts = parts;
  }

  view(): PolicyView | null {
    const { mesh } = this.#parts;
    const policy = mesh.document(POLICY);
    if (!policy) return null;
    const { version, author, digest } = policy.seal;
    const id = nodeId(author);
    const all = [...mesh.members(), mesh.self()];
    const name = all.find((member) => member.id === id)?.name ?? null;
    return { version, digest, author: { id, name }, text: policy.text };
  }

  /** The progress of the other members, then of this node. */
  progress(): Progress {
    const { mesh } = this.#parts;
    const seal = mesh.document(POLICY)?.seal;
    const { name, id, documents } = mesh.self();
    const newest = seal && { version: seal.version, hash: hashOf(seal.digest) };
    return progressOf(POLICY.name, newest, [
      ...mesh.members(),
      { name, id, state: "self", documents },
    ]);
  }

  /** Implements `Control.applyPolicy`. */
  async apply(text: string, { dryRun, resetVersion }: ApplyOptions): Promise<PolicyReport> {
    const { mesh, policies, tables, follower } = this.#parts;
    const { leases: own } = tables.own();
    const members = tables.members();
    const facts = await promised<PolicyFacts>((done) => policies.read(text, done));
    const carried = follower.routed();
    const job = { text, members: heldByNamed(facts.nodes, members), own, carried };
    const { counts, outside } = await promised<TrialResult>((done) => policies.tryOut(job, done));
    const [egress, ingress] = counts;
    const seal = dryRun
      ? undefined
      : (await mesh.applyDocument(POLICY, text, { resetVersion })).seal;
    const { version = null, digest } = seal ?? {};
    const hash = digest === undefined ? null : hashOf(digest);
    const absent = absentNodes(facts.nodes, members);
    return { version, hash, rules: { egress, ingress }, absent, outside: outside.map(outsideRow) };
  }
}

const outsideRow = ({ where, prefix }: Outside): OutsideRow => ({
  where,
  prefix: formatPrefix(prefix),
});
