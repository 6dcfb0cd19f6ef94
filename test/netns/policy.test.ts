/** A policy, applied on one host, decides about real traffic on another. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Counters, FlowRow } from "../../src/http/view.js";
import type { LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import { iperf, ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";
import { addNeighbours, kernelVtep, staticPeer } from "../../src/lab/vtep.js";
import { cluster, type Node } from "./cluster.js";
import { Pinger } from "./pinger.js";
import { story } from "./story.js";

const WEB = 80;
const OTHER = 8080;
const POLL_MS = 50;
/** How long a stream goes on after nothing of it is acknowledged any more. */
const GIVE_UP_MS = 5_000;

/** Accepts on both ports, and says so. */
const SERVER = `
const { createServer } = require("node:net");
for (const port of [${WEB}, ${OTHER}]) {
  createServer((peer) => peer.end("hello")).listen(port, () => console.log("listens on " + port));
}`;

/** Prints "hello", or why not. */
const CLIENT = `
const [address, port] = process.argv.slice(1);
const peer = require("node:net").connect({ host: address, port: Number(port) });
const end = (text) => { console.log(text); process.exit(); };
peer.on("data", (data) => end(String(data))).on("error", ({ code }) => end(code));
setTimeout(() => end("silence"), 2_000);`;

const knock = async (from: Host, address: string, port: number): Promise<string> =>
  (await from.exec([process.execPath, "-e", CLIENT, address, `${port}`])).trim();

/** Echo requests that the kernel of this host has seen. */
async function echoesSeen(host: Host): Promise<number> {
  const [names = "", values = ""] = (await host.exec(["cat", "/proc/net/snmp"]))
    .split("\n")
    .filter((line) => line.startsWith("Icmp:"));
  return Number(values.split(" ")[names.split(" ").indexOf("InEchos")]);
}

