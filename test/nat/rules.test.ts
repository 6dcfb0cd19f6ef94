/** The part of a document that each node does, with every name resolved. */
import { describe, expect, it } from "vitest";
import { formatAddress, formatPrefix, parseAddress, parsePrefix } from "../../src/address.js";
import { NO_NAT, readNat } from "../../src/nat/document.js";
import { natHostRulesOf } from "../../src/nat/host-rules.js";
import { natRulesOf } from "../../src/nat/rules.js";
import type { Members } from "../../src/policy/resolver.js";
import { WHOLE } from "./documents.js";

const members = (nodes: Readonly<Record<string, readonly string[]>>): Members =>
  new Map(Object.entries(nodes).map(([name, leases]) => [name, leases.map(parsePrefix)]));

const THREE = members({
  h1: ["10.244.1.0/24", "fd00:244:1::/64"],
  h2: ["10.244.2.0/24"],
  h3: ["10.244.3.0/24", "10.244.9.0/24"],
});
const everyone = () => true;

const of = (text: string, node: string, alive = everyone as (name: string) => boolean) =>
  natRulesOf(readNat(text, "n"), THREE, node, alive);

describe("services", () => {
  it("are on every node, with their backends in order", () => {
    for (const node of ["h1", "h2", "h3", "new"]) {
      const [web, dns, six] = of(WHOLE, node).services;
      expect(web).toEqual({
        name: "web",
        isPort: false,
        protocol: 6,
        address: parseAddress("10.96.0.10"),
        port: 80,
        byClient: true,
        affinityMs: 1_800_000,
        backends: [
          { address: parseAddress("10.244.1.5"), port: 8080, weight: 1, isActive: true },
          { address: parseAddress("10.244.2.5"), port: 8080, weight: 2, isActive: true },
          { address: parseAddress("10.244.3.5"), port: 8080, weight: 1, isActive: false },
        ],
      });
      expect([dns?.name, six?.name]).toEqual(["dns", "six"]);
    }
  });

  it("lose the backends on dead nodes, and keep those that no node owns", () => {
    const text = `services: [{ name: a, protocol: tcp, address: 10.96.0.1, port: 80,
      backends: [10.244.1.5:80, 10.244.2.5:80, 192.0.2.9:80] }]`;
    const [a] = of(text, "h1", (name) => name === "h3").services;
    expect(a!.backends.map(({ address }) => formatAddress(address))).toEqual([
      "10.244.1.5",
      "192.0.2.9",
    ]);
  });

  it("have backends without new flows where the check fails", () => {
    const document = readNat(WHOLE, "n");
    const { services } = natRulesOf(
      document,
      THREE,
      "h1",
      everyone,
      (service, { port, weight }) => {
        expect([service.name, port]).not.toEqual(["web", 80]);
        return weight !== 2;
      },
    );
    expect(services[0]!.backends.map(({ isActive }) => isActive)).toEqual([true, false, false]);
  });
});

describe("published ports", () => {
  const ports = (node: string) =>
    of(WHOLE, node)
      .services.filter(({ isPort }) => isPort)
      .map(({ name, backends: [to] }) => [name, formatAddress(to!.address), to!.port]);

  it("are on the node that owns the address", () => {
    expect(ports("h1")).toEqual([["10.244.1.1:8080/tcp", "10.244.1.20", 80]]);
    expect(ports("h2")).toEqual([["10.244.2.1:8081/tcp", "10.244.3.20", 80]]);
    expect(ports("h3")).toEqual([]);
    expect(ports("new")).toEqual([]);
  });

  it("of a node have its first address of the family of their destination", () => {
    const text = `ports:
      - { protocol: udp, address: "node:h1", port: 53, to: "[fd00:244:1::5]:53" }
      - { protocol: udp, address: "node:h1", port: 53, to: "10.244.2.5:53" }`;
    expect(of(text, "h1").services.map(({ name }) => name)).toEqual([
      "[fd00:244:1::1]:53/udp",
      "10.244.1.1:53/udp",
    ]);
  });

  it("count once at one place: the first of them", () => {
    const text = `ports:
      - { protocol: tcp, address: 10.244.1.1, port: 80, to: "10.244.1.5:80" }
      - { protocol: tcp, address: "node:h1", port: 80, to: "10.244.1.6:80" }`;
    const { services } = of(text, "h1");
    expect(services.map(({ backends: [to] }) => formatAddress(to!.address))).toEqual([
      "10.244.1.5",
    ]);
  });
});

