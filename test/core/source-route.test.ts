/** A sender does not choose the routers of its packet: IPv4 source routes, IPv6 routing headers of type 0. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import {
  type Extension,
  fragmentHeader,
  ipv4,
  ipv6,
  optionsHeader,
  routingHeader,
  seedOfRun,
  udp,
  vxlan,
} from "../packets.js";
import { A, B, C, Host, hostOf, read } from "./host.js";

const seed = seedOfRun("source route");

const NOP = 1;
const RECORD_ROUTE = 7;
const LSRR = 131;
const ROUTER_ALERT = 148;
const SSRR = 137;
/** One address, not yet visited (RFC 791, 3.1). */
const route = (type: number) => [type, 7, 4, 10, 9, 9, 9];

let a: Host;
beforeEach(async () => {
  a = await Host.create({ own: A, peers: [B, C] });
});

type Made = (src: string, dst: string) => Uint8Array;
const data = new Uint8Array(32);

/** IPv4 with these options, filled up with their end. */
const withOptions =
  (options: readonly number[], more: { mf?: boolean; offset?: number } = {}): Made =>
  (src, dst) => {
    const padded = new Uint8Array(Math.ceil(options.length / 4) * 4);
    padded.set(options);
    return ipv4({ src, dst, options: padded, payload: udp(src, dst, data), ...more });
  };

const withExtensions =
  (...extensions: Extension[]): Made =>
  (src, dst) =>
    ipv6({ src, dst, extensions, payload: udp(src, dst, data) });

/** The verdicts on a packet from the device, from a peer, and from a peer to another peer. */
function verdicts(made: Made): string[] {
  const family = made("10.0.0.1", "10.0.0.1")[0]! >> 4 === 4 ? 4 : 6;
  const [us, them, others] = [A, B, C].map((peer) => hostOf(peer, family)) as [
    string,
    string,
    string,
  ];
  const fromB = (packet: Uint8Array) => ({ from: B.endpoint, bytes: vxlan(packet) });
  return [
    ...a.send([read(made(us, them))]).verdicts,
    ...a.receive([fromB(made(them, us)), fromB(made(them, others))]).verdicts,
  ];
}

const everyWay = (verdict: string) => [verdict, verdict, verdict];

describe("a source route is dropped, from the device, from a peer and on the way to another one", () => {
  it.each<[string, Made]>([
    ["loose", withOptions(route(LSRR))],
    ["strict", withOptions(route(SSRR))],
    ["behind other options", withOptions([NOP, RECORD_ROUTE, 7, 4, 0, 0, 0, 0, ...route(LSRR)])],
    ["that is at its end", withOptions([LSRR, 7, 8, 10, 9, 9, 9])],
    ["without a length", withOptions([NOP, NOP, NOP, SSRR])],
    ["whose length lies", withOptions([LSRR, 255, 4])],
    ["in a first fragment", withOptions(route(LSRR), { mf: true })],
    ["in a later fragment, which carries it too", withOptions(route(SSRR), { offset: 5 })],
    ["of IPv6", withExtensions(routingHeader(0, 1))],
    ["of IPv6 with more to visit than it lists", withExtensions(routingHeader(0, 255))],
    ["of IPv6 that lists none", withExtensions(routingHeader(0, 1, 0))],
    ["of IPv6 behind other headers", withExtensions(optionsHeader(0), routingHeader(0, 2, 2))],
    [
      "of IPv6 behind one of another type",
      withExtensions(routingHeader(4, 1), routingHeader(0, 1)),
    ],
    ["of IPv6 in a first fragment", withExtensions(fragmentHeader(0, true), routingHeader(0, 1))],
    [
      "of IPv6 before the fragment header",
      withExtensions(routingHeader(0, 1), fragmentHeader(5, true)),
    ],
  ])("%s", (_, made) => {
    expect(verdicts(made)).toEqual(everyWay("source-route"));
    expect(a.counters()).toMatchObject({
      out: { received: 1, answered: 0, dropped: { "source-route": 1 } },
      in: { received: 2, answered: 0, dropped: { "source-route": 2 } },
    });
  });
});

describe("what only looks like one passes", () => {
  it.each<[string, Made]>([
    ["other options", withOptions([RECORD_ROUTE, 7, 4, 0, 0, 0, 0, ROUTER_ALERT, 4, 0, 0])],
    [
      "its number in the data of another option",
      withOptions([RECORD_ROUTE, 7, 4, ...route(LSRR).slice(0, 4)]),
    ],
    ["its number behind the end of the options", withOptions([NOP, 0, LSRR, 7, 4, 10, 9, 9])],
    ["a routing header of type 0 that is done", withExtensions(routingHeader(0, 0, 2))],
    [
      "other routing types: of Mobile IPv6, RPL, segments",
      withExtensions(...[2, 3, 4].map((type) => routingHeader(type, 1))),
    ],
  ])("%s", (_, made) => {
    expect(verdicts(made)).toEqual(everyWay("delivered"));
  });
});

describe("options that do not fit into their header are refused", () => {
  it.each<[string, number[]]>([
    ["of length 0", [RECORD_ROUTE, 0, 4, 0]],
    ["of length 1", [RECORD_ROUTE, 1, 4, 0]],
    ["that end past the header", [NOP, RECORD_ROUTE, 4, 4]],
    ["of length 255", [RECORD_ROUTE, 255, 4, 0]],
    ["without room for a length", [NOP, NOP, NOP, RECORD_ROUTE]],
  ])("%s", (_, options) => {
    expect(verdicts(withOptions(options))).toEqual(everyWay("bad-header"));
  });
});

it("any options end as a slow walk over them says", () => {
  const type = fc.oneof(fc.constantFrom(0, NOP, RECORD_ROUTE, LSRR, SSRR), fc.nat(255));
  const length = fc.oneof(fc.integer({ min: 0, max: 8 }), fc.nat(255));
  const option = fc
    .tuple(type, length, fc.array(fc.nat(255), { maxLength: 6 }))
    .map((o) => o.flat());
  const options = fc.array(option, { maxLength: 8 }).map((all) => all.flat().slice(0, 40));
  fc.assert(
    fc.property(options, (all) => {
      const padded = [...all, 0, 0, 0].slice(0, Math.ceil(all.length / 4) * 4);
      expect(verdicts(withOptions(all))).toEqual(everyWay(walkSlowly(padded)));
    }),
    { seed, numRuns: 500 },
  );
});

function walkSlowly([type, length, ...rest]: readonly number[]): string {
  if (type === undefined || type === 0) return "delivered";
  if (type === NOP) return walkSlowly(length === undefined ? [] : [length, ...rest]);
  if (type === LSRR || type === SSRR) return "source-route";
  if (length === undefined || length < 2 || length - 2 > rest.length) return "bad-header";
  return walkSlowly(rest.slice(length - 2));
}
