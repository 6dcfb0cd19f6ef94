/** Whole nodes with a manual clock and an in-memory network: no sockets, no waiting. */
import { describe, expect, it } from "vitest";
import { parsePrefix } from "../../src/address.js";
import { MAX_CLAIMANTS } from "../../src/gossip/member-view.js";
import {
  LEASE_TTL,
  type NodeRecord,
  RENEW_EVERY,
  type RecordContent,
  signRecord,
} from "../../src/gossip/record.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import { type Identity, nodeId } from "../../src/identity/identity.js";
import { FENCE_AFTER, REVOKE_AFTER } from "../../src/lease/fence.js";
import { clusterOf, type Genesis } from "../../src/lease/genesis.js";
import { type Proof, signGrant } from "../../src/lease/grant.js";
import { COMPARE_TIMEOUT } from "../../src/leasing/granter.js";
import type { Mesh } from "../../src/mesh/mesh.js";
import { PROTOCOL_VERSION } from "../../src/session/messages.js";
import type { Connection } from "../../src/session/transport.js";
import { identity } from "./cluster.js";
import { type Message, parseMessage } from "./messages.js";
import { MemoryDisk, World } from "./world.js";

const leases = (nodes: { mesh: Mesh }[]) => nodes.flatMap(({ mesh }) => mesh.self().leases);
const agree = (nodes: { mesh: Mesh }[]) =>
  nodes.every(
    ({ mesh }) => mesh.members().length === nodes.length - 1 && mesh.problems().length === 0,
  );

describe("twelve nodes, each joined through the one before", () => {
  it("all know all, and no two have one lease", async () => {
    const world = new World();
    const nodes = [];
    for (let n = 1; n <= 12; n++) nodes.push(await world.node(n, n === 1 ? [] : [n - 1]));
    world.clock.run(20_000);
    expect(nodes.flatMap(({ mesh }) => mesh.problems())).toEqual([]);
    expect(agree(nodes)).toBe(true);
    expect(new Set(leases(nodes)).size).toBe(12);
    for (const { mesh } of nodes) {
      expect(mesh.members().every(({ state }) => state === "established")).toBe(true);
    }
  });
});

describe("a node that is killed", () => {
  it("stays a member, unreachable; comes back with its lease though its join address is dead", async () => {
    const world = new World();
    const [a, b] = [await world.node(1, []), await world.node(2, [1])];
    const c = await world.node(3, [2]);
    world.clock.run(10_000);
    const before = c.mesh.self();
    await world.kill(c);
    await world.kill(b);
    world.clock.run(5_000);
    const lost = a.mesh.members().find(({ name }) => name === "h3")!;
    expect(lost).toMatchObject({ state: "unreachable", leases: [{ subnet: before.leases[0] }] });
    expect(a.mesh.problems().join()).toMatch(/h3 cannot be reached at 192\.0\.2\.3:6783/);

    const back = await world.node(3, [2], c.disk);
    world.clock.run(60_000);
    expect(back.mesh.self()).toMatchObject({ id: before.id, leases: before.leases });
    expect(a.mesh.members().find(({ name }) => name === "h3")?.state).toBe("established");
  });
});

describe("two nodes that dial each other at once", () => {
  it("agree on one session and keep it", async () => {
    for (let round = 0; round < 5; round++) {
      const world = new World();
      const [a, b] = [await world.node(1, []), await world.node(2, [1])];
      world.clock.run(5_000);
      await world.kill(a);
      await world.kill(b);
      const both = [await world.node(1, [2], a.disk), await world.node(2, [1], b.disk)];
      const said = world.said.length;
      world.clock.run(60_000);
      expect(agree(both)).toBe(true);
      expect(both.every(({ mesh }) => mesh.members()[0]!.state === "established")).toBe(true);
      expect(world.said.slice(said).filter((line) => line.includes("ended"))).toEqual([]);
    }
  });
});

