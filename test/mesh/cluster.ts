/** A cluster without a mesh: identities, leases and records. */
import { type Prefix, parseAddress, parsePrefix } from "../../src/address.js";
import { WeftError } from "../../src/error.js";
import type { Tunnel } from "../../src/gossip/member-view.js";
import {
  type Envelope,
  isNodeRecord,
  type NodeRecord,
  type RecordContent,
  signRecord,
} from "../../src/gossip/record.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import { ed25519 } from "../../src/identity/ed25519.js";
import { Identity, vtepMac } from "../../src/identity/identity.js";
import { Allocator } from "../../src/lease/allocator.js";
import { clusterOf } from "../../src/lease/genesis.js";
import { type Proof, signGrant } from "../../src/lease/grant.js";
import { Ledger, type LedgerState } from "../../src/lease/ledger.js";
import { Revoker } from "../../src/lease/revoker.js";

export const identity = (n: number, signatures = ed25519): Identity =>
  new Identity(n.toString(16).padStart(64, "0"), signatures);

export const founder = identity(0xf0);
export const network = [{ prefix: "10.244.0.0/16", leaseLength: 24 }];
export const cluster = clusterOf({ network, founder: founder.publicKey });

/** The tunnel of a node at 192.0.2.250. */
export const TUNNEL: Tunnel = {
  vni: 1,
  underlay: {
    address: parseAddress("192.0.2.250"),
    networks: network.map(({ prefix }) => parsePrefix(prefix)),
  },
};

/** A node without a mesh: its disk, and the ledger on it, which a crash reads again. */
export class Owner {
  disk: LedgerState = { journal: [], spaces: [], leases: [], revoked: [], revokedByOperator: [] };
  reserved: Prefix[] = [];
  claims: Proof[] = [];
  full = false;
  now = 0;
  wanted = 1;
  ledger!: Ledger;
  allocator!: Allocator;
  revocations!: Revoker;

  constructor(
    readonly identity: Identity = founder,
    readonly of = cluster,
  ) {
    this.crash();
  }

  crash(): void {
    this.ledger = new Ledger({
      identity: this.identity,
      cluster: this.of,
      leasesPerNetwork: this.wanted,
      disk: this,
      members: { proofs: () => this.claims },
    });
    const { ledger, reserved } = this;
    this.allocator = new Allocator({ ledger, reserved, clock: { now: () => this.now } });
    this.revocations = new Revoker(ledger);
  }

  get cluster(): LedgerState {
    return this.disk;
  }

  saveCluster(change: Partial<LedgerState>): void {
    if (this.full) throw new WeftError("STATE_WRITE", "disk full", "make room");
    this.disk = { ...this.disk, ...change };
  }

  /** Grants to a node that asks in every network; throws the reason when it grants nothing. */
  give(to: Identity): Proof[] {
    const networks = this.of.genesis.network.map(({ prefix }) => prefix);
    const answer = this.allocator.grant(to.publicKey, networks);
    if (answer instanceof WeftError) throw answer;
    return answer;
  }
}

/** The proof of the founder's grant of 10.244.N.0/24, with sequence N. */
export const proofFor = (to: Identity, n: number): Proof => [
  signGrant(founder, cluster, { prefix: `10.244.${n}.0/24`, to: to.publicKey, sequence: n }),
];

export type Change = Partial<RecordContent> & { readonly version?: number };

const hostOf = (endpoint: string): string => endpoint.slice(0, endpoint.lastIndexOf(":"));

/** A valid record of the N-th node with these changes, signed by its owner. */
export function envelopeOf(n: number, { version = 1, ...change }: Change = {}): Envelope {
  const owner = identity(n);
  return signRecord(owner, cluster, version, {
    name: `h${n}`,
    mesh: `${hostOf(change.vtep ?? `192.0.2.${n}:4789`)}:6783`,
    vtep: `192.0.2.${n}:4789`,
    mac: vtepMac(owner.id),
    vni: 1,
    epoch: "5eed0001",
    leases: [proofFor(owner, n)],
    renewed: 1_700_000_000_000,
    withdrawn: false,
    ...change,
  });
}

/** An envelope with any text as its body and a valid signature of its owner. */
export function sealedText(
  owner: Identity,
  body: string,
  { kind = "node", version = 1, of = cluster } = {},
): Envelope {
  const { publicKey } = owner;
  const text = `weft record 3\n${of.id}\n${publicKey}\n${kind}\n${version}\n${body}`;
  return { owner: publicKey, kind, version, body, signature: owner.sign(text) };
}

export type Attached = Partial<Pick<Envelope, "kind" | "version" | "body">>;

/** A record of the N-th node of another kind than `node`. */
export const attachedEnvelope = (
  n: number,
  { kind = "extra", version, body = "{}" }: Attached = {},
) => sealedText(identity(n), body, { kind, version });

/** A valid record, verified and decoded. */
export function recordOf(n: number, change: Change = {}): NodeRecord {
  const record = new RecordVerifier(cluster).verify(envelopeOf(n, change));
  if (record instanceof WeftError) throw record;
  if (!isNodeRecord(record)) throw new Error(`a record of kind ${record.kind}`);
  return record;
}
