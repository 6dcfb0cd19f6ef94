/** The packets of workloads that the core sees, by the facts of a host. */
import { describe, expect, it } from "vitest";
import { parsePrefix } from "../../src/address.js";
import {
  type Coverage,
  CoverageView,
  NO_WORKLOADS,
  type WorkloadRoute,
} from "../../src/explain/coverage.js";
import { coverageAmong } from "../../src/host/workload-routes.js";

const route = (prefix: string, device: string, isLed = false): WorkloadRoute => ({
  prefix,
  device,
  isLed,
});

const coverage = (throughCore: boolean): Coverage => ({
  throughCore,
  routed: ["10.244.0.0/16", "fd00:244::/48"],
  own: ["10.244.1.1", "fd00:244:0:1::1"],
  workloads: [
    route("10.244.1.128/25", "br0", throughCore),
    route("10.244.1.5/32", "veth5", throughCore),
    route("10.244.1.6/32", "veth6", throughCore),
    route("10.244.1.7/32", "other7"),
    route("fd00:244:0:1::5/128", "veth5", throughCore),
    route("fd00:244:0:1::6/128", "veth6", throughCore),
  ],
});

const HOST = "10.244.1.1";
const OUTSIDE = "198.51.100.1";

/** Parts of the sentences; false where the core sees the packet. */
const BY_HOST = "the host routes packets between its workloads, and between them and the outside";
const SAME_LINK = "10.244.1.128/25 on br0: packets between addresses of one link";
const NOT_LED = "no pattern of --workload-interfaces matches other7";
const ALWAYS = "a node always reaches its workloads";

describe.each([
  // src, dst, without --through-core, with it
  ["workload to workload", "10.244.1.5", "10.244.1.6", BY_HOST, false],
  ["the same in IPv6", "fd00:244:0:1::5", "fd00:244:0:1::6", BY_HOST, false],
  ["ports of one bridge", "10.244.1.129", "10.244.1.130", SAME_LINK, SAME_LINK],
  ["a port of a bridge to another workload", "10.244.1.129", "10.244.1.5", BY_HOST, false],
  ["workload to another node", "10.244.1.5", "10.244.2.5", false, false],
  ["another node to a workload", "10.244.2.5", "10.244.1.5", false, false],
  ["host to another node", HOST, "10.244.2.5", false, false],
  ["host to an address that nothing has", HOST, "10.244.1.99", false, false],
  ["host to workload", HOST, "10.244.1.5", ALWAYS, ALWAYS],
  ["workload to host", "10.244.1.5", HOST, ALWAYS, ALWAYS],
  ["workload to the outside", "10.244.1.5", OUTSIDE, BY_HOST, false],
  ["outside to workload", OUTSIDE, "10.244.1.5", BY_HOST, false],
  ["a workload of another interface to the outside", "10.244.1.7", OUTSIDE, BY_HOST, NOT_LED],
  ["the same to a workload", "10.244.1.7", "10.244.1.5", BY_HOST, false],
  ["outside to a workload of another interface", OUTSIDE, "10.244.1.7", BY_HOST, false],
  ["host to the outside", HOST, OUTSIDE, "between itself and the outside", "between itself and"],
] as const)("%s", (_, src, dst, without, through) => {
  it.each([
    ["by itself", false, without],
    ["with --through-core", true, through],
  ] as const)("%s", (_, throughCore, expected) => {
    const view = new CoverageView(coverage(throughCore));
    const unseen = view.unseenBetween(view.endOf(src), view.endOf(dst));
    if (expected === false) expect(unseen).toBeUndefined();
    else expect(unseen?.why).toContain(expected);
  });
});

describe("a host", () => {
  const whys = (of: Coverage) => new CoverageView(of).unseen().map(({ why }) => why);

  it("names what it routes by itself, and the way to the core", () => {
    const [first, ...others] = new CoverageView(coverage(false)).unseen();
    expect(first).toEqual({
      why: `10.244.1.128/25, 10.244.1.5/32, 10.244.1.6/32, 10.244.1.7/32 and 2 more: ${BY_HOST}, and weft does not see them`,
      remedy: "start weft with --through-core --workload-interfaces 'br0,veth*,other7'",
    });
    expect(others.map(({ why }) => why)).toEqual([
      expect.stringContaining(SAME_LINK),
      expect.stringContaining(ALWAYS),
    ]);
  });

  it("with --through-core names what is left", () => {
    expect(whys(coverage(true))).toEqual([
      expect.stringContaining(NOT_LED),
      expect.stringContaining(SAME_LINK),
      expect.stringContaining(ALWAYS),
    ]);
  });

  it("without workloads names nothing", () => {
    expect(whys(NO_WORKLOADS)).toEqual([]);
    expect(whys({ ...coverage(false), workloads: [] })).toEqual([]);
  });

  it("has the workloads that its routes lead to", () => {
    const shown = [
      { type: "local", dst: "10.244.1.1", dev: "weft0", table: "local" },
      { type: "unreachable", dst: "10.244.1.0/24", protocol: "119" },
      { dst: "10.244.1.5", dev: "veth5" },
      { dst: "10.244.1.128/25", dev: "br0", flags: ["dead"] },
      { type: "broadcast", dst: "10.244.1.255", dev: "br0" },
    ];
    const shown6 = [
      { dst: "fd00:244:0:1::1", dev: "lo" },
      { dst: "fd00:244:0:1::/64", dev: "weft0" },
      { dst: "fd00:244:0:1::5", dev: "cali5" },
    ];
    const found = coverageAmong([shown, shown6], {
      device: "weft0",
      leases: ["10.244.1.0/24", "fd00:244:0:1::/64"].map(parsePrefix),
      routed: [parsePrefix("10.244.0.0/16")],
      throughCore: true,
      interfaces: ["veth5"],
    });
    expect(found).toEqual({
      throughCore: true,
      routed: ["10.244.0.0/16"],
      own: ["10.244.1.1"],
      workloads: [
        route("10.244.1.5/32", "veth5", true),
        route("fd00:244:0:1::5/128", "cali5", false),
      ],
    });
  });
});
