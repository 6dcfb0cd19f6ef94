import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { rounds } from "../rounds.js";
import { agentsOn, type Node } from "./cluster.js";
import { story } from "./story.js";
import { datagrams, transfer } from "./transfer.js";

const REFUSE = fileURLToPath(new URL("refuse.mjs", import.meta.url));
const BYTES = rounds(8_000_000, 20_000_000);
const ALL = ["tso", "uso", "gso", "gro"] as const;

/** Both ways at once: a stream, and datagrams of every kind. */
async function carry(one: Node, other: Node): Promise<void> {
  const ways = [
    [one, other],
    [other, one],
  ] as const;
  for (const send of [stream, datagrams]) {
    await Promise.all(ways.map(([from, to]) => send(from.host, to.host, to.status.address)));
  }
}

const stream = (from: Host, to: Host, address: string) => transfer(from, to, address, BYTES);

story("an offload that is turned off", () => {
  let lab: Lab;
  let nodes: Node[];
  let whole: Node;

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts = [];
    for (const name of ["whole", ...ALL, "none"]) hosts.push(await lab.host(name));
    nodes = await agentsOn(lab, hosts, ({ name }) => {
      const off = name === "none" ? ALL : ALL.filter((offload) => offload === name);
      return { flags: off.map((offload) => `--no-${offload}`) };
    });
    whole = nodes[0]!;
  });
  afterAll(() => lab?.close());

  it("none is, unless somebody says so", () => {
    expect(whole.status.offloads).toMatchObject({ tso: true, gso: true, gro: true });
  });

  for (const [i, off] of ALL.entries()) {
    it(`--no-${off}: is not in use, and the network works as before`, async () => {
      const node = nodes[1 + i]!;
      const { stdout } = await node.agent.weft("status", "-o", "json");
      expect(JSON.parse(stdout).offloads).toEqual({ ...whole.status.offloads, [off]: false });
      await carry(whole, node);
    });
  }

  it("nor do all of them have to be there", async () => {
    const node = nodes.at(-1)!;
    expect(node.status.offloads).toEqual({ tso: false, uso: false, gso: false, gro: false });
    await carry(whole, node);
  });
});

story("an offload that the host does not have", () => {
  let lab: Lab;
  let [whole, old, lonely]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts = [];
    for (const name of ["whole", "old", "lonely"]) hosts.push(await lab.host(name));
    // As a new network namespace is before anybody says `ip link set lo up`: what probes itself fails.
    await hosts[2]!.ip("link set lo down");
    [whole, old, lonely] = await agentsOn(lab, hosts, ({ name }) =>
      name === "old" ? { inside: [process.execPath, REFUSE] } : {},
    );
  });
  afterAll(() => lab?.close());

  it("a kernel that refuses them: each is named once, and the network works", async () => {
    expect(old!.status.offloads).toMatchObject({ tso: false, uso: false, gro: false });
    const lines = old!.agent.process.output.split("\n");
    for (const offload of ["tso", "uso", "gro"]) {
      const said = lines.filter((line) => new RegExp(`\\b${offload}\\b`, "i").test(line));
      expect(said, lines.join("\n")).toHaveLength(1);
    }
    await carry(whole!, old!);
  });

  it("a host where the trial of several datagrams in one call fails: it does without", async () => {
    expect(lonely!.status.offloads.gso).toBe(false);
    const lines = lonely!.agent.process.output.split("\n");
    const said = lines.filter((line) => /\bgso\b/i.test(line));
    expect(said, lines.join("\n")).toHaveLength(1);
    await carry(whole!, lonely!);
  });
});
