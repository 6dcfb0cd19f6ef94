import { expect, it } from "vitest";
import { formatPrefix, parseAddress, parsePrefix } from "../../src/address.js";
import {
  conflictProblems,
  conflictsAmong,
  isFatal,
  type Rules,
  type ShownRoute,
  type ShownRule,
} from "../../src/host/conflict.js";

const LOCAL: ShownRule = { src: "all", table: "local" };
const MAIN: ShownRule = { src: "all", table: "main" };

const NETWORK = { 4: "10.244.0.0/16", 6: "fd00:244::/48" } as const;
const LEASES = ["10.244.7.0/24", "fd00:244:0:7::/64"].map(parsePrefix);

/** The conflicts for these routes, as if `ip` had shown them for the network of that family. */
function conflicts(family: 4 | 6, routes: ShownRoute[], rules?: ShownRule[], leases = LEASES) {
  const routed = parsePrefix(NETWORK[family]);
  const byFamily: Rules = new Map(rules ? [[family, rules]] : []);
  const candidates = routes.map((route) => ({ routed, route }));
  return conflictsAmong(candidates, byFamily, { device: "weft0", routed: [routed], leases });
}
const routesOf = (...args: Parameters<typeof conflicts>) =>
  conflicts(...args).map(({ route }) => route);

/** The routes of a bridge with an address. */
const bridge = (dev: string, subnet: string, address: string): ShownRoute[] => [
  { dst: subnet, dev, protocol: "kernel" },
  { type: "local", dst: address, dev, table: "local", protocol: "kernel" },
  { type: "broadcast", dst: address.replace(/\d+$/, "255"), dev, table: "local" },
];
const OWN: ShownRoute[] = [
  { dst: "10.244.0.0/16", dev: "weft0" },
  { type: "local", dst: "10.244.7.1", dev: "weft0", table: "local", protocol: "kernel" },
  { type: "unreachable", dst: "10.244.0.0/16", protocol: "119", metric: 4294937441 },
  { dst: "default", gateway: "192.0.2.254", dev: "eth0" },
  { type: "unreachable", dst: "10.244.9.0/24", protocol: "119", metric: 4294937442 },
];

it("a host with weft's own routes and a default route has no conflict", () => {
  expect(routesOf(4, OWN)).toEqual([]);
});

it("a bridge in the space of others is one conflict, named once", () => {
  expect(conflicts(4, [...OWN, ...bridge("docker0", "10.244.1.0/24", "10.244.1.1")])).toMatchObject(
    [{ route: "10.244.1.0/24 dev docker0", device: "docker0" }],
  );
  const bridge6: ShownRoute[] = [
    { dst: "fd00:244:0:9::/64", dev: "docker0", metric: 256 },
    { type: "local", dst: "fd00:244:0:9::1", dev: "docker0", table: "local", metric: 0 },
    { type: "anycast", dst: "fd00:244:0:9::", dev: "docker0", table: "local", metric: 0 },
  ];
  expect(routesOf(6, bridge6)).toEqual(["fd00:244:0:9::/64 dev docker0"]);
});

it("a bridge within the own leases is none, also one as wide as two of them", () => {
  expect(routesOf(4, bridge("cni0", "10.244.7.0/24", "10.244.7.1"))).toEqual([]);
  expect(routesOf(4, bridge("cni0", "10.244.7.128/25", "10.244.7.129"))).toEqual([]);
  const two = ["10.244.6.0/24", "10.244.7.0/24"].map(parsePrefix);
  expect(routesOf(4, bridge("cni0", "10.244.6.0/23", "10.244.7.1"), undefined, two)).toEqual([]);
  expect(routesOf(4, bridge("cni0", "10.244.6.0/23", "10.244.7.1"))).toHaveLength(1);
});

it.each<[string, 4 | 6, ShownRoute, string[]]>([
  ["a more specific route", 4, { dst: "10.244.3.4", dev: "tun9" }, ["10.244.3.4 dev tun9"]],
  [
    "a more specific route that refuses",
    4,
    { type: "blackhole", dst: "10.244.3.0/26", protocol: "bird" },
    ["blackhole 10.244.3.0/26"],
  ],
  [
    "one in main that leaves to the next table",
    4,
    { type: "throw", dst: "10.244.3.0/26" },
    ["throw 10.244.3.0/26"],
  ],
  ["a wider route in main", 4, { dst: "10.0.0.0/8", dev: "eth0" }, []],
  [
    "a wider route in local",
    4,
    { type: "local", dst: "10.0.0.0/8", dev: "lo", table: "local" },
    ["local 10.0.0.0/8 dev lo table local"],
  ],
  ["an equal route of a higher metric", 4, { dst: "10.244.0.0/16", dev: "eth0", metric: 100 }, []],
  [
    "an equal route of a lower metric",
    6,
    { dst: "fd00:244::/48", dev: "eth0", metric: 256 },
    ["fd00:244::/48 dev eth0"],
  ],
  ["one in a table behind main", 4, { dst: "10.244.3.0/24", dev: "eth0", table: "default" }, []],
  [
    "one in a table that no rule looks up",
    4,
    { dst: "10.244.3.0/24", dev: "eth0", table: "7" },
    [],
  ],
  ["a dead one", 4, { dst: "10.244.3.0/24", dev: "eth0", flags: ["dead", "linkdown"] }, []],
  [
    "one over a bridge without containers",
    4,
    { dst: "10.244.3.0/24", dev: "docker0", flags: ["linkdown"] },
    ["10.244.3.0/24 dev docker0"],
  ],
])("%s", (_, family, route, expected) => {
  expect(routesOf(family, family === 4 ? [...OWN, route] : [route])).toEqual(expected);
});

