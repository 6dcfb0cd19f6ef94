/** Whole nodes that probe their paths, in networks where not all nodes reach each other. */
import { describe, expect, it } from "vitest";
import type { WeftError } from "../../src/error.js";
import type { Identity } from "../../src/identity/identity.js";
import { clusterOf } from "../../src/lease/genesis.js";
import type { Member } from "../../src/mesh/member.js";
import { PROOF_TTL } from "../../src/paths/allowed-sources.js";
import {
  decodeProbe,
  encodeProbe,
  MAX_RELAYS,
  probeBytes,
  replyTo,
} from "../../src/paths/probe.js";
import { FAST_FOR_ALL_UP_TO } from "../../src/paths/probe-scheduler.js";
import { PROTOCOL_VERSION } from "../../src/session/messages.js";
import type { Connection } from "../../src/session/transport.js";
import type { SimDataPath } from "../../src/sim/datagrams.js";
import { Random } from "../../src/sim/random.js";
import { cheapSignatures } from "../../src/sim/signatures.js";
import { seed } from "../mesh/seed.js";
import { member, type Node, PathWorld, type Rule } from "./path-world.js";

const isNext: Rule = (a, b) => Math.abs(a - b) === 1;
const isPair = (a: number, b: number, one: number, other: number): boolean =>
  (a === one && b === other) || (a === other && b === one);

const pairs = (nodes: readonly Node[]): [Node, Node][] =>
  nodes.flatMap((a) => nodes.filter((b) => b !== a).map((b): [Node, Node] => [a, b]));

/** Each node's current view of each other. */
type Views = ReadonlyMap<Node, ReadonlyMap<string, Member>>;

const viewsOf = (nodes: readonly Node[]): Views =>
  new Map(
    nodes.map((node) => [node, new Map(node.mesh.members().map((seen) => [seen.name, seen]))]),
  );

/** The nodes that a packet visits, by each one's next hop; undefined when one does not know the target. */
function walk(views: Views, from: Node, to: Node): Node[] | undefined {
  const visited = [from];
  for (let at = from; at !== to; ) {
    const seen = views.get(at)!.get(`h${to.n}`);
    if (!seen) return undefined;
    const name = seen.path === "direct" ? seen.name : seen.path.slice("via ".length);
    at = [...views.keys()].find(({ n }) => `h${n}` === name)!;
    if (visited.includes(at)) {
      throw new Error(`goes round: ${[...visited, at].map(({ n }) => n).join(" ")}`);
    }
    visited.push(at);
  }
  return visited;
}

function expectNoLoops(nodes: readonly Node[]): void {
  const views = viewsOf(nodes);
  for (const [a, b] of pairs(nodes)) walk(views, a, b);
}

/** The slow, obvious twin: the number of hops between two nodes, from `reaches` alone. */
function distance(nodes: readonly Node[], reaches: Rule, from: Node, to: Node): number {
  const hears = (a: Node, b: Node) => reaches(a.n, b.n) && reaches(b.n, a.n);
  let seen = new Set([from]);
  for (let steps = 0; ; steps++) {
    if (seen.has(to)) return steps;
    const more = new Set([...seen, ...nodes.filter((b) => [...seen].some((a) => hears(a, b)))]);
    if (more.size === seen.size) return Number.POSITIVE_INFINITY;
    seen = more;
  }
}

/** Whether each visited node accepts the first node's packets from the node before it. */
function isTaken(views: Views, [first, ...visited]: readonly Node[]): boolean {
  let from = first!;
  return visited.every((node) => {
    const { senders } = views.get(node)!.get(`h${first!.n}`)!;
    const [before, nat] = [from.datapath.endpoint, from.datapath.nat];
    from = node;
    return senders.some((sender) => (nat ? sender.startsWith(`${nat}:`) : sender === before));
  });
}

/** Whether all nodes have a shortest path to all others, accepted by the relays, and none to unreachable ones. */
function isSettled(nodes: readonly Node[], reaches: Rule): boolean {
  const views = viewsOf(nodes);
  return pairs(nodes).every(([a, b]) => {
    const steps = distance(nodes, reaches, a, b);
    const state = views.get(a)!.get(`h${b.n}`)?.state;
    if (steps === Number.POSITIVE_INFINITY) return state === "dead" || state === "unreachable";
    const visited = walk(views, a, b);
    return state === "established" && visited?.length === steps + 1 && isTaken(views, visited);
  });
}

