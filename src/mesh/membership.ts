/** The agent's view of its cluster, read from the parts of the control plane. */
import type { Prefix } from "../address.js";
import type { DocumentInForce } from "../documents/in-force.js";
import { nodeId } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import { subnetOf } from "../lease/grant.js";
import { Owners } from "../lease/owners.js";
import type { Peer } from "../peer.js";
import { clockNotes } from "./clock-notes.js";
import type { ControlPlane, ControlPlaneParts } from "./control-plane.js";
import { Forgetting } from "./forgetting.js";
import { type Departed, expiry, type Member, MemberStates, type SpaceOf } from "./member.js";

type MembershipParts = Pick<
  ControlPlaneParts,
  "clock" | "cluster" | "connections" | "disk" | "identity" | "log"
>;

export class Membership {
  readonly #given: MembershipParts;
  readonly #parts: ControlPlane["parts"];
  readonly #memberStates: MemberStates;
  readonly #forgetting: Forgetting;

  constructor({ parts }: ControlPlane, given: MembershipParts) {
    const base = { ...given, ...parts, own: given.identity.id };
    this.#given = given;
    this.#parts = parts;
    this.#memberStates = new MemberStates(base);
    this.#forgetting = new Forgetting(base);
  }

  get cluster(): Cluster {
    return this.#given.cluster;
  }

  /** The leases this node may use. */
  get leases(): string[] {
    const { disk, identity } = this.#given;
    const { fence, members } = this.#parts;
    if (fence.isClosed) return [];
    return disk.leases
      .map(subnetOf)
      .filter((subnet) => members.view.holder(subnet)?.id === identity.id);
  }

  /** When they expire, in milliseconds since the epoch; nothing until this node has published. */
  get expires(): number | undefined {
    const own = this.#parts.members.get(this.#given.identity.id);
    return own && expiry(own);
  }

  /** Everyone but this node. */
  members(): Member[] {
    return this.#memberStates.members();
  }

  departed(): Departed[] {
    return this.#memberStates.departed();
  }

  /** Leases that this node gave and no known record shows, and for which node each is kept, by its name if that is known. */
  unseen(): { readonly prefix: string; readonly owner: string }[] {
    const { ledger, names } = this.#parts;
    return ledger.unseen
      .flatMap((proof) => proof.at(-1) ?? [])
      .map(({ prefix, to }) => ({ prefix, owner: names.orId(nodeId(to)) }));
  }

  /** Whether any other node was heard recently, or none is known. */
  get isInContact(): boolean {
    const { contact, paths } = this.#parts;
    return !contact.isLost || (paths?.hasRecentAnswer ?? false);
  }

  /** Where packets for other members go; at most so many. */
  endpoints(most: number): string[] {
    const endpoints: string[] = [];
    for (const id of this.#parts.members.view.members.keys()) {
      if (endpoints.length === most) break;
      const endpoint = this.peer(id)?.endpoint;
      if (endpoint !== undefined) endpoints.push(endpoint);
    }
    return endpoints;
  }

  /** For each of these prefixes the space of another node that it lies in, if that is so. */
  spacesAround(prefixes: readonly Prefix[]): (SpaceOf | undefined)[] {
    const { identity, cluster } = this.#given;
    const { members, names } = this.#parts;
    const owners = new Owners(cluster.genesis, members.proofs());
    return prefixes.map((one) => {
      const space = owners.around(one);
      if (!space || space.owner === identity.publicKey) return undefined;
      return { prefix: space.prefix, owner: names.orId(nodeId(space.owner)) };
    });
  }

  /** A member as the dataplane is to see it. */
  peer(id: string): Peer | undefined {
    const { members, paths } = this.#parts;
    const record = id === this.#given.identity.id ? undefined : members.view.members.get(id);
    if (!record) return undefined;
    const { name, vtep, mac, leases, ecn = false } = record;
    const path = paths?.status(id);
    return {
      name,
      endpoint: path?.endpoint ?? vtep,
      mac: path?.mac ?? mac,
      ecn: path?.ecn ?? ecn,
      leases: leases.map(subnetOf),
      senders: path?.senders ?? [vtep],
      noPath: path?.noPath ?? false,
      ...(path && { mtu: path.mtu }),
    };
  }

  /** Sentences about what is not as it should be, but for the lack of a lease. */
  problems(): string[] {
    const { members, names, leasing, ownRecord, ownAttached, copyDetector, documentSync } =
      this.#parts;
    return [
      ...members.view.problems(),
      ...this.#memberStates.problems(),
      ...leasing.grantProblems(),
      ...ownRecord.problems(),
      ...ownAttached.problems(),
      ...copyDetector.problems((id) => (members.has(id) ? names.orId(id) : undefined)),
      ...documentSync.problems(),
    ];
  }

  /** Sentences about what an operator may want to change though all works. */
  notes(): string[] {
    const { clock, connections } = this.#given;
    const { names } = this.#parts;
    const clocks = connections.sessions().flatMap(({ peer, isResponsive, aheadMs }) => {
      const name = names.ofMember(peer.id);
      return name === undefined || !isResponsive || aheadMs === undefined
        ? []
        : [{ name, aheadMs }];
    });
    return clockNotes(clocks, clock.now());
  }

  /** The cluster documents that this node has in force. */
  get documents(): readonly DocumentInForce[] {
    return this.#parts.inForce.documents;
  }

  /** As `Mesh.forget`. */
  forget(name: string, force: boolean): string[] {
    return this.#forgetting.forget(name, force);
  }
}