const IN_52: ShownRoute = { dst: "10.244.3.0/24", dev: "tailscale0", table: "52" };
const TAKEN = ["10.244.3.0/24 dev tailscale0 table 52"];
const DEFAULT_52: ShownRoute = { dst: "default", dev: "wg0", table: "52" };

it.each<[string, ShownRule[], ShownRoute[], string[]]>([
  ["is looked up before main", [LOCAL, { src: "all", table: "52" }, MAIN], [IN_52], TAKEN],
  ["is looked up behind main", [LOCAL, MAIN, { src: "all", table: "52" }], [IN_52], []],
  [
    "is for marked packets",
    [LOCAL, { table: "52", fwmark: "0x1" } as ShownRule, MAIN],
    [IN_52],
    [],
  ],
  [
    "is for all but marked packets",
    [LOCAL, { table: "52", fwmark: "0x1", not: null } as ShownRule, MAIN],
    [DEFAULT_52],
    ["default dev wg0 table 52"],
  ],
  [
    "comes behind main without its default route",
    [LOCAL, { ...MAIN, suppress_prefixlen: 0 }, { src: "all", table: "52" }, MAIN],
    [DEFAULT_52],
    [],
  ],
  [
    "is for packets from an address of the underlay",
    [LOCAL, { src: "192.0.2.1", table: "52" }, MAIN],
    [DEFAULT_52],
    [],
  ],
  [
    "is for packets from the overlay",
    [LOCAL, { src: "10.244.7.0", srclen: 24, table: "52" }, MAIN],
    [DEFAULT_52],
    ["default dev wg0 table 52"],
  ],
  [
    "is for packets to elsewhere",
    [LOCAL, { src: "all", dst: "10.3.0.0", dstlen: 16, table: "52" }, MAIN],
    [DEFAULT_52],
    [],
  ],
  [
    "is for packets to the own lease",
    [LOCAL, { src: "all", dst: "10.244.7.0", dstlen: 24, table: "52" }, MAIN],
    [DEFAULT_52],
    [],
  ],
  [
    "is for packets to a part of the network",
    [LOCAL, { src: "all", dst: "10.244.8.0", dstlen: 24, table: "52" }, MAIN],
    [DEFAULT_52],
    ["default dev wg0 table 52"],
  ],
  [
    "is for packets that come from another device",
    [LOCAL, { src: "all", iif: "eth1", table: "52" }, MAIN],
    [DEFAULT_52],
    [],
  ],
  [
    "leaves the overlay to main",
    [LOCAL, { src: "all", table: "52" }, MAIN],
    [DEFAULT_52, { type: "throw", dst: "10.244.0.0/16", table: "52" }],
    [],
  ],
  [
    "leaves a part of the overlay to main",
    [LOCAL, { src: "all", table: "52" }, MAIN],
    [DEFAULT_52, { type: "throw", dst: "10.244.3.0/24", table: "52" }],
    ["default dev wg0 table 52"],
  ],
])("a route in a table that %s", (_, rules, routes, expected) => {
  expect(routesOf(4, [...OWN, ...routes], rules)).toEqual(expected);
});

it("a node can do nothing when the whole network is taken, or its own address", () => {
  const fatal = (route: ShownRoute) =>
    conflicts(4, [route]).map((it) => isFatal(it, [parseAddress("10.244.7.1")]));
  expect(fatal({ type: "local", dst: "10.0.0.0/8", dev: "lo", table: "local" })).toEqual([true]);
  expect(fatal({ dst: "10.244.0.0/20", dev: "br0" })).toEqual([true]);
  expect(fatal({ dst: "10.244.16.0/20", dev: "br0" })).toEqual([false]);
});

it("each is a sentence with both ways out; a thousand of them are nine", () => {
  const of = (count: number) =>
    conflicts(
      4,
      Array.from({ length: count }, (_, i) => ({
        dst: formatPrefix(parsePrefix(`10.244.${100 + (i >> 8)}.${i & 255}/32`)),
        dev: `veth${i}`,
      })),
    );
  expect(conflictProblems(of(1), "weft0")).toEqual([
    'the route "10.244.100.0/32 dev veth0" of this host takes packets for 10.244.100.0/32 away from weft0: ' +
      "change the network of veth0, or found the cluster on another network with --network",
  ]);
  const problems = conflictProblems(of(1_000), "weft0");
  expect(problems).toHaveLength(9);
  expect(problems.at(-1)).toBe("992 more routes of this host take packets away from weft0");
});
