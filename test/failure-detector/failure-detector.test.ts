/** Deaths are declared and refuted in the simulated network of src/sim, with loss and pauses. */
import { describe, expect, it } from "vitest";
import {
  FailureDetector,
  OWN_SUSPICIONS,
  RECEIVED_SUSPICIONS,
  REFUTE_EVERY,
  SUSPECT_TIMEOUT,
} from "../../src/failure-detector/failure-detector.js";
import { Members } from "../../src/gossip/members.js";
import { WRITE_RETRY_AFTER } from "../../src/gossip/own-record.js";
import { NODE } from "../../src/gossip/record-kind.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import type { Mesh } from "../../src/mesh/mesh.js";
import { FAST_FOR_ALL_UP_TO } from "../../src/paths/probe-scheduler.js";
import { IDLE_TIMEOUT, PING_AFTER, SUSPECT_AFTER } from "../../src/session/session.js";
import type { SimNode } from "../../src/sim/node.js";
import { Random } from "../../src/sim/random.js";
import { World as SimWorld } from "../../src/sim/world.js";
import { envelopeOf, cluster as onPaper, recordOf, TUNNEL } from "../mesh/cluster.js";
import { seed } from "../mesh/seed.js";
import { Stranger } from "../mesh/stranger.js";
import { World } from "../mesh/world.js";
import { host, PathWorld } from "../paths/path-world.js";
import { rounds } from "../rounds.js";
import { ManualClock } from "../time/manual-clock.js";

/** Milliseconds, enough for a busy machine. */
const PATIENCE = 900_000;

interface Verdict {
  /** Milliseconds since the cluster came together. */
  readonly at: number;
  readonly by: string;
  readonly of: string;
  readonly isDead: boolean;
}

/** `count` nodes that know each other, and their verdicts about each other from then on. */
class Cluster {
  readonly world: SimWorld;
  readonly random: Random;
  readonly verdicts: Verdict[] = [];
  readonly #names = new Map<string, string>();
  #began = 0;

  constructor(
    readonly count: number,
    loss: number,
    number = seed,
  ) {
    this.world = new SimWorld({ seed: number, loss, network: "10.64.0.0/12", chaos: new Set() });
    this.random = new Random(number);
  }

  async come(): Promise<this> {
    const { world, count } = this;
    for (let n = 0; n < count; n++) {
      const node = world.add();
      world.schedule.after(100 * n, () => world.start(node));
    }
    await this.run(100 * count + 30_000);
    expect(world.disagreement()).toBeUndefined();
    this.#began = world.schedule.now;
    for (const node of this.nodes) this.watch(node);
    return this;
  }

  get nodes(): SimNode[] {
    return this.world.running();
  }