describe("leases", () => {
  it("are renewed long before they expire", async () => {
    const world = new World();
    const [a, b] = [await world.node(1, []), await world.node(2, [1])];
    world.clock.run(3 * LEASE_TTL);
    for (const { mesh } of [a, b]) {
      const [other] = mesh.members();
      expect(other!.leases[0]!.expires).toBeGreaterThan(world.clock.now() + LEASE_TTL / 2);
    }
  });

  it("are given by any node: the founder is not needed", async () => {
    const world = new World();
    const [a, b] = [await world.node(1, []), await world.node(2, [1])];
    world.clock.run(5_000);
    await world.kill(a);
    const c = await world.node(3, [2]);
    world.clock.run(20_000);
    expect(leases([a, b, c])).toEqual(["10.244.1.0/24", "10.244.128.0/24", "10.244.192.0/24"]);
    const again = await world.node(1, [], a.disk);
    world.clock.run(60_000);
    expect(agree([again, b, c])).toBe(true);
  });

  it("are asked for until another node is there", async () => {
    const world = new World();
    const c = await world.node(3, [1]);
    world.clock.run(20_000);
    expect(c.mesh.problems().join()).toMatch(/the cluster is not known yet/);
    await world.node(1, []);
    world.clock.run(60_000);
    expect(leases([c])).toEqual(["10.244.128.0/24"]);
  });

  it("come from a node far away when the neighbour has none to give", async () => {
    const world = new World();
    const network = [parsePrefix("10.244.0.0/21")];
    const nodes = [await world.node(1, [], new MemoryDisk(), { network })];
    for (let n = 2; n <= 8; n++) {
      nodes.push(await world.node(n, [n - 1]));
      world.clock.run(20_000);
    }
    expect(new Set(leases(nodes)).size).toBe(8);
    const late = await world.node(9, [8]);
    world.clock.run(20_000);
    expect(late.mesh.problems().join()).toMatch(
      /no lease: h\d says: no node that was asked has free space .*10\.244\.0\.0\/21/,
    );
  });

  it("are not given when they cannot be written down; both sides say so, and it heals", async () => {
    const world = new World();
    const a = await world.node(1, []);
    a.disk.full = true;
    const b = await world.node(2, [1]);
    world.clock.run(5_000);
    expect(b.mesh.problems().join()).toMatch(/cannot write to its disk/);
    expect(world.said.join("\n")).toMatch(/h1 the disk is full/);
    a.disk.full = false;
    world.clock.run(10_000);
    expect(leases([a, b])).toEqual(["10.244.1.0/24", "10.244.128.0/24"]);
  });
});

describe("a node that was cut off for longer than its lease lasts", () => {
  it("does not use it, says why, and has it back when its granter is heard again", async () => {
    const world = new World();
    const [a, b] = [await world.node(1, []), await world.node(2, [1])];
    world.clock.run(5_000);
    const { leases: before } = b.mesh.self();
    await world.kill(a);
    world.clock.run(FENCE_AFTER - RENEW_EVERY * 2);
    expect(b.mesh.self().leases).toEqual(before);
    world.clock.run(RENEW_EVERY * 4);
    expect(b.mesh.self().leases).toEqual([]);
    expect(b.mesh.problems().join()).toMatch(/cut off for longer than its lease lasts/);
    const again = await world.node(1, [], a.disk);
    world.clock.run(60_000);
    expect(again.mesh.self().leases).toEqual(["10.244.1.0/24"]);
    expect(b.mesh.self().leases).toEqual(before);
    expect(agree([again, b])).toBe(true);
  });

  it("has it back also when all of them were off for days", async () => {
    const world = new World();
    const nodes = [await world.node(1, []), await world.node(2, [1]), await world.node(3, [2])];
    world.clock.run(20_000);
    const before = leases(nodes);
    for (const node of nodes) await world.kill(node);
    world.clock.run(3 * LEASE_TTL);
    const again = [];
    for (const [n, { disk }] of [...nodes.entries()].reverse()) {
      again.unshift(await world.node(n + 1, n === 0 ? [] : [n], disk));
    }
    world.clock.run(COMPARE_TIMEOUT + 120_000);
    expect(leases(again)).toEqual(before);
    expect(agree(again)).toBe(true);
  });
});

