/**
 * A snapshot of a dataplane: the state of its core, and beside it the peers, the policy and the numbers
 * that the core's memory refers to.
 *
 *   host       this node, its peers, its policy, their numbers (JSON)
 *   memory     clock, counters, path MTUs, fragments, limits (src/core/snapshot.ts)
 *   flows      the records of flows, with address translations
 */
import { z } from "zod";
import { FIRST_PEER } from "./compile/compiler.js";
import type { Layout } from "./core/layout.js";
import type { PublisherState } from "./core/publish.js";
import type { CoreState } from "./core/snapshot.js";
import { WeftError } from "./error.js";
import { joinSections, splitSections } from "./files/sections.js";
import type { Peer } from "./peer.js";
import type { RuleNumbersByPart } from "./policy/rule-numbers.js";

const KIND = "weft snapshot";
const VERSION = 1;

/** This node, as its dataplane was created. A snapshot is restored only where all of it is the same. */
export type Identity = Readonly<
  Record<string, string | number | boolean | readonly string[] | null>
>;

export interface HostState {
  /** Of the core: src/core/snapshot.ts. */
  readonly version: string;
  readonly own: Identity;
  readonly peers: readonly Peer[];
  /** The text of the policy. */
  readonly policy: string | null;
  /** The text of the translation document. */
  readonly nat: string | null;
  readonly rules: RuleNumbersByPart;
  readonly numbers: PublisherState;
}

export interface Snapshot extends CoreState {
  readonly host: HostState;
}

const word = z.int().min(0).max(0xffffffff);

const hostState = z.strictObject({
  version: z.string(),
  own: z.record(
    z.string(),
    z.union([z.string(), z.number(), z.boolean(), z.array(z.string()), z.null()]),
  ),
  peers: z.array(
    z.strictObject({
      name: z.string(),
      endpoint: z.string(),
      mac: z.string(),
      leases: z.array(z.string()),
      senders: z.array(z.string()).exactOptional(),
      anyPort: z.boolean().exactOptional(),
      noPath: z.boolean().exactOptional(),
      ecn: z.boolean().exactOptional(),
      mtu: z.number().exactOptional(),
    }),
  ),
  policy: z.string().nullable(),
  nat: z.string().nullable(),
  rules: z.array(z.tuple([z.string(), z.array(z.tuple([z.string(), word.min(1)]))])),
  numbers: z.strictObject({
    generation: word.min(1),
    places: z.array(z.tuple([z.string(), word])),
    ruleSince: z.array(z.tuple([word, word])),
    seen: z.array(z.tuple([word, word])),
  }),
});

export const encodeSnapshot = ({ host, memory, flows }: Snapshot): Uint8Array =>
  joinSections(KIND, VERSION, { host: Buffer.from(JSON.stringify(host)), memory, flows });

/**
 * @param like the version and the node that it must be of
 * @throws WeftError SNAPSHOT
 */
export function decodeSnapshot(
  bytes: Uint8Array,
  like: Pick<HostState, "version" | "own">,
): Snapshot {
  const sections = splitSections(KIND, VERSION, bytes);
  if (sections === "foreign") throw unusable("these bytes are no snapshot of a dataplane");
  if (sections === "version") throw otherVersion();
  if (sections === "torn") throw unusable("its checksum is wrong: it is cut off or changed");
  const [host, memory, flows] = ["host", "memory", "flows"].map((name) => sections.get(name));
  if (!host || !memory || !flows) throw contradicts();
  const text = Buffer.from(host).toString();
  if (versionIn(text) !== like.version) throw otherVersion();
  const read = hostState.safeParse(JSON.parse(text));
  if (!read.success) throw contradicts();
  refuseOther(read.data.own, like.own);
  return { host: read.data, memory, flows };
}

/** The version of the core; undefined if the text is not even JSON. */
function versionIn(text: string): unknown {
  try {
    return (JSON.parse(text) as { version?: unknown } | null)?.version;
  } catch {
    throw contradicts();
  }
}

function refuseOther(its: Identity, own: Identity): void {
  for (const [name, value] of Object.entries(own)) {
    const [a, b] = [its[name], value].map((one) => JSON.stringify(one));
    if (a === b) continue;
    throw new WeftError(
      "SNAPSHOT",
      `the snapshot is of a dataplane with ${name} ${a}, and this one has ${b}`,
      "restore it into a dataplane that was created with the same options",
    );
  }
}

/**
 * Refuses numbers for which the core has no place, and peers without one.
 * @throws WeftError SNAPSHOT
 */
export function refuseImpossible({ peers, rules, numbers }: HostState, layout: Layout): void {
  const places = new Map(numbers.places);
  const taken = new Set(places.values());
  const isPeer = (place: number) => place >= FIRST_PEER && place < layout.MAX_PEERS;
  const isRule = (number: number) => number > 0 && number < layout.MAX_RULE_NUMBERS;
  const arePossible =
    peers.every(({ name }) => places.has(name)) &&
    places.size === peers.length &&
    taken.size === places.size &&
    [...taken].every(isPeer) &&
    rules.every(([, part]) => part.every(([, number]) => isRule(number))) &&
    numbers.ruleSince.every(([number]) => isRule(number)) &&
    numbers.seen.every(([place]) => place < layout.MAX_PEERS);
  if (!arePossible) throw contradicts();
}

/** Runs the work, with the error of a snapshot in place of one about peers or a policy. */
export function orContradicts<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof WeftError ? contradicts() : error;
  }
}

/** The error for a snapshot with a right checksum that no dataplane makes. */
export const contradicts = (): WeftError => unusable("no dataplane can be in this state");

const otherVersion = (): WeftError =>
  new WeftError(
    "SNAPSHOT",
    "the snapshot cannot be restored: another version of weft made it",
    "restore it with that version, or set peers and policy anew",
  );

const unusable = (why: string): WeftError =>
  new WeftError("SNAPSHOT", `the snapshot cannot be restored: ${why}`, "take another one");