  watch({ mesh, name }: SimNode): void {
    this.#names.set(mesh!.self().id, name);
    mesh!.on("stateChanged", (id, isDead) => {
      const of = this.#names.get(id) ?? id;
      this.verdicts.push({ at: this.world.schedule.now - this.#began, by: name, of, isDead });
    });
  }

  run(ms: number): Promise<void> {
    return this.world.schedule.run(this.world.schedule.now + ms);
  }

  /** Pauses each node about once a minute, for so many milliseconds. */
  pauses(ms: number): void {
    const pause = (node: SimNode) => {
      node.pause(ms);
      this.world.schedule.after(ms + this.random.between(0, 110_000), () => pause(node));
    };
    for (const node of this.nodes) {
      this.world.schedule.after(this.random.between(0, 60_000), () => pause(node));
    }
  }

  /** The times at which each other node first declared this one dead. */
  deaths(of: SimNode): number[] {
    const first = new Map<string, number>();
    for (const { by, at, isDead, ...verdict } of this.verdicts) {
      if (isDead && verdict.of === of.name && !first.has(by)) first.set(by, at);
    }
    return [...first.values()];
  }

  /** The states of a node in the views of all others. */
  states(of: SimNode): Set<string | undefined> {
    const others = this.nodes.filter((node) => node !== of);
    return new Set(others.map((node) => stateOf(node.mesh!, of.name)));
  }
}

const stateOf = (mesh: Mesh, name: string) =>
  mesh.members().find((member) => member.name === name)?.state;

describe("of forty nodes one", { timeout: PATIENCE }, () => {
  it("that loses its power is dead to all within 15 s, and lives when it is back", async () => {
    const cluster = await new Cluster(40, 0.05).come();
    const victim = cluster.nodes[17]!;
    await victim.end("power");
    await cluster.run(15_000);
    expect(cluster.deaths(victim)).toHaveLength(39);
    expect(cluster.verdicts).toHaveLength(39);
    expect(cluster.states(victim)).toEqual(new Set(["dead"]));
    expect(Math.min(...cluster.deaths(victim))).toBeGreaterThan(
      SUSPECT_AFTER - 2 * PING_AFTER.most + SUSPECT_TIMEOUT,
    );

    await cluster.world.start(victim);
    await cluster.run(10_000);
    expect(cluster.states(victim)).toEqual(new Set(["established"]));
  });

  it("that is killed is dead to all within 9 s: its kernel closes its connections", async () => {
    const cluster = await new Cluster(40, 0.05).come();
    const victim = cluster.nodes[17]!;
    await victim.end("kill");
    await cluster.run(9_000);
    expect(cluster.deaths(victim)).toHaveLength(39);
  });
});

describe("of two dozen nodes one", { timeout: PATIENCE }, () => {
  it("that stops is not declared dead: it has said so", async () => {
    const cluster = await new Cluster(24, 0.05).come();
    await cluster.nodes[17]!.end("stop");
    await cluster.run(30_000);
    expect(cluster.verdicts).toEqual([]);
  });

  it("that can only receive is dead until it can send again", async () => {
    const cluster = await new Cluster(24, 0).come();
    const victim = cluster.nodes[17]!;
    const heal = cluster.world.network.cut((from) => from === victim.machine);
    await cluster.run(20_000);
    expect(cluster.deaths(victim)).toHaveLength(23);
    heal();
    await cluster.run(60_000);
    expect(cluster.states(victim)).toEqual(new Set(["established"]));
  });

  it("that was dead before is dead to a node that joins later", async () => {
    const cluster = await new Cluster(24, 0.05).come();
    const victim = cluster.nodes[17]!;
    await victim.end("power");
    await cluster.run(15_000);
    const young = cluster.world.add();
    await cluster.world.start(young);
    cluster.watch(young);
    await cluster.run(15_000);
    expect(cluster.deaths(victim)).toHaveLength(24);
  });

  it("that was paused for a minute was dead to all meanwhile, and declares no other dead", async () => {
    const cluster = await new Cluster(24, 0.05).come();
    const victim = cluster.nodes[17]!;
    victim.pause(60_000);
    await cluster.run(30_000);
    expect(cluster.deaths(victim)).toHaveLength(23);
    await cluster.run(60_000);
    expect(cluster.states(victim)).toEqual(new Set(["established"]));
    expect(cluster.verdicts.filter(({ by }) => by === victim.name)).toEqual([]);
  });
});

describe("nodes that are cut in two", { timeout: PATIENCE }, () => {
  it("agree on each side which nodes of the other are dead, and all live when the cut heals", async () => {
    const cluster = await new Cluster(24, 0.05).come();
    const { world } = cluster;
    const isLeft = new Map(cluster.nodes.map(({ machine }, n) => [machine, n % 3 === 0]));
    const sideOf = new Map(cluster.nodes.map(({ name, machine }) => [name, isLeft.get(machine)]));
    const heal = world.network.cut((from, to) => isLeft.get(from) !== isLeft.get(to));
    // A node without a neighbour on its own side receives their suspicions once it has found one.
    await cluster.run(60_000);
    for (const { by, of } of cluster.verdicts) expect(sideOf.get(by)).not.toBe(sideOf.get(of));
    const deaths = cluster.nodes.map((node) => cluster.deaths(node).length);
    for (const [n, count] of deaths.entries()) {
      // A node without a session to the other side is not suspected there.
      if (count > 0) expect(count).toBe(n % 3 === 0 ? 16 : 8);
    }
    expect(deaths.filter((count) => count > 0).length).toBeGreaterThanOrEqual(20);
    heal();
    await cluster.run(60_000);
    for (const node of cluster.nodes) {
      expect(cluster.states(node)).toEqual(new Set(["established"]));
    }
  });
});

describe("pauses", () => {
  it.each([
    [5, 0.05, rounds(2, 30)],
    [5, 0.15, rounds(1, 5)],
    [9, 0.05, rounds(1, 5)],
  ])(
    "of %i s are no deaths, though all forty nodes make them (loss %f, %i minutes)",
    async (seconds, loss, minutes) => {
      const cluster = await new Cluster(40, loss).come();
      cluster.pauses(seconds * 1000);
      await cluster.run(minutes * 60_000);
      expect(cluster.verdicts).toEqual([]);
    },
    PATIENCE,
  );
});

describe("moves", () => {
  it(
    "hardly ever count as deaths, even when three segments in five are lost and records spread slowly",
    async () => {
      const cluster = await new Cluster(40, 0.05).come();
      cluster.world.network.loss = 0.6;
      await cluster.run(30_000);
      const movers = cluster.nodes.slice(0, rounds(12, 24));
      for (const node of movers) {
        await node.move();
        await cluster.run(5_000);
      }
      await cluster.run(30_000);
      // The share of all possible verdicts. Without burst probes to the new endpoint it is one in seven.
      const dead = movers.flatMap((node) => cluster.deaths(node)).length;
      expect(dead / (movers.length * 39)).toBeLessThan(0.05);
    },
    PATIENCE,
  );
});

describe("a peer that suspects", () => {
  /** Three nodes, and a stranger with a session to the first. */
  async function three() {
    const world = new World();
    const nodes = [await world.node(1, []), await world.node(2, [1]), await world.node(3, [1])];
    world.clock.run(10_000);
    const verdicts: string[] = [];
    for (const { mesh } of nodes) mesh.on("stateChanged", (id) => verdicts.push(id));
    const stranger = new Stranger(world);
    stranger.connect();
    const versions = () =>
      nodes.map(
        ({ mesh, disk }) => [mesh.self().id, disk.load()!.cluster!.versions[NODE]!] as const,
      );
    return { world, nodes, stranger, verdicts, versions };
  }

  it("all of them makes them renew their records, and no node is declared dead", async () => {
    const { world, stranger, verdicts, versions } = await three();
    const before = versions();
    stranger.say({ type: "suspect", versions: before });
    world.clock.run(1_000);
    for (const [n, [, version]] of versions().entries()) expect(version).toBe(before[n]![1] + 1);
    world.clock.run(20_000);
    expect(verdicts).toEqual([]);
  });

  it("without end makes them do so every 2 s, and no node is declared dead", async () => {
    const { world, stranger, verdicts, versions } = await three();
    const before = versions();
    for (let n = 0; n < 600; n++) {
      stranger.say({ type: "suspect", versions: versions() });
      world.clock.run(100);
    }
    for (const [n, [, version]] of versions().entries()) {
      expect(version - before[n]![1]).toBeLessThanOrEqual(60_000 / REFUTE_EVERY + 1);
      expect(version - before[n]![1]).toBeGreaterThan(20);
    }
    expect(verdicts).toEqual([]);
  });

  it("more than it may is ignored from then on, but its session stays", async () => {
    const { world, stranger, versions } = await three();
    const nobody = (n: number) => n.toString(16).padStart(32, "0");
    for (let n = 0; n < RECEIVED_SUSPICIONS.burst; n += 256) {
      const many = Array.from({ length: 256 }, (_, i) => [nobody(n + i), 1]);
      stranger.say({ type: "suspect", versions: many });
    }
    const before = versions();
    stranger.say({ type: "suspect", versions: before });
    world.clock.run(50);
    expect(versions()).toEqual(before);
    expect(stranger.isClosed).toBe(false);
  });

  it("versions that are old, or do not exist, changes nothing", async () => {
    const { world, stranger, verdicts, versions } = await three();
    stranger.say({ type: "suspect", versions: versions() });
    world.clock.run(5_000);
    stranger.heard.splice(0);
    const before = versions();
    const of = (n: number) => before.map(([id, version]) => [id, version + n]);
    stranger.say({ type: "suspect", versions: of(-1) });
    world.clock.run(100);
    expect(stranger.count(/"type":"have"/g)).toBe(1);
    stranger.say({ type: "suspect", versions: of(1) });
    stranger.say({ type: "suspect", versions: of(1_000_000) });
    world.clock.run(60_000);
    expect(versions()).toEqual(before);
    expect(verdicts).toEqual([]);
  });

  it("before the record has arrived has an effect once it has", async () => {
    const { world, nodes, stranger, versions, verdicts } = await three();
    const [first, second] = nodes;
    const [id, version] = versions()[1]!;
    stranger.say({ type: "suspect", versions: [[id, version + 1]] });
    world.clock.run(1_000);
    expect(versions()[1]).toEqual([id, version]);
    await second!.mesh.setEndpoint("192.0.2.22:4789");
    world.clock.run(1_000);
    expect(versions()[1]).toEqual([id, version + 2]);
    expect(stateOf(first!.mesh, "h2")).toBe("established");
    expect(verdicts).toEqual([]);
  });
});

describe("a node that misses many", () => {
  it("raises a limited number of suspicions, and more once they prove right", async () => {
    const world = new World();
    const hub = await world.node(1, []);
    const count = 2 * OWN_SUSPICIONS.burst;
    for (let n = 2; n < 2 + count; n++) await world.node(n, [1]);
    world.network.mayDial = (_, to) => to === "192.0.2.1";
    world.clock.run(30_000);
    let dead = 0;
    hub.mesh.on("stateChanged", (_, isDead) => {
      dead += isDead ? 1 : -1;
    });
    const isFar = (host: string) => host !== "192.0.2.1";
    world.network.carries = (from, to) => isFar(from) === isFar(to);
    world.clock.run(SUSPECT_AFTER + SUSPECT_TIMEOUT + PING_AFTER.most);
    expect(dead).toBe(OWN_SUSPICIONS.burst);
    world.clock.run(60_000);
    expect(dead).toBe(count);
  });
});

describe("a node that cannot write to its disk, so that it cannot answer", () => {
  it("lives for those that have a session with it, also when they had declared it dead", async () => {
    const world = new World();
    const first = await world.node(1, []);
    const second = await world.node(2, [1]);
    world.clock.run(10_000);
    second.disk.full = true;
    world.network.carries = () => false;
    world.clock.run(20_000);
    expect(stateOf(first.mesh, "h2")).toBe("dead");
    world.network.carries = () => true;
    world.clock.run(60_000);
    expect(stateOf(first.mesh, "h2")).toBe("established");
    const stranger = new Stranger(world);
    stranger.connect();
    const version = second.disk.load()!.cluster!.versions[NODE]!;
    stranger.say({ type: "suspect", versions: [[second.mesh.self().id, version]] });
    world.clock.run(60_000);
    expect(second.disk.load()!.cluster!.versions[NODE]).toBe(version);
    expect(stateOf(first.mesh, "h2")).toBe("established");
  });

  it("answers when it can again, although it is asked once, and lives for those without a session", async () => {
    const world = new World();
    // The first knows the third by the second alone.
    world.network.mayDial = (from, to) => ![from, to].every((host) => /\.[13]$/.test(host));
    const first = await world.node(1, []);
    await world.node(2, [1]);
    const third = await world.node(3, [2]);
    world.clock.run(10_000);
    const verdicts: boolean[] = [];
    first.mesh.on("stateChanged", (_, isDead) => verdicts.push(isDead));
    third.disk.full = true;
    const stranger = new Stranger(world);
    stranger.connect();
    const version = third.disk.load()!.cluster!.versions[NODE]!;
    stranger.say({ type: "suspect", versions: [[third.mesh.self().id, version]] });
    world.clock.run(60_000);
    expect(verdicts).toEqual([true]);
    third.disk.full = false;
    world.clock.run(WRITE_RETRY_AFTER + 1_000);
    expect(verdicts).toEqual([true, false]);
  });
});

describe("a member whose sessions fall silent", () => {
  it.each([0, 0.5])(
    "is not doubted while it answers probes, and dead when it answers those no more (loss %f)",
    async (loss) => {
      const world = new PathWorld(seed);
      world.loss = loss;
      for (let n = 1; n <= FAST_FOR_ALL_UP_TO + 8; n++) await world.node(n, n === 1 ? [] : [1]);
      await world.run(30_000);
      const verdicts: string[] = [];
      for (const { mesh } of world.nodes) mesh.on("stateChanged", (id) => verdicts.push(id));
      const [, victim] = world.nodes;
      const isCut = (from: string, to: string) => (host(from) === 2) !== (host(to) === 2);
      world.network.carries = (from, to) => !isCut(from, to);
      await world.run(IDLE_TIMEOUT - 500);
      world.network.carries = () => true;
      await world.run(30_000);
      expect(verdicts).toEqual([]);
      world.reaches = (from, to) => (from === 2) === (to === 2);
      world.network.carries = (from, to) => !isCut(from, to);
      await world.run(IDLE_TIMEOUT - 500);
      expect(verdicts.filter((id) => id === victim!.mesh.self().id)).toHaveLength(
        FAST_FOR_ALL_UP_TO + 7,
      );
    },
  );
});

describe("a process that stood still when a verdict was due", () => {
  const { id } = recordOf(2);

  function suspecting() {
    const clock = new ManualClock();
    const members = new Members(new RecordVerifier(onPaper), TUNNEL, recordOf(1).id);
    members.merge(envelopeOf(2));
    const verdicts: boolean[] = [];
    const detector = new FailureDetector({
      clock,
      own: recordOf(1).id,
      members,
      connections: { sessions: () => [], sessionWith: () => undefined },
      gossip: { awaited: new Set(), heardAt: () => 0, announceHeld() {}, wantMissing() {} },
      ownRecord: { refute() {} },
    });
    detector.on("stateChanged", (_, isDead) => void verdicts.push(isDead));
    detector.unresponsive(id, 0);
    clock.run(1_000);
    clock.stall(60_000);
    clock.run(1);
    return { clock, detector, verdicts };
  }

  it("first reads what came meanwhile", () => {
    const { clock, detector, verdicts } = suspecting();
    detector.onRecord(recordOf(2, { version: 2 }));
    clock.run(60_000);
    expect(verdicts).toEqual([]);
  });

  it("gives it when nothing came", () => {
    const { clock, verdicts } = suspecting();
    expect(verdicts).toEqual([]);
    clock.run(SUSPECT_TIMEOUT);
    expect(verdicts).toEqual([true]);
  });
});