describe("a node that stops and gives its lease back", () => {
  const small = { network: [parsePrefix("10.244.0.0/23")] };

  it("makes room for another, and is given one again when there is room", async () => {
    const world = new World();
    const a = await world.node(1, [], new MemoryDisk(), small);
    const b = await world.node(2, [1]);
    world.clock.run(10_000);
    const { leases: before } = b.mesh.self();
    const c = await world.node(3, [1]);
    world.clock.run(10_000);
    expect(c.mesh.self().leases).toEqual([]);
    await b.mesh.stop({ release: true });
    world.clock.run(20_000);
    expect(c.mesh.self().leases).toEqual(before);
    const back = await world.node(2, [1], b.disk);
    world.clock.run(30_000);
    expect(back.mesh.self().leases).toEqual([]);
    await c.mesh.stop({ release: true });
    world.clock.run(30_000);
    expect(back.mesh.self().leases).toEqual(before);
    expect(agree([a, back])).toBe(true);
  });

  it("keeps it when its granter is not there, or when it gave parts of it to others", async () => {
    const world = new World();
    const [a, b] = [await world.node(1, []), await world.node(2, [1])];
    world.clock.run(10_000);
    await world.kill(a);
    const c = await world.node(3, [2]);
    world.clock.run(20_000);
    expect(c.mesh.self().leases).toHaveLength(1);
    await world.node(1, [], a.disk);
    world.clock.run(60_000);
    await b.mesh.stop({ release: true });
    world.clock.run(1_000);
    expect(b.disk.load()!.cluster!.leases).toHaveLength(1);
    expect(world.said.join("\n")).toMatch("h2 the leases are kept");
  });
});

describe("forgetting a node", () => {
  it("is refused while it lives, while it may only be cut off, and where it was not given its space", async () => {
    const world = new World();
    const [a, b] = [await world.node(1, []), await world.node(2, [1])];
    world.clock.run(10_000);
    expect(() => a.mesh.forget("h2", { force: true })).toThrow("h2 is alive");
    expect(() => a.mesh.forget("h9")).toThrow("no node h9 is known here");
    await world.kill(b);
    world.clock.run(60_000);
    expect(() => a.mesh.forget("h2")).toThrow(/h2 may only be cut off .* until/);
    await world.kill(a);
  });

  it("is refused while others are silent too, or may have space from it: with them it goes on", async () => {
    const world = new World();
    const network = [parsePrefix("10.244.0.0/22")];
    const a = await world.node(1, [], new MemoryDisk(), { network });
    const b = await world.node(2, [1]);
    world.clock.run(10_000);
    const c = await world.node(3, [1]);
    world.clock.run(10_000);
    const { leases } = c.mesh.self();
    await world.kill(b);
    await world.kill(c);
    world.clock.run(REVOKE_AFTER + 60_000);
    expect(() => a.mesh.forget("h3")).toThrow(/h3 may be heard by h2/);
    expect(() => a.mesh.forget("h2")).toThrow(/h2 may be heard by h3/);
    a.mesh.forget("h3", { force: true });
    expect(() => a.mesh.forget("h2")).toThrow(/by a node that it granted space to/);
    const again = await world.node(3, [1], c.disk);
    world.clock.run(60_000);
    expect(again.mesh.self().leases).toEqual(leases);
    a.mesh.forget("h2", { force: true });
    await world.kill(again);
    world.clock.run(REVOKE_AFTER + 60_000);
    expect(a.mesh.forget("h3")).toEqual(leases);
  });

  it("can be by its id, where two have its name", async () => {
    const world = new World();
    const a = await world.node(1, []);
    const [b, c] = [await world.node(2, [1]), await world.node(3, [1])];
    world.clock.run(10_000);
    await world.kill(c);
    const other = await world.node(3, [1], c.disk, { name: "h2" });
    world.clock.run(10_000);
    const { id } = other.mesh.self();
    await world.kill(other);
    world.clock.run(60_000);
    expect(() => a.mesh.forget("h2", { force: true })).toThrow(new RegExp(`called h2: .*${id}`));
    expect(() => a.mesh.forget("0".repeat(32))).toThrow("no node 0000");
    expect(a.mesh.forget(id, { force: true })).toHaveLength(1);
    expect(() => a.mesh.forget("h2", { force: true })).toThrow("h2 is alive");
    expect(b.mesh.self().leases).toHaveLength(1);
  });

  it("lets others have its subnets; it is given another when it comes back", async () => {
    const world = new World();
    const network = [parsePrefix("10.244.0.0/23")];
    const a = await world.node(1, [], new MemoryDisk(), { network });
    const b = await world.node(2, [1]);
    world.clock.run(10_000);
    const { leases: before } = b.mesh.self();
    await world.kill(b);
    const c = await world.node(3, [1]);
    world.clock.run(20_000);
    expect(c.mesh.problems().join()).toMatch(/no node that was asked has free space/);
    world.clock.run(REVOKE_AFTER + 60_000);
    expect(a.mesh.forget("h2")).toEqual(before);
    world.clock.run(20_000);
    expect(c.mesh.self().leases).toEqual(before);
    const back = await world.node(2, [1], b.disk);
    world.clock.run(60_000);
    expect(back.mesh.self().leases).toEqual([]);
    expect(c.mesh.self().leases).toEqual(before);
    expect(back.mesh.problems().join()).toMatch(/no node that was asked has free space/);
  });
});

