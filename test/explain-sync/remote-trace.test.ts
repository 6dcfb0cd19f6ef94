/** Nodes on the path of a packet report what becomes of it. Each has a real dataplane beside its mesh. */
import { expect, it } from "vitest";
import { Dataplane, type Explanation, type Question } from "weft";
import { onwardOf } from "../../src/explain/explain.js";
import { packetFor } from "../../src/explain/question.js";
import { traceReportOf } from "../../src/explain/trace-report.js";
import {
  MAX_TRACED_BYTES,
  type RemoteTraceResult,
  TRACE_TIMEOUT,
} from "../../src/explain-sync/messages.js";
import { TRACES_FOR_OTHERS } from "../../src/explain-sync/remote-trace.js";
import type { MeshOptions } from "../../src/mesh/options.js";
import { MAX_RELAYS } from "../../src/paths/probe.js";
import { seed } from "../mesh/seed.js";
import { Stranger } from "../mesh/stranger.js";
import { World } from "../mesh/world.js";
import { type Node, PathWorld, type Rule } from "../paths/path-world.js";

const isNext: Rule = (a, b) => Math.abs(a - b) === 1;
const MTU = 1450;

class Nodes {
  readonly world = new PathWorld(seed);
  readonly all: Node[] = [];
  readonly #planes = new Map<number, Dataplane>();
  /** The report of a node that does not ask its dataplane. */
  readonly lies = new Map<number, () => Explanation | Promise<Explanation>>();

  constructor(reaches: Rule = () => true) {
    this.world.reaches = reaches;
  }

  async start(count: number, options: Partial<MeshOptions> = {}): Promise<void> {
    for (let n = 1; n <= count; n++) {
      const explain = async (packet: Uint8Array, peer?: string) =>
        this.lies.get(n)?.() ?? this.explain(n, peer === undefined ? { packet } : { packet, peer });
      const join = n === 1 ? [] : [n - 1];
      this.all.push(await this.world.node(n, join, { ...options, explain }));
      await this.world.run(500);
    }
    await this.world.run(30_000);
    for (const node of this.all) await this.#connect(node);
  }

  mesh(n: number) {
    return this.all[n - 1]!.mesh;
  }

  plane(n: number): Dataplane {
    return this.#planes.get(n)!;
  }

  address(n: number, host = 5): string {
    return this.mesh(n).self().leases[0]!.replace("0/24", `${host}`);
  }

  /** The report of the `n`-th node. */
  explain(n: number, question: Question): Explanation {
    return this.plane(n).explain(question);
  }

  /** A connection from an address of one node to one of another. */
  web(from: number, to: number): Question {
    return { src: this.address(from), dst: this.address(to, 80), dport: 443 };
  }

  /** The reports of the nodes behind the `n`-th about a packet that leaves it. */
  async follow(n: number, question: Question): Promise<RemoteTraceResult> {
    return this.waitFor(this.mesh(n).trace(onwardOf(this.explain(n, question))!));
  }

  async waitFor<T>(promise: Promise<T>): Promise<T> {
    let value: { readonly it: T } | undefined;
    promise.then((it) => {
      value = { it };
    });
    const began = this.world.schedule.now;
    while (!value) {
      if (this.world.schedule.now - began > TRACE_TIMEOUT + 100) throw new Error("no end");
      await this.world.run(50);
    }
    return value.it;
  }

  /** Applies the mesh's peers to the dataplane, as an agent does. */
  async #connect({ n, mesh }: Node): Promise<void> {
    const { leases, mac, name } = mesh.self();
    const underlay = `192.0.2.${n}:4789`;
    const address = leases[0]!.replace("0/24", "1");
    const plane = await Dataplane.create({
      vni: 1,
      mac,
      mtu: MTU,
      address,
      leases,
      underlay,
      name,
    });
    plane.setPeers(
      mesh.members().map(({ name, endpoint, mac, leases, senders }) => {
        return { name, endpoint, mac, leases: leases.map(({ subnet }) => subnet), senders };
      }),
    );
    this.#planes.set(n, plane);
  }
}

const CLOSED = '{"policies": [{"name": "shut", "applies": ["10.244.0.0/16"], "ingress": []}]}';
const inShort = ({ further, unasked }: RemoteTraceResult) => [
  ...further.map(({ node, verdict, reason }) => `${node} ${reason ?? verdict}`),
  ...(unasked ? [`${unasked.from} not ${unasked.node}: ${unasked.why}`] : []),
];