story("the cluster's policy", () => {
  let lab: Lab;
  let [a, b]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"]);
    await b!.host.spawn([process.execPath, "-e", SERVER]).waitForOutput(`listens on ${OTHER}`);
  });
  afterAll(() => lab?.close());

  const web = () => b!.status.address;
  const counters = async (agent: LabAgent) => (await agent.get<Counters>("/v1/counters"))!;

  /** On one host, until it is in force on the other. */
  async function apply(text: string): Promise<void> {
    const file = join(lab.folder, "policy.yaml");
    writeFileSync(file, text);
    const { code, stderr } = await a!.agent.weft("policy", "apply", file, "--wait");
    expect(code, stderr).toBe(0);
  }

  const policy = (mode: string, rules: string): string =>
    `policies:\n  - name: web\n    mode: ${mode}\n    applies: [${web()}]\n    ingress: [${rules}]\n`;
  const ONE_PORT = `{ action: allow, protocol: tcp, ports: [${WEB}] }`;

  it("lets all pass while there is none, and `policy get` says so", async () => {
    expect(await knock(a!.host, web(), WEB)).toBe("hello");
    expect(await knock(a!.host, web(), OTHER)).toBe("hello");
    const { code, stderr } = await a!.agent.weft("policy", "get");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^weft: the cluster has no policy/);
  });

  it("that was only tried changes nothing", async () => {
    const file = join(lab.folder, "closed.yaml");
    writeFileSync(file, policy("enforce", ""));
    const { stdout } = await a!.agent.weft("policy", "apply", file, "--dry-run");
    expect(stdout).toMatch(/^it would be accepted/);
    expect(await knock(a!.host, web(), OTHER)).toBe("hello");
  });

  it("opens one port of a web server, and closes the rest", async () => {
    await apply(policy("enforce", ONE_PORT));
    expect(await knock(a!.host, web(), WEB)).toBe("hello");
    expect(await knock(a!.host, web(), OTHER)).toBe("EHOSTUNREACH");
    expect((await ping(a!.host, web(), { count: 2 })).rttMs).toEqual([]);
    // Nobody polices what the web server's host opens, and the replies to that come in.
    expect((await ping(b!.host, a!.status.address, { count: 2 })).rttMs).toHaveLength(2);
  });

  it("is explained where it decides, with the line and what nearly let it in", async () => {
    const ends = ["--src", a!.status.address, "--dst", web(), "--in"];
    const denied = await b!.agent.weft("explain", ...ends, "--dport", `${OTHER}`);
    expect(denied.code).toBe(1);
    expect(denied.stdout).toMatch(/^verdict +answered: denied-ingress$/m);
    expect(denied.stdout).toMatch(/^rule +end of default ingress: deny/m);
    expect(denied.stdout).toMatch(/^almost +web ingress 0: allow .*line 5\), but for its ports$/m);
    const allowed = await b!.agent.weft("explain", ...ends, "--dport", `${WEB}`);
    expect(allowed.code).toBe(0);
    expect(allowed.stdout).toMatch(/^verdict +delivered$/m);
  });

  it("is explained from the other side, which asks where it decides", async () => {
    const denied = async () => {
      const { rules, in: into } = await counters(b!.agent);
      return [rules.at(-1)!.packets, into.dropped["denied-ingress"] ?? 0, into.answered];
    };
    const before = await denied();
    const ends = ["--src", a!.status.address, "--dst", web(), "--dport"];
    const { code, stdout } = await a!.agent.weft("explain", ...ends, `${OTHER}`);
    expect(code).toBe(1);
    const [here, there] = stdout.split(/^on b:$/m);
    expect(here).toMatch(/^verdict +sent$/m);
    expect(there).toMatch(/^verdict +answered: denied-ingress$/m);
    expect(there).toMatch(/^almost +web ingress 0: allow .*line 5\), but for its ports$/m);
    expect(there).toMatch(/^counter +in\.answeredBy\.denied-ingress$/m);
    expect(await denied()).toEqual(before);
    expect(await knock(a!.host, web(), OTHER)).toBe("EHOSTUNREACH");
    const after = await denied();
    expect(after[0]).toBeGreaterThan(before[0]!);
    expect(after[2]).toBeGreaterThan(before[2]!);

    const json = await a!.agent.weft("explain", ...ends, `${WEB}`, "-o", "json");
    expect(json.code).toBe(0);
    expect(JSON.parse(json.stdout)).toMatchObject({
      verdict: "sent",
      further: [{ node: "b", verdict: "delivered", rule: { policy: "web", index: 0, line: 5 } }],
    });
    const [here2, ...more] = (
      await a!.agent.weft("explain", ...ends, `${OTHER}`, "--here")
    ).stdout.split(/^on /m);
    expect(here2).toMatch(/^verdict +sent$/m);
    expect(more).toEqual([]);
  });

  it("is explained for a packet that was captured", async () => {
    const file = join(lab.folder, "knock.pcapng");
    const filter = `tcp ${a!.status.address} ${web()}:${OTHER}`;
    const capture = a!.agent.weft("capture", "-w", file, "--filter", filter, "--count", "1");
    let captured = false;
    void capture.then(() => {
      captured = true;
    });
    while (!captured) await knock(a!.host, web(), OTHER);
    expect((await capture).code).toBe(0);
    const all = await a!.agent.weft("explain", "--pcap", file);
    expect(all.stdout).toMatch(/^ +1 +out +tcp 10\.\S+:\d+ > 10\.\S+:8080 +sent +-$/m);
    expect(all.code).toBe(0);
    const one = await a!.agent.weft("explain", "--pcap", file, "--number", "1");
    expect(one.stdout).toMatch(/^on b:$(.|\n)*^verdict +answered: denied-ingress$/m);
    expect(one.code).toBe(1);
  });

  it("is seen in the flows and in the counters of its rules", async () => {
    expect(await knock(a!.host, web(), WEB)).toBe("hello");
    const flows = await b!.agent.get<FlowRow[]>(`/v1/flows?src=${a!.status.address}&dst=${web()}`);
    const toTheWeb = flows!.filter(({ dport }) => dport === WEB);
    expect(toTheWeb.map(({ rule }) => rule)).toContain("web ingress 0");
    const { stdout } = await b!.agent.weft("counters");
    expect(stdout).toMatch(/^web ingress 0 +allow +5 +[1-9]\d* +\d+$/m);
    expect(stdout).toMatch(/^end of default ingress +deny +- +[1-9]\d* +\d+$/m);
  });

  it("meets what was expected of it", async () => {
    const file = join(lab.folder, "expected.yaml");
    const line = (port: number, verdict: string) =>
      `  - { src: ${a!.status.address}, dst: ${web()}, protocol: tcp, ports: [${port}], verdict: ${verdict} }\n`;
    writeFileSync(file, `expect:\n${line(WEB, "allow")}${line(OTHER, "deny")}`);
    expect((await a!.agent.weft("policy", "test", file)).code).toBe(0);
    writeFileSync(file, `expect:\n${line(WEB, "deny")}`);
    const { code, stdout } = await a!.agent.weft("policy", "test", file);
    expect(code).toBe(1);
    expect(stdout).toContain("NOT MET");
  });

  it("cuts a stream that it denies now, and spares one that it allows", async () => {
    const stream = (seconds: number) =>
      iperf(a!.host, b!.host, web(), { seconds, giveUpMs: GIVE_UP_MS });
    const IPERF = `{ action: allow, protocol: tcp, ports: [${WEB}, 5201] }`;
    await apply(policy("enforce", IPERF));
    const going = stream(3);
    await sleep(1_000);
    await apply(policy("enforce", `{ action: deny, protocol: icmp }, ${IPERF}`));
    expect((await going).bytes).toBeGreaterThan(0);

    // Long enough that a slow host applies the policy before the stream ends.
    const cut = stream(12).then(
      () => "went on",
      () => "was cut",
    );
    await sleep(1_000);
    await apply(policy("enforce", ONE_PORT));
    expect(await cut).toBe("was cut");
  });

  it("in shadow mode counts what it would deny, and lets it pass", async () => {
    await apply(policy("shadow", ONE_PORT));
    expect(await knock(a!.host, web(), OTHER)).toBe("hello");
    const { rules } = await counters(b!.agent);
    const shadow = rules.find(({ kind }) => kind === "shadow default");
    expect(shadow!.packets).toBeGreaterThan(0);
  });

  it("with a mistake is refused with its line, and what is in force stays", async () => {
    await apply(policy("enforce", ONE_PORT));
    const file = join(lab.folder, "wrong.yaml");
    writeFileSync(file, policy("enforce", "{ action: alow }"));
    const { code, stderr } = await a!.agent.weft("policy", "apply", file);
    expect(code).toBe(2);
    expect(stderr).toContain(`${file}:5: policies[0].ingress[0].action: "alow" is not known here`);
    expect(await knock(a!.host, web(), OTHER)).toBe("EHOSTUNREACH");
  });
});

