/** The oracle itself: it takes what is right, and finds each fault. */
import { describe, expect, it } from "vitest";
import { parseAddress, parsePrefix } from "../../src/address.js";
import type { NatRules } from "../../src/compile/nat-rules.js";
import { ICMP, TCP, UDP } from "../packets.js";
import { HOLD_DOWN, Oracle, type Outcome, type Packet } from "./oracle.js";
import { ECHO, reverse, type Tuple } from "./tuple.js";

const NODE = {
  addresses: ["10.244.1.1", "fd00:0:0:1::1"],
  leases: ["10.244.1.0/24", "fd00:0:0:1::/64"].map(parsePrefix),
  peers: [{ name: "b", leases: ["10.244.2.0/24", "fd00:0:0:2::/64"].map(parsePrefix) }],
  throughCore: true,
};
const NO_RULES = { services: [], netmaps: [], egress: [], sources: [], perSource: 4096 };
const oracle = (rules: Partial<NatRules> = {}) => new Oracle(NODE, { ...NO_RULES, ...rules });

const udp = (src: string, sport: number, dst: string, dport: number): Tuple => ({
  protocol: UDP,
  src,
  sport,
  dst,
  dport,
});
const device = (tuple: Tuple): Packet => ({ tuple, from: "device" });
const wire = (tuple: Tuple): Packet => ({ tuple, from: "wire" });
const toB = (tuple: Tuple): Outcome => ({ to: "wire", peer: "b", tuple });
const toDevice = (tuple: Tuple): Outcome => ({ to: "device", tuple });

const CLIENT = "10.244.1.5";
const VIP = "10.96.0.10";
const backend = (address: string, isActive = true) => ({
  address: parseAddress(address),
  port: 53,
  weight: 1,
  isActive,
});
const DNS = {
  name: "dns",
  isPort: false,
  protocol: UDP,
  address: parseAddress(VIP),
  port: 53,
  backends: [backend("10.244.2.7"), backend("10.244.1.7")],
  byClient: false,
  affinityMs: 0,
};
const ANY = parsePrefix("0.0.0.0/0");
const MASQUERADE = {
  from: parsePrefix("192.0.2.0/24"),
  to: ANY,
  addresses: undefined,
  ports: undefined,
};