it("the node that holds the destination says what its own dataplane does", async () => {
  const nodes = new Nodes();
  await nodes.start(2);
  nodes.plane(2).setPolicy(CLOSED);
  const { packet } = onwardOf(nodes.explain(1, nodes.web(1, 2)))!;
  const { further, unasked } = await nodes.follow(1, nodes.web(1, 2));
  expect(unasked).toBeUndefined();
  expect(further).toEqual([
    { node: "h2", ...traceReportOf(nodes.explain(2, { packet, peer: "h1" })) },
  ]);
  expect(further[0]).toMatchObject({
    verdict: "answered",
    reason: "denied-ingress",
    rule: { kind: "tier default", direction: "ingress" },
    counter: "in.answeredBy.denied-ingress",
  });
  nodes.plane(2).setPolicy({ policies: [] });
  expect(inShort(await nodes.follow(1, nodes.web(1, 2)))).toEqual(["h2 delivered"]);
});

it("a packet that leaves another node is tried there, and followed from there", async () => {
  const nodes = new Nodes(isNext);
  await nodes.start(3);
  nodes.plane(3).setPolicy(CLOSED);
  const ask = (from: number, to: number) =>
    nodes.mesh(1).trace({
      to: `h${from}`,
      packet: packetFor(nodes.web(from, to)),
      leaves: true,
    });
  expect(inShort(await nodes.waitFor(ask(2, 3)))).toEqual(["h2 sent", "h3 denied-ingress"]);
  expect(inShort(await nodes.waitFor(ask(2, 1)))).toEqual(["h2 sent", "h1 delivered"]);
  const noAgent = { to: "f", packet: packetFor(nodes.web(2, 3)), leaves: true } as const;
  expect(await nodes.waitFor(nodes.mesh(1).trace(noAgent))).toEqual({ further: [] });
});

it("the asking node is the sender: a source that is not its own is forged", async () => {
  const nodes = new Nodes();
  await nodes.start(3);
  const packet = onwardOf(nodes.explain(2, nodes.web(2, 3)))!;
  const followed = await nodes.waitFor(nodes.mesh(1).trace(packet));
  expect(inShort(followed)).toEqual(["h3 spoofed-source"]);
});

it("in a line each relay reports, and asks the next", async () => {
  const nodes = new Nodes(isNext);
  await nodes.start(5);
  nodes.plane(5).setPolicy(CLOSED);
  expect(inShort(await nodes.follow(1, nodes.web(1, 5)))).toEqual([
    "h2 sent",
    "h3 sent",
    "h4 sent",
    "h5 denied-ingress",
  ]);
  const ttls = (await nodes.follow(1, nodes.web(1, 5))).further.map(
    ({ stages }) =>
      stages.flatMap(({ changes }) => changes).find(({ field }) => field === "ttl")?.to,
  );
  expect(ttls).toEqual(["62", "61", "60", undefined]);
});

it("a node without a session is dialled; if that fails, the answer says so", async () => {
  const nodes = new Nodes();
  await nodes.start(9, { sessions: 1 });
  const others = nodes.all.slice(1).map(({ n }) => n);
  const ask = async () => {
    const said: string[] = [];
    for (const n of others) said.push(...inShort(await nodes.follow(1, nodes.web(1, n))));
    return said;
  };
  nodes.world.mayDial = (from) => from !== 1;
  const unasked = (await ask()).filter((line) => line.includes(" not "));
  expect(unasked.length).toBeGreaterThan(0);
  for (const line of unasked) {
    expect(line).toMatch(/^h1 not h\d: no session with it could be opened: no answer$/);
  }
  nodes.world.mayDial = () => true;
  await nodes.world.run(60_000);
  expect(await ask()).toEqual(others.map((n) => `h${n} delivered`));
});

it("a peer that runs no agent is not asked, nor a packet too long to be sent on", async () => {
  const nodes = new Nodes();
  await nodes.start(2);
  const packet = new Uint8Array(MAX_TRACED_BYTES + 1);
  expect(await nodes.waitFor(nodes.mesh(1).trace({ to: "f", packet }))).toEqual({ further: [] });
  const { unasked } = await nodes.waitFor(nodes.mesh(1).trace({ to: "h2", packet }));
  expect(unasked?.why).toBe(`it is longer than ${MAX_TRACED_BYTES} bytes`);
});

