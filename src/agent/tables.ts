/**
 * Publishes the members, the policy and the translations of the cluster to the tables of the core, in one swap.
 *
 *   members that changed -> stage -> \
 *   policy -> enforcer -> rules --->  commit
 */
import { EventEmitter } from "node:events";
import { isSameAddress, type Prefix, parseMac, parsePrefix } from "../address.js";
import type { ThisNode } from "../compile/compiler.js";
import type { NatRules } from "../compile/nat-rules.js";
import type { Config } from "../config/config.js";
import { setProfile } from "../core/flows.js";
import type { Core } from "../core/instance.js";
import type { Publisher } from "../core/publish.js";
import type { ClusterDocument } from "../document-sync/replica.js";
import type { Seal } from "../documents/sealed-document.js";
import { WeftError } from "../error.js";
import type { KernelIo } from "../io/kernel.js";
import type { Mesh } from "../mesh/mesh.js";
import { type NatDocument, NO_NAT } from "../nat/document.js";
import { type NatHostRules, natHostRulesOf } from "../nat/host-rules.js";
import { NAT } from "../nat/kind.js";
import type { Backend, Service } from "../nat/service.js";
import { type CheckResults, type NatNodes, Translator } from "../nat/translator.js";
import type { Peer } from "../peer.js";
import { Enforcer } from "../policy/enforcer.js";
import type { PolicyCompiler } from "../policy/engine.js";
import { POLICY } from "../policy/kind.js";
import type { Place } from "../policy/place.js";
import type { Members } from "../policy/resolver.js";

export interface TablesParts {
  /** The cluster as this node knows it: its own leases, the peers and the policy. */
  readonly mesh: Pick<
    Mesh,
    | "departed"
    | "document"
    | "enforces"
    | "knowsDocument"
    | "members"
    | "peer"
    | "self"
    | "takeChanged"
  >;
  readonly core: Core;
  readonly publisher: Publisher;
  readonly policies: PolicyCompiler;
  readonly io: Pick<KernelIo, "mtu" | "resetGone">;
  readonly checks: CheckResults;
}

export type TablesOptions = Pick<Config, "dscp" | "name" | "vni">;

export interface TablesEvents {
  /** Compiled rules are ready, or do not fit into the core: `update` must be called. */
  changed: [];
  /** The core has the current peers and rules. */
  published: [];
}

export class Tables extends EventEmitter<TablesEvents> {
  readonly #parts: TablesParts;
  readonly #options: TablesOptions;
  readonly #enforcer: Enforcer;
  /** Stays true once it is. */
  #isPolicyKnown = false;
  readonly #translator: Translator;
  /** The translation document in force. */
  #nat: ClusterDocument<NatDocument> | undefined;
  /** The part of it that this node does, as last published. */
  #rules: NatRules | undefined;
  /** The reason when a newer one does not fit. */
  #natMisfit: WeftError | undefined;
  /** Stays true once it is. */
  #isNatKnown = false;

  constructor(parts: TablesParts, options: TablesOptions) {
    super();
    this.#parts = parts;
    this.#options = options;
    this.#translator = new Translator(options.name, parts.checks);
    this.#enforcer = new Enforcer(parts.policies, () => this.emit("changed"));
  }

  /** Whether the policy is in force, or it is known that there is none. */
  get isPolicyKnown(): boolean {
    return this.#isPolicyKnown;
  }

  /** Whether packets pass: policy and translation document are in force, or it is known that there are none. */
  get knowsDocuments(): boolean {
    return this.#isPolicyKnown && this.#isNatKnown;
  }

  /** The translation document in force in the core. */
  get natInForce(): NatDocument {
    return this.#nat?.facts ?? NO_NAT;
  }

  /** Whether the core gives new flows to this backend now. */
  givesFlows({ name }: Service, { address, port }: Backend): boolean {
    const rule = this.#rules?.services.find((one) => !one.isPort && one.name === name);
    return (rule?.backends ?? []).some(
      (one) => one.isActive && one.port === port && isSameAddress(one.address, address),
    );
  }

  /** The places of the rules in force, by rule number. */
  get places(): ReadonlyMap<number, Place> {
    return this.#enforcer.places;
  }

  own(): ThisNode {
    const { mesh, io } = this.#parts;
    const { mac, leases } = mesh.self();
    const { vni, dscp } = this.#options;
    const mtu = io.mtu.most;
    return { vni, mac: parseMac(mac), mtu, leases: leases.map(parsePrefix), dscp };
  }

