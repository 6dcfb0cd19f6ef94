import { afterAll, beforeAll, expect, it } from "vitest";
import type { Explained } from "../../src/http/view.js";
import { Lab } from "../../src/lab/lab.js";
import { bothWays, type HostPair, Partition } from "../../src/lab/partition.js";
import { cluster, type Node } from "./cluster.js";
import { story } from "./story.js";

const LIMIT_MS = 60_000;
const ROUTER = "192.0.2.250";
const SOON = { timeout: 30_000, interval: 500 };

story("an explanation promises what the way of the packet keeps", () => {
  let lab: Lab;
  let partition: Partition;
  let [a, b, c]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    partition = await Partition.build(lab);
    [a, b, c] = await cluster(lab, ["a", "b", "c"]);
  }, LIMIT_MS);
  afterAll(() => lab?.close());

  const explain = async (on: Node, src: string, dst: string, ...more: string[]) => {
    const { code, stdout, stderr } = await on.agent.weft(
      ...["explain", "--src", src, "--dst", dst, ...more],
    );
    return { code, text: `${stdout}${stderr}` };
  };
  const asJson = async (on: Node, src: string, dst: string): Promise<Explained> =>
    JSON.parse((await explain(on, src, dst, "-o", "json")).text);
  const aToB = () => explain(a!, a!.status.address, b!.status.address);
  const pathToB = async () => (await asJson(a!, a!.status.address, b!.status.address)).path;

  it("names the path, and when a probe was answered there last", async () => {
    const { code, text } = await aToB();
    expect(code).toBe(0);
    expect(text).toMatch(/^verdict +sent$/m);
    expect(text).toMatch(/^path +direct to 192\.0\.2\.\d:4789: b answered a probe at \d{4}-.*Z$/m);
    expect(text).toMatch(/^on b:\n(.|\n)*^verdict +delivered$/m);
  });

  it("begins at the node that has the source, whichever is asked", async () => {
    const [src, dst] = [a!.status.address, b!.status.address];
    for (const asked of [b!, c!]) {
      const { code, text } = await explain(asked, src, dst);
      expect(code).toBe(0);
      const [first, ...further] = text.split(/^on .*:$/m).slice(1);
      expect(text).toMatch(new RegExp(`^on a, which has ${src}:$`, "m"));
      expect(first).toMatch(/^verdict +sent$/m);
      expect(further.join()).toMatch(/^verdict +delivered$/m);
    }
    const there = await asJson(c!, src, dst);
    expect(there).toMatchObject({ node: "a", owner: "a", direction: "out", verdict: "sent" });
    const here = await asJson(a!, src, dst);
    expect(here).toMatchObject({ owner: "a", verdict: "sent" });
    expect(here).not.toHaveProperty("node");
  });

  it("says of a source that no node has that it is tried as one of this host", async () => {
    const { code, text } = await explain(a!, "10.244.250.7", b!.status.address);
    expect(code).toBe(1);
    expect(text).toMatch(/^no node has 10\.244\.250\.7: this is tried as a packet of this host$/m);
    expect(text).toMatch(/^verdict +dropped: spoofed-source$/m);
  });

  it("is of the host where weft does not carry the packet", async () => {
    const src = a!.status.address;
    await a!.host.exec(["ip", "route", "add", "default", "via", ROUTER]);
    for (const asked of [a!, b!]) {
      const { code, text } = await explain(asked, src, "8.8.8.8");
      expect(code).toBe(1);
      expect(text).toMatch(/^verdict +not carried by weft$/m);
      expect(text).toMatch(
        new RegExp(`^host +sends it by eth0 via ${ROUTER}, by the route default$`, "m"),
      );
      expect(text).toMatch(/^because +the host routes packets between itself and the outside, /m);
      expect(text).not.toContain("no-route");
    }
    await a!.host.exec(["ip", "route", "del", "default"]);
    expect(await asJson(a!, src, "8.8.8.8")).toMatchObject({
      verdict: "not-carried",
      host: { to: "refused", why: "Network is unreachable" },
      stages: [],
    });
    const throughWeft = async () => {
      // The agent removes the route whenever it looks after its device.
      await a!.host.exec(["ip", "route", "replace", "198.18.0.0/24", "dev", "weft0"]);
      return await asJson(a!, src, "198.18.0.1");
    };
    await expect.poll(throughWeft).toMatchObject({
      verdict: "answered",
      reason: "no-route",
      counter: "out.answeredBy.no-route",
      host: { to: "weft" },
    });
  });

  it.each([
    ["the source itself", () => a!.status.address, { to: "local" }],
    ["the loopback address", () => "127.0.0.1", { to: "local" }],
    [
      "all hosts of a link",
      () => "192.0.2.255",
      { to: "device", device: "eth0", route: "192.0.2.255" },
    ],
    [
      "another host of the underlay",
      () => b!.host.address,
      { to: "device", device: "eth0", route: "192.0.2.0/24" },
    ],
  ])("weft does not carry a packet for %s", async (_, dst, host) => {
    const { verdict, host: found } = await asJson(a!, a!.status.address, dst());
    expect([verdict, found]).toEqual(["not-carried", host]);
  });

  it("ends in the host that has the packet and gives it to nobody", async () => {
    const nobody = b!.status.leases[0]!.replace("0/24", "80");
    const last = async () => {
      const { code, text } = await explain(a!, a!.status.address, nobody);
      expect(code).toBe(1);
      expect(text).toMatch(/^verdict +delivered, but no further than the host$/m);
      return text;
    };
    await b!.host.exec(["sysctl", "-qw", "net.ipv4.ip_forward=0"]);
    expect(await last()).toMatch(/^host +does not send it on: .* net\.ipv4\.ip_forward is 0$/m);
    await b!.host.exec(["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    expect(await last()).toMatch(/^host +no program or device of this host has 10\.244\.\d+\.80$/m);
    for (const change of [
      ["link", "add", "to-web", "type", "veth", "peer", "name", "web"],
      ["link", "set", "to-web", "up"],
      ["link", "set", "web", "up"],
      ["route", "add", nobody, "dev", "to-web"],
    ]) {
      await b!.host.exec(["ip", ...change]);
    }
    const { code, text } = await explain(a!, a!.status.address, nobody);
    expect(text).toMatch(/^host +sends it by to-web, by the route 10\.244\.\d+\.80$/m);
    expect(code).toBe(0);
  });

  it(
    "is probably lost where UDP is blocked, and arrives through a node that carries it",
    async () => {
      const direct = bothWays(a!.host, b!.host);
      const detour: HostPair[] = bothWays(a!.host, c!.host);
      await partition.cut(direct, "packets");
      await expect.poll(pathToB, SOON).toMatchObject({ state: "answers", path: "via c" });
      const carried = await aToB();
      expect(carried.code).toBe(0);
      expect(carried.text).toMatch(/^path +via c to 192\.0\.2\.\d:4789: b answered a probe at /m);

      await partition.cut(detour, "packets");
      await expect.poll(pathToB, SOON).toMatchObject({ state: "silent", path: "direct" });
      const lost = await aToB();
      expect(lost.code).toBe(1);
      expect(lost.text).toMatch(/^verdict +sent, but probably lost$/m);
      expect(lost.text).toMatch(/^path .*: no probe has been answered by b since \d{4}-\S+Z$/m);
      expect(lost.text).toMatch(/^on b, if it arrives:\n(.|\n)*^verdict +delivered$/m);

      await partition.heal([...direct, ...detour], "packets");
      await expect.poll(pathToB, SOON).toMatchObject({ state: "answers", path: "direct" });
      expect((await aToB()).code).toBe(0);
    },
    2 * LIMIT_MS,
  );

  it("fails, and says where to ask, when the node that has the source cannot be asked", async () => {
    await partition.cut(bothWays(a!.host, c!.host));
    const { code, text } = await explain(c!, a!.status.address, b!.status.address);
    expect(code).toBe(1);
    expect(text).toMatch(
      /^weft: a has 10\.\S+, and was not asked: .*\n {2}ask on a; with --here, /,
    );
  });
});