describe("the oracle of translation", () => {
  it("leaves alone what no rule covers", () => {
    const node = oracle();
    const out = udp(CLIENT, 1000, "10.244.2.7", 53);
    expect(node.check(device(out), toB(out))).toBeUndefined();
    expect(node.check(wire(reverse(out)), toDevice(reverse(out)))).toBeUndefined();
    expect(node.check(device(out), toB({ ...out, sport: 1001 }))).toContain(
      "as 17 10.244.1.5 1000",
    );
  });

  it("takes any active backend at first, and then only that", () => {
    const node = oracle({ services: [DNS] });
    const to = (address: string) => udp(CLIENT, 1000, address, 53);
    expect(node.check(device(to(VIP)), toB(to("10.244.2.9")))).toContain("10.244.2.7 53; or");
    expect(node.check(device(to(VIP)), toB(to("10.244.2.7")))).toBeUndefined();
    expect(node.check(device(to(VIP)), toDevice(to("10.244.1.7")))).toContain("its connection");
    node.advance(10 * 60_000);
    expect(node.connections).toEqual([]);
    expect(node.check(device(to(VIP)), toDevice(to("10.244.1.7")))).toContain("10.244.2.7");
    const reply = reverse(to("10.244.2.7"));
    expect(node.check(device(to(VIP)), toB(to("10.244.2.7")))).toBeUndefined();
    expect(node.check(wire(reply), toDevice(reverse(to(VIP))))).toBeUndefined();
  });

  it("drops what goes to a service without backends", () => {
    const node = oracle({ services: [{ ...DNS, backends: [backend("10.244.2.7", false)] }] });
    const out = udp(CLIENT, 1000, VIP, 53);
    expect(node.check(device(out), { drop: "no-backend" })).toBeUndefined();
    expect(node.check(device(out), toB(out))).toContain("to be dropped");
  });

  it("knows a service only from the device, a port from both sides", () => {
    const published = { ...DNS, isPort: true, address: parseAddress("10.244.1.1") };
    const node = oracle({ services: [DNS, { ...published, backends: [backend("10.244.1.7")] }] });
    const vip = udp("10.244.2.5", 1000, VIP, 53);
    expect(node.check(wire(vip), { drop: "no-route" })).toBeUndefined();
    const port = udp("10.244.2.5", 1000, "10.244.1.1", 53);
    expect(node.check(wire(port), toDevice({ ...port, dst: "10.244.1.7" }))).toBeUndefined();
  });

  it("maps one inside endpoint to one outside port, towards all destinations", () => {
    const node = oracle({ sources: [MASQUERADE] });
    const out = (sport: number, dst: string) => udp("192.0.2.5", sport, dst, 53);
    const as = (tuple: Tuple, sport: number) => toB({ ...tuple, src: "10.244.1.1", sport });
    const first = out(5000, "10.244.2.7");
    expect(node.check(device(first), as(first, 40_000))).toContain("not in 61000-65535");
    expect(node.check(device(first), as(first, 61_000))).toBeUndefined();
    const second = out(5000, "10.244.2.8");
    expect(node.check(device(second), as(second, 61_001))).toContain("10.244.1.1 61000");
    expect(node.check(device(second), as(second, 61_000))).toBeUndefined();
    const other = out(5001, "10.244.2.7");
    expect(node.check(device(other), as(other, 61_000))).toContain("has that outside port");
    const fromOutside = udp("10.244.2.9", 7, "10.244.1.1", 61_000);
    const inward = toDevice({ ...fromOutside, dst: "192.0.2.5", dport: 5000 });
    expect(node.check(wire(fromOutside), toDevice(fromOutside))).toContain("192.0.2.5");
    expect(node.check(wire(fromOutside), inward)).toBeUndefined();
  });

  it("keeps the class of a port below 1024", () => {
    const node = oracle({ sources: [MASQUERADE] });
    const out = udp("192.0.2.5", 53, "10.244.2.7", 53);
    const as = (sport: number) => toB({ ...out, src: "10.244.1.1", sport });
    expect(node.check(device(out), as(61_000))).toContain("600-1023");
    expect(node.check(device(out), as(700))).toBeUndefined();
  });

  it("holds a mapping down for two minutes after its last connection", () => {
    const node = oracle({ sources: [MASQUERADE] });
    const out = (src: string) => udp(src, 5000, "10.244.2.7", 53);
    const outside = toB({ ...out("10.244.1.1"), sport: 61_000 });
    expect(node.check(device(out("192.0.2.5")), outside)).toBeUndefined();
    node.advance(5 * 60_000 + 1);
    expect(node.check(device(out("192.0.2.6")), outside)).toContain("has that");
    node.advance(HOLD_DOWN + 1);
    expect(node.check(device(out("192.0.2.6")), outside)).toBeUndefined();
  });

  it("keeps the limit of one inside address", () => {
    const node = oracle({ sources: [MASQUERADE], perSource: 1 });
    const out = (sport: number) => udp("192.0.2.5", sport, "10.244.2.7", 53);
    const as = (sport: number, port: number) =>
      toB({ ...out(sport), src: "10.244.1.1", sport: port });
    expect(node.check(device(out(1)), { drop: "nat-exhausted" })).toContain("can be made");
    expect(node.check(device(out(5000)), as(5000, 61_000))).toBeUndefined();
    expect(node.check(device(out(5001)), as(5001, 61_001))).toContain("all the mappings");
    expect(node.check(device(out(5001)), { drop: "nat-exhausted" })).toBeUndefined();
  });

  it("keeps one address of a pool for one inside address", () => {
    const snat = { ...MASQUERADE, addresses: parsePrefix("10.244.1.240/28") };
    const node = oracle({ sources: [snat] });
    const out = (sport: number) => udp("192.0.2.5", sport, "10.244.2.7", 53);
    const as = (sport: number, src: string) => toB({ ...out(sport), src });
    expect(node.check(device(out(5000)), as(5000, "10.244.1.239"))).toContain("as 17 10.244.1.239");
    expect(node.check(device(out(5000)), as(5000, "10.244.1.241"))).toBeUndefined();
    expect(node.check(device(out(5001)), as(5001, "10.244.1.242"))).toContain("10.244.1.241");
    expect(node.check(device(out(5001)), as(5001, "10.244.1.241"))).toBeUndefined();
  });

  it("moves a network to another and back", () => {
    const netmap = { inside: parsePrefix("10.1.0.0/24"), overlay: parsePrefix("10.244.1.0/24") };
    const node = oracle({ netmaps: [netmap] });
    const out = { ...udp("10.1.0.5", 0, "10.244.2.7", 0), protocol: 47 };
    expect(node.check(device(out), toB({ ...out, src: "10.244.1.5" }))).toBeUndefined();
    const inward = udp("10.244.2.9", 7, "10.244.1.6", 8);
    expect(node.check(wire(inward), toDevice({ ...inward, dst: "10.1.0.6" }))).toBeUndefined();
  });

  it("leads to a gateway, and drops where none lives", () => {
    const egress = {
      from: parsePrefix("10.244.1.0/24"),
      to: ANY,
      via: { peer: "b" },
      address: parseAddress("192.0.2.250"),
    };
    const out = udp(CLIENT, 5000, "198.51.100.1", 53);
    expect(oracle({ egress: [egress] }).check(device(out), toB(out))).toBeUndefined();
    const dead = oracle({ egress: [{ ...egress, via: undefined }] });
    expect(dead.check(device(out), toDevice(out))).toContain("to be dropped");
    const gateway = oracle({
      egress: [{ ...egress, from: parsePrefix("10.244.2.0/24"), via: { self: true } }],
    });
    const passing = { ...out, src: "10.244.2.5" };
    const translated = toDevice({ ...passing, src: "192.0.2.250", sport: 2000 });
    expect(gateway.check(wire(passing), translated)).toBeUndefined();
    const overlay = udp("10.244.2.5", 5000, "10.244.1.5", 53);
    expect(gateway.check(wire(overlay), toDevice(overlay))).toBeUndefined();
  });

  it("gives a client that is its own backend a source that comes back", () => {
    const node = oracle({ services: [{ ...DNS, backends: [backend(CLIENT)] }] });
    const out = udp(CLIENT, 5000, VIP, 53);
    const real = udp("169.254.1.2", 3000, CLIENT, 53);
    expect(node.check(device(out), toDevice({ ...out, dst: CLIENT }))).toContain("not of the pool");
    expect(node.check(device(out), toDevice(real))).toBeUndefined();
    expect(node.check(device(reverse(real)), toDevice(reverse(out)))).toBeUndefined();
  });

  it("drops what a source rule covers and cannot translate", () => {
    const node = oracle({ sources: [MASQUERADE] });
    const out = { ...udp("192.0.2.5", ECHO, "10.244.2.7", 9), protocol: ICMP };
    const reply = { ...device(out), opens: false };
    expect(node.check(reply, toB(out))).toContain("to be dropped");
    expect(node.check(reply, { drop: "not-translatable" })).toBeUndefined();
  });

  it("translates only the address of a protocol without ports", () => {
    const node = oracle({ sources: [MASQUERADE] });
    const out = (src: string) => ({ ...udp(src, 0, "10.244.2.7", 0), protocol: 47 });
    expect(node.check(device(out("192.0.2.5")), toB(out("192.0.2.5")))).toContain(
      "not of the pool",
    );
    expect(node.check(device(out("192.0.2.5")), toB(out("10.244.1.1")))).toBeUndefined();
    // Its answers can only go to one host.
    expect(node.check(device(out("192.0.2.6")), toB(out("10.244.1.1")))).toContain("is taken");
    expect(node.check(device(out("192.0.2.6")), { drop: "nat-exhausted" })).toBeUndefined();
  });

  it("gives a connection another port if another has its outside tuple", () => {
    const node = oracle({ services: [{ ...DNS, backends: [backend("10.244.2.7")] }] });
    const straight = udp(CLIENT, 1000, "10.244.2.7", 53);
    expect(node.check(device(straight), toB(straight))).toBeUndefined();
    const out = { ...straight, dst: VIP };
    expect(node.check(device(out), toB(straight))).toContain("is taken");
    expect(node.check(device(out), toB({ ...straight, sport: 700 }))).toBeUndefined();
  });

  it("has TCP live as its profile says", () => {
    const node = oracle({
      services: [{ ...DNS, protocol: TCP, backends: [backend("10.244.2.7")] }],
    });
    const out = { ...udp(CLIENT, 1000, VIP, 53), protocol: TCP };
    const goes = { ...out, dst: "10.244.2.7" };
    node.check(device(out), toB(goes));
    node.check(wire(reverse(goes)), toDevice(reverse(out)));
    node.advance(3 * 60_000);
    node.check(device(out), toB(goes));
    node.advance(124 * 60_000);
    expect(node.connections.length).toBe(1);
    node.advance(1);
    expect(node.connections.length).toBe(0);
  });
});
