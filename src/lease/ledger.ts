/**
 * The ledger of a node: which space and leases it holds, what it granted, and which grants are
 * revoked. `Ledger` reads what is on disk; `Allocator` and `Revoker` change it.
 */
import { covers, type Prefix, parsePrefix } from "../address.js";
import { type Identity, nodeId } from "../identity/identity.js";
import { MAX_ATTESTED } from "./attestation.js";
import { type Cluster, inside, type Network } from "./genesis.js";
import { type Grant, type Proof, prefixOf, subnetOf } from "./grant.js";

/** Revoked grants on disk, beyond which other nodes cannot make this one write down more. About 2 MB. */
export const MAX_REVOKED = 16_384;

/** The ledger on disk. */
export interface LedgerState {
  /** Every grant made so far. */
  readonly journal: readonly Grant[];
  /** Proofs of the space that was granted to this node. */
  readonly spaces: readonly Proof[];
  /** Proofs of the leases that this node holds. */
  readonly leases: readonly Proof[];
  /** Signatures of the revoked grants of this node and below it. */
  readonly revoked: readonly string[];
  /** The last of these that an operator had this node revoke, at most `MAX_REVOKED_IN_RECORD`. */
  readonly revokedByOperator: readonly string[];
}

export interface LedgerParts {
  readonly identity: Identity;
  readonly cluster: Cluster;
  /** Leases that this node is to hold in each network. */
  readonly leasesPerNetwork: number;
  readonly disk: LedgerDisk;
  /** The proofs in other nodes' records. Space they prove is not free, whatever the journal says. */
  readonly members: { proofs(): Iterable<Proof> };
}

export interface LedgerDisk {
  readonly cluster: LedgerState;
  /** Returns once the change is on disk, or throws. */
  saveCluster(change: Partial<LedgerState>): void;
}

/** A part of a network that this node owns. The founder's proof of it is empty. */
export interface Space {
  readonly prefix: string;
  readonly proof: Proof;
}

export class Ledger {
  readonly identity: Identity;
  readonly cluster: Cluster;
  readonly #parts: LedgerParts;
  #revoked: { readonly list: readonly string[]; readonly set: ReadonlySet<string> } | undefined;

  constructor(parts: LedgerParts) {
    this.identity = parts.identity;
    this.cluster = parts.cluster;
    this.#parts = parts;
  }

  get state(): LedgerState {
    return this.#parts.disk.cluster;
  }

  /** Returns once the change is on disk, or throws. */
  write(change: Partial<LedgerState>): void {
    this.#parts.disk.saveCluster(change);
  }

  get networks(): readonly Network[] {
    return this.cluster.genesis.network;
  }

  // ---- what this node holds

  /** The networks in which this node holds fewer leases than it is to hold. */
  get incompleteNetworks(): Network[] {
    return this.networks.filter((network) => this.missing(network) > 0);
  }

  /** The networks in which this node holds none. */
  get emptyNetworks(): Network[] {
    const leases = this.state.leases.map(subnetOf);
    return this.networks.filter(({ prefix }) => !leases.some((lease) => inside(prefix, lease)));
  }

