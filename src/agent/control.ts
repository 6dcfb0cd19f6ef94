/** The running agent as the control socket shows it, and the actions that it offers. */
import { formatAddress, formatEndpoint, parsePrefix } from "../address.js";
import type { Config } from "../config/config.js";
import { Capture, type CaptureOptions } from "../core/capture.js";
import { readCounters } from "../core/counters.js";
import { readFlows } from "../core/flows.js";
import type { Core } from "../core/instance.js";
import type { Publisher } from "../core/publish.js";
import type { Progress } from "../document-sync/progress.js";
import type { Question } from "../explain/question.js";
import type { UnderlayWatch } from "../host/underlay-watch.js";
import type { Upkeep } from "../host/upkeep.js";
import type {
  ApplyOptions,
  CheckRow,
  Control,
  Counters,
  DocumentView,
  Explained,
  FlowRow,
  LeaseRow,
  NatReport,
  PeerRow,
  PolicyReport,
  RouteRow,
  Status,
} from "../http/view.js";
import type { KernelIo } from "../io/kernel.js";
import type { LogState } from "../logging/log.js";
import type { Departed, Member, SpaceOf } from "../mesh/member.js";
import type { Mesh } from "../mesh/mesh.js";
import { NO_NAT } from "../nat/document.js";
import type { Health } from "../nat/health.js";
import { NAT } from "../nat/kind.js";
import { type ServiceRow, serviceRows } from "../nat/service-rows.js";
import { pathMtuNote } from "../paths/path-mtu-note.js";
import { POLICY } from "../policy/kind.js";
import { nameOf, type Place } from "../policy/place.js";
import { documentStatus } from "./document-view.js";
import type { Follower } from "./follower.js";
import type { NatControl } from "./nat-control.js";
import type { PacketTracer } from "./packet-tracer.js";
import type { PolicyControl } from "./policy-control.js";
import type { Tables } from "./tables.js";

export interface AgentControlParts {
  readonly mesh: Pick<
    Mesh,
    | "departed"
    | "document"
    | "forget"
    | "knowsDocument"
    | "members"
    | "notes"
    | "problems"
    | "self"
    | "spacesAround"
    | "unseen"
  >;
  readonly follower: Pick<Follower, "addresses" | "coverage" | "notes" | "problems">;
  readonly tables: Pick<
    Tables,
    "givesFlows" | "isPolicyKnown" | "natNodes" | "natRules" | "places"
  >;
  readonly health: Pick<Health, "checked" | "downOf">;
  readonly policy: Pick<PolicyControl, "apply" | "progress" | "view">;
  readonly nat: Pick<NatControl, "apply" | "progress" | "view">;
  readonly core: Core;
  readonly publisher: Publisher;
  readonly io: Pick<KernelIo, "epoch" | "mtu" | "offloads">;
  readonly tracer: Pick<PacketTracer, "explain">;
  readonly upkeep: Pick<Upkeep, "problems">;
  readonly watch: Pick<UnderlayWatch, "underlay">;
  /** The transport's connections that were refused, by reason. */
  meshRefused(): Counters["meshRefused"];
  logState(): LogState;
}

export type AgentControlOptions = Pick<Config, "staticPeers" | "tun" | "vni">;

export class AgentControl implements Control {
  readonly #parts: AgentControlParts;
  readonly #options: AgentControlOptions;

