import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";
import { road } from "../../src/lab/road.js";
import { addressOf, agentsOn, cluster, DUAL_STACK, type Node } from "./cluster.js";
import { story } from "./story.js";
import { datagrams, transfer } from "./transfer.js";

/** Of the link in the middle; the hosts' own interfaces say 1500. */
const NARROW = 1400;
const BYTES = 20_000_000;
/** Enough for full-sized packets, by which each end finds out what fits. */
const TEACHING_BYTES = 1_000_000;
/** tshark says that it captures a little before it does. */
const CAPTURE_MS = 300;

for (const [underlay, overhead] of [
  [4, 50],
  [6, 70],
] as const) {
  story(`a narrow link on the way, IPv${underlay} underlay`, () => {
    const through = NARROW - overhead;
    let lab: Lab;
    let [a, b]: Node[] = [];

    beforeAll(async () => {
      lab = await Lab.open();
      const hosts = [await lab.host("a"), await lab.host("b", { segment: "far" })];
      await road(lab, { mtu: NARROW });
      [a, b] = await agentsOn(lab, hosts, () => ({ underlay, flags: DUAL_STACK }));
    });
    afterAll(() => lab?.close());

    for (const family of [4, 6] as const) {
      const header = family === 4 ? 28 : 48;

      describe(`IPv${family}`, () => {
        it("a stream arrives unchanged, in both directions", async () => {
          await transfer(a!.host, b!.host, addressOf(b!, family), BYTES);
          await transfer(b!.host, a!.host, addressOf(a!, family), BYTES);
        }, 90_000);

        it("the sender of a packet that is too big is told what fits", async () => {
          const size = a!.status.mtu - header;
          const { rttMs, output } = await ping(a!.host, addressOf(b!, family), {
            count: 5,
            size,
            whole: true,
          });
          expect(rttMs).toHaveLength(0);
          expect(output).toMatch(new RegExp(`mtu ?[=:] ?${through}\\b`));
        });

        it("what fits exactly passes whole", async () => {
          const size = through - header;
          const { rttMs, sent, output } = await ping(a!.host, addressOf(b!, family), {
            size,
            whole: true,
          });
          expect(rttMs, output).toHaveLength(sent);
        });
      });
    }

    it("an IPv4 packet that may be fragmented is, and arrives", async () => {
      const teaches = { size: a!.status.mtu - 28, whole: false };
      await ping(a!.host, addressOf(b!, 4), teaches); // the first one may be lost on the way
      for (const size of [a!.status.mtu - 28, 4_000]) {
        const { rttMs, sent, output } = await ping(a!.host, addressOf(b!, 4), {
          size,
          whole: false,
        });
        expect(rttMs, output).toHaveLength(sent);
      }
    });

    it("both ends of a new TCP connection are told a segment size that fits", async () => {
      for (const [family, headers] of [
        [4, 40],
        [6, 60],
      ] as const) {
        await transfer(a!.host, b!.host, addressOf(b!, family), TEACHING_BYTES);
        await transfer(b!.host, a!.host, addressOf(a!, family), TEACHING_BYTES);
        const filter =
          family === 4 ? "tcp[tcpflags] & tcp-syn != 0" : "ip6[6] == 6 and ip6[53] & 2 != 0";
        const [atA, atB] = await Promise.all([a!, b!].map(({ host }) => captureMss(host, filter)));
        await transfer(a!.host, b!.host, addressOf(b!, family), 1_000);
        const [syn] = await atB!();
        const [, synAck] = await atA!();
        expect({ syn, synAck }).toEqual({ syn: through - headers, synAck: through - headers });
      }
    });
  });
}

story("an interface that becomes narrower while the agents run", () => {
  let lab: Lab;
  let [a, b]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"]);
    await transfer(a!.host, b!.host, b!.status.address, TEACHING_BYTES);
    for (const { host } of [a!, b!]) await host.ip(`link set eth0 mtu ${NARROW}`);
  });
  afterAll(() => lab?.close());

  it("a stream still arrives unchanged, in both directions", async () => {
    await transfer(a!.host, b!.host, b!.status.address, BYTES);
    await transfer(b!.host, a!.host, a!.status.address, BYTES);
  }, 90_000);

  it("so do datagrams", async () => {
    await datagrams(a!.host, b!.host, b!.status.address);
    await datagrams(b!.host, a!.host, a!.status.address);
  });
});

/** The maximum segment sizes in the two packets that open the next connection, as this host sees them. */
async function captureMss(host: Host, filter: string): Promise<() => Promise<number[]>> {
  const fields = ["-T", "fields", "-e", "tcp.options.mss_val"];
  const capture = host.spawn(["tshark", "-i", "weft0", "-c", "2", ...fields, "-f", filter]);
  await capture.says(/Capturing on/);
  await sleep(CAPTURE_MS);
  return async () => (await capture.finish(10_000)).stdout.trim().split("\n").map(Number);
}
