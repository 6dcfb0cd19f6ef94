import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { type Link, link } from "../../src/lab/link.js";
import { ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";
import { rounds } from "../rounds.js";
import { addressOf, agentsOn, cluster, DUAL_STACK, type Node, peersOf } from "./cluster.js";
import { story } from "./story.js";
import { datagrams, transfer } from "./transfer.js";

/** Of the link in the middle; the hosts' own interfaces say 1500. */
const NARROW = 1400;
const BYTES = rounds(8_000_000, 20_000_000);
/** Enough for full-sized packets, by which each end finds out what fits. */
const TEACHING_BYTES = 1_000_000;
/** A firewall that lets no "fragmentation needed" out. */
const SILENT = `
table ip silent {
  chain output {
    type filter hook output priority 0
    icmp type destination-unreachable drop
  }
}
`;
/** The path MTU from `a` to `b` as `a` knows it, and that of the other direction. */
const mtusOf = async (a: Node, b: Node) => [
  (await peersOf(a)).get("b")?.mtu,
  (await peersOf(b)).get("a")?.mtu,
];

/** tshark says that it captures a little before it does. */
const CAPTURE_MS = 1_000;

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
      await link(lab, { mtu: NARROW });
      [a, b] = await agentsOn(lab, hosts, () => ({ underlay, flags: DUAL_STACK }));
    });
    afterAll(() => lab?.close());

    for (const family of [4, 6] as const) {
      const header = family === 4 ? 28 : 48;

      describe(`IPv${family}`, () => {
        it("a stream arrives unchanged, in both directions", async () => {
          await transfer(a!.host, b!.host, addressOf(b!, family), BYTES);
          await transfer(b!.host, a!.host, addressOf(a!, family), BYTES);
        });

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
        // The last bytes of a search may come after the stream.
        await expect.poll(() => mtusOf(a!, b!)).toEqual([through, through]);
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

story("a link on the way that becomes narrower and wide again while the agents run", () => {
  let lab: Lab;
  let routers: Link;
  let [a, b]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts = [await lab.host("a"), await lab.host("b", { segment: "far" })];
    routers = await link(lab);
    [a, b] = await agentsOn(lab, hosts, () => ({}));
    await transfer(a!.host, b!.host, b!.status.address, TEACHING_BYTES);
  });
  afterAll(() => lab?.close());

  const setLink = (mtu: number) =>
    Promise.all([routers.r1, routers.r2].map((router) => router.ip(`link set link0 mtu ${mtu}`)));
  const mtus = () => mtusOf(a!, b!);
  const notes = async () => {
    const { healthy, notes } = (await a!.agent.status())!;
    return { healthy, notes };
  };
  /** Milliseconds until both ends know, while both send. */
  async function learned(wanted: number, withinMs: number): Promise<number> {
    const began = performance.now();
    const large = ["-i", "0.05", "-s", "1400", "-M", "dont"];
    const pings = [
      a!.host.spawn(["ping", "-q", ...large, b!.status.address]),
      b!.host.spawn(["ping", "-q", ...large, a!.status.address]),
    ];
    await expect.poll(mtus, { timeout: withinMs, interval: 20 }).toEqual([wanted, wanted]);
    const took = performance.now() - began;
    for (const ping of pings) await ping.stop("SIGKILL");
    return took;
  }

  it("nothing is tried before the path answered", async () => {
    const loss = async () => [
      (await peersOf(a!)).get("b")?.loss,
      (await peersOf(b!)).get("a")?.loss,
    ];
    await expect.poll(loss, { timeout: 10_000 }).not.toContain(null);
    expect(await mtus()).toEqual([1450, 1450]);
    expect(await notes()).toEqual({ healthy: true, notes: [] });
  });

  it("narrower: within two seconds even here, and a stream arrives unchanged in both directions", async () => {
    await setLink(NARROW);
    const took = await learned(NARROW - 50, 2_000);
    console.log(`learned after ${Math.round(took)} ms`);
    expect(await notes()).toEqual({
      healthy: true,
      notes: [
        expect.stringMatching(
          /^weft0's MTU is 1450 bytes, .* to b \(1350 bytes\): .*raise the MTU/,
        ),
      ],
    });
    const { code, stdout } = await a!.agent.weft("status");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^note +weft0's MTU is 1450 bytes, .* to b \(1350 bytes\)/m);
    await transfer(a!.host, b!.host, b!.status.address, BYTES);
    await transfer(b!.host, a!.host, a!.status.address, BYTES);
  });

  it("wide again: it is used in full some seconds later", async () => {
    await setLink(1500);
    await learned(1450, 30_000);
    expect(await notes()).toEqual({ healthy: true, notes: [] });
    await transfer(a!.host, b!.host, b!.status.address, BYTES);
  });

  it("narrower while no router says so: found within 10 s, and a stream arrives", async () => {
    for (const router of [routers.r1, routers.r2]) {
      await router.exec(["nft", "-f", "-"], { input: SILENT });
    }
    await setLink(1300);
    const took = await learned(1250, 10_000);
    console.log(`found after ${Math.round(took)} ms`);
    await transfer(a!.host, b!.host, b!.status.address, BYTES);
    await transfer(b!.host, a!.host, a!.status.address, BYTES);
  });
});

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
  });

  it("so do datagrams", async () => {
    await datagrams(a!.host, b!.host, b!.status.address);
    await datagrams(b!.host, a!.host, a!.status.address);
  });
});

/** The maximum segment sizes in the two packets that open the next connection, as this host sees them. */
async function captureMss(host: Host, filter: string): Promise<() => Promise<number[]>> {
  const fields = ["-T", "fields", "-e", "tcp.options.mss_val"];
  const capture = host.spawn(["tshark", "-i", "weft0", "-c", "2", ...fields, "-f", filter]);
  await capture.waitForOutput(/Capturing on/);
  await sleep(CAPTURE_MS);
  return async () => (await capture.finish(10_000)).stdout.trim().split("\n").map(Number);
}