/** Runs until the paths are settled, and checks at every step that there is no loop. */
const settles = (world: PathWorld, nodes: readonly Node[], reaches: Rule, most: number) =>
  world.until(() => {
    expectNoLoops(nodes);
    return isSettled(nodes, reaches);
  }, most);

/** Drops the datagrams of a node for which `keeps` is true. */
function keepBack(datapath: SimDataPath, keeps: (to: string, bytes: Uint8Array) => boolean): void {
  const send = datapath.send.bind(datapath);
  datapath.send = (to, bytes) => void (keeps(to, bytes) || send(to, bytes));
}

/** Takes the place of a member: it answers probes, relays nothing, and has a session with h1. */
class Liar {
  readonly heard: string[] = [];
  isClosed = false;

  private constructor(
    readonly connection: Connection,
    /** The number of probes that it should have relayed. */
    readonly swallowed: { readonly count: number },
  ) {}

  static async insteadOf(world: PathWorld, { identity, datapath, process, n }: Node) {
    const genesis = {
      network: [{ prefix: "10.244.0.0/16", leaseLength: 24 }],
      founder: world.nodes[0]!.identity.publicKey,
    };
    const cluster = clusterOf(genesis, cheapSignatures);
    process.end();
    const swallowed = { count: 0 };
    const answers = world.datagrams.open(datapath.endpoint, (fn) => fn());
    answers.receive((from, bytes) => {
      const probe = decodeProbe(bytes)!;
      const reply = () => encodeProbe(replyTo(probe, identity, cluster, { isAlone: false }));
      if (probe.kind === "direct") answers.send(from, reply());
      else swallowed.count++;
    });
    await world.run(100);
    const result = await new Promise<Connection | WeftError>((resolve) => {
      world.network.host(`192.0.2.${n}`).dial("192.0.2.1:6783", resolve);
      void world.run(100);
    });
    const liar = new Liar(result as Connection, swallowed);
    liar.#introduce(identity);
    await world.run(100);
    return liar;
  }

  say(message: object): void {
    this.connection.send(JSON.stringify(message));
  }

  #introduce(identity: Identity): void {
    this.connection.open({
      message: (text) => {
        this.heard.push(text);
        const message = JSON.parse(text);
        if (message.type === "ping") this.say({ type: "pong", n: message.n, time: 0 });
      },
      closed: () => {
        this.isClosed = true;
      },
    });
    const instance = "66".repeat(16);
    const binding = Buffer.from(this.connection.channelBinding).toString("hex");
    const hello = `weft hello ${PROTOCOL_VERSION}\ndialer\n${identity.publicKey}\n${instance}\n${binding}`;
    const signature = identity.sign(hello);
    this.say({
      type: "hello",
      protocol: PROTOCOL_VERSION,
      key: identity.publicKey,
      instance,
      signature,
    });
  }
}

describe("eight nodes in a line, each reaching only its neighbours", () => {
  it("reach each other over as few as can be, through a cut and its end, and never in circles", async () => {
    const world = new PathWorld(seed);
    world.reaches = isNext;
    const nodes = await world.line(8);
    await settles(world, nodes, isNext, 10_000);
    expect(member(nodes[0]!, 8)).toMatchObject({
      path: "via h2",
      endpoint: "192.0.2.2:4789",
      mac: nodes[1]!.mesh.self().mac,
      senders: ["192.0.2.2:4789"],
    });
    expect(member(nodes[3]!, 1).senders).toEqual(["192.0.2.3:4789"]);
    expect(member(nodes[3]!, 1).endpoint).toBe("192.0.2.3:4789");
    expect(member(nodes[0]!, 8).rttMs).toBeGreaterThan(member(nodes[0]!, 2).rttMs!);

    const cut: Rule = (a, b) => isNext(a, b) && !isPair(a, b, 4, 5);
    world.reaches = cut;
    const expectNoLossOnEitherSide = () => {
      const views = viewsOf(nodes);
      for (const [a, b] of pairs(nodes).filter(([a, b]) => a.n > 4 === b.n > 4)) {
        expect(isTaken(views, walk(views, a, b)!)).toBe(true);
      }
    };
    await world.until(() => {
      expectNoLossOnEitherSide();
      return isSettled(nodes, cut);
    }, 15_000);
    await world.watch(60_000, expectNoLossOnEitherSide);
    expect(isSettled(nodes, cut)).toBe(true);

    world.reaches = isNext;
    await settles(world, nodes, isNext, 45_000);
    world.reaches = () => true;
    await settles(world, nodes, () => true, 5_000);
    await world.run(PROOF_TTL + 10_000);
    for (const [a, b] of pairs(nodes)) {
      expect(member(a, b).senders).toEqual([`192.0.2.${b.n}:4789`]);
    }
  });

  it("do so too where one datagram in thirty is lost", async () => {
    const world = new PathWorld(seed);
    world.reaches = isNext;
    world.loss = 1 / 30;
    const nodes = await world.line(8);
    await settles(world, nodes, isNext, 60_000);
    await world.watch(60_000, () => expectNoLoops(nodes));
    const losses = nodes.map((node) => member(node, node.n === 1 ? 2 : node.n - 1).loss!);
    expect(losses.reduce((a, b) => a + b) / 8).toBeGreaterThan(0.01);
  });
});

