/** A cluster on paper: identities, leases, and records, without a mesh. */
import { Allocator } from "../../src/lease/allocator.js";
import { clusterOf } from "../../src/lease/genesis.js";
import { type Grant, type Proof, signGrant } from "../../src/lease/grant.js";
import { Identity, macOf } from "../../src/mesh/identity.js";
import { type NodeRecord, type Said, signRecord } from "../../src/mesh/record.js";

export const identity = (n: number): Identity => new Identity(n.toString(16).padStart(64, "0"));

export const founder = identity(0xf0);
export const network = [{ prefix: "10.244.0.0/16", leaseLength: 24 }];
export const cluster = clusterOf({ network, founder: founder.publicKey });

export const allocator = (journal: Grant[] = [], save = (_: readonly Grant[]) => {}): Allocator =>
  new Allocator({ identity: founder, cluster, journal, reserved: [], save });

/** The founder's grant of 10.244.N.0/24 as its N-th. */
export const proofFor = (to: Identity, n: number): Proof => [
  signGrant(founder, cluster, { prefix: `10.244.${n}.0/24`, to: to.publicKey, sequence: n }),
];

/** A right record of the N-th node, but for what is asked otherwise. */
export function recordOf(n: number, change: Partial<Said> = {}): NodeRecord {
  const owner = identity(n);
  return signRecord(owner, cluster, {
    owner: owner.publicKey,
    version: 1,
    name: `h${n}`,
    mesh: `192.0.2.${n}:6783`,
    vtep: `192.0.2.${n}:4789`,
    mac: macOf(owner.id),
    vni: 1,
    leases: [[...proofFor(owner, n)]],
    renewed: 1_700_000_000_000,
    withdrawn: false,
    ...change,
  });
}
