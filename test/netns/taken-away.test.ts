import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import { hostState } from "../host/state.js";
import { addressOf, agentsOn, DUAL_STACK, type Node, traces } from "./cluster.js";
import { story } from "./story.js";

/** The agent looks every 5 s; the rest is for a machine that is shared. */
const HEALS = { timeout: 30_000, interval: 250 };
const BEYOND = "198.51.100.0/24";
const STATIC = `name=f,endpoint=192.0.2.9:4789,mac=02:00:00:00:00:09,subnets=${BEYOND}`;

story("what an agent made on its host, and others take away", () => {
  let lab: Lab;
  let a: Node;
  let b: Node;
  let before: string;
  let whole: string[];

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts = [await lab.host("a"), await lab.host("b")];
    before = await traces(hosts[0]!);
    // The state of a is a file system of its own, in a mount namespace of its own.
    const state = join(lab.folder, "a/state");
    const inside = ["unshare", "--mount", "sh", "-c"];
    const script = `mkdir -p ${state}; mount -t tmpfs -o size=256k,mode=0700 none ${state}; exec "$@"`;
    [a, b] = (await agentsOn(lab, hosts, ({ name }) => ({
      flags: [...DUAL_STACK, ...(name === "a" ? ["--static-peer", STATIC] : [])],
      ...(name === "a" && { inside: [...inside, script, "sh"] }),
    }))) as [Node, Node];
    whole = await hostState(a.host);
  });
  afterAll(() => lab?.close());

  const inA = (...argv: string[]) =>
    a.host.exec(["nsenter", "--target", `${a.agent.process.pid}`, "--mount", "--", ...argv]);

  /** All is there again, packets pass in both families, and the agent has nothing to say. */
  const expectWhole = async (): Promise<void> => {
    await expect.poll(() => hostState(a.host), HEALS).toEqual(whole);
    for (const family of [4, 6] as const) {
      const answered = async () =>
        (await ping(b.host, addressOf(a, family), { count: 1 })).rttMs.length;
      await expect.poll(answered, HEALS).toBe(1);
    }
    await expect.poll(async () => (await a.agent.status())?.problems, HEALS).toEqual([]);
  };

  it.each<[string, string[]]>([
    ["the device, removed", ["link delete weft0"]],
    ["the device, renamed", ["link set weft0 down", "link set weft0 name mine0"]],
    ["the device, set down", ["link set weft0 down"]],
    ["MTU, queue, an address", ["link set weft0 mtu 1300 txqueuelen 7", "address flush weft0"]],
    [
      "its routes",
      [
        "route flush proto 119",
        "-6 route flush proto 119",
        "route flush dev weft0 proto boot",
        "-6 route flush dev weft0 proto boot",
      ],
    ],
  ])("%s: is there again", async (_, lines) => {
    for (const line of lines) await a.host.exec(["ip", ...line.split(" ")]);
    await expectWhole();
  });

  it("the device, moved to another network namespace: is there again", async () => {
    await a.host.ip(`link set weft0 netns ${b.host.namespace} name moved0`);
    await expectWhole();
    expect(await b.host.exec(["ip", "link"])).not.toContain("moved0");
  });

  it("accept_local: is set again", async () => {
    await a.host.sysctl("net/ipv4/conf/weft0/accept_local", 0);
    const setting = () => a.host.exec(["cat", "/proc/sys/net/ipv4/conf/weft0/accept_local"]);
    await expect.poll(setting, HEALS).toBe("1\n");
  });

  it.each<[string, string[], string]>([
    [
      "another device",
      [
        "link set weft0 down",
        "link set weft0 name mine0",
        "link add weft0 type bridge",
        "link delete mine0",
      ],
      "a network device named weft0 exists already",
    ],
    [
      "another device, while its own is renamed",
      ["link set weft0 down", "link set weft0 name mine0", "link add weft0 type bridge"],
      "was renamed to mine0, and another device is named weft0",
    ],
  ])(
    "the name of the device, taken by %s: is a problem until it is free",
    async (_, lines, problem) => {
      await a.host.ip(...lines);
      const problems = async () => (await a.agent.status())?.problems.join("\n");
      await expect.poll(problems, HEALS).toContain(problem);
      expect(await a.host.exec(["ip", "address", "show", "weft0"])).not.toContain("inet");
      await a.host.ip("link delete weft0");
      await expectWhole();
    },
  );

  it("a route in both families, taken by other devices: is a problem until they go", async () => {
    await a.host.ip("tuntap add dev cni0 mode tun", "link set cni0 up");
    await a.host.ip(
      "route replace 10.244.0.0/16 dev cni0",
      "route del fd00:244::/48 dev weft0",
      "route add fd00:244::/48 dev cni0",
    );
    const problems = async () => (await a.agent.status())?.problems.join("\n");
    await expect.poll(problems, HEALS).toContain("10.244.0.0/16 cannot be routed to weft0");
    await expect.poll(problems, HEALS).toContain("fd00:244::/48 cannot be routed to weft0");
    await a.host.ip("link delete cni0");
    await expectWhole();
  });

  it("its control socket: is made again, and conversations go on", async () => {
    const reading = a.agent.spawn("capture");
    const captured = async () => {
      await ping(b.host, addressOf(a, 4), { count: 1 });
      return reading.output;
    };
    await expect.poll(captured, HEALS).not.toBe("");
    rmSync(a.agent.socket);
    await expect.poll(() => existsSync(a.agent.socket), HEALS).toBe(true);
    await expectWhole();
    expect(reading.ended).toBe(false);
    await reading.stop("SIGINT");
  });

  it("its control socket, replaced by a file: that is left alone, and the log says what to do", async () => {
    rmSync(a.agent.socket);
    writeFileSync(a.agent.socket, "precious");
    await a.agent.process.waitForOutput(/exists and is not a socket: remove it/, HEALS.timeout);
    expect(readFileSync(a.agent.socket, "utf8")).toBe("precious");
    rmSync(a.agent.socket);
    await expect.poll(() => existsSync(a.agent.socket), HEALS).toBe(true);
    await expectWhole();
  });

  it("the directories of socket, lock and state: are made again, and no other agent gets them", async () => {
    const { state, socket } = b.agent;
    rmSync(dirname(socket), { recursive: true });
    for (const path of [socket, join(state, "lock"), join(state, "node.state")]) {
      await expect.poll(() => existsSync(path), HEALS).toBe(true);
    }
    expect(await b.agent.status()).toMatchObject({ healthy: true });
    const elsewhere = ["--tun", "weft1", "--port", "4790", "--mesh-port", "6784"];
    const second = lab.agent(b.host, { flags: [...elsewhere, "--socket", `${socket}.2`] });
    const { stderr } = await second.process.finish(20_000);
    expect(stderr).toContain(`another agent (pid ${b.agent.process.pid}, b) uses`);

    await b.agent.kill();
    const agent = lab.agent(b.host, { join: [a.host] });
    const status = await agent.waitHealthy({ peers: 1, limitMs: 40_000 });
    expect(status.leases).toEqual(b.status.leases);
    b = { ...b, agent, status };
  });

  it.each<[string, (state: string) => string[], (state: string) => string[], RegExp]>([
    [
      "read-only",
      (state) => ["sh", "-c", `mount --bind ${state} ${state}; mount -o remount,bind,ro ${state}`],
      (state) => ["umount", state],
      /cannot be written \(EROFS\): make its file system writable again/,
    ],
    [
      "full",
      (state) => ["sh", "-c", `cat /dev/zero >${state}/big 2>/dev/null; true`],
      (state) => ["rm", `${state}/big`],
      /cannot be written \(ENOSPC\): make room/,
    ],
  ])("room for its state, %s: is a problem until there is some", async (_, take, give, problem) => {
    await inA(...take(a.agent.state));
    const problems = async () => (await a.agent.status())?.problems.join("\n");
    await expect.poll(problems, HEALS).toMatch(problem);
    await inA(...give(a.agent.state));
    await expectWhole();
  });

  it("is gone after the stop, and what others put there is not", async () => {
    rmSync(a.agent.socket);
    writeFileSync(a.agent.socket, "precious");
    expect((await a.agent.kill()).code).toBe(0);
    expect(readFileSync(a.agent.socket, "utf8")).toBe("precious");
    expect(await traces(a.host)).toBe(before);
  });
});
