/** Ways through translation that few packets take, and that fail silently if they are wrong. */
import { describe, expect, it } from "vitest";
import { TCP, UDP } from "../packets.js";
import { icmpError } from "./errors.js";
import { B, C, NatNode } from "./node.js";
import { farHost, insideHost, MINUTE, OUTSIDE, Site, tupleTo } from "./site.js";
import { packetOf, reverse, type Tuple, tupleOf } from "./tuple.js";

const VIP = "10.96.0.10";
const CLIENT = "10.244.1.5";
const OWN = "10.244.1.1";
const udp = (src: string, sport: number, dst: string, dport: number): Tuple => ({
  protocol: UDP,
  src,
  sport,
  dst,
  dport,
});
const dns = (name: string, address: string, backend: string) => ({
  name,
  protocol: "udp",
  address,
  port: 53,
  backends: [backend],
});

describe("one tuple outside for two connections", () => {
  it("a client uses one port to a service and straight to its backend", async () => {
    const node = await NatNode.create({ services: [dns("dns", VIP, "10.244.2.7:53")] });
    const straight = udp(CLIENT, 5000, "10.244.2.7", 53);
    const served = { ...straight, dst: VIP };
    expect(tupleTo("wire", node.go(straight))).toEqual(straight);
    const goes = tupleTo("wire", node.go(served));
    expect(goes).toMatchObject({ src: CLIENT, dst: "10.244.2.7" });
    expect(goes.sport).toBeGreaterThanOrEqual(61_000);
    expect(tupleTo("device", node.come(reverse(goes)))).toEqual(reverse(served));
    expect(tupleTo("device", node.come(reverse(straight)))).toEqual(reverse(straight));
  });

  it("a client uses one port to two services with a common backend", async () => {
    const services = [dns("one", VIP, "10.244.2.7:53"), dns("two", "10.96.0.11", "10.244.2.7:53")];
    const node = await NatNode.create({ services });
    const all = [VIP, "10.96.0.11"].map((dst) => udp(CLIENT, 5000, dst, 53));
    const goes = all.map((came) => tupleTo("wire", node.go(came)));
    expect(new Set(goes.map(({ sport }) => sport)).size).toBe(2);
    all.forEach((came, i) => {
      expect(tupleTo("device", node.come(reverse(goes[i]!)))).toEqual(reverse(came));
    });
  });

  it("a host of the site talks to its own outside port", async () => {
    const site = await Site.create();
    const { src, sport } = site.sent(Site.out());
    const self = udp(insideHost(5), 5000, src, sport);
    const result = site.node.go(self);
    // Its answers would have the packet's own ends, and it has its mapping already.
    expect(result).toMatchObject({ drop: "nat-exhausted" });
  });
});

describe("services and ports", () => {
  it("answer this node's device only, unless they are published ports", async () => {
    const node = await NatNode.create({
      services: [dns("dns", VIP, "10.244.1.7:53")],
      ports: [{ protocol: "udp", address: OWN, port: 53, to: "10.244.1.7:53" }],
    });
    expect(node.come(udp(farHost(5), 9, VIP, 53))).toMatchObject({ drop: "no-route" });
    const port = udp(farHost(5), 9, OWN, 53);
    expect(tupleTo("device", node.come(port))).toEqual({ ...port, dst: "10.244.1.7" });
  });

  it("a port of this node may lead back to the node that asks", async () => {
    const to = "10.244.2.7:53";
    const node = await NatNode.create({ ports: [{ protocol: "udp", address: OWN, port: 53, to }] });
    const came = udp(farHost(5), 5000, OWN, 53);
    const goes = tupleTo("wire", node.come(came));
    expect(goes).toMatchObject({ src: OWN, dst: "10.244.2.7" });
    expect(tupleTo("wire", node.come(reverse(goes)))).toEqual(reverse(came));
  });

  it("a client behind a netmap keeps the address by which the overlay knows it", async () => {
    const node = await NatNode.create({
      netmap: [{ from: "10.1.0.0/24", to: "10.244.9.0/24" }],
      services: [dns("dns", VIP, "10.244.2.7:53")],
    });
    const came = udp("10.1.0.5", 5000, VIP, 53);
    const goes = tupleTo("wire", node.go(came));
    expect(goes).toEqual(udp("10.244.9.5", 5000, "10.244.2.7", 53));
    expect(tupleTo("device", node.come(reverse(goes)))).toEqual(reverse(came));
  });
});

