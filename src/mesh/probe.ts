/**
 * A probe: a small signed datagram that tries out a way for packets, and its reply.
 *
 *   0      4         5      6      7   8        24       40        44      48      56          120
 *   +------+---------+------+------+---+--------+--------+---------+-------+-------+-----------+
 *   | weft | version | kind | hops | 0 | target | origin | edition | count | nonce | signature |
 *   +------+---------+------+------+---+--------+--------+---------+-------+-------+-----------+
 *
 * A reply is a probe sent back: origin and target changed places, and edition,
 * count and nonce are those of the probe. Numbers are big-endian.
 */
import { randomBytes } from "node:crypto";
import type { Cluster } from "../lease/genesis.js";
import { MAGIC } from "./datapath.js";
import { type Identity, verified } from "./identity.js";

export const PROBE_BYTES = 120;
export const PROBE_VERSION = 1;
/** Members that may carry one packet, one after the other. */
export const MAX_RELAYS = 15;

const VERSION = 4;
const KIND = 5;
const HOPS = 6;
const ZERO = 7;
const TARGET = 8;
const ORIGIN = 24;
const EDITION = 40;
const COUNT = 44;
const NONCE = 48;
const SIGNATURE = 56;

/** `relayed`: members between may carry it. */
export type Kind = "direct" | "relayed" | "reply";
const KINDS: readonly (Kind | undefined)[] = [undefined, "direct", "relayed", "reply"];

export interface Probe {
  readonly kind: Kind;
  /** Members that may still carry it. Not signed: each of them counts it down. */
  readonly hops: number;
  /** Ids of the node that is to get it, and of the one that made it. */
  readonly target: string;
  readonly origin: string;
  /** Version of the prober's record, and number of its probe: both only ever grow. */
  readonly edition: number;
  readonly count: number;
  /** 8 bytes in hex, which nobody can guess. */
  readonly nonce: string;
  /** 64 bytes in hex. */
  readonly signature: string;
}

type Unsigned = Omit<Probe, "signature">;

/** Drawn many at a time: one by one they cost more than the rest of a probe. */
let drawn = "";

export function newNonce(): string {
  const digits = 2 * (SIGNATURE - NONCE);
  if (drawn.length === 0) drawn = randomBytes(4096).toString("hex");
  const nonce = drawn.slice(0, digits);
  drawn = drawn.slice(digits);
  return nonce;
}

export const signProbe = (origin: Identity, cluster: Cluster, probe: Unsigned): Probe => ({
  ...probe,
  signature: origin.sign(signedText(cluster, probe)),
});

/** What the target says to the probe's origin. */
export const replyTo = (probe: Probe, target: Identity, cluster: Cluster): Probe =>
  signProbe(target, cluster, {
    ...probe,
    kind: "reply",
    hops: MAX_RELAYS,
    target: probe.origin,
    origin: probe.target,
  });

/** Whether the node with this public key, its origin, has made it for this cluster. */
export const isGenuine = (cluster: Cluster, publicKey: string, probe: Probe): boolean =>
  verified(publicKey, signedText(cluster, probe), probe.signature);

export function encodeProbe(probe: Probe): Uint8Array {
  const bytes = Buffer.alloc(PROBE_BYTES);
  bytes.write(MAGIC, "latin1");
  bytes[VERSION] = PROBE_VERSION;
  bytes[KIND] = KINDS.indexOf(probe.kind);
  bytes[HOPS] = probe.hops;
  bytes.writeUInt32BE(probe.edition, EDITION);
  bytes.writeUInt32BE(probe.count, COUNT);
  const { target, origin, nonce, signature } = probe;
  bytes.write(target, TARGET, "hex");
  bytes.write(origin, ORIGIN, "hex");
  bytes.write(nonce, NONCE, "hex");
  bytes.write(signature, SIGNATURE, "hex");
  return bytes;
}

/** Nothing when the bytes are no probe. */
export function decodeProbe(bytes: Uint8Array): Probe | undefined {
  if (bytes.length !== PROBE_BYTES) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const kind = KINDS[view[KIND]!];
  const hops = view[HOPS]!;
  if (view.toString("latin1", 0, VERSION) !== MAGIC || view[VERSION] !== PROBE_VERSION) return;
  if (!kind || hops > MAX_RELAYS || view[ZERO] !== 0) return undefined;
  return {
    kind,
    hops,
    target: view.toString("hex", TARGET, ORIGIN),
    origin: view.toString("hex", ORIGIN, EDITION),
    edition: view.readUInt32BE(EDITION),
    count: view.readUInt32BE(COUNT),
    nonce: view.toString("hex", NONCE, SIGNATURE),
    signature: view.toString("hex", SIGNATURE),
  };
}

const signedText = (
  { id }: Cluster,
  { kind, target, origin, edition, count, nonce }: Unsigned,
): string =>
  `weft probe ${PROBE_VERSION}\n${id}\n${kind} ${target} ${origin} ${edition} ${count} ${nonce}`;