describe("nineteen nodes in a line of UDP, with sessions between any two", () => {
  it("reach each other through fifteen at most", async () => {
    const world = new PathWorld(seed);
    world.reachesByUdp = isNext;
    for (let n = 1; n <= 19; n++) await world.node(n, n === 1 ? [] : [1]);
    const isNear: Rule = (a, b) => Math.abs(a - b) <= MAX_RELAYS + 1;
    await world.until(
      () =>
        pairs(world.nodes).every(([a, b]) => {
          const views = viewsOf([a]);
          return (views.get(a)!.get(`h${b.n}`)?.state === "established") === isNear(a.n, b.n);
        }),
      30_000,
    );
    expectNoLoops(world.nodes);
  });
});

describe("in any connected network", () => {
  it("all reach all over as few as can be, while links come and go, and never in circles", async () => {
    const world = new PathWorld(seed);
    const random = new Random(seed);
    const links = new Set<string>();
    const key = (a: number, b: number) => `${Math.min(a, b)} ${Math.max(a, b)}`;
    const linked: Rule = (a, b) => links.has(key(a, b));
    world.reaches = linked;
    for (let n = 2; n <= 10; n++) links.add(key(n, 1 + random.below(n - 1)));
    for (let i = 0; i < 6; i++) links.add(key(1 + random.below(9), 10));
    for (let n = 1; n <= 10; n++) {
      const near = [...Array(n - 1).keys()].map((i) => i + 1).filter((m) => linked(m, n));
      await world.node(n, near);
      await world.run(500);
    }
    for (let round = 0; round < 6; round++) {
      await settles(world, world.nodes, linked, 60_000);
      const [a, b] = [1 + random.below(10), 1 + random.below(10)];
      if (a !== b && !links.delete(key(a, b))) links.add(key(a, b));
    }
  });
});

describe("three nodes, two of which lose the path to each other", () => {
  it("go through the third within seconds, and straight again as soon as they can", async () => {
    const world = new PathWorld(seed);
    const nodes = await world.line(3);
    await settles(world, nodes, () => true, 5_000);
    world.reachesByUdp = (a, b) => !isPair(a, b, 1, 3);
    await settles(world, nodes, world.reachesByUdp, 10_000);
    expect(member(nodes[0]!, 3)).toMatchObject({ path: "via h2", state: "established" });
    world.reachesByUdp = () => true;
    await settles(world, nodes, () => true, 6_000);
  });

  it("do so too when only one direction is cut", async () => {
    const world = new PathWorld(seed);
    const nodes = await world.line(3);
    world.reachesByUdp = (a, b) => !(a === 1 && b === 3);
    await settles(world, nodes, world.reachesByUdp, 12_000);
    expect(member(nodes[0]!, 3).path).toBe("via h2");
    expect(member(nodes[2]!, 1).path).toBe("via h2");
    expect(member(nodes[0]!, 3).senders).toEqual(["192.0.2.2:4789", "192.0.2.3:4789"]);
  });
});

describe("congestion marks", () => {
  it("are asked for outside where the next node carries them inside, whatever the target does", async () => {
    const world = new PathWorld(seed);
    world.carriesEcn = (n) => n !== 2;
    const nodes = await world.line(3);
    const ecn = () => nodes.slice(1).map(({ identity }) => nodes[0]!.mesh.peer(identity.id)?.ecn);
    await settles(world, nodes, () => true, 5_000);
    expect(ecn()).toEqual([false, true]);
    world.reachesByUdp = (a, b) => !isPair(a, b, 1, 3);
    await settles(world, nodes, world.reachesByUdp, 10_000);
    expect(ecn()).toEqual([false, false]);
  });
});

