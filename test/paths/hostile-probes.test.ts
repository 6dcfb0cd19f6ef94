/** Recorded, delayed and misdirected probes gain an attacker nothing. */
import { describe, expect, it } from "vitest";
import { clusterOf } from "../../src/lease/genesis.js";
import { PROOF_TTL } from "../../src/paths/allowed-sources.js";
import { PROMPTED_PROBES } from "../../src/paths/peer-paths.js";
import {
  decodeProbe,
  encodeProbe,
  newNonce,
  type Probe,
  signProbe,
} from "../../src/paths/probe.js";
import { WINDOW } from "../../src/paths/replay-window.js";
import type { SimDataPath } from "../../src/sim/datagrams.js";
import { cheapSignatures } from "../../src/sim/signatures.js";
import { seed } from "../mesh/seed.js";
import { member, type Node, PathWorld, type Rule } from "./path-world.js";

const EVIL = "192.0.2.66:4789";
const isPair = (a: number, b: number, one: number, other: number): boolean =>
  (a === one && b === other) || (a === other && b === one);

/** Records every datagram that a node sends to an endpoint, as a listener on the path does. */
function record(from: Node, to: string): Uint8Array[] {
  const recorded: Uint8Array[] = [];
  divert(from.datapath, (endpoint, bytes) => {
    if (endpoint === to) recorded.push(Uint8Array.from(bytes));
    return false;
  });
  return recorded;
}

/** Passes the datagrams that a node sends to `takes`, which returns whether it intercepts one. */
function divert(datapath: SimDataPath, takes: (to: string, bytes: Uint8Array) => boolean): void {
  const send = datapath.send.bind(datapath);
  datapath.send = (to, bytes) => void (takes(to, bytes) || send(to, bytes));
}

const kindOf = (bytes: Uint8Array) => decodeProbe(bytes)?.kind;
async function everyMillisecond(world: PathWorld, ms: number, act: () => void): Promise<void> {
  for (let i = 0; i < ms; i++) {
    act();
    await world.run(1);
  }
}

const sendersOf = (at: Node, of: Node) => member(at, of).senders;
const endpoint = ({ n }: Node) => `192.0.2.${n}:4789`;

async function settled(count: number, reachesByUdp: Rule = () => true) {
  const world = new PathWorld(seed);
  world.reachesByUdp = reachesByUdp;
  const nodes = await world.line(count);
  await world.until(
    () => nodes.every(({ mesh }) => mesh.members().every(({ state }) => state === "established")),
    20_000,
  );
  await world.run(5_000);
  return { world, nodes: nodes as [Node, Node, Node, ...Node[]] };
}

describe("a listener that recorded a member's probes", () => {
  it("and sends them from elsewhere after the target restarted adds no sender, and is not answered", async () => {
    const { world, nodes } = await settled(3);
    const [a, v] = nodes;
    const recorded = record(a, endpoint(v));
    await world.run(20_000);
    expect(recorded.filter((bytes) => kindOf(bytes) === "direct").length).toBeGreaterThan(5);

    const again = await world.restart(v);
    const said: string[] = [];
    divert(again.datapath, (to) => said.push(to) < 0);
    await world.watch(20_000, () => {
      for (const bytes of recorded) again.datapath.arrived(EVIL, bytes);
    });
    expect(sendersOf(again, a)).toEqual([endpoint(a)]);
    expect(said).not.toContain(EVIL);
    expect(said).toContain(endpoint(a));
  });

  it("and sends them again after the member left and came back finds its window where it was", async () => {
    const { world, nodes } = await settled(3);
    const [a, v] = nodes;
    const recorded = record(a, endpoint(v));
    await world.run(10_000);
    await a.mesh.setEndpoint("192.0.2.9:4789");
    await world.run(500);
    const said: string[] = [];
    divert(v.datapath, (to) => said.push(to) < 0);
    for (const bytes of recorded) v.datapath.arrived(EVIL, bytes);
    await world.run(5_000);
    expect(said).not.toContain(EVIL);
    expect(sendersOf(v, a)).not.toContain(EVIL);
  });

  it("and is quicker than the member only makes the target ask there, seldom, and gains nothing", async () => {
    const { world, nodes } = await settled(3);
    const [a, v] = nodes;
    // The listener delivers all probes from A to V before A's own copy arrives.
    divert(a.datapath, (to, bytes) => {
      if (to === endpoint(v) && kindOf(bytes) === "direct") v.datapath.arrived(EVIL, bytes);
      return false;
    });
    const asked: number[] = [];
    let [bytesIn, bytesOut] = [0, 0];
    const arrived = v.datapath.arrived.bind(v.datapath);
    v.datapath.arrived = (from, bytes) => {
      if (from === EVIL) bytesIn += bytes.length;
      arrived(from, bytes);
    };
    divert(v.datapath, (to, bytes) => {
      if (to !== EVIL) return false;
      bytesOut += bytes.length;
      if (kindOf(bytes) === "direct") asked.push(world.schedule.now);
      return false;
    });
    await world.run(60_000);
    expect(asked.length).toBeGreaterThan(1);
    expect(asked.length).toBeLessThanOrEqual(PROMPTED_PROBES.burst + 60 * PROMPTED_PROBES.rate);
    // It got an answer for each probe and a challenge for some: at most twice what it sent.
    expect(bytesOut).toBeLessThanOrEqual(2 * bytesIn);
    expect(sendersOf(v, a)).toEqual([endpoint(a)]);
  });
});