describe("sources", () => {
  const sources = (node: string) =>
    of(WHOLE, node).sources.map(({ from, addresses }) => [
      formatPrefix(from),
      addresses && formatPrefix(addresses),
    ]);
  const masquerade = ["192.0.2.0/24", undefined];

  it("snat is done where the address is owned, masquerade everywhere and after it", () => {
    expect(sources("h1")).toEqual([["10.244.1.0/24", "10.244.1.250/32"], masquerade]);
    expect(sources("h2")).toEqual([["10.244.2.0/24", "10.244.2.240/28"], masquerade]);
    expect(sources("h3")).toEqual([masquerade]);
    expect(of(WHOLE, "h1").sources[0]!.ports).toEqual({ low: 20_000, high: 29_999 });
    expect(of(WHOLE, "h2").sources[0]!.ports).toBeUndefined();
  });

  it("a pool is done by a node that owns all of it", () => {
    const wide = "snat: [{ from: 10.0.0.0/8, to: 0.0.0.0/0, address: 10.244.0.0/16 }]";
    expect(of(wide, "h1").sources).toEqual([]);
  });

  it("netmap is done where the overlay's prefix is owned", () => {
    expect(of(WHOLE, "h1").netmaps).toEqual([]);
    expect(of(WHOLE, "h3").netmaps).toEqual([
      { inside: parsePrefix("10.1.0.0/24"), overlay: parsePrefix("10.244.9.0/24") },
    ]);
  });

  it("limits come along", () => {
    expect(of(WHOLE, "h1").perSource).toBe(2048);
    expect(natRulesOf(NO_NAT, THREE, "h1", everyone).perSource).toBe(4096);
  });
});

describe("egress", () => {
  const via = (node: string, ...living: string[]) =>
    of(WHOLE, node, (name) => living.includes(name)).egress.map((rule) => rule.via);

  it("leads through the first living gateway, which knows that it is", () => {
    expect(via("h3", "h1", "h2")).toEqual([{ peer: "h1" }]);
    expect(via("h3", "h2")).toEqual([{ peer: "h2" }]);
    expect(via("h3")).toEqual([undefined]);
    expect(via("h1", "h2")).toEqual([{ self: true }]);
    expect(via("h2", "h1")).toEqual([{ peer: "h1" }]);
    expect(via("h2")).toEqual([{ self: true }]);
  });

  it("is a rule for each source with each destination", () => {
    const text = `egress: [{ from: [10.244.1.0/24, 10.244.2.0/24], to: [192.0.2.0/25, 0.0.0.0/0],
      via: [h1], address: 192.0.2.250 }]`;
    const pairs = of(text, "h2").egress.map(({ from, to }) =>
      [from, to].map(formatPrefix).join(" "),
    );
    expect(pairs).toEqual([
      "10.244.1.0/24 192.0.2.0/25",
      "10.244.1.0/24 0.0.0.0/0",
      "10.244.2.0/24 192.0.2.0/25",
      "10.244.2.0/24 0.0.0.0/0",
    ]);
  });
});

describe("the part of the host", () => {
  const document = readNat(WHOLE, "n");
  const host = (node: string, ...living: string[]) =>
    natHostRulesOf(document, node, (name) => living.includes(name));

  it("is the ports published on its underlay addresses", () => {
    const to = { address: parseAddress("10.244.1.20"), port: 80 };
    const all = { protocol: 6, family: 4, port: 8082, to };
    expect(host("h1").ports).toEqual([all]);
    expect(host("h2").ports).toEqual([all, { ...all, port: 8083 }]);
  });

  it("is masquerade to the outside", () => {
    expect(host("h1").masqueradeOutside).toBe(true);
    expect(natHostRulesOf(NO_NAT, "h1", everyone).masqueradeOutside).toBe(false);
  });

  it("is the addresses that it leads to the device, each once", () => {
    expect(host("h1").serviceAddresses.map(formatAddress)).toEqual(["10.96.0.10", "fd00:96::10"]);
  });

  it("is the outside addresses for which it is the gateway", () => {
    expect(host("h1").egressAddresses.map(formatAddress)).toEqual(["192.0.2.250"]);
    expect(host("h2", "h1").egressAddresses).toEqual([]);
    expect(host("h2").egressAddresses.map(formatAddress)).toEqual(["192.0.2.250"]);
    expect(host("h3").egressAddresses).toEqual([]);
  });
});
