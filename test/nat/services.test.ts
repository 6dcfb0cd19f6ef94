/** How a service spreads its clients over backends, and what becomes of them when backends change. */
import { describe, expect, it } from "vitest";
import { TCP, UDP } from "../packets.js";
import { NatNode } from "./node.js";
import { MINUTE, PROFILES, readError, SECOND, tupleTo } from "./site.js";
import { packetOf, reverse, type Tuple } from "./tuple.js";

const VIP = "10.96.0.10";
type Backend = string | { to: string; weight?: number; drain?: boolean };
const service = (backends: readonly Backend[], more: object = {}) => ({
  name: "web",
  protocol: "udp",
  address: VIP,
  port: 80,
  backends,
  ...more,
});
const document = (backends: readonly Backend[], more: object = {}) => ({
  services: [service(backends, more)],
});
/** Addresses of a peer. */
const backendsOf = (count: number) =>
  Array.from({ length: count }, (_, i) => `10.244.2.${1 + i}:8080`);

const client = (i: number, more: Partial<Tuple> = {}): Tuple => ({
  protocol: UDP,
  src: `10.244.1.${2 + (i % 200)}`,
  sport: 1024 + Math.floor(i / 200),
  dst: VIP,
  dport: 80,
  ...more,
});

/** The backend that this client gets. */
function chosen(node: NatNode, tuple: Tuple): string {
  const result = node.go(tuple, { flags: 2, sequence: 100 });
  if ("drop" in result) return result.drop;
  return `${result.tuple.dst}:${result.tuple.dport}`;
}
/** The backends that clients 0 to `count` get, of connections that are over before they return. */
function choices(node: NatNode, count: number): string[] {
  const all = Array.from({ length: count }, (_, i) => {
    if (i % 10_000 === 9999) node.dataplane.advance(10 * MINUTE);
    return chosen(node, client(i));
  });
  node.dataplane.advance(10 * MINUTE);
  return all;
}
const countOf = (all: readonly string[]) => {
  const counts = new Map<string, number>();
  for (const one of all) counts.set(one, (counts.get(one) ?? 0) + 1);
  return counts;
};

describe("the backends of a service", () => {
  const CLIENTS = 20_000;

  it("when one of 100 leaves, no client of another moves", async () => {
    const backends = backendsOf(100);
    const node = await NatNode.create(document(backends));
    const before = choices(node, CLIENTS);
    const left = backends[42]!;
    node.setNat(document(backends.filter((one) => one !== left)));
    const after = choices(node, CLIENTS);
    const others = before.map((_, i) => i).filter((i) => before[i] !== left);
    expect(others.filter((i) => before[i] !== after[i])).toEqual([]);
    const moved = before.map((_, i) => i).filter((i) => before[i] === left);
    expect(moved.length).toBeGreaterThan(CLIENTS / 400);
    // Those of the one that left spread over many others.
    expect(new Set(moved.map((i) => after[i])).size).toBeGreaterThan(20);
  });

  it("when one comes to 100, only those that get it move", async () => {
    const backends = backendsOf(101);
    const node = await NatNode.create(document(backends.slice(0, 100)));
    const before = choices(node, CLIENTS);
    node.setNat(document(backends));
    const after = choices(node, CLIENTS);
    const moved = after.filter((one, i) => one !== before[i]);
    expect(new Set(moved)).toEqual(new Set([backends[100]]));
    expect(moved.length).toBeGreaterThan(CLIENTS / 101 / 2.5);
    expect(moved.length).toBeLessThan((CLIENTS / 101) * 2);
  });

  it("their order in the document does not matter", async () => {
    const backends = backendsOf(10);
    const node = await NatNode.create(document(backends));
    const before = choices(node, 2000);
    node.setNat(document(backends.toReversed()));
    expect(choices(node, 2000)).toEqual(before);
  });

  it("get clients by weight", async () => {
    const weights = [1, 2, 3, 10];
    const backends = weights.map((weight, i) => ({ to: backendsOf(4)[i]!, weight }));
    const node = await NatNode.create(document(backends));
    const counts = countOf(choices(node, CLIENTS));
    weights.forEach((weight, i) => {
      const share = counts.get(backends[i]!.to)! / CLIENTS / (weight / 16);
      expect(share).toBeGreaterThan(0.75);
      expect(share).toBeLessThan(1.25);
    });
  });

  it("of one weight get about as many each", async () => {
    const node = await NatNode.create(document(backendsOf(100)));
    const counts = [...countOf(choices(node, CLIENTS)).values()];
    expect(counts.length).toBe(100);
    expect(Math.min(...counts)).toBeGreaterThan(CLIENTS / 100 / 2.5);
    expect(Math.max(...counts)).toBeLessThan((CLIENTS / 100) * 2.5);
  });

  it("with affinity are chosen by the client's address", async () => {
    const node = await NatNode.create(document(backendsOf(100), { affinity: "client" }));
    const perClient = new Map<string, Set<string>>();
    for (let i = 0; i < 4000; i++) {
      const tuple = client(i);
      const known = perClient.get(tuple.src) ?? new Set();
      perClient.set(tuple.src, known.add(chosen(node, tuple)));
    }
    expect(perClient.size).toBe(200);
    expect([...perClient.values()].filter(({ size }) => size !== 1)).toEqual([]);
    expect(new Set([...perClient.values()].flatMap((one) => [...one])).size).toBeGreaterThan(50);
  });
});