describe("a member that makes probes as it pleases", () => {
  /** Returns a function that makes probes of one node for another, each with the next counter. */
  async function maker(world: PathWorld, from: Node, to: Node): Promise<() => Probe> {
    const cluster = clusterOf(from.store.load()!.cluster!.genesis, cheapSignatures);
    const recorded = record(from, endpoint(to));
    await world.until(() => recorded.some((bytes) => kindOf(bytes) === "direct"), 10_000);
    const known = decodeProbe(recorded.find((bytes) => kindOf(bytes) === "direct")!)!;
    let count = 1_000_000;
    return () => signProbe(from.identity, cluster, { ...known, count: ++count, nonce: newNonce() });
  }

  it("makes others send a third party no more than two datagrams for each of its own", async () => {
    const { world, nodes } = await settled(3);
    const [, v, m] = nodes;
    const probe = await maker(world, m, v);
    let sent = 0;
    divert(v.datapath, (to) => to === EVIL && ++sent > 0);
    v.datapath.arrived(EVIL, encodeProbe(probe()));
    await world.run(PROOF_TTL);
    expect(sent).toBe(2);
  });

  it("from many ports keeps no other member from being heard at an endpoint that is new", async () => {
    const { world, nodes } = await settled(3);
    const [, v, m] = nodes;
    const probe = await maker(world, m, v);
    const flood = () => {
      for (let i = 0; i < 50; i++)
        v.datapath.arrived(`192.0.2.66:${1024 + i}`, encodeProbe(probe()));
    };
    await world.watch(20_000, flood);
    const inside = await world.node(9, [2], { nat: 8 });
    await world.watch(2_000, flood);
    expect(sendersOf(v, inside)).toEqual([expect.stringMatching(/^192\.0\.2\.8:/)]);
  });

  it("or in whose name an attacker sends probes that it never signed", async () => {
    const { world, nodes } = await settled(3);
    const [, v, m] = nodes;
    const probe = await maker(world, m, v);
    const forged = encodeProbe({ ...probe(), signature: "00".repeat(64) });
    const flood = () => {
      for (let i = 0; i < 5; i++) v.datapath.arrived(`192.0.2.66:${1024 + i}`, forged);
    };
    await everyMillisecond(world, 1_000, flood);
    const inside = await world.node(9, [2], { nat: 8 });
    await everyMillisecond(world, 2_000, flood);
    expect(sendersOf(v, inside)).toEqual([expect.stringMatching(/^192\.0\.2\.8:/)]);
  });

  it("or many do from their own endpoints: this node's probes are answered all the same", async () => {
    const { world, nodes } = await settled(12);
    const [, v, ...others] = nodes;
    const forged: [string, Uint8Array][] = [];
    for (const other of others) {
      const probe = (await maker(world, other, v))();
      forged.push([endpoint(other), encodeProbe({ ...probe, signature: "00".repeat(64) })]);
    }
    await everyMillisecond(world, 6_000, () => {
      for (const [from, bytes] of forged) v.datapath.arrived(from, bytes);
    });
    for (const other of others) expect(member(v, other)).toMatchObject({ loss: 0 });
  });
});