describe("a node behind a NAT", () => {
  const behind: Rule = (_, to) => to < 4;

  it("is reached by all where its probes come from, and that is not published", async () => {
    const world = new PathWorld(seed);
    world.mayDial = behind;
    await world.line(3);
    const hidden = await world.node(4, [1], { nat: 99 });
    await settles(world, world.nodes, () => true, 10_000);
    for (const node of world.nodes.slice(0, 3)) {
      expect(member(node, 4)).toMatchObject({ endpoint: "192.0.2.99:20000", path: "direct" });
      expect(member(node, 4).senders).toEqual(["192.0.2.99:20000"]);
      expect(member(hidden, node).endpoint).toBe(`192.0.2.${node.n}:4789`);
    }
    await world.run(600_000);
    expect(isSettled(world.nodes, () => true)).toBe(true);
  });

  it("is reached through others by a node behind another NAT", async () => {
    const world = new PathWorld(seed);
    world.mayDial = behind;
    await world.line(3);
    const one = await world.node(4, [1], { nat: 98 });
    const other = await world.node(5, [2], { nat: 99 });
    await settles(world, world.nodes, (a, b) => !isPair(a, b, 4, 5), 10_000);
    expect(member(one, 5).path).toMatch(/^via h[123]$/);
    expect(member(other, 4).path).toMatch(/^via h[123]$/);
  });

  it("is forgotten there as soon as its own endpoint answers", async () => {
    const world = new PathWorld(seed);
    world.mayDial = behind;
    const [h1] = await world.line(3);
    const hidden = await world.node(4, [1], { nat: 99 });
    await settles(world, world.nodes, () => true, 10_000);
    world.datagrams.move(hidden.datapath, undefined);
    await world.run(5_000);
    expect(member(h1!, 4)).toMatchObject({ endpoint: "192.0.2.4:4789", state: "established" });
    await world.run(PROOF_TTL);
    expect(member(h1!, 4).senders).toEqual(["192.0.2.4:4789"]);
  });
});

describe("a relay that lies", () => {
  it("is given up when what goes through it is not answered, and another is used", async () => {
    const world = new PathWorld(seed);
    const nodes = await world.line(4);
    const [h1, h2, h3] = nodes;
    await settles(world, nodes, () => true, 5_000);
    const swallows = (_: string, bytes: Uint8Array) => decodeProbe(bytes)?.kind === "relayed";
    keepBack(h2!.datapath, swallows);
    world.reachesByUdp = (a, b) => !isPair(a, b, 1, 4);
    await world.until(() => member(h1!, 4).path === "via h3", 12_000);

    keepBack(h3!.datapath, swallows);
    await world.until(() => member(h1!, 4).state === "unreachable", 30_000);
    expect(member(h1!, 4).path).toBe("direct");
  });
});

describe("a member that sends any messages", () => {
  it("about paths, and as often as it likes, changes nothing", async () => {
    const world = new PathWorld(seed);
    const cut: [number, number][] = [
      [1, 4],
      [1, 5],
      [3, 4],
    ];
    world.reachesByUdp = (a, b) => !cut.some(([one, other]) => isPair(a, b, one, other));
    const nodes = await world.line(5);
    const [h1, h2, , h4, h5] = nodes;
    await settles(world, nodes, world.reachesByUdp, 12_000);
    expect(member(h1!, 4).path).toBe("via h2");
    const liar = await Liar.insteadOf(world, h2!);
    const id = (node: Node) => node.mesh.self().id;
    const ways = () => [2, 3, 4, 5].map((n) => [member(h1!, n).state, member(h1!, n).path]);
    const honest = ["direct", "direct", "via h3", "via h3"].map((path) => ["established", path]);
    await world.until(() => JSON.stringify(ways()) === JSON.stringify(honest), 45_000);

    const to = id(h4!);
    const paths = [[], [id(h1!)], [id(h5!), id(h5!)], [id(h2!)], [to], ["00".repeat(16)]];
    const sent = h1!.datapath.count.sent;
    let said = 0;
    await world.watch(30_000, () => {
      for (const path of paths) liar.say({ type: "route-update", paths: [{ to, path }] });
      liar.say({ type: "route-update", paths: [{ to: id(h5!), path: [] }] });
      liar.say({ type: "route-update", paths: [{ to: "11".repeat(16), path: [] }] });
      const ids = Array.from({ length: 256 }, () => world.random.hex(16));
      liar.say({ type: "route-request", ids: [to, id(h5!), ...ids].slice(0, 256) });
      said += paths.length + 3;
      expect(ways()).toEqual(honest);
    });
    expect(liar.isClosed).toBe(false);
    expect(liar.swallowed.count).toBeGreaterThan(0);
    expect((h1!.datapath.count.sent - sent) / 30).toBeLessThan(30);
    expect(liar.heard.length).toBeLessThan(said);
  });
});

