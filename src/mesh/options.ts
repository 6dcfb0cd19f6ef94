/** The parts and options that a mesh starts with. */
import type { Prefix } from "../address.js";
import type { DocumentKind } from "../documents/document-kind.js";
import type { Explain } from "../explain-sync/remote-trace.js";
import type { RecordVerifier } from "../gossip/record-verifier.js";
import type { SignatureScheme } from "../identity/signature-scheme.js";
import type { Cluster } from "../lease/genesis.js";
import type { Log } from "../log.js";
import type { DataPath } from "../paths/datapath.js";
import type { ListenAddress, Transport } from "../session/transport.js";
import type { Store } from "../state/store.js";
import type { Clock } from "../time/clock.js";

export interface MeshParts {
  readonly clock: Clock;
  readonly transport: Transport;
  readonly store: Store;
  readonly log: Log;
  /** Without one, nothing is probed, and packets for a member go to the VTEP in its record. */
  readonly datapath?: DataPath | undefined;
  /** Tries packets for other nodes; nothing where there is no dataplane. */
  readonly explain?: Explain | undefined;
  /** The kinds of cluster documents that this node knows; none if it is not given. */
  readonly documents?: readonly DocumentKind[] | undefined;
  /** How nodes sign, the same in the whole cluster: Ed25519 if it is not given. */
  readonly signatures?: SignatureScheme | undefined;
  /** Makes the verifier of a cluster's records; nodes of one process may share one. */
  readonly verifier?: ((cluster: Cluster) => RecordVerifier) | undefined;
}

export interface MeshOptions {
  readonly name: string;
  /**
   * Where peers send VXLAN to this node, like `192.0.2.1:4789` or `[fd00::1]:4789`. Its address is
   * also the mesh's, and members of the other family are left out.
   */
  readonly vtep: string;
  readonly vni: number;
  readonly listen: ListenAddress;
  /** Mesh addresses to dial. With none, and no state on disk, this node founds the cluster. */
  readonly join: readonly { readonly host: string; readonly port: number }[];
  /** The cluster's networks. The founder needs them; to others they must be what the cluster has. */
  readonly network?: readonly Prefix[] | undefined;
  /** Of the leases in the IPv4 network; 24 if it is not given. */
  readonly leaseLength?: number | undefined;
  /** Of the leases in the IPv6 network; 64 if it is not given. */
  readonly leaseLength6?: number | undefined;
  /** Subnets this node never gives away: they belong to peers that run no agent. */
  readonly reserved?: readonly Prefix[] | undefined;
  /** The VTEP MAC, if it is not to be derived from the identity. */
  readonly mac?: string | undefined;
  /** Leases to hold in each network, if not one. A record has room for `MAX_LEASES` in all. */
  readonly leases?: number | undefined;
  /** Sessions this node opens by itself, where there are so many members; others open as many to it. */
  readonly sessions?: number | undefined;
}