describe("a member that was given a probe to carry", () => {
  /** A and T do not reach each other, and M relays for them. V reaches all. */
  const cut: Rule = (a, b) => !isPair(a, b, 1, 3);

  async function carried(reaches = cut) {
    const { world, nodes } = await settled(4, reaches);
    const [a, m, t, v] = nodes as [Node, Node, Node, Node];
    const taken: Uint8Array[] = [];
    return { world, a, m, t, v, taken };
  }

  it("cannot hand it to a third node: that one takes nothing from it, and says nothing", async () => {
    const { world, a, m, t, v, taken } = await carried();
    // M announces the best path to T, and keeps the probes that A sends along it.
    divert(m.datapath, (_, bytes) => {
      const probe = decodeProbe(bytes)!;
      if (probe.kind !== "relayed" || probe.target.id !== t.identity.id) return false;
      taken.push(Uint8Array.from(bytes));
      return true;
    });
    // Without this cut A might use the other path, so M would get no probes.
    world.reachesByUdp = (from, to) => cut(from, to) && !isPair(from, to, 1, 4);
    await world.until(() => taken.length > 3, 30_000);
    world.reachesByUdp = cut;
    await world.run(PROOF_TTL + 5_000);
    expect(sendersOf(v, a)).toEqual([endpoint(a)]);
    const before = v.datapath.count.sent;
    for (const bytes of taken) {
      const probe = decodeProbe(bytes)!;
      for (let moved = 0; moved <= probe.relays.length; moved++) {
        v.datapath.arrived(endpoint(m), encodeProbe({ ...probe, hops: moved }));
      }
    }
    expect(v.datapath.count.sent - before).toBe(0);
    expect(sendersOf(v, a)).toEqual([endpoint(a)]);
  });

  it("nor from another endpoint than its own, nor when it is not the one before", async () => {
    // V has answered T, and A has no path through V.
    const onlyM: Rule = (from, to) => cut(from, to) && !isPair(from, to, 1, 4);
    const { world, a, m, t, v, taken } = await carried(onlyM);
    expect([member(a, t).path, sendersOf(t, a)]).toEqual(["via h2", [endpoint(m)]]);
    divert(m.datapath, (to, bytes) => {
      if (to !== endpoint(t) || kindOf(bytes) !== "relayed") return false;
      taken.push(Uint8Array.from(bytes));
      return true;
    });
    await world.until(() => taken.length > 0, 20_000);
    for (const from of [endpoint(v), EVIL, endpoint(m).replace(":4789", ":50000")]) {
      for (const bytes of taken) t.datapath.arrived(from, bytes);
      expect(sendersOf(t, a)).toEqual([endpoint(m)]);
    }
  });

  it("cannot hold it back for long", async () => {
    const { world, a, m, t, v } = await carried();
    const held: Uint8Array[] = [];
    const relay = member(a, t).path === "via h2" ? m : v;
    let holds = true;
    divert(relay.datapath, (to, bytes) => {
      if (!holds || to !== endpoint(t) || kindOf(bytes) !== "relayed") return false;
      held.push(Uint8Array.from(bytes));
      return true;
    });
    await world.until(() => held.length > 0, 20_000);
    holds = false;
    world.reachesByUdp = () => true;
    await world.until(() => sendersOf(t, a).includes(endpoint(a)), 30_000);
    const countOf = (bytes: Uint8Array) => decodeProbe(bytes)!.count;
    const newest = record(a, endpoint(t));
    await world.until(() => {
      const last = newest.at(-1);
      return last !== undefined && countOf(last) - countOf(held.at(-1)!) > WINDOW;
    }, 600_000);
    await world.run(PROOF_TTL);
    for (const bytes of held) t.datapath.arrived(endpoint(relay), bytes);
    expect(sendersOf(t, a)).toEqual([endpoint(a)]);
  });
});

describe("a member whose record names another's endpoint", () => {
  it("gets no packet sent there: nothing has answered, and packets for it are dropped", async () => {
    const world = new PathWorld(seed);
    const [a] = await world.line(2);
    const victim = world.datagrams.open("203.0.113.53:53", (fn) => fn());
    const liar = await world.node(3, [1], { vtep: "203.0.113.53:53" });
    await world.run(20_000);
    // It counts as a node behind a NAT: packets to it go to the endpoint that answers.
    const real = { endpoint: endpoint(liar), noPath: false, senders: [endpoint(liar)] };
    expect(member(a!, liar)).toMatchObject(real);
    world.reachesByUdp = (from, to) => from !== 3 && to !== 3;
    await world.run(PROOF_TTL + 20_000);
    expect(member(a!, liar)).toMatchObject({ noPath: true, senders: [] });
    expect(member(a!, liar).state).toBe("unreachable");
    expect(victim.count.received).toBeGreaterThan(0);
    expect(member(a!, 2)).toMatchObject({ noPath: false, state: "established" });
  });

  it("and one that answered and fell silent is sent to as before", async () => {
    const { world, nodes } = await settled(2);
    const [a, b] = nodes;
    world.reachesByUdp = () => false;
    await world.run(60_000);
    expect(member(a, b)).toMatchObject({ noPath: false, senders: [endpoint(b)] });
    expect(member(a, b).state).toBe("unreachable");
  });
});

describe("a member that starts again", () => {
  for (const how of ["stop", "kill"] as const) {
    it(`after a ${how} takes packets of others, and sends to them, within a moment of its new record`, async () => {
      const { world, nodes } = await settled(3);
      const [a, v, c] = nodes;
      const again = await world.restart(v, how);
      await world.until(() => again.mesh.members().length === 2, 10_000);
      const took = await world.until(
        () => [a, c].every((other) => member(again, other).senders.length === 1),
        10_000,
      );
      expect(took).toBeLessThanOrEqual(300);
    });
  }
});
