/** The genesis is the first document of a cluster: the founder makes it once, and it never changes. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { bits, covers, overlaps, type Prefix, parsePrefix } from "../address.js";
import { canonicalJson } from "../identity/canonical-json.js";
import { ed25519 } from "../identity/ed25519.js";
import * as field from "../identity/fields.js";
import type { SignatureScheme } from "../identity/signature-scheme.js";

export const MAX_NETWORKS = 4;

/** A network, and the length of the leases it is cut into. */
const network = z
  .strictObject({ prefix: field.prefix, leaseLength: z.int().min(0).max(128) })
  .refine(({ prefix, leaseLength }) => {
    const { family, length } = parsePrefix(prefix);
    return length <= leaseLength && leaseLength <= bits(family);
  }, "the lease length does not fit the network");

export const genesisSchema = z.strictObject({
  network: z
    .array(network)
    .min(1)
    .max(MAX_NETWORKS)
    .refine((all) => disjoint(all.map(({ prefix }) => parsePrefix(prefix))), "networks overlap"),
  founder: field.publicKey,
});

export type Genesis = z.infer<typeof genesisSchema>;
export type Network = Genesis["network"][number];

/** A genesis and the id of its cluster: the first 16 bytes of its hash, in hex. */
export interface Cluster {
  readonly id: string;
  readonly genesis: Genesis;
  /** Verifies whatever its nodes sign. */
  readonly signatures: SignatureScheme;
}

export function clusterOf(genesis: Genesis, signatures: SignatureScheme = ed25519): Cluster {
  const hash = createHash("sha256").update(`weft genesis 1\n${canonicalJson(genesis)}`);
  return { id: hash.digest("hex").slice(0, 32), genesis, signatures };
}

/** Networks as text for operators: `10.244.0.0/16 in /24s`, or the prefix alone without a lease length. */
export const describeNetworks = ({
  network,
}: {
  readonly network: readonly NetworkSpec[];
}): string =>
  network
    .map(({ prefix, leaseLength }) => (leaseLength ? `${prefix} in /${leaseLength}s` : prefix))
    .join(", ");

type NetworkSpec = Pick<Network, "prefix"> & { readonly leaseLength: number | undefined };

export const inside = (outer: string, inner: string): boolean =>
  covers(parsePrefix(outer), parsePrefix(inner));

const disjoint = (prefixes: Prefix[]): boolean =>
  prefixes.every((a, i) => prefixes.slice(i + 1).every((b) => !overlaps(a, b)));

/** The remedy in errors about two clusters that meet. */
export const KEEP_ONE =
  "keep one: stop the nodes of the other, move their state directories away, start them with --join";