  /** How many leases this node is to take in a network, beside those it has. */
  missing({ prefix }: Network): number {
    const held = this.state.leases.filter((proof) => inside(prefix, subnetOf(proof)));
    return Math.max(0, this.#parts.leasesPerNetwork - held.length);
  }

  /** Whether the prefix has the lease length, so that it cannot be granted on. */
  isLease(prefix: string): boolean {
    const network = this.networks.find((whole) => inside(whole.prefix, prefix));
    return network?.leaseLength === parsePrefix(prefix).length;
  }

  /** This node's space in a network. */
  spacesIn(network: Network): Space[] {
    const granted = this.state.spaces
      .map((proof) => ({ prefix: subnetOf(proof), proof }))
      .filter(({ prefix }) => inside(network.prefix, prefix));
    const isFounder = this.cluster.genesis.founder === this.identity.publicKey;
    return isFounder ? [{ prefix: network.prefix, proof: [] }] : granted;
  }

  /** This node's space that holds a prefix. */
  spaceOf(prefix: string): Space | undefined {
    return this.networks
      .flatMap((network) => this.spacesIn(network))
      .find((space) => inside(space.prefix, prefix));
  }

  // ---- grants to this node

  /** Proofs of all space and leases that this node holds. */
  get proofs(): Proof[] {
    const { spaces, leases } = this.state;
    return [...spaces, ...leases];
  }

  /** The last grant by another in each proof this node holds, each once. */
  get received(): Grant[] {
    const me = this.identity.publicKey;
    const grants = this.proofs.flatMap(
      (proof) => proof.findLast(({ from, to }) => to === me && from !== me) ?? [],
    );
    return [...new Map(grants.map((grant) => [grant.signature, grant])).values()];
  }

  /** Signatures of the grants from which this node's space and leases come. */
  get receivedSignatures(): string[] {
    return this.received.map(({ signature }) => signature);
  }

  /** Public keys of the other nodes that granted this one what it holds, and can revoke it. */
  get granters(): Set<string> {
    return new Set(this.received.map(({ from }) => from));
  }

  // ---- grants by this node

  /** The grants of this node to others that are not revoked. */
  get granted(): Grant[] {
    const isOther = ({ to }: Grant) => to !== this.identity.publicKey;
    return this.state.journal.filter((one) => isOther(one) && !this.revoked.has(one.signature));
  }

  /** Prefixes that this node granted to the node of this id and has not revoked. */
  grantedTo(id: string): string[] {
    return this.granted.filter(({ to }) => nodeId(to) === id).map(({ prefix }) => prefix);
  }

  /** Proofs of the grants of this node to the node of this public key in a network, without revoked ones. */
  proofsTo(to: string, network: Network): Proof[] {
    return this.state.journal.flatMap((grant) => {
      if (grant.to !== to || this.revoked.has(grant.signature)) return [];
      return inside(network.prefix, grant.prefix) ? this.#proofOf(grant) : [];
    });
  }

  /** Proofs of the grants of this node that are not revoked and that no record shows. */
  get unseen(): Proof[] {
    const unseen = new Map(this.granted.map((grant) => [grant.signature, grant]));
    for (const proof of this.claims()) {
      if (unseen.size === 0) break;
      for (const { signature } of proof) unseen.delete(signature);
    }
    return [...unseen.values()].flatMap((grant) => this.#proofOf(grant));
  }

  /**
   * Signatures of the grants of this node to another that are not revoked. An attestation names
   * `MAX_ATTESTED`: grants that a record shows come first, since the receiver drops what is not named.
   */
  attestedTo(to: string): string[] {
    const grants = this.networks
      .flatMap((network) => this.proofsTo(to, network))
      .map((proof) => proof.at(-1)!.signature);
    if (grants.length <= MAX_ATTESTED) return grants;
    const unseen = new Set(this.unseen.map((proof) => proof.at(-1)!.signature));
    const rank = (signature: string) => Number(unseen.has(signature));
    return grants.sort((a, b) => rank(a) - rank(b)).slice(0, MAX_ATTESTED);
  }

  /** The proof of a grant of this node; none if the space is no longer its own. */
  #proofOf(grant: Grant): Proof[] {
    const space = this.spaceOf(grant.prefix);
    return space ? [[...space.proof, grant]] : [];
  }

  /** Whether this node holds a grant of another node, or another one holds a grant of it. */
  get knowsOthers(): boolean {
    return this.granted.length > 0 || this.granters.size > 0;
  }

  /** The parts of a space that are granted, by the journal and by the proofs that others show. */
  *grantedFrom(space: Prefix): Generator<Prefix> {
    const { journal, leases } = this.state;
    for (const proof of leases) yield prefixOf(proof.at(-1)!);
    for (const grant of journal) if (!this.revoked.has(grant.signature)) yield prefixOf(grant);
    for (const proof of this.claims()) {
      const first = proof.find(
        (grant) =>
          covers(space, prefixOf(grant)) &&
          !this.revoked.has(grant.signature) &&
          (grant.to !== this.identity.publicKey || this.isLease(grant.prefix)),
      );
      if (first) yield prefixOf(first);
    }
  }

  claims(): Iterable<Proof> {
    return this.#parts.members.proofs();
  }

  // ---- revoked grants

  /** Signatures of the revoked grants of this node and below it. */
  get revoked(): ReadonlySet<string> {
    const list = this.state.revoked;
    if (this.#revoked?.list !== list) this.#revoked = { list, set: new Set(list) };
    return this.#revoked.set;
  }

  /** Whether other nodes can make this one write down more revoked grants. */
  get canRevoke(): boolean {
    return this.state.revoked.length < MAX_REVOKED;
  }
}
