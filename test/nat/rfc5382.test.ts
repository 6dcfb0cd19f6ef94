/** RFC 5382: how a NAT behaves towards TCP. What is not done stands in docs/nat.md. */
import { describe, expect, it } from "vitest";
import { TCP } from "../packets.js";
import { icmpError } from "./errors.js";
import {
  bytesOf,
  FAMILIES,
  type Family,
  farHost,
  insideHost,
  MINUTE,
  OUTSIDE,
  PROFILES,
  readError,
  Site,
  tupleTo,
} from "./site.js";
import { reverse, type Tuple } from "./tuple.js";

const [FIN, SYN, RST, ACK] = [1, 2, 4, 16];
const SYN_ACK = SYN | ACK;
const out = (sport = 5000, dport = 80, more: Partial<Tuple> = {}, family: Family = 4) =>
  Site.out(sport, dport, { protocol: TCP, ...more }, family);

const OPENING = { flags: SYN, sequence: 100 };
const ANSWER = { flags: SYN_ACK, sequence: 500, acknowledgment: 101 };
const THIRD = { flags: ACK, sequence: 101, acknowledgment: 501 };

/** Opens a connection from inside, and returns its tuple outside. */
function open(site: Site, came: Tuple): Tuple {
  const goes = site.sent(came, OPENING);
  site.answers(came, goes, ANSWER);
  expect(site.sent(came, THIRD)).toEqual(goes);
  return goes;
}

describe.each(PROFILES)("profile %s", (profile) => {
  it.each(FAMILIES)("RFC 5382 REQ-1: a mapping is endpoint-independent (IPv%i)", async (family) => {
    const site = await Site.create(profile);
    const first = open(site, out(5000, 80, {}, family));
    expect(first.src).toBe(OUTSIDE[family]);
    for (const n of [7, 8, 9]) {
      const goes = site.sent(out(5000, 1000 + n, { dst: farHost(n, family) }, family), OPENING);
      expect([goes.src, goes.sport]).toEqual([first.src, first.sport]);
    }
  });

  it.each(FAMILIES)("RFC 5382 REQ-2: connections open, go on and close (IPv%i)", async (family) => {
    const site = await Site.create(profile);
    const came = out(5000, 80, {}, family);
    const goes = open(site, came);
    const data = new Uint8Array(100);
    expect(site.sent(came, { ...THIRD, data })).toEqual(goes);
    site.answers(came, goes, { flags: ACK, sequence: 501, acknowledgment: 201, data });
    const last = { flags: FIN | ACK, sequence: 201, acknowledgment: 601 };
    expect(site.sent(came, last)).toEqual(goes);
    site.answers(came, goes, { flags: FIN | ACK, sequence: 601, acknowledgment: 202 });
    expect(site.sent(came, { flags: ACK, sequence: 202, acknowledgment: 602 })).toEqual(goes);
    expect(site.node.dataplane.flows()).toMatchObject([{ state: "time-wait" }]);
    // Anew with the same ports.
    expect(open(site, came)).toEqual(goes);
  });

  it("RFC 5382 REQ-2: a connection opens from outside by a mapping", async () => {
    const site = await Site.create(profile);
    const { src, sport } = open(site, out());
    const call = out(9, sport, { src: farHost(99), dst: src });
    const inside = site.received(call, OPENING);
    expect(inside).toEqual({ ...call, dst: insideHost(5), dport: 5000 });
    expect(site.sent(reverse(inside), ANSWER)).toEqual(reverse(call));
    expect(site.received(call, THIRD)).toEqual(inside);
  });

  it("RFC 5382 REQ-2a: both ends may open at once", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came, OPENING);
    site.answers(came, goes, { flags: SYN, sequence: 500 });
    expect(site.sent(came, { flags: SYN_ACK, sequence: 100, acknowledgment: 501 })).toEqual(goes);
    site.answers(came, goes, ANSWER);
    expect(site.node.dataplane.flows()).toMatchObject([{ state: "established" }]);
  });

  it("RFC 5382 REQ-2: a reset ends a connection on both sides", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = open(site, came);
    site.answers(came, goes, { flags: RST, sequence: 501 });
    expect(site.node.dataplane.flows()).toMatchObject([{ state: "reset" }]);
    expect(open(site, came)).toEqual(goes);
  });

  it("RFC 5382 REQ-3: filtering is the policy's, as for UDP", async () => {
    const site = await Site.create(profile);
    const { src, sport } = open(site, out());
    const stranger = out(9, sport, { src: farHost(99), dst: src });
    expect(site.received(stranger, OPENING).dst).toBe(insideHost(5));
    const rule = { name: "site", applies: [OUTSIDE[4]], ingress: [] };
    site.node.dataplane.setPolicy({ policies: [rule], profile });
    const other = { ...stranger, sport: 10 };
    expect(site.node.come(other, OPENING)).toMatchObject({ drop: "denied-ingress" });
  });

  it("RFC 5382 REQ-6: addresses in the payload stay as they are", async () => {
    const site = await Site.create(profile);
    const came = out(5000, 21);
    open(site, came);
    const data = new TextEncoder().encode("PORT 10,1,0,5,19,136\r\n");
    const { bytes } = site.node.go(came, { ...THIRD, data });
    expect(bytes!.subarray(40)).toEqual(data);
  });

  it("RFC 5382 REQ-7: no two mappings share an outside port", async () => {
    const site = await Site.create(profile);
    const ports = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      const src = insideHost(1 + (i % 250));
      const goes = site.sent(out(5000 + i, 80, { src, dst: farHost(1 + (i % 100)) }), OPENING);
      ports.add(goes.sport);
    }
    expect(ports.size).toBe(1000);
  });

  it.each(FAMILIES)(
    "RFC 5382 REQ-8: a host inside reaches another by its mapping (IPv%i)",
    async (family) => {
      const site = await Site.create(profile);
      const server = site.sent(out(5000, 80, {}, family), OPENING);
      const src = insideHost(6, family);
      const client = out(6000, server.sport, { src, dst: server.src }, family);
      const there = tupleTo("device", site.node.go(client, OPENING));
      expect(there).toMatchObject({
        dst: insideHost(5, family),
        dport: 5000,
        src: OUTSIDE[family],
      });
      const back = tupleTo("device", site.node.go(reverse(there), ANSWER));
      expect(back).toEqual(reverse(client));
      expect(tupleTo("device", site.node.go(client, THIRD))).toEqual(there);
      // REQ-8a: with the outside source address and port.
      const outside = site.sent(out(6000, 80, { src }, family), OPENING);
      expect([outside.src, outside.sport]).toEqual([there.src, there.sport]);
    },
  );

  it.each(FAMILIES)(
    "RFC 5382 REQ-9: a destination unreachable is translated (IPv%i)",
    async (family) => {
      const site = await Site.create(profile);
      const came = out(5000, 80, {}, family);
      const goes = open(site, came);
      const about = bytesOf(goes, THIRD);
      const error = icmpError(about, { src: farHost(9, family), dst: goes.src });
      const result = site.node.in(error);
      expect(readError(result.bytes!)).toMatchObject({ dst: came.src, quoted: came });
    },
  );

  it("RFC 5382 REQ-10: ICMP errors end neither the mapping nor the connection", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = open(site, came);
    for (let code = 0; code < 16; code++) {
      site.node.in(icmpError(bytesOf(goes, THIRD), { src: goes.dst, dst: goes.src, code }));
    }
    site.answers(came, goes, { flags: ACK, sequence: 501, acknowledgment: 101 });
    expect(site.sent(came, THIRD)).toEqual(goes);
    expect(site.node.dataplane.flows()).toMatchObject([{ state: "established" }]);
  });
});

