import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { bothWays, notNeighbours, Partition } from "../../src/lab/partition.js";
import { rounds } from "../rounds.js";
import { allAnswer, type Node, peersOf } from "./cluster.js";
import { Pinger } from "./pinger.js";
import { story } from "./story.js";
import { transfer } from "./transfer.js";

const HOSTS = 8;
const BYTES = rounds(8_000_000, 20_000_000);
/** Milliseconds until all know all, on a busy machine: eight agents start at once. */
const BUSY_MS = 150_000;
/** The cut is between these two, counted from the start of the line. */
const [LEFT, RIGHT] = [3, 4];

story("eight hosts in a line, each of which reaches only its neighbours", () => {
  let lab: Lab;
  let partition: Partition;
  let nodes: Node[];

  beforeAll(async () => {
    lab = await Lab.open();
    partition = await Partition.build(lab);
    const names = Array.from({ length: HOSTS }, (_, i) => `h${i + 1}`);
    for (const name of names) await lab.host(name);
    await partition.cut(notNeighbours(lab.hosts));
    const agents = lab.hosts.map((host, i) => {
      const before = lab.hosts[i - 1];
      return lab.agent(host, { join: before ? [before] : [] });
    });
    nodes = await Promise.all(
      agents.map(async (agent) => {
        const status = await agent.waitHealthy({ peers: HOSTS - 1, limitMs: BUSY_MS });
        return { host: agent.host, agent, status };
      }),
    );
  });
  afterAll(() => lab?.close());

  /** One row for each node: what it says of each of the others. */
  const told = async (say: "path" | "state") =>
    Promise.all(
      nodes.map(async (node) => {
        const peers = await peersOf(node);
        return nodes.map(({ host }) => peers.get(host.name)?.[say] ?? "-");
      }),
    );
  const expected = (say: (from: number, to: number) => string) =>
    nodes.map((_, from) => nodes.map((_, to) => (from === to ? "-" : say(from, to))));
  const path = (from: number, to: number) => {
    const next = from + Math.sign(to - from);
    return next === to ? "direct" : `via h${next + 1}`;
  };
  const established = () => expected(() => "established");

  it("every host answers every other", async () => {
    await allAnswer(nodes, 30_000);
  });

  it("`weft peers` says through whom", async () => {
    await expect.poll(() => told("path"), { timeout: 20_000 }).toEqual(expected(path));
    expect(await told("state")).toEqual(established());
  });

  it("a stream from end to end arrives unchanged, in both directions", async () => {
    const [first, last] = [nodes[0]!, nodes.at(-1)!];
    await transfer(first.host, last.host, last.status.address, BYTES);
    await transfer(last.host, first.host, first.status.address, BYTES);
  });

  it("cut in the middle, each side calls the other dead or unreachable, and loses no packet of its own", async () => {
    const pinger = new Pinger(nodes[0]!.host, nodes[LEFT]!.status.address);
    await partition.cut(bothWays(nodes[LEFT]!.host, nodes[RIGHT]!.host));
    const isLeft = (i: number) => i <= LEFT;
    const sides = expected((from, to) => (isLeft(from) === isLeft(to) ? "established" : "away"));
    const away = (rows: string[][]) =>
      rows.map((row) => row.map((state) => state.replace(/^(dead|unreachable)$/, "away")));
    await expect.poll(async () => away(await told("state")), { timeout: 25_000 }).toEqual(sides);
    const { lost, output } = await pinger.stop();
    expect(lost, output).toBeLessThanOrEqual(1);
  });

  it("healed, all answer all again", async () => {
    await partition.heal(bothWays(nodes[LEFT]!.host, nodes[RIGHT]!.host));
    await allAnswer(nodes, 60_000);
    await expect.poll(() => told("state"), { timeout: 30_000 }).toEqual(established());
    await expect.poll(() => told("path"), { timeout: 30_000 }).toEqual(expected(path));
  });
});
