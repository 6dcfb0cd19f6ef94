/** RFC 6888: what is asked of a NAT that serves many. What is not done stands in docs/nat.md. */
import { describe, expect, it } from "vitest";
import { TCP, UDP } from "../packets.js";
import { NatNode } from "./node.js";
import {
  FAMILIES,
  farHost,
  insideHost,
  MINUTE,
  PROFILES,
  readError,
  Site,
  tupleTo,
} from "./site.js";

const { out, ping } = Site;
const narrow = (ports: string) => ({
  snat: [{ from: "10.1.0.0/24", to: "0.0.0.0/0", address: "10.244.1.250", ports }],
});

describe.each(PROFILES)("profile %s", (profile) => {
  it("RFC 6888 REQ-2: an inside address has one of the pool", async () => {
    const snat = [{ from: "10.1.0.0/24", to: "0.0.0.0/0", address: "10.244.1.240/28" }];
    const site = await Site.create(profile, { snat });
    const all = [site.sent(out()), site.sent(out(80)), site.sent(ping())];
    const tcp = site.sent(out(5000, 80, { protocol: TCP }), { flags: 2 });
    expect(new Set([...all, tcp].map(({ src }) => src)).size).toBe(1);
  });

  it("RFC 6888 REQ-3: pools need not be contiguous: each rule has its own", async () => {
    const snat = [
      { from: "10.1.0.0/25", to: "0.0.0.0/0", address: "10.244.1.240/29" },
      { from: "10.1.0.128/25", to: "0.0.0.0/0", address: "10.244.9.7" },
    ];
    const site = await Site.create(profile, { snat });
    expect(site.sent(out()).src).toMatch(/^10\.244\.1\.24[0-7]$/);
    expect(site.sent(out(5000, 53, { src: insideHost(200) })).src).toBe("10.244.9.7");
  });

  it.each(FAMILIES)(
    "RFC 6888 REQ-4: an inside address has no more mappings than its limit (IPv%i)",
    async (family) => {
      const site = await Site.create(profile, { limits: { perSource: 10 } });
      for (let i = 0; i < 10; i++) site.sent(out(5000 + i, 53, {}, family));
      expect(site.node.go(out(5010, 53, {}, family))).toMatchObject({ drop: "nat-exhausted" });
      expect(site.node.go(ping(7, {}, family))).toMatchObject({ drop: "nat-exhausted" });
      // A mapping that it has serves further destinations, and other addresses have their own.
      site.sent(out(5009, 53, { dst: farHost(9, family) }, family));
      site.sent(out(5010, 53, { src: insideHost(6, family) }, family));
    },
  );

  it("RFC 6888 REQ-4a: the limit is the document's, and what it ended is free again", async () => {
    const site = await Site.create(profile, { limits: { perSource: 1 } });
    site.sent(out(5000));
    expect(site.node.go(out(5001))).toMatchObject({ drop: "nat-exhausted" });
    site.advance(5 * MINUTE + 1);
    site.advance(2 * MINUTE + 1);
    site.sent(out(5001));
  });

  it("RFC 6888 REQ-6: destinations that no rule covers are not translated", async () => {
    const snat = [{ from: "10.1.0.0/24", to: "10.244.2.0/24", address: "10.244.1.250" }];
    const node = await NatNode.create({ profile, snat });
    const other = { ...out(), dst: "10.244.3.7" };
    expect(tupleTo("wire", node.go(other))).toEqual(other);
    expect(tupleTo("wire", node.go(out())).src).toBe("10.244.1.250");
  });

  it("RFC 6888 REQ-7: filtering is endpoint-independent without a policy", async () => {
    const site = await Site.create(profile);
    const { src, sport } = site.sent(out());
    for (const n of [20, 21]) {
      const stranger = out(n, sport, { src: farHost(n), dst: src });
      expect(site.received(stranger).dst).toBe(insideHost(5));
    }
  });

  it("RFC 6888 REQ-8: an outside port rests for 120 seconds before another has it", async () => {
    const site = await Site.create(profile, narrow("20000-20000"));
    site.sent(out(5000));
    site.advance(5 * MINUTE + 1);
    const other = out(5000, 53, { src: insideHost(6) });
    expect(site.node.go(other)).toMatchObject({ drop: "nat-exhausted" });
    site.advance(2 * MINUTE - 1000);
    expect(site.node.go(other)).toMatchObject({ drop: "nat-exhausted" });
    site.advance(2000);
    expect(site.sent(other).sport).toBe(20_000);
  });

  it("RFC 6888 REQ-8: the inside endpoint that had it may have it again at once", async () => {
    const site = await Site.create(profile, narrow("20000-20007"));
    const { sport } = site.sent(out());
    site.advance(5 * MINUTE + 1);
    expect(site.sent(out()).sport).toBe(sport);
  });

  it("RFC 6888 REQ-11: without a free port the packet is dropped and answered, and mappings stay", async () => {
    const site = await Site.create(profile, narrow("20000-20003"));
    const all = [0, 1, 2, 3].map((i) => out(5000 + i, 53, { src: insideHost(5 + i) }));
    const goes = all.map((came) => site.sent(came));
    const refused = site.node.go(out(5000, 53, { src: insideHost(99) }));
    expect(refused).toMatchObject({ drop: "nat-exhausted" });
    expect(readError(refused.bytes!)).toMatchObject({ type: 3, code: 13, dst: insideHost(99) });
    // REQ-11c: it is counted.
    expect(site.node.dataplane.counters().out.answeredBy).toMatchObject({ "nat-exhausted": 1 });
    // REQ-11d: no mapping gave way.
    all.forEach((came, i) => {
      site.answers(came, goes[i]!);
    });
  });

  it("RFC 6888 REQ-13: every port of the range can be used, by each protocol", async () => {
    const site = await Site.create(profile, narrow("20000-20127"));
    for (const protocol of [UDP, TCP]) {
      const ports = Array.from({ length: 128 }, (_, i) => {
        const came = out(5000 + i, 53, { src: insideHost(1 + i), protocol });
        return site.sent(came, { flags: 2 }).sport;
      });
      expect(new Set(ports).size).toBe(128);
    }
  });

  it("RFC 6888 REQ-15: ports are hard to guess", async () => {
    const site = await Site.create(profile);
    const ports = Array.from({ length: 500 }, (_, i) => site.sent(out(5000 + i)).sport);
    const steps = new Set(ports.slice(1).map((port, i) => port - ports[i]!));
    // In turn they would have one step; at random nearly each has its own.
    expect(steps.size).toBeGreaterThan(450);
    const thirds = [0, 1, 2].map((k) => {
      const [low, high] = [1024 + k * 21_504, 1024 + (k + 1) * 21_504];
      return ports.filter((port) => port >= low && port < high).length;
    });
    for (const count of thirds) expect(count).toBeGreaterThan(100);
  });
});