describe("a datagram", () => {
  async function two() {
    const world = new PathWorld(seed);
    const nodes = await world.line(3);
    await settles(world, nodes, () => true, 5_000);
    const captured: Uint8Array[] = [];
    keepBack(nodes[1]!.datapath, (to, bytes) => {
      if (to === "192.0.2.1:4789") captured.push(Uint8Array.from(bytes));
      return false;
    });
    return { world, h1: nodes[0]!, h2: nodes[1]!, captured };
  }

  it("has no effect a second time, and its sender gets no answer", async () => {
    const { world, h1, captured } = await two();
    await world.run(4_500);
    const said: string[] = [];
    keepBack(h1.datapath, (to) => said.push(to) < 0);
    expect(captured.length).toBeGreaterThan(1);
    for (const bytes of captured) h1.datapath.arrived("192.0.2.66:4789", bytes);
    await world.run(10_000);
    expect(said).not.toContain("192.0.2.66:4789");
    expect(member(h1, 2)).toMatchObject({
      endpoint: "192.0.2.2:4789",
      senders: ["192.0.2.2:4789"],
    });
  });

  it("from a node that is no member is not answered; a flood of them takes no member's place", async () => {
    const { world, h1, captured } = await two();
    await world.run(4_500);
    const said: string[] = [];
    keepBack(h1.datapath, (to) => said.push(to) < 0);
    const random = new Random(seed);
    const good = decodeProbe(captured.find((bytes) => decodeProbe(bytes)!.kind === "direct")!)!;
    await world.watch(20_000, () => {
      for (let i = 0; i < 200; i++) {
        const forged = encodeProbe({
          ...good,
          count: random.below(2 ** 32),
          signature: random.hex(64),
        });
        h1.datapath.arrived(`203.0.113.${random.below(256)}:4789`, forged);
        const unknown = encodeProbe({
          ...good,
          origin: { id: random.hex(16), epoch: random.hex(4) },
        });
        h1.datapath.arrived("203.0.113.7:4789", unknown);
        h1.datapath.arrived("192.0.2.3:4789", forged.subarray(0, random.below(probeBytes(0))));
      }
    });
    expect(said.filter((to) => to.startsWith("203."))).toEqual([]);
    for (const n of [2, 3]) expect(member(h1, n)).toMatchObject({ state: "established", loss: 0 });
  });
});

describe("a node that stands still for five seconds", () => {
  it("is never held for unreachable, and no path changes for it", async () => {
    const world = new PathWorld(seed);
    const nodes = await world.line(6);
    await settles(world, nodes, () => true, 5_000);
    const random = new Random(seed);
    let next = 0;
    await world.watch(200_000, () => {
      for (const [a, b] of pairs(nodes)) {
        expect(member(a, b)).toMatchObject({ state: "established", path: "direct" });
      }
      if (world.schedule.now < next) return;
      random.pick(nodes)!.process.pause(5_000);
      next = world.schedule.now + random.between(8_000, 20_000);
    });
  });
});

describe("the traffic of probes", () => {
  async function nodes(count: number): Promise<PathWorld> {
    const world = new PathWorld(seed);
    for (let n = 1; n <= count; n++) {
      await world.node(n, n === 1 ? [] : [1]);
      await world.run(100);
    }
    await world.run(30_000);
    return world;
  }

  /** Datagrams that each node sends per second, requests and replies. */
  async function sentPerSecond(world: PathWorld): Promise<number[]> {
    const before = world.nodes.map(({ datapath }) => datapath.count.sent);
    await world.run(30_000);
    return world.nodes.map(({ datapath }, i) => (datapath.count.sent - before[i]!) / 30);
  }

  it("of a node is bounded, and the same however many there are", async () => {
    expect(Math.max(...(await sentPerSecond(await nodes(FAST_FOR_ALL_UP_TO + 1))))).toBeLessThan(
      FAST_FOR_ALL_UP_TO + 1,
    );
    for (const count of [FAST_FOR_ALL_UP_TO + 2, 50]) {
      expect(Math.max(...(await sentPerSecond(await nodes(count))))).toBeLessThan(3);
    }
  });

  it("goes to where packets go: a broken path of theirs is noticed at once", async () => {
    const world = await nodes(FAST_FOR_ALL_UP_TO + 4);
    const [h1] = world.nodes;
    world.reachesByUdp = (a, b) => b !== 19 && a !== 19;
    await world.until(() => {
      h1!.datapath.packets("h19");
      return member(h1!, 19).state !== "established";
    }, 12_000);
  });
});
