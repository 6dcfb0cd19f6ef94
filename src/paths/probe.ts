/**
 * A probe is a small signed datagram that tests a path for packets; its reply has the same format.
 *
 *    0      4         5      6         7        8      10      11  12          16      20      28       48       68
 *   +------+---------+------+---------+--------+------+-------+---+-----------+-------+-------+--------+--------+
 *   | weft | version | kind | carried | relays | size | alone | 0 | residence | count | nonce | origin | target |
 *   +------+---------+------+---------+--------+------+-------+---+-----------+-------+-------+--------+--------+
 *   | path: one entry for each relay, in order ...          | signature, 64 bytes      | zeros, to `size`       |
 *   +-------------------------------------------------------+--------------------------+------------------------+
 *
 * Origin, target and relays are named by node id (16 bytes) and epoch (4 bytes).
 * Numbers are big-endian. A reply swaps origin and target, names no relays and has no padding, so it
 * is never longer than its probe. Size, count and nonce are those of the probe, `alone` is that of
 * the replying node, and the residence continues from the probe's.
 */
import { randomBytes } from "node:crypto";
import type { Identity } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import { CONTROL_MAGIC } from "./datapath.js";

export const PROBE_VERSION = 3;
/** Most relays on one path. */
export const MAX_RELAYS = 15;
/** The longest UDP payload of a probe, in bytes: that of IPv4. */
export const MAX_PROBE_BYTES = 65_507;
const MAX_RESIDENCE = 2 ** 32 - 1;

const VERSION = 4;
const KIND = 5;
const CARRIED = 6;
const RELAYS = 7;
const SIZE = 8;
const ALONE = 10;
const ZERO = 11;
const RESIDENCE = 12;
const COUNT = 16;
const NONCE = 20;
const ORIGIN = 28;
const TARGET = 48;
const PATH = 68;

const ID_BYTES = 16;
const RUN_BYTES = ID_BYTES + 4;
const SIGNATURE_BYTES = 64;

/** A `direct` probe goes straight to its target, a `relayed` one along the relays on its path. */
export type Kind = "direct" | "relayed" | "reply";
const KINDS: readonly (Kind | undefined)[] = [undefined, "direct", "relayed", "reply"];

/** A node in one of its runs. A probe for an earlier run is refused. */
export interface Run {
  readonly id: string;
  /** 4 random bytes in hex, drawn when the run began, and published in the node's record. */
  readonly epoch: string;
}

export const isSameRun = (a: Run, b: Run): boolean => a.id === b.id && a.epoch === b.epoch;

export interface Probe {
  readonly kind: Kind;
  /** Number of relays that have carried it so far. Not signed, because each relay adds one. */
  readonly hops: number;
  /** Bytes of the whole datagram, padding included; in a reply, those of the probe. */
  readonly size: number;
  /** The origin has no mesh session with any member. */
  readonly isAlone: boolean;
  /**
   * Microseconds that relays and target have held it so far, at most 2^32 - 1. Not signed, because
   * each node adds its own, as PTP's transparent clocks do (IEEE 1588); no decision depends on it.
   */
  readonly residence: number;
  /** Number of the origin's probe in this run, modulo 2^32. */
  readonly count: number;
  /** 8 random bytes in hex, which an attacker off the path cannot guess. */
  readonly nonce: string;
  readonly origin: Run;
  readonly target: Run;
  /** The relays in order; none in a direct probe. */
  readonly relays: readonly Run[];
  /** 64 bytes in hex. */
  readonly signature: string;
}

type Unsigned = Omit<Probe, "signature">;

/** Random digits for nonces. They are drawn in bulk: one by one they cost more than the rest of a probe. */
let drawn = "";

export function newNonce(): string {
  const digits = 2 * (ORIGIN - NONCE);
  if (drawn.length === 0) drawn = randomBytes(4096).toString("hex");
  const nonce = drawn.slice(0, digits);
  drawn = drawn.slice(digits);
  return nonce;
}

/** Bytes of a probe with this many relays, without padding. */
export const probeBytes = (relays: number): number => PATH + relays * RUN_BYTES + SIGNATURE_BYTES;

/** The node that the probe is sent to on its current hop: a relay or the target. */
export const currentHop = ({ relays, hops, target }: Unsigned): Run => relays[hops] ?? target;

/** The node that sends the probe on its current hop: a relay or the origin. */
export const previousHop = ({ relays, hops, origin }: Unsigned): Run =>
  hops === 0 ? origin : relays[hops - 1]!;