describe("a cluster of both families", () => {
  const DUAL = ["10.244.0.0/16", "fd00:244::/48"].map(parsePrefix);

  it("gives each node one lease in each network, and the same ones after a restart", async () => {
    const world = new World();
    const a = await world.node(1, [], new MemoryDisk(), { network: DUAL });
    const [b, c] = [await world.node(2, [1]), await world.node(3, [2])];
    world.clock.run(20_000);
    expect(agree([a, b, c])).toBe(true);
    const before = [a, b, c].map(({ mesh }) => mesh.self().leases);
    expect(before[0]).toEqual(["10.244.1.0/24", "fd00:244:0:1::/64"]);
    expect(before.every(([four, six]) => four?.endsWith("/24") && six?.endsWith("/64"))).toBe(true);
    expect(new Set(before.flat()).size).toBe(6);
    expect(c.mesh.self().network).toEqual(["10.244.0.0/16", "fd00:244::/48"]);
    const seen = c.mesh.members().find(({ name }) => name === "h1")!;
    expect(seen.leases.map(({ subnet }) => subnet)).toEqual(a.mesh.self().leases);

    await world.kill(b);
    const again = await world.node(2, [1], b.disk, { network: [...DUAL].reverse() });
    world.clock.run(60_000);
    expect(again.mesh.self().leases).toEqual(before[1]);
  });

  it("has the lease length of each family, and gives nothing of what is reserved", async () => {
    const world = new World();
    const reserved = ["10.244.0.0/17", "fd00:244::/49"].map(parsePrefix);
    const options = { network: DUAL, leaseLength: 20, leaseLength6: 56, reserved };
    const a = await world.node(1, [], new MemoryDisk(), options);
    expect(a.mesh.self().leases).toEqual(["10.244.128.0/20", "fd00:244:0:8000::/56"]);
  });

  it("is not joined by a node that was started with another network or another length", async () => {
    const world = new World();
    await world.node(1, [], new MemoryDisk(), { network: DUAL });
    const has = "the cluster's network is 10.244.0.0/16 in /24s, fd00:244::/48 in /64s";
    for (const [options, words] of [
      [{ network: DUAL.slice(0, 1) }, "10.244.0.0/16 in /24s"],
      [{ network: DUAL.slice(1) }, "fd00:244::/48 in /64s"],
      [{ network: [DUAL[0]!, parsePrefix("fd00:9::/48")] }, "10.244.0.0/16 in /24s, fd00:9::/48"],
      [{ leaseLength6: 60 }, "10.244.0.0/16 in /24s, fd00:244::/48 in /60s"],
      [{ network: [parsePrefix("fd00:9::/48")] }, "fd00:9::/48"],
    ] as const) {
      const other = await world.node(2, [1], new MemoryDisk(), options);
      world.clock.run(5_000);
      expect(other.mesh.self().leases).toEqual([]);
      expect(other.mesh.problems().join()).toContain(`${has}, this node was started with ${words}`);
      await world.kill(other);
    }
  });

  it("of IPv6 alone works over an IPv6 underlay", async () => {
    const world = new World();
    const nodes = [];
    for (const n of [1, 2, 3]) {
      const options = {
        vtep: `[fd00::${n}]:4789`,
        listen: { address: `fd00::${n}`, port: 6783 },
        network: n === 1 ? DUAL.slice(1) : undefined,
        join: n === 1 ? [] : [{ host: "fd00::1", port: 6783 }],
      };
      nodes.push(await world.node(n, [], new MemoryDisk(), options));
    }
    world.clock.run(20_000);
    expect(nodes.flatMap(({ mesh }) => mesh.problems())).toEqual([]);
    expect(agree(nodes)).toBe(true);
    expect(leases(nodes)[0]).toBe("fd00:244:0:1::/64");
    expect(new Set(leases(nodes)).size).toBe(3);
    expect(
      nodes[2]!.mesh.members().map(({ endpoint, meshEndpoint }) => [endpoint, meshEndpoint]),
    ).toContainEqual(["[fd00::1]:4789", "[fd00::1]:6783"]);
  });

  it("leaves out a node with an underlay of the other family, on both sides, and says so", async () => {
    const world = new World();
    const a = await world.node(1, []);
    const b = await world.node(2, [1], new MemoryDisk(), { vtep: "[fd00::2]:4789" });
    world.clock.run(10_000);
    expect([a, b].map(({ mesh }) => mesh.members())).toEqual([[], []]);
    expect(a.mesh.problems().join()).toMatch(
      /h2 \([0-9a-f]{32}\) at \[fd00::2\]:6783 has an IPv6 underlay .* an IPv4 one: it is left out/,
    );
    expect(b.mesh.problems().join()).toMatch(
      /h1 \([0-9a-f]{32}\) at 192.0.2.1:6783 has an IPv4 underlay .* an IPv6 one: it is left out/,
    );
  });
});