describe("profile rfc", () => {
  it("RFC 5382 REQ-5: an established connection lives for 2 hours 4 minutes without a packet", async () => {
    const site = await Site.create("rfc");
    const came = out();
    const goes = open(site, came);
    site.advance(124 * MINUTE);
    site.answers(came, goes, { flags: ACK, sequence: 501, acknowledgment: 101 });
  });

  it("RFC 5382 REQ-5: one that opens lives for 4 minutes", async () => {
    const site = await Site.create("rfc");
    const came = out();
    const goes = site.sent(came, OPENING);
    site.advance(4 * MINUTE);
    site.answers(came, goes, ANSWER);
  });

  it("RFC 5382 REQ-5: one that closes lives for 4 minutes", async () => {
    const site = await Site.create("rfc");
    const came = out();
    const goes = open(site, came);
    site.sent(came, { flags: FIN | ACK, sequence: 101, acknowledgment: 501 });
    site.advance(4 * MINUTE);
    site.answers(came, goes, { flags: FIN | ACK, sequence: 501, acknowledgment: 102 });
  });
});

it("RFC 5382 REQ-5a: the profile linux has the idle times of Linux", async () => {
  const site = await Site.create("linux");
  const came = out();
  const goes = open(site, came);
  site.advance(5 * 24 * 60 * MINUTE);
  site.answers(came, goes, { flags: ACK, sequence: 501, acknowledgment: 101 });
  const half = out(5001);
  site.sent(half, OPENING);
  site.advance(2 * MINUTE + 1);
  expect(site.node.dataplane.flows().map(({ sport }) => sport)).toEqual([5000]);
});