/** Datagrams to the first address of each /24 of the cluster, without end: one of them is the new node's. */
const FLOOD = `
const socket = require("node:dgram").createSocket("udp4");
socket.on("error", () => {});
setInterval(() => {
  for (let n = 0; n < 256; n++) socket.send("flood", 9999, "10.244." + n + ".1", () => {});
}, 20);
console.log("floods");`;

story("a new node", () => {
  let lab: Lab;
  afterAll(() => lab?.close());

  it("delivers no packet that the policy denies, from its first moment on, then those it allows", async () => {
    lab = await Lab.open();
    const nodes = await cluster(lab, ["a", "b"]);
    const [a] = nodes;
    const file = join(lab.folder, "policy.json");
    const ingress = [{ action: "allow", protocol: "tcp", ports: [WEB] }];
    const policies = [{ name: "web", applies: ["10.244.0.0/16"], ingress }];
    // It takes three seconds to come.
    for (const node of nodes) {
      const link = ["rate", "16mbit", "burst", "64k", "latency", "200ms"];
      await node.host.exec(["tc", "qdisc", "add", "dev", "eth0", "root", "tbf", ...link]);
    }
    writeFileSync(file, JSON.stringify({ policies }).padEnd(4_000_000));
    expect((await a!.agent.weft("policy", "apply", file)).code).toBe(0);
    for (const node of nodes) {
      await node.host.spawn([process.execPath, "-e", FLOOD]).waitForOutput("floods");
    }

    const host = await lab.host("new");
    const delivered = async () => {
      const [device] = JSON.parse(await host.exec(["ip", "-j", "-s", "link", "show", "weft0"]));
      return device.stats64.rx.packets as number;
    };
    const start = () => lab.agent(host, { join: [a!.host] });
    /** Nothing was delivered when the policy has denied some of the flood. */
    const denies = async (agent: LabAgent) => {
      for (;;) {
        const { rules, in: into } = (await agent.get<Counters>("/v1/counters"))!;
        const end = rules.find(({ kind }) => kind === "tier default");
        expect(await delivered()).toBe(0);
        if ((end?.packets ?? 0) > 20) return into.dropped["policy-unknown"] ?? 0;
        await sleep(POLL_MS);
      }
    };
    let agent = start();
    await agent.waitHealthy({ limitMs: 60_000 });
    await denies(agent);

    // One that has its lease already, and no policy on its disk. Now and then the policy comes first.
    let early = 0;
    for (let runs = 0; early === 0 && runs < 3; runs++) {
      await agent.kill("SIGKILL");
      rmSync(join(agent.state, "policy.document"));
      agent = start();
      await agent.waitHealthy({ limitMs: 60_000 });
      early = await denies(agent);
    }
    expect(early).toBeGreaterThan(0);
    const { address } = await agent.waitHealthy();

    await host.spawn([process.execPath, "-e", SERVER]).waitForOutput(`listens on ${OTHER}`);
    expect(await knock(a!.host, address, WEB)).toBe("hello");
    expect(await delivered()).toBeGreaterThan(0);
    expect(await knock(a!.host, address, OTHER)).toBe("EHOSTUNREACH");
  });
});