describe("a state from the past", () => {
  it("does not hold a node back: it goes on above its newest version", async () => {
    const world = new World();
    const a = await world.node(1, []);
    const b = await world.node(2, [1]);
    world.clock.run(5_000);
    const backup = b.disk.copy();
    world.clock.run(LEASE_TTL);
    await world.kill(b);
    const restored = await world.node(2, [1], backup);
    world.clock.run(60_000);
    expect(restored.mesh.problems()).toEqual([]);
    const published = a.mesh.members()[0]!.leases[0]!.expires;
    expect(published).toBeGreaterThan(world.clock.now() + LEASE_TTL - 60_000);
  });
});

describe("a host that is reinstalled under another name", () => {
  it("is a member at its old address as soon as its old identity is declared dead", async () => {
    const world = new World();
    const a = await world.node(1, []);
    const old = await world.node(2, [1]);
    const c = await world.node(3, [1]);
    world.clock.run(20_000);
    const seen = () => [a, c].map(({ mesh }) => mesh.members().map(({ name }) => name));
    expect(seen()).toEqual([
      ["h2", "h3"],
      ["h1", "h2"],
    ]);
    await world.kill(old);
    await world.node(2, [1], new MemoryDisk(), { name: "again" });
    world.clock.run(60_000);
    expect(seen().map((names) => names.sort())).toEqual([
      ["again", "h3"],
      ["again", "h1"],
    ]);
    expect([a, c].flatMap(({ mesh }) => mesh.problems())).toEqual([]);
  });
});

