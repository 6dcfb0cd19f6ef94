/** Floods, exhaustion and forgery against translation: what is established lives, and nobody else gets in. */
import { describe, expect, it } from "vitest";
import { oneHopLess } from "../core/slow.js";
import { ICMP, random, seedOfRun, TCP, UDP } from "../packets.js";
import { rounds } from "../rounds.js";
import { icmpError } from "./errors.js";
import { NatNode } from "./node.js";
import { bytesOf, farHost, insideHost, OUTSIDE, SECOND, Site, tupleTo } from "./site.js";
import { packetOf, reverse, show, type Tuple } from "./tuple.js";
import { DOCUMENT } from "./world.js";

const FLOOD = rounds(50_000, 500_000);
const rnd = random(seedOfRun("attack"));
const below = (n: number) => Math.floor(rnd() * n);

const { out } = Site;
const OPENING = { flags: 2, sequence: 100 };
const ANSWER = { flags: 18, sequence: 500, acknowledgment: 101 };
const THIRD = { flags: 16, sequence: 101, acknowledgment: 501 };
const MORE = { flags: 16, sequence: 501, acknowledgment: 101 };

/** Connections of the site that go on whatever happens. */
function establish(site: Site, count = 20): { came: Tuple; goes: Tuple }[] {
  return Array.from({ length: count }, (_, i) => {
    const protocol = i % 2 === 0 ? TCP : UDP;
    const came = out(5000 + i, 80, { protocol, dst: farHost(7 + (i % 3)) });
    const goes = site.sent(came, OPENING);
    site.answers(came, goes, ANSWER);
    site.sent(came, THIRD);
    return { came, goes };
  });
}
function expectAlive(site: Site, established: readonly { came: Tuple; goes: Tuple }[]): void {
  for (const { came, goes } of established) {
    expect(site.sent(came, THIRD)).toEqual(goes);
    site.answers(came, goes, MORE);
  }
}