describe("sources", () => {
  it("the ports of a rule bind those below 1024 as well", async () => {
    const snat = [
      { from: "10.1.0.0/24", to: "0.0.0.0/0", address: OUTSIDE[4], ports: "20000-20009" },
    ];
    const site = await Site.create("rfc", { snat });
    const { sport } = site.sent(Site.out(123));
    expect(sport).toBeGreaterThanOrEqual(20_000);
    expect(sport).toBeLessThanOrEqual(20_009);
  });

  it("a connection that the outside end opened anew gives its port back in the end", async () => {
    const snat = [
      { from: "10.1.0.0/24", to: "0.0.0.0/0", address: OUTSIDE[4], ports: "20000-20000" },
    ];
    const site = await Site.create("rfc", { snat });
    const came = Site.out(5000, 80, { protocol: TCP });
    const goes = site.sent(came, { flags: 2, sequence: 100 });
    site.answers(came, goes, { flags: 18, sequence: 500, acknowledgment: 101 });
    site.sent(came, { flags: 16, sequence: 101, acknowledgment: 501 });
    // The outside end has lost the connection, and opens it from its side.
    site.answers(came, goes, { flags: 2, sequence: 9000 });
    site.sent(came, { flags: 18, sequence: 7000, acknowledgment: 9001 });
    site.answers(came, goes, { flags: 16, sequence: 9001, acknowledgment: 7001 });
    expect(site.node.dataplane.flows()).toMatchObject([{ direction: "in", state: "established" }]);
    const other = Site.out(5000, 80, { protocol: TCP, src: insideHost(6) });
    expect(site.node.go(other, { flags: 2 })).toMatchObject({ drop: "nat-exhausted" });
    site.advance(124 * MINUTE + 1);
    site.advance(2 * MINUTE + 1);
    expect(site.sent(other, { flags: 2 }).sport).toBe(20_000);
  });

  it("a full table of flows lets no inside address out", async () => {
    const site = await Site.create("rfc", {}, { flows: 64 });
    for (let i = 0; i < 2000; i++) {
      const result = site.node.go(Site.out(5000 + i, 53, { src: insideHost(1 + (i % 200)) }));
      if ("drop" in result) expect(["flow-table-full", "nat-exhausted"]).toContain(result.drop);
      else expect(result.tuple.src).toBe(OUTSIDE[4]);
    }
  });
});

describe("a gateway, as its sources' node sees it", () => {
  const egress = (via: string[]) => ({
    egress: [{ from: ["10.244.1.0/24"], to: ["198.51.100.0/24"], via, address: "192.0.2.250" }],
  });
  const came = udp(CLIENT, 5000, "198.51.100.1", 53);
  const back = packetOf(reverse(came));

  it("gets the packets as they are, and only its answers come in", async () => {
    const node = await NatNode.create(egress(["b"]));
    expect(node.go(came)).toMatchObject({ to: "wire", peer: "b", tuple: came });
    expect(tupleOf(node.in(back, B).bytes!)).toEqual(reverse(came));
    expect(node.in(back, C)).toMatchObject({ drop: "spoofed-source" });
    // Nor may it speak for outside addresses to hosts that it is no gateway for.
    const other = packetOf({ ...reverse(came), src: "203.0.113.1" });
    expect(node.in(other, B)).toMatchObject({ drop: "spoofed-source" });
  });

  it("keeps the packets of a connection and its errors when the tables change", async () => {
    const node = await NatNode.create(egress(["b"]));
    node.go(came);
    node.in(back, B);
    const error = icmpError(back, { src: CLIENT, dst: came.dst });
    expect(node.out(error)).toMatchObject({ to: "wire", peer: "b" });
    node.setNat({ ...egress(["b"]), limits: { perSource: 9 } });
    expect(node.go(came)).toMatchObject({ to: "wire", peer: "b", tuple: came });
    expect(node.out(error)).toMatchObject({ to: "wire", peer: "b" });
  });

  it("hands over to the next: another peer, this node, none", async () => {
    const node = await NatNode.create(egress(["b"]));
    node.go(came);
    node.setNat(egress(["c"]));
    expect(node.go(came)).toMatchObject({ to: "wire", peer: "c", tuple: came });
    node.setNat(egress(["a"]));
    expect(node.go(came)).toMatchObject({ to: "device", tuple: { src: "192.0.2.250" } });
    node.setNat(egress(["dead"]));
    expect(node.go(came)).toMatchObject({ drop: expect.stringMatching(/no-gateway|no-backend/) });
  });

  it("that is dead lets nothing out", async () => {
    const node = await NatNode.create(egress(["dead"]));
    expect(node.go(came)).toMatchObject({ drop: "no-gateway" });
    expect(node.in(back, B)).toMatchObject({ drop: "spoofed-source" });
  });
});