describe("a copied state directory", () => {
  it("is noticed on both sides", async () => {
    const world = new World();
    await world.node(1, []);
    const b = await world.node(2, [1]);
    world.clock.run(5_000);
    const copy = b.disk.copy();
    const twin = await world.node(3, [1], copy, { name: "h2" });
    world.clock.run(30_000);
    for (const { mesh } of [b, twin]) {
      expect(mesh.problems().join()).toMatch(/another agent runs with this node's identity/);
    }
  });
});

describe("a member that lies", () => {
  /** Joins as a real node does, and then sends any messages. */
  async function liar({ through = 1, others = [] as number[] } = {}) {
    const world = new World();
    const a = await world.node(1, []);
    const b = await world.node(2, [1]);
    world.clock.run(5_000);
    for (const n of others) await world.node(n, [1]);
    world.clock.run(5_000);
    const me = identity(66);
    const heard: Message[] = [];
    let connection!: Connection;
    const connect = () => {
      world.network.host("192.0.2.66").dial(`192.0.2.${through}:6783`, (result) => {
        connection = result as Connection;
        connection.open({ message: (text) => void heard.push(parseMessage(text)!), closed() {} });
        const instance = "66".repeat(16);
        const binding = Buffer.from(connection.channelBinding).toString("hex");
        const signature = me.sign(
          `weft hello ${PROTOCOL_VERSION}\ndialer\n${me.publicKey}\n${instance}\n${binding}`,
        );
        connection.send(
          JSON.stringify({
            type: "hello",
            protocol: PROTOCOL_VERSION,
            key: me.publicKey,
            instance,
            signature,
          }),
        );
      });
      world.clock.run(100);
    };
    const say = (message: object) => {
      connection.send(JSON.stringify(message));
      world.clock.run(100);
    };
    connect();
    const networks = ["10.244.0.0/16"];
    const ask = () => {
      say({
        type: "lease-request",
        name: "h66",
        for: me.publicKey,
        networks,
        have: [],
        visited: [],
      });
      world.clock.run(5_000);
      return heard.findLast((message) => message.type === "lease-grant");
    };
    const grant = ask();
    const learned = heard.find((message) => message.type === "cluster");
    if (grant?.type !== "lease-grant" || learned?.type !== "cluster")
      throw new Error("the liar was not let in");
    const { genesis } = learned;
    const keys = [a, b].map(({ mesh }) => [mesh.self().id, "node"]);
    say({ type: "want", keys });
    const verifier = new RecordVerifier(clusterOf(genesis));
    const records = heard
      .flatMap((message) => (message.type === "records" ? message.records : []))
      .map((envelope) => verifier.verify(envelope) as NodeRecord);
    const within = (space: Proof, prefix: string): Proof => [
      ...space,
      signGrant(me, clusterOf(genesis), { prefix, to: me.publicKey, sequence: 1 }),
    ];
    const space = grant.proofs[0]!;
    const lowest = space.at(-1)!.prefix.replace(/\d+$/, "24");
    const proof = within(space, lowest);
    /** Returns all space, and gets a grant of it again. */
    const again = (): Proof => {
      say({ type: "lease-return", grants: [space.at(-1)!.signature] });
      const grant = ask();
      if (grant?.type !== "lease-grant") throw new Error("nothing is given again");
      return within(grant.proofs[0]!, lowest);
    };
    return { world, a, b, me, heard, say, connect, genesis, proof, again, records };
  }

  const said = (me: Identity, genesis: Genesis, change: Partial<RecordContent>, version = 1) =>
    signRecord(me, clusterOf(genesis), version, {
      name: "h66",
      mesh: change.vtep?.replace(/:\d+$/, ":6783") ?? "192.0.2.66:6783",
      vtep: "192.0.2.66:4789",
      mac: "02:66:66:66:66:66",
      vni: 1,
      epoch: "5eed0001",
      leases: [],
      renewed: 1_700_000_000_000,
      withdrawn: false,
      ...change,
    });

  it("may speak for itself", async () => {
    const { a, b, me, say, genesis, proof } = await liar();
    say({ type: "records", records: [said(me, genesis, { leases: [proof] })] });
    for (const { mesh } of [a, b]) {
      expect(mesh.members().find(({ name }) => name === "h66")?.leases[0]?.subnet).toBe(
        "10.244.64.0/24",
      );
    }
  });

  it("about where it is, is not dialled there, is no member, and is named", async () => {
    const { world, a, b, me, say, connect, genesis, proof } = await liar();
    const dialled: string[] = [];
    for (const { transport } of [a, b]) {
      const dial = transport.dial.bind(transport);
      transport.dial = (address, done) => {
        dialled.push(address);
        return dial(address, done);
      };
    }
    const lies: [mesh: string, vtep: string][] = [
      ["127.0.0.1:22", "192.0.2.66:4789"],
      ["127.0.0.1:22", "127.0.0.1:53"],
      ["224.0.0.1:6783", "224.0.0.1:4789"],
      ["0.0.0.0:6783", "0.0.0.0:4789"],
      ["10.244.1.1:6783", "10.244.1.1:4789"],
    ];
    for (const [i, [mesh, vtep]] of lies.entries()) {
      say({
        type: "records",
        records: [said(me, genesis, { leases: [proof], mesh, vtep }, 1 + i)],
      });
      world.clock.run(1_000);
      for (const node of [a, b]) {
        expect(node.mesh.members().map(({ name }) => name)).not.toContain("h66");
        expect(node.mesh.problems().join()).toMatch(/h66 \(.*\) at .*: it is left out/);
      }
    }
    world.clock.run(60_000);
    expect(dialled.filter((address) => lies.some(([mesh]) => mesh === address))).toEqual([]);
    connect();
    say({ type: "records", records: [said(me, genesis, { leases: [proof] }, 9)] });
    expect(a.mesh.members().map(({ name }) => name)).toContain("h66");
  });

  it("changes nothing but its own", async () => {
    const { a, b, me, heard, say, connect, genesis, proof, records } = await liar();
    const [ofB] = records.filter(({ name }) => name === "h2");
    const before = [a, b].map(({ mesh }) => [
      mesh.self(),
      mesh.members().map(({ rttMs: _, ...rest }) => rest),
    ]);
    const { owner, version, body, signature } = ofB!.envelope;
    const moved = body.replace("192.0.2.2:4789", "192.0.2.66:4789");
    const left = body.replace('"withdrawn":false', '"withdrawn":true');
    expect(new Set([body, moved, left]).size).toBe(3);
    const lies: object[] = [
      { type: "records", records: [{ owner, version: version + 1, body, signature }] },
      { type: "records", records: [{ owner, version: version + 1, body: left, signature }] },
      { type: "records", records: [{ owner, version: 2 ** 31 - 1, body: moved, signature }] },
      { type: "records", records: [said(me, genesis, { leases: ofB!.leases })] },
      { type: "records", records: [said(me, genesis, { leases: [proof, ...ofB!.leases] })] },
      { type: "records", records: [{ ...said(me, genesis, { leases: [proof] }), extra: 1 }] },
      { type: "lease-grant", proofs: ofB!.leases },
      { type: "lease-refusal", for: b.mesh.self().id.repeat(2), reason: "go away", visited: [] },
      { type: "cluster", genesis: { ...genesis, founder: me.publicKey } },
    ];
    for (const lie of lies) {
      say(lie);
      connect();
    }
    const after = [a, b].map(({ mesh }) => [
      mesh.self(),
      mesh.members().map(({ rttMs: _, ...rest }) => rest),
    ]);
    expect(after).toEqual(before);
    expect(heard.filter(({ type }) => type === "bye").length).toBeGreaterThanOrEqual(7);
    expect([a, b].flatMap(({ mesh }) => mesh.problems())).toEqual([]);
  });

  it("cannot take a name, an endpoint or a MAC of another, not even with space that it returned and was granted again", async () => {
    const { a, b, me, say, genesis, proof, again, records } = await liar();
    const [ofB] = records.filter(({ name }) => name === "h2");
    const young = again();
    expect(young.map(({ round }) => round)).toEqual([1, 0]);
    let version = 0;
    for (const leases of [[proof], [young]]) {
      for (const key of ["name", "vtep", "mac"] as const) {
        version += 1;
        say({
          type: "records",
          records: [said(me, genesis, { leases, [key]: ofB![key] }, version)],
        });
        expect(a.mesh.members().map(({ name }) => name)).toEqual(["h2"]);
        expect(b.mesh.members().map(({ name }) => name)).toEqual(["h1"]);
        // A returned lease does not count at all, because its granter's record revokes it.
        const line = leases[0] === proof ? /^$/ : /^two nodes claim the/;
        expect(a.mesh.problems().join()).toMatch(line);
      }
    }
  });

  it("cannot do so either with a lease from an older node", async () => {
    const { a, b, me, say, genesis, proof } = await liar({ through: 2, others: [3] });
    expect(nodeId(proof[0]!.to)).toBe(b.mesh.self().id);
    const before = a.mesh.members().find(({ name }) => name === "h3")!;
    say({ type: "records", records: [said(me, genesis, { leases: [proof], name: "h3" })] });
    for (const { mesh } of [a, b]) {
      expect(mesh.members().find(({ name }) => name === "h3")?.id).toBe(before.id);
      expect(mesh.problems().join()).toMatch("two nodes claim the name h3");
    }
  });

  it("cannot fill the others' sets with identities that it makes up, nor do these end its session", async () => {
    const { a, b, me, heard, say, genesis, proof } = await liar();
    const space = proof.slice(0, -1);
    const prefix = "10.244.65.0/24";
    const crowd = Array.from({ length: 3 * MAX_CLAIMANTS }, (_, i) => {
      const one = identity(100 + i);
      const grant = { prefix, to: one.publicKey, sequence: 2 + i };
      const leases = [[...space, signGrant(me, clusterOf(genesis), grant)]];
      return said(one, genesis, { leases });
    });
    for (const envelope of crowd) say({ type: "records", records: [envelope] });
    for (const { mesh } of [a, b]) {
      const lines = mesh
        .problems()
        .filter((line) => line.startsWith(`${prefix} was granted twice`));
      expect(lines).toHaveLength(MAX_CLAIMANTS - 1);
    }
    const asked = (version: number): number => {
      const before = heard.length;
      say({ type: "have", versions: crowd.map(({ owner }) => [nodeId(owner), "node", version]) });
      const answers = heard.slice(before).filter((message) => message.type === "want");
      return answers.flatMap(({ keys }) => keys).length;
    };
    expect(asked(1)).toBe(0);
    expect(asked(2)).toBe(crowd.length);
  });
});