describe("under attack", { timeout: 600_000 }, () => {
  it("one address that opens without end takes no port of another", async () => {
    const site = await Site.create("rfc", { limits: { perSource: 100 } });
    const established = establish(site);
    let refused = 0;
    for (let i = 0; i < 5000; i++) {
      const result = site.node.go(out(1024 + i, 53, { src: insideHost(66) }));
      if ("drop" in result) {
        expect(result.drop).toBe("nat-exhausted");
        refused++;
      }
    }
    expect(refused).toBe(4900);
    site.sent(out(5000, 53, { src: insideHost(67) }));
    expectAlive(site, established);
  });

  it("many addresses that take every port end no mapping", async () => {
    const snat = [
      { from: "10.1.0.0/16", to: "0.0.0.0/0", address: OUTSIDE[4], ports: "20000-20511" },
    ];
    const site = await Site.create("rfc", { snat });
    const established = establish(site);
    const results = Array.from({ length: 5000 }, (_, i) =>
      site.node.go(out(1024 + i, 53, { src: `10.1.${1 + (i % 200)}.${1 + (i % 250)}` })),
    );
    const refused = results.filter((one) => "drop" in one && one.drop === "nat-exhausted");
    expect(refused.length).toBe(5000 - (512 - 10));
    expectAlive(site, established);
  });

  it(`${FLOOD} connections through a small table end none that is established`, async () => {
    const site = await Site.create("rfc", {}, { flows: 2048 });
    const established = establish(site);
    for (let i = 0; i < FLOOD; i++) {
      site.node.go(
        out(1024 + below(60_000), below(65_536), {
          src: insideHost(100 + below(100)),
          dst: farHost(1 + below(250)),
          protocol: i % 2 === 0 ? TCP : UDP,
        }),
        OPENING,
      );
      if (i % 1000 === 0) {
        site.advance(10);
        expectAlive(site, established);
      }
    }
    expectAlive(site, established);
    expect(site.node.dataplane.flows().length).toBeLessThanOrEqual(1024);
  });

  it("a flood from outside to a published port ends none that is established", async () => {
    const port = { protocol: "tcp", address: "10.244.1.1", port: 8080, to: "10.244.1.20:80" };
    const site = await Site.create("rfc", { ports: [port] }, { flows: 2048 });
    const established = establish(site);
    for (let i = 0; i < FLOOD; i++) {
      const src = farHost(1 + below(250));
      const syn = { protocol: TCP, src, sport: 1 + below(65_535), dst: "10.244.1.1", dport: 8080 };
      site.node.come(syn, OPENING);
      if (i % 1000 === 0) {
        site.advance(10);
        expectAlive(site, established);
      }
    }
    expectAlive(site, established);
  });

  it("forged ICMP errors reach nobody but who sent the packet they quote", async () => {
    const site = await Site.create("rfc");
    const established = establish(site);
    const outside = new Map(established.map(({ came, goes }) => [show(goes), came]));
    let translated = 0;
    for (let i = 0; i < 20_000; i++) {
      const { goes } = established[below(established.length)]!;
      const quoted = below(4) === 0 ? goes : forged(goes);
      const { bytes } = site.node.in(
        icmpError(packetOf(quoted, THIRD), {
          src: farHost(1 + below(250)),
          dst: OUTSIDE[4],
          type: [3, 4, 5, 11, 12][below(5)]!,
          code: below(16),
          rest: below(2 ** 31),
        }),
      );
      const came = outside.get(show(quoted));
      if (bytes?.[16] !== 10 || bytes[17] !== 1) continue;
      expect(came && packetOf(came).subarray(12, 16)).toEqual(bytes.subarray(16, 20));
      translated++;
    }
    expect(translated).toBeGreaterThan(1000);
    expectAlive(site, established);
    // Not even the clock of a session was set.
    site.advance(SECOND);
    site.node.in(icmpError(bytesOf(established[1]!.goes), { src: farHost(9), dst: OUTSIDE[4] }));
    const idle = site.node.dataplane.flows().map(({ idleMs }) => idleMs);
    expect(Math.min(...idle)).toBe(SECOND);
  });

  it("replies to nothing that went out are not translated", async () => {
    const site = await Site.create("rfc");
    const established = establish(site, 4);
    const taken = new Set(established.map(({ goes }) => `${goes.protocol} ${goes.sport}`));
    for (let port = 1; port < 65_536; port += 7) {
      for (const protocol of [TCP, UDP, ICMP]) {
        if (taken.has(`${protocol} ${port}`)) continue;
        const sport = protocol === ICMP ? -1 : 80;
        const stray = { protocol, src: farHost(7), sport, dst: OUTSIDE[4], dport: port };
        const result = site.node.come(stray, MORE);
        if (!("drop" in result)) expect(result.tuple).toEqual(stray);
      }
    }
    expectAlive(site, established);
  });

  it("what no rule covers stays as it is, but for the hop", async () => {
    const node = await NatNode.create(DOCUMENT);
    for (let i = 0; i < 5000; i++) {
      const protocol = [TCP, UDP, 132, 47, ICMP][below(5)]!;
      const isEcho = protocol === ICMP;
      const tuple = {
        protocol,
        src: `10.244.1.${2 + below(20)}`,
        sport: protocol === 47 ? 0 : below(65_536),
        dst: `10.244.3.${100 + below(100)}`,
        dport: isEcho ? -1 : protocol === 47 ? 0 : below(65_536),
      };
      const packet = packetOf(tuple, { ...OPENING, data: new Uint8Array(below(100)).fill(i) });
      const result = node.out(packet);
      expect(tupleTo("wire", result)).toEqual(tuple);
      expect(result.bytes).toEqual(oneHopLess(packet));
      const answer = packetOf(reverse(tuple), { ...ANSWER, data: new Uint8Array(8) });
      expect(node.send("wire", answer).bytes).toEqual(answer);
    }
  });
});

/** The tuple with one of its parts changed. */
function forged(tuple: Tuple): Tuple {
  switch (below(4)) {
    case 0:
      return { ...tuple, sport: (tuple.sport + 1 + below(60_000)) % 65_536 };
    case 1:
      return { ...tuple, dport: (tuple.dport + 1 + below(60_000)) % 65_536 };
    case 2:
      return { ...tuple, dst: farHost(100 + below(100)) };
    default:
      return { ...tuple, src: insideHost(5) };
  }
}