story("a policy on disk", () => {
  let lab: Lab;
  afterAll(() => lab?.close());

  it("is in force after a restart before the first packet passes, with no other agent there to tell it", async () => {
    lab = await Lab.open();
    const host = await lab.host("weft");
    const kernel = await kernelVtep(await lab.host("kernel"), { subnet: "10.244.200.0/24" });
    const start = () => lab.agent(host, { flags: ["--static-peer", staticPeer(kernel)] });
    let agent = start();
    const { address, mac, leases } = await agent.waitHealthy();
    // It sends without asking anybody, from the first moment on.
    await addNeighbours(kernel, { endpoint: host.address, mac, subnet: leases[0]! });
    const pinger = new Pinger(kernel.host, address);
    const seen = async () => echoesSeen(host);
    while ((await seen()) === 0) await sleep(POLL_MS);

    const file = join(lab.folder, "policy.yaml");
    writeFileSync(file, `policies: [{ name: closed, applies: [${address}], ingress: [] }]`);
    expect((await agent.weft("policy", "apply", file)).code).toBe(0);
    await sleep(10 * POLL_MS);
    const before = await seen();
    for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"] as const) {
      await agent.kill(signal);
      agent = start();
      await agent.waitHealthy();
      await sleep(10 * POLL_MS);
      const { rules } = (await agent.get<Counters>("/v1/counters"))!;
      expect(rules.map(({ packets }) => packets > 20)).toEqual([true]);
      expect(await seen(), `after ${signal}`).toBe(before);
    }
    await pinger.stop();
  });
});
