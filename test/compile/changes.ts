/** Random histories of a small cluster in which nearly everything gets in the way of something else. */
import fc from "fast-check";
import { parseMac, parsePrefix } from "../../src/address.js";
import type { ThisNode } from "../../src/compile/compiler.js";
import type { Peer } from "../../src/peer.js";

/** The peer of an id as it is from now on, if it is still there; or another self. */
type Event = { readonly id: string; readonly peer?: Peer } | { readonly own: ThisNode };
/** What happens at once. */
export type Step = readonly Event[];

const IDS = ["a", "b", "c", "d", "e", "f"];
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

/** Mostly its name is its id. */
const peerOf = (id: string): fc.Arbitrary<Peer> =>
  fc.record(
    {
      name: fc.oneof(
        { weight: 8, arbitrary: fc.constant(id) },
        { weight: 1, arbitrary: fc.constantFrom(...IDS) },
      ),
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

const id = fc.constantFrom(...IDS);
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 8, arbitrary: id.chain((id) => peerOf(id).map((peer) => ({ id, peer }))) },
  { weight: 4, arbitrary: id.map((id) => ({ id })) },
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

/** A cluster that changes step by step. */
export interface Changing {
  readonly own: ThisNode;
  readonly byId: ReadonlyMap<string, Peer>;
}

export const FIRST: Changing = { own: FIRST_SELF, byId: new Map() };

export const clusterOf = ({ own, byId }: Changing): Cluster => ({ own, peers: [...byId.values()] });

/** What a step changes of the peers; of two changes of one the later counts. */
export const changesOf = (step: Step): [id: string, Peer | undefined][] =>
  step.flatMap((event) => ("id" in event ? [[event.id, event.peer]] : []));

/** The cluster after a step. */
export function after({ own, byId }: Changing, step: Step): Changing {
  const all = new Map<string, Peer | undefined>([...byId, ...changesOf(step)]);
  return {
    own: step.reduce((last, event) => ("own" in event ? event.own : last), own),
    byId: new Map([...all].flatMap(([id, peer]) => (peer ? [[id, peer]] : []))),
  };
}