  /** The leases of each node by its name, as policies name nodes. */
  members(): Members {
    const members = new Map<string, readonly Prefix[]>();
    for (const { name, leases } of this.#parts.publisher.staged()) {
      members.set(name, leases.map(parsePrefix));
    }
    return members.set(this.#options.name, this.own().leases);
  }

  /** The nodes as the document of address translation takes them. */
  natNodes(): NatNodes {
    const { mesh } = this.#parts;
    const members = new Map(this.members());
    const living = new Set(members.keys());
    for (const { name, state } of mesh.members()) if (state === "dead") living.delete(name);
    for (const { name, leases } of mesh.departed()) {
      if (!members.has(name)) members.set(name, leases.map(parsePrefix));
    }
    return { members, living };
  }

  /** This node's translations; the same object as before while nothing has changed for it. */
  natRules(): NatRules {
    const document = this.#parts.mesh.document(NAT)?.facts ?? NO_NAT;
    return this.#translator.rulesOf(document, () => this.natNodes());
  }

  /** The part of the document in force that this host does. */
  natHostRules(): NatHostRules {
    const document = this.natInForce;
    const living: ReadonlySet<string> = document === NO_NAT ? new Set() : this.natNodes().living;
    return natHostRulesOf(document, this.#options.name, (name) => living.has(name));
  }

  /**
   * Publishes the current state of the mesh to the core. Peers and leases that the ready rules do not
   * cover wait for the rules being compiled, so that the rules about a peer are in force before its
   * first packet.
   * @returns the remaining problems, one sentence each
   * @throws WeftError when peers contradict each other or do not fit; they remain staged
   */
  update(): string[] {
    const { core, publisher, mesh } = this.#parts;
    for (const id of mesh.takeChanged()) publisher.stage(id, mesh.peer(id));
    const own = this.own();
    const enforcer = this.#enforcer;
    let isUpToDate = false;
    try {
      this.#commit({ ...own, leases: enforcer.leases });
      enforcer.published();
      setProfile(core, this.#nat?.facts.profile ?? enforcer.ready?.profile ?? "rfc");
    } finally {
      // Also if the commit is refused: a lease may be this node's, or a waiting peer's, until other rules are ready.
      isUpToDate = enforcer.want(mesh.document(POLICY), this.members(), own.leases);
    }
    this.#isPolicyKnown ||= isUpToDate && mesh.knowsDocument(POLICY);
    const natMisfit = this.#natMisfit;
    this.#isNatKnown ||= mesh.knowsDocument(NAT) && natMisfit === undefined;
    publisher.setPolicyKnown(this.knowsDocuments);
    mesh.enforces(NAT, this.#isNatKnown ? (this.#nat?.seal ?? null) : undefined, {
      isMisfit: natMisfit !== undefined,
    });
    const { misfit } = enforcer;
    this.emit("published");
    mesh.enforces(POLICY, this.#isPolicyKnown ? this.#inForce : undefined, {
      isMisfit: misfit !== undefined,
    });
    const problems = misfit ? [`the policy is not in force: ${misfit.message}`] : [];
    if (natMisfit) problems.push(`the translation document is not in force: ${natMisfit.message}`);
    return [...publisher.conflicts, ...problems];
  }

  /** Translations that do not fit are left out: those in force stay. */
  #commit(own: ThisNode): void {
    const { publisher, mesh, io } = this.#parts;
    const enforcer = this.#enforcer;
    const nat = this.natRules();
    const isReady = ({ name, leases }: Peer) => enforcer.isUpToDate(name, leases.map(parsePrefix));
    const held = mesh.document(NAT);
    try {
      publisher.commit(own, enforcer.ready, { isReady, nat });
      if (this.#rules !== undefined && this.#rules !== nat) io.resetGone();
      this.#nat = held;
      this.#rules = nat;
      this.#natMisfit = undefined;
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== "NAT_FULL") throw error;
      this.#natMisfit = error;
      publisher.commit(own, enforcer.ready, { isReady });
    }
  }

  /** The seal of the policy in force in the core; null for none. A newer seal of the same text needs no compilation. */
  get #inForce(): Seal | null {
    const held = this.#parts.mesh.document(POLICY);
    const { inForce } = this.#enforcer;
    const policy = held?.text === inForce?.text ? held : inForce;
    return policy?.seal ?? null;
  }
}
