/** RFC 5508: how a NAT behaves towards ICMP. What is not done stands in docs/nat.md. */
import { describe, expect, it } from "vitest";
import { echo, ICMP, ipv4, UDP, udp } from "../packets.js";
import { icmpError } from "./errors.js";
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
import { flawOf } from "./sound.js";
import { reverse } from "./tuple.js";

const { out, ping } = Site;

describe.each(PROFILES)("profile %s", (profile) => {
  it.each(FAMILIES)(
    "RFC 5508 REQ-1: a ping from inside gets its answer (IPv%i)",
    async (family) => {
      const site = await Site.create(profile);
      const came = ping(7, {}, family);
      const goes = site.sent(came);
      expect(goes.src).toBe(OUTSIDE[family]);
      site.answers(came, goes);
    },
  );

  it.each(FAMILIES)(
    "RFC 5508 REQ-1a: its identifier is the same towards all hosts (IPv%i)",
    async (family) => {
      const site = await Site.create(profile);
      const ids = [7, 8, 9].map(
        (n) => site.sent(ping(7, { dst: farHost(n, family) }, family)).sport,
      );
      expect(new Set(ids).size).toBe(1);
      const src = insideHost(6, family);
      expect(site.sent(ping(7, { src }, family)).sport).not.toBe(ids[0]);
    },
  );

  it("RFC 5508 REQ-3: an error whose checksum is wrong gets no right one", async () => {
    const site = await Site.create(profile);
    const goes = site.sent(out());
    const error = icmpError(bytesOf(goes), { src: farHost(9), dst: goes.src });
    error[22]! ^= 1;
    const { bytes } = site.node.in(error);
    if (bytes) expect(flawOf(bytes)).toContain("ICMP checksum");
  });

  it("RFC 5508 REQ-3a: nor does one whose quoted header has a wrong checksum", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came);
    const about = bytesOf(goes);
    about[10]! ^= 1;
    const { bytes } = site.node.in(icmpError(about, { src: farHost(9), dst: goes.src }));
    if (bytes) expect(flawOf(bytes)).toContain("quoted packet the IPv4 checksum");
  });

  it("RFC 5508 REQ-3b: the quoted packet may have IP options", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came);
    const options = Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0);
    const { src, dst } = goes;
    const payload = udp(src, dst, new Uint8Array(0), { sport: goes.sport, dport: goes.dport });
    const about = ipv4({ src, dst, protocol: UDP, options, payload });
    const result = site.node.in(icmpError(about, { src: farHost(9), dst: src, length: 36 }));
    expect(readError(result.bytes!)).toMatchObject({ dst: came.src, quoted: came });
  });

  it("RFC 5508 REQ-3c: the quoted transport checksum is not validated, and stays as wrong as it is", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came);
    const [data, length] = [new Uint8Array(20), 48];
    const about = bytesOf(goes, { data });
    about[26]! ^= 1;
    const { bytes } = site.node.in(icmpError(about, { src: farHost(9), dst: goes.src, length }));
    expect(readError(bytes!)).toMatchObject({ quoted: came });
    expect(flawOf(bytes!)).toContain("quoted packet the UDP checksum");
  });

  it("RFC 5508 REQ-3d: extensions behind the quoted packet stay as they are", async () => {
    const site = await Site.create(profile);
    const came = out();
    const goes = site.sent(came);
    // RFC 4884: 128 bytes of the packet, then extensions; the length is given in words.
    const extensions = Uint8Array.of(0x20, 0, 0, 0, 0, 8, 1, 1, 1, 2, 3, 4);
    const padded = Buffer.concat([bytesOf(goes, { data: new Uint8Array(100) }), extensions]);
    const about = Uint8Array.from(padded);
    const error = icmpError(about, {
      src: farHost(9),
      dst: goes.src,
      type: 11,
      code: 0,
      rest: 32 << 16,
      length: about.length,
    });
    const { bytes } = site.node.in(error);
    expect(readError(bytes!).quoted).toEqual(came);
    expect(bytes!.subarray(-extensions.length)).toEqual(extensions);
  });

  it("RFC 5508 REQ-4: an error from outside about no mapping reaches nobody inside", async () => {
    const site = await Site.create(profile);
    const goes = site.sent(out());
    const other = { ...goes, sport: goes.sport === 2000 ? 2001 : 2000 };
    const result = site.node.in(icmpError(bytesOf(other), { src: farHost(9), dst: goes.src }));
    if (!("drop" in result)) expect(result.tuple.dst).toBe(goes.src);
  });

  it.each(FAMILIES)(
    "RFC 5508 REQ-4a to 4c: one about a mapping is translated, type and code stay (IPv%i)",
    async (family) => {
      const site = await Site.create(profile);
      for (const came of [out(5000, 53, {}, family), ping(7, {}, family)]) {
        const data = new Uint8Array(32).fill(3);
        const goes = site.sent(came, { data });
        const about = bytesOf(goes, { data });
        const { bytes } = site.node.in(
          icmpError(about, { src: farHost(9, family), dst: goes.src, length: about.length }),
        );
        expect(readError(bytes!)).toMatchObject({
          type: family === 4 ? 3 : 1,
          code: family === 4 ? 3 : 4,
          dst: came.src,
          quoted: came,
        });
        expect(readError(bytes!).bytes).toEqual(bytesOf(came, { data }));
      }
    },
  );

  it("RFC 5508 REQ-5: an error from inside about no mapping does not leave with an inside address", async () => {
    const site = await Site.create(profile);
    const nothing = { ...out(), src: farHost(7), dst: insideHost(5) };
    const result = site.node.out(
      icmpError(bytesOf(nothing), { src: insideHost(1), dst: farHost(7) }),
    );
    expect(result).toMatchObject({ drop: "not-translatable" });
  });

  it.each(FAMILIES)(
    "RFC 5508 REQ-5a to 5c: one about a mapping is translated, its source too (IPv%i)",
    async (family) => {
      const site = await Site.create(profile);
      const came = out(5000, 53, {}, family);
      const goes = site.sent(came);
      const answer = bytesOf(reverse(came));
      for (const router of [5, 1]) {
        const error = icmpError(answer, { src: insideHost(router, family), dst: came.dst });
        const { bytes } = site.node.out(error);
        expect(readError(bytes!)).toMatchObject({
          src: OUTSIDE[family],
          dst: came.dst,
          quoted: reverse(goes),
          code: family === 4 ? 3 : 4,
        });
      }
    },
  );

  it("RFC 5508 REQ-6: an error neither refreshes nor ends the session of a ping", async () => {
    const site = await Site.create(profile);
    const came = ping();
    const goes = site.sent(came);
    site.advance(20 * SECOND);
    site.node.in(icmpError(bytesOf(goes), { src: farHost(9), dst: goes.src }));
    expect(site.node.dataplane.flows()).toMatchObject([{ idleMs: 20 * SECOND }]);
    site.answers(came, goes);
  });

  it.each(FAMILIES)("RFC 5508 REQ-7: errors cross a hairpin (IPv%i)", async (family) => {
    const site = await Site.create(profile);
    const server = site.sent(out(5000, 53, {}, family));
    const client = out(6000, server.sport, { src: insideHost(6, family), dst: server.src }, family);
    const there = tupleTo("device", site.node.go(client));
    const error = icmpError(bytesOf(there), { src: there.dst, dst: there.src });
    const { bytes } = site.node.out(error);
    // REQ-7a: to the one that sent the quoted packet.
    expect(readError(bytes!)).toMatchObject({
      src: client.dst,
      dst: client.src,
      quoted: client,
    });
  });

  it.each(FAMILIES)(
    "RFC 5508 REQ-8: a flow that can have no mapping is answered as prohibited (IPv%i)",
    async (family) => {
      const site = await Site.create(profile, { limits: { perSource: 2 } });
      site.sent(out(5000, 53, {}, family));
      site.sent(out(5001, 53, {}, family));
      const refused = site.node.go(out(5002, 53, {}, family));
      expect(refused).toMatchObject({ drop: "nat-exhausted" });
      expect(readError(refused.bytes!)).toMatchObject({
        type: family === 4 ? 3 : 1,
        code: family === 4 ? 13 : 1,
        dst: insideHost(5, family),
      });
    },
  );

  it("RFC 5508 REQ-10a: a packet whose time to live runs out here is answered", async () => {
    const site = await Site.create(profile);
    const came = out();
    const result = site.node.go(came, { ttl: 1 });
    expect(result).toMatchObject({ drop: "ttl-exceeded" });
    expect(readError(result.bytes!)).toMatchObject({ type: 11, dst: came.src, quoted: came });
  });

  it.each(FAMILIES)(
    "RFC 5508 REQ-10a: a time exceeded from outside crosses, so that traceroute works (IPv%i)",
    async (family) => {
      const site = await Site.create(profile);
      const came = ping(7, {}, family);
      const goes = site.sent(came);
      const type = family === 4 ? 11 : 3;
      const router = farHost(1, family);
      const error = icmpError(bytesOf(goes), { src: router, dst: goes.src, type, code: 0 });
      const { bytes } = site.node.in(error);
      expect(readError(bytes!)).toMatchObject({ type, src: router, dst: came.src, quoted: came });
    },
  );

  it("RFC 5508 REQ-11: other ICMP messages do not leave with an inside address", async () => {
    const site = await Site.create(profile);
    const timestamp = ipv4({
      src: insideHost(5),
      dst: farHost(7),
      protocol: ICMP,
      payload: echo(new Uint8Array(12), { type: 13 }),
    });
    expect(site.node.out(timestamp)).toMatchObject({ drop: "not-translatable" });
  });
});

it("RFC 5508 REQ-2: the session of a ping lives for 60 seconds", async () => {
  const site = await Site.create("rfc");
  const came = ping();
  const goes = site.sent(came);
  site.advance(MINUTE);
  site.answers(came, goes);
});

it("RFC 5508 REQ-2a: in the profile linux for 30", async () => {
  const site = await Site.create("linux");
  site.sent(ping());
  site.advance(30 * SECOND + 1);
  expect(site.node.dataplane.flows()).toEqual([]);
});

it("RFC 5508 REQ-1: an answer that nobody asked for does not go in", async () => {
  const site = await Site.create("rfc");
  const goes = site.sent(ping());
  const result = site.node.come({ ...reverse(goes), src: farHost(99) });
  if (!("drop" in result)) expect(result.tuple.dst).toBe(OUTSIDE[4]);
});