describe.each(PROFILES)("a connection to a service, profile %s", (profile) => {
  const tcp = (i: number) => client(i, { protocol: TCP });
  const web = (backends: readonly Backend[]) => ({
    profile,
    ...document(backends, { protocol: "tcp" }),
  });

  it("a repeated SYN keeps its backend, also when that is drained", async () => {
    const node = await NatNode.create(web(backendsOf(20)));
    const first = Array.from({ length: 200 }, (_, i) => chosen(node, tcp(i)));
    node.dataplane.advance(3 * SECOND);
    expect(first.map((_, i) => chosen(node, tcp(i)))).toEqual(first);
    node.setNat(web(backendsOf(20).map((to, i) => ({ to, drain: i < 10 }))));
    node.dataplane.advance(3 * SECOND);
    expect(first.map((_, i) => chosen(node, tcp(i)))).toEqual(first);
  });

  it("stays with a backend that is drained, and new ones go elsewhere", async () => {
    const backends = backendsOf(2);
    const node = await NatNode.create(web(backends));
    const there = Array.from({ length: 200 }, (_, i) => tupleTo("wire", node.go(tcp(i), OPENING)));
    there.forEach((goes, i) => {
      expect(tupleTo("device", node.come(reverse(goes), ANSWER))).toEqual(reverse(tcp(i)));
      node.go(tcp(i), THIRD);
    });
    node.setNat(web([{ to: backends[0]!, drain: true }, backends[1]!]));
    there.forEach((goes, i) => {
      expect(tupleTo("wire", node.go(tcp(i), THIRD))).toEqual(goes);
      const more = { flags: 16, sequence: 501, acknowledgment: 101 };
      expect(tupleTo("device", node.come(reverse(goes), more))).toEqual(reverse(tcp(i)));
    });
    const fresh = Array.from({ length: 200 }, (_, i) => chosen(node, tcp(1000 + i)));
    expect(new Set(fresh)).toEqual(new Set([backends[1]]));
  });

  it("of UDP is decided again when its backend is removed, by its next packet", async () => {
    const backends = backendsOf(2);
    const node = await NatNode.create({ profile, ...document(backends) });
    const before = Array.from({ length: 200 }, (_, i) => chosen(node, client(i)));
    node.setNat({ profile, ...document([backends[1]!]) });
    const after = before.map((_, i) => chosen(node, client(i)));
    expect(new Set(after)).toEqual(new Set([backends[1]]));
    // The removed one's late answer is none of the service's.
    const i = before.indexOf(backends[0]!);
    const late = { ...client(i), src: client(i).dst };
    expect(late.src).toBe(VIP);
    const goes = { ...client(i), dst: "10.244.2.1", dport: 8080 };
    const result = node.come(reverse(goes));
    if (!("drop" in result)) expect(result.tuple).toEqual(reverse(goes));
  });

  it("without a backend is answered: the host is unreachable", async () => {
    const node = await NatNode.create({
      services: [
        service([]),
        service([`[fd00:0:0:2::1]:80`], { name: "six", address: "fd00:0:0:ff::10" }),
        service([], { name: "none", address: "fd00:0:0:ff::11" }),
      ],
    });
    const four = node.go(client(0));
    expect(four).toMatchObject({ drop: "no-backend" });
    expect(readError(four.bytes!)).toMatchObject({
      type: 3,
      code: 1,
      dst: client(0).src,
      quoted: client(0),
    });
    const tuple = client(0, { src: "fd00:0:0:1::5", dst: "fd00:0:0:ff::11" });
    const six = node.go(tuple);
    expect(six).toMatchObject({ drop: "no-backend" });
    expect(readError(six.bytes!)).toMatchObject({ type: 1, code: 3, quoted: tuple });
  });

  it("is answered by the service's address, whichever the backend", async () => {
    const own = "10.244.1.20:8080";
    const node = await NatNode.create({ profile, ...document([own, ...backendsOf(3)]) });
    const sides = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const came = client(i);
      const result = node.go(came);
      if ("drop" in result) throw new Error(result.drop);
      sides.add(result.to);
      const answer = packetOf(reverse(result.tuple));
      const back = result.to === "wire" ? node.in(answer) : node.out(answer);
      expect(tupleTo("device", back)).toEqual(reverse(came));
    }
    expect(sides).toEqual(new Set(["wire", "device"]));
  });
});

const OPENING = { flags: 2, sequence: 100 };
const ANSWER = { flags: 18, sequence: 500, acknowledgment: 101 };
const THIRD = { flags: 16, sequence: 101, acknowledgment: 501 };