  constructor(parts: AgentControlParts, options: AgentControlOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  status(): Status {
    const { follower, tables, publisher, watch, upkeep, mesh, io } = this.#parts;
    const { tun, vni } = this.#options;
    const { addresses } = follower;
    const mtu = io.mtu.most;
    const { name, leases, network, mac } = mesh.self();
    const problems = [...mesh.problems(), ...follower.problems, ...upkeep.problems];
    if (mesh.knowsDocument(POLICY) && !tables.isPolicyKnown) problems.push(COMPILING);
    if (addresses.length === 0) problems.push(`${tun} has no address yet`);
    const reached = this.peers().flatMap(({ name, mtu, noPath }) =>
      mtu === null || noPath ? [] : [{ name, mtu }],
    );
    const note = pathMtuNote(reached, { name: tun, mtu });
    const first = addresses.find(({ family }) => family === 4) ?? addresses[0];
    return {
      name,
      healthy: problems.length === 0,
      problems,
      notes: [
        ...mesh.notes(),
        ...(note === undefined ? [] : [note]),
        ...this.#spaceNotes(),
        ...follower.notes,
      ],
      coverage: follower.coverage,
      network,
      address: first ? formatAddress(first) : null,
      addresses: addresses.map(formatAddress),
      leases,
      mac,
      vni,
      mtu,
      underlay: formatAddress(watch.underlay.address),
      peers: publisher.peers.length,
      policy: documentStatus(this.policyProgress()),
      nat: documentStatus(this.natProgress()),
      offloads: io.offloads(),
      log: this.#parts.logState(),
    };
  }

  /** Subnets of static peers that other nodes may give away. */
  #spaceNotes(): string[] {
    const { mesh } = this.#parts;
    const subnets = this.#options.staticPeers.flatMap(({ name, leases }) =>
      leases.map((subnet) => ({ name, subnet })),
    );
    const spaces =
      subnets.length > 0 ? mesh.spacesAround(subnets.map(({ subnet }) => parsePrefix(subnet))) : [];
    return subnets.flatMap((one, i) => (spaces[i] ? [spaceNote(one, spaces[i])] : []));
  }

  peers(): PeerRow[] {
    const { mesh, publisher, io } = this.#parts;
    const members = new Map(mesh.members().map((member) => [member.name, member]));
    const peers = publisher.peers.map((peer) => ({
      ...peer,
      ...pathOf(members.get(peer.name)),
      mtu: publisher.pathMtu(peer.name, peer.mtu ?? io.mtu.most),
    }));
    return [...peers, ...mesh.departed().map(departedRow)];
  }

  routes(): RouteRow[] {
    const { mesh, publisher } = this.#parts;
    const own = mesh.self();
    return [
      ...own.leases.map((prefix) => ({ prefix, peer: own.name, via: this.#options.tun })),
      ...publisher.peers.flatMap(({ name, endpoint, leases }) =>
        leases.map((prefix) => ({ prefix, peer: name, via: endpoint })),
      ),
    ];
  }

  leases(): LeaseRow[] {
    const { mesh } = this.#parts;
    const { name, leases, expires } = mesh.self();
    return [
      ...leases.map((subnet) => leaseRow(subnet, name, "self", { expires })),
      ...mesh
        .members()
        .flatMap(({ name, state, since, leases }) =>
          leases.map(({ subnet, expires }) => leaseRow(subnet, name, state, { expires, since })),
        ),
      ...this.#options.staticPeers.flatMap((peer) =>
        peer.leases.map((subnet) => leaseRow(subnet, peer.name, "static", {})),
      ),
      ...mesh
        .departed()
        .flatMap(({ name, state, since, leases }) =>
          leases.map((subnet) => leaseRow(subnet, name, state, { since, isReserved: true })),
        ),
      ...mesh
        .unseen()
        .map(({ prefix, owner }) => leaseRow(prefix, owner, "unseen", { isReserved: true })),
    ];
  }

  forget(name: string, options: { readonly force: boolean }): string[] {
    return this.#parts.mesh.forget(name, options);
  }

  counters(): Counters {
    const { core, publisher, tables, meshRefused } = this.#parts;
    const places = [...tables.places];
    const traffic = publisher.ruleTraffic(places.map(([number]) => number));
    return {
      ...readCounters(core),
      rules: places.map(([, place], i) => ({ ...place, ...traffic[i]! })),
      meshRefused: meshRefused(),
    };
  }

  flows(): FlowRow[] {
    const { core, publisher, tables } = this.#parts;
    const { places } = tables;
    return readFlows(core, (number, generation) =>
      publisher.isSameRule(number, generation) ? places.get(number) : undefined,
    ).map(({ rule, ...flow }) => ({ ...flow, rule: rule ? nameOf(rule) : null }));
  }

  services(): readonly ServiceRow[] {
    const { mesh, tables, health } = this.#parts;
    const ports = tables.natRules().services.filter(({ isPort }) => isPort);
    const document = mesh.document(NAT)?.facts ?? NO_NAT;
    return serviceRows(document, ports, tables.natNodes(), this.flows(), (service, backend) => {
      const down = health.downOf(service, backend);
      return down && !tables.givesFlows(service, backend) ? down : undefined;
    });
  }

  checks(): CheckRow[] {
    return this.#parts.health.checked().map(({ service, to, down }) => ({
      service,
      to: formatEndpoint(to),
      isUp: down === undefined,
    }));
  }

  explain(question: Question, options: { readonly here: boolean }): Promise<Explained> {
    return this.#parts.tracer.explain(question, options);
  }

  capture(options: CaptureOptions): Capture<Place> {
    const { core, publisher, tables, io } = this.#parts;
    return Capture.start(core, options, {
      peer: (place) => publisher.nameAt(place),
      rule: (number) => tables.places.get(number),
      epoch: () => io.epoch(),
    });
  }

  policy(): DocumentView | null {
    return this.#parts.policy.view();
  }

  policyProgress(): Progress {
    return this.#parts.policy.progress();
  }

  applyPolicy(text: string, options: ApplyOptions): Promise<PolicyReport> {
    return this.#parts.policy.apply(text, options);
  }

  nat(): DocumentView | null {
    return this.#parts.nat.view();
  }

  natProgress(): Progress {
    return this.#parts.nat.progress();
  }

  applyNat(text: string, options: ApplyOptions): Promise<NatReport> {
    return this.#parts.nat.apply(text, options);
  }
}

const spaceNote = (
  { name, subnet }: { readonly name: string; readonly subnet: string },
  { prefix, owner }: SpaceOf,
): string =>
  `${subnet} of the static peer ${name} is in ${prefix}, the space of ${owner}, which keeps it free only if it has the same --static-peer: start ${owner} with it, or choose a subnet outside of the cluster network`;

const COMPILING = "no packet passes yet: the policy is being compiled";

/** A static peer says nothing about itself, so nothing is known but that it is there. */
const pathOf = (
  member: Member | undefined,
): Pick<PeerRow, "id" | "state" | "since" | "documents" | "path" | "rttMs" | "loss"> => ({
  state: member?.state ?? "static",
  since: timeOf(member?.since),
  ...(member && { id: member.id, documents: member.documents }),
  path: member?.path ?? "direct",
  rttMs: rounded(member?.rttMs),
  loss: rounded(member?.loss),
});

/** A node to which no packets go. */
const departedRow = ({ since, ...node }: Departed): PeerRow => ({
  ...node,
  since: timeOf(since),
  noPath: true,
  path: "none",
  rttMs: null,
  loss: null,
  mtu: null,
});

const leaseRow = (
  subnet: string,
  owner: string,
  state: string,
  {
    expires,
    since,
    isReserved = false,
  }: { expires?: number | undefined; since?: number | undefined; isReserved?: boolean },
): LeaseRow => ({
  subnet,
  owner,
  expires: timeOf(expires),
  state,
  since: timeOf(since),
  isReserved,
});

const timeOf = (at: number | undefined): string | null =>
  at === undefined ? null : new Date(at).toISOString();

const rounded = (value: number | undefined): number | null =>
  value === undefined ? null : Math.round(value * 1000) / 1000;
