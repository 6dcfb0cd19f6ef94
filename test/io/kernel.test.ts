import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import type { Counters } from "../../src/core/counters.js";
import { Lab } from "../../src/lab/lab.js";
import { iperf, ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";
import type { RunningProgram } from "../../src/lab/running.js";
import { story } from "../netns/story.js";

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const NODE = fixture("node.mjs");
const ASK = fixture("ask.mjs");
const FLOOD = fixture("flood.mjs");
const WITHOUT_TUN = fixture("without-tun.mjs");
/** Far longer than any of it takes: beyond it, something hangs. */
const HANGS_MS = 10_000;

story("the kernel path: nodes that are nothing but their dataplanes", () => {
  let lab: Lab;
  let [a, b]: Host[] = [];
  let [first, second]: RunningProgram[] = [];

  const overlay = (i: number) => `10.244.${i}.1`;
  const start = (host: Host, node: object, before: readonly string[] = []): RunningProgram =>
    host.spawn([...before, process.execPath, NODE, JSON.stringify(node)]);
  /** Node `other`, reached at the underlay address of node `at`. */
  const peer = (other: number, at = other) => ({
    name: `node${other}`,
    endpoint: `192.0.2.${at}:4789`,
    mac: `02:00:00:00:00:0${at}`,
    leases: [`10.244.${other}.0/24`],
  });
  const settings = (own: number, ...peers: ReturnType<typeof peer>[]) => ({
    tun: "weft0",
    underlay: `192.0.2.${own}`,
    address: overlay(own),
    lease: `10.244.${own}.0/24`,
    mac: `02:00:00:00:00:0${own}`,
    peers,
  });

  beforeAll(async () => {
    lab = await Lab.open();
    a = await lab.host("a");
    b = await lab.host("b");
  });
  beforeEach(async () => {
    first = start(a!, settings(1, peer(2)));
    second = start(b!, settings(2, peer(1)));
    await first.waitForOutput("ready");
    await second.waitForOutput("ready");
  });
  afterEach(async () => {
    await Promise.all([first?.stop("SIGKILL"), second?.stop("SIGKILL")]);
  });
  afterAll(() => lab?.close());

  const answered = async (from: Host, to: number): Promise<number> =>
    (await ping(from, overlay(to), { count: 3 })).rttMs.length;
  const device = (host: Host) => host.run(["ip", "link", "show", "weft0"]);

  /** Stops a node and gives its counters, which must add up. */
  async function stop(node: RunningProgram): Promise<Counters> {
    node.kill("SIGTERM");
    const { code, stdout } = await node.finish(HANGS_MS);
    expect(code).toBe(0);
    const counters: Counters = JSON.parse(/^counters (.*)$/m.exec(stdout)![1]!);
    for (const { received, delivered, answered, dropped } of [counters.out, counters.in]) {
      const drops = Object.values(dropped).reduce((sum, count) => sum + count, 0);
      expect(received).toBe(delivered + answered + drops);
    }
    return counters;
  }

  it("packets go both ways, one at a time and in streams", async () => {
    expect(await answered(a!, 2)).toBe(3);
    expect(await answered(b!, 1)).toBe(3);
    expect((await iperf(a!, b!, overlay(2), { seconds: 1 })).bytes).toBeGreaterThan(0);
    const { out } = await stop(first!);
    const { in: received } = await stop(second!);
    expect(out.delivered).toBeGreaterThan(100);
    expect(received.delivered).toBeGreaterThan(100);
  });

  it("stops while traffic flows, and takes the device along", async () => {
    const traffic = a!.spawn(["ping", "-f", "-q", overlay(2)]);
    expect(await answered(a!, 2)).toBe(3);
    const { out } = await stop(first!);
    expect(out.delivered).toBeGreaterThan(3);
    expect((await device(a!)).code).not.toBe(0);
    await traffic.stop();
  });

  it.each([
    ["process.exit", "SIGHUP", 3],
    ["an uncaught exception", "SIGUSR2", 1],
    ["SIGKILL", "SIGKILL", null],
  ] as const)("%s ends the process, worker and device with it", async (_fate, signal, code) => {
    first!.kill(signal);
    expect((await first!.finish(HANGS_MS)).code).toBe(code);
    expect((await device(a!)).code).not.toBe(0);
    first = start(a!, settings(1, peer(2)));
    await first.waitForOutput("ready");
    expect(await answered(b!, 1)).toBe(3);
  });

  it("goes on when its device is removed and made again; the wire is served meanwhile", async () => {
    await a!.ip("link del weft0");
    await first!.waitForOutput("removed");
    expect(await answered(b!, 1)).toBe(0);
    first!.kill("SIGUSR1");
    await first!.waitForOutput("renewed");
    expect(await answered(b!, 1)).toBe(3);
    expect(await answered(a!, 2)).toBe(3);
    expect((await stop(first!)).in.dropped).toEqual({ "device-failed": 3 });
  });

  it("goes on after its device was down, counting what could not be delivered", async () => {
    await a!.ip("link set weft0 down");
    expect(await answered(b!, 1)).toBe(0);
    await a!.ip("link set weft0 up");
    expect(await answered(b!, 1)).toBe(3);
    expect((await stop(first!)).in.dropped).toEqual({ "device-failed": 3 });
  });

  it("goes on after the underlay was down, counting what could not be sent", async () => {
    await a!.ip("link set eth0 down");
    expect(await answered(a!, 2)).toBe(0);
    await a!.ip("link set eth0 up");
    expect(await answered(a!, 2)).toBe(3);
    expect((await stop(first!)).out.dropped["send-failed"]).toBe(3);
  });

  it("waits for a slow underlay, then drops and counts, and still stops", async () => {
    const slow = ["tbf", "rate", "1mbit", "burst", "10kb", "limit", "1gb"];
    await a!.exec(["tc", "qdisc", "add", "dev", "eth0", "root", ...slow]);
    try {
      const flood = a!.spawn([process.execPath, FLOOD, overlay(2)]);
      await sleep(2_000);
      const { out } = await stop(first!);
      await flood.stop();
      expect(out.dropped["send-buffer-full"]).toBeGreaterThan(0);
      expect(out.dropped["send-failed"]).toBe(undefined);
    } finally {
      await a!.exec(["tc", "qdisc", "del", "dev", "eth0", "root"]);
    }
  });

  /** The replies of a node to what the mesh might say, by who sent them. */
  async function ask(endpoint: string, ...questions: string[]): Promise<string[]> {
    const asking = b!.spawn([process.execPath, ASK, endpoint, ...questions]);
    return (await asking.finish(HANGS_MS)).stdout.trimEnd().split("\n");
  }

  it("hands up what the mesh sends beside the packets, and sends from the port of the packets", async () => {
    const questions = Array.from({ length: 50 }, (_, i) => `weft question ${10 + i}`);
    const replies = await ask("192.0.2.1:4789", ...questions);
    expect(replies.sort()).toEqual(questions.map((text) => `192.0.2.1:4789 ${text}!`));
    expect((await stop(first!)).in).toMatchObject({ control: 50, controlDropped: 0 });
  });

  it("passes on what two others send each other through it", async () => {
    const c = await lab.host("c");
    await Promise.all([first!.stop("SIGTERM"), second!.stop("SIGTERM")]);
    first = start(a!, settings(1, peer(2), peer(3, 2)));
    second = start(b!, settings(2, peer(1), peer(3)));
    const third = start(c, settings(3, peer(2), peer(1, 2)));
    await Promise.all([first, second, third].map((node) => node.waitForOutput("ready")));
    expect(await answered(a!, 3)).toBe(3);
    expect(await answered(c, 1)).toBe(3);
    const { bytes } = await iperf(a!, c, overlay(3), { seconds: 1 });
    const { in: passed } = await stop(second);
    await third.stop("SIGTERM");
    expect(passed.relayed).toBeGreaterThan(bytes / 1400);
    expect(passed.delivered).toBe(passed.relayed);
  });

  it("moves to another underlay address without losing its device", async () => {
    const index = async () =>
      JSON.parse(await a!.exec(["ip", "-j", "link", "show", "weft0"]))[0].ifindex;
    await second!.stop("SIGTERM");
    const moved = {
      ...peer(1),
      endpoint: "192.0.2.9:4789",
      senders: ["192.0.2.9:4789", "192.0.2.1:4789"],
    };
    second = start(b!, settings(2, moved));
    await second.waitForOutput("ready");
    const before = await index();

    // Refused while the address is not there, and nothing has changed.
    expect(await ask("192.0.2.1:4789", "weft move 192.0.2.9")).toEqual([
      "192.0.2.1:4789 weft move 192.0.2.9!",
    ]);
    await first!.waitForOutput("refused UDP_ADDRESS");
    await a!.ip("addr add 192.0.2.9/24 dev eth0");
    try {
      expect(await answered(b!, 1)).toBe(0);
      expect(await ask("192.0.2.1:4789", "weft move 192.0.2.9")).toEqual([
        "192.0.2.9:4789 weft move 192.0.2.9!",
      ]);
      expect(await answered(b!, 1)).toBe(3);
      expect(await answered(a!, 2)).toBe(3);
      expect(await ask("192.0.2.9:4789", "weft again")).toEqual(["192.0.2.9:4789 weft again!"]);
      expect(await index()).toBe(before);
      // The old socket is closed: its address may be had again.
      const sockets = await a!.exec(["ss", "-Huln"]);
      expect(sockets).toContain("192.0.2.9:4789");
      expect(sockets).not.toContain("192.0.2.1:4789");
      await stop(first!);
    } finally {
      await a!.ip("addr del 192.0.2.9/24 dev eth0");
    }
  });

  it.each([
    ["the device's name is taken", "TUN_BUSY", "weft0", []],
    ["the port is taken", "UDP_IN_USE", "weft9", []],
    [
      "it lacks the capability",
      "TUN_PERMISSION",
      "weft9",
      ["setpriv", "--bounding-set=-net_admin"],
    ],
    [
      "there is no device file",
      "TUN_MISSING",
      "weft9",
      ["unshare", "--mount", process.execPath, WITHOUT_TUN],
    ],
  ] as const)("says so when %s, and leaves nothing behind", async (_what, code, tun, before) => {
    const refused = start(a!, { ...settings(1, peer(2)), tun }, before);
    const finished = await refused.finish(HANGS_MS);
    expect(finished.stdout).toContain(code);
    expect(finished.code).toBe(1);
    expect((await a!.run(["ip", "link", "show", "weft9"])).code).not.toBe(0);
    expect(await answered(b!, 1)).toBe(3); // the node that has the name and the port goes on
  });
});
