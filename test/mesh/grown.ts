/** A cluster of any size without a mesh, grown like real ones: each newcomer gets half of a node's space. */

import { type Envelope, signRecord } from "../../src/gossip/record.js";
import { ed25519 } from "../../src/identity/ed25519.js";
import { Identity, vtepMac } from "../../src/identity/identity.js";
import { type Cluster, clusterOf } from "../../src/lease/genesis.js";
import { type Proof, signGrant } from "../../src/lease/grant.js";
import { founder, identity } from "./cluster.js";

const LEASE = 24;
/** Number of the first identity; other tests use lower ones. */
const FIRST = 0x10000;

export const grownIdentity = (i: number, signatures = ed25519): Identity =>
  identity(FIRST + i, signatures);

interface Owner {
  readonly identity: Identity;
  readonly proof: Proof;
  /** Its space: a base 10.x.y.0 and a prefix length. It grants half of it next. */
  readonly base: number;
  length: number;
  sequence: number;
}

const octets = (base: number): string =>
  [24, 16, 8, 0].map((shift) => (base >>> shift) & 255).join(".");

export interface Grown {
  readonly cluster: Cluster;
  readonly envelopes: readonly Envelope[];
}

export function grown(
  size: number,
  random: () => number,
  version = 1,
  signatures = ed25519,
): Grown {
  const genesis = {
    network: [{ prefix: "10.0.0.0/8", leaseLength: LEASE }],
    founder: founder.publicKey,
  };
  const cluster = clusterOf(genesis, signatures);
  const owners: Owner[] = [
    {
      identity: new Identity(founder.seed, signatures),
      proof: [],
      base: 10 << 24,
      length: 8,
      sequence: 0,
    },
  ];
  const envelopes = Array.from({ length: size }, (_, i) => {
    const rich = owners.filter(({ length }) => length < LEASE - 1);
    const granter = rich[Math.floor(random() * rich.length)]!;
    const me = grownIdentity(i, signatures);
    granter.length += 1;
    granter.sequence += 1;
    const base = granter.base + 2 ** (32 - granter.length);
    const grant = signGrant(granter.identity, cluster, {
      prefix: `${octets(base)}/${granter.length}`,
      to: me.publicKey,
      sequence: granter.sequence,
    });
    const proof = [...granter.proof, grant];
    owners.push({ identity: me, proof, base, length: granter.length, sequence: 1 });
    const lease = signGrant(me, cluster, {
      prefix: `${octets(base)}/${LEASE}`,
      to: me.publicKey,
      sequence: 1,
    });
    const address = `192.0.${2 + (i >> 8)}.${i & 255}`;
    return signRecord(me, cluster, version, {
      name: `h${i + 1}`,
      mesh: `${address}:6783`,
      vtep: `${address}:4789`,
      mac: vtepMac(me.id),
      vni: 1,
      epoch: "5eed0001",
      leases: [[...proof, lease]],
      renewed: 1_700_000_000_000 + version,
      withdrawn: false,
    });
  });
  return { cluster, envelopes };
}