it("a node that asks too often is refused, and keeps no other from asking", async () => {
  const nodes = new Nodes();
  await nodes.start(3);
  const onward = onwardOf(nodes.explain(1, nodes.web(1, 3)))!;
  const asked = 3 * TRACES_FOR_OTHERS.each.burst;
  const flood = await Promise.all(
    Array.from({ length: asked }, () => nodes.mesh(1).trace(onward)).map((one) =>
      nodes.waitFor(one),
    ),
  );
  const lines = flood.flatMap(inShort);
  expect(lines.filter((line) => line === "h3 delivered")).toHaveLength(
    TRACES_FOR_OTHERS.each.burst,
  );
  expect(lines.filter((line) => line === "h1 not h3: it was asked too often")).toHaveLength(
    asked - TRACES_FOR_OTHERS.each.burst,
  );
  expect(inShort(await nodes.follow(2, nodes.web(2, 3)))).toEqual(["h3 delivered"]);
});

it("no answer is awaited longer than its limit, nor from a node that is gone", async () => {
  const nodes = new Nodes();
  await nodes.start(3);
  nodes.world.reaches = (a, b) => a !== 2 && b !== 2;
  const began = nodes.world.schedule.now;
  expect(inShort(await nodes.follow(1, nodes.web(1, 2)))).toEqual([
    "h1 not h2: it did not answer in time",
  ]);
  expect(nodes.world.schedule.now - began).toBeLessThanOrEqual(TRACE_TIMEOUT + 50);
  const open = nodes.mesh(1).trace(onwardOf(nodes.explain(1, nodes.web(1, 2)))!);
  await nodes.mesh(1).stop();
  expect(inShort(await nodes.waitFor(open))).toEqual(["h1 not h2: the node that asks stops"]);
});

it("a node whose host answers after the asker is gone asks no other node", async () => {
  const nodes = new Nodes();
  await nodes.start(3);
  const sent = nodes.explain(2, nodes.web(2, 3));
  let answer: (() => void) | undefined;
  nodes.lies.set(2, () => new Promise((resolve) => (answer = () => resolve(sent))));
  let asked = 0;
  nodes.lies.set(3, () => {
    asked++;
    return nodes.explain(3, { packet: onwardOf(sent)!.packet, peer: "h2" });
  });
  const packet = packetFor(nodes.web(2, 3));
  const open = nodes.mesh(1).trace({ to: "h2", packet, leaves: true });
  await nodes.world.run(100);
  await nodes.mesh(1).stop();
  await nodes.waitFor(open);
  answer!();
  await new Promise(setImmediate);
  await nodes.world.run(1_000);
  expect(asked).toBe(0);
});

it("a node that was not asked, or is no member, neither reports nor gets a report", async () => {
  const world = new World();
  const { mesh } = await world.node(1, []);
  await world.node(2, [1]);
  world.clock.run(10_000);
  const stranger = new Stranger(world);
  stranger.connect();
  stranger.say({ type: "trace-request", n: 1, within: TRACE_TIMEOUT, packet: "RQ==" });
  const followed = mesh.trace({ to: "h2", packet: Uint8Array.of(0x45) });
  const report = { stages: [], verdict: "delivered", counter: "in.delivered" };
  for (let n = 0; n < 10; n++) stranger.say({ type: "trace-report", n, node: "h2", report });
  world.clock.run(100);
  // A trace may wait for the host, so its answer arrives one microtask after the simulated clock.
  await new Promise(setImmediate);
  world.clock.run(100);
  expect(inShort(await followed)).toEqual(["h1 not h2: it has no dataplane"]);
  expect(stranger.count(/"type":"explain/g)).toBe(0);
  expect(stranger.isClosed).toBe(false);
});

it("nodes that hand it to each other for ever come to an end", async () => {
  const nodes = new Nodes();
  await nodes.start(2);
  const there = nodes.explain(1, nodes.web(1, 2));
  nodes.lies.set(2, () => ({ ...there, peer: "h1" }));
  nodes.lies.set(1, () => there);
  const { further, unasked } = await nodes.follow(1, nodes.web(1, 2));
  expect(further.length).toBeGreaterThan(2);
  expect(further.length).toBeLessThanOrEqual(MAX_RELAYS + 1);
  expect(unasked?.why).toMatch(/^(the path is too long|it was asked too often)$/);
});