export const signProbe = (origin: Identity, cluster: Cluster, probe: Unsigned): Probe => ({
  ...probe,
  signature: origin.sign(signedText(cluster, probe)),
});

/** The target's signed reply to a probe. */
export const replyTo = (
  probe: Probe,
  target: Identity,
  cluster: Cluster,
  { isAlone }: Pick<Probe, "isAlone">,
): Probe =>
  signProbe(target, cluster, {
    ...probe,
    isAlone,
    kind: "reply",
    hops: 0,
    origin: probe.target,
    target: probe.origin,
    relays: [],
  });

/**
 * Adds the milliseconds for which this node has held a probe. A negative time counts as 0: the clocks
 * of two threads are compared with a small error.
 */
export const addResidence = (ms: number, probe: Probe): Probe => ({
  ...probe,
  residence: Math.min(probe.residence + Math.max(0, Math.round(ms * 1_000)), MAX_RESIDENCE),
});

/** Whether the origin, which has this public key, signed the probe for this cluster. */
export const isGenuine = (cluster: Cluster, publicKey: string, probe: Probe): boolean =>
  cluster.signatures.verify(publicKey, signedText(cluster, probe), probe.signature);

export function encodeProbe(probe: Probe): Uint8Array {
  const { kind, hops, size, isAlone, residence, count, nonce, relays, signature } = probe;
  const used = probeBytes(relays.length);
  const bytes = Buffer.alloc(kind === "reply" ? used : size);
  bytes.write(CONTROL_MAGIC, "latin1");
  bytes[VERSION] = PROBE_VERSION;
  bytes[KIND] = KINDS.indexOf(kind);
  bytes[CARRIED] = hops;
  bytes[RELAYS] = relays.length;
  bytes.writeUInt16BE(size, SIZE);
  bytes[ALONE] = Number(isAlone);
  bytes.writeUInt32BE(residence, RESIDENCE);
  bytes.writeUInt32BE(count, COUNT);
  bytes.write(nonce, NONCE, "hex");
  for (const [i, { id, epoch }] of [probe.origin, probe.target, ...relays].entries()) {
    bytes.write(id + epoch, ORIGIN + i * RUN_BYTES, "hex");
  }
  bytes.write(signature, used - SIGNATURE_BYTES, "hex");
  return bytes;
}

/**
 * The probe; undefined when the bytes are not a valid one. `length` is that of the whole datagram,
 * whose padding may have been cut off.
 */
export function decodeProbe(bytes: Uint8Array, length = bytes.length): Probe | undefined {
  if (bytes.length < probeBytes(0)) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.toString("latin1", 0, VERSION) !== CONTROL_MAGIC || view[VERSION] !== PROBE_VERSION)
    return;
  const kind = KINDS[view[KIND]!];
  const [hops, relays, size] = [view[CARRIED]!, view[RELAYS]!, view.readUInt16BE(SIZE)];
  const used = probeBytes(relays);
  if (!kind || hops > relays || relays > (kind === "relayed" ? MAX_RELAYS : 0)) return;
  if (view[ALONE]! > 1 || view[ZERO] !== 0) return undefined;
  if (used > Math.min(size, bytes.length)) return undefined;
  if (length !== (kind === "reply" ? used : size)) return undefined;
  if (view.subarray(used).some((byte) => byte !== 0)) return undefined;
  const hex = (from: number, to: number) => view.toString("hex", from, to);
  const run = (at: number): Run => ({
    id: hex(at, at + ID_BYTES),
    epoch: hex(at + ID_BYTES, at + RUN_BYTES),
  });
  return {
    kind,
    hops,
    size,
    isAlone: view[ALONE] === 1,
    residence: view.readUInt32BE(RESIDENCE),
    count: view.readUInt32BE(COUNT),
    nonce: hex(NONCE, ORIGIN),
    origin: run(ORIGIN),
    target: run(TARGET),
    relays: Array.from({ length: relays }, (_, i) => run(PATH + i * RUN_BYTES)),
    signature: hex(used - SIGNATURE_BYTES, used),
  };
}

function signedText({ id }: Cluster, probe: Unsigned): string {
  const { kind, size, isAlone, count, nonce, origin, target, relays } = probe;
  const runs = [origin, target, ...relays].map((run) => `${run.id} ${run.epoch}`);
  const what = `${kind} ${size} ${Number(isAlone)} ${count} ${nonce}`;
  return [`weft probe ${PROBE_VERSION}`, id, what, ...runs].join("\n");
}
