/** RFC 4787: how a NAT behaves towards unicast UDP. What is not done stands in docs/nat.md. */
import { describe, expect, it } from "vitest";
import { fragmentHeader, ICMP, ipv4, ipv6, UDP, udp } from "../packets.js";
import { icmpError } from "./errors.js";
import { NatNode } from "./node.js";
import {
  bytesOf,
  FAMILIES,
  farHost,
  insideHost,
  MINUTE,
  OUTSIDE,
  PROFILES,
  readError,
  SECOND,
  Site,
  tupleTo,
} from "./site.js";
import { reverse, tupleOf } from "./tuple.js";

const { out } = Site;

describe.each(PROFILES)("profile %s", (profile) => {
  it.each(FAMILIES)("RFC 4787 REQ-1: a mapping is endpoint-independent (IPv%i)", async (family) => {
    const site = await Site.create(profile);
    const first = site.sent(out(5000, 53, {}, family));
    expect(first.src).toBe(OUTSIDE[family]);
    for (const n of [7, 8, 9]) {
      const goes = site.sent(out(5000, 1000 + n, { dst: farHost(n, family) }, family));
      expect([goes.src, goes.sport]).toEqual([first.src, first.sport]);
    }
  });

  it("RFC 4787 REQ-2: all mappings of an inside address have the same outside address", async () => {
    const snat = [{ from: "10.1.0.0/24", to: "0.0.0.0/0", address: "10.244.1.240/28" }];
    const site = await Site.create(profile, { snat });
    const addresses = new Set<string>();
    for (let host = 1; host <= 100; host++) {
      const all = [5000, 5001, 5002, 5003, 80].map((port, i) =>
        site.sent(out(port, 53, { src: insideHost(host), dst: farHost(i + 1) })),
      );
      expect(new Set(all.map(({ src }) => src)).size).toBe(1);
      addresses.add(all[0]!.src);
    }
    expect(addresses.size).toBeGreaterThan(8);
  });

  it("RFC 4787 REQ-3: no two mappings share an outside port", async () => {
    const site = await Site.create(profile);
    const ports = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      const src = insideHost(1 + (i % 250));
      ports.add(site.sent(out(5000 + i, 53, { src, dst: farHost(1 + (i % 100)) })).sport);
    }
    expect(ports.size).toBe(1000);
  });

  it.each([
    [1, 600, 1023],
    [1023, 600, 1023],
    [1024, 1024, 65_535],
    [65_535, 1024, 65_535],
  ])("RFC 4787 REQ-3a: port %i becomes one from %i to %i", async (sport, low, high) => {
    const site = await Site.create(profile);
    const { sport: outside } = site.sent(out(sport));
    expect(outside).toBeGreaterThanOrEqual(low);
    expect(outside).toBeLessThanOrEqual(high);
  });

  it("RFC 4787 REQ-5: a mapping lives for two minutes without a packet", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came);
    site.advance(2 * MINUTE - 1);
    site.answers(came, goes);
  });

  it("RFC 4787 REQ-6: packets from inside refresh the mapping", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came);
    for (let i = 0; i < 20; i++) {
      site.advance(100 * SECOND);
      expect(site.sent(came)).toEqual(goes);
    }
    site.answers(came, goes);
  });

  it("RFC 4787 REQ-6a: packets from outside refresh it as well", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came);
    for (let i = 0; i < 20; i++) {
      site.advance(100 * SECOND);
      site.answers(came, goes);
    }
    expect(site.sent(came)).toEqual(goes);
  });

  it("RFC 4787 REQ-7: hosts with the same addresses on both sides reach each other", async () => {
    const netmap = [{ from: "10.1.0.0/24", to: "10.244.9.0/24" }];
    const here = await NatNode.create({ profile, netmap });
    const there = await NatNode.create({ profile, netmap });
    // To the one the other's network is 10.244.2.0/24, to the other the one's is.
    const came = out(5000, 53, { src: "10.1.0.5", dst: "10.244.2.5" });
    const goes = tupleTo("wire", here.go(came));
    expect(goes).toEqual({ ...came, src: "10.244.9.5" });
    const arriving = { ...goes, src: "10.244.2.5", dst: "10.244.9.5" };
    const inside = tupleTo("device", there.come(arriving));
    expect(inside).toEqual({ ...arriving, dst: "10.1.0.5" });
    expect(tupleTo("wire", there.go(reverse(inside)))).toEqual(reverse(arriving));
    expect(tupleTo("device", here.come(reverse(goes)))).toEqual(reverse(came));
  });

  it("RFC 4787 REQ-8: without a policy any outside host reaches a mapping", async () => {
    const site = await Site.create(profile);
    const { src, sport } = site.sent(out());
    const stranger = out(9, sport, { src: farHost(99), dst: src });
    expect(site.received(stranger)).toEqual({ ...stranger, dst: insideHost(5), dport: 5000 });
  });

  it("RFC 4787 REQ-8: with a policy only those that the inside host sent to do", async () => {
    const rule = { name: "site", applies: [OUTSIDE[4]], ingress: [] };
    const site = await Site.create(profile, {}, { policy: { policies: [rule] } });
    const came = out();
    const goes = site.sent(came);
    const stranger = out(9, goes.sport, { src: farHost(99), dst: goes.src });
    expect(site.node.come(stranger)).toMatchObject({ drop: "denied-ingress" });
    site.answers(came, goes);
  });

  it.each(FAMILIES)(
    "RFC 4787 REQ-9: a host inside reaches another by its mapping (IPv%i)",
    async (family) => {
      const site = await Site.create(profile);
      const server = site.sent(out(5000, 53, {}, family));
      const client = out(
        6000,
        server.sport,
        { src: insideHost(6, family), dst: server.src },
        family,
      );
      const there = tupleTo("device", site.node.go(client));
      expect(there).toMatchObject({ dst: insideHost(5, family), dport: 5000 });
      // REQ-9a: with the outside source address and port.
      const outside = site.sent(out(6000, 53, { src: insideHost(6, family) }, family));
      expect([there.src, there.sport]).toEqual([outside.src, outside.sport]);
      expect(tupleTo("device", site.node.go(reverse(there)))).toEqual(reverse(client));
    },
  );

  it("RFC 4787 REQ-10: addresses in the payload stay as they are", async () => {
    const site = await Site.create(profile);
    const data = new TextEncoder().encode("c=IN IP4 10.1.0.5\r\nm=audio 5000 RTP/AVP 0\r\n");
    const result = site.node.go(out(5060, 5060), { data });
    expect(result.bytes!.subarray(28)).toEqual(data);
  });

  it("RFC 4787 REQ-11: the mapping stays the same whatever else happens", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came);
    for (let i = 0; i < 2000; i++) {
      site.node.go(out(1024 + i, 53, { src: insideHost(9) }));
      if (i % 100 === 0) site.advance(SECOND);
    }
    const other = site.sent(out(5000, 99, { dst: farHost(8) }));
    expect([other.src, other.sport]).toEqual([goes.src, goes.sport]);
    site.answers(came, goes);
  });

  it.each(FAMILIES)("RFC 4787 REQ-12: ICMP errors do not end a mapping (IPv%i)", async (family) => {
    const site = await Site.create(profile);
    const came = out(5000, 53, {}, family);
    const goes = site.sent(came);
    for (const code of [0, 1, 3, 4]) {
      const about = bytesOf(goes);
      // REQ-12a: from whatever router; REQ-12b: translated.
      const error = icmpError(about, { src: farHost(code + 1, family), dst: goes.src, code });
      const result = site.node.in(error);
      expect(readError(result.bytes!)).toMatchObject({ code, dst: came.src, quoted: came });
    }
    site.answers(came, goes);
    expect(site.sent(came)).toEqual(goes);
  });

  it("RFC 4787 REQ-13: a packet that is too large and must not be fragmented is answered", async () => {
    const site = await Site.create(profile);
    const came = out();
    const result = site.node.go(came, { data: new Uint8Array(1423), df: true });
    expect(result).toMatchObject({ drop: "too-big" });
    const error = readError(result.bytes!);
    expect(error).toMatchObject({ type: 3, code: 4, dst: came.src, quoted: came });
  });

  it("RFC 4787 REQ-13a: one that may be fragmented leaves in fragments, in order", async () => {
    const site = await Site.create(profile);
    const { datagrams } = site.node.dataplane.fromDevice(
      bytesOf(out(), { data: new Uint8Array(3000) }),
    );
    const fragments = datagrams.map(({ bytes }) => bytes.subarray(22));
    expect(fragments.length).toBeGreaterThan(1);
    const offsets = fragments.map((one) => ((one[6]! & 0x1f) << 8) | one[7]!);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
    const sources = fragments.map((one) => one.subarray(12, 16).join("."));
    expect(new Set(sources)).toEqual(new Set([OUTSIDE[4]]));
  });

  it("RFC 4787 REQ-14: later fragments follow their first", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came);
    const whole = udp(goes.dst, goes.src, new Uint8Array(2000), {
      sport: goes.dport,
      dport: goes.sport,
    });
    const piece = (from: number, to: number) =>
      ipv4({
        src: goes.dst,
        dst: goes.src,
        protocol: UDP,
        mf: to < whole.length,
        offset: from / 8,
        payload: whole.subarray(from, to),
      });
    for (const [from, to] of [
      [0, 800],
      [800, 1600],
      [1600, 2008],
    ] as const) {
      const { bytes } = site.node.in(piece(from, to));
      expect(bytes!.subarray(16, 20).join(".")).toBe(came.src);
      expect(bytes!.length).toBe(20 + to - from);
    }
  });

  it("RFC 4787 REQ-14: so do those of IPv6", async () => {
    const site = await Site.create(profile);
    const came = out(5000, 53, {}, 6);
    const goes = site.sent(came);
    const whole = udp(goes.dst, goes.src, new Uint8Array(2000), {
      sport: goes.dport,
      dport: goes.sport,
    });
    const piece = (from: number, to: number) =>
      ipv6({
        src: goes.dst,
        dst: goes.src,
        protocol: UDP,
        extensions: [fragmentHeader(from / 8, to < whole.length)],
        payload: whole.subarray(from, to),
      });
    for (const [from, to] of [
      [0, 800],
      [800, 1600],
      [1600, 2008],
    ] as const) {
      const result = site.node.in(piece(from, to));
      expect("drop" in result ? result.drop : tupleOf(result.bytes!).dst).toBe(came.src);
    }
  });

  it("RFC 4787 REQ-14a: a flood of fragments hurts no other packet", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came);
    for (let id = 0; id < 20_000; id++) {
      const payload = new Uint8Array(64);
      site.node.in(
        ipv4({
          src: farHost(99),
          dst: goes.src,
          protocol: UDP,
          id,
          offset: 100,
          mf: true,
          payload,
        }),
      );
    }
    site.answers(came, goes);
  });
});

it("RFC 4787 REQ-5c: it lives for five minutes in the profile rfc", async () => {
  const site = await Site.create("rfc");
  const came = out();
  const goes = site.sent(came);
  site.advance(5 * MINUTE);
  site.answers(came, goes);
});

it("RFC 4787 REQ-12a: an error is not filtered by its source", async () => {
  const site = await Site.create("rfc");
  const came = out();
  const goes = site.sent(came);
  const error = icmpError(bytesOf(goes), { src: farHost(200), dst: goes.src, type: 11, code: 0 });
  const result = site.node.in(error);
  expect(readError(result.bytes!)).toMatchObject({ type: 11, src: farHost(200), quoted: came });
  expect(result.bytes![9]).toBe(ICMP);
});
