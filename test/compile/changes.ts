/** Random histories of a small cluster in which nearly everything gets in the way of something else. */
import fc from "fast-check";
import { parseMac, parsePrefix } from "../../src/address.js";
import type { Change, ThisNode } from "../../src/compile/compiler.js";
import type { Peer } from "../../src/peer.js";

/** A peer to be set, a name whose peer goes, or another self. */
type Event = { readonly set: Peer } | { readonly remove: string } | { readonly own: ThisNode };
/** What happens at once. */
export type Step = readonly Event[];

const NAMES = ["a", "b", "c", "d", "e", "f"];
const ADDRESSES = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"];
const MACS = [2, 3, 4, 5, 0xa].map((n) => `02:00:00:00:00:0${n.toString(16)}`);
export const PREFIXES = [
  "10.1.0.0/16",
  "10.1.2.0/24",
  "10.1.2.128/25",
  "10.2.0.0/24",
  "10.2.1.0/24",
  "10.2.1.5/32",
  "10.4.0.0/14",
  "fd00::/48",
  "fd00:0:0:1::/64",
  "fd00:0:0:2::/64",
];

const prefix = fc.constantFrom(...PREFIXES);
const endpoint = fc
  .tuple(fc.constantFrom(...ADDRESSES), fc.constantFrom(4789, 4790))
  .map(([address, port]) => `${address.includes(":") ? `[${address}]` : address}:${port}`);

const peer: fc.Arbitrary<Peer> = fc.record(
  {
    name: fc.constantFrom(...NAMES),
    endpoint: often(endpoint, "192.0.2.1"),
    mac: often(fc.constantFrom(...MACS, "02:00:00:00:00:0A"), "01:00:00:00:00:01"),
    leases: fc.array(often(prefix, "10.2.0.1/24"), { maxLength: 3 }),
    senders: fc.array(often(endpoint, "192.0.2.1"), { maxLength: 5 }),
    anyPort: fc.boolean(),
    noPath: fc.boolean(),
    mtu: often(fc.constantFrom(506, 1280, 1400, 8950, 65_535), 505),
  },
  { requiredKeys: ["name", "endpoint", "mac", "leases"] },
);

const own: fc.Arbitrary<ThisNode> = fc.record({
  vni: fc.constantFrom(1, 2),
  mac: fc.constantFrom("02:00:00:00:00:01", "02:00:00:00:00:0f").map(parseMac),
  mtu: fc.constantFrom(1450, 8950),
  leases: fc
    .uniqueArray(fc.constantFrom("10.3.0.0/24", "10.2.0.0/24", "fd00:0:0:3::/64"), {
      maxLength: 2,
    })
    .map((texts) => texts.map(parsePrefix)),
});

/** Now and then something that cannot be. */
function often<T>(good: fc.Arbitrary<T>, bad: T): fc.Arbitrary<T> {
  return fc.oneof({ weight: 40, arbitrary: good }, { weight: 1, arbitrary: fc.constant(bad) });
}

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 8, arbitrary: peer.map((set) => ({ set })) },
  { weight: 4, arbitrary: fc.constantFrom(...NAMES).map((remove) => ({ remove })) },
  { weight: 1, arbitrary: own.map((own) => ({ own })) },
);

export const history: fc.Arbitrary<Step[]> = fc.array(
  fc.array(event, { minLength: 1, maxLength: 4 }),
  { minLength: 1, maxLength: 40 },
);

export const FIRST_SELF: ThisNode = {
  vni: 1,
  mac: parseMac("02:00:00:00:00:01"),
  mtu: 1450,
  leases: [parsePrefix("10.3.0.0/24")],
};

export interface Cluster {
  readonly own: ThisNode;
  readonly peers: readonly Peer[];
}

/** What a step changes of the peers. What is set twice at once is a mistake. */
export const changeOf = (step: Step): Change => ({
  set: step.flatMap((event) => ("set" in event ? event.set : [])),
  remove: step.flatMap((event) => ("remove" in event ? event.remove : [])),
});

/** The cluster after a step. */
export function after({ own, peers }: Cluster, step: Step): Cluster {
  const { set, remove } = changeOf(step);
  const replaced = new Set([...set.map(({ name }) => name), ...remove]);
  return {
    own: step.reduce((last, event) => ("own" in event ? event.own : last), own),
    peers: [...peers.filter(({ name }) => !replaced.has(name)), ...set],
  };
}
